"""The life cycle of this node's application: how it starts, takes traffic, restarts, and stops without lost requests.

Theory of operation
-------------------
An application goes through these phases (its role is in brackets):

    STOPPED -> PREPARING -> WAITING -> STARTING -> SERVING -> FINAL_DRAIN -> CLOSING -> CLEARING -> STOPPED
    [STOP]     [WAIT]       [WAIT]     [UP]        [UP]       [UP]           [UP]       [WAIT]      [STOP]
               prestart     `pre`      start       all        drain          stop       poststop
               script       checks     script      checks                    scripts    script

`MOVES` below is the table of all allowed moves, with the cause of each. A step that has nothing to do takes no time: an
application without scripts goes from STOPPED to SERVING at once.

Traffic: while the application is UP(Ready) and not draining, the health URL answers 200, and the node wants a share of
the layer-2 traffic. Both begin and end at the same moment. Traffic begins only after the start script has ended and
every check has passed, and it ends before the stop script begins.

Final drain: the application drains before it stops. From that moment on, the health URL answers NOT FOUND, the node
wants no share, and the application still serves the clients that it has. The drain ends when no connection to the
checked ports is left and every known prober has had NOT FOUND often enough, or when its time limit is reached. A second
`stop` ends it at once. The *aim* says what comes after the drain. An application that drains because a check fails does
not wait for probers, since its requests fail anyway. Behind a balancer that must drain this node first, the application
*parts* before that: it takes traffic until the balancer has nothing more to send.

Stopping: the stop script runs. If it fails or takes too long, it runs again with `force`. If that fails too, the
processes are killed.

Failures: a failing check leads to its action, which counts against the restart budget. The first failure beyond the
budget stops the application until the operator starts it again. From a start until the checks have passed once, but at
most for `start_timeout`, a failing check is not a failure.

The daemon may end and return while the application runs. `ApplicationState.left` records what is known of the
application, and is kept on disk.

The state machine runs nothing itself. Everybody may read its `state` (`state.py`). `state.script` is the script that
should run now; its runner calls `script_ended`. `commands.py` has the operator's commands in each phase. `now` is in
seconds of the monotonic clock. Methods return events that report what they did.
"""

from collections.abc import Collection, Iterable, Mapping
from math import inf
from typing import Final, assert_never

from hcsidecar.core.application.check_results import CheckBoard, CheckRule
from hcsidecar.core.application.checks import UNCHECKED
from hcsidecar.core.application.draining import Drain
from hcsidecar.core.application.last_stays import LastStays, Outlook, UnmetNeedDecision
from hcsidecar.core.application.outcome import Outcome, accept, refuse
from hcsidecar.core.application.restart_budget import RestartBudget
from hcsidecar.core.application.scripts import Script, ScriptPlan, ScriptRun
from hcsidecar.core.application.state import ApplicationState, Past
from hcsidecar.core.application.states import Aim, Left, Phase, Word
from hcsidecar.core.events import Event, Level

