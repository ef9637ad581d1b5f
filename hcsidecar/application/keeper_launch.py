"""Starts keepers, as background processes or in systemd units, and reads what they report of their scripts."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from hcsidecar.application import keeper
from hcsidecar.core.exhaustion import explained

COMMAND: Final = (sys.executable, "-I", "-S", keeper.__file__)
"How a keeper is run: isolated from the environment, and without site-packages, which it does not need."
START_LIMIT: Final = 10.0
"Seconds in which a keeper must start, and systemd must answer."
_PIECE: Final = 4096
"Bytes per read; keepers send much less."


class KeeperError(Exception):
    """Raised if a keeper cannot be started; the text is the reason."""


class Channel:
    """The connection to a keeper: sends its job and receives what happens to its script."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.setblocking(False)  # noqa: FBT003 - the socket module takes it so
        self._heard = b""
        self._is_over = False
        self._news = asyncio.Event()

    async def send(self, job: bytes) -> None:
        """Send the job, and receive from now on. Raise OSError."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket, self._take)
        await loop.sock_sendall(self._socket, job)
        self.finish()

    def finish(self) -> None:
        """Close the sending half. A keeper does not do a job that was not sent to its end."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    async def read_words(self) -> list[str]:
        """Return the words of the next line; none if the keeper has ended. May be cancelled without loss."""
        while b"\n" not in self._heard:
            if self._is_over:
                return []
            self._news.clear()
            await self._news.wait()
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode(errors="replace").split()

    def close(self) -> None:
        """Close the connection; the keeper goes on."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _take(self) -> None:
        try:
            piece = self._socket.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        self._heard += piece
        if not piece:
            self._is_over = True
            asyncio.get_running_loop().remove_reader(self._socket)
        self._news.set()


def job(fields: Iterable[tuple[str, str | Path]]) -> bytes:
    """Return a job in the format of keepers."""
    return b"".join(os.fsencode(f"{name}={value}") + b"\0" for name, value in (*fields, ("go", "")))


def start_in_background() -> Channel:
    """Start a keeper that is not a child of the daemon. Blocks, so use a thread; raise KeeperError."""
    try:
        ours, theirs = socket.socketpair()
    except OSError as error:
        raise KeeperError(_reason(error)) from None
    try:
        with theirs:
            subprocess.run(  # noqa: S603 - our own
                [*COMMAND, "--detach"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.PIPE,
                env={},
                cwd="/",
                start_new_session=True,
                check=True,
                timeout=START_LIMIT,
            )
    except (OSError, subprocess.SubprocessError) as error:
        ours.close()
        raise KeeperError(_reason(error)) from None
    return Channel(ours)


def start_in_unit(command: Sequence[str], path: Path) -> Channel:
    """Start a keeper with systemd-run, which connects it to a socket at `path`. Blocks; raise KeeperError."""
    try:
        listener = socket.socket(socket.AF_UNIX)
    except OSError as error:
        raise KeeperError(_reason(error)) from None
    with listener:
        try:
            path.unlink(missing_ok=True)
            listener.bind(os.fspath(path))
            path.chmod(0o600)
            listener.listen(1)
            # systemd reports the start only after it has connected the socket.
            listener.settimeout(1.0)
            ask_systemd(command)
            connection, _ = listener.accept()
        except OSError as error:
            raise KeeperError(_reason(error)) from None
        finally:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
    return Channel(connection)


def ask_systemd(command: Sequence[str]) -> str:
    """Run systemd-run or systemctl and return its output. Blocks, so use a thread; raise KeeperError."""
    try:
        done = subprocess.run(  # noqa: S603 - built in hcsidecar.core.application.transient_unit
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=START_LIMIT
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise KeeperError(_reason(error)) from None
    return done.stdout


def _reason(error: Exception) -> str:
    match error:
        case subprocess.CalledProcessError(stderr=said, returncode=code):
            text = said.decode(errors="replace") if isinstance(said, bytes) else said or ""
            return " ".join(text.split()) or f"exit status {code}"
        case subprocess.TimeoutExpired():
            return f"no answer within {START_LIMIT:g} s"
        case OSError(errno=number) if (exhausted := explained(number)) is not None:
            return exhausted
        case OSError(strerror=str(text), filename=None):
            return text
        case OSError(strerror=str(text), filename=name):
            return f"{name}: {text}"
        case _:
            return str(error)
