"""Conflicts over a virtual IP: claims by MACs that no node of the farm has, from the first claim to the last.

A claim may arrive before the heartbeat that explains it, from a node that has just started or has a new MAC. Claims
therefore wait before they are judged. A claim that proves to be another machine's is reported once and kept; the nodes
that know of it ask the network again and again. When nobody else has claimed the address for a while, the conflict is
over.
"""

from collections.abc import Collection
from dataclasses import dataclass
from math import inf
from typing import Final

from l2mode.core.settings import VirtualIp

PATIENCE: Final = 2.0
"Seconds until a claim by an unknown MAC counts as a conflict: the heartbeat that explains it may arrive later."
GONE_AFTER: Final = 15.0
"Seconds without another claim until a conflict is over."
CONFLICT_INTERVAL: Final = 60.0
"Seconds between two reports about one virtual IP, if the other machine comes and goes."
MAX_SUSPECTS: Final = 32
"The number of claims that may wait to be judged. Further ones are ignored, so that a flood cannot fill the memory."
REMEDY: Final = "find it by its MAC at the switch; take the address away from it, or choose another VIP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """A virtual IP that a machine outside the farm uses."""

    vip: VirtualIp
    mac: bytes

    def __str__(self) -> str:
        return f"{self.vip} is also claimed by {self.mac.hex(':')}: another machine or another farm uses this address"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflictOver:
    """The machine outside the farm no longer uses the virtual IP."""

    conflict: Conflict

    def __str__(self) -> str:
        return f"over: {self.conflict}"


@dataclass(slots=True)
class _OpenConflict:
    conflict: Conflict
    seen_at: float
    told: bool = False


class Conflicts:
    """The claims of machines outside the farm, by virtual IP."""

    def __init__(self) -> None:
        self._suspects: dict[tuple[VirtualIp, bytes], float] = {}
        "When each claim is to be judged, in seconds."
        self._open: dict[VirtualIp, _OpenConflict] = {}
        self._quiet_until: dict[VirtualIp, float] = {}

    @property
    def open(self) -> tuple[Conflict, ...]:
        """The conflicts that are proven and not over."""
        return tuple(each.conflict for each in self._open.values())

    def forget(self, vip: VirtualIp) -> None:
        """Note that the farm does not use a virtual IP any more."""
        self._open.pop(vip, None)
        self._quiet_until.pop(vip, None)
        self._suspects = {suspect: ripe_at for suspect, ripe_at in self._suspects.items() if suspect[0] != vip}

    def claimed(self, vip: VirtualIp, mac: bytes, *, now: float) -> None:
        """Take in a claim by a MAC that is not known to belong to the farm."""
        known = self._open.get(vip)
        if known is not None:
            # If the other machine is a farm, each of its nodes may answer in turn; that is still one conflict.
            known.seen_at = now
        elif len(self._suspects) < MAX_SUSPECTS:
            self._suspects.setdefault((vip, mac), now + PATIENCE)

    def due(self, farm_macs: Collection[bytes], *, now: float) -> list[Conflict | ConflictOver]:
        """Return the conflicts whose MACs still belong to no node of the farm, and those that are over."""
        said: list[Conflict | ConflictOver] = []
        for vip, mac in [suspect for suspect, ripe_at in self._suspects.items() if ripe_at <= now]:
            del self._suspects[vip, mac]
            if mac not in farm_macs and vip not in self._open:
                self._open[vip] = _OpenConflict(Conflict(vip=vip, mac=mac), seen_at=now)
        for vip, known in list(self._open.items()):
            if now >= known.seen_at + GONE_AFTER or known.conflict.mac in farm_macs:
                del self._open[vip]
                said += [ConflictOver(conflict=known.conflict)] if known.told else []
            elif not known.told and now >= self._quiet_until.get(vip, -inf):
                known.told = True
                self._quiet_until[vip] = now + CONFLICT_INTERVAL
                said.append(known.conflict)
        return said

    def next_at(self) -> float:
        """The time at which the next claim is to be judged, or the next conflict is over or to be reported."""
        ripe = min(self._suspects.values(), default=inf)
        over = min((each.seen_at + GONE_AFTER for each in self._open.values()), default=inf)
        untold = [self._quiet_until.get(vip, -inf) for vip, each in self._open.items() if not each.told]
        return min(ripe, over, *untold)
