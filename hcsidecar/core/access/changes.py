"""Changes of the record of users and tokens, each decided here and told in one line.

A change is a record of its own with nothing in it but what has changed; it is merged with the record of every node.
`now` is in seconds since 1970, and `node` is the one on which the change is made.
"""

from collections.abc import Iterable
from typing import Final, assert_never

import msgspec

from hcsidecar.core.access.documents import (
    AccessChangeBody,
    EndSessionsBody,
    PasswordBody,
    RemoveBody,
    RevokeBody,
    RoleBody,
    TokenBody,
    UserBody,
)
from hcsidecar.core.access.record import (
    MOST_TOKENS,
    MOST_USERS,
    AccessRecord,
    SessionKey,
    TokenEntry,
    TokenName,
    UserEntry,
    UserName,
    removed_user,
)
from hcsidecar.core.access.roles import AccessRole

LAST_USED_STEP: Final = 3600
"Seconds: a token's last use is noted again after this time at the earliest."
RESERVED_NAMES: Final = frozenset({"root", "somebody", "operator", "daemon", "farm"})
"As which events name others."


class AccessChange(msgspec.Struct, frozen=True, kw_only=True):
    """A change that may be made."""

    delta: AccessRecord
    text: str
    "What it is, to follow a name: `added user alice (admin)`."


class AccessRefusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a change is not made, and what to do."""

    reason: str


AccessDecision = AccessChange | AccessRefusal


def decide(
    record: AccessRecord, body: AccessChangeBody, *, name: str, by: str, node: str, now: float, drawn: tuple[str, str]
) -> AccessDecision:
    """Decide on what somebody asks for; `name` is the user or token in the path, if there is one.

    `drawn` is a random id and a random key, both in hexadecimal digits, for who needs a new session key.
    """
    match body:
        case UserBody():
            return add_user(record, body.name, body.role, body.password, node=node, now=now)
        case PasswordBody():
            return set_password(record, name, body.password, node=node, now=now)
        case RoleBody():
            return set_role(record, name, body.role, force=body.force, node=node, now=now)
        case RemoveBody():
            return remove_user(record, name, force=body.force, node=node, now=now)
        case TokenBody():
            return add_token(
                record,
                body.id,
                body.name,
                body.role,
                body.secret_sha256,
                expires_at=body.expires_at,
                by=by,
                node=node,
                now=now,
            )
        case RevokeBody():
            return revoke_token(record, name, node=node, now=now)
        case EndSessionsBody():
            return end_sessions(token_id=drawn[0], key=drawn[1], now=now)
        case _:
            assert_never(body)


def add_user(
    record: AccessRecord, name: str, role: AccessRole, password_hash: str, *, node: str, now: float
) -> AccessDecision:
    """Add a user, also one of the name of a removed one."""
    if why := why_not_user_name(name):
        return AccessRefusal(reason=why)
    there = record.present_users
    if name in there:
        return AccessRefusal(reason=user_is_there(name, there[name].role))
    if len(there) >= MOST_USERS:
        return AccessRefusal(reason=f"there are {MOST_USERS} users, and no room for more: remove one that nobody needs")
    stamp = record.stamp(node=node, now=now)
    user = UserEntry(born=stamp, role=role, role_set=stamp, password=password_hash, password_set=stamp)
    return AccessChange(delta=AccessRecord(users={name: user}), text=f"added user {name} ({role})")


def set_password(record: AccessRecord, name: str, password_hash: str, *, node: str, now: float) -> AccessDecision:
    """Give a user another password; his sessions end."""
    user = record.present_users.get(name)
    if user is None:
        return _no_user(record, name)
    stamp = record.stamp(node=node, now=now)
    changed = msgspec.structs.replace(user, password=password_hash, password_set=stamp)
    text = f"changed the password of user {name}, whose sessions have ended"
    return AccessChange(delta=AccessRecord(users={name: changed}), text=text)


def set_role(
    record: AccessRecord, name: str, role: AccessRole, *, force: bool, node: str, now: float
) -> AccessDecision:
    """Give a user another role; his sessions end. Refused if nobody would be an admin then, unless forced."""
    user = record.present_users.get(name)
    if user is None:
        return _no_user(record, name)
    if user.role is role:
        return AccessRefusal(reason=f"user {name} has the role {role} already")
    if not force and (why := _why_last_admin(record, name, "gives this role")):
        return AccessRefusal(reason=why)
    changed = msgspec.structs.replace(user, role=role, role_set=record.stamp(node=node, now=now))
    text = f"gave user {name} the role {role} (was {user.role})"
    return AccessChange(delta=AccessRecord(users={name: changed}), text=text)


def remove_user(record: AccessRecord, name: str, *, force: bool, node: str, now: float) -> AccessDecision:
    """Remove a user, whose sessions end. Refused of the last admin, unless forced."""
    user = record.present_users.get(name)
    if user is None:
        return _no_user(record, name)
    if not force and (why := _why_last_admin(record, name, "removes this user")):
        return AccessRefusal(reason=why)
    gone = removed_user(user.born, record.stamp(node=node, now=now))
    return AccessChange(delta=AccessRecord(users={name: gone}), text=f"removed user {name} ({user.role})")


def add_token(
    record: AccessRecord,
    token_id: str,
    name: str,
    role: AccessRole,
    secret_sha256: str,
    *,
    expires_at: int | None,
    by: str,
    node: str,
    now: float,
) -> AccessDecision:
    """Add an API token."""
    there = record.present_tokens
    if token_id in record.tokens:
        return AccessRefusal(reason=f"there has been a token {token_id} already: draw another id")
    if any(token.name == name and not token.has_expired(now=now) for token in there.values()):
        return AccessRefusal(
            reason=f"there is an API token {name} already: take another name, or revoke it first with "
            f"`hcsidecar api-token revoke {name}`"
        )
    if len(there) >= MOST_TOKENS:
        return AccessRefusal(reason=f"there are {MOST_TOKENS} API tokens, and no room for more: revoke one")
    if expires_at is not None and expires_at <= now:
        return AccessRefusal(reason=f"the API token {name} would have expired already: take a time to come")
    token = TokenEntry(
        name=name,
        role=role,
        secret_sha256=secret_sha256,
        made=record.stamp(node=node, now=now),
        made_by=by,
        expires_at=expires_at,
    )
    ends = ", which never expires" if expires_at is None else ""
    return AccessChange(delta=AccessRecord(tokens={token_id: token}), text=f"added API token {name} ({role}){ends}")


def revoke_token(record: AccessRecord, name: str, *, node: str, now: float) -> AccessDecision:
    """Revoke an API token by its id, or all of a name."""
    found = {key: token for key, token in record.present_tokens.items() if name in (key, token.name)}
    if not found:
        names = ", ".join(dict.fromkeys(token.name for token in record.present_tokens.values()))
        return AccessRefusal(reason=f"there is no API token {name}; {f'there are {names}' if names else 'none exist'}")
    stamp = record.stamp(node=node, now=now)
    gone = {key: msgspec.structs.replace(token, revoked=stamp) for key, token in found.items()}
    what = ", ".join(f"{token.name} ({token.role})" for token in found.values())
    return AccessChange(delta=AccessRecord(tokens=gone), text=f"revoked API token {what}")


def end_sessions(*, token_id: str, key: str, now: float) -> AccessChange:
    """End the sessions of all users: former session keys are void, and there is a new one of this id."""
    # One made in this second is void too, but not the new one.
    after = int(now) + 1
    keys = {token_id: SessionKey(key=key, made_at=after)}
    return AccessChange(
        delta=AccessRecord(session_keys=keys, sessions_from=after), text="ended the sessions of all users"
    )


def new_session_key(*, token_id: str, key: str, now: float, record: AccessRecord) -> AccessRecord:
    """Return the change that makes a key to sign sessions with; `key` in hexadecimal digits."""
    return AccessRecord(session_keys={token_id: SessionKey(key=key, made_at=max(int(now), record.sessions_from))})


def note_uses(record: AccessRecord, used: dict[str, int]) -> AccessRecord | None:
    """Return the change that notes when tokens were last used, by id; None if the record has it closely enough."""
    newer = {
        key: at
        for key, at in used.items()
        if key in record.tokens and at >= record.last_used.get(key, -LAST_USED_STEP) + LAST_USED_STEP
    }
    return AccessRecord(last_used=newer) if newer else None


def user_is_there(name: str, role: AccessRole) -> str:
    """Return why a user cannot be added who is there, and what to do."""
    return (
        f"there is a user {name} already ({role}): change the role with `hcsidecar user role {name} --role ROLE`, "
        f"the password with `hcsidecar user password {name}`"
    )


def no_such_user(name: str, users: Iterable[str]) -> str:
    """Return that there is no such user, and which there are."""
    names = ", ".join(users)
    there = f"there are {names}" if names else "there is none yet: hcsidecar user add NAME --role admin"
    return f"there is no user {name}; {there}"


def why_not_user_name(name: str) -> str | None:
    """Return why nobody can have this name, as a sentence that says what to do, or None."""
    if name in RESERVED_NAMES:
        return f"nobody can be called {name}, because events name others so: take another name"
    return _why_not(name, UserName, "a user", "small letters")


def why_not_token_name(name: str) -> str | None:
    """Return why no API token can have this name, as a sentence that says what to do, or None."""
    return _why_not(name, TokenName, "an API token", "letters")


def _why_not(name: str, kind: object, what: str, letters: str) -> str | None:
    try:
        msgspec.convert(name, kind)
    except msgspec.ValidationError:
        return (
            f"the name of {what} has {letters} a to z, digits, dots, hyphens and underlines, at most 32 of them, and "
            "begins with a letter or a digit"
        )
    return None


def _no_user(record: AccessRecord, name: str) -> AccessRefusal:
    return AccessRefusal(reason=no_such_user(name, record.present_users))


def _why_last_admin(record: AccessRecord, name: str, what_force_does: str) -> str | None:
    admins = [each for each, user in record.present_users.items() if user.role is AccessRole.ADMIN]
    if admins != [name]:
        return None
    return (
        f"{name} is the last admin: nobody could change settings and users in the console any more, only commands on a "
        f"node; add another admin first, or --force {what_force_does} all the same"
    )


def changes_in_words(before: AccessRecord, after: AccessRecord) -> tuple[str, ...]:
    """Return a line for each user and token that has changed between two states of a record, and where it was done."""
    lines = []
    for name, user in sorted(after.users.items()):
        former = before.users.get(name)
        if user == former or (former is None and user.removed is not None):
            continue
        if user.removed is not None:
            lines.append(f"user {name} was removed on {user.removed.node}")
        elif former is None or former.born != user.born:
            lines.append(f"user {name} ({user.role}) was added on {user.born.node}")
        else:
            if former.role is not user.role:
                lines.append(f"user {name} was given the role {user.role} on {user.role_set.node} (was {former.role})")
            if former.password_set != user.password_set:
                lines.append(f"the password of user {name} was changed on {user.password_set.node}")
    for key, token in sorted(after.tokens.items(), key=lambda pair: (pair[1].name, pair[0])):
        known = before.tokens.get(key)
        if token.revoked is not None and known is not None and known.revoked is None:
            lines.append(f"API token {token.name} was revoked on {token.revoked.node}")
        elif known is None and token.revoked is None:
            lines.append(f"API token {token.name} ({token.role}) was added on {token.made.node}")
    if after.sessions_from > before.sessions_from:
        lines.append("the sessions of all users were ended")
    return tuple(lines)
