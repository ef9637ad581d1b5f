"""Which probers ask for this node's health, and which have got NOT FOUND often enough to send no more traffic.

A balancer counts failures on its own side: HAProxy takes a server out after `fall` of them, an AWS target group after
its unhealthy threshold. So a drain has been noticed when each prober has got that many NOT FOUND in a row. HAProxy's
agent-check does not count: HAProxy acts on the first word.

A prober is an address and the contents of its request, since one address may have several, such as a balancer and a
person with curl. Two that send the same request from the same address cannot be distinguished and count as one.

A balancer that has deregistered this node asks no more, and so is never told. Nothing says which prober belongs to
which balancer, but each has a rhythm: a node that its balancers have deregistered need not wait for a prober that has
missed its turn.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import NamedTuple, Self

ABOUT = 60.0
"Seconds since its last poll for which a prober counts as present."
REMEMBERED = 1024
"Probers that are remembered; the one that has been silent longest is forgotten first."
LONGEST_FIELD = 64
"Bytes of each header that distinguish probers, so that memory is bounded whatever they send."
GAPS = 8
"The number of latest pauses between polls that make up a rhythm. Probers that count as one have short and long pauses."
LATE = 1.0
"Seconds that a poll may be late, in addition to half its prober's rhythm."


AGENT_CHECK = "agent-check"
"Used in place of a method of HTTP."


class Prober(NamedTuple):
    """What identifies a prober: the address that it polls from, and its request."""

    address: str
    "The address of the TCP connection; a PROXY prefix is not believed."
    method: str
    path: str
    host: bytes = b""
    agent: bytes = b""

    @classmethod
    def asking_agent(cls, address: str, sent: bytes) -> Self:
        """Return the prober of an agent-check, which may send something (`agent-send`)."""
        return cls(address=address, method=AGENT_CHECK, path="", agent=sent[:LONGEST_FIELD])

    def __str__(self) -> str:
        request = " ".join(part for part in (self.method, self.path) if part)
        return f"prober {self.address} ({request})"

    def has_had_enough(self, not_found: int, *, fall: int) -> bool:
        """Return whether this number of NOT FOUND in a row makes the prober send no more traffic."""
        return not_found >= (1 if self.method == AGENT_CHECK else fall)


@dataclass(slots=True, kw_only=True)
class _Polls:
    """What is remembered of one prober."""

    last: float
    "Time of the last poll."
    not_found: int = 0
    "The number of NOT FOUND in a row."
    gaps: deque[float] = field(default_factory=lambda: deque(maxlen=GAPS))
    "Seconds between the latest polls."

    def has_missed_its_turn(self, now: float) -> bool:
        """Return whether another poll would have come by now; always False if the prober has polled only once."""
        return bool(self.gaps) and now - self.last > 1.5 * max(self.gaps) + LATE


class Probers:
    """A bounded memory of polls."""

    def __init__(self, *, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._polls: OrderedDict[Prober, _Polls] = OrderedDict()
        "The one that has been silent longest is first."
        self._forgotten_until: float | None = None
        "Until this time a forgotten prober may be present."

    def polled(self, prober: Prober, *, ok: bool, now: float) -> None:
        """Record one answer: OK, or another NOT FOUND in a row."""
        polls = self._polls.get(prober)
        if polls is None:
            polls = self._polls[prober] = _Polls(last=now)
        else:
            polls.gaps.append(now - polls.last)
            polls.last = now
            self._polls.move_to_end(prober)
        polls.not_found = 0 if ok else polls.not_found + 1
        if len(self._polls) > self._remembered:
            _, longest_silent = self._polls.popitem(last=False)
            self._forgotten_until = longest_silent.last + ABOUT

    def waiting(self, fall: int, *, now: float, let_go: bool = False) -> tuple[str, ...]:
        """Return those that have polled in the last minute and have had fewer than `fall` NOT FOUND in a row.

        `let_go` means that this node's balancers have deregistered it; then a prober that has missed a turn has gone
        with them. If a prober that was forgotten for want of room may be among them, one more line says so.
        """
        unsure = {
            str(prober)
            for prober, polls in self._polls.items()
            if not prober.has_had_enough(polls.not_found, fall=fall)
            and now - polls.last <= ABOUT
            and not (let_go and polls.has_missed_its_turn(now))
        }
        forgotten = self._forgotten_until is not None and now <= self._forgotten_until
        return (*sorted(unsure), *([f"more than {self._remembered} probers"] if forgotten else []))
