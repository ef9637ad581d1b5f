"""What the API needs of the daemon behind it: the web side knows no daemon, and tests bring a small one."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import msgspec

from hcsidecar.core.values import HostPort
from hcsidecar.journal import Journal


class Action(StrEnum):
    """What an operator may ask of a node's module."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"
    DRAIN = "drain"
    RESUME = "resume"
    LEAVE = "leave"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an action, at once: that it has begun, not that it is done."""

    ok: bool
    text: str
    "One sentence; when not ok, the reason."
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiAddress:
    """Where the API of a node is reached over TCP."""

    address: HostPort
    tls: bool = False


class Control(Protocol):
    """The daemon, as the API sees it. Everything but `act` answers from memory."""

    @property
    def farm(self) -> str:
        """The farm's name."""

    @property
    def node(self) -> str:
        """This node's name."""

    @property
    def nodes(self) -> Mapping[str, ApiAddress]:
        """All nodes of the farm, this one included."""

    @property
    def journal(self) -> Journal:
        """The events of this node."""

    def status(self) -> Mapping[str, object]:
        """Give the status document (docs: design, section 9)."""

    async def act(self, action: Action, *, force: bool, by: str) -> Answer:
        """Begin an action or say why not, at once; `by` says who asked, for the log."""
