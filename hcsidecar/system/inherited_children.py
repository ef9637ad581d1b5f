"""Reaps the children of the program that this process was before: a daemon that starts again replaces itself.

Whoever started them has gone with that program. Without this each of them would stay a zombie until the daemon ends.
"""

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

LOOK: Final = 1.0
"Seconds between two looks at whether one has ended."


def children_of_this_process(proc: Path = Path("/proc")) -> frozenset[int]:
    """Return the ids of all children; none where the kernel does not tell (CONFIG_PROC_CHILDREN)."""
    found: set[int] = set()
    with suppress(OSError):
        for path in (proc / "self/task").glob("*/children"):
            found |= set(map(int, path.read_text(encoding="ascii").split()))
    return frozenset(found)


class InheritedChildren:
    """The children that this process has when this is made: before it has started any itself."""

    def __init__(self) -> None:
        self.left = set(children_of_this_process())
        "Those that have not ended yet."

    def reap(self) -> None:
        """Reap those that have ended. Does not wait."""
        for child in tuple(self.left):
            try:
                ended, _ = os.waitpid(child, os.WNOHANG)
            except ChildProcessError:
                ended = child
            if ended:
                self.left.discard(child)

    async def keep_reaping(self) -> None:
        """Reap each when it ends, until there is none left or this is cancelled."""
        while self.left:
            self.reap()
            await asyncio.sleep(LOOK)
