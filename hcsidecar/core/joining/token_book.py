"""The tokens that a node has made: for whom and how long each is good, and how wrong ones are counted and slowed down.

`now` is in seconds of the monotonic clock. Nothing here grows without limit, whatever is sent.
"""

import hmac
import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

MOST_WAITING: Final = 32
"Tokens that wait to be used."
_REMEMBERED: Final = 64
"Tokens in all: of those that are used or late it is known what became of them."
_FREE: Final = 3
"Wrong tokens of one source that cost it nothing."
_LONGEST_WAIT: Final = 60.0
"Seconds that a source must wait at the most."
_FORGOTTEN: Final = 600.0
"Seconds after which a source begins anew."
_SOURCES: Final = 256
_BURST: Final = 30
"Wrong tokens of all sources together, before all of them must wait."
_REFILL: Final = 2.0
"Seconds after which one more is free again."


class TokenFault(StrEnum):
    """What is wrong with a request of a new server."""

    WRONG = "wrong token"
    "Whoever asked does not know the secret of any token here."
    SLOWED = "slowed down"
    "Too many wrong tokens have come from there, or in all: this one was not looked at."
    USED = "used token"
    LATE = "late token"


@dataclass(slots=True, kw_only=True)
class BookedToken:
    """A token that this node has made."""

    id: str
    key: bytes = field(repr=False)
    node: str | None
    "The only name that it is good for; None: any."
    address: str | None
    "The only address that it is good for; None: any."
    expires: float
    by: str = ""
    "Who made it."
    taken_by: str | None = None
    "The new node that has been added with it, which alone may go on with it."
    used: bool = False
    "The new node has all that it needs."

    def why_not_for(self, node: str, addresses: Collection[str]) -> str | None:
        """Return why it is not good for a node of this name and these addresses, or None."""
        if self.node is not None and node != self.node:
            return f"this token was made for a node of the name {self.node}, not {node}"
        if self.address is not None and self.address not in addresses:
            return f"this token was made for a server with the address {self.address}, not {', '.join(addresses)}"
        if self.taken_by is not None and node != self.taken_by:
            return f"{self.taken_by} joins with this token: make another one for {node} with hcsidecar token"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinRefusal:
    """Why a new server is not let in."""

    reason: str
    wrong: bool = False
    "Whoever asked does not know the secret of any token here."


@dataclass(slots=True)
class _Source:
    wrong: int = 0
    last: float = 0.0


class TooManyTokensError(Exception):
    """No further token can be made; the text says why."""


class TokenBook:
    """The tokens of one node."""

    def __init__(self) -> None:
        self._tokens: OrderedDict[str, BookedToken] = OrderedDict()
        self._sources: OrderedDict[str, _Source] = OrderedDict()
        self._free = float(_BURST)
        self._filled = 0.0
        self.refused = Counter[TokenFault](dict.fromkeys(TokenFault, 0))
        "Requests that were refused since the start, by what was wrong with them."

    def waiting(self, *, now: float) -> int:
        """Return how many tokens can be used."""
        return len(self._waiting(now))

    def add(self, token: BookedToken, *, now: float) -> None:
        """Remember a new token. Raise TooManyTokensError if too many wait to be used."""
        waiting = self._waiting(now)
        if len(waiting) >= MOST_WAITING:
            soonest = min(each.expires for each in waiting) - now
            raise TooManyTokensError(
                f"{MOST_WAITING} tokens wait to be used: the next one ends in {soonest:.0f} s, make another one then"
            )
        self._tokens[token.id] = token
        while len(self._tokens) > _REMEMBERED:
            over = next(each for each in self._tokens.values() if each not in waiting)
            del self._tokens[over.id]

    def admit(
        self, token_id: str, proof: str, *, expected: Callable[[bytes], str], source: str, now: float
    ) -> BookedToken | JoinRefusal:
        """Return the token of a request, or why it is not served.

        `expected` returns the proof that a request must have by the key of its token. `source` is the address that the
        request came from.
        """
        wait = self._must_wait(source, now)
        if wait > 0:
            self.refused[TokenFault.SLOWED] += 1
            return JoinRefusal(reason=f"too many wrong tokens have come: try again in {wait:.0f} s", wrong=True)
        token = self._tokens.get(token_id)
        # The same work for an unknown token, so that the time of the answer tells nothing.
        right = hmac.compare_digest(expected(b"" if token is None else token.key).encode(), proof.encode())
        if token is None or not right:
            self._note_wrong(source, now)
            return JoinRefusal(
                reason="this token is not known here: it was made on another node, or before the daemon of this one was"
                " started; make a new one with hcsidecar token",
                wrong=True,
            )
        if token.used:
            self.refused[TokenFault.USED] += 1
            return JoinRefusal(
                reason=f"this token has been used by {token.taken_by}; make a new one with hcsidecar token"
            )
        if now >= token.expires:
            self.refused[TokenFault.LATE] += 1
            late = max(1, round((now - token.expires) / 60))
            reason = f"this token ended {late} min ago; make a new one with hcsidecar token"
            return JoinRefusal(reason=reason)
        return token

    def _waiting(self, now: float) -> list[BookedToken]:
        return [each for each in self._tokens.values() if not each.used and now < each.expires]

    def _must_wait(self, source: str, now: float) -> float:
        """Return for how many seconds nobody at this source is listened to."""
        self._free = min(float(_BURST), self._free + (now - self._filled) / _REFILL)
        self._filled = now
        waits = [0.0 if self._free >= 1 else (1 - self._free) * _REFILL]
        known = self._sources.get(_network(source))
        if known is not None and known.wrong > _FREE and now - known.last < _FORGOTTEN:
            waits.append(known.last + min(_LONGEST_WAIT, 2.0 ** (known.wrong - _FREE - 1)) - now)
        return max(waits)

    def _note_wrong(self, source: str, now: float) -> None:
        self.refused[TokenFault.WRONG] += 1
        self._free -= 1
        network = _network(source)
        known = self._sources.setdefault(network, _Source())
        self._sources.move_to_end(network)
        if now - known.last >= _FORGOTTEN:
            known.wrong = 0
        # More would only make a number that is too large to be a time.
        known.wrong, known.last = min(known.wrong + 1, 20), now
        while len(self._sources) > _SOURCES:
            self._sources.popitem(last=False)


def _network(source: str) -> str:
    """Return what counts as one source: one may have all addresses of an IPv6 network."""
    try:
        address = ipaddress.ip_address(source.partition("%")[0])
    except ValueError:
        return source
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else str(address)  # noqa: PLR2004
