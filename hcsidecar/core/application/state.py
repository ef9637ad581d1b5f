"""The state of an application at one moment, and how it reads to balancers, other nodes and people.

`Lifecycle` in `lifecycle.py` changes the state; everybody else only reads it.
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
from hcsidecar.core.application.states import GOING, Aim, Left, Phase, Role, Status, Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What is kept of an application over the end of its daemon."""

    last_word: Word = Word.START
    "What the operator said last."
    left: Left = Left.STOPPED
    "What is known of the application."
    has_passed: bool = False
    "The checks have passed since the application was started."
    gave_up: str = ""
    "Why the application has stopped by itself, for good."
    failures: tuple[Failure, ...] = ()


@dataclass(slots=True, kw_only=True)
class ApplicationState:
    """What is true of one application. Times are in seconds of the monotonic clock."""

    # What outlives the daemon: see `past`.
    last_word: Word = Word.START
    "What the operator said last."
    left: Left = Left.STOPPED
    "What is known of an application with scripts."
    has_passed: bool = False
    "The checks have passed since the application was started."
    gave_up: str = ""
    "Why the application has stopped by itself, for good."
    budget: RestartBudget
    "Its failures."

    # Where it is and where it goes.
    phase: Phase = Phase.STOPPED
    aim: Aim | None = None
    "What comes after leaving; while starting: RESTART when the application has not left its role."
    failure: str = ""
    "The failure that led to the aim; empty when somebody has asked for it."
    requested: tuple[str, str] | None = None
    "Action and reason that the application has asked for while its start script runs."
    exiting: bool = False
    "The daemon ends as soon as what has begun is done."
    began: float = 0.0
    "When this start, or this leaving, began."

    # Its scripts.
    script: ScriptRun | None = None
    "The script that should run now."
    script_runs: int = 0
    "How many runs there have been."
    is_thorough: bool = False
    "A script of the former daemon may still be at work: this stop goes all the way, whatever the scripts say."
    not_before: float = 0.0
    "When the next start is due at the earliest."

    # Its checks.
    board: CheckBoard
    "What they say."
    check_round: int | None = None
    "The number of this round of the application's checks, None while they rest; a new number: begin all anew."
    need_round: int | None = None
    "The same for the `pre` checks."
    check_rounds: int = 0
    need_rounds: int = 0
    "How many rounds there have been."
    in_grace: bool = False
    "A failing check is no failure yet."
    start_by: float = inf
    "When the checks must have passed for the first time."
    last_stays: LastStays
    "Whether it stays up with an unmet need, because no other node would be left."
    stays_because: str = ""
    "What is to be told while it does."

    # Its drain.
    drain: Drain = field(default_factory=lambda: Drain(since=0.0))
    waits_for_probers: bool = True
    "The drain ends only when the probers have had their fill, too."
    drain_until: float = inf
    "When the drain ends, whoever is left."
    waits_for_balancers: tuple[str, ...] = ()
    "Why an application that is parting must still take traffic, in plain words."

    # -- how it reads -------------------------------------------------------------------------------------------

    @property
    def past(self) -> Past:
        """What must be kept for the next daemon."""
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
        """How far it is in its role."""
        if self.role is Role.STOP:
            return Status.NOT_READY
        if self.phase is Phase.WAITING and self.board.unmet():
            return Status.NOT_READY
        serves = self.phase in (Phase.SERVING, Phase.PARTING, Phase.DRAINING)
        return Status.READY if serves and self.board.why_not_serve() is None else Status.TRANSIENT

    @property
    def name(self) -> str:
        """Role and status as people know them: "UP(Ready)"."""
        return f"{self.role}({self.status})"

    @property
    def draining(self) -> bool:
        """True while it serves on but wants nothing new."""
        return self.phase in (Phase.DRAINING, Phase.LEAVING)

    @property
    def parting(self) -> bool:
        """True while it takes traffic, and leaves as soon as balancers have drained it."""
        return self.phase is Phase.PARTING

    @property
    def serving(self) -> bool:
        """True when the health URL answers 200."""
        return self.status is Status.READY and not self.draining

    @property
    def wants_share(self) -> bool:
        """True when it would take buckets: exactly when the health URL answers 200."""
        return self.serving

    @property
    def drained(self) -> bool:
        """True while it drains and nobody is left, by the last evidence."""
        return self.draining and not self.drain.waits_for

    @property
    def waits_for(self) -> tuple[str, ...]:
        """What it still waits for on its way out, in plain words."""
        if self.draining:
            return self.drain.waits_for
        if self.parting:
            return self.waits_for_balancers
        return (f"the {self.script.script} script",) if self.script and self.phase in GOING else ()

    @property
    def finished(self) -> bool:
        """True when the daemon may exit."""
        return self.phase is Phase.FINISHED

    @property
    def unmet(self) -> tuple[str, ...]:
        """The needs that are unmet: names of `pre` checks that fail."""
        return self.board.unmet() if self.role is not Role.STOP else ()

    @property
    def check_results(self) -> Mapping[str, bool]:
        """Whether the checks pass that are made now and have a result."""
        of_needs = {} if self.need_round is None else self.board.results(pre=True)
        return of_needs if self.check_round is None else {**of_needs, **self.board.results(pre=False)}

    @property
    def remark(self) -> str:
        """What an operator should know of an application that takes traffic all the same."""
        if self.parting:
            return "leaves when its balancers have drained it, and takes traffic until then"
        return self.stays_because if self.serving and self.last_stays.stays else ""

    def why_not_ready(self) -> str | None:
        """Say why this node must get no traffic, or None if it may."""
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
            case Phase.LEAVING | Phase.CLOSING | Phase.CLEARING:
                return self._why_going()
            case Phase.DRAINING:
                complaint = self.board.why_not_serve()
                return f"drained by the operator; {complaint}" if complaint else "drained by the operator"
            case Phase.SERVING | Phase.PARTING:
                return self.board.why_not_serve()
            case _:
                assert_never(self.phase)

    def _why_going(self) -> str:
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
        """Return what is still in the way of traffic, to follow a sentence on a start: "; check HTTP: refused"."""
        complaint = self.board.why_not_serve() if self.phase is Phase.SERVING else None
        return f"; {complaint}" if complaint else ""
