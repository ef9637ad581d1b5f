"""The module of this node, whose application runs by itself: when it takes traffic, and how it stops hurting nobody.

Theory of operation
-------------------
A started module is UP(Transient) until every check passes, then UP(Ready). Only UP(Ready) and not draining is
answered with 200 on the health URL and wants a share of the layer-2 traffic; both end in the same instant.

To stop is to drain first: NOT FOUND and no share at once, while the application serves on. The drain ends on
evidence, that is when no connection to the checked ports is left and every prober that is about has been told NOT
FOUND often enough; at the latest `lame_duck` seconds after the command. A second `stop` ends it at once.
`drain` alone is the same without an end, until `resume`, `start` or `stop`.

Commands answer with an Outcome and never raise; `check_result`, `evidence` and `tick` return events. `now` is in
seconds of the monotonic clock, `by` says who gave the command.
"""

from collections.abc import Iterable, Mapping
from math import inf
from typing import assert_never

from hcsidecar.core.checks import UNCHECKED, first_complaint
from hcsidecar.core.draining import Drain
from hcsidecar.core.events import Event, Level
from hcsidecar.core.states import ENDING, MOVES, Outcome, Phase, Role, Status, Word, accept, refuse

__all__ = ["Lifecycle", "Outcome", "Role", "Status", "Word"]

_EXITING = "the daemon is shutting down; `hcsidecar run` starts it again"
_STOPPED = "the module is stopped; `hcsidecar start` starts it"
_STOPPING = "the module is stopping; `hcsidecar start` calls that off"


