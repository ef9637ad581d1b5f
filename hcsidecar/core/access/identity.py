"""Who acts: the person or the program, with which role, from where and through what; as events tell it."""

from enum import StrEnum
from typing import Annotated, Final

import msgspec

from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.json_reading import JsonError, read_json

LONGEST_ACTOR: Final = 160
"Characters of what events call somebody: two names, an address and words around them."
ACTOR_HEADER: Final = "X-Farm-Actor"
"In which a process of this machine that is trusted names for whom it asks: `encode_actor`."


class Via(StrEnum):
    """Through what somebody has come."""

    CONSOLE = "console"
    "With a session, after a password."
    API_TOKEN = "API token"  # noqa: S105 - no secret
    COMMAND_LINE = "command line"


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who somebody is, as a session or a token has proved."""

    name: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,31}\Z")]
    "Of the user, or of the token."
    role: AccessRole
    via: Via

    @property
    def person(self) -> str | None:
        """The user's name; None of a program with a token."""
        return None if self.via is Via.API_TOKEN else self.name


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody, and from where."""

    identity: Identity
    address: Annotated[str, msgspec.Meta(pattern=r"\A[0-9A-Za-z.:%_-]{0,64}\Z")] = ""
    "Where the request came from; empty if it is this machine."

    def __str__(self) -> str:
        """Return what events call him, such as `alice (console, 192.0.2.7)`."""
        where = f", {self.address}" if self.address else ""
        return f"{self.identity.name} ({self.identity.via}{where})"


def sudo_actor(user: str | None) -> Actor | None:
    """Return whom sudo has let be root, by its SUDO_USER; None if there is none, or none whom an event could name."""
    named = {"name": user, "role": AccessRole.ADMIN, "via": Via.COMMAND_LINE}
    try:
        return Actor(identity=msgspec.convert(named, Identity))
    except msgspec.ValidationError:
        return None


def encode_actor(actor: Actor) -> str:
    """Return the value of the header that names him."""
    return msgspec.json.encode(actor).decode("ascii")


def decode_actor(header: str) -> Actor | None:
    """Read a header; None if it names nobody."""
    try:
        return read_json(header, Actor)
    except JsonError:
        return None


def by_way_of(who: str, node: str) -> str:
    """Return what events call somebody whose request came by way of a node: `root@web1`, `alice@web1 (console)`."""
    name, bracket, rest = (who or "somebody").partition(" (")
    return f"{name}@{node}{bracket}{rest}"
