"""Computes what a client saw, and judges whether the farm kept its promises, from recorded requests only."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from hcsidecar.demo.plan import (
    CHECK_INTERVAL,
    CHECK_TIMEOUT,
    DRAIN,
    LOST_AFTER,
    PROBE_FALL,
    PROBE_INTERVAL,
    PULSE,
    STOP_PATIENCE,
)

REMEMBERED = 20_000
"Requests that a log holds; older ones are only counted."
ALLOWANCE = 1.0
"Seconds added to every computed limit, because three servers, a balancer and a client share this machine."
NOTICED_WITHIN = PROBE_INTERVAL * PROBE_FALL + ALLOWANCE
"Seconds from the death of a server until HAProxy sends it no more requests."
DEAD_WITHIN = LOST_AFTER + 2 * PULSE + ALLOWANCE
"Seconds from the death of a server until every other node reports it."
STOPPED_WITHIN = 10.0
"Seconds from `hcsidecar stop` until all nodes know: the start of an interpreter, three probes and their 404."
BACK_WITHIN = 5.0
"Seconds from the start of a daemon until its server serves: checks, listening for the others, HAProxy's probes."
HANG_NOTICED_WITHIN = CHECK_INTERVAL + CHECK_TIMEOUT + ALLOWANCE
"Seconds from a hang until every node knows: until the next check begins, and its time limit."
HANG_AVOIDED_WITHIN = HANG_NOTICED_WITHIN + PROBE_INTERVAL
"Seconds from a hang until HAProxy sends no more requests there: the first NOT FOUND is enough."
MENDED_WITHIN = HANG_NOTICED_WITHIN + DRAIN + STOP_PATIENCE + 4 * ALLOWANCE
"Seconds from a hang until all are Ready again: a stop that fails, a stop with force, a start, a return to the view."
FAIR = 0.5
"The part of an equal share that a server must have to take part in the load."


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request of a client; times in seconds of the monotonic clock."""

    began: float
    ended: float
    server: str | None
    "The server that answered, if the answer was good."
    complaint: str | None
    "What was wrong, or None."
    client: str = ""
    "The client's address, if there are several."
    kept: bool = False
    "Whether it went over the connection that its client keeps, or was meant to."
    lost: str | None = None
    "How that connection had ended; the request then went over a new one."


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What the client saw in a period of time."""

    seconds: float
    requests: int
    failed: int
    complaints: Mapping[str, int]
    lost: int
    "Kept connections that clients found broken."
    by_server: Mapping[str, int]
    "The number of good answers of each server."
    longest_gap: float
    "The longest time without a good answer, in seconds."
    median_latency: float | None
    "Seconds to a good answer; None if there was none."
    worst_latency: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseResult:
    """A promise, whether it was kept, and the evidence."""

    promise: str
    kept: bool
    found: str
    "The evidence: one line, or several lines of a log."


class RequestLog:
    """The client's requests in the order of their answers, and totals since the first."""

    def __init__(self, *, since: float) -> None:
        self.total = 0
        self.failed = 0
        self.lost = 0
        self._requests: deque[Request] = deque(maxlen=REMEMBERED)
        self._last_good = since
        self._longest_gap = 0.0

    def add(self, request: Request) -> None:
        """Add the latest request."""
        self.total += 1
        self._requests.append(request)
        self.lost += request.lost is not None
        if request.complaint is not None:
            self.failed += 1
            return
        self._longest_gap = max(self._longest_gap, request.ended - self._last_good)
        self._last_good = request.ended

    def longest_gap(self, *, now: float) -> float:
        """Return the longest time without a good answer since the beginning, up to now."""
        return max(self._longest_gap, now - self._last_good)

    def between(self, begin: float, end: float) -> tuple[Request, ...]:
        """Return the requests that ended between two times; one that a death cuts off belongs to the time after it."""
        found = []
        for request in reversed(self._requests):
            if request.ended < begin:
                break
            if request.ended <= end:
                found.append(request)
        return tuple(reversed(found))

    def first_good(self, server: str, *, since: float) -> float | None:
        """Return when a server first answered a request that began after a time."""
        for request in self.between(since, float("inf")):
            if request.server == server and request.began >= since:
                return request.ended
        return None


