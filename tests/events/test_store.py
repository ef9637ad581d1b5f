"""Events on the disk: over restarts, found page by page, and as many as are to be kept."""

import asyncio
import itertools
import tempfile
import time
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from stored_events import backwards, entry, event, life, messages, stored

from hcsidecar.core.events import Level
from hcsidecar.core.farmfile.tables import LogTable
from hcsidecar.events.database import STEP, EventDatabase
from hcsidecar.events.journal import EventQuery
from hcsidecar.events.store_worker import NAME, StoreWorker


async def everything(journal, *, limit=500, **wanted):
    """Read page by page, the oldest first; gives the messages and how many are missing."""
    number, found, missed = 0, [], 0
    while True:
        page = await journal.page_after(number, wanted=EventQuery(**wanted), limit=limit)
        found, missed = found + messages(page), missed + page.missed
        if page.next == journal.last and len(page.events) < limit:
            return found, missed
        number = page.next


# What is stored


def test_events_outlive_the_daemon(tmp_path):
    async def story():
        async with life(tmp_path) as before:
            numbers = [before.write(event(f"before {n}")).number for n in range(3)]
        async with life(tmp_path) as after:
            after.write(event("after"))
            page = await after.page_before(count=10)
            assert messages(page) == ["before 0", "before 1", "before 2", "after"]
            assert page.events[-1].number > numbers[-1]
            assert (page.previous, page.lacking, page.events[0].node) == (0, "", "web1")
            assert messages(await after.page_after(numbers[0])) == ["before 1", "before 2", "after"]

    asyncio.run(story())


def test_numbers_grow_though_the_clock_was_set_back(tmp_path):
    async def story():
        async with life(tmp_path, clock=lambda: 5000.0) as before:
            last = before.write(event("tomorrow")).number
        async with life(tmp_path, clock=lambda: 1000.0) as after:
            assert after.write(event("today")).number > last
            assert await backwards(after) == ["tomorrow", "today"]

    asyncio.run(story())


def test_what_memory_no_longer_holds_comes_from_the_disk(tmp_path):
    async def story():
        async with life(tmp_path, size=10) as journal:
            for n in range(100):
                journal.write(event(str(n)))
                if n % 5 == 4:
                    await stored(journal, 5)
            assert await everything(journal, limit=7) == ([str(n) for n in range(100)], 0)
            assert await backwards(journal, count=7) == [str(n) for n in range(100)]
            page = await journal.page_after(journal.last - 50)
            assert (page.missed, messages(page)) == (0, [str(n) for n in range(50, 100)])

    asyncio.run(story())


def test_level_time_and_text_are_looked_for_on_the_disk_as_in_memory(tmp_path):
    clock = iter(float(second) for second in range(1000, 5000))

    async def story():
        async with life(tmp_path, clock=lambda: next(clock)) as before:
            before.write(event("Überlast auf WEB2", Level.WARNING))
            before.write(event("web2 100% _ lost", Level.WARNING))
            before.write(event("web2 again"))
        async with life(tmp_path, clock=lambda: next(clock)) as after:
            after.write(event("web2 LOST", Level.ERROR))
            for wanted, expected in (
                ({"level": Level.WARNING}, ["Überlast auf WEB2", "web2 100% _ lost", "web2 LOST"]),
                ({"text": "wEb2 "}, ["web2 100% _ lost", "web2 again", "web2 LOST"]),
                ({"text": "100% _"}, ["web2 100% _ lost"]),
                ({"text": "application: web2 l"}, ["web2 LOST"]),
                ({"text": "Ü"}, ["Überlast auf WEB2"]),
                ({"since": 1003.0}, ["web2 again", "web2 LOST"]),
                ({"since": 1003.0, "until": 1003.5}, ["web2 again"]),
                ({"since": 1003.0, "text": "lost", "level": Level.ERROR}, ["web2 LOST"]),
                ({"text": "%"}, ["web2 100% _ lost"]),
            ):
                assert (await everything(after, **wanted))[0] == expected, wanted
                assert await backwards(after, count=2, **wanted) == expected, wanted

    asyncio.run(story())


