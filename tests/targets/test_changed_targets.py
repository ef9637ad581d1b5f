"""The targets of a running node when the farm file changes."""

import asyncio
import contextlib
from random import Random

from waiting import until

from hcsidecar.core.application.states import Word
from hcsidecar.core.farmfile.target_tables import HaproxyTarget
from hcsidecar.core.targets.backoff import Backoff
from hcsidecar.core.targets.desired_state import Situation
from hcsidecar.core.targets.registration import Observation, Presence, TargetError, Trouble
from hcsidecar.targets.targets import Targets

READY = Situation(word=Word.START, ready=True, in_view=True)
QUICK = Backoff(
    poll=0.05, hold_up=0.01, soon=0.01, longest_pause=0.05, first_pause_for_people=0.05, leaving=0.05, leave_budget=0.3
)


class Place:
    """One backend of a balancer, with what was asked of it and through which tables."""

    def __init__(self, presence=Presence.ABSENT):
        self.presence = presence
        self.calls = []
        self.ports = []
        self.refuses = False


class Side:
    """A balancer's side for one table."""

    def __init__(self, place, table, closed):
        self._place, self._table, self._closed = place, table, closed

    async def observe(self):
        self._place.ports.append(self._table.port)
        return Observation(presence=self._place.presence)

    async def register(self):
        self._place.calls.append("register")
        self._place.presence = Presence.HEALTHY

    async def deregister(self):
        self._place.calls.append("deregister")
        if self._place.refuses:
            raise TargetError(Trouble.RETRY, "not now")
        self._place.presence = Presence.ABSENT

    async def retire(self):
        raise AssertionError("nothing was named to be retired")

    async def close(self):
        self._closed.append((self._table.backend, self._table.port))


def table(backend, **options):
    wanted = {"type": "haproxy", "name": "edge", "socket": "/run/haproxy.sock", "backend": backend, "port": 80}
    return HaproxyTarget(**wanted | options)


class Story:
    """Targets on a loop, with the places that they are registered at."""

    def __init__(self, *tables):
        self.places = {name: Place() for name in ("web", "other")}
        self.told, self.closed = [], []
        self.targets = Targets(
            tables,
            None,
            open_balancer=lambda table, _here: Side(self.places[table.backend], table, self.closed),
            chance=Random(1),
            tell=lambda event: self.told.append(event.message),
            backoff=lambda _: QUICK,
        )

    @contextlib.asynccontextmanager
    async def running(self):
        async with asyncio.TaskGroup() as group:
            tasks = self.targets.begin(group)
            self.targets.follow(READY)
            yield self
            for task in tasks:
                task.cancel()

    async def registered(self, name):
        await until(lambda: self.places[name].presence is Presence.HEALTHY, what=f"registered at {name}")


def test_an_added_target_begins_and_a_removed_one_is_deregistered_then_forgotten():
    async def scene():
        async with Story(table("web")).running() as story:
            await story.registered("web")
            story.targets.reconfigure([table("web"), table("other", name="second")], None)
            await story.registered("other")
            story.targets.reconfigure([table("other", name="second")], None)
            assert story.targets.unfinished == ("target edge to be deregistered",)
            assert [row.leaving for row in story.targets.status()] == [False, True]
            await until(lambda: len(story.targets.status()) == 1, what="forgotten")
            assert story.places["web"].calls == ["register", "deregister"]
            assert story.closed == [("web", 80)]
            assert not story.targets.have_let_go
            assert "edge: is to be deregistered: the farm file no longer has this target" in story.told

    asyncio.run(scene())


def test_a_target_that_does_not_answer_is_forgotten_after_its_limit_and_the_operator_told():
    async def scene():
        async with Story(table("web")).running() as story:
            await story.registered("web")
            story.places["web"].refuses = True
            story.targets.reconfigure([], None)
            await until(lambda: story.targets.status() == (), what="forgotten")
            [told] = [line for line in story.told if "is not deregistered after" in line]
            assert told.endswith("not now; deregister it by hand")

    asyncio.run(scene())


def test_a_changed_table_of_the_same_place_is_taken_over_and_stays_registered():
    async def scene():
        async with Story(table("web")).running() as story:
            await story.registered("web")
            story.targets.reconfigure([table("web", port=81)], None)
            await until(lambda: story.places["web"].ports[-1] == 81, what="a look through the new table")
            assert story.places["web"].calls == ["register"]
            assert story.closed == [("web", 80)]

    asyncio.run(scene())


def test_a_target_that_means_another_place_is_left_there_and_registered_here():
    async def scene():
        async with Story(table("web")).running() as story:
            await story.registered("web")
            story.targets.reconfigure([table("other")], None)
            await story.registered("other")
            await until(lambda: story.places["web"].presence is Presence.ABSENT, what="deregistered")
            await until(lambda: len(story.targets.status()) == 1, what="forgotten")

    asyncio.run(scene())


def test_a_removed_target_that_is_back_at_once_goes_on():
    async def scene():
        async with Story(table("web")).running() as story:
            await story.registered("web")
            story.targets.reconfigure([], None)
            story.targets.reconfigure([table("web")], None)
            looks = len(story.places["web"].ports)
            await until(lambda: len(story.places["web"].ports) > looks + 3, what="further looks")
            assert (story.places["web"].calls, story.closed) == (["register"], [])
            assert len(story.targets.status()) == 1

    asyncio.run(scene())


def test_a_target_that_is_only_watched_is_forgotten_without_a_call():
    async def scene():
        async with Story(table("web", policy="observe")).running() as story:
            await until(lambda: story.places["web"].ports, what="a look")
            story.targets.reconfigure([], None)
            await until(lambda: story.targets.status() == (), what="forgotten")
            assert story.places["web"].calls == []

    asyncio.run(scene())
