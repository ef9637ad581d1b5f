"""How a module moves: from STOP through its scripts and needs to traffic, and back again. `Lifecycle` says when."""

from math import inf

from hcsidecar.core.application.draining import Drain
from hcsidecar.core.application.scripts import Script
from hcsidecar.core.application.state import Standing
from hcsidecar.core.application.states import MOVES, Aim, Left, Phase, Word
from hcsidecar.core.events import Event, Level

_NO_LOOK_YET = ("a first look at its balancers",)


class Course(Standing):
    """The moves of a module; each gives the events that tell of it. `now` is in seconds of the monotonic clock."""

    # Starting

    def start_anew(self, now: float, why: str) -> list[Event]:
        """Begin a start; what it waits for is said in the event. What may still run is stopped first."""
        if self.left is not Left.STOPPED:
            self.aim, self._is_thorough = Aim.STOPSTART, True
            return self._close(now, f"{why}; some of the application may still run")
        self._enter(Phase.PREPARING)
        self._began = now
        if self.plan.has(Script.PRESTART):
            self._run(Script.PRESTART, now)
            return [self._tell(f"{why}; the prestart script runs")]
        return self._wait(now, why)

    def _wait(self, now: float, why: str) -> list[Event]:
        """Wait for what the application needs, if anything."""
        self._enter(Phase.WAITING)
        self._begin_needs()
        return self._start_if_due(now, why)

    def _start_if_due(self, now: float, why: str) -> list[Event]:
        complaint = self.board.why_not_start()
        if complaint is None and now < self._not_before:
            complaint = f"pauses for {self._not_before - now:.0f} s before the next start"
        if complaint is not None:
            return [self._tell(f"{why}; {complaint}")]
        self._enter(Phase.STARTING)
        self._began, self._requested = now, None
        if self.plan.has(Script.START):
            self.left = Left.UNCLEAR
            self.has_passed = False
            self._run(Script.START, now)
            return [self._tell(f"{why}; the start script runs")]
        return self._serve(now, why)

    def _serve(self, now: float, why: str, *, has_passed: bool = False) -> list[Event]:
        """The application is started: take traffic as soon as the checks pass."""
        self.aim = None
        self.has_passed = has_passed
        self._rounds += 1
        self.check_round = self._rounds
        self.board.begin(pre=False)
        self._enter(Phase.DRAINING if self.last_word is Word.DRAIN else Phase.SERVING)
        self._drain = Drain(since=now)
        self._start_by = self._began + self._start_timeout
        self._in_grace = not has_passed
        self._note_passing()
        if self.phase is Phase.DRAINING:
            return [self._tell(f"{why}, but drained as the operator left it; `hcsidecar resume` ends that")]
        return [self._tell(f"{why}{self._but()}")]

    def _begin_needs(self) -> None:
        if self.need_round is None:
            self._need_rounds += 1
            self.need_round = self._need_rounds
            self.board.begin(pre=True)

    def _note_passing(self) -> None:
        if self.phase in (Phase.SERVING, Phase.DRAINING) and all(
            text is None for text in self.board.of_application().values()
        ):
            self.has_passed, self._in_grace, self._start_by = True, False, inf

    # Leaving

    def leave(
        self,
        aim: Aim,
        why: str,
        *,
        now: float,
        patient: bool = True,
        at_most: float = inf,
        level: Level = Level.INFO,
    ) -> list[Event]:
        """Begin to drain, with an end in sight: `at_most` seconds, whatever the settings allow."""
        self.aim = aim
        if patient:
            self._why = ""
        if self.phase in (Phase.SERVING, Phase.PARTING):
            self._drain = Drain(since=now)
        self._enter(Phase.LEAVING)
        self._patient = patient
        self._began = now
        # A drain that the operator began long ago gets the full time again: who says stop now counts from now.
        limit = min(at_most, self._lame_duck if aim is Aim.EXIT or self.plan.table is None else self._drain_limit)
        self._limit = now + limit
        return [self._tell(f"{why}, drains for {limit:g} s at most", level=level), *self._tick_drain(now=now)]

    def part(self, why: str) -> list[Event]:
        """Take traffic until balancers have drained this node; then leave, to stop."""
        self.aim, self._why = Aim.STOP, ""
        self._balancers = _NO_LOOK_YET
        self._enter(Phase.PARTING)
        return [self._tell(f"{why}; takes traffic until its balancers have drained it")]

    def hurry(self, why: str, *, now: float, level: Level = Level.INFO) -> list[Event]:
        """End the drain, or a stop script that takes its time; `why` says who wants that."""
        if self.phase is Phase.LEAVING:
            if self.aim is Aim.EXIT:
                return self.finish(now, why, level=level)
            return self._close(now, why, level=level)
        match self.script and self.script.script:
            case Script.STOP:
                self._run(Script.FORCE, now)
                return [self._tell(f"{why}: stops with force", level=level)]
            case Script.FORCE:
                self._run(Script.KILL, now)
                return [self._tell(f"{why}: kills the processes of the application", level=Level.WARNING)]
            case Script.POSTSTOP:
                self.script = None
                return self._cleared(now, why, level=level)
        return []

    def finish(self, now: float, why: str, *, level: Level = Level.INFO) -> list[Event]:
        """End for good: the daemon may exit."""
        leaving = self.phase is Phase.LEAVING
        self.script = self.check_round = self.need_round = None
        self._enter(Phase.FINISHED)
        runs_on = "; the application runs on" if self.left is Left.STARTED else ""
        after = f"stopped after {now - self._began:.1f} s, " if leaving else ""
        return [self._tell(f"{after}{why}{runs_on}", level=level)]

    def _close(self, now: float, why: str, *, level: Level = Level.INFO) -> list[Event]:
        """Nobody is left, or nobody waits any longer: run the stop scripts."""
        if self.phase is not Phase.LEAVING:
            self._began = now
        self._enter(Phase.CLOSING)
        self.check_round = None
        if self.plan.table is None or self.left is Left.STOPPED:
            return self._closed(now, why, level=level)
        self.left = Left.UNCLEAR
        self._run(Script.STOP, now)
        return [self._tell(f"{why}; the stop script runs", level=level)]

    def _closed(self, now: float, why: str, *, level: Level = Level.INFO) -> list[Event]:
        """The application is stopped."""
        took = f"{now - self._began:.1f} s"
        if self.exiting and self.aim is not Aim.STOP:
            return self.finish(now, f"stopped after {took}, {why}", level=level)
        match self.aim:
            case Aim.RESTART:
                return self._wait(now, f"stopped after {took}, {why}; starts again")
            case Aim.WAIT:
                self.aim = None
                return self._wait(now, f"stopped after {took}, {why}")
            case _:
                self._enter(Phase.CLEARING)
                if self.plan.has(Script.POSTSTOP):
                    self._run(Script.POSTSTOP, now)
                    return [self._tell(f"{why}; the poststop script runs", level=level)]
                return self._cleared(now, why, level=level)

    def _cleared(self, now: float, why: str, *, level: Level = Level.INFO) -> list[Event]:
        """All is over; do what comes then."""
        aim, self.aim = self.aim, None
        self.need_round = None
        took = f"stopped after {now - self._began:.1f} s"
        if self.exiting:
            return self.finish(now, f"{took}, {why}", level=level)
        if aim is Aim.STOPSTART:
            return self.start_anew(now, f"{took}, {why}; starts again")
        self._enter(Phase.STOPPED)
        return [self._tell(f"{took}, {why}", level=level)]

    def turn_back(self, aim: Aim, why: str, *, now: float, level: Level = Level.INFO) -> list[Event]:
        """Leave a start that has not come to the start script, or break off that one."""
        self.aim = aim
        self.script = None
        return self._close(now, why, level=level)

    def _tick_drain(self, *, now: float) -> list[Event]:
        """End a drain that has reached its limit."""
        if self.phase is not Phase.LEAVING or now < self._limit:
            return []
        why = f"{self._limit - self._began:g} s are over, still there: {', '.join(self._drain.waits_for)}"
        return self.hurry(why, now=now, level=Level.WARNING)

    # What orders need

    def call_off(self) -> None:
        """Take traffic again, in the midst of a drain."""
        self._enter(Phase.SERVING)
        self.aim, self._why, self._limit = None, "", inf

    def start_draining(self, *, now: float) -> None:
        """Ask for nothing new, until further notice."""
        self._enter(Phase.DRAINING)
        self._drain = Drain(since=now)

    def stop_draining(self, *, now: float) -> float:
        """End a drain; gives how long it was, in seconds."""
        self._enter(Phase.SERVING)
        return now - self._drain.since

    def forgive(self) -> None:
        """The operator has taken over: forget the failures."""
        self.budget.reset()
        self.gave_up, self._not_before = "", 0.0

    def tell(self, why: str) -> Event:
        """Say the state and what led to it."""
        return self._tell(why)

    def but(self) -> str:
        """Complete the sentence on a start: what is still in the way of traffic."""
        return self._but()

    # How it moves

    def _enter(self, phase: Phase) -> None:
        if phase not in MOVES[self.phase]:
            raise RuntimeError(f"a module cannot go from {self.phase.name} to {phase.name}")
        self.phase = phase
        if phase not in (Phase.SERVING, Phase.DRAINING):
            self._start_by = inf
            self._last.reset()
        if phase is not Phase.LEAVING:
            self._limit = inf

    def _run(self, script: Script, now: float) -> None:
        self._runs += 1
        aim = None if script in (Script.PRESTART, Script.START) and self.aim is not Aim.RESTART else self.aim
        self.script = self.plan.run(script, number=self._runs, aim=aim, now=now)
