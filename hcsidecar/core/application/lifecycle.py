"""The module of this node: how its application starts, takes traffic, is restarted, and stops hurting nobody.

Theory of operation
-------------------
A module goes this way (states as people know them in brackets; `core/application/states.py` has every move):

    STOPPED -> PREPARING -> WAITING -> STARTING -> SERVING -> LEAVING -> CLOSING -> CLEARING -> STOPPED
    [STOP]     [WAIT]       [WAIT]     [UP]        [UP]       [UP]       [UP]       [WAIT]      [STOP]
               prestart     `pre`      start       all        drain      stop       poststop
               script       checks     script      checks                scripts    script

Only UP(Ready) and not draining is answered with 200 on the health URL and wants a share of the layer-2 traffic; both
end in the same instant. Traffic comes after the start script has ended and every check has passed, and it has ended
before the stop script begins. A step for which there is nothing to do takes no time: an application without scripts,
that runs by itself, goes from STOPPED to SERVING at once.

To leave is to drain first: NOT FOUND and no share at once, while the application serves on. The drain ends on
evidence, that is when no connection to the checked ports is left and every prober that is about has been told NOT
FOUND often enough; at the latest when the limit is over. A second `stop` ends it at once. What comes after it is the
*aim*. A module that leaves because a check fails does not wait for probers: its requests fail anyway.

`stop` is called, then `stop` with `force` if the first fails or takes too long, then the processes are killed. A
failing check leads to its action, and that is counted on the budget; the failure that is one too many stops the
module, until the operator says otherwise. Before the checks have passed for the first time since the start, a failing
one is no failure, for `start_timeout`.

The daemon may end and come back while the application runs: `left` says what is known of it, and is kept on disk.

Commands are in `commands.py`. `script` is what should run now; whoever runs it says `script_ended`. Everything else
returns events. `now` is in seconds of the monotonic clock.
"""

from collections.abc import Iterable, Mapping
from math import inf
from typing import assert_never

from hcsidecar.core.application.checks import UNCHECKED
from hcsidecar.core.application.last_stays import Outlook, UnmetNeedDecision
from hcsidecar.core.application.scripts import Script, ScriptRun
from hcsidecar.core.application.state import Past
from hcsidecar.core.application.states import Aim, Left, Outcome, Phase, Role, Status, Word, accept, refuse
from hcsidecar.core.application.transitions import Course
from hcsidecar.core.events import Event, Level

__all__ = ["Lifecycle", "Outcome", "Past", "Role", "Status", "Word"]

_AIMS: Mapping[str, Aim] = {"restart": Aim.RESTART, "stopstart": Aim.STOPSTART, "wait": Aim.WAIT, "stop": Aim.STOP}
_LONGEST_PAUSE = 30.0
"Seconds between a stop and the next start, where failures come one after the other."
_BROKEN_DRAIN = 2.0
"Seconds that connections to an application may last whose own check fails: what hangs would last for ever."
_RECENT = 3600.0
"Seconds for which a failure makes the next start wait."


