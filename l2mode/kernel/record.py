"""The record: every change that this node makes in the kernel, noted before it is made so that it can be undone.

The record is a file in the node's state directory. A daemon that is killed leaves it behind. The next daemon of the
same node reads it, takes over what it needs again, and undoes the rest. A reboot, or the end of the network namespace,
has undone everything already; the file is then out of date and is deleted.
"""

import contextlib
import fcntl
import os
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import msgspec

from l2mode import KERNEL_RECORD
from l2mode.kernel.changes import AnyChange
from l2mode.kernel.errors import FilterError

_SIZE_LIMIT: Final = 1 << 20
"In bytes; a longer file was not written by this program."
_SO_NETNS_COOKIE: Final = 71
"From <asm-generic/socket.h>; a number of the network namespace that no later one has (Linux 5.14)."

TellOperator = Callable[[str, str], None]
"Takes a level, `info`, `warning` or `error`, and what happened."
Undo = Callable[[AnyChange], str | None]
"Undoes one change and returns what it did, or None if it was undone already. Raises OSError if it cannot."


class _File(msgspec.Struct, frozen=True, kw_only=True):
    boot: str
    "The boot id of the machine: a reboot undoes the changes."
    namespace: str
    changes: tuple[AnyChange, ...]


class Record:
    """The changes of this node in the network namespace of the calling thread, in the order in which they were made.

    `directory` is the node's state directory and must exist. Reading never fails; a record that cannot be read is
    reported.
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
        "The descriptor of the lock, which the kernel releases however the process ends."

    def hold(self) -> None:
        """Keep other processes of this node from changing the kernel until this one ends; safe to repeat.

        Raise FilterError if another one runs: the changes in the record are in use.
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
        """The changes that are not undone yet, in the order in which they were made."""
        return tuple(self._changes)

    def __contains__(self, change: AnyChange) -> bool:
        """Return whether this process, or one before it, changed something at this change's place."""
        return any(known.place == change.place for known in self._changes)

    def note(self, change: AnyChange) -> None:
        """Note a change that is about to be made, or take over what an earlier process changed at the same place.

        The note is on the disk on return. Raise FilterError if it cannot be written: the change must then not be made.
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
        """Take over what an earlier process changed at this place, if it did: it is right as it is, and now ours."""
        self._left_over.discard(change.place)

    def forget(self, change: AnyChange) -> None:
        """Remove a change that has been undone from the record."""
        self._changes = [known for known in self._changes if known.place != change.place]
        self._left_over.discard(change.place)
        try:
            self._write()
        except OSError as error:
            # The next start undoes it once more, which does no harm.
            self._tell("warning", f"{self._path} cannot be written: {error.strerror}")

    def repair(self) -> str | None:
        """Write the record again if somebody has removed it, and return a sentence about that, or None.

        Raise FilterError if it cannot be written.
        """
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
        """Undo all changes of these kinds, or all changes, the last one first; safe to repeat.

        A change that cannot be undone is reported and stays in the record.
        """
        self._restore({change.place for change in self._changes if not kinds or isinstance(change, kinds)})

    def take_back(self, changes: Iterable[AnyChange]) -> None:
        """Undo these changes, as far as they were made, the last one first; safe to repeat.

        A change that cannot be undone is reported and stays in the record.
        """
        self._restore({change.place for change in changes})

    def restore_left_over(self) -> None:
        """Undo the changes that an earlier process left and this one has not noted as its own."""
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
            with contextlib.suppress(OSError):  # the file is written anew, or ignored again
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
        # The same as in `hcsidecar.system.private_file`, which this package must not import.
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
    """Return an identifier of this thread's network namespace; the inode alone is soon reused."""
    inode = Path("/proc/thread-self/ns/net").stat().st_ino
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            cookie = int.from_bytes(probe.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), "little")
        except OSError:  # an older kernel
            cookie = 0
    return f"{inode}-{cookie}"