MOVES: Final[Mapping[Phase, frozenset[Phase]]] = {
    Phase.STOPPED: frozenset({
        Phase.PREPARING,  # a start
        Phase.SERVING,  # the daemon takes over a running application
        Phase.DRAINING,  # the same, and the operator has drained it
        Phase.CLOSING,  # some of the application may still run, and must not
        Phase.FINISHED,  # the daemon ends
    }),
    Phase.PREPARING: frozenset({
        Phase.WAITING,  # the prestart script has ended
        Phase.CLOSING,  # it failed, or the start is cancelled
        Phase.FINISHED,  # the daemon ends
    }),
    Phase.WAITING: frozenset({
        Phase.STARTING,  # every need is met, and the pause after a failure is over
        Phase.CLOSING,  # a need with action "stop" is unmet, or the start is cancelled
        Phase.FINISHED,  # the daemon ends
    }),
    Phase.STARTING: frozenset({
        Phase.SERVING,  # the start script has ended
        Phase.DRAINING,  # the same, and the operator has drained it
        Phase.CLOSING,  # the start script failed, or the start is cancelled
        Phase.FINISHED,  # the daemon ends
    }),
    Phase.SERVING: frozenset({
        Phase.DRAINING,  # a drain
        Phase.PARTING,  # a leave, behind a balancer that must drain this node first
        Phase.FINAL_DRAIN,  # a stop, a restart, a failure, or the daemon ends
    }),
    Phase.PARTING: frozenset({
        Phase.SERVING,  # the leave is cancelled
        Phase.FINAL_DRAIN,  # the balancers have nothing more to send, or are no longer waited for
    }),
    Phase.DRAINING: frozenset({
        Phase.SERVING,  # the drain is over
        Phase.FINAL_DRAIN,  # as from SERVING
    }),
    Phase.FINAL_DRAIN: frozenset({
        Phase.SERVING,  # the stop is cancelled
        Phase.CLOSING,  # the drain is over
        Phase.FINISHED,  # the same, and the daemon ends while the application continues to run
    }),
    Phase.CLOSING: frozenset({
        Phase.WAITING,  # the application has stopped and is to restart, or to wait for a need
        Phase.CLEARING,  # the application has stopped and the poststop script follows
        Phase.FINISHED,  # the application has stopped, and the daemon ends
    }),
    Phase.CLEARING: frozenset({
        Phase.STOPPED,  # the poststop script has ended
        Phase.PREPARING,  # the same, and everything starts again
        Phase.CLOSING,  # the same, but the stop before could not end all of the application
        Phase.FINISHED,  # the same, and the daemon ends
    }),
    Phase.FINISHED: frozenset(),
}  # fmt: skip
"""All allowed moves. No path leads from a phase with traffic to the end without a drain in between."""

_AIMS: Mapping[str, Aim] = {"restart": Aim.RESTART, "stopstart": Aim.STOPSTART, "wait": Aim.WAIT, "stop": Aim.STOP}
"The aim that follows from each action of a failing check."
_LONGEST_PAUSE = 30.0
"The longest pause between a stop and the next start, in seconds, after several failures in a row."
_BROKEN_DRAIN = 2.0
"The limit of a drain, in seconds, if the application's own check fails: connections to a hung program never end."
_RECENT = 3600.0
"The seconds during which a failure lengthens the pause before the next start."
_NO_LOOK_YET = ("a first look at its balancers",)


