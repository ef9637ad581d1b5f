"""The runs of the application's scripts: their arguments and time limits."""

from dataclasses import dataclass
from enum import StrEnum

from hcsidecar.core.application.states import Aim, Role
from hcsidecar.core.farmfile.application_table import ApplicationTable
from hcsidecar.core.farmfile.values import format_duration

KILL_LIMIT = 20.0
"Seconds that killing the processes of an application may take. They get SIGTERM first."


class Script(StrEnum):
    """What may run. The last one is not a script: it kills the processes of the application."""

    PRESTART = "prestart"
    START = "start"
    STOP = "stop"
    FORCE = "stop force"
    POSTSTOP = "poststop"
    KILL = "kill"

    @property
    def key(self) -> str:
        """The key of the script in the farm file."""
        return "stop" if self is Script.FORCE else self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptRun:
    """One run of a script. The runner starts it when it sees a new number, and ends the run before."""

    number: int
    script: Script
    arguments: tuple[str, ...]
    began: float
    "Seconds of the monotonic clock."
    limit: float
    "Seconds that it may take."

    @property
    def ends_by(self) -> float:
        """When its time limit expires."""
        return self.began + self.limit

    def why_late(self) -> str:
        """Return the text for a run whose time limit has expired."""
        return f"did not end within {format_duration(self.limit)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptPlan:
    """The scripts of an application and their limits; without a table, the application runs by itself."""

    table: ApplicationTable | None = None

    def has(self, script: Script) -> bool:
        """Return whether the application has this script."""
        if self.table is None:
            return False
        return script is Script.KILL or script.key in self.table.scripts

    def run(self, script: Script, *, number: int, aim: Aim | None, now: float) -> ScriptRun:
        """Return a new run. `aim` is the aim of the application, None if it starts."""
        assert self.table is not None  # noqa: S101 - asked only for scripts that there are
        limits = {
            Script.START: self.table.start_timeout,
            Script.STOP: self.table.stop_timeout,
            Script.KILL: KILL_LIMIT,
        }
        return ScriptRun(
            number=number,
            script=script,
            arguments=_arguments(script, aim),
            began=now,
            limit=limits.get(script, self.table.force_timeout),
        )


def _arguments(script: Script, aim: Aim | None) -> tuple[str, ...]:
    """Return the arguments that SafeKit gives its scripts: `force` if it applies, present role, next role, action."""
    if aim is Aim.RESTART:
        words = (Role.UP, Role.UP, "restart")
    elif script is Script.PRESTART:
        words = (Role.STOP, Role.WAIT, aim or "start")
    elif script is Script.START:
        words = (Role.WAIT, Role.UP, aim or "start")
    elif script is Script.POSTSTOP:
        words = (Role.WAIT, Role.STOP, aim or Aim.STOP)
    else:
        words = (Role.UP, Role.WAIT, aim or Aim.STOP)
    force = ("force",) if script is Script.FORCE else ()
    return (*force, *map(str, words))
