"""The documents about users and API tokens that the API answers with, and the bodies that it takes."""

from typing import Annotated

import msgspec

from hcsidecar.core.access.record import (
    AccessRecord,
    Moment,
    PasswordHash,
    Sha256Digits,
    TokenId,
    TokenName,
    UserName,
)
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.request_bodies import Body


class UserBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user to add: `POST /api/v1/access/users`. The password is hashed where it is typed."""

    name: UserName
    role: AccessRole
    password: PasswordHash


class PasswordBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another password of a user: `POST /api/v1/access/users/NAME/password`."""

    password: PasswordHash


class RoleBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another role of a user: `POST /api/v1/access/users/NAME/role`."""

    role: AccessRole
    force: bool = False
    "Also if nobody is an admin then."


class RemoveBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Removes a user: `POST /api/v1/access/users/NAME/remove`."""

    force: bool = False
    "Also the last admin."


class TokenBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An API token to add: `POST /api/v1/access/tokens`. Its secret is drawn where it is shown."""

    id: TokenId
    name: TokenName
    role: AccessRole
    secret_sha256: Sha256Digits
    expires_at: Moment | None
    "None: never."


class RevokeBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Revokes an API token: `POST /api/v1/access/tokens/NAME/revoke`."""


class EndSessionsBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ends the sessions of all users: `POST /api/v1/access/sessions/end`."""


AccessChangeBody = UserBody | PasswordBody | RoleBody | RemoveBody | TokenBody | RevokeBody | EndSessionsBody
"What changes users and tokens."


class UsesBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When API tokens were last used, by id: `POST /api/v1/access/uses`, by the console of this node."""

    used: Annotated[dict[TokenId, Moment], msgspec.Meta(max_length=500)]


class LinkBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asks for a link that signs a user in once: `POST /api/v1/access/links`, on the machine itself."""

    user: UserName


class LinkAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A link that signs a user in once, or why there is none."""

    ok: bool
    text: str = ""
    "When not ok: the reason."
    secret: str = ""
    "22 characters, of which nothing is kept but a digest."
    lasts: int = 0
    "Seconds."


class RedeemBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asks whom a link signs in, and uses it up: `POST /api/v1/access/links/use`, by the console of this node."""

    secret: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_-]{22}\Z")]
    address: Annotated[str, msgspec.Meta(max_length=64)]
    "That the request came from, for the event."


class LinkUser(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a link signs in."""

    user: str | None
    "None: there is no such link, or it is used, or it has ended."


class ListedUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user, without what verifies the password."""

    name: str
    role: AccessRole
    added_at: int
    "Seconds since 1970, as all times here."
    password_set_at: int


class ListedToken(msgspec.Struct, frozen=True, kw_only=True):
    """An API token, without what verifies it."""

    id: str
    name: str
    role: AccessRole
    added_at: int
    added_by: str
    expires_at: int | None
    "None: never."
    last_used_at: int | None
    "To the hour; None: not yet."
    expired: bool


class AccessReport(msgspec.Struct, frozen=True, kw_only=True):
    """The users and API tokens of the farm, as one node has them: `GET /api/v1/access`."""

    node: str
    users: tuple[ListedUser, ...]
    tokens: tuple[ListedToken, ...]
    digest: str
    "The same on every node that has the same record."


class AccessResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a change."""

    ok: bool
    text: str
    "One sentence; when not ok, the reason."
    lacking: tuple[str, ...] = ()
    "Nodes that do not have the change yet; they take it when they are heard again."


class RecordState(msgspec.Struct, frozen=True, kw_only=True):
    """What a node answers to another one that has sent it a change: `POST /api/v1/access/record`."""

    digest: str
    "Of the record that it has now."


def access_report(record: AccessRecord, *, node: str, now: float) -> AccessReport:
    """Return what may be shown of a record; `now` in seconds since 1970."""
    users = tuple(
        ListedUser(name=name, role=user.role, added_at=user.born.at, password_set_at=user.password_set.at)
        for name, user in record.present_users.items()
    )
    tokens = tuple(
        ListedToken(
            id=key,
            name=token.name,
            role=token.role,
            added_at=token.made.at,
            added_by=token.made_by,
            expires_at=token.expires_at,
            last_used_at=record.last_used.get(key),
            expired=token.has_expired(now=now),
        )
        for key, token in record.present_tokens.items()
    )
    return AccessReport(node=node, users=users, tokens=tokens, digest=record.digest)


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What verifies passwords, sessions and tokens, for the console of this node: `GET /api/v1/access/verification`."""

    digest: str
    record: AccessRecord | None = None
    "None if the console has named this digest, and so has it already."
