"""Bodies of the console's API that change users and API tokens; passwords and secrets stay in the console."""

from typing import Annotated

import msgspec

from hcsidecar.core.access.record import TokenName, UserName
from hcsidecar.core.access.roles import AccessRole

LONGEST_TOKEN_LIFE = 10 * 366 * 86_400

_Password = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class NewUserBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user to add: `POST /api/v1/access/users`."""

    name: UserName
    role: AccessRole
    password: _Password

    def __repr__(self) -> str:
        return f"NewUserBody(name={self.name!r}, role={self.role!r})"


class NewPasswordBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another password of a user: `POST /api/v1/access/users/NAME/password`."""

    password: _Password

    def __repr__(self) -> str:
        return "NewPasswordBody()"


class NewRoleBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another role of a user: `POST /api/v1/access/users/NAME/role`."""

    role: AccessRole
    force: bool = False
    "Also if nobody is an admin then."


class ForceQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether it is done against a warning."""

    force: bool = False


class NewTokenBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An API token to make: `POST /api/v1/access/tokens`."""

    name: TokenName
    role: AccessRole
    lasts: Annotated[int, msgspec.Meta(ge=60, le=LONGEST_TOKEN_LIFE)] | None = 90 * 86_400
    "Seconds until it expires; None: it never does."


class NewToken(msgspec.Struct, frozen=True, kw_only=True):
    """An API token that has been made; nobody is shown it a second time."""

    token: str
    id: str
    text: str
    lacking: tuple[str, ...] = ()
    "Nodes that do not have it yet."

    def __repr__(self) -> str:
        return f"NewToken(id={self.id!r})"
