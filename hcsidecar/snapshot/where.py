"""Where the files of a node are, as far as that can be found out, and which daemons run on this machine."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hcsidecar.core.farmfile.farm_file import FarmFile
from hcsidecar.events.store_worker import NAME
from hcsidecar.farmfile.copy import find_copies
from hcsidecar.farmfile.dirs import SYSTEM_STATE, state_dir
from hcsidecar.farmfile.loading import FarmFileError, find_node, see
from hcsidecar.snapshot.reading import file_text, names_in

_STATE_DIR: Final = re.compile(r"^\s*state_dir\s*=\s*[\"']([^\"'\n]+)[\"']", re.MULTILINE)
_DAEMON: Final = "hcsidecar.daemon.start"
_MOST: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A node on this machine."""

    config: Path
    farm: FarmFile | None = None
    "None if the farm file is wrong, and no daemon has left a copy of it."
    node: str | None = None
    state_dir: Path | None = None


def stored_nodes(text: str) -> Iterator[tuple[str, Path]]:
    """Yield name and state directory of the nodes that have stored events here, of a farm file that may be wrong."""
    named = _STATE_DIR.search(text)
    with suppress(OSError, ValueError):
        for path in sorted(Path(named[1] if named else SYSTEM_STATE).glob(f"*/*/{NAME}"))[:_MOST]:
            yield path.parent.name, path.parent


def daemons_here() -> list[int]:
    """Return the process ids of the daemons on this machine."""
    found = []
    for name in names_in(Path("/proc")):
        if name.isdecimal():
            with suppress(OSError):
                if _DAEMON in file_text(f"/proc/{name}/cmdline", most=4096).split("\0"):
                    found.append(int(name))
    return found[:_MOST]


def find_where(config: Path, node: str | None) -> Where:
    """Return what can be found out about a node here: from the copy of its daemon, or from the farm file.

    Without a name the node is the one with an address of this machine, if that is clear.
    """
    seen = see(config, kinds_apart=True)
    copies = find_copies(config, seen.text)
    copy = next((each for each in copies if each.node == node), None)
    farm = copy.farm if copy is not None else seen.farm or (copies[0].farm if copies else None)
    if farm is None:
        stored = dict(stored_nodes(seen.text))
        name = node if node is not None or len(stored) != 1 else next(iter(stored))
        return Where(config=config, node=name, state_dir=stored.get(name or ""))
    with suppress(FarmFileError):
        me = find_node(farm, node)
        return Where(config=config, farm=farm, node=me.name, state_dir=state_dir(farm, me))
    return Where(config=config, farm=farm, node=node)
