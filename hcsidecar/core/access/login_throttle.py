"""Slows down whoever guesses passwords: failed logins are counted by the user's name and by the address.

An address waits longer and longer, up to a quarter of an hour. A name waits for seconds only, from whichever address: a
stranger may slow its owner down, but not lock him out. What is remembered is limited; what has failed longest ago is
forgotten first. `now` is in seconds of the monotonic clock.
"""

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

FREE_BY_NAME: Final = 5
FREE_BY_ADDRESS: Final = 10
"Failures that cost no wait; many people may come from one address."
LONGEST_BY_NAME: Final = 10.0
LONGEST_BY_ADDRESS: Final = 900.0
"Seconds that the next attempt must wait, at most."
FORGOTTEN_AFTER: Final = 3600.0
"Seconds without a failure."
MOST_REMEMBERED: Final = 4096
"Names, and as many addresses."
_IPV6_BITS: Final = 64
"One customer has at least so much of IPv6."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failures:
    count: int
    last: float
    wait: float


class _Counter:
    """The failures of names, or of addresses."""

    def __init__(self, *, free: int, longest: float) -> None:
        self._free, self._longest = free, longest
        self._failures: dict[str, _Failures] = {}
        "The one that failed last comes last."

    def wait(self, who: str, *, now: float) -> float:
        failures = self._failures.get(who)
        return 0.0 if failures is None else max(0.0, failures.last + failures.wait - now)

    def failed(self, who: str, *, now: float) -> None:
        former = self._failures.pop(who, None)
        count = former.count + 1 if former is not None and now < former.last + FORGOTTEN_AFTER else 1
        # The exponent has a limit of its own: a count of thousands is no number of seconds.
        wait = 0.0 if count < self._free else min(self._longest, 2.0 ** min(count - self._free, 30))
        self._failures[who] = _Failures(count=count, last=now, wait=wait)
        while len(self._failures) > MOST_REMEMBERED:
            del self._failures[next(iter(self._failures))]

    def forget(self, who: str) -> None:
        self._failures.pop(who, None)


class LoginThrottle:
    """Counts failed logins. Ask `wait` before a password is looked at, and tell what became of it."""

    def __init__(self) -> None:
        self._names = _Counter(free=FREE_BY_NAME, longest=LONGEST_BY_NAME)
        self._addresses = _Counter(free=FREE_BY_ADDRESS, longest=LONGEST_BY_ADDRESS)

    def wait(self, name: str, address: str, *, now: float) -> float:
        """Return for how many seconds a login must not be tried; 0 if it may be tried now."""
        return max(self._names.wait(name, now=now), self._addresses.wait(_network(address), now=now))

    def failed(self, name: str, address: str, *, now: float) -> None:
        """Count a wrong name or password."""
        self._names.failed(name, now=now)
        self._addresses.failed(_network(address), now=now)

    def succeeded(self, name: str) -> None:
        """Forget the failures of a name. Those of the address stay: who has a user here may still guess others."""
        self._names.forget(name)


def _network(address: str) -> str:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or ip_network((parsed, _IPV6_BITS), strict=False))
    return str(parsed)
