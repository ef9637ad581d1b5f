"""One run of a script: its name and mark, its environment, the texts about how it ended, and the removal of logs."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from errno import ENOENT, ENOEXEC
from typing import NamedTuple

from hcsidecar.core.exit_status import how_it_ended
from hcsidecar.core.farmfile.application_table import ApplicationTable

KEPT_RUNS = 200
"The most runs whose logs are kept, whatever their age."
USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_KEPT_VARIABLES = frozenset({"HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TZ", "USER"})
_LOG = re.compile(r"(.+)\.log(?:\.old)?")
_NAME = re.compile(r"([0-9]{8}T[0-9]{6}\.[0-9]{3}Z)_([A-Za-z0-9_-]{1,64})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a script is told about its farm and node. Paths are absolute."""

    farm: str
    node: str
    config: str
    socket: str
    python: str
    state_dir: str

    @property
    def safe(self) -> str:
        """The directory that takes the place of SafeKit's own directory for a SafeKit module."""
        return f"{self.state_dir}/safekit"

    @property
    def safekit_directories(self) -> tuple[str, ...]:
        """The directories in it that a SafeKit module expects: its configuration, and two for its own files."""
        return (f"{self.safe}/conf", f"{self.safe}/var", f"{self.safe}/var/modules/{self.farm}")

    def mark(self, run: str) -> str:
        """Return the mark of a run, which its processes have in their environment."""
        return f"{self.farm}/{self.node}/{run}"

    def run_marked_in(self, environ: bytes) -> str | None:
        """Return the run whose mark a process has in its environment (/proc/PID/environ), or None if it has none."""
        variables = environ.split(b"\0")
        if f"HCSIDECAR_STATE_DIR={self.state_dir}".encode() not in variables:
            return None
        mark = f"HCSIDECAR_RUN={self.mark('')}".encode()
        runs = [variable.removeprefix(mark) for variable in variables if variable.startswith(mark)]
        return runs[0].decode(errors="replace") if runs else None


def run_name(key: str, arguments: Sequence[str], *, wall_clock: float) -> str:
    """Return the name of a run that starts at `wall_clock`, in seconds since 1970: 20261128T034001.123Z_stop_force."""
    began = datetime.fromtimestamp(int(wall_clock), UTC)
    forced = "_force" if key == "stop" and arguments[:1] == ["force"] else ""
    return f"{began:%Y%m%dT%H%M%S}.{int(wall_clock * 1000) % 1000:03d}Z_{key}{forced}"


class RunName(NamedTuple):
    """The parts of the name of a run."""

    began: str
    "The start time, as it stands in the name."
    script: str
    "The script, for example `stop_force`."


def parse_run_name(run: str) -> RunName:
    """Split the name of a run into its parts."""
    began, _, script = run.partition("_")
    return RunName(began, script)


def began_at(run: str) -> float | None:
    """Return when the run of this name began, in seconds since 1970; None if it is not the name of a run."""
    match = _NAME.fullmatch(run)
    if match is None:
        return None
    try:
        return datetime.strptime(match[1], "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC).timestamp()
    except ValueError:  # there is no such day
        return None


def is_start(run: str) -> bool:
    """Return whether a run is one of the start script, by its name."""
    return parse_run_name(run).script == "start"


def environment(
    table: ApplicationTable, place: Place, *, run: str, start_directory: str, base: Mapping[str, str]
) -> dict[str, str]:
    """Return the whole environment of a script. It gets only a few variables of `base`, the daemon's environment."""
    found = check_environment(table, place, start_directory=start_directory, base=base)
    # This variable and the state directory identify the processes of the application, so the farm file cannot set them.
    return found | {"HCSIDECAR_RUN": place.mark(run)}


def check_environment(
    table: ApplicationTable | None, place: Place, *, start_directory: str, base: Mapping[str, str]
) -> dict[str, str]:
    """Return the same for the program of a check, which is not a process of the application."""
    found = bare_environment(base) | {
        "HCSIDECAR_FARM": place.farm,
        "HCSIDECAR_NODE": place.node,
        "HCSIDECAR_CONFIG": place.config,
        "HCSIDECAR_SOCKET": place.socket,
        "HCSIDECAR_PYTHON": place.python,
    }
    if table is not None and table.safekit:
        conf, var, user_var = place.safekit_directories
        found |= {
            "SAFE": place.safe,
            "SAFEMODULE": place.farm,
            "SAFEBIN": place.safe,
            "SAFEUSERBIN": start_directory,
            "SAFEUSERCONF": conf,
            "SAFEVAR": var,
            "SAFEUSERVAR": user_var,
        }
    if table is not None:
        found |= table.environment
    if table is not None and table.safekit:
        found["PATH"] = f"{place.safe}:{found['PATH']}"
    found.pop("HCSIDECAR_RUN", None)
    return found | {"HCSIDECAR_STATE_DIR": place.state_dir}


def bare_environment(base: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of `base`, the environment of the daemon, that every program gets."""
    kept = {name: value for name, value in base.items() if name in _KEPT_VARIABLES or name.startswith("LC_")}
    return {"PATH": USUAL_PATH} | kept


def why_ended_badly(exit_code: int) -> str | None:
    """Return how a script ended, or None if with status 0. A negative code is the signal that killed it."""
    return None if exit_code == 0 else how_it_ended(exit_code)


def why_not_started(step: str, number: int, text: str) -> str:
    """Return why a script did not run, from the step that failed (`directory`, `exec` or `fork`) and its errno(3)."""
    if step == "directory":
        return f"cannot be started: its working directory: {text}"
    if number == ENOENT:
        return (
            "cannot be started: the interpreter that its first line names is not there "
            "(Windows line endings cause that too)"
        )
    if number == ENOEXEC:
        return "cannot be started: it is not a program, and its first line does not begin with #!"
    return f"cannot be started: {text}"


def logs_to_remove(
    logs: Iterable[tuple[str, float]], *, keep: float, wall_clock: float, living: Collection[str]
) -> list[str]:
    """Return the names of the logs to remove. `logs` has names with the time of the last write; `living` are runs.

    All logs of a run are removed together: if the last write was more than `keep` seconds ago, or if there are more
    than KEPT_RUNS runs and it is one of the oldest. Logs of living runs stay.
    """
    runs: dict[str, list[str]] = {}
    written: dict[str, float] = {}
    for name, time in logs:
        if match := _LOG.fullmatch(name):
            run = match[1]
            runs.setdefault(run, []).append(name)
            written[run] = max(time, written.get(run, time))
    newest_first = sorted(runs, reverse=True)
    gone = [
        run
        for place, run in enumerate(newest_first)
        if run not in living and (place >= KEPT_RUNS or written[run] < wall_clock - keep)
    ]
    return sorted(name for run in gone for name in runs[run])
