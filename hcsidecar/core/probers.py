"""Who polls the health URL, and who of them has been told NOT FOUND often enough to send no more traffic.

A balancer counts failures on its own side: HAProxy takes a server out after `fall` of them, an AWS target group after
its unhealthy threshold. So a drain has been noticed when each prober has had that many NOT FOUND in a row.

A prober is an address and what it says of itself in its request, since one address may hold several: a balancer and
a person with curl, say. Two that send the same request from the same address cannot be told apart and count as one.
"""

from collections import OrderedDict
from typing import NamedTuple

ABOUT = 60.0
"Seconds since its last poll for which a prober counts as being there."
REMEMBERED = 1024
"Probers that are remembered; the one that has been silent longest is forgotten first."
LONGEST_FIELD = 64
"Bytes of each header that tell probers apart, so that memory is bounded whatever they send."


class Prober(NamedTuple):
    """What tells one prober from another: where it polls from, and its request."""

    address: str
    "Of the TCP connection; what a PROXY prefix claims is not believed."
    method: str
    path: str
    host: bytes = b""
    agent: bytes = b""

    def __str__(self) -> str:
        return f"prober {self.address} ({self.method} {self.path})"


class Probers:
    """A bounded memory of polls."""

    def __init__(self, *, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._polls: OrderedDict[Prober, tuple[float, int]] = OrderedDict()
        "Time of the last poll and number of NOT FOUND in a row, the longest silent first."
        self._forgotten_until: float | None = None
        "Until then somebody forgotten may be about."

    def polled(self, prober: Prober, *, ok: bool, now: float) -> None:
        """Record one answer: OK, or one more NOT FOUND in a row."""
        known = self._polls.get(prober)
        self._polls[prober] = (now, 0 if ok else (known[1] if known else 0) + 1)
        self._polls.move_to_end(prober)
        if len(self._polls) > self._remembered:
            _, (last, _) = self._polls.popitem(last=False)
            self._forgotten_until = last + ABOUT

    def waiting(self, fall: int, *, now: float) -> tuple[str, ...]:
        """Describe those that have polled in the last minute and have not had `fall` NOT FOUND in a row, sorted.

        Somebody forgotten for want of room may be one of them; one line more says so then.
        """
        unsure = {
            str(prober) for prober, (last, not_found) in self._polls.items() if not_found < fall and now - last <= ABOUT
        }
        forgotten = self._forgotten_until is not None and now <= self._forgotten_until
        return (*sorted(unsure), *([f"more than {self._remembered} probers"] if forgotten else []))