def summarise(requests: Sequence[Request], *, begin: float, end: float) -> Summary:
    """Return the summary of the requests that ended between two times."""
    good = [request for request in requests if request.complaint is None]
    latencies = [request.ended - request.began for request in good]
    moments = [begin, *(request.ended for request in good), end]
    complaints = Counter(request.complaint for request in requests if request.complaint is not None)
    return Summary(
        seconds=end - begin,
        requests=len(requests),
        failed=len(requests) - len(good),
        complaints=dict(complaints.most_common()),
        lost=sum(request.lost is not None for request in requests),
        by_server=dict(sorted(Counter(request.server or "?" for request in good).items())),
        longest_gap=max(after - before for before, after in pairwise(moments)),
        median_latency=median(latencies) if latencies else None,
        worst_latency=max(latencies, default=None),
    )


def no_request_fails(requests: Sequence[Request], *, way: str = "") -> PromiseResult:
    """Judge a planned change, which must not cost a request; `way` names the way to the servers, if it needs a name."""
    failed = sum(request.complaint is not None for request in requests)
    return PromiseResult(
        promise=f"no request fails {way}".rstrip(),
        kept=bool(requests) and not failed,
        found=f"{failed} of {len(requests)} failed" if requests else "there was no request",
    )


def all_take_part(requests: Sequence[Request], names: Sequence[str]) -> PromiseResult:
    """Judge whether each of these servers has its share of the load."""
    good = {name: sum(request.server == name for request in requests) for name in names}
    least = FAIR * sum(good.values()) / len(good)
    return PromiseResult(
        promise=f"{_listed(names)} share the load",
        kept=all(count > 0 and count >= least for count in good.values()),
        found=", ".join(f"{name} {count}" for name, count in good.items()),
    )


def fails_only_until_noticed(requests: Sequence[Request], *, death: float) -> PromiseResult:
    """Judge a death, which may cost the requests sent to the dead server until HAProxy has noticed."""
    bad = [request.ended - death for request in requests if request.complaint is not None]
    good_since = sum(request.complaint is None and request.ended - death > NOTICED_WITHIN for request in requests)
    failed = f"{len(bad)} failed, the last {max(bad):.1f} s after the kill" if bad else "none failed"
    return PromiseResult(
        promise=f"requests fail for {NOTICED_WITHIN:g} s at most, until HAProxy has noticed",
        kept=good_since > 0 and max(bad, default=0.0) <= NOTICED_WITHIN,
        found=f"{failed}; {good_since} good ones after that time",
    )


def fails_only_if_begun_in_time(
    requests: Sequence[Request], *, hang: float, limit: float, way: str = ""
) -> PromiseResult:
    """Judge a hang, which may cost the requests that begin within a limit; `way` as in `no_request_fails`."""
    bad = [request.began - hang for request in requests if request.complaint is not None]
    good_since = sum(request.complaint is None and request.began - hang > limit for request in requests)
    failed = f"{len(bad)} failed, the last begun after {max(bad):.1f} s" if bad else "none failed"
    return PromiseResult(
        promise=f"only requests fail {way} that begin within {limit:g} s".replace("  ", " "),
        kept=good_since > 0 and max(bad, default=0.0) <= limit,
        found=f"{failed}; {good_since} good ones begun after that time",
    )


def in_time(promise: str, took: float | None, *, limit: float) -> PromiseResult:
    """Judge something that had to happen within a limit; `took` is None if it did not happen."""
    return PromiseResult(
        promise=f"{promise} within {limit:g} s",
        kept=took is not None and took <= limit,
        found="did not happen" if took is None else f"after {took:.1f} s",
    )


def said_in_order(promise: str, lines: Iterable[str], *, words: Sequence[str]) -> PromiseResult:
    """Judge whether a log has lines with these words in this order."""
    wanted = list(words)
    found = []
    for line in lines:
        if wanted and wanted[0] in line:
            found.append(line)
            wanted.pop(0)
    return PromiseResult(
        promise=promise,
        kept=not wanted,
        found=f"no line with: {wanted[0]}" if wanted else "\n".join(found),
    )


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
