"""The copy of the farm file that a daemon goes by, beside its control socket.

A farm file may be edited, broken or lost while its daemon runs. The commands that ask a daemon need to know no more
than where its socket is, and which nodes there are: then they take that from the copy.
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

from hcsidecar.core.farmfile.settings import FarmFile, NodeTable
from hcsidecar.farmfile.dirs import SOCKET, control_socket, run_base
from hcsidecar.farmfile.loading import FarmFileError, LoadedFarm, read_tables

NAME: Final = "running.json"
_MOST_BYTES: Final = 4_194_304
_STATE_DIR: Final = re.compile(r"^\s*state_dir\s*=\s*[\"']([^\"'\n]+)[\"']", re.MULTILINE)
_LISTENS: Final = "00010000"
"The flags of a unix socket that takes connections, in /proc/net/unix; proc(5)."


class _File(msgspec.Struct, frozen=True, kw_only=True):
    config: str
    "Where the farm file was, as an absolute path."
    node: str
    text: str
    "What stood in it."


@dataclass(frozen=True, slots=True, kw_only=True)
class FarmCopy:
    """What a daemon goes by that was started on this machine; it may have ended since."""

    node: str
    farm: FarmFile


def content_of_copy(loaded: LoadedFarm, me: NodeTable) -> bytes:
    """Give what stands in the copy of a daemon's farm file."""
    return msgspec.json.encode(_File(config=os.fspath(loaded.path), node=me.name, text=loaded.text)) + b"\n"


def find_copies(config: Path, text: str, *, environment: Mapping[str, str] = os.environ) -> list[FarmCopy]:
    """Give the copies of a farm file, by where it is; `text` is what stands in it now, or ever so little of it."""
    named = _STATE_DIR.search(text)
    bases = {run_base(None, environment), *([run_base(named[1], environment)] if named else [])}
    directories = {path.parent for base in bases for path in _copies_below(base)}
    # In whatever directory: where the farm file does not tell it any more, the kernel does.
    directories |= {path.parent for path in _listening() if path.name == SOCKET}
    copies = [_read(directory / NAME, config) for directory in sorted(directories)]
    return [copy for copy in copies if copy is not None]


def _copies_below(base: Path) -> list[Path]:
    with suppress(OSError):
        return list(base.glob(f"*/*/{NAME}"))
    return []


def _listening() -> Iterator[Path]:
    """Give the path of every unix socket of this network namespace that takes connections."""
    with suppress(OSError):
        for line in Path("/proc/net/unix").read_text(errors="surrogateescape").splitlines()[1:]:
            fields = line.split(maxsplit=7)
            if len(fields) > 7 and fields[3] == _LISTENS and fields[7].startswith("/"):  # noqa: PLR2004 - proc(5)
                yield Path(fields[7])


def _read(path: Path, config: Path) -> FarmCopy | None:
    """Read a copy; None if it is not one of this farm file, or somebody else could have written it."""
    try:
        # Not to wait for a writer where somebody has put a pipe.
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:  # noqa: PTH123 - needs a flag
            status = os.fstat(file.fileno())
            ours = not hasattr(os, "geteuid") or status.st_uid in (0, os.geteuid())
            content = file.read(_MOST_BYTES) if ours and stat.S_ISREG(status.st_mode) else b""
        found = msgspec.json.decode(content, type=_File)
        farm = read_tables(tomllib.loads(found.text))
        if not isinstance(farm, FarmFile) or os.path.realpath(found.config) != os.path.realpath(config):
            return None
        if control_socket(farm, farm.node_named(found.node)).parent != path.parent:
            return None  # moved, or of a daemon with other directories: its socket would not be found
    except (OSError, ValueError, KeyError, RecursionError, msgspec.DecodeError, FarmFileError):
        return None
    return FarmCopy(node=found.node, farm=farm)
