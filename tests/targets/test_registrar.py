"""Making the calls of a reconcile loop: each within its limit, whatever the balancer's side does."""

import asyncio
import threading
from random import Random

import pytest
from waiting import until

from hcsidecar.core.application.states import Word
from hcsidecar.core.farmfile.target_tables import Target
from hcsidecar.core.targets.backoff import Backoff
from hcsidecar.core.targets.desired_state import Situation
from hcsidecar.core.targets.reconcile import Reconciler
from hcsidecar.core.targets.registration import Observation, Presence, TargetError, Trouble
from hcsidecar.targets.calls import Calls
from hcsidecar.targets.registrar import Registrar
from hcsidecar.targets.targets import Targets

READY = Situation(word=Word.START, ready=True, in_view=True)
LEFT = Situation(word=Word.LEAVE)
QUICK = Backoff(poll=0.05, hold_up=0.01, soon=0.01, longest_pause=0.05, first_pause_for_people=0.05)


class Fake:
    """A balancer's side whose every call does what it is told."""

    def __init__(self, **behaviour):
        self.presence = Presence.ABSENT
        self.calls = []
        self.closed = 0
        self.behaviour = behaviour

    async def _call(self, name):
        self.calls.append(name)
        await self.behaviour.get(name, _nothing)()

    async def observe(self):
        await self._call("observe")
        return Observation(presence=self.presence)

    async def register(self):
        await self._call("register")
        self.presence = Presence.HEALTHY

    async def deregister(self):
        await self._call("deregister")
        self.presence = Presence.DRAINING

    async def retire(self):
        await self._call("retire")

    async def close(self):
        self.closed += 1
        await self._call("close")


async def _nothing():
    pass


async def _for_ever():
    await asyncio.Event().wait()


def raising(error):
    async def fail():
        raise error

    return fail


async def run(fake, until, *, situation=READY, limit=0.1):
    """Run a registrar until a condition of its document holds; gives the last document and the events."""
    loop = asyncio.get_running_loop()
    events = []
    reconciler = Reconciler(
        name="web", kind="haproxy", policy="member", backoff=QUICK, chance=Random(1), now=loop.time()
    )
    registrar = Registrar(reconciler, fake, limit=limit, tell=events.append)
    task = asyncio.create_task(registrar.run())
    registrar.follow(situation)
    try:
        for _ in range(4000):
            if until(reconciler.status(now=loop.time())):
                break
            await asyncio.sleep(0.005)
        else:
            raise AssertionError(reconciler.status(now=loop.time()))
    finally:
        task.cancel()
        await asyncio.wait({task})
    assert task.cancelled()
    return reconciler.status(now=loop.time()), [event.message for event in events]


def test_it_registers_and_closes_at_the_end():
    fake = Fake()
    document, said = asyncio.run(run(fake, lambda document: document.observed == "healthy"))
    assert fake.calls[:3] == ["observe", "register", "observe"]
    assert (fake.closed, document.error) == (1, None)
    assert "web: registered: Ready and a member" in said


@pytest.mark.parametrize(
    ("error", "trouble", "text"),
    [
        (TargetError(Trouble.AUTH, "ExpiredToken: renew it"), "auth", "ExpiredToken: renew it"),
        (KeyError("RegisterTargetsResult"), "retry", "KeyError: 'RegisterTargetsResult'"),
        (ConnectionResetError("reset"), "retry", "ConnectionResetError: reset"),
        (TimeoutError(), "retry", "no answer within 0.1 s"),
        (ValueError("x" * 10_000), "retry", "ValueError: " + "x" * 488),
    ],
)
def test_whatever_a_call_raises_is_a_failure_with_its_words_and_ends_nothing(error, trouble, text):
    fake = Fake(observe=raising(error))
    document, _ = asyncio.run(run(fake, lambda document: document.calls["observe"] > 3))
    assert (document.error.trouble, document.error.text) == (trouble, text)