def test_a_rare_event_is_found_in_a_long_history_page_by_page(tmp_path):
    database = EventDatabase(tmp_path / NAME, node="web1")
    database.insert(entry(n, message="needle" if n == 22_000 else "hay") for n in range(1, 45_001))
    found = database.before(45_001, wanted=EventQuery(text="needle"), limit=5)
    assert (found.entries, found.reached) == ((), 25_001)
    found = database.before(found.reached, wanted=EventQuery(text="hay"), limit=5)
    assert [each.number for each in found.entries] == [24_996, 24_997, 24_998, 24_999, 25_000]
    found = database.after(0, below=45_001, wanted=EventQuery(text="needle"), limit=5, count_from=0)
    assert (found.entries, found.reached, found.held) == ((), 20_000, 20_000)
    found = database.after(found.reached, below=45_001, wanted=EventQuery(text="needle"), limit=5, count_from=0)
    assert ([each.number for each in found.entries], found.reached) == ([22_000], 40_000)
    assert database.before(1, wanted=EventQuery(), limit=5).reached == 0
    database.close()

    async def story():
        async with life(tmp_path) as journal:
            assert await backwards(journal, text="NEEDLE") == ["needle"]

    asyncio.run(story())


@settings(max_examples=60)
@given(
    size=st.integers(1, 6),
    limit=st.integers(1, 4),
    steps=st.lists(st.sampled_from(["write", "write quietly", "read", "restart", "settle"]), max_size=25),
)
def test_a_reader_gets_every_event_once_and_in_order_over_restarts(size, limit, steps):
    async def story(directory):
        written, seen, number, missed = 0, [], 0, 0
        lives = [[]]
        for step in steps:
            lives[-1].append(step)
            if step == "restart":
                lives.append([])
        for number_of_life, steps_of_life in enumerate(lives):
            last_life = number_of_life == len(lives) - 1
            async with life(directory, size=size) as journal:
                for step in steps_of_life + ["read"] * (60 if last_life else 0):
                    if step.startswith("write"):
                        level = Level.DEBUG if step == "write quietly" else Level.INFO
                        written += level is Level.INFO
                        journal.write(event(str(written), level))
                        # With so little memory every event is waited for; a real one holds 2,000.
                        await stored(journal, 1)
                    elif step == "settle":
                        await stored(journal, 1)
                    elif step == "read":
                        page = await journal.page_after(number, wanted=EventQuery(level=Level.INFO), limit=limit)
                        seen += [int(message) for message in messages(page)]
                        missed += page.missed
                        assert page.next >= number
                        number = page.next
                before = await backwards(journal, count=limit, level=Level.INFO)
                assert before == [str(n) for n in range(1, written + 1)]
        assert (seen, missed) == (list(range(1, written + 1)), 0)

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(story(Path(directory)))


# How long


def test_of_too_many_events_the_oldest_go_in_small_steps(tmp_path):
    keeper = StoreWorker(tmp_path / NAME, node="web1", table=LogTable(most=20_000), tell=lambda level, text: None)
    database = EventDatabase(tmp_path / NAME, node="web1")
    database.insert(entry(n, at=time.time()) for n in range(1, 120_001))
    database.close()
    assert keeper.last() == 120_000

    def oldest():
        page = keeper.ask(lambda database: database.after(0, below=200_000, wanted=EventQuery(), limit=1, count_from=0))
        return page.entries[0].number

    kept_from = [oldest()]
    while keeper.idle_for() < 1 or len(kept_from) == 1:
        keeper.prune()
        kept_from.append(oldest())
    assert max(after - before for before, after in itertools.pairwise(kept_from)) <= STEP
    assert 19_000 < 120_001 - kept_from[-1] <= 20_000
    keeper.close()


def test_of_too_old_events_none_stays(tmp_path):
    keeper = StoreWorker(
        tmp_path / NAME,
        node="web1",
        table=LogTable(keep=3600.0),
        tell=lambda level, text: None,
        wall_clock=lambda: 10_000.0,
    )
    for n in range(1, 3001):
        keeper.add(entry(n, at=6399.0 if n <= 2500 else 6401.0))
    keeper.store()
    for _ in range(3):
        assert keeper.idle_for() <= 0.2
        keeper.prune()
        keeper._prune_at = 0
    found = keeper.ask(lambda database: database.after(0, below=9999, wanted=EventQuery(), limit=1, count_from=0))
    assert found.entries[0].number == 2501
    keeper.close()
