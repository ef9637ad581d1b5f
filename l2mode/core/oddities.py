"""Packets that should not occur: what the operator is told of the filter's counters, seldom enough to be read.

While the view changes, the members' tables differ for a moment and a few packets go astray. Every crash has this
effect, so only what persists is reported.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from l2mode.core.reasons import Reason
from l2mode.core.verdict import Delivery

LASTING: Final = 5.0
"Seconds for which a count must keep growing to be reported. It keeps growing while it has not stood still for as long."
TELL_EVERY: Final = 60.0
"Seconds between two lines about one reason: whatever goes wrong once goes wrong a million times."


@dataclass(frozen=True, slots=True, kw_only=True)
class Oddity:
    """A report of packets that should not occur."""

    level: str
    "info: anybody can cause it at will. warning: something is wrong with the farm or its network."
    packets: int
    "Packets since the last line about this reason, or since it began."
    reason: Reason
    hint: str

    def __str__(self) -> str:
        packets = "packet" if self.packets == 1 else "packets"
        return f"dropped {self.packets} {packets} to the VIPs: {self.reason.text}; {self.hint}"


class OddReason(NamedTuple):
    """What is said of a reason that should not occur."""

    level: str
    "As in `Oddity`."
    hint: str


_EVERYWHERE: Final[dict[Reason, OddReason]] = {
    Reason.MALFORMED: OddReason("info", "somebody sends garbage, or something on the way damages packets"),
    Reason.NOT_TO_ONE: OddReason("info", "somebody sends to the VIPs by broadcast or multicast"),
}
_DIRECTED: Final[dict[Reason, OddReason]] = {
    Reason.NOT_MINE: OddReason("warning", "a member forwarded a packet that belongs to a third: their views differ"),
    Reason.TTL_OVER: OddReason(
        "warning", "packets arrive with an expired time to live, or members forward them in a circle"
    ),
    Reason.NO_MAC: OddReason("warning", "a member takes a share, but its heartbeats do not say where its interface is"),
}
"In flooded delivery nothing is forwarded, and most of what a node sees belongs to another."


def odd_reasons(delivery: Delivery) -> Mapping[Reason, OddReason]:
    """Return the reasons that should not occur, and what is said of each."""
    return _EVERYWHERE | _DIRECTED if delivery is Delivery.DIRECTED else _EVERYWHERE


@dataclass(slots=True, kw_only=True)
class _Spell:
    """A time in which a reason's count kept growing."""

    began: float
    latest: float
    "When the count grew last."
    told: int
    "The count at the last line; before the first line, the count before the spell."
    told_at: float = float("-inf")


class Oddities:
    """Watches the counters of one filter. Counters begin at 0."""

    def __init__(self, delivery: Delivery) -> None:
        self._odd = odd_reasons(delivery)
        self._counts: dict[Reason, int] = {}
        self._spells: dict[Reason, _Spell] = {}

    @property
    def lasting(self) -> frozenset[Reason]:
        """The reasons that persisted at the last look, and had done so for `LASTING` seconds."""
        return frozenset(reason for reason, spell in self._spells.items() if spell.latest - spell.began >= LASTING)

    def look(self, counters: Mapping[Reason, int], *, now: float) -> list[Oddity]:
        """Return what is to be reported now: each reason that persists and was not reported within `TELL_EVERY`."""
        for reason in self._odd:
            self._note(reason, counters.get(reason, 0), now)
        found = []
        for reason in self._odd:
            if reason not in self.lasting:
                continue
            spell, count = self._spells[reason], self._counts[reason]
            if count > spell.told and now >= spell.told_at + TELL_EVERY:
                odd = self._odd[reason]
                found.append(Oddity(level=odd.level, packets=count - spell.told, reason=reason, hint=odd.hint))
                spell.told, spell.told_at = count, now
        return found

    def _note(self, reason: Reason, count: int, now: float) -> None:
        before = self._counts.get(reason, 0)
        self._counts[reason] = count
        spell = self._spells.get(reason)
        if spell is not None and now > spell.latest + LASTING:
            del self._spells[reason]
            spell = None
        if count > before:
            spell = self._spells.setdefault(reason, _Spell(began=now, latest=now, told=before))
            spell.latest = now
