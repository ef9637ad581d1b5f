"""The tables of one farm file, those left out that are wrong by themselves: what the rules between tables look at."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hcsidecar.core.farmfile.application_table import ApplicationTable
from hcsidecar.core.farmfile.check_tables import Check
from hcsidecar.core.farmfile.problems import Problem, path_of
from hcsidecar.core.farmfile.tables import (
    FarmTable,
    HealthTable,
    HeartbeatTable,
    NodeTable,
    ShareTable,
    VipTable,
    WebTable,
)
from hcsidecar.core.farmfile.target_tables import Target
from hcsidecar.core.farmfile.values import HostPort

KeyPath = tuple[str | int, ...]
ListenAddress = tuple[KeyPath, HostPort]
"Where the daemon listens over TCP, and where the file says so."
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTables:
    """The tables of one file; None stands for one that is wrong by itself, so that the others keep their places."""

    farm: FarmTable | None
    node: Sequence[NodeTable | None]
    web: WebTable | None
    health: HealthTable | None
    heartbeat: HeartbeatTable | None = None
    has_application: bool = False
    "There is a table [application], right or wrong."
    application: ApplicationTable | None = None
    check: Sequence[Check | None] = ()
    target: Sequence[Target | None] = ()
    vip: Sequence[VipTable | None] = ()
    share: Sequence[ShareTable | None] = ()

    @property
    def nodes(self) -> list[tuple[int, NodeTable]]:
        """The nodes that are right by themselves, with their places."""
        return present(self.node)

    @property
    def shares(self) -> list[tuple[int, ShareTable]]:
        """The shares that are right by themselves, with their places."""
        return present(self.share)

    @property
    def vips(self) -> list[tuple[int, VipTable]]:
        """The VIPs that are right by themselves, with their places."""
        return present(self.vip)

    @property
    def general_listeners(self) -> list[ListenAddress]:
        """What listens on every node."""
        health = [] if self.health is None else placed(("health", "listen"), self.health.listen)
        if self.health and self.health.agent_check:
            health.append((("health", "agent_check"), self.health.agent_check))
        return health

    @property
    def web_listeners(self) -> list[ListenAddress]:
        """What listens besides on each node without listeners of its own."""
        return [] if self.web is None else placed(("web", "listen"), self.web.listen)

    @property
    def own_listeners(self) -> list[tuple[int, list[ListenAddress]]]:
        """What listens in place of that on single nodes, by the index of the node."""
        return [(index, placed(("node", index, "listen"), node.listen or ())) for index, node in self.nodes]


def placed(place: KeyPath, listeners: Sequence[HostPort]) -> list[ListenAddress]:
    """Give each listener of a list its place."""
    return [((*place, index), listener) for index, listener in enumerate(listeners)]


def present(items: Sequence[_Item | None]) -> list[tuple[int, _Item]]:
    """Give the items that are right by themselves, with their places."""
    return [(index, item) for index, item in enumerate(items) if item is not None]


def twice(names: Iterable[tuple[KeyPath, str]], message: str, key: Callable[[str], str] = str) -> Iterator[Problem]:
    """Report each name that stands at a second place, with the first place as the hint."""
    seen: dict[str, str] = {}
    for place, name in names:
        path = path_of(place)
        first = seen.setdefault(key(name), path)
        if first != path:
            yield Problem(path=path, message=message.format(name), hint=f"{first} has it already")
