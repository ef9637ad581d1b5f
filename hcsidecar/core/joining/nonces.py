"""The nonces that a node has given to new servers: each is good for one request, and for a minute."""

from collections import OrderedDict
from typing import Final

GOOD_FOR: Final = 60.0
"Seconds."
MOST: Final = 256
"Whoever asks for more makes the oldest ones worthless; a new server asks again."


class Nonces:
    """Remembers what has been given. `now` is in seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._given: OrderedDict[str, float] = OrderedDict()

    def give(self, nonce: str, *, now: float) -> str:
        """Remember a nonce and return it."""
        self._given[nonce] = now
        while len(self._given) > MOST:
            self._given.popitem(last=False)
        return nonce

    def take(self, nonce: str, *, now: float) -> bool:
        """Return whether a nonce was given and is still good; it is not any more afterwards."""
        given = self._given.pop(nonce, None)
        return given is not None and now - given < GOOD_FOR
