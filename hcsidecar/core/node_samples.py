"""The last hour of a node, one sample each 10 s, in memory of a fixed size; it is lost when the daemon ends.

Samples lie on a grid of the monotonic clock, so setting the wall clock neither loses nor doubles one. Wall-clock times
are computed when the series is read: the whole of it moves with a wall clock that is set.
"""

from array import array
from collections.abc import Mapping
from math import isnan, nan
from typing import Final

import msgspec

from hcsidecar.core.documents import NodeSeries

INTERVAL: Final = 10.0
"Seconds between two samples."
SAMPLES: Final = 360
"Samples that are kept: an hour."
_DIGITS: Final = 2
"Decimals that are told; a column holds 4 bytes for each sample."


class NodeSample(msgspec.Struct, frozen=True, kw_only=True):
    """What a node is now; counters are since the start of the daemon."""

    ready: bool
    "The health URL answers 200."
    share: Mapping[str, float]
    "Its part of each share, 0 to 1; empty without [l2]."
    health_answers: int
    "Answers of the health URL."
    opened: int | None
    "New connections and datagrams that the filter has taken; None without [l2]."


class SampleRing:
    """The samples of the last hour. `now` is in seconds of a monotonic clock everywhere."""

    def __init__(self) -> None:
        self._ready = _Column()
        self._health = _CounterColumn()
        self._connections = _CounterColumn()
        self._share: dict[str, _Column] = {}
        self._has_filter = False
        self._first = self._newest = -1
        "Places on the grid: of the first sample ever, and of the newest; -1 before there is one."

    def is_due(self, *, now: float) -> bool:
        """Return whether a place on the grid has come that has no sample yet."""
        return _place(now) > self._newest

    def take(self, sample: NodeSample, *, now: float) -> None:
        """Keep a sample that is due. Places for which none was taken stay empty."""
        place = _place(now)
        if self._newest < 0:
            self._first = place
        # A share that the farm has no more takes its past with it: memory depends on the farm as it is.
        self._share = {name: self._share.get(name) or _Column() for name in sample.share}
        for column in (self._ready, self._health.rates, self._connections.rates, *self._share.values()):
            column.clear(max(self._newest + 1, place - SAMPLES + 1), place)
        self._ready.put(place, float(sample.ready))
        self._health.count(place, sample.health_answers, now=now)
        self._has_filter = sample.opened is not None
        self._connections.count(place, sample.opened, now=now)
        for name, fraction in sample.share.items():
            self._share[name].put(place, 100 * fraction)
        self._newest = place

    def series(self, node: str, *, now: float, wall: float) -> NodeSeries:
        """Return all samples, the oldest first; `wall` is the wall clock now, in seconds since 1970."""
        first = max(self._first, self._newest - SAMPLES + 1)
        places = range(first, self._newest + 1) if self._newest >= 0 else range(0)
        return NodeSeries(
            node=node,
            interval=INTERVAL,
            ends_at=round(wall - (now - self._newest * INTERVAL), 3) if places else wall,
            ready=tuple(None if value is None else int(value) for value in self._ready.told(places)),
            health=self._health.rates.told(places),
            connections=self._connections.rates.told(places) if self._has_filter else None,
            share={name: column.told(places) for name, column in self._share.items()},
        )


class _Column:
    """One number for each of the last places; not a number where there is no sample."""

    def __init__(self) -> None:
        self._values = array("f", [nan]) * SAMPLES

    def put(self, place: int, value: float) -> None:
        self._values[place % SAMPLES] = value

    def clear(self, first: int, last: int) -> None:
        for place in range(first, last + 1):
            self.put(place, nan)

    def told(self, places: range) -> tuple[float | None, ...]:
        values = (self._values[place % SAMPLES] for place in places)
        return tuple(None if isnan(value) else round(value, _DIGITS) for value in values)


class _CounterColumn:
    """The rate of a counter since the sample before, per second."""

    def __init__(self) -> None:
        self.rates = _Column()
        self._before: tuple[int, float] | None = None

    def count(self, place: int, total: int | None, *, now: float) -> None:
        if total is not None and self._before is not None:
            counted, then = self._before
            # A counter that is lower than before has begun anew: what it has counted between is not known.
            if total >= counted:
                self.rates.put(place, (total - counted) / (now - then))
        self._before = None if total is None else (total, now)


def _place(now: float) -> int:
    return int(now // INTERVAL)