class Lifecycle:
    """The state machine of one application; see the theory of operation above. It does nothing before `begin`.

    `lame_duck` is the limit of a drain in seconds, if the application has no limit of its own.
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
        self._limit(plan or ScriptPlan(), lame_duck=lame_duck)
        table = self.plan.table
        past = past or Past()
        self.state = ApplicationState(
            last_word=past.last_word,
            left=past.left if table is not None else Left.STOPPED,
            has_passed=past.has_passed,
            gave_up=past.gave_up,
            budget=RestartBudget(
                most=table.max_restarts if table else 3,
                window=table.restart_window if table else 0.0,
                failures=past.failures,
            ),
            board=CheckBoard(checks),
            last_stays=LastStays(enabled=last_stays),
        )

    def _limit(self, plan: ScriptPlan, *, lame_duck: float) -> None:
        table = plan.table
        self.plan = plan
        self._lame_duck = lame_duck
        self._drain_limit = table.drain if table is not None and table.drain is not None else lame_duck
        self._start_timeout = table.start_timeout if table is not None else inf
        self._always_force = table is not None and table.safekit

    def _enter(self, phase: Phase) -> None:
        """Enter a phase. This is the only place where the phase changes. Raise RuntimeError if `MOVES` forbids it."""
        state = self.state
        if phase not in MOVES[state.phase]:
            raise RuntimeError(f"an application cannot go from {state.phase.name} to {phase.name}")
        state.phase = phase
        if phase not in (Phase.SERVING, Phase.DRAINING):
            state.start_by = inf
            state.last_stays.reset()
        if phase is not Phase.FINAL_DRAIN:
            state.drain_until = inf

    def tell(self, why: str, *, level: Level = Level.INFO) -> Event:
        """Return an event with the state and the reason for it."""
        name = f"{self.state.name}, draining" if self.state.draining else self.state.name
        return Event(level=level, origin="application", message=f"{name}: {why}")

    # -- starting: STOPPED, PREPARING, WAITING, STARTING ----------------------------------------------------------

    def begin(self, *, now: float) -> list[Event]:
        """Continue from the state that the former daemon has left. Call it once, when the daemon has started."""
        state = self.state
        if state.last_word in (Word.STOP, Word.LEAVE) or state.gave_up:
            why = state.gave_up or f"the operator's last word was {state.last_word}"
            if state.left is not Left.STOPPED:
                state.aim, state.is_thorough = Aim.STOP, state.left is Left.UNCLEAR
                return self._close(f"the application is {state.left}, and {why}", now=now)
            return [self.tell(f"not started, {why}; `hcsidecar start` starts it")]
        match state.left:
            case Left.STOPPED:
                return self.start("started with the daemon", now=now)
            case Left.STARTED:
                state.began = now
                self._check_needs()
                return self._serve("took over the application as it runs", has_passed=state.has_passed, now=now)
            case Left.UNCLEAR:
                state.aim, state.is_thorough = Aim.STOPSTART, True
                why = "the former daemon ended during a start or stop: begins again"
                return self._close(why, now=now)
            case _:
                assert_never(state.left)

    def start(self, why: str, *, now: float) -> list[Event]:
        """Begin a start. If some of the application may still run, stop that first."""
        state = self.state
        if state.left is not Left.STOPPED:
            state.aim, state.is_thorough = Aim.STOPSTART, True
            return self._close(f"{why}; some of the application may still run", now=now)
        self._enter(Phase.PREPARING)
        state.began = now
        if self.plan.has(Script.PRESTART):
            self._run(Script.PRESTART, now=now)
            return [self.tell(f"{why}; the prestart script runs")]
        return self._wait(why, now=now)

    def _wait(self, why: str, *, now: float) -> list[Event]:
        """Wait until the needs of the application are met."""
        self._enter(Phase.WAITING)
        self._check_needs()
        return self._start_if_due(why, now=now)

    def _start_if_due(self, why: str, *, now: float) -> list[Event]:
        """Run the start script, or report what the start still waits for."""
        state = self.state
        complaint = state.board.why_not_start()
        if complaint is None and now < state.not_before:
            complaint = f"pauses for {state.not_before - now:.0f} s before the next start"
        if complaint is not None:
            return [self.tell(f"{why}; {complaint}")]
        self._enter(Phase.STARTING)
        state.began, state.requested = now, None
        if self.plan.has(Script.START):
            state.left = Left.UNCLEAR
            state.has_passed = False
            self._run(Script.START, now=now)
            return [self.tell(f"{why}; the start script runs")]
        return self._serve(why, now=now)

    def turn_back(self, aim: Aim, why: str, *, now: float, level: Level = Level.INFO) -> list[Event]:
        """Cancel a start and end the script that runs for it."""
        self.state.aim = aim
        self.state.script = None
        return self._close(why, now=now, level=level)

    def _check_needs(self) -> None:
        state = self.state
        if state.need_round is None:
            state.need_rounds += 1
            state.need_round = state.need_rounds
            state.board.begin(pre=True)

    # -- serving: SERVING, DRAINING, PARTING ----------------------------------------------------------------------

    def _serve(self, why: str, *, now: float, has_passed: bool = False) -> list[Event]:
        """Begin to serve: the application has started, and takes traffic once the checks pass."""
        state = self.state
        state.aim = None
        state.has_passed = has_passed
        state.check_rounds += 1
        state.check_round = state.check_rounds
        state.board.begin(pre=False)
        self._enter(Phase.DRAINING if state.last_word is Word.DRAIN else Phase.SERVING)
        state.drain = Drain(since=now)
        state.start_by = state.began + self._start_timeout
        state.in_grace = not has_passed
        self._note_passing()
        if state.phase is Phase.DRAINING:
            return [self.tell(f"{why}, but drained as the operator left it; `hcsidecar resume` ends that")]
        return [self.tell(f"{why}{state.reservation()}")]

    def start_draining(self, why: str, *, now: float) -> list[Event]:
        """Begin a drain that lasts until the operator ends it."""
        self._enter(Phase.DRAINING)
        self.state.drain = Drain(since=now)
        return [self.tell(why)]

    def stop_draining(self, why: str, *, now: float) -> list[Event]:
        """End a drain and take traffic again."""
        self._enter(Phase.SERVING)
        return [self.tell(f"{why} after {now - self.state.drain.since:.1f} s{self.state.reservation()}")]

    def part(self, why: str) -> list[Event]:
        """Take traffic until the balancers have drained this node; then drain and stop."""
        state = self.state
        state.aim, state.failure = Aim.STOP, ""
        state.waits_for_balancers = _NO_LOOK_YET
        self._enter(Phase.PARTING)
        return [self.tell(f"{why}; takes traffic until its balancers have drained it")]

    def see_balancers(self, waits_for: Iterable[str], *, now: float) -> list[Event]:
        """Take the reasons why an application that is parting must still take traffic. It drains if there are none."""
        if self.state.phase is not Phase.PARTING:
            return []
        self.state.waits_for_balancers = tuple(waits_for)
        if self.state.waits_for_balancers:
            return []
        return self.drain_then(Aim.STOP, "its balancers have nothing more to send", now=now)

    # -- the final drain: FINAL_DRAIN -----------------------------------------------------------------------------

    def drain_then(
        self,
        aim: Aim,
        why: str,
        *,
        now: float,
        waits_for_probers: bool = True,
        at_most: float = inf,
        level: Level = Level.INFO,
    ) -> list[Event]:
        """Begin the drain that leads to `aim`. It ends after `at_most` seconds or the configured limit."""
        state = self.state
        state.aim = aim
        if waits_for_probers:
            state.failure = ""
        if state.phase in (Phase.SERVING, Phase.PARTING):
            state.drain = Drain(since=now)
        self._enter(Phase.FINAL_DRAIN)
        state.waits_for_probers = waits_for_probers
        state.began = now
        # If the operator began the drain long ago, its full time begins anew with this command.
        limit = min(at_most, self._lame_duck if aim is Aim.EXIT or self.plan.table is None else self._drain_limit)
        state.drain_until = now + limit
        return [self.tell(f"{why}, drains for {limit:g} s at most", level=level), *self._end_late_drain(now=now)]

    def call_off(self, why: str) -> list[Event]:
        """Cancel a stop that has not got beyond its drain, and take traffic again."""
        self._enter(Phase.SERVING)
        self.state.aim, self.state.failure = None, ""
        return [self.tell(f"{why}{self.state.reservation()}")]

    def evidence(self, *, connections: Mapping[int, int] | None, probers: Iterable[str], now: float) -> list[Event]:
        """Take evidence of who still uses the application; see `Drain.see`."""
        state = self.state
        if not state.draining:
            return []
        had_been_empty = state.drain.found_empty
        with_probers = state.waits_for_probers or state.phase is Phase.DRAINING
        state.drain.see(connections=connections, probers=probers if with_probers else ())
        if state.drained and state.phase is Phase.FINAL_DRAIN:
            return self.hurry("nobody is left", now=now)
        if state.drained and not had_been_empty:
            return [self.tell(f"nobody is left after {now - state.drain.since:.1f} s")]
        return []

    def _end_late_drain(self, *, now: float) -> list[Event]:
        """End the drain if it has reached its limit."""
        state = self.state
        if state.phase is not Phase.FINAL_DRAIN or now < state.drain_until:
            return []
        still_there = ", ".join(state.drain.waits_for)
        why = f"{state.drain_until - state.began:g} s are over, still there: {still_there}"
        return self.hurry(why, now=now, level=Level.WARNING)

    def hurry(self, why: str, *, now: float, level: Level = Level.INFO) -> list[Event]:
        """End the drain, or a script that is stopping the application, at once. `why` names who asked for that."""
        state = self.state
        if state.phase is Phase.FINAL_DRAIN:
            if state.aim is Aim.EXIT:
                return self.finish(why, now=now, level=level)
            return self._close(why, now=now, level=level)
        match state.script and state.script.script:
            case Script.STOP:
                self._run(Script.FORCE, now=now)
                return [self.tell(f"{why}: stops with force", level=level)]
            case Script.FORCE:
                self._run(Script.KILL, now=now)
                return [self.tell(f"{why}: kills the processes of the application", level=Level.WARNING)]
            case Script.POSTSTOP:
                state.script = None
                return self._cleared(why, now=now, level=level)
        return []

    def redirect(self, aim: Aim, why: str) -> list[Event]:
        """Change the aim of a stop that has begun."""
        self.state.aim = aim
        return [self.tell(why)]

    # -- stopping: CLOSING, CLEARING, FINISHED --------------------------------------------------------------------

    def _close(self, why: str, *, now: float, level: Level = Level.INFO) -> list[Event]:
        """Run the stop script: the drain is over, or there was none."""
        state = self.state
        if state.phase is not Phase.FINAL_DRAIN:
            state.began = now
        self._enter(Phase.CLOSING)
        state.check_round = None
        if self.plan.table is None or state.left is Left.STOPPED:
            return self._closed(why, now=now, level=level)
        state.left = Left.UNCLEAR
        self._run(Script.STOP, now=now)
        return [self.tell(f"{why}; the stop script runs", level=level)]

    def _closed(self, why: str, *, now: float, level: Level = Level.INFO) -> list[Event]:
        """Continue with the aim: the application has stopped."""
        state = self.state
        took = f"{now - state.began:.1f} s"
        if state.exiting and state.aim is not Aim.STOP:
            return self.finish(f"stopped after {took}, {why}", now=now, level=level)
        match state.aim:
            case Aim.RESTART:
                return self._wait(f"stopped after {took}, {why}; starts again", now=now)
            case Aim.WAIT:
                state.aim = None
                return self._wait(f"stopped after {took}, {why}", now=now)
            case _:
                self._enter(Phase.CLEARING)
                if self.plan.has(Script.POSTSTOP):
                    self._run(Script.POSTSTOP, now=now)
                    return [self.tell(f"{why}; the poststop script runs", level=level)]
                return self._cleared(why, now=now, level=level)

    def _cleared(self, why: str, *, now: float, level: Level = Level.INFO) -> list[Event]:
        """Continue after the poststop script."""
        state = self.state
        aim, state.aim = state.aim, None
        state.need_round = None
        took = f"stopped after {now - state.began:.1f} s"
        if state.exiting:
            return self.finish(f"{took}, {why}", now=now, level=level)
        if aim is Aim.STOPSTART:
            return self.start(f"{took}, {why}; starts again", now=now)
        self._enter(Phase.STOPPED)
        return [self.tell(f"{took}, {why}", level=level)]

    def finish(self, why: str, *, now: float, level: Level = Level.INFO) -> list[Event]:
        """Enter the last phase: the daemon may exit."""
        state = self.state
        was_draining = state.phase is Phase.FINAL_DRAIN
        state.script = state.check_round = state.need_round = None
        self._enter(Phase.FINISHED)
        runs_on = state.left is Left.STARTED
        after = f"{'drained for' if runs_on else 'stopped after'} {now - state.began:.1f} s, " if was_draining else ""
        then = "; the application runs on" if runs_on else ""
        return [self.tell(f"{after}{why}{then}", level=level)]

    # -- scripts --------------------------------------------------------------------------------------------------

    def _run(self, script: Script, *, now: float) -> None:
        """Ask for a run of this script, in place of any other."""
        state = self.state
        state.script_runs += 1
        aim = None if script in (Script.PRESTART, Script.START) and state.aim is not Aim.RESTART else state.aim
        state.script = self.plan.run(script, number=state.script_runs, aim=aim, now=now)

    def script_ended(
        self, number: int, failure: str | None, last_lines: Iterable[str] = (), *, now: float
    ) -> list[Event]:
        """Take the end of the run with this number: why it failed, or None, and its last lines of output."""
        run = self.state.script
        if run is None or run.number != number:
            return []  # this run was ended to make room for another
        return self._script_over(run, failure, tuple(last_lines), now=now)

    def _script_over(
        self, run: ScriptRun, failure: str | None, last_lines: tuple[str, ...], *, now: float
    ) -> list[Event]:
        state = self.state
        state.script = None
        took = f"{now - run.began:.1f} s"
        said = f", its last words: {' | '.join(last_lines)}" if failure and last_lines else ""
        problem = f"the {run.script} script {failure}{said}"
        events = []
        if failure:
            level = Level.WARNING if run.script in (Script.STOP, Script.POSTSTOP) else Level.ERROR
            events = [Event(level=level, origin="application", message=problem)]
        match run.script:
            case Script.PRESTART:
                if failure and not self._always_force:
                    return events + self._fail("stopstart", problem, now=now)
                return events + self._wait(f"prestart took {took}", now=now)
            case Script.START:
                return events + self._started(failure, problem, took, now=now)
            case Script.STOP:
                if failure or self._always_force or state.is_thorough:
                    self._run(Script.FORCE, now=now)
                    return events
                return self._stopped(f"the stop script took {took}", now=now)
            case Script.FORCE:
                if failure:
                    self._run(Script.KILL, now=now)
                    return [*events, self.tell("kills the processes of the application", level=Level.WARNING)]
                if state.is_thorough:
                    self._run(Script.KILL, now=now)
                    return [self.tell("checks that no process of the application is left")]
                return self._stopped("stopped with force", now=now)
            case Script.KILL:
                if failure:
                    state.gave_up = f"its processes could not be ended: {failure}"
                    state.aim = Aim.STOP
                    return events + self._closed(state.gave_up, now=now, level=Level.ERROR)
                return self._stopped("none of its processes is left", now=now)
            case Script.POSTSTOP:
                return events + self._cleared(f"poststop took {took}", now=now)
            case _:
                assert_never(run.script)

    def _started(self, failure: str | None, problem: str, took: str, *, now: float) -> list[Event]:
        state = self.state
        if failure and not self._always_force:
            return self._fail("restart", problem, now=now)
        state.left = Left.STARTED
        if state.requested is not None:
            (action, why), state.requested = state.requested, None
            return self._fail(action, why, now=now)
        state.aim = None
        return self._serve(f"started, which took {took}", now=now)

    def _stopped(self, how: str, *, now: float) -> list[Event]:
        self.state.left, self.state.is_thorough = Left.STOPPED, False
        return self._closed(how, now=now)

    # -- checks ---------------------------------------------------------------------------------------------------

    def is_news(self, name: str, complaint: str | None) -> bool:
        """Return whether the result of a check is anything but that it still passes."""
        return complaint is not None or self.state.board.complaint(name) is not None

    def check_result(self, *, name: str, complaint: str | None, now: float) -> list[Event]:
        """Take the result of a check, with `rise` and `fall` applied: what is wrong, or None if it passes."""
        state = self.state
        rule = state.board.rule(name)
        if (state.need_round if rule.pre else state.check_round) is None:
            return []
        name_before, complaint_before = state.name, state.board.take(name, complaint)
        events = []
        if complaint is None and complaint_before is not None:
            events = [Event(level=Level.INFO, origin="check", message=f"{name} passes")]
        elif complaint is not None and complaint != UNCHECKED and complaint_before in (None, UNCHECKED):
            events = [Event(level=Level.WARNING, origin="check", message=f"{name} fails: {complaint}")]
        self._note_passing()
        is_other = state.name != name_before
        if state.phase is Phase.WAITING:
            return events + self._act_on_need(name, is_other=is_other, now=now)
        if is_other:
            why_not = state.board.why_not_serve()
            events.append(self.tell(why_not or "every check passes", level=Level.WARNING if why_not else Level.INFO))
        return events + self._act_on_checks(now=now)

    def see_machine(self, obstacle: str | None, remedy: str = "", *, now: float) -> list[Event]:
        """Take the fault of the machine that keeps this node from serving, or None, and what to do about it."""
        board = self.state.board
        before, board.obstacle = board.obstacle, obstacle
        if obstacle == before:
            return []
        if obstacle is None:
            return [self.tell(f"{before}: that is over{self.state.reservation()}")]
        told = self.tell(f"{obstacle}; {remedy}" if remedy else obstacle, level=Level.ERROR)
        return [told, *self._act_on_checks(now=now)]

    def see_farm(self, outlook: Outlook, *, now: float) -> list[Event]:
        """Take the state of the other nodes."""
        last_stays = self.state.last_stays
        last_stays.outlook = outlook
        return self._act_on_checks(now=now) if last_stays.stays and outlook.others_serve else []

    def _note_passing(self) -> None:
        """If all checks pass, end the time after a start in which a failing check is not a failure."""
        state = self.state
        if state.phase in (Phase.SERVING, Phase.DRAINING) and all(
            text is None for text in state.board.of_application().values()
        ):
            state.has_passed, state.in_grace, state.start_by = True, False, inf

    def _act_on_need(self, name: str, *, is_other: bool, now: float) -> list[Event]:
        """Act on the result of a need while the application waits; `is_other` is whether that changed its state."""
        board = self.state.board
        complaint = board.complaint(name)
        if complaint not in (None, UNCHECKED) and board.rule(name).action == "stop":
            return self._fail("stop", f"check {name}: {complaint}", now=now)
        why_not = board.why_not_start()
        if why_not is None:
            return self._start_if_due("all its needs are met", now=now)
        return [self.tell(why_not, level=Level.WARNING)] if is_other else []

    def _act_on_checks(self, *, now: float, is_late: bool = False) -> list[Event]:
        """Act on the first failing check. With `is_late`, a check that has not passed since the start fails too."""
        state = self.state
        if state.phase is Phase.PARTING and (broken := state.board.why_not_serve()) is not None:
            why = f"{broken}; takes no more traffic, whether its balancers have drained it or not"
            return self.drain_then(
                Aim.STOP, why, now=now, waits_for_probers=False, at_most=_BROKEN_DRAIN, level=Level.WARNING
            )
        if state.phase not in (Phase.SERVING, Phase.DRAINING):
            return []
        if not state.in_grace:
            for name, text in state.board.of_application().items():
                action = state.board.rule(name).action
                if text is not None and (text != UNCHECKED or is_late) and action != "none":
                    return self._fail(action, f"check {name}: {text}", now=now, at_most=_BROKEN_DRAIN)
        for name, text in state.board.of_needs().items():
            if text not in (None, UNCHECKED):
                return self._act_on_unmet_need(f"check {name}: {text}", state.board.rule(name).action, now=now)
        return [self.tell("all its needs are met again")] if state.last_stays.reset() else []

    def _act_on_unmet_need(self, why: str, action: str, *, now: float) -> list[Event]:
        """Act on an unmet need while the application is UP."""
        if action == "stop":
            return self._fail("stop", why, now=now)
        state = self.state
        stayed = state.last_stays.stays
        match state.last_stays.judge(now=now):
            case UnmetNeedDecision.HOLD_ON:
                return []
            case UnmetNeedDecision.STAY:
                state.stays_because = f"{why}; stays UP, since no other node would be left"
                return [] if stayed else [self.tell(state.stays_because, level=Level.ERROR)]
            case UnmetNeedDecision.LEAVE_NOBODY:
                message = f"no node of the farm is left to serve: {why}"
                return [
                    Event(level=Level.ERROR, origin="application", message=message),
                    *self._fail("wait", why, now=now),
                ]
            case UnmetNeedDecision.LEAVE:
                return self._fail("wait", why, now=now)
            case decision:
                assert_never(decision)

    # -- another farm file -----------------------------------------------------------------------------------------

    def reconfigure(
        self,
        *,
        checks: Iterable[CheckRule],
        begun: Collection[str],
        lame_duck: float,
        plan: ScriptPlan,
        last_stays: bool,
    ) -> list[Event]:
        """Take a changed farm file. `begun` names the checks that begin without a result; the others keep theirs.

        A script that runs, a drain and a start in progress keep their limits, and failures of before still count. A
        table [application] neither appears nor disappears here.
        """
        state = self.state
        if (plan.table is None) is not (self.plan.table is None):
            raise ValueError("who starts the application cannot change while it runs")
        self._limit(plan, lame_duck=lame_duck)
        if plan.table is not None:
            state.budget.most, state.budget.window = plan.table.max_restarts, plan.table.restart_window
        state.last_stays.enable(last_stays)
        name_before = state.name
        serves = state.phase in (Phase.SERVING, Phase.DRAINING, Phase.PARTING) and not state.in_grace
        state.board.change(checks, begun=begun, serves=serves)
        self._note_passing()
        events = []
        if not state.unmet and state.last_stays.reset():
            events = [self.tell("all its needs are met, by other checks")]
        if state.name != name_before:
            why_not = state.why_not_ready()
            why = f"other checks; {why_not}" if why_not else "other checks, and every check passes"
            events.append(self.tell(why, level=Level.WARNING if why_not else Level.INFO))
        return events

    # -- failures and the operator's word -------------------------------------------------------------------------

    def _fail(self, action: str, why: str, *, now: float, at_most: float = inf) -> list[Event]:
        """Take the action of a failure, within the budget. The drain takes at most `at_most` seconds."""
        state = self.state
        aim, level = _AIMS[action], Level.WARNING
        if aim is Aim.STOP:
            state.gave_up, level = why, Level.ERROR
        elif (summary := state.budget.spend(why, now=now)) is not None:
            state.gave_up, aim, level = summary, Aim.STOP, Level.ERROR
        if aim is not Aim.STOP:
            recent = sum(now - failure.at < _RECENT for failure in state.budget.failures(now=now))
            state.not_before = now + min(_LONGEST_PAUSE, 2.0 ** min(recent - 1, 9) - 1) if recent else now
        state.aim, state.failure = aim, state.gave_up or why
        text = f"{aim} after a failure: {state.failure}"
        if state.phase in (Phase.SERVING, Phase.DRAINING):
            return self.drain_then(aim, text, now=now, waits_for_probers=False, at_most=at_most, level=level)
        if state.phase is Phase.STARTING:
            return self._close(text, now=now, level=level)
        return self.turn_back(aim, text, now=now, level=level)

    def request(self, action: str, why: str, *, now: float) -> Outcome:
        """Carry out an action that the application itself requests: restart, stopstart, wait or stop.

        It counts as a failure.
        """
        state = self.state
        if state.phase is Phase.STARTING:
            state.requested = (action, why)
            return accept(f"the application does that when the start script has ended: {action}")
        if state.phase is Phase.PARTING:
            return refuse(f"the application {state.remark}")
        if state.phase not in (Phase.SERVING, Phase.DRAINING, Phase.PREPARING, Phase.WAITING):
            return refuse(f"the application is {state.name} and does not take this now: {state.why_not_ready()}")
        return accept(f"the application does that: {action}", *self._fail(action, why, now=now))

    def count_failure(self, why: str, *, now: float) -> Outcome:
        """Count a failure that the application has repaired itself. Refuse if the budget is spent."""
        budget = self.state.budget
        if (summary := budget.spend(why, now=now)) is not None:
            return refuse(f"the restart budget is used up: {summary}")
        return accept(f"{budget.used(now=now)} of {budget.most} restarts")

    def reset_budget(self, why: str) -> list[Event]:
        """Reset the restart budget."""
        self.state.budget.reset()
        return [self.tell(why)]

    def forgive(self) -> None:
        """Forget all failures, after a command of the operator."""
        self.state.budget.reset()
        self.state.gave_up, self.state.not_before = "", 0.0

    def keep_word(self, word: Word) -> None:
        """Record the operator's last command, also for the next daemon. This alone changes no phase."""
        self.state.last_word = word

    def prepare_to_exit(self) -> None:
        """Let the daemon end once the present transition is done."""
        self.state.exiting = True

    # -- time -----------------------------------------------------------------------------------------------------

    def tick(self, *, now: float) -> list[Event]:
        """Act on everything that is due by now."""
        state = self.state
        if state.script is not None and now >= state.script.ends_by:
            return self._script_over(state.script, state.script.why_late(), (), now=now)
        match state.phase:
            case Phase.FINAL_DRAIN:
                return self._end_late_drain(now=now)
            case Phase.WAITING if now >= state.not_before and state.board.why_not_start() is None:
                return self._start_if_due("the pause is over", now=now)
            case Phase.SERVING | Phase.DRAINING if now >= min(state.start_by, state.last_stays.hold_until):
                is_late = now >= state.start_by
                if is_late:
                    state.in_grace, state.start_by = False, inf
                return self._act_on_checks(now=now, is_late=is_late)
        return []

    def next_tick_at(self) -> float:
        """Return when `tick` is due next; inf if nothing is pending."""
        state = self.state
        due = state.script.ends_by if state.script is not None else inf
        match state.phase:
            case Phase.FINAL_DRAIN:
                return min(due, state.drain_until)
            case Phase.WAITING if state.board.why_not_start() is None:
                return min(due, state.not_before)
            case Phase.SERVING | Phase.DRAINING:
                return min(due, state.start_by, state.last_stays.hold_until)
        return due
