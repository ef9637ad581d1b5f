"""One run of a script of the application: its name and mark, its environment, how it ended, when its log may go."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from errno import ENOENT, ENOEXEC

from hcsidecar.core.exit_status import how_it_ended
from hcsidecar.core.farmfile.application_table import ApplicationTable

KEPT_RUNS = 200
"Runs whose logs are kept at most, whatever their age."
USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_KEPT_VARIABLES = frozenset({"HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TZ", "USER"})
_LOG = re.compile(r"(.+)\.log(?:\.old)?")
_NAME = re.compile(r"([0-9]{8}T[0-9]{6}\.[0-9]{3}Z)_([A-Za-z0-9_-]{1,64})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a script finds what it belongs to; paths are absolute."""

    farm: str
    node: str
    config: str
    socket: str
    python: str
    state_dir: str

    @property
    def safe(self) -> str:
        """The directory that a SafeKit module takes for that of SafeKit."""
        return f"{self.state_dir}/safekit"

    @property
    def safekit_directories(self) -> tuple[str, ...]:
        """What a SafeKit module finds there: its configuration, and two for what it wants to keep."""
        return (f"{self.safe}/conf", f"{self.safe}/var", f"{self.safe}/var/modules/{self.farm}")

    def mark(self, run: str) -> str:
        """Give what marks the processes of a run, in their environment."""
        return f"{self.farm}/{self.node}/{run}"

    def run_marked_in(self, environ: bytes) -> str | None:
        """Give the run to which a process belongs by its environment (proc(5): environ); None if to none of ours."""
        variables = environ.split(b"\0")
        if f"HCSIDECAR_STATE_DIR={self.state_dir}".encode() not in variables:
            return None
        mark = f"HCSIDECAR_RUN={self.mark('')}".encode()
        runs = [variable.removeprefix(mark) for variable in variables if variable.startswith(mark)]
        return runs[0].decode(errors="replace") if runs else None


def run_name(key: str, arguments: Sequence[str], *, wall_clock: float) -> str:
    """Name a run by when it began (seconds since 1970) and what it is: 20261128T034001.123Z_stop_force."""
    began = datetime.fromtimestamp(int(wall_clock), UTC)
    forced = "_force" if key == "stop" and arguments[:1] == ["force"] else ""
    return f"{began:%Y%m%dT%H%M%S}.{int(wall_clock * 1000) % 1000:03d}Z_{key}{forced}"


def began_and_script(run: str) -> tuple[str, str]:
    """Take the name of a run apart: when it began, as it stands there, and what it is."""
    began, _, script = run.partition("_")
    return began, script


def began_at(run: str) -> float | None:
    """Give when the run of this name began, in seconds since 1970; None if no run can have the name."""
    match = _NAME.fullmatch(run)
    if match is None:
        return None
    try:
        return datetime.strptime(match[1], "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC).timestamp()
    except ValueError:  # there is no such day
        return None


def is_start(run: str) -> bool:
    """Tell whether a run is one of the start script, by its name."""
    return began_and_script(run)[1] == "start"


def environment(
    table: ApplicationTable, place: Place, *, run: str, start_directory: str, base: Mapping[str, str]
) -> dict[str, str]:
    """Give the whole environment of a script; of the daemon's own, `base`, little is handed on."""
    found = check_environment(table, place, start_directory=start_directory, base=base)
    # The processes of the application are found by this one and the state directory, so nobody may set them otherwise.
    return found | {"HCSIDECAR_RUN": place.mark(run)}


def check_environment(
    table: ApplicationTable | None, place: Place, *, start_directory: str, base: Mapping[str, str]
) -> dict[str, str]:
    """Give the same for the program of a check, which is not one of the application's processes."""
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
    """Give what of the daemon's own environment, `base`, is handed on to any program."""
    kept = {name: value for name, value in base.items() if name in _KEPT_VARIABLES or name.startswith("LC_")}
    return {"PATH": USUAL_PATH} | kept


def why_ended_badly(exit_code: int) -> str | None:
    """Say how a script ended, if not with status 0; a negative code is the signal that killed it."""
    return None if exit_code == 0 else how_it_ended(exit_code)


def why_not_started(step: str, number: int, text: str) -> str:
    """Say why a script did not run: the step that failed (`directory`, `exec` or `fork`) and its errno(3)."""
    if step == "directory":
        return f"cannot be started: its working directory: {text}"
    if number == ENOENT:
        return (
            "cannot be started: the interpreter that its first line names is not there "
            "(lines that end as on Windows do that too)"
        )
    if number == ENOEXEC:
        return "cannot be started: it is no program, and its first line does not begin with #!"
    return f"cannot be started: {text}"


def logs_to_remove(
    logs: Iterable[tuple[str, float]], *, keep: float, wall_clock: float, living: Collection[str]
) -> list[str]:
    """Say which logs may go, of names with the time of their last writing; those of living runs stay.

    A run goes with all of its logs: when the last was written more than `keep` seconds ago, and the oldest ones when
    there are more than KEPT_RUNS.
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
