"""The directories of a node's state and sockets. Several nodes of one farm on one machine have separate ones."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hcsidecar.core.farmfile.farm_file import FarmFile, FarmTable, NodeTable
from hcsidecar.core.farmfile.problems import Problem
from hcsidecar.core.passing_errors import directory_may_come
from hcsidecar.farmfile.loading import FarmFileError
from hcsidecar.system.private_file import make_directory

SYSTEM_STATE = Path("/var/lib/hcsidecar")
SYSTEM_RUN = Path("/run/hcsidecar")
SOCKET: Final = "control.sock"
CONSOLE_SOCKET: Final = "console.sock"
"Beside SOCKET, and no longer than it."
STARTING_SOCKET: Final = "starting.sock"
STATE: Final = "state.json"
"What a node remembers over a restart, in its state directory."
SETTINGS: Final = "settings"
"The directory of revisions, below the state directory of a node."
MAX_SOCKET_PATH_BYTES = 107
"The size of a unix socket address, without the final zero byte (unix(7))."


def state_dir(farm: FarmFile, node: NodeTable, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the directory of what must survive a restart; it may not exist."""
    return state_base(farm.farm.state_dir, environment) / farm.farm.name / node.name


def run_dir(farm: FarmFile, node: NodeTable, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the directory of the sockets; it may not exist.

    A farm with a `state_dir` has its sockets there too, apart from those of other farms of the same name.
    """
    return run_base(farm.farm.state_dir, environment) / farm.farm.name / node.name


def state_base(named: str | None, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the directory in which FARM/NODE is `state_dir`; `named` is the farm file's `state_dir`."""
    if named is not None:
        return Path(named)
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        named = environment.get("XDG_STATE_HOME", "")
        # The XDG specification says that a relative path must be ignored.
        return (Path(named) if Path(named).is_absolute() else Path.home() / ".local" / "state") / "hcsidecar"
    return SYSTEM_STATE


def run_base(named: str | None, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the directory in which FARM/NODE is `run_dir`; `named` is the farm file's `state_dir`."""
    base = state_base(named, environment)
    if base == SYSTEM_STATE:
        return SYSTEM_RUN
    if named is None and environment.get("XDG_RUNTIME_DIR"):
        return Path(environment["XDG_RUNTIME_DIR"]) / "hcsidecar"
    return base


def control_socket(farm: FarmFile, node: NodeTable, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the path of the socket for the command line. Raise FarmFileError if it is too long for a socket."""
    problem = why_no_socket(farm.farm, node, environment)
    if problem is not None:
        raise FarmFileError(problem)
    return run_dir(farm, node, environment) / SOCKET


def starting_socket(farm: FarmFile, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the path of the socket of a daemon that does not know yet which node it is."""
    return run_base(farm.farm.state_dir, environment) / farm.farm.name / STARTING_SOCKET


def why_no_socket(farm: FarmTable, node: NodeTable, environment: Mapping[str, str] = os.environ) -> Problem | None:
    """Return the problem of a node's socket whose path is too long, or None."""
    path = run_base(farm.state_dir, environment) / farm.name / node.name / SOCKET
    length = len(os.fsencode(path))
    if length <= MAX_SOCKET_PATH_BYTES:
        return None
    return Problem(
        path="farm.state_dir",
        message=f"gives a socket a path of {length} bytes, and it can have {MAX_SOCKET_PATH_BYTES}: {path}",
        hint="a shorter directory, or shorter names of farm and node",
    )


def make_private(path: Path) -> Path:
    """Make a directory and its missing parents for this user only. Raise FarmFileError if that fails."""
    try:
        make_directory(path)
    except OSError as error:
        refusal = FarmFileError(
            Problem(
                path="farm.state_dir",
                message=f"cannot be used: {path}: {error.strerror}",
                hint="run as root, or name a directory that you may write to",
            )
        )
        refusal.passing = directory_may_come(error)
        raise refusal from None
    return path
