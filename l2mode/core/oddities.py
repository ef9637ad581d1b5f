"""Which packets should not be there: what the operator is told of the filter's counters, seldom enough to be read.

While the view changes, the members' tables differ for a moment, and a few packets go astray: every crash does that. So
only what goes on is told.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from l2mode.core.reasons import Reason
from l2mode.core.verdict import Delivery

LASTING: Final = 5.0
"Seconds for which a count must go on growing to be told; it goes on while it has not stood still for as long."
TELL_EVERY: Final = 60.0
"Seconds between two lines about one reason: what goes wrong once goes wrong a million times."


@dataclass(frozen=True, slots=True, kw_only=True)
class Oddity:
    """Packets that should not be there, to be told."""

    level: str
    "info: others may cause it at will. warning: the farm or its network is not right."
    packets: int
    "Since the last line about this reason, or since it began."
    reason: Reason
    hint: str

    def __str__(self) -> str:
        packets = "packet" if self.packets == 1 else "packets"
        return f"dropped {self.packets} {packets} to the VIPs: {self.reason.text}; {self.hint}"


_EVERYWHERE: Final[dict[Reason, tuple[str, str]]] = {
    Reason.MALFORMED: ("info", "somebody sends garbage, or something on the way breaks packets"),
    Reason.NOT_TO_ONE: ("info", "somebody sends to the VIPs by broadcast or multicast"),
}
_DIRECTED: Final[dict[Reason, tuple[str, str]]] = {
    Reason.NOT_MINE: ("warning", "a member sent on what belongs to a third: their views differ"),
    Reason.TTL_OVER: ("warning", "packets arrive here with nothing left of it, or members send them round"),
    Reason.NO_MAC: ("warning", "a member takes a share, but its heartbeats do not say where its interface is"),
}
"In flooded delivery nothing is sent on, and most of what is seen is another's."


def odd_reasons(delivery: Delivery) -> Mapping[Reason, tuple[str, str]]:
    """Give the reasons that should not occur, each with its level and what it hints at."""
    return _EVERYWHERE | _DIRECTED if delivery is Delivery.DIRECTED else _EVERYWHERE


@dataclass(slots=True, kw_only=True)
class _Spell:
    """A time in which a reason's count grew again and again."""

    began: float
    latest: float
    "When it grew last."
    told: int
    "What the count was at the last line, at first before the spell."
    told_at: float = float("-inf")


class Oddities:
    """Watches the counters of one filter, which begin at 0."""

    def __init__(self, delivery: Delivery) -> None:
        self._odd = odd_reasons(delivery)
        self._counts: dict[Reason, int] = {}
        self._spells: dict[Reason, _Spell] = {}

    @property
    def lasting(self) -> frozenset[Reason]:
        """The reasons that went on at the last look, and had for `LASTING` seconds."""
        return frozenset(reason for reason, spell in self._spells.items() if spell.latest - spell.began >= LASTING)

    def look(self, counters: Mapping[Reason, int], *, now: float) -> list[Oddity]:
        """Give what is to be told now: a reason that goes on, and was not told within `TELL_EVERY`."""
        for reason in self._odd:
            self._note(reason, counters.get(reason, 0), now)
        found = []
        for reason in self._odd:
            if reason not in self.lasting:
                continue
            spell, count = self._spells[reason], self._counts[reason]
            if count > spell.told and now >= spell.told_at + TELL_EVERY:
                level, hint = self._odd[reason]
                found.append(Oddity(level=level, packets=count - spell.told, reason=reason, hint=hint))
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
