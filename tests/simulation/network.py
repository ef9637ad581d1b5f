"""The virtual network: links that lose, delay, repeat and reorder datagrams, and that can be cut one way."""

from dataclasses import dataclass

NEVER = float("inf")

HELD_AT_MOST = 1000
"Datagrams of one way."
FULL = (None,) * HELD_AT_MOST


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """How links treat datagrams; delays in units of T (lost_after)."""

    loss: float = 0.0
    delay: float = 0.002
    "The least; with the jitter this reorders."
    jitter: float = 0.0
    duplicates: float = 0.0
    echoes: float = 0.0
    "Part of the datagrams that come once more, up to 3 T later: replays, and queues of routers that heal."


class Network:
    """Which way is whole, since when, and what the weather does to each datagram."""

    __slots__ = (
        "_delay",
        "_duplicates",
        "_echoes",
        "_held",
        "_jitter",
        "_loss",
        "_random",
        "_scale",
        "_schedule",
        "_swallows",
        "whole",
    )

    def __init__(self, *, size, weather, scale, random, schedule):
        self._random = random.random
        self._scale = scale
        self._schedule = schedule
        self.whole = [[0.0] * size for _ in range(size)]
        "Since when the way from the first to the second is whole; NEVER while it is not."
        self._swallows = [[False] * size for _ in range(size)]
        self._held = {}
        "By way: what somebody holds back of it, to let it arrive when he likes."
        self.set_weather(weather)

    def set_weather(self, weather):
        self._loss = weather.loss
        self._delay = weather.delay * self._scale
        self._jitter = weather.jitter * self._scale
        self._duplicates = weather.duplicates
        self._echoes = weather.echoes

    def cut(self, source, target):
        self.whole[source][target] = NEVER
        self._swallows[source][target] = True

    def swallow(self, source, target):
        """Lose all that is sent that way from now on: a burst of bad luck on a way that counts as whole."""
        self._swallows[source][target] = True

    def hold(self, source, target):
        """Hold back what is sent that way from now on; to those at its ends that is a cut."""
        self.cut(source, target)
        self._held.setdefault((source, target), [])

    def let_go(self, source, target, *, now, every):
        """Let what is held back arrive after all, with so many seconds from one datagram to the next."""
        for number, (arrive, letter) in enumerate(self._held.pop((source, target), ())):
            self._schedule(now + number * every, arrive, letter)

    def heal(self, source, target, *, now):
        self._swallows[source][target] = False
        if self.whole[source][target] == NEVER:
            self.whole[source][target] = now

    def meet_anew(self, one, other, *, now):
        """Count the time for which two machines could hear each other from now on, where they can."""
        for source, target in ((one, other), (other, one)):
            if self.whole[source][target] != NEVER:
                self.whole[source][target] = now

    def doubt(self):
        """Count no way as whole: so much is lost that nobody can be expected to hear anybody."""
        for row in self.whole:
            row[:] = [NEVER] * len(row)

    def trust(self, *, now):
        """Count all ways that are not cut as whole again."""
        for source, row in enumerate(self.whole):
            for target, since in enumerate(row):
                if since == NEVER and not self._swallows[source][target]:
                    row[target] = now

    def carries(self, source, target):
        return not self._swallows[source][target]

    def carry(self, source, receivers, letter, *, now):
        """Send one letter to each receiver, a pair of index and what is called with the letter on arrival."""
        random, schedule, swallows = self._random, self._schedule, self._swallows[source]
        loss, delay, jitter = self._loss, self._delay, self._jitter
        again = self._duplicates + self._echoes
        for index, arrive in receivers:
            if self._held and len(held := self._held.get((source, index), FULL)) < HELD_AT_MOST:
                held.append((arrive, letter))
            if swallows[index] or (loss and random() < loss):
                continue
            schedule(now + delay + (random() * jitter if jitter else 0.0), arrive, letter)
            if again and random() < again:
                late = delay + jitter if random() * again < self._duplicates else 3 * self._scale
                schedule(now + delay + random() * late, arrive, letter)
