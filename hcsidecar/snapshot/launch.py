"""Starts the process that makes a snapshot for another node; the daemon imports nothing of what that needs."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hcsidecar.api.control import NoSnapshotError
from hcsidecar.api.routes import SNAPSHOT_TAKES
from hcsidecar.core.snapshot_contents import LARGEST_PACKED, PackedParts
from hcsidecar.system.blocking_calls import BlockingCalls, BusyError
from hcsidecar.system.threads import NoThreadError

COMMAND: Final = (sys.executable, "-P", "-X", "no_debug_ranges", "-m", "hcsidecar.snapshot.process")
_END: Final = 1.0
"Seconds that are left to send the answer."


class SnapshotProcess:
    """Makes snapshots of one node, one at a time; `config` is the path of its farm file."""

    def __init__(self, config: Path, node: str, *, command: Sequence[str] = COMMAND) -> None:
        self._config, self._node, self._command = config, node, command
        self._calls = BlockingCalls("snapshot")

    async def make(self, *, since: int, room: int) -> PackedParts:
        """Return the parts of the node, compressed. Raise NoSnapshotError."""
        words = [*self._command, str(self._config), self._node, str(since), str(room)]
        try:
            packed = await self._calls.run(lambda: _said(words))
        except BusyError:
            raise NoSnapshotError("this node makes a snapshot already: try again in a minute") from None
        except NoThreadError as error:
            raise NoSnapshotError(f"this node cannot make a snapshot: {error.strerror}") from None
        return PackedParts(node=self._node, packed=packed)


def _said(words: Sequence[str]) -> bytes:
    limit = SNAPSHOT_TAKES - _END
    try:
        done = subprocess.run(  # noqa: S603 - our own
            words, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        raise NoSnapshotError(f"this node has not made a snapshot within {limit:g} s") from None
    except OSError as error:
        raise NoSnapshotError(f"this node cannot make a snapshot: {error.strerror}") from None
    if done.returncode or not done.stdout or len(done.stdout) > LARGEST_PACKED:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise NoSnapshotError(f"this node cannot make a snapshot: {last or f'status {done.returncode}'}")
    return done.stdout
