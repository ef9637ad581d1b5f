"""A farm on a virtual clock: real nodes with real handovers of 4096 buckets, and links that delay and lose datagrams.

The observer looks at the filters alone, as a client would: which buckets somebody takes, and since when nobody does.
"""

import heapq
from collections.abc import Callable
from functools import partial
from itertools import count
from random import Random

from hcsidecar.core.membership.heartbeat import Heartbeat
from hcsidecar.core.membership.node import Node, NodeOutput, Send, Timing
from l2mode.core.buckets import BUCKETS
from l2mode.core.handover import Handover, View

DELAY = (0.0001, 0.001)
"Seconds that a datagram is under way, drawn evenly."
ALL = (1 << BUCKETS) - 1


class Coverage:
    """How long which buckets have had no taker since `begin`."""

    def __init__(self) -> None:
        self.begin(now=0.0)

    def begin(self, *, now: float) -> None:
        """Forget what was; the buckets without a taker now count from now."""
        self._changed_at = now
        self.bucket_seconds = 0.0
        "Sum over all buckets of the time without a taker."
        self.longest = 0.0
        "The longest time that any one bucket was without a taker."
        self.doubled = 0
        "Buckets that had two takers at some moment, counted once for each such moment."
        self._open: dict[float, int] = {}
        "Buckets without a taker, by when that began."

    def look(self, masks: list[int], *, now: float) -> None:
        """Take note of what each filter takes from now on."""
        taken, held = 0, 0
        for mask in masks:
            taken |= mask
            held += mask.bit_count()
        self.doubled += held - taken.bit_count()
        waiting = sum(mask.bit_count() for mask in self._open.values())
        self.bucket_seconds += waiting * (now - self._changed_at)
        self._changed_at = now
        uncovered = ALL & ~taken
        for since, mask in list(self._open.items()):
            if mask & taken:
                self.longest = max(self.longest, now - since)
            self._open[since] = mask & uncovered
            uncovered &= ~mask
        if uncovered:
            self._open[now] = self._open.get(now, 0) | uncovered
        self._open = {since: mask for since, mask in self._open.items() if mask}

    @property
    def whole(self) -> bool:
        """True while every bucket has a taker."""
        return not self._open


class _Watched(Handover):
    """The real handover, with a farm that looks at the filters whenever they change."""

    def __init__(self, machine: "Machine") -> None:
        super().__init__(name=machine.name)
        self._farm = machine.farm

    def adopt(self, view: View) -> None:
        super().adopt(view)
        self._farm.look()

    def claim(self) -> None:
        super().claim()
        self._farm.look()

    def release(self) -> None:
        super().release()
        self._farm.look()


class Machine:
    """One server of the farm."""

    def __init__(self, farm: "VirtualFarm", name: str) -> None:
        self.farm, self.name = farm, name
        self.node: Node | None = None
        self.share: _Watched | None = None
        self._boots = count(1)
        self._due = float("inf")

    def start(self, *, power: int = 1) -> None:
        """Start its daemon, whose module is Ready at once."""
        farm = self.farm
        self.share = _Watched(self)
        self.node = Node(
            name=self.name,
            boot=next(self._boots),
            nodes=farm.names,
            farm="virtual",
            timing=farm.timing,
            settings_digest=b"digest",
            powers=(power,),
            share=self.share,
            now=farm.now,
        )
        self._due = float("inf")
        self.do(lambda node: node.set_wants(True, now=farm.now))

    def die(self) -> None:
        """Lose power: neither daemon nor filter is there any more."""
        self.node = self.share = None
        self._due = float("inf")
        self.farm.look()

    def do(self, errand: Callable[[Node], NodeOutput]) -> None:
        """Have the node do something, and send what it wants sent."""
        node, farm = self.node, self.farm
        if node is None:
            return
        for send in errand(node).sends:
            farm.carry(send)
        if node.membership.said_farewell:
            self.die()
            return
        due = node.next_tick_at()
        if due < self._due:
            self._due = max(due, farm.now)
            farm.at(self._due, self._tick)

    def receive(self, heartbeat: Heartbeat) -> None:
        """Take in what the network brings."""
        self.do(lambda node: node.receive(heartbeat, now=self.farm.now))

    def _tick(self) -> None:
        # Of the timers that were set, only the earliest still counts.
        if self.farm.now == self._due:
            self._due = float("inf")
            self.do(lambda node: node.tick(now=self.farm.now))


class VirtualFarm:
    """Machines, links and clock; the same seed gives the same history."""

    def __init__(self, *, size: int, timing: Timing, seed: str, loss: float = 0.0) -> None:
        self.now = 0.0
        self.timing = timing
        self.loss = loss
        self.random = Random(seed)
        self.coverage = Coverage()
        self.names = tuple(f"web{number:02}" for number in range(1, size + 1))
        self.machines = {name: Machine(self, name) for name in self.names}
        self._changed = False
        self._order = count()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        for machine in self.machines.values():
            self.at(self.random.random() * timing.pulse, machine.start)

    def at(self, time: float, call: Callable[[], None]) -> None:
        """Have something happen at a time."""
        heapq.heappush(self._agenda, (time, next(self._order), call))

    def carry(self, send: Send) -> None:
        """Take a heartbeat to its receivers, or lose it."""
        random, now = self.random.random, self.now
        least, most = DELAY
        for name in send.to:
            if self.loss and random() < self.loss:
                continue
            arrival = partial(self.machines[name].receive, send.heartbeat)
            self.at(now + least + random() * (most - least), arrival)

    def look(self) -> None:
        """See what the filters take now."""
        self._changed = True
        self.coverage.look([machine.share.mine(0) for machine in self.machines.values() if machine.share], now=self.now)

    def run(self, until: Callable[[], bool], *, limit: float) -> float:
        """Let time pass until a condition that depends on views and filters holds; give how long that took.

        AssertionError when it does not within `limit` seconds.
        """
        begin = self.now
        if until():
            return 0.0
        self._changed = False
        while self._agenda:
            self.now, _, call = heapq.heappop(self._agenda)
            call()
            if self._changed:
                self._changed = False
                if until():
                    return self.now - begin
            if self.now > begin + limit:
                break
        raise AssertionError(f"the farm has not come to rest within {limit} s of its clock")

    def rest(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self._agenda and self._agenda[0][0] <= end:
            self.now, _, call = heapq.heappop(self._agenda)
            call()
        self.now = end

    def running(self) -> list[Node]:
        """List the nodes of the machines that run."""
        return [machine.node for machine in self.machines.values() if machine.node is not None]

    def agreed(self, members: frozenset[str]) -> bool:
        """True when every node that runs has the view of just these members, or is out and none of them."""
        for node in self.running():
            view = node.membership.view
            wanted = members if node.membership.name in members else frozenset()
            if {name for name, _ in view} != wanted:
                return False
        return True

    def settled(self, members: frozenset[str]) -> bool:
        """True when they agree, have claimed what the view gives them, and no bucket is without a taker."""
        return (
            self.coverage.whole
            and self.agreed(members)
            and all(node.membership.claimed for node in self.running() if node.membership.name in members)
        )
