"""The boot number of a start: above all before it, and not that of another process under the same name.

It is the wall clock in milliseconds, so that it grows even when the state file is lost. Where the clock is behind, it
is above the highest number known by a step that chance determines. If the step were always 1, the two processes of a
copied machine would take the same number, and seal different heartbeats with the same key and nonce.
"""

from random import Random
from typing import Final

LONGEST_STEP: Final = 1_000_000


def next_boot(*, last: int, above: int, wall_clock: float, chance: Random) -> int:
    """Return a boot number above `last` and `above`; `wall_clock` is in seconds since 1970."""
    known, clock = max(last, above), int(wall_clock * 1000)
    return clock if clock > known else known + chance.randint(1, LONGEST_STEP)
