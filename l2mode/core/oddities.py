"""Which packets should not be there: what the operator is told of the filter's counters, seldom enough to be read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from l2mode.core.reasons import Reason
from l2mode.core.verdict import Delivery

TELL_EVERY: Final = 60.0
"Seconds between two lines about one reason: what goes wrong once goes wrong a million times."


@dataclass(frozen=True, slots=True, kw_only=True)
class Oddity:
    """Packets that should not be there, to be told."""

    level: str
    "info: others may cause it at will. warning: the farm or its network is not right."
    packets: int
    "Since the last line about this reason."
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
    Reason.NOT_MINE: ("warning", "a member sent on what belongs to a third: their views have differed"),
    Reason.TTL_OVER: ("warning", "packets arrive here with nothing left of it, or members send them round"),
    Reason.NO_MAC: ("warning", "a member takes a share, but its heartbeats do not say where its interface is"),
}
"In flooded delivery nothing is sent on, and most of what is seen is another's."


def odd_reasons(delivery: Delivery) -> Mapping[Reason, tuple[str, str]]:
    """Give the reasons that should not occur, each with its level and what it hints at."""
    return _EVERYWHERE | _DIRECTED if delivery is Delivery.DIRECTED else _EVERYWHERE


class Oddities:
    """Watches the counters of one filter, which begin at 0."""

    def __init__(self, delivery: Delivery) -> None:
        self._odd = odd_reasons(delivery)
        self._told: dict[Reason, int] = {}
        self._told_at: dict[Reason, float] = {}

    def look(self, counters: Mapping[Reason, int], *, now: float) -> list[Oddity]:
        """Give what is to be told now: a reason that grew, and was not told within `TELL_EVERY`."""
        found = []
        for reason, (level, hint) in self._odd.items():
            packets = counters.get(reason, 0) - self._told.get(reason, 0)
            if packets > 0 and now >= self._told_at.get(reason, float("-inf")) + TELL_EVERY:
                self._told[reason] = counters[reason]
                self._told_at[reason] = now
                found.append(Oddity(level=level, packets=packets, reason=reason, hint=hint))
        return found
