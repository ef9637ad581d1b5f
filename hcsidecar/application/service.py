"""Drives this node's application: passes commands, results and time to its lifecycle, and carries out the decisions.

It waits only for scripts, and the lifecycle has a time limit for each of them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Protocol

from hcsidecar.core.application.check_results import CheckRule
from hcsidecar.core.application.commands import shutdown
from hcsidecar.core.application.last_stays import Outlook
from hcsidecar.core.application.lifecycle import Lifecycle
from hcsidecar.core.application.outcome import Outcome
from hcsidecar.core.application.scripts import Script, ScriptPlan, ScriptRun
from hcsidecar.core.application.state import ApplicationState, Past
from hcsidecar.core.application.states import Role, Word
from hcsidecar.core.events import Event, Level
from hcsidecar.core.status import ModuleState

EVIDENCE_TIMEOUT = 2.0
"Seconds for a count of connections; then it is unknown, because the limit of the drain must not wait for it."
EVIDENCE_INTERVAL = 0.25
"Seconds between two looks at who still uses the application while it drains."
FARM_INTERVAL = 0.5
"Seconds between two looks at the other nodes while a need is unmet."
TRANSITION_LIMIT = 60.0
"Seconds that the transition script may take. Nothing waits for it."
MOST_TRANSITIONS = 16
"Changes of state that may wait for the transition script; it is not told of further ones."


Command = Callable[[Lifecycle, float], Outcome]
"A command of an operator or a request of the application; takes the lifecycle and the monotonic time."


class DrainEvidence(Protocol):
    """Who still uses an application that drains."""

    async def connections(self) -> Mapping[int, int] | None:
        """Count the connections by port; None if they cannot be counted."""

    def probers(self, *, now: float) -> Iterable[str]:
        """Describe the probers that have not had `prober_fall` answers of NOT FOUND."""

    def balancers(self) -> Iterable[str]:
        """Return why an application that is parting must still take traffic."""


class ScriptResult(Protocol):
    """How a run of a script has ended."""

    @property
    def reason(self) -> str | None:
        """Why the run failed, or None."""

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The end of its output."""


class ScriptRunner(Protocol):
    """Runs the scripts of the application. Cancelling a run ends the script."""

    async def run(self, key: str, arguments: Sequence[str]) -> ScriptResult:
        """Run the script of this key of [application] to its end."""

    async def kill_application(self) -> str | None:
        """End all processes of the application. Return a reason if some survive."""

    async def last_lines(self, key: str) -> tuple[str, ...]:
        """Return the last lines of the latest run of a script."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The state of the application, for the rest of the daemon."""

    state: ModuleState
    name: str
    "Role and status: UP(Ready)."
    serving: bool
    "Whether the health URL answers 200."
    wants_share: bool
    word: Word
    "The operator's last word."
    unmet: tuple[str, ...]
    "Names of the `pre` checks that fail."


