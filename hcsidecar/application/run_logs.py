"""Reads the application log: one file with the output of each run of a script, page by page.

A file is named `20261128T034001.123Z_start.log`. Its older part, if it has reached its limit, is `….log.old` beside it.
Other files in the directory are ignored, and symbolic links are not followed.
"""

import codecs
import os
import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from hcsidecar.core.application.runs import began_at, parse_run_name
from hcsidecar.core.documents import Run, RunOutput, Runs

MOST = 500
"Number of runs listed, the newest ones."
PAGE_BYTES = 262_144
"Bytes of output in one page."
LAST = "last"
"Stands for the newest run, in place of its name."

_PLACE = re.compile(r"([0-9]{1,20})-([0-9]{1,18})", re.ASCII)
_BEGINNING = "0"
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class NoSuchRunError(Exception):
    """Raised if there is no output of a run of this name."""


def is_place(text: str) -> bool:
    """Return whether this can be a place in the output of a run; 0 is its beginning."""
    return text == _BEGINNING or _PLACE.fullmatch(text) is not None


def is_run(name: str) -> bool:
    """Return whether this can be the name of a run."""
    return name == LAST or began_at(name) is not None


def list_runs(directory: Path, node: str, *, most: int = MOST) -> Runs:
    """Return the newest runs; none if there is no directory. Raise OSError for other errors."""
    names: list[str] = []
    with suppress(FileNotFoundError), os.scandir(directory) as entries:
        files = (entry.name for entry in entries if entry.is_file(follow_symlinks=False))
        names = [name.removesuffix(".log") for name in files if name.endswith(".log")]
    newest = sorted(name for name in names if began_at(name) is not None)[-most:]
    return Runs(node=node, runs=tuple(run for name in newest if (run := _run(directory, name)) is not None))


def read_end(directory: Path, node: str, name: str, *, lines: int) -> RunOutput:
    """Return the last lines of a run's output, within PAGE_BYTES. Raise NoSuchRunError or OSError."""
    name = _resolved(directory, name)
    with ExitStack() as stack:
        files = _opened(stack, directory, name)
        skipped = max(0, sum(file.size for file in files) - PAGE_BYTES)
        data = b"".join(file.read(skip, file.size - skip) for file, skip in _after_skipping(files, skipped))
        kept = data.splitlines(keepends=True)
        kept = kept[max(0, len(kept) - lines) :]
        return RunOutput(node=node, name=name, text=_text(b"".join(kept)), next=files[-1].place(files[-1].size))


def read_on(directory: Path, node: str, name: str, *, place: str) -> RunOutput:
    """Return the output after a place, within PAGE_BYTES. Raise NoSuchRunError or OSError."""
    name = _resolved(directory, name)
    with ExitStack() as stack:
        files = _opened(stack, directory, name)
        index, offset = _find(files, place)
        file = files[max(0, index)]
        data = file.read(offset, PAGE_BYTES)
        text, missing = _whole_characters(data)
        if offset + len(data) == file.size and file is not files[-1]:
            text, missing = _text(data), 0
        following = offset + len(data) - missing
        more = following + missing < file.size
        if not more and file is not files[-1]:
            file, following, more = files[-1], 0, files[-1].size > 0
        return RunOutput(node=node, name=name, text=text, next=file.place(following), missed=index < 0, more=more)


class _File:
    """An open file, with the size that it had when it was opened."""

    def __init__(self, fd: int, status: os.stat_result) -> None:
        self._fd = fd
        self.identity = status.st_ino
        self.size = status.st_size

    def read(self, offset: int, count: int) -> bytes:
        os.lseek(self._fd, offset, os.SEEK_SET)
        data = bytearray()
        while len(data) < count and (part := os.read(self._fd, min(count - len(data), 65536))):
            data += part
        return bytes(data[: max(0, self.size - offset)])

    def place(self, offset: int) -> str:
        return f"{self.identity}-{offset}"


def _opened(stack: ExitStack, directory: Path, name: str) -> list[_File]:
    """Open the files of a run and return them, the older part first."""
    # The newer part is opened first: if it is renamed to the older one meanwhile, it is found twice rather than lost.
    files: list[_File] = []
    for path in (directory / f"{name}.log", directory / f"{name}.log.old"):
        try:
            fd = os.open(path, _FLAGS)
        except FileNotFoundError:
            continue
        stack.callback(os.close, fd)
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode) and status.st_ino not in {file.identity for file in files}:
            files.insert(0, _File(fd, status))
    if not files:
        raise NoSuchRunError
    return files


def _find(files: list[_File], place: str) -> tuple[int, int]:
    """Return the index of the file and the offset of a place; index -1 if it is gone."""
    match = _PLACE.fullmatch(place)
    if match is None:
        return 0, 0
    for index, file in enumerate(files):
        if file.identity == int(match[1]) and int(match[2]) <= file.size:
            return index, int(match[2])
    return -1, 0


def _after_skipping(files: list[_File], count: int) -> Iterator[tuple[_File, int]]:
    """Yield each file with the number of its bytes that belong to the first `count` bytes of all."""
    for file in files:
        skip = min(count, file.size)
        yield file, skip
        count -= skip


def _resolved(directory: Path, name: str) -> str:
    if name != LAST:
        return name
    newest = list_runs(directory, "", most=1).runs
    if not newest:
        raise NoSuchRunError
    return newest[0].name


def _run(directory: Path, name: str) -> Run | None:
    started = began_at(name)
    size, found = 0, False
    for path in (directory / f"{name}.log", directory / f"{name}.log.old"):
        with suppress(FileNotFoundError):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                size, found = size + status.st_size, True
    if started is None or not found:
        return None
    return Run(name=name, script=parse_run_name(name).script, started=started, size=size)


def _whole_characters(data: bytes) -> tuple[str, int]:
    """Decode data without an incomplete character at its end; return the text and that character's number of bytes."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data)
    return text, len(decoder.getstate()[0])


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