class Lifecycle(Course):
    """The state machine of one module; see the module's theory of operation. It does nothing until `begin`."""

    # The beginning

    def begin(self, *, now: float) -> list[Event]:
        """Do what the past asks of a daemon that has just started; to be called once."""
        if self.last_word in (Word.STOP, Word.LEAVE) or self.gave_up:
            why = self.gave_up or f"the operator's last word was {self.last_word}"
            if self.left is not Left.STOPPED:
                self.aim, self._is_thorough = Aim.STOP, self.left is Left.UNCLEAR
                return self._close(now, f"the application is {self.left}, and {why}")
            return [self._tell(f"not started, {why}; `hcsidecar start` starts it")]
        match self.left:
            case Left.STOPPED:
                return self.start_anew(now, "started with the daemon")
            case Left.STARTED:
                self._began = now
                self._begin_needs()
                return self._serve(now, "took over the application as it runs", has_passed=self.has_passed)
            case Left.UNCLEAR:
                self.aim, self._is_thorough = Aim.STOPSTART, True
                return self._close(now, "the former daemon ended in the midst of a start or stop: begins anew")
            case _:
                assert_never(self.left)

    # What is seen

    def script_ended(
        self, number: int, failure: str | None, last_lines: Iterable[str] = (), *, now: float
    ) -> list[Event]:
        """Take how the run of this number has ended: None when it was well, else why not; its last lines of output."""
        run = self.script
        if run is None or run.number != number:
            return []  # one that was ended because another was wanted
        return self._script_over(run, failure, tuple(last_lines), now=now)

    def _script_over(
        self, run: ScriptRun, failure: str | None, last_lines: tuple[str, ...], *, now: float
    ) -> list[Event]:
        self.script = None
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
                return events + self._wait(now, f"prestart took {took}")
            case Script.START:
                return events + self._started(failure, problem, took, now=now)
            case Script.STOP:
                if failure or self._always_force or self._is_thorough:
                    self._run(Script.FORCE, now)
                    return events
                return self._stopped(f"the stop script took {took}", now=now)
            case Script.FORCE:
                if failure:
                    self._run(Script.KILL, now)
                    return [*events, self._tell("kills the processes of the application", level=Level.WARNING)]
                if self._is_thorough:
                    self._run(Script.KILL, now)
                    return [self._tell("sees to it that nothing of the application is left")]
                return self._stopped("stopped with force", now=now)
            case Script.KILL:
                if failure:
                    self.gave_up = f"its processes could not be ended: {failure}"
                    self.aim = Aim.STOP
                    return events + self._closed(now, self.gave_up, level=Level.ERROR)
                return self._stopped("none of its processes is left", now=now)
            case Script.POSTSTOP:
                return events + self._cleared(now, f"poststop took {took}")
            case _:
                assert_never(run.script)

    def _started(self, failure: str | None, problem: str, took: str, *, now: float) -> list[Event]:
        if failure and not self._always_force:
            return self._fail("restart", problem, now=now)
        self.left = Left.STARTED
        if self._requested is not None:
            (action, why), self._requested = self._requested, None
            return self._fail(action, why, now=now)
        self.aim = None
        return self._serve(now, f"started, which took {took}")

    def _stopped(self, how: str, *, now: float) -> list[Event]:
        self.left, self._is_thorough = Left.STOPPED, False
        return self._closed(now, how)

    def is_news(self, name: str, complaint: str | None) -> bool:
        """Tell whether a check says anything but that it still passes."""
        return complaint is not None or self.board.complaint(name) is not None

    def check_result(self, *, name: str, complaint: str | None, now: float) -> list[Event]:
        """Take what a check has to say, its `rise` and `fall` counted: what is wrong, or None when it passes."""
        rule = self.board.rule(name)
        if (self.need_round if rule.pre else self.check_round) is None:
            return []
        state, before = self.state, self.board.take(name, complaint)
        events = []
        if complaint is None and before is not None:
            events = [Event(level=Level.INFO, origin="check", message=f"{name} passes")]
        elif complaint is not None and complaint != UNCHECKED and before in (None, UNCHECKED):
            events = [Event(level=Level.WARNING, origin="check", message=f"{name} fails: {complaint}")]
        self._note_passing()
        if self.state != state and self.phase is not Phase.WAITING:
            why_not = self.board.why_not_serve()
            events.append(self._tell(why_not or "every check passes", level=Level.WARNING if why_not else Level.INFO))
        if self.phase is Phase.WAITING:
            return events + self._look_at_needs(now=now, state=state, name=name)
        return events + self._act(now=now)

    def see_machine(self, obstacle: str | None, remedy: str = "", *, now: float) -> list[Event]:
        """Take what of the machine keeps this node from serving, and what to do about it; None: nothing any more."""
        before, self.board.obstacle = self.board.obstacle, obstacle
        if obstacle == before:
            return []
        if obstacle is None:
            return [self._tell(f"{before}: that is over{self._but()}")]
        told = self._tell(f"{obstacle}; {remedy}" if remedy else obstacle, level=Level.ERROR)
        return [told, *self._act(now=now)]

    def _look_at_needs(self, *, now: float, state: str, name: str) -> list[Event]:
        """A module that waits has heard of a need."""
        complaint = self.board.complaint(name)
        if complaint not in (None, UNCHECKED) and self.board.rule(name).action == "stop":
            return self._fail("stop", f"check {name}: {complaint}", now=now)
        why_not = self.board.why_not_start()
        if why_not is None:
            return self._start_if_due(now, "all that it needs is there")
        return [self._tell(why_not, level=Level.WARNING)] if self.state != state else []

    def _act(self, *, now: float, is_late: bool = False) -> list[Event]:
        """Act on the first check that fails; `is_late` when those that have not passed since the start fail too."""
        if self.phase is Phase.PARTING and (broken := self.board.why_not_serve()) is not None:
            why = f"{broken}; takes no more traffic, whether its balancers have drained it or not"
            return self.leave(Aim.STOP, why, now=now, patient=False, at_most=_BROKEN_DRAIN, level=Level.WARNING)
        if self.phase not in (Phase.SERVING, Phase.DRAINING):
            return []
        if not self._in_grace:
            for name, text in self.board.of_application().items():
                action = self.board.rule(name).action
                if text is not None and (text != UNCHECKED or is_late) and action != "none":
                    return self._fail(action, f"check {name}: {text}", now=now, drain=_BROKEN_DRAIN)
        for name, text in self.board.of_needs().items():
            if text not in (None, UNCHECKED):
                return self._go_without(f"check {name}: {text}", self.board.rule(name).action, now=now)
        return [self._tell("all that it needs is there again")] if self._last.reset() else []

    def _go_without(self, why: str, action: str, *, now: float) -> list[Event]:
        """A need is unmet while the module is up."""
        if action == "stop":
            return self._fail("stop", why, now=now)
        stayed = self._last.stays
        match self._last.judge(now=now):
            case UnmetNeedDecision.HOLD_ON:
                return []
            case UnmetNeedDecision.STAY:
                self._remark = f"{why}; stays UP, since no other node would be left"
                return [] if stayed else [self._tell(self._remark, level=Level.ERROR)]
            case UnmetNeedDecision.LEAVE_NOBODY:
                message = f"no node of the farm is left to serve: {why}"
                return [
                    Event(level=Level.ERROR, origin="module", message=message),
                    *self._fail("wait", why, now=now),
                ]
            case UnmetNeedDecision.LEAVE:
                return self._fail("wait", why, now=now)

    def see_farm(self, outlook: Outlook, *, now: float) -> list[Event]:
        """Take how the other nodes are."""
        self._last.outlook = outlook
        return self._act(now=now) if self._last.stays and outlook.others_serve else []

    def request(self, action: str, why: str, *, now: float) -> Outcome:
        """Take what the application itself asks for: restart, stopstart, wait or stop. It counts as a failure."""
        if self.phase is Phase.STARTING:
            self._requested = (action, why)
            return accept(f"the module does that when the start script has ended: {action}")
        if self.phase is Phase.PARTING:
            return refuse(f"the module {self.remark}")
        if self.phase not in (Phase.SERVING, Phase.DRAINING, Phase.PREPARING, Phase.WAITING):
            return refuse(f"the module is {self.state} and does not take this now: {self.why_not_ready()}")
        return accept(f"the module does that: {action}", *self._fail(action, why, now=now))

    def _fail(self, action: str, why: str, *, now: float, drain: float = inf) -> list[Event]:
        """Do what a failure leads to, within the budget; connections may last for `drain` seconds at most."""
        aim, level = _AIMS[action], Level.WARNING
        if aim is Aim.STOP:
            self.gave_up, level = why, Level.ERROR
        elif (story := self.budget.spend(why, now=now)) is not None:
            self.gave_up, aim, level = story, Aim.STOP, Level.ERROR
        if aim is not Aim.STOP:
            recent = sum(now - failure.at < _RECENT for failure in self.budget.failures(now=now))
            self._not_before = now + min(_LONGEST_PAUSE, 2.0 ** min(recent - 1, 9) - 1) if recent else now
        text = f"{aim} after a failure: {self.gave_up or why}"
        self.aim, self._why = aim, self.gave_up or why
        if self.phase in (Phase.SERVING, Phase.DRAINING):
            return self.leave(aim, text, now=now, patient=False, at_most=drain, level=level)
        if self.phase is Phase.STARTING:
            return self._close(now, text, level=level)
        return self.turn_back(aim, text, now=now, level=level)

    def see_balancers(self, waits_for: Iterable[str], *, now: float) -> list[Event]:
        """Take why a module that is parting must still take traffic; it leaves when there is nothing."""
        if self.phase is not Phase.PARTING:
            return []
        self._balancers = tuple(waits_for)
        return [] if self._balancers else self.leave(Aim.STOP, "its balancers have nothing more to send", now=now)

    def evidence(self, *, connections: Mapping[int, int] | None, probers: Iterable[str], now: float) -> list[Event]:
        """Take who is still there; see `Drain.see`."""
        if not self.draining:
            return []
        had_been_empty = self._drain.found_empty
        patient = self._patient or self.phase is Phase.DRAINING
        self._drain.see(connections=connections, probers=probers if patient else ())
        if self.drained and self.phase is Phase.LEAVING:
            return self.hurry("nobody is left", now=now)
        if self.drained and not had_been_empty:
            return [self._tell(f"nobody is left after {now - self._drain.since:.1f} s")]
        return []

    def tick(self, *, now: float) -> list[Event]:
        """Do what time has brought."""
        if self.script is not None and now >= self.script.ends_by:
            return self._script_over(self.script, self.script.why_late(), (), now=now)
        match self.phase:
            case Phase.LEAVING:
                return self._tick_drain(now=now)
            case Phase.WAITING if now >= self._not_before and self.board.why_not_start() is None:
                return self._start_if_due(now, "the pause is over")
            case Phase.SERVING | Phase.DRAINING if now >= min(self._start_by, self._last.hold_until):
                is_late = now >= self._start_by
                if is_late:
                    self._in_grace, self._start_by = False, inf
                return self._act(now=now, is_late=is_late)
        return []

    def next_tick_at(self) -> float:
        """Say when `tick` is due next; inf when nothing runs out."""
        due = self.script.ends_by if self.script is not None else inf
        match self.phase:
            case Phase.LEAVING:
                return min(due, self._limit)
            case Phase.WAITING if self.board.why_not_start() is None:
                return min(due, self._not_before)
            case Phase.SERVING | Phase.DRAINING:
                return min(due, self._start_by, self._last.hold_until)
        return due