class ApplicationService:
    """One `Lifecycle` on the running loop.

    `publish` is called at every change, before anything else happens. `tell` takes events, `remember` the past to be
    kept, and `written` waits until that is on disk. `new_round` and `new_need_round` begin a new round of the checks of
    the application and of its needs, or with None end them. `outlook` returns the state of the other nodes for a node
    with these needs unmet. `scripts` is None if the application has no scripts.
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        *,
        evidence: DrainEvidence,
        publish: Callable[[Published], None],
        tell: Callable[[Event], None],
        remember: Callable[[Past], None],
        written: Callable[[], Awaitable[None]],
        new_round: Callable[[int | None], None],
        new_need_round: Callable[[int | None], None],
        outlook: Callable[[tuple[str, ...]], Outlook],
        scripts: ScriptRunner | None = None,
    ) -> None:
        self._lifecycle = lifecycle
        self._evidence = evidence
        self._publish = publish
        self._tell = tell
        self._remember = remember
        self._written = written
        self._new_round = new_round
        self._new_need_round = new_need_round
        self._outlook = outlook
        self._scripts = scripts
        self._round: int | None = None
        self._need_round: int | None = None
        self._past = lifecycle.state.past
        self._published: Published | None = None
        self._changed = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._running: tuple[ScriptRun, asyncio.Task[None]] | None = None
        self._transitions: asyncio.Queue[tuple[str, ...]] = asyncio.Queue(MOST_TRANSITIONS)
        self._role = Role.STOP
        self.finished = asyncio.Event()
        "Set when the daemon may end."

    async def run(self) -> None:
        """Begin from the application's past, then follow time, scripts and evidence until finished."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as self._tasks:
            transitions = self._tasks.create_task(self._tell_transitions())
            self._look_around()
            self._take(self._lifecycle.begin(now=loop.time()))
            while not self.finished.is_set():
                self._look_around()
                self._take(self._lifecycle.tick(now=loop.time()))
                if self._lifecycle.state.draining:
                    connections = await self._count_connections()
                    now = loop.time()
                    probers = tuple(self._evidence.probers(now=now))
                    self._take(self._lifecycle.evidence(connections=connections, probers=probers, now=now))
                if self._lifecycle.state.parting:
                    self._take(self._lifecycle.see_balancers(self._evidence.balancers(), now=loop.time()))
                await self._wait_for_change(self._patience(loop.time()))
            transitions.cancel()

    def carry_out(self, command: Command) -> Outcome:
        """Give the lifecycle a command or a request. Its decision has taken effect when this returns."""
        outcome = command(self._lifecycle, asyncio.get_running_loop().time())
        self._take(outcome.events)
        return outcome

    def check_result(self, name: str, complaint: str | None) -> None:
        """Take the result of a check."""
        if not self._lifecycle.is_news(name, complaint):
            return
        self._look_around()
        now = asyncio.get_running_loop().time()
        self._take(self._lifecycle.check_result(name=name, complaint=complaint, now=now))

    def reconfigure(
        self,
        *,
        checks: Iterable[CheckRule],
        begun: Collection[str],
        lame_duck: float,
        plan: ScriptPlan,
        last_stays: bool,
    ) -> None:
        """Take a changed farm file; see `Lifecycle.reconfigure`."""
        self._take(
            self._lifecycle.reconfigure(
                checks=checks, begun=begun, lame_duck=lame_duck, plan=plan, last_stays=last_stays
            )
        )

    def see_machine(self, obstacle: str | None, remedy: str = "") -> None:
        """Take what keeps the machine from serving the virtual IPs; None: nothing any more."""
        now = asyncio.get_running_loop().time()
        self._take(self._lifecycle.see_machine(obstacle, remedy, now=now))

    def shutdown(self, by: str) -> None:
        """Drain and stop for the end of the daemon; when called again, stop at once."""
        self._take(shutdown(self._lifecycle, now=asyncio.get_running_loop().time(), by=by))

    @property
    def state(self) -> ApplicationState:
        """The state of the application, read-only."""
        return self._lifecycle.state

    def look(self) -> Published:
        """Return the present state of the application."""
        state = self._lifecycle.state
        now = asyncio.get_running_loop().time()
        budget = (state.budget.used(now=now), state.budget.most) if self._lifecycle.plan.table else None
        return Published(
            state=ModuleState(
                role=state.role,
                status=state.status,
                draining=state.draining,
                parting=state.parting,
                reason=state.why_not_ready() or state.remark,
                waits_for=state.waits_for,
                restarts=budget,
            ),
            name=state.name,
            serving=state.serving,
            wants_share=state.wants_share,
            word=state.last_word,
            unmet=state.unmet,
        )

    def _take(self, events: Iterable[Event]) -> None:
        state = self._lifecycle.state
        published = self.look()
        if published != self._published:
            self._published = published
            self._publish(published)
        for event in events:
            self._tell(event)
        if (past := state.past) != self._past:
            self._past = past
            self._remember(past)
        if state.check_round != self._round:
            self._round = state.check_round
            self._new_round(self._round)
        if state.need_round != self._need_round:
            self._need_round = state.need_round
            self._new_need_round(self._need_round)
        self._follow_script()
        self._note_transition()
        if state.finished:
            self.finished.set()
        self._changed.set()

    def _look_around(self) -> None:
        """Tell the lifecycle the state of the other nodes, if that matters now."""
        now = asyncio.get_running_loop().time()
        self._take(self._lifecycle.see_farm(self._outlook(self._lifecycle.state.unmet), now=now))

    # Scripts

    def _follow_script(self) -> None:
        """Start the script that the lifecycle wants, and end any other."""
        wanted = self._lifecycle.state.script
        run, task = self._running or (None, None)
        if (wanted and wanted.number) == (run and run.number):
            return
        broken_off = run if task is not None and task.cancel() else None
        self._running = None
        if wanted is not None and self._tasks is not None:
            follow = self._run_script(wanted, after=task, broken_off=broken_off)
            self._running = (wanted, self._tasks.create_task(follow))

    async def _run_script(
        self, run: ScriptRun, *, after: asyncio.Task[None] | None, broken_off: ScriptRun | None
    ) -> None:
        if self._scripts is None:
            raise RuntimeError(f"a {run.script} script, and nobody to run it")
        if after is not None:
            await asyncio.wait({after})
        if broken_off is not None and broken_off.script is not Script.KILL:
            self._tell_last_lines(broken_off, await self._scripts.last_lines(broken_off.script.key))
        # From here on a killed daemon leaves on disk what it was doing.
        await self._written()
        if run.script is Script.KILL:
            reason = await self._scripts.kill_application()
            self._end_script(run, reason, ())
        else:
            ending = await self._scripts.run(run.script.key, run.arguments)
            self._end_script(run, ending.reason, ending.last_lines)

    def _end_script(self, run: ScriptRun, reason: str | None, lines: tuple[str, ...]) -> None:
        if self._running is not None and self._running[0] is run:
            self._running = None
        now = asyncio.get_running_loop().time()
        self._take(self._lifecycle.script_ended(run.number, reason, lines, now=now))

    def _tell_last_lines(self, run: ScriptRun, lines: tuple[str, ...]) -> None:
        """Log the last lines of a script that was ended before its result could have them."""
        if lines:
            message = f"the {run.script} script was broken off; its last words: {' | '.join(lines)}"
            self._tell(Event(level=Level.WARNING, origin="application", message=message))

    def _note_transition(self) -> None:
        role, self._role = self._role, self._lifecycle.state.role
        table = self._lifecycle.plan.table
        if role is self._role or table is None or table.transition is None or self._transitions.full():
            return
        action = self._lifecycle.state.aim or ("stop" if self._role is Role.STOP else "start")
        self._transitions.put_nowait((str(role), str(self._role), str(action)))

    async def _tell_transitions(self) -> None:
        """Run the transition script for each change of role, one after the other. Nothing waits for it."""
        while True:
            arguments = await self._transitions.get()
            if self._scripts is None:
                continue
            try:
                async with asyncio.timeout(TRANSITION_LIMIT):
                    ending = await self._scripts.run("transition", arguments)
                reason = ending.reason
            except TimeoutError:
                reason = f"did not end within {TRANSITION_LIMIT:g}s"
            if reason is not None:
                message = f"the transition script {reason}"
                self._tell(Event(level=Level.WARNING, origin="application", message=message))

    # Waiting

    def _patience(self, now: float) -> float:
        """Return the seconds until the lifecycle must be driven again."""
        wait = self._lifecycle.next_tick_at() - now
        if self._lifecycle.state.draining or self._lifecycle.state.parting:
            wait = min(wait, EVIDENCE_INTERVAL)
        if self._lifecycle.state.unmet:
            wait = min(wait, FARM_INTERVAL)
        return wait

    async def _count_connections(self) -> Mapping[int, int] | None:
        try:
            async with asyncio.timeout(EVIDENCE_TIMEOUT):
                return await self._evidence.connections()
        except TimeoutError:
            return None

    async def _wait_for_change(self, seconds: float) -> None:
        self._changed.clear()
        if self.finished.is_set():
            return
        try:
            async with asyncio.timeout(None if seconds == inf else max(0.0, seconds)):
                await self._changed.wait()
        except TimeoutError:
            return
