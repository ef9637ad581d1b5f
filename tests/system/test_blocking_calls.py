"""Blocking calls in real threads, and what is left of them when nobody waits any more."""

import asyncio
import os
import threading

import pytest

from hcsidecar.system.blocking_calls import BlockingCalls, BusyError
from hcsidecar.system.threads import NoThreadError


@pytest.mark.parametrize("way", ["run", "run_in_turn"])
def test_a_call_gives_what_the_work_gives_and_raises_what_it_raises(way):
    def fail():
        raise KeyError("x")

    async def story():
        call = getattr(BlockingCalls("test"), way)
        assert await call(lambda: 7) == 7
        with pytest.raises(KeyError):
            await call(fail)
        return await call(threading.current_thread)

    thread = asyncio.run(story())
    assert thread.daemon
    assert thread.name == "test"


def test_a_call_that_hangs_keeps_its_place_and_starts_no_second_thread():
    release = threading.Event()

    async def story():
        calls = BlockingCalls("test")
        first = asyncio.create_task(calls.run(lambda: release.wait(20)))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait({first})
        threads = threading.active_count()
        for _ in range(10):
            with pytest.raises(BusyError):
                await calls.run(lambda: None)
        assert threading.active_count() == threads
        release.set()
        return await calls.run_in_turn(lambda: "again")

    assert asyncio.run(story()) == "again"


def test_the_next_in_turn_waits_for_a_call_that_was_left_behind():
    async def story():
        calls, gate, order = BlockingCalls("test"), threading.Event(), []

        def hang():
            gate.wait(10)
            order.append("first")

        first = asyncio.create_task(calls.run_in_turn(hang))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait({first})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await calls.run_in_turn(lambda: order.append("never"))
        assert order == []
        gate.set()
        await calls.run_in_turn(lambda: order.append("second"))
        assert order == ["first", "second"]

    asyncio.run(story())


def test_a_disk_that_hangs_takes_as_many_threads_as_there_are_places_and_holds_up_nobody(tmp_path):
    """Opening a FIFO that nobody writes waits for ever, as a dead file server does."""
    os.mkfifo(tmp_path / "hangs")

    async def story():
        calls = BlockingCalls("test", at_once=4)
        for expected in [TimeoutError] * 4 + [BusyError] * 2:
            with pytest.raises(expected):
                async with asyncio.timeout(0.01):
                    await calls.run((tmp_path / "hangs").read_bytes)

        async def goes_through():
            # Whoever waits for a writer gets one, and then the end.
            os.close(os.open(tmp_path / "hangs", os.O_RDWR | os.O_NONBLOCK))
            try:
                return await calls.run(lambda: True)
            except BusyError:
                await asyncio.sleep(0.005)
                return False

        async with asyncio.timeout(20):
            while not await goes_through():
                pass

    asyncio.run(story())


def test_a_call_that_hangs_does_not_hold_up_the_end_of_the_loop():
    release = threading.Event()

    async def story():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await BlockingCalls("test").run(release.wait)

    # Should it be waited for, this never comes back.
    asyncio.run(story())
    release.set()


def test_a_call_without_a_thread_fails_and_leaves_its_place_free(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    async def story():
        calls = BlockingCalls("test")
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            with pytest.raises(NoThreadError):
                await calls.run(lambda: None)
        return await calls.run(lambda: "works")

    assert asyncio.run(story()) == "works"
