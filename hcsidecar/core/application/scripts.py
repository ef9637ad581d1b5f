"""Which script of the application runs next, with which arguments and for how long at most."""

from dataclasses import dataclass
from enum import StrEnum

from hcsidecar.core.application.states import Aim, Role
from hcsidecar.core.farmfile.application_table import ApplicationTable
from hcsidecar.core.farmfile.values import format_duration

KILL_LIMIT = 20.0
"Seconds that killing the processes of an application may take: they are asked first."


class Script(StrEnum):
    """What may run; the last one is no script, but the end of the application's processes."""

    PRESTART = "prestart"
    START = "start"
    STOP = "stop"
    FORCE = "stop force"
    POSTSTOP = "poststop"
    KILL = "kill"

    @property
    def key(self) -> str:
        """The key of the farm file that names it."""
        return "stop" if self is Script.FORCE else self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptRun:
    """One run: the shell starts it when it sees a new number, and ends the one before."""

    number: int
    script: Script
    arguments: tuple[str, ...]
    began: float
    "Seconds of the monotonic clock."
    limit: float
    "Seconds that it may take."

    @property
    def ends_by(self) -> float:
        """When it has run out of time."""
        return self.began + self.limit

    def why_late(self) -> str:
        """Say that it has run out of time."""
        return f"did not end within {format_duration(self.limit)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptPlan:
    """The scripts that there are, and their limits; none for an application that runs by itself."""

    table: ApplicationTable | None = None

    def has(self, script: Script) -> bool:
        """Tell whether there is such a script."""
        if self.table is None:
            return False
        return script is Script.KILL or script.key in self.table.scripts

    def run(self, script: Script, *, number: int, aim: Aim | None, now: float) -> ScriptRun:
        """Make a run; `aim` is what the application is about to do, None when it starts."""
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
    """Give what SafeKit's scripts get: perhaps `force`, the present role, the next one, and the action."""
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
