"""The application on the loop: one script at a time, as its lifecycle wants, and nobody waits for hooks."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass

from waiting import until

from hcsidecar.application.service import ApplicationService
from hcsidecar.core.application import commands
from hcsidecar.core.application.check_results import CheckRule
from hcsidecar.core.application.last_stays import NOBODY_HEARD
from hcsidecar.core.application.lifecycle import Lifecycle
from hcsidecar.core.application.scripts import ScriptPlan
from hcsidecar.core.application.state import Past
from hcsidecar.core.application.states import Left
from hcsidecar.core.farmfile.application_table import ApplicationTable


@dataclass(frozen=True)
class End:
    reason: str | None = None
    last_lines: tuple[str, ...] = ()


class HandScripts:
    """Scripts that run until the test ends them."""

    def __init__(self):
        self.story = []
        self.running = {}
        self.killing = asyncio.Event()

    async def run(self, key, arguments):
        self.story.append((key, *arguments))
        self.running[key] = asyncio.get_running_loop().create_future()
        try:
            return await self.running[key]
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # a real one ends processes first
            self.story.append(f"{key} broken off")
            raise
        finally:
            del self.running[key]

    async def end(self, key, reason=None, *lines):
        await until(lambda: key in self.running, what=f"{key} runs")
        self.running[key].set_result(End(reason, lines))

    async def kill_application(self):
        self.story.append("kill")
        await self.killing.wait()

    async def last_lines(self, key):
        return (f"{key} was here",)


class Nobody:
    async def connections(self):
        return {}

    def probers(self, *, now):
        return ()


class Scene:
    def __init__(self, *, past=None, **table):
        self.scripts = HandScripts()
        self.log = []
        self.kept = []
        self.written = 0
        plan = ScriptPlan(table=ApplicationTable(start="bin/start", stop="bin/stop", **table))
        self.lifecycle = Lifecycle(checks=[CheckRule(name="HTTP", action="restart")], lame_duck=5, plan=plan, past=past)
        self.service = ApplicationService(
            self.lifecycle,
            evidence=Nobody(),
            publish=lambda published: None,
            tell=lambda event: self.log.append(event.message),
            remember=self.kept.append,
            written=self.note_written,
            new_round=lambda number: None,
            new_need_round=lambda number: None,
            outlook=lambda unmet: NOBODY_HEARD,
            scripts=self.scripts,
        )

    async def note_written(self):
        self.scripts.story.append(f"written: {self.kept[-1].left}")

    def give(self, command, by="root"):
        return self.service.carry_out(lambda lifecycle, now: command(lifecycle, now=now, by=by))


@asynccontextmanager
async def running(**options):
    scene = Scene(**options)
    task = asyncio.create_task(scene.service.run())
    await asyncio.sleep(0)
    try:
        yield scene
    finally:
        for _ in range(2):
            scene.service.shutdown("the test")
        scene.scripts.killing.set()
        async with asyncio.timeout(5):
            await task


async def serving(scene):
    await scene.scripts.end("start")
    await until(lambda: scene.lifecycle.state.check_round)
    scene.service.check_result("HTTP", None)
    assert scene.lifecycle.state.serving


def test_what_is_about_to_run_is_on_disk_before_it_runs():
    async def act():
        async with running() as scene:
            await serving(scene)
            scene.give(commands.stop)
            await scene.scripts.end("stop")
            await until(lambda: scene.lifecycle.state.left is Left.STOPPED)
            assert scene.scripts.story == [
                "written: unclear",
                ("start", "WAIT", "UP", "start"),
                "written: unclear",
                ("stop", "UP", "WAIT", "stop"),
            ]
            assert [past.left for past in scene.kept][-1] is Left.STOPPED

    asyncio.run(act())


def test_a_script_that_hangs_is_over_before_the_next_begins_and_its_last_words_are_told():
    async def act():
        async with running(stop_timeout=0.1) as scene:
            await serving(scene)
            scene.give(commands.stop)
            await until(lambda: ("stop", "force", "UP", "WAIT", "stop") in scene.scripts.story)
            assert scene.scripts.story[-4:] == [
                ("stop", "UP", "WAIT", "stop"),
                "stop broken off",
                "written: unclear",
                ("stop", "force", "UP", "WAIT", "stop"),
            ]
            assert "the stop script was broken off; its last words: stop was here" in scene.log
            await scene.scripts.end("stop", "exit status 3", "oops")
            await until(lambda: scene.scripts.story[-1] == "kill")
            assert "the stop force script exit status 3, its last words: oops" in scene.log
            scene.scripts.killing.set()
            await until(lambda: scene.lifecycle.state.left is Left.STOPPED)

    asyncio.run(act())


def test_a_script_that_ends_well_is_not_told_as_broken_off():
    async def act():
        async with running(poststop="bin/poststop") as scene:
            await serving(scene)
            scene.give(commands.stop)
            await scene.scripts.end("stop")
            await scene.scripts.end("poststop")
            await until(lambda: scene.lifecycle.state.name == "STOP(NotReady)")
            assert not [line for line in scene.log if "broken off" in line]

    asyncio.run(act())


def test_the_end_of_the_daemon_ends_the_script_that_runs():
    async def act():
        async with running() as scene:
            await until(lambda: "start" in scene.scripts.running)
        assert scene.scripts.story[-1] == "start broken off"
        assert scene.kept[-1].left is Left.UNCLEAR

    asyncio.run(act())


def test_the_transition_script_is_told_of_each_change_of_role_and_nobody_waits_for_it():
    async def act():
        async with running(transition="bin/transition") as scene:
            await serving(scene)
            assert ("transition", "STOP", "UP", "start") in scene.scripts.story
            scene.give(commands.stop)
            await scene.scripts.end("stop")
            await until(lambda: scene.lifecycle.state.name == "STOP(NotReady)")
            # It hangs, and everything else went on. When it ends, it hears of the next change.
            await scene.scripts.end("transition")
            await until(lambda: ("transition", "UP", "STOP", "stop") in scene.scripts.story)

    asyncio.run(act())


def test_an_application_that_is_taken_over_runs_no_script():
    async def act():
        async with running(past=Past(left=Left.STARTED, has_passed=True)) as scene:
            scene.service.check_result("HTTP", None)
            assert scene.lifecycle.state.serving
            assert scene.scripts.story == []

    asyncio.run(act())
