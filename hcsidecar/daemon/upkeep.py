"""Restores the files of a running node that somebody removes or changes: its memory, control socket, farm file copy.

A clean-up that removes too much, a backup that was restored, a command in the wrong directory: without this, only the
next daemon would notice, and the operator's last word would be lost. The store of events watches its own file
(`events/store_worker.py`).
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from hcsidecar.api.servers import ControlSocket, SocketInUseError
from hcsidecar.core.events import Event, Level
from hcsidecar.core.lost_files import Loss, Losses
from hcsidecar.daemon.memory import StateFile
from hcsidecar.farmfile.dirs import CONSOLE_SOCKET
from hcsidecar.system.private_file import KeptFile
from hcsidecar.system.threads import Workers

LOOK: Final = 1.0
"Seconds between two checks."


class Upkeep:
    """Watches the files of one daemon; `losses` takes what other parts find, `tell` the events."""

    def __init__(self, *, memory: StateFile, losses: Losses, tell: Callable[[Event], None]) -> None:
        self._memory = memory
        self._losses = losses
        self._tell = tell
        # A thread of its own, so that it exists when the system can start no more threads.
        self._thread = Workers(kept=1, most=1, name="upkeep")
        self._content, self._is_news = b"", False
        self._complaints: dict[Path, str] = {}

    def keep_copy(self, content: bytes) -> None:
        """Let this be the content of the copy of the farm file, soon."""
        self._content, self._is_news = content, True

    async def run(self, sockets: Sequence[ControlSocket], copy: KeptFile) -> None:
        """Write the copy of the farm file, and watch all files until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                if self._is_news:
                    self._is_news = False
                    await self._write(copy)
                self._memory.look()
                what = await loop.run_in_executor(self._thread, _put_back, copy, self._content)
                if what is not None:
                    self._losses.note(Loss(path=str(copy.path), what=what, remedy="written again"))
                for socket in sockets:
                    await self._look_at_socket(socket)
                event = self._losses.take(now=loop.time())
                if event is not None:
                    self._tell(event)
                await asyncio.sleep(LOOK)
        finally:
            self._thread.shutdown(wait=False)

    async def _write(self, copy: KeptFile) -> None:
        reason = await asyncio.get_running_loop().run_in_executor(self._thread, copy.write, self._content)
        if reason is not None:
            message = f"no copy of the farm file in {copy.path}: {reason}; commands need a valid farm file"
            self._tell(Event(level=Level.WARNING, origin="daemon", message=message))

    async def _look_at_socket(self, socket: ControlSocket) -> None:
        complaint = ""
        try:
            what = await socket.look()
        except SocketInUseError as error:
            complaint = str(error)
        except OSError as error:
            complaint = f"{socket.path}: {error.strerror}"
        else:
            if what is not None:
                self._losses.note(Loss(path=str(socket.path), what=what, remedy="made anew"))
        if complaint and complaint != self._complaints.get(socket.path):
            who = "the console does" if socket.path.name == CONSOLE_SOCKET else "commands do"
            message = (
                f"the socket {socket.path} was removed, and cannot be made again: {complaint}; {who} not find this node"
            )
            self._tell(Event(level=Level.ERROR, origin="daemon", message=message))
        self._complaints[socket.path] = complaint


def _put_back(copy: KeptFile, content: bytes) -> str | None:
    """Write the copy and its directory again if somebody changed it; return what happened to it, or None."""
    what = copy.what_became()
    return what if what is not None and copy.write(content) is None else None
