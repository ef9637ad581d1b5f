"""The state of an application, and what balancers, other nodes and people see of it.

Only `Lifecycle` in `lifecycle.py` changes the state.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import assert_never

from hcsidecar.core.application.check_results import CheckBoard
from hcsidecar.core.application.draining import Drain
from hcsidecar.core.application.last_stays import LastStays
from hcsidecar.core.application.restart_budget import Failure, RestartBudget
from hcsidecar.core.application.scripts import ScriptRun
from hcsidecar.core.application.states import STOPPING, Aim, Left, Phase, Role, Status, Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What is kept of an application after its daemon has ended."""

    last_word: Word = Word.START
    "The operator's last command."
    left: Left = Left.STOPPED
    "What is known of the application."
    has_passed: bool = False
    "All checks have passed since the application was started."
    gave_up: str = ""
    "Why the daemon has stopped the application for good; empty if it has not."
    failures: tuple[Failure, ...] = ()


@dataclass(slots=True, kw_only=True)
class ApplicationState:
    """The state of one application. Times are in seconds of the monotonic clock."""

    # Kept after the daemon has ended: see `past`.
    last_word: Word = Word.START
    "The operator's last command."
    left: Left = Left.STOPPED
    "What is known of an application with scripts."
    has_passed: bool = False
    "All checks have passed since the application was started."
    gave_up: str = ""
    "Why the daemon has stopped the application for good; empty if it has not."
    budget: RestartBudget
    "The failures, and how many are allowed."

    # The phase and the aim.
    phase: Phase = Phase.STOPPED
    aim: Aim | None = None
    "What comes after the final drain. During a start: RESTART if the application has kept its role."
    failure: str = ""
    "The failure that led to the aim; empty if somebody has asked for it."
    requested: tuple[str, str] | None = None
    "The action and reason that the application has requested while its start script runs."
    exiting: bool = False
    "The daemon ends once the present transition is done."
    began: float = 0.0
    "When the present start or final drain began."

    # The scripts.
    script: ScriptRun | None = None
    "The script that should run now."
    script_runs: int = 0
    "The number of runs so far."
    is_thorough: bool = False
    "A script of the former daemon may still run, so this stop uses `force` and kills, whatever the scripts report."
    not_before: float = 0.0
    "The earliest time for the next start."

    # The checks.
    board: CheckBoard
    "The results of all checks."
    check_round: int | None = None
    "The number of the present round of the application's checks. None: they do not run. A new number: begin anew."
    need_round: int | None = None
    "The same for the `pre` checks."
    check_rounds: int = 0
    need_rounds: int = 0
    "The number of rounds so far."
    in_grace: bool = False
    "A failing check is not a failure yet."
    start_by: float = inf
    "When the checks must have passed for the first time."
    last_stays: LastStays
    "Whether it stays up with an unmet need, because no other node would be left."
    stays_because: str = ""
    "The text for people while it does."

    # The drain.
    drain: Drain = field(default_factory=lambda: Drain(since=0.0))
    waits_for_probers: bool = True
    "The drain also waits until the probers have had enough NOT FOUND answers."
    drain_until: float = inf
    "When the drain ends, even if the application is still in use."
    waits_for_balancers: tuple[str, ...] = ()
    "Why an application that is parting must still take traffic, as text for people."

    # -- what others see ----------------------------------------------------------------------------------------

    @property
    def past(self) -> Past:
        """The part of the state to keep for the next daemon."""
        return Past(
            last_word=self.last_word,
            left=self.left,
            has_passed=self.has_passed,
            gave_up=self.gave_up,
            failures=self.budget.failures(now=-inf),
        )

    @property
    def role(self) -> Role:
        """STOP, WAIT or UP."""
        match self.phase:
            case Phase.STOPPED | Phase.FINISHED:
                return Role.STOP
            case Phase.WAITING if self.aim is Aim.RESTART and self.board.why_not_start() is None:
                return Role.UP
            case Phase.PREPARING | Phase.WAITING | Phase.CLEARING:
                return Role.WAIT
            case _:
                return Role.UP

    @property
    def status(self) -> Status:
        """How far it has got in its role."""
        if self.role is Role.STOP:
            return Status.NOT_READY
        if self.phase is Phase.WAITING and self.board.unmet():
            return Status.NOT_READY
        serves = self.phase in (Phase.SERVING, Phase.PARTING, Phase.DRAINING)
        return Status.READY if serves and self.board.why_not_serve() is None else Status.TRANSIENT

    @property
    def name(self) -> str:
        """Role and status: "UP(Ready)"."""
        return f"{self.role}({self.status})"

    @property
    def draining(self) -> bool:
        """True while it serves but asks for no new traffic."""
        return self.phase in (Phase.DRAINING, Phase.FINAL_DRAIN)

    @property
    def parting(self) -> bool:
        """True while it takes traffic until its balancers have drained it; then it drains and stops."""
        return self.phase is Phase.PARTING

    @property
    def serving(self) -> bool:
        """True if the application may get traffic."""
        return self.status is Status.READY and not self.draining

    @property
    def wants_share(self) -> bool:
        """True if the node wants buckets, which is the case exactly if the application may get traffic."""
        return self.serving

    @property
    def drained(self) -> bool:
        """True while it drains and nothing uses it any more, by the last evidence."""
        return self.draining and not self.drain.waits_for

    @property
    def waits_for(self) -> tuple[str, ...]:
        """What a drain or stop still waits for, as text for people."""
        if self.draining:
            return self.drain.waits_for
        if self.parting:
            return self.waits_for_balancers
        return (f"the {self.script.script} script",) if self.script and self.phase in STOPPING else ()

    @property
    def finished(self) -> bool:
        """True if the daemon may exit."""
        return self.phase is Phase.FINISHED

    @property
    def unmet(self) -> tuple[str, ...]:
        """The names of the `pre` checks that fail."""
        return self.board.unmet() if self.role is not Role.STOP else ()

    @property
    def check_results(self) -> Mapping[str, bool]:
        """Whether each check passes, of those that run now and have a result."""
        of_needs = {} if self.need_round is None else self.board.results(pre=True)
        return of_needs if self.check_round is None else {**of_needs, **self.board.results(pre=False)}

    @property
    def remark(self) -> str:
        """A remark for the operator on an application that takes traffic; empty if there is none."""
        if self.parting:
            return "leaves when its balancers have drained it, and takes traffic until then"
        return self.stays_because if self.serving and self.last_stays.stays else ""

    def why_not_ready(self) -> str | None:
        """Return why this node must get no traffic, or None if it may."""
        match self.phase:
            case Phase.STOPPED:
                if self.gave_up:
                    return f"stopped by itself: {self.gave_up}"
                return "not started yet" if self.last_word not in (Word.STOP, Word.LEAVE) else "stopped by the operator"
            case Phase.FINISHED:
                return "shut down"
            case Phase.PREPARING:
                return "the prestart script runs"
            case Phase.WAITING:
                return self.board.why_not_start() or "pauses before the next start, since failures come in a row"
            case Phase.STARTING:
                return "the start script runs"
            case Phase.FINAL_DRAIN | Phase.CLOSING | Phase.CLEARING:
                return self._why_stopping()
            case Phase.DRAINING:
                complaint = self.board.why_not_serve()
                return f"drained by the operator; {complaint}" if complaint else "drained by the operator"
            case Phase.SERVING | Phase.PARTING:
                return self.board.why_not_serve()
            case _:
                assert_never(self.phase)

    def _why_stopping(self) -> str:
        if self.exiting:
            return "shutting down"
        match self.aim:
            case Aim.RESTART | Aim.STOPSTART:
                text = "restarting"
            case Aim.WAIT:
                text = "stopping, to wait"
            case _:
                text = "stopping"
        return f"{text}: {self.failure}" if self.failure else text

    def reservation(self) -> str:
        """Return what still prevents traffic, to be added to a sentence about a start: "; check HTTP: refused"."""
        complaint = self.board.why_not_serve() if self.phase is Phase.SERVING else None
        return f"; {complaint}" if complaint else ""
