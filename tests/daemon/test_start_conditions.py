"""Waiting at the start: what is told to the operator and to the service manager, and what ends it."""

import asyncio

import pytest
from waiting import on_a_loop

from hcsidecar.daemon.start_conditions import StartConditions, StoppedError
from hcsidecar.system.process import CannotRunError


class Step:
    """Fails with these errors, one after the other, then gives its name."""

    def __init__(self, *errors):
        self.errors = list(errors)

    async def __call__(self):
        if self.errors:
            raise self.errors.pop(0)
        return "done"


class FakeSignals:
    def __init__(self):
        self.ended = asyncio.Event()


class FakeService:
    def __init__(self):
        self.told = []

    def tell(self, **state):
        self.told.append(state)


def conditions(*, quiet=60.0):
    signals, service, story = FakeSignals(), FakeService(), []
    made = StartConditions(
        signals=signals, service=service, tell=lambda event: story.append(event.message), interval=0.001, quiet=quiet
    )
    return made, signals, service, story


def passing(text):
    return CannotRunError(text, passing=True)


@on_a_loop
async def test_what_works_at_once_is_not_told():
    made, _, service, story = conditions()
    assert await made.until(Step()) == "done"
    assert (story, service.told) == ([], [])


@on_a_loop
async def test_what_is_waited_for_is_told_once_for_each_reason_and_its_end_too():
    made, _, service, story = conditions()
    link, address = "there is no interface eth0", "eth0 has no address"
    step = Step(*(passing(text) for text in (link, link, link, address, address)))
    assert await made.until(step) == "done"
    begins = "the start waits, as this may pass by itself: "
    assert story[:2] == [begins + link, begins + address]
    assert story[2].startswith("the start goes on, ")
    assert len(story) == 3
    assert service.told[-1] == {"STATUS": f"waits: {address}", "WATCHDOG": 1}


@on_a_loop
async def test_a_service_manager_that_has_waited_long_enough_hears_that_the_start_is_over():
    made, _, service, _ = conditions(quiet=0.0)
    await made.until(Step(passing("no address"), passing("no address")))
    assert {"READY": 1} in service.told


@on_a_loop
async def test_an_error_that_does_not_pass_is_raised_also_after_one_that_did():
    made, *_ = conditions()
    with pytest.raises(CannotRunError, match="not permitted"):
        await made.until(Step(passing("no address"), passing("no address"), CannotRunError("not permitted")))


@on_a_loop
async def test_a_signal_ends_the_waiting():
    made, signals, *_ = conditions()
    signals.ended.set()
    with pytest.raises(StoppedError):
        await made.until(Step(*(passing("no address") for _ in range(3))))