class Lifecycle:
    """The state machine of one module; see the module's theory of operation.

    `checks` are the names of all checks, `lame_duck` is the limit of a stop in seconds, `last_word` what the
    operator said last, before this daemon. The module does nothing until `begin`.
    """

    def __init__(self, *, checks: Iterable[str], lame_duck: float, last_word: Word = Word.START) -> None:
        self._complaints: dict[str, str | None] = dict.fromkeys(checks, UNCHECKED)
        "What is wrong by each check; None when it passes."
        self._lame_duck = lame_duck
        self._last_word = last_word
        self._phase = Phase.STOPPED
        self._check_round = 0
        self._drain = Drain(since=0)
        "Counts while draining."
        self._stop_began = 0.0
        self._limit = inf
        "When a stop ends, whoever is left."

    # What it is

    @property
    def role(self) -> Role:
        """STOP or UP."""
        return Role.STOP if self._phase in (Phase.STOPPED, Phase.FINISHED) else Role.UP

    @property
    def status(self) -> Status:
        """How far it is in its role."""
        if self.role is Role.STOP:
            return Status.NOT_READY
        passing = first_complaint(self._complaints) is None
        return Status.READY if passing and self._phase not in ENDING else Status.TRANSIENT

    @property
    def state(self) -> str:
        """Role and status as people know them: "UP(Ready)"."""
        return f"{self.role}({self.status})"

    @property
    def draining(self) -> bool:
        """True while it serves on but wants nothing new."""
        return self._phase is Phase.DRAINING or self._phase in ENDING

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
        """What a drain still waits for, in plain words."""
        return self._drain.waits_for if self.draining else ()

    @property
    def finished(self) -> bool:
        """True when the daemon may exit."""
        return self._phase is Phase.FINISHED

    @property
    def last_word(self) -> Word:
        """What the operator said last; to be kept for the next daemon."""
        return self._last_word

    @property
    def check_round(self) -> int | None:
        """The number of this start, or None while nothing is to be checked; a new one means: begin all checks anew."""
        return None if self.role is Role.STOP else self._check_round

    def why_not_ready(self) -> str | None:
        """Say why this node must get no traffic, or None if it may."""
        match self._phase:
            case Phase.STOPPED:
                return "stopped by the operator" if self._last_word is Word.STOP else "not started yet"
            case Phase.FINISHED:
                return "shut down"
            case Phase.STOPPING | Phase.RESTARTING | Phase.EXITING:
                return {Phase.EXITING: "shutting down"}.get(self._phase, self._phase.name.lower())
            case Phase.DRAINING:
                complaint = first_complaint(self._complaints)
                return f"drained by the operator; {complaint}" if complaint else "drained by the operator"
            case Phase.SERVING:
                return first_complaint(self._complaints)
            case _:
                assert_never(self._phase)

    # What the operator wants

    def begin(self, *, now: float) -> list[Event]:
        """Do what the operator's last word asks of a daemon that has just started; to be called once."""
        match self._last_word:
            case Word.STOP:
                return [self._tell("not started, the operator's last word was stop; `hcsidecar start` starts it")]
            case Word.DRAIN:
                self._start(now=now)
                return [self._tell("started, but drained as the operator left it; `hcsidecar resume` ends that")]
            case Word.START:
                self._start(now=now)
                return [self._tell(f"started with the daemon{self._but()}")]
            case _:
                assert_never(self._last_word)

    def start(self, *, now: float, by: str) -> Outcome:
        """Start the module; one that drains gets traffic again, a stop is called off."""
        match self._phase:
            case Phase.STOPPED:
                self._last_word = Word.START
                self._start(now=now)
                return accept("the module starts", self._tell(f"start by {by}{self._but()}"))
            case Phase.SERVING:
                return accept(f"the module is started already: {self.state}")
            case Phase.DRAINING:
                return self.resume(now=now, by=by)
            case Phase.STOPPING:
                self._last_word = Word.START
                self._enter(Phase.SERVING)
                return accept(
                    "the stop is called off", self._tell(f"start by {by}, the stop is called off{self._but()}")
                )
            case Phase.RESTARTING:
                return self._after_restart(Word.START, by=by)
            case Phase.EXITING | Phase.FINISHED:
                return refuse(_EXITING)
            case _:
                assert_never(self._phase)

    def stop(self, *, now: float, by: str) -> Outcome:
        """Drain, then stop; said again to a module that is stopping: stop at once."""
        again = self._last_word is Word.STOP
        match self._phase:
            case Phase.STOPPED:
                self._last_word = Word.STOP
                return accept("the module is stopped already")
            case Phase.SERVING | Phase.DRAINING:
                self._last_word = Word.STOP
                events = self._drain_towards(Phase.STOPPING, f"stop by {by}", now=now)
                return accept("the module stops", *events)
            case Phase.RESTARTING:
                self._last_word = Word.STOP
                self._enter(Phase.STOPPING)
                return accept("the module stops", self._tell(f"stop by {by}, instead of the restart"))
            case Phase.EXITING if not again:
                self._last_word = Word.STOP
                return accept(
                    "the daemon is shutting down; the module will stay stopped when it is back",
                    self._tell(f"stop by {by}, to outlast the shutdown"),
                )
            case Phase.STOPPING | Phase.EXITING:
                return accept("the module stops at once", *self._end(f"stop again by {by}, no more waiting", now=now))
            case Phase.FINISHED:
                return refuse(_EXITING)
            case _:
                assert_never(self._phase)

    def restart(self, *, now: float, by: str) -> Outcome:
        """Drain, stop, start; a module that the operator has drained comes back drained."""
        match self._phase:
            case Phase.STOPPED:
                return self.start(now=now, by=by)
            case Phase.SERVING | Phase.DRAINING:
                events = self._drain_towards(Phase.RESTARTING, f"restart by {by}", now=now)
                return accept("the module restarts", *events)
            case Phase.STOPPING:
                self._last_word = Word.START
                self._enter(Phase.RESTARTING)
                return accept("the module restarts", self._tell(f"restart by {by}, instead of the stop"))
            case Phase.RESTARTING:
                return accept("the module is restarting already")
            case Phase.EXITING | Phase.FINISHED:
                return refuse(_EXITING)
            case _:
                assert_never(self._phase)

    def drain(self, *, now: float, by: str) -> Outcome:
        """Ask for no new traffic, from this instant on, and serve on."""
        match self._phase:
            case Phase.STOPPED:
                return refuse(_STOPPED)
            case Phase.SERVING:
                self._last_word = Word.DRAIN
                self._enter(Phase.DRAINING)
                self._drain = Drain(since=now)
                return accept("the module drains, and serves on", self._tell(f"drain by {by}"))
            case Phase.DRAINING:
                return accept("the module is draining already")
            case Phase.STOPPING:
                return refuse(_STOPPING)
            case Phase.RESTARTING:
                return self._after_restart(Word.DRAIN, by=by)
            case Phase.EXITING | Phase.FINISHED:
                return refuse(_EXITING)
            case _:
                assert_never(self._phase)

    def resume(self, *, now: float, by: str) -> Outcome:
        """End a drain."""
        match self._phase:
            case Phase.STOPPED:
                return refuse(_STOPPED)
            case Phase.SERVING:
                return accept(f"the module is not draining: {self.state}")
            case Phase.DRAINING:
                self._last_word = Word.START
                self._enter(Phase.SERVING)
                why = f"drain ended by {by} after {now - self._drain.since:.1f} s{self._but()}"
                return accept("the drain is over", self._tell(why))
            case Phase.STOPPING:
                return refuse(_STOPPING)
            case Phase.RESTARTING:
                return self._after_restart(Word.START, by=by)
            case Phase.EXITING | Phase.FINISHED:
                return refuse(_EXITING)
            case _:
                assert_never(self._phase)

    def shutdown(self, *, now: float, by: str) -> list[Event]:
        """End the daemon (SIGTERM): drain, stop, then `finished`; a second one cuts the drain short."""
        match self._phase:
            case Phase.STOPPED:
                self._enter(Phase.FINISHED)
                return [self._tell(f"shutdown by {by}")]
            case Phase.SERVING | Phase.DRAINING:
                return self._drain_towards(Phase.EXITING, f"shutdown by {by}", now=now)
            case Phase.STOPPING | Phase.RESTARTING:
                self._enter(Phase.EXITING)
                return [self._tell(f"shutdown by {by}, to follow the stop")]
            case Phase.EXITING:
                return self._end(f"shutdown again by {by}, no more waiting", now=now)
            case Phase.FINISHED:
                return []
            case _:
                assert_never(self._phase)

    # What is seen

    def check_result(self, *, name: str, complaint: str | None) -> list[Event]:
        """Take what a check has to say, its `rise` and `fall` counted: what is wrong, or None when it passes."""
        if self.role is Role.STOP:
            return []
        state, before = self.state, self._complaints[name]
        self._complaints[name] = complaint
        events = []
        if complaint is None and before is not None:
            events = [Event(level=Level.INFO, origin="check", message=f"{name} passes")]
        elif complaint is not None and complaint != UNCHECKED and before in (None, UNCHECKED):
            events = [Event(level=Level.WARNING, origin="check", message=f"{name} fails: {complaint}")]
        if self.state == state:
            return events
        why = first_complaint(self._complaints)
        level = Level.WARNING if why else Level.INFO
        return [*events, self._tell(why or "every check passes", level=level)]

    def evidence(self, *, connections: Mapping[int, int] | None, probers: Iterable[str], now: float) -> list[Event]:
        """Take who is still there; see `Drain.see`."""
        if not self.draining:
            return []
        had_been_empty = self._drain.found_empty
        self._drain.see(connections=connections, probers=probers)
        if self.drained and self._phase in ENDING:
            return self._end("nobody is left", now=now)
        if self.drained and not had_been_empty:
            return [self._tell(f"nobody is left after {now - self._drain.since:.1f} s")]
        return []

    def tick(self, *, now: float) -> list[Event]:
        """End a drain that has reached its limit."""
        if now < self._limit:
            return []
        why = f"{self._lame_duck:g} s are over, still there: {', '.join(self._drain.waits_for)}"
        return self._end(why, now=now, level=Level.WARNING)

    def next_tick_at(self) -> float:
        """Say when `tick` is due next; inf when nothing runs out."""
        return self._limit

    # How it moves

    def _enter(self, phase: Phase) -> None:
        if phase not in MOVES[self._phase]:
            raise RuntimeError(f"a module cannot go from {self._phase.name} to {phase.name}")
        self._phase = phase
        if phase not in ENDING:
            self._limit = inf

    def _start(self, *, now: float) -> None:
        """Begin a new life, drained if the operator's last word says so."""
        self._check_round += 1
        self._complaints = dict.fromkeys(self._complaints, UNCHECKED)
        self._enter(Phase.DRAINING if self._last_word is Word.DRAIN else Phase.SERVING)
        self._drain = Drain(since=now)

    def _drain_towards(self, phase: Phase, why: str, *, now: float) -> list[Event]:
        """Begin a stop."""
        if self._phase is Phase.SERVING:
            self._drain = Drain(since=now)
        self._enter(phase)
        self._stop_began = now
        # A drain that the operator began long ago gets the full time again: who says stop now counts from now.
        self._limit = now + self._lame_duck
        return [self._tell(f"{why}, drains for {self._lame_duck:g} s at most"), *self.tick(now=now)]

    def _end(self, why: str, *, now: float, level: Level = Level.INFO) -> list[Event]:
        """Stop now, and do what follows."""
        restarting = self._phase is Phase.RESTARTING
        self._enter(Phase.FINISHED if self._phase is Phase.EXITING else Phase.STOPPED)
        stopped = self._tell(f"stopped after {now - self._stop_began:.1f} s, {why}", level=level)
        if not restarting:
            return [stopped]
        self._start(now=now)
        return [stopped, self._tell(f"started again{self._but()}")]

    def _after_restart(self, word: Word, *, by: str) -> Outcome:
        """Decide whether a module that is restarting takes traffic afterwards."""
        text = "the module is restarting and will " + ("drain then" if word is Word.DRAIN else "take traffic then")
        if self._last_word is word:
            return accept(text)
        self._last_word = word
        return accept(text, self._tell(f"{word} by {by}, to follow the restart"))

    def _but(self) -> str:
        """Complete the sentence on a start: what is still in the way of traffic."""
        complaint = first_complaint(self._complaints) if self._phase is Phase.SERVING else None
        return f"; {complaint}" if complaint else ""

    def _tell(self, why: str, *, level: Level = Level.INFO) -> Event:
        """Say the state and what led to it."""
        state = f"{self.state}, draining" if self.draining else self.state
        return Event(level=level, origin="module", message=f"{state}: {why}")
