"""Who else uses a virtual IP: claims by MACs that no node of the farm has, from the first one until they are gone.

A claim may be older than the heartbeat that explains it: a node that has just been started, or has got another MAC. So
it waits to be judged. What proves to be another machine's is told once and stands; whoever knows of it asks the network
again and again, and when nobody else has claimed the address for a while, it is over.
"""

from collections.abc import Collection
from dataclasses import dataclass
from math import inf
from typing import Final

from l2mode.core.settings import VirtualIp

PATIENCE: Final = 2.0
"Seconds until a claim by an unknown MAC is called a conflict: its heartbeat may be the later one."
GONE_AFTER: Final = 15.0
"Seconds without such a claim until a conflict is over."
CONFLICT_INTERVAL: Final = 60.0
"Seconds between two reports about one virtual IP, where the other machine comes and goes."
MAX_SUSPECTS: Final = 32
"Claims that wait to be judged; further ones are forgotten, so that a flood of them does not fill the memory."
REMEDY: Final = "find it by its MAC at the switch; take the address away from it, or choose another VIP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """A machine outside the farm uses a virtual IP."""

    vip: VirtualIp
    mac: bytes

    def __str__(self) -> str:
        return f"{self.vip} is also claimed by {self.mac.hex(':')}: another machine or another farm uses this address"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflictOver:
    """It does not any more."""

    conflict: Conflict

    def __str__(self) -> str:
        return f"over: {self.conflict}"


@dataclass(slots=True)
class _Standing:
    conflict: Conflict
    seen_at: float
    told: bool = False


class Conflicts:
    """The claims of others, by virtual IP."""

    def __init__(self) -> None:
        self._suspects: dict[tuple[VirtualIp, bytes], float] = {}
        "When a claim is ripe to be judged."
        self._standing: dict[VirtualIp, _Standing] = {}
        self._quiet_until: dict[VirtualIp, float] = {}

    @property
    def standing(self) -> tuple[Conflict, ...]:
        """Those that have proved to be such, and are not over."""
        return tuple(each.conflict for each in self._standing.values())

    def claimed(self, vip: VirtualIp, mac: bytes, *, now: float) -> None:
        """Take a claim by a MAC that is not known to be the farm's."""
        standing = self._standing.get(vip)
        if standing is not None:
            # Of another farm each node may answer in turn; that is no other conflict.
            standing.seen_at = now
        elif len(self._suspects) < MAX_SUSPECTS:
            self._suspects.setdefault((vip, mac), now + PATIENCE)

    def due(self, farm_macs: Collection[bytes], *, now: float) -> list[Conflict | ConflictOver]:
        """Give the conflicts whose MACs are nobody's of the farm, even now, and those that are over."""
        said: list[Conflict | ConflictOver] = []
        for vip, mac in [suspect for suspect, ripe_at in self._suspects.items() if ripe_at <= now]:
            del self._suspects[vip, mac]
            if mac not in farm_macs and vip not in self._standing:
                self._standing[vip] = _Standing(Conflict(vip=vip, mac=mac), seen_at=now)
        for vip, standing in list(self._standing.items()):
            if now >= standing.seen_at + GONE_AFTER or standing.conflict.mac in farm_macs:
                del self._standing[vip]
                said += [ConflictOver(conflict=standing.conflict)] if standing.told else []
            elif not standing.told and now >= self._quiet_until.get(vip, -inf):
                standing.told = True
                self._quiet_until[vip] = now + CONFLICT_INTERVAL
                said.append(standing.conflict)
        return said

    def next_at(self) -> float:
        """When the next claim is ripe, or the next conflict over or to be told."""
        ripe = min(self._suspects.values(), default=inf)
        over = min((each.seen_at + GONE_AFTER for each in self._standing.values()), default=inf)
        untold = [self._quiet_until.get(vip, -inf) for vip, each in self._standing.items() if not each.told]
        return min(ripe, over, *untold)