def test_a_call_that_hangs_is_given_up_at_its_limit_and_tried_again():
    fake = Fake(observe=_for_ever)
    document, said = asyncio.run(run(fake, lambda document: document.failures["retry"] > 2))
    assert document.error.text == "no answer within 0.1 s"
    assert said.count("web: observe failed: no answer within 0.1 s") == 1


@pytest.mark.parametrize("close", [_for_ever, raising(RuntimeError("no"))])
def test_a_close_that_hangs_or_fails_does_not_hold_up_the_end(close):
    fake = Fake(close=close)
    asyncio.run(run(fake, lambda document: document.observed == "healthy"))
    assert fake.closed == 1


def test_a_blocking_call_beside_one_that_hangs_is_a_failure_that_says_so():
    release = threading.Event()

    async def story():
        calls = Calls()
        first = asyncio.create_task(calls.run(lambda: release.wait(20)))
        await asyncio.sleep(0)
        with pytest.raises(TargetError, match="the former call still has no answer"):
            await calls.run(lambda: None)
        release.set()
        assert await first
        assert await calls.run(lambda: 7) == 7

    asyncio.run(story())


def test_a_blocking_call_without_a_thread_is_a_failure_that_says_so(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(TargetError, match="no thread can be started"):
        asyncio.run(Calls().run(lambda: None))


def test_what_is_no_observation_is_a_failure_that_says_so():
    fake = Fake()
    fake.observe = _nothing
    document, _ = asyncio.run(run(fake, lambda document: document.failures["retry"] > 1))
    assert document.error.text == "TypeError: observe gives NoneType, and no Observation"


def test_a_side_that_cannot_be_made_is_a_failure_of_its_own_target_alone():
    def open_balancer(table, here):
        if table.name == "broken":
            raise ValueError("no such cloud")
        return Fake()

    async def story():
        tables = [Target(type="x", name="broken"), Target(type="x", name="fine")]
        targets = Targets(
            tables, None, open_balancer=open_balancer, chance=Random(1), tell=lambda _: None, backoff=lambda _: QUICK
        )
        targets.follow(READY)
        async with asyncio.TaskGroup() as group:
            tasks = targets.begin(group)
            for _ in range(4000):
                broken, fine = targets.status()
                if fine.observed == "healthy" and broken.error:
                    break
                await asyncio.sleep(0.005)
            for task in tasks:
                task.cancel()
        return broken, fine

    broken, fine = asyncio.run(story())
    assert (broken.error.trouble, broken.calls["register"]) == ("config", 0)
    assert broken.error.text == "a target of type x cannot be made: ValueError: no such cloud"
    assert (fine.observed, fine.error) == ("healthy", None)


def test_balancers_have_let_go_when_all_have_that_are_to_and_those_that_are_only_watched_do_not_count():
    sides = {"quick": Fake(), "slow": Fake(deregister=raising(TargetError(Trouble.RETRY, "no"))), "watched": Fake()}
    tables = [
        Target(type="x", name=name, policy="observe" if name == "watched" else "member", poll=1.0) for name in sides
    ]

    async def story():
        targets = Targets(
            tables,
            None,
            open_balancer=lambda table, _: sides[table.name],
            chance=Random(1),
            tell=lambda _: None,
            backoff=lambda _: QUICK,
        )
        async with asyncio.TaskGroup() as group:
            tasks = targets.begin(group)
            targets.follow(READY)
            await until(lambda: [row.observed for row in targets.status()][:2] == ["healthy"] * 2)
            assert not targets.have_let_go
            targets.follow(LEFT)
            await until(lambda: targets.unfinished == ("target slow to be deregistered, no",))
            assert not targets.have_let_go
            sides["slow"].behaviour.clear()
            await until(lambda: targets.have_let_go)
            targets.follow(READY)
            assert not targets.have_let_go
            for task in tasks:
                task.cancel()

    asyncio.run(story())
