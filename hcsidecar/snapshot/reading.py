"""Reads the parts of a snapshot side by side, each within its own time, whatever goes wrong with one of them."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hcsidecar.core.snapshot_contents import Part
from hcsidecar.system.threads import NoThreadError, start_thread

USUAL: Final = 5.0
"Seconds that a part may take."
LARGEST_FILE: Final = 4 * 1024 * 1024
"Bytes that are read of a file."
LARGEST_OUTPUT: Final = 2 * 1024 * 1024
"Bytes that are read of what a program says."
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LOOK: Final = 0.02


class MissingError(Exception):
    """Raised if a part cannot be had; the text is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A part that is to be read."""

    name: str
    about: str
    read: Callable[[], str]
    "Returns the text. Raises MissingError, OSError, or whatever an ill machine leads to."
    seconds: float = USUAL


def read_all(readings: Sequence[Reading]) -> list[Part]:
    """Return the parts in the same order. Takes as long as the slowest of them may take, and a moment more."""
    found: dict[str, Part] = {}
    begun = time.monotonic()
    for reading in readings:
        try:
            start_thread(lambda reading=reading: _read_into(found, reading), name="snapshot")  # type: ignore[misc]
        except NoThreadError as error:
            found[reading.name] = Part(name=reading.name, about=reading.about, lacking=str(error.strerror))
    while True:
        passed = time.monotonic() - begun
        if all(reading.name in found or passed >= reading.seconds for reading in readings):
            break
        time.sleep(_LOOK)
    return [found.get(reading.name) or _too_slow(reading) for reading in readings]


def _read_into(found: dict[str, Part], reading: Reading) -> None:
    begun, text, lacking = time.monotonic(), "", ""
    try:
        text = reading.read()
    except MissingError as error:
        lacking = str(error)
    except OSError as error:
        lacking = f"{error.filename or 'it'} cannot be read: {error.strerror or error}"
    except Exception as error:  # noqa: BLE001 - the other parts of an ill machine may say why
        lacking = f"it cannot be read: {type(error).__name__}: {error}"
    taken = time.monotonic() - begun
    found[reading.name] = Part(name=reading.name, about=reading.about, text=text, lacking=lacking, seconds=taken)


def _too_slow(reading: Reading) -> Part:
    why = f"it was not read within {reading.seconds:g} s"
    return Part(name=reading.name, about=reading.about, lacking=why, seconds=reading.seconds)


def file_text(path: Path | str, *, most: int = LARGEST_FILE) -> str:
    """Return the beginning of a file. Raise OSError; a pipe is not waited for."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    with open(descriptor, "rb") as file:  # noqa: PTH123 - of a descriptor
        return file.read(most).decode(errors="replace")


def said_by(*words: str, seconds: float = USUAL, environment: Mapping[str, str] | None = None) -> str:
    """Return what a program says on both its outputs. Raise MissingError if it is not there or does not end in time."""
    variables = {"PATH": _PATH, "LC_ALL": "C"} | dict(environment or {})
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command without a shell
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
            env=variables,
        )
    except FileNotFoundError:
        raise MissingError(f"{words[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise MissingError(f"{words[0]} did not end within {seconds:g} s") from None
    text = done.stdout[:LARGEST_OUTPUT].decode(errors="replace")
    if done.returncode and not text.strip():
        raise MissingError(f"{words[0]} ended with status {done.returncode}")
    return text


def sections(**readers: Callable[[], str]) -> str:
    """Return several texts under headings. One that cannot be had has its reason instead."""
    told = []
    for title, read in readers.items():
        text = ""
        try:
            text = read()
        except MissingError as error:
            text = f"({error})"
        except Exception as error:  # noqa: BLE001 - as in _read_into
            text = f"({getattr(error, 'strerror', None) or f'{type(error).__name__}: {error}'})"
        told.append(f"# {title.replace('_', ' ')}\n{text.rstrip() or '(nothing)'}\n")
    return "\n".join(told)


def first_lines(path: str, count: int) -> str:
    """Return the first lines of a file of /proc."""
    return "".join(file_text(path).splitlines(keepends=True)[:count])


def names_in(directory: Path) -> list[str]:
    """Return the sorted names in a directory; none if it cannot be read."""
    with suppress(OSError):
        return sorted(entry.name for entry in directory.iterdir())
    return []
