"""The copy of the farm file that a daemon uses, beside its control socket.

A farm file may be edited, damaged or lost while its daemon runs. The commands that ask a daemon need only the path of
its socket and the names of the nodes. In that case they take these from the copy.
"""

import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from hcsidecar.core.farmfile.farm_file import FarmFile, NodeTable
from hcsidecar.farmfile.dirs import SOCKET, control_socket, run_base
from hcsidecar.farmfile.loading import FarmFileError, LoadedFarm, read_tables

NAME: Final = "running.json"
_MOST_BYTES: Final = 4_194_304
_STATE_DIR: Final = re.compile(r"^\s*state_dir\s*=\s*[\"']([^\"'\n]+)[\"']", re.MULTILINE)
_LISTENS: Final = "00010000"
"The flags of a listening unix socket in /proc/net/unix; see proc(5)."


class _File(msgspec.Struct, frozen=True, kw_only=True):
    config: str
    "The path of the farm file, absolute."
    node: str
    text: str
    "Its content."


@dataclass(frozen=True, slots=True, kw_only=True)
class FarmCopy:
    """The farm file of a daemon that was started on this machine and may have ended since."""

    node: str
    farm: FarmFile


def content_of_copy(loaded: LoadedFarm, me: NodeTable) -> bytes:
    """Return the content of the copy of a daemon's farm file."""
    return msgspec.json.encode(_File(config=os.fspath(loaded.working_copy), node=me.name, text=loaded.text)) + b"\n"


def find_copies(config: Path, text: str, *, environment: Mapping[str, str] = os.environ) -> list[FarmCopy]:
    """Return the copies of the farm file at a path; `text` is its present content, as far as it can be read."""
    bases = {run_base(named, environment) for named in (None, named_state_dir(text))}
    directories = {path.parent for base in bases for path in _copies_below(base)}
    # The kernel's list of sockets shows the directories that the farm file does not name any more.
    directories |= {path.parent for path in _listening() if path.name == SOCKET}
    copies = [_read(directory / NAME, config) for directory in sorted(directories)]
    return [copy for copy in copies if copy is not None]


def named_state_dir(text: str) -> str | None:
    """Return the `state_dir` in the text of a farm file that may be wrong; None if there is none to be seen."""
    found = _STATE_DIR.search(text)
    return None if found is None else found[1]


def _copies_below(base: Path) -> list[Path]:
    with suppress(OSError):
        return list(base.glob(f"*/*/{NAME}"))
    return []


def _listening() -> Iterator[Path]:
    """Yield the path of every listening unix socket of this network namespace."""
    with suppress(OSError):
        for line in Path("/proc/net/unix").read_text(errors="surrogateescape").splitlines()[1:]:
            fields = line.split(maxsplit=7)
            if len(fields) > 7 and fields[3] == _LISTENS and fields[7].startswith("/"):  # noqa: PLR2004 - proc(5)
                yield Path(fields[7])


def _read(path: Path, config: Path) -> FarmCopy | None:
    """Return a copy; None if it is of another farm file, or another user could have written it."""
    try:
        # Non-blocking, because opening a pipe would wait for a writer.
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:  # noqa: PTH123 - needs a flag
            status = os.fstat(file.fileno())
            ours = not hasattr(os, "geteuid") or status.st_uid in (0, os.geteuid())
            content = file.read(_MOST_BYTES) if ours and stat.S_ISREG(status.st_mode) else b""
        found = msgspec.json.decode(content, type=_File)
        farm = read_tables(tomllib.loads(found.text))
        if not isinstance(farm, FarmFile) or os.path.realpath(found.config) != os.path.realpath(config):
            return None
        if control_socket(farm, farm.node_named(found.node)).parent != path.parent:
            return None  # moved, or of a daemon with other directories, whose socket would not be found
    except (OSError, ValueError, KeyError, RecursionError, msgspec.DecodeError, FarmFileError):
        return None
    return FarmCopy(node=found.node, farm=farm)
