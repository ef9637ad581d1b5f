"""What a module is at one moment: where it stands, and how that reads to balancers, members and people."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import assert_never

from hcsidecar.core.application.check_results import CheckBoard, CheckRule
from hcsidecar.core.application.draining import Drain
from hcsidecar.core.application.last_stays import LastStays
from hcsidecar.core.application.restart_budget import Failure, RestartBudget
from hcsidecar.core.application.scripts import ScriptPlan, ScriptRun
from hcsidecar.core.application.states import GOING, Aim, Left, Phase, Role, Status, Word
from hcsidecar.core.events import Event, Level


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What is kept of a module over the end of its daemon."""

    last_word: Word = Word.START
    "What the operator said last."
    left: Left = Left.STOPPED
    "What is known of the application."
    has_passed: bool = False
    "The checks have passed since the application was started."
    gave_up: str = ""
    "Why the module has stopped by itself, for good."
    failures: tuple[Failure, ...] = ()


class Standing:
    """Where a module stands, without what moves it: `Lifecycle` does.

    `lame_duck` is the limit of a drain in seconds, where the application has none of its own.
    """

    def __init__(
        self,
        *,
        checks: Iterable[CheckRule],
        lame_duck: float,
        plan: ScriptPlan | None = None,
        past: Past | None = None,
        last_stays: bool = False,
    ) -> None:
        past = past or Past()
        self.plan = plan or ScriptPlan()
        table = self.plan.table
        self.board = CheckBoard(checks)
        self.last_word = past.last_word
        self.left = past.left if table is not None else Left.STOPPED
        self.gave_up = past.gave_up
        self.has_passed = past.has_passed
        self.budget = RestartBudget(
            most=table.max_restarts if table else 3,
            window=table.restart_window if table else 0.0,
            failures=past.failures,
        )
        self.script: ScriptRun | None = None
        "What should run now."
        self.phase = Phase.STOPPED
        self.aim: Aim | None = None
        "What comes after leaving; of a module that starts: RESTART when it has not left its role."
        self.exiting = False
        "The daemon ends as soon as what has begun is done."
        self.check_round: int | None = None
        "The number of this round of the application's checks, None while they rest; a new one: begin all anew."
        self.need_round: int | None = None
        "The same for the `pre` checks."
        self._lame_duck = lame_duck
        self._drain_limit = table.drain if table is not None and table.drain is not None else lame_duck
        self._start_timeout = table.start_timeout if table is not None else inf
        self._always_force = table is not None and table.safekit
        self._rounds = self._need_rounds = 0
        self._runs = 0
        self._drain = Drain(since=0)
        "Counts while draining."
        self._patient = True
        "The drain waits for probers too."
        self._limit = inf
        "When a drain ends, whoever is left."
        self._began = 0.0
        "When this start, or this leaving, began."
        self._why = ""
        "What led to it."
        self._start_by = inf
        "When the checks must have passed for the first time."
        self._in_grace = False
        "A failing check is no failure yet."
        self._not_before = 0.0
        "When the next start is due at the earliest."
        self._last = LastStays(enabled=last_stays)
        self._remark = ""
        self._balancers: tuple[str, ...] = ()
        "What it waits for while parting, in plain words."
        self._is_thorough = False
        "A script of the former daemon may still be at work: this stop goes all the way, whatever the scripts say."
        self._requested: tuple[str, str] | None = None
        "Action and reason that the application has asked for while its start script runs."

    # What it is

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
    def state(self) -> str:
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
        """True when a draining module has nobody left, by the last evidence."""
        return self.draining and not self._drain.waits_for

    @property
    def waits_for(self) -> tuple[str, ...]:
        """What it still waits for on its way out, in plain words."""
        if self.draining:
            return self._drain.waits_for
        if self.parting:
            return self._balancers
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
        """Tell of the checks that are made now, and have a result, whether they pass."""
        of_needs = {} if self.need_round is None else self.board.results(pre=True)
        return of_needs if self.check_round is None else {**of_needs, **self.board.results(pre=False)}

    @property
    def remark(self) -> str:
        """What an operator should know of a module that takes traffic all the same."""
        if self.parting:
            return "leaves when its balancers have drained it, and takes traffic until then"
        return self._remark if self.serving and self._last.stays else ""

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
        return f"{text}: {self._why}" if self._why else text

    def _but(self) -> str:
        """Complete the sentence on a start: what is still in the way of traffic."""
        complaint = self.board.why_not_serve() if self.phase is Phase.SERVING else None
        return f"; {complaint}" if complaint else ""

    def _tell(self, why: str, *, level: Level = Level.INFO) -> Event:
        """Say the state and what led to it."""
        state = f"{self.state}, draining" if self.draining else self.state
        return Event(level=level, origin="module", message=f"{state}: {why}")
