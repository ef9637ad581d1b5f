"""Searches for the operator's regular expressions with a time limit, because some would take years.

The package `regex` has the syntax of `re` and a time limit, and lets other threads run meanwhile.
"""

import time
from collections.abc import Iterable
from typing import Final

from hcsidecar.core.farmfile.values import format_duration

LIMIT: Final = 1.0
"Seconds that a pattern may take in one attempt; a usual one needs milliseconds."
TOO_SLOW: Final = f"the pattern takes longer than {format_duration(LIMIT)} to look for: make it simpler"
"The reason of a failure because of the limit."


class TooSlowError(Exception):
    """Raised if a pattern took too long; the text is the reason of the failure."""

    def __init__(self) -> None:
        super().__init__(TOO_SLOW)


def count_matches(pattern: str, texts: Iterable[str]) -> int:
    """Return in how many texts the pattern matches somewhere. Raise TooSlowError. Not for the loop's thread."""
    import regex  # noqa: PLC0415 - a megabyte that a farm without patterns does not need

    compiled = regex.compile(pattern)
    left = LIMIT
    count = 0
    for text in texts:
        began = time.monotonic()
        try:
            count += compiled.search(text, timeout=left, concurrent=True) is not None
        except TimeoutError:
            raise TooSlowError from None
        left -= time.monotonic() - began
        if left <= 0:
            raise TooSlowError
    return count
