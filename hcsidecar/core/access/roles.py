"""The roles, and what each of them may do: one table of the API's verbs.

Roles are those of SafeKit. A *monitor* reads, a role of *control* also acts, and an *admin* also changes settings,
users and tokens. What the table does not name, nobody may do who comes with a role: it is for the nodes among
themselves, for the application, or for commands on the machine itself.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec


class AccessRole(StrEnum):
    """What somebody may do; each role may all that the ones before it may."""

    MONITOR = "monitor"
    CONTROL = "control"
    ADMIN = "admin"

    def includes(self, other: "AccessRole") -> bool:
        """Return whether this role may all that the other may."""
        ranks = list(AccessRole)
        return ranks.index(self) >= ranks.index(other)


class Permission(msgspec.Struct, frozen=True, kw_only=True):
    """A verb of the API and the lowest role that may use it."""

    method: str
    path: str
    "Below /api/v1 of a node; `*` stands for one part of it, whatever it is."
    role: AccessRole
    own: bool = False
    "A person of any role may do it to himself: the part `*` is his name."


def _table(role: AccessRole, method: str, *paths: str) -> tuple[Permission, ...]:
    return tuple(Permission(method=method, path=path, role=role) for path in paths)


PERMISSIONS: Final[tuple[Permission, ...]] = (
    *_table(AccessRole.MONITOR, "GET", "status", "metrics", "events", "runs", "runs/*", "targets", "notifications"),
    *_table(AccessRole.MONITOR, "GET", "facts", "checks", "series"),
    *_table(AccessRole.MONITOR, "GET", "layer-two", "layer-two/explain", "layer-two/check"),
    *_table(AccessRole.MONITOR, "GET", "reports/*", "budget", "settings", "keys"),
    *_table(AccessRole.CONTROL, "POST", "actions/*", "power", "log", "budget/reset"),
    # Secrets are hidden in it, but it tells a lot of the machine.
    *_table(AccessRole.CONTROL, "GET", "snapshot"),
    # Scripts may have passwords in them.
    *_table(AccessRole.ADMIN, "GET", "settings/differences", "settings/differences/*"),
    *_table(AccessRole.ADMIN, "GET", "settings/revisions/*", "settings/revisions/*/files/*"),
    *_table(AccessRole.ADMIN, "POST", "settings/candidates", "settings/proposals", "joining/tokens", "keys/rotation"),
    *_table(AccessRole.ADMIN, "GET", "access"),
    *_table(AccessRole.ADMIN, "POST", "access/users", "access/users/*/role", "access/users/*/remove"),
    *_table(AccessRole.ADMIN, "POST", "access/tokens", "access/tokens/*/revoke", "access/sessions/end"),
    Permission(method="POST", path="access/users/*/password", role=AccessRole.ADMIN, own=True),
)
"All verbs that may be used with a role."


def lowest_role(method: str, path: str) -> AccessRole | None:
    """Return the lowest role that may use a verb; None if no role may. `path` is below /api/v1 of a node."""
    found = _permission(method, path)
    return None if found is None else found.role


def why_not_permitted(role: AccessRole, method: str, path: str, *, person: str | None = None) -> str | None:
    """Return why somebody of this role may not use a verb, or None; `person` is the user's name, None of a token."""
    found = _permission(method, path)
    if found is None:
        return f"{method} {path} is not for users and API tokens: it is done by commands on the node itself"
    if role.includes(found.role) or (found.own and person is not None and person in path.split("/")[2:3]):
        return None
    return f"the role {role} may not do this: it takes {_from_on(found.role)}"


def _from_on(role: AccessRole) -> str:
    return " or ".join(each for each in AccessRole if each.includes(role))


def _permission(method: str, path: str) -> Permission | None:
    parts = path.split("/")
    return next((each for each in PERMISSIONS if each.method == method and _matches(each.path, parts)), None)


def _matches(pattern: str, parts: Sequence[str]) -> bool:
    wanted = pattern.split("/")
    return len(wanted) == len(parts) and all(one in ("*", part) for one, part in zip(wanted, parts, strict=True))
