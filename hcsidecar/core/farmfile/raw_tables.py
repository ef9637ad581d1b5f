"""The tables of one farm file that are right by themselves, for the checks between tables."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hcsidecar.core.farmfile.application_table import ApplicationTable
from hcsidecar.core.farmfile.check_tables import Check
from hcsidecar.core.farmfile.notify_tables import Receiver
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
"The place of a listener in the file, and the address and TCP port where the daemon listens."
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTables:
    """The tables of one file. None stands for a table that is wrong by itself, so that indexes stay as in the file."""

    farm: FarmTable | None
    node: Sequence[NodeTable | None]
    web: WebTable | None
    health: HealthTable | None
    heartbeat: HeartbeatTable | None = None
    has_application: bool = False
    "The file has a table [application], right or wrong."
    application: ApplicationTable | None = None
    check: Sequence[Check | None] = ()
    target: Sequence[Target | None] = ()
    notify: Sequence[Receiver | None] = ()
    vip: Sequence[VipTable | None] = ()
    share: Sequence[ShareTable | None] = ()

    @property
    def nodes(self) -> list[tuple[int, NodeTable]]:
        """The nodes that are right by themselves, with their indexes."""
        return present(self.node)

    @property
    def shares(self) -> list[tuple[int, ShareTable]]:
        """The shares that are right by themselves, with their indexes."""
        return present(self.share)

    @property
    def vips(self) -> list[tuple[int, VipTable]]:
        """The VIPs that are right by themselves, with their indexes."""
        return present(self.vip)

    @property
    def general_listeners(self) -> list[ListenAddress]:
        """The listeners of every node: health URL and agent-check."""
        health = [] if self.health is None else placed(("health", "listen"), self.health.listen)
        if self.health and self.health.agent_check:
            health.append((("health", "agent_check"), self.health.agent_check))
        return health

    @property
    def web_listeners(self) -> list[ListenAddress]:
        """The further listeners of each node that has no `listen` of its own."""
        return [] if self.web is None else placed(("web", "listen"), self.web.listen)

    @property
    def own_listeners(self) -> list[tuple[int, list[ListenAddress]]]:
        """The listeners of single nodes, in place of the web listeners, by the index of the node."""
        return [(index, placed(("node", index, "listen"), node.listen or ())) for index, node in self.nodes]


def placed(place: KeyPath, listeners: Sequence[HostPort]) -> list[ListenAddress]:
    """Return each listener of a list with its place."""
    return [((*place, index), listener) for index, listener in enumerate(listeners)]


def present(items: Sequence[_Item | None]) -> list[tuple[int, _Item]]:
    """Return the items that are right by themselves, with their indexes."""
    return [(index, item) for index, item in enumerate(items) if item is not None]


def twice(names: Iterable[tuple[KeyPath, str]], message: str, key: Callable[[str], str] = str) -> Iterator[Problem]:
    """Yield a problem for each name that occurs again, with its first place as the hint."""
    seen: dict[str, str] = {}
    for place, name in names:
        path = path_of(place)
        first = seen.setdefault(key(name), path)
        if first != path:
            yield Problem(path=path, message=message.format(name), hint=f"{first} has it already")
