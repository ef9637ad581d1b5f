"""The record of users, API tokens and session keys, and how the records of two nodes become one.

Each node changes its own record and tells the others, who merge it with theirs. Merging is commutative, associative and
idempotent, so that nodes that have been apart have the same record again once they have heard of each other, in
whichever order:

- A *stamp* says when something was set: a counter that is higher than every one in the record, then the time, then the
  node. Of two values of one thing the one with the higher stamp wins. Role and password of a user are two things, so
  that a new password does not undo the change of a role that another node was told at the same time.
- A removed user stays in the record, without role and password. Whatever was changed meanwhile on a node that had not
  heard of it, the removal wins. To add the user again is another birth: of two births the higher one wins.
- A revoked token stays in the record as well, and nothing else of a token ever changes.
- A token was last used at the latest of the times that the nodes know.

What is removed is forgotten at last (`pruned`): of users when there are more than MOST_REMOVED, of tokens also once
they have expired, because then they are refused for that.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Final, TypeVar

import msgspec

from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.core.membership.heartbeat import NodeName

MOST_USERS: Final = 200
MOST_TOKENS: Final = 500
MOST_REMOVED: Final = 1000
"Removed users, and as many revoked tokens, that are kept."
MOST_SESSION_KEYS: Final = 16
SESSION_KEY_LIFE: Final = 48 * 3600
"Seconds for which a session key is of any use."
LARGEST_RECORD: Final = 2 * 1024 * 1024
"Bytes of an encoded record; one with everything at its limit has half of it."
_MOST_ENTRIES: Final = 4 * MOST_REMOVED
"A record with more was not written by us."
_HIGHEST: Final = 2**53 - 1
"JSON readers keep whole numbers up to here."

Moment = Annotated[int, msgspec.Meta(ge=0, le=_HIGHEST)]
"Seconds since 1970."
UserName = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9][a-z0-9._-]{0,31}\Z")]
"Small letters, digits, dots, hyphens and underlines, so that it can be read in a log and is nobody's node."
TokenId = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{16}\Z")]
TokenName = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,31}\Z")]
Sha256Digits = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
KeyDigits = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
"A key of 32 bytes."
PasswordHash = Annotated[
    str,
    msgspec.Meta(
        pattern=r"\A\$argon2id\$v=19\$m=[1-9][0-9]{3,5},t=[1-9][0-9]?,p=[1-9][0-9]?\$[A-Za-z0-9+/]{11,64}\$[A-Za-z0-9+/]{22,128}\Z"
    ),
]
"What argon2id makes of a password (PHC string format); its limits keep whoever verifies it from endless work."

T = TypeVar("T")


class ChangeStamp(msgspec.Struct, frozen=True, array_like=True, order=True):
    """When something was set, for deciding which of two values is the later one."""

    counter: Annotated[int, msgspec.Meta(ge=0, le=_HIGHEST)]
    at: Moment
    node: NodeName


class UserEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A user, or what is kept of one who was removed."""

    born: ChangeStamp
    "When this user was added."
    role: AccessRole = AccessRole.MONITOR
    role_set: ChangeStamp
    password: PasswordHash | None = None
    "None of a removed user."
    password_set: ChangeStamp
    removed: ChangeStamp | None = None

    @property
    def epoch(self) -> str:
        """What a session of this user must quote: another one after each change of role or password, or a new birth."""
        stamps = (self.born, self.role_set, self.password_set, self.removed)
        return hashlib.sha256(msgspec.json.encode(stamps)).hexdigest()[:16]


class TokenEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An API token: what a program shows to be let in. Only a digest of its secret is kept."""

    name: TokenName
    role: AccessRole
    secret_sha256: Sha256Digits
    "A secret of 256 random bits needs no slow hash."
    made: ChangeStamp
    made_by: Annotated[str, msgspec.Meta(max_length=200)] = ""
    expires_at: Moment | None = None
    "None: never."
    revoked: ChangeStamp | None = None

    def has_expired(self, *, now: float) -> bool:
        """Return whether its time is over; `now` in seconds since 1970."""
        return self.expires_at is not None and now >= self.expires_at


class SessionKey(msgspec.Struct, frozen=True, kw_only=True):
    """What sessions are signed with, on whichever node somebody has signed in."""

    key: KeyDigits
    made_at: Moment

    def __repr__(self) -> str:
        return f"SessionKey(made_at={self.made_at})"


class AccessRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All of it, or the part of it that has changed."""

    users: Annotated[dict[UserName, UserEntry], msgspec.Meta(max_length=_MOST_ENTRIES)] = {}
    tokens: Annotated[dict[TokenId, TokenEntry], msgspec.Meta(max_length=_MOST_ENTRIES)] = {}
    last_used: Annotated[dict[TokenId, Moment], msgspec.Meta(max_length=_MOST_ENTRIES)] = {}
    session_keys: Annotated[dict[TokenId, SessionKey], msgspec.Meta(max_length=4 * MOST_SESSION_KEYS)] = {}
    sessions_from: Moment = 0
    "Session keys that were made before are void: sign-outs of everybody."

    @property
    def highest(self) -> int:
        """The highest counter in it."""
        users = (stamp for user in self.users.values() for stamp in (user.role_set, user.password_set, user.removed))
        tokens = (stamp for token in self.tokens.values() for stamp in (token.made, token.revoked))
        born = (user.born for user in self.users.values())
        return max((stamp.counter for stamp in (*users, *tokens, *born) if stamp is not None), default=0)

    @property
    def present_users(self) -> Mapping[str, UserEntry]:
        """Those who have not been removed, by name."""
        return {name: user for name, user in sorted(self.users.items()) if user.removed is None}

    @property
    def present_tokens(self) -> Mapping[str, TokenEntry]:
        """Those that have not been revoked, by id, in the order of their names; the expired ones too."""
        there = [(identifier, token) for identifier, token in self.tokens.items() if token.revoked is None]
        return dict(sorted(there, key=lambda pair: (pair[1].name, pair[0])))

    @property
    def digest(self) -> str:
        """The same for equal records, whatever the order of their entries."""
        return hashlib.sha256(encode_record(self)).hexdigest()

    def stamp(self, *, node: str, now: float) -> ChangeStamp:
        """Return the stamp of a change made now on this node; `now` in seconds since 1970."""
        return ChangeStamp(min(self.highest + 1, _HIGHEST), max(0, int(now)), node)

    def merged(self, other: "AccessRecord") -> "AccessRecord":
        """Return what is true when both are: see the top of this module."""
        sessions_from = max(self.sessions_from, other.sessions_from)
        keys = _either(self.session_keys, other.session_keys, _later)
        tokens = _either(self.tokens, other.tokens, _merged_token)
        return AccessRecord(
            users=_either(self.users, other.users, _merged_user),
            tokens=tokens,
            last_used=_either(self.last_used, other.last_used, max),
            session_keys=_newest({name: key for name, key in keys.items() if key.made_at >= sessions_from}),
            sessions_from=sessions_from,
        )

    def pruned(self, *, now: float) -> "AccessRecord":
        """Return it without what nobody needs any more; `now` in seconds since 1970."""
        gone_users = [(user.removed, name) for name, user in self.users.items() if user.removed is not None]
        gone_tokens = [(token.revoked, name) for name, token in self.tokens.items() if token.revoked is not None]
        forgotten_users = {name for _, name in sorted(gone_users)[:-MOST_REMOVED]}
        forgotten_tokens = {name for _, name in sorted(gone_tokens)[:-MOST_REMOVED]}
        forgotten_tokens |= {name for _, name in gone_tokens if self.tokens[name].has_expired(now=now)}
        tokens = _without(self.tokens, forgotten_tokens)
        return msgspec.structs.replace(
            self,
            users=_without(self.users, forgotten_users),
            tokens=tokens,
            last_used={name: at for name, at in self.last_used.items() if name in tokens},
            session_keys={name: key for name, key in self.session_keys.items() if now < key.made_at + SESSION_KEY_LIFE},
        )


def encode_record(record: AccessRecord) -> bytes:
    """Return the one encoding of a record, JSON, which `decode_record` reads."""
    return msgspec.json.encode(record, order="sorted")


def decode_record(content: bytes) -> AccessRecord:
    """Read a record. Raise JsonError, which says why it is none."""
    if len(content) > LARGEST_RECORD:
        raise JsonError(f"it is longer than {LARGEST_RECORD} bytes")
    return read_json(content, AccessRecord)


def _either(one: Mapping[str, T], other: Mapping[str, T], both: Callable[[T, T], T]) -> dict[str, T]:
    """Return the entries of both; `both` merges two of one name."""
    return dict(one) | {name: both(one[name], value) if name in one else value for name, value in other.items()}


def _merged_user(one: UserEntry, other: UserEntry) -> UserEntry:
    if one.born != other.born:
        return max(one, other, key=lambda user: user.born)
    removals = [user.removed for user in (one, other) if user.removed is not None]
    if removals:
        return removed_user(one.born, max(removals))
    role = max(one, other, key=lambda user: (user.role_set, user.role))
    password = max(one, other, key=lambda user: (user.password_set, user.password or ""))
    return UserEntry(
        born=one.born,
        role=role.role,
        role_set=role.role_set,
        password=password.password,
        password_set=password.password_set,
    )


def removed_user(born: ChangeStamp, removed: ChangeStamp) -> UserEntry:
    """Return what is kept of a user who was removed."""
    return UserEntry(born=born, role_set=born, password_set=born, removed=removed)


def _merged_token(one: TokenEntry, other: TokenEntry) -> TokenEntry:
    revocations = [token.revoked for token in (one, other) if token.revoked is not None]
    bare = [msgspec.structs.replace(token, revoked=None) for token in (one, other)]
    # One id is one token; should two nodes have drawn the same one, all nodes keep the same of the two.
    kept = max(bare, key=lambda token: (token.made, msgspec.json.encode(token)))
    return msgspec.structs.replace(kept, revoked=max(revocations) if revocations else None)


def _later(one: SessionKey, other: SessionKey) -> SessionKey:
    return max(one, other, key=lambda key: (key.made_at, key.key))


def _newest(keys: Mapping[str, SessionKey]) -> dict[str, SessionKey]:
    newest = sorted(keys.items(), key=lambda pair: (pair[1].made_at, pair[0]))[-MOST_SESSION_KEYS:]
    return dict(sorted(newest))


def _without(entries: Mapping[str, T], names: Iterable[str]) -> dict[str, T]:
    dropped = frozenset(names)
    return {name: entry for name, entry in entries.items() if name not in dropped}
