"""The record: what this node changes in the kernel, written down before each change, so that it can be changed back.

The record is a file in the node's state directory. A daemon that is killed leaves it behind; the next one of the same
node reads it, takes over what it needs again as it is, and puts back the rest. A reboot, or the end of the network
namespace, has put back everything already: the file then says what no longer is, and is deleted.
"""

import contextlib
import fcntl
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from l2mode import KERNEL_RECORD
from l2mode.kernel.changes import AnyChange
from l2mode.kernel.errors import FilterError

_SIZE_LIMIT: Final = 1 << 20
"Bytes; what is longer was not written by us."
_SO_NETNS_COOKIE: Final = 71
"From <asm-generic/socket.h>; a number of the network namespace that no later one has (Linux 5.14)."

TellOperator = Callable[[str, str], None]
"Takes a level, `info`, `warning` or `error`, and what happened."
Undo = Callable[[AnyChange], str | None]
"Changes one thing back and says what it did, or None if that was so already; OSError if it cannot."


class _File(msgspec.Struct, frozen=True, kw_only=True):
    boot: str
    "The machine's boot: what it changed ends with it."
    namespace: str
    changes: tuple[AnyChange, ...]


class Record:
    """What this node has changed in the network namespace of the calling thread, in the order of the changes.

    `directory` is the node's state directory and exists. Reading never fails: what cannot be read is told.
    """

    def __init__(self, directory: Path, *, undo: Undo, tell: TellOperator) -> None:
        self._path = directory / KERNEL_RECORD
        self._undo = undo
        self._tell = tell
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        self._namespace = _namespace()
        self._changes: list[AnyChange] = self._read()
        self._left_over = {change.place for change in self._changes}
        self._held: int | None = None
        "The descriptor of the lock, which goes with the process whatever ends it."

    def hold(self) -> None:
        """Keep other processes of this node from changing the kernel until this one ends; safe to repeat.

        Raises FilterError if another one runs: what stands in the record is in use.
        """
        if self._held is not None:
            return
        lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise FilterError(
                "another daemon of this node runs here", f"stop it first; it holds {self._path.with_suffix('.lock')}"
            ) from error
        self._held = lock

    @property
    def held(self) -> bool:
        """True when this process alone may change what the record is about."""
        return self._held is not None

    @property
    def changes(self) -> tuple[AnyChange, ...]:
        """What is not changed back yet, the first change first."""
        return tuple(self._changes)

    def __contains__(self, change: AnyChange) -> bool:
        """True when something at this change's place was changed, by this process or by one before it."""
        return any(known.place == change.place for known in self._changes)

    def note(self, change: AnyChange) -> None:
        """Write down what is about to be changed; what an earlier process changed at this place is taken over.

        On return it is on the disk. Raises FilterError if it cannot be written: then it must not be changed.
        """
        self.keep(change)
        if change in self:
            return
        self._changes.append(change)
        try:
            self._write()
        except OSError as error:
            self._changes.pop()
            raise FilterError(
                f"cannot write down what is about to be changed: {self._path}: {error.strerror}",
                f"make room in {self._path.parent} and let this user write there",
            ) from error

    def keep(self, change: AnyChange) -> None:
        """Take over what an earlier process changed at this place, if it did: it is as it must be, and ours."""
        self._left_over.discard(change.place)

    def forget(self, change: AnyChange) -> None:
        """Strike out what has been changed back."""
        self._changes = [known for known in self._changes if known.place != change.place]
        self._left_over.discard(change.place)
        try:
            self._write()
        except OSError as error:
            # It is put back once more at the next start, which does no harm.
            self._tell("warning", f"{self._path} cannot be written: {error.strerror}")

    def repair(self) -> str | None:
        """Write the record again if somebody has removed it, and say so. Raises FilterError."""
        if not self._changes or self._path.exists():
            return None
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write()
        except OSError as error:
            raise FilterError(
                f"{self._path} was removed and cannot be written again: {error.strerror}",
                f"make room in {self._path.parent} and let this user write there",
            ) from error
        return f"{self._path} was removed: written again"

    def restore(self, *kinds: type[AnyChange]) -> None:
        """Change back all of these kinds, or everything, the last change first; safe to repeat.

        What cannot be changed back is told and stays in the record.
        """
        self._restore({change.place for change in self._changes if not kinds or isinstance(change, kinds)})

    def restore_left_over(self) -> None:
        """Change back what an earlier process left and this one has not noted as its own."""
        self._restore(set(self._left_over))

    def _restore(self, places: set[tuple[object, ...]]) -> None:
        for change in reversed(self.changes):
            if change.place not in places:
                continue
            try:
                done = self._undo(change)
            except OSError as error:
                reason = error.strerror or str(error)
                self._tell("error", f"cannot put back {change}: {reason}; it is tried again at the next start")
                continue
            self.forget(change)
            if done is not None:
                self._tell("info", done)

    # -- the file -----------------------------------------------------------------------------------------------

    def _read(self) -> list[AnyChange]:
        try:
            with self._path.open("rb") as file:
                found = msgspec.json.decode(file.read(_SIZE_LIMIT), type=_File)
        except FileNotFoundError:
            return []
        except OSError as error:
            self._tell("error", f"{self._path} cannot be read: {error.strerror}; {_UNKNOWN}")
            return []
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self._move_aside(str(error))
            return []
        if (found.boot, found.namespace) != (self._boot, self._namespace):
            with contextlib.suppress(OSError):  # it is written anew, or ignored again
                self._path.unlink()
            return []
        return list(found.changes)

    def _move_aside(self, problem: str) -> None:
        aside = self._path.with_suffix(".broken")
        try:
            self._path.replace(aside)
        except OSError as error:
            self._tell("error", f"{self._path} is broken: {problem}, and stays: {error.strerror}; {_UNKNOWN}")
        else:
            self._tell("error", f"{self._path} is broken: {problem}; it is now {aside.name}; {_UNKNOWN}")

    def _write(self) -> None:
        if not self._changes:
            self._path.unlink(missing_ok=True)
            return
        content = _File(boot=self._boot, namespace=self._namespace, changes=self.changes)
        # As `hcsidecar.system.private_file` does, of which this package imports nothing.
        new = self._path.with_suffix(".new")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123 - needs a mode
            file.write(msgspec.json.format(msgspec.json.encode(content)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


_UNKNOWN: Final = "what an earlier run left in the kernel is found only where it bears the farm's name"


def _namespace() -> str:
    """Name the network namespace of this thread; the inode alone is soon given to another one."""
    inode = Path("/proc/thread-self/ns/net").stat().st_ino
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            cookie = int.from_bytes(probe.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), "little")
        except OSError:  # an older kernel
            cookie = 0
    return f"{inode}-{cookie}"
