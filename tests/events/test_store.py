"""Events on the disk: over restarts and kills, through full disks and broken files, and never at the farm's cost."""

import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from waiting import until

from hcsidecar.core.documents import Entry
from hcsidecar.core.events import Event, Level
from hcsidecar.core.farmfile.tables import LogTable
from hcsidecar.events.database import STEP, EventDatabase
from hcsidecar.events.journal import EventQuery, Journal
from hcsidecar.events.store import EventStore, kept_journal
from hcsidecar.events.store_worker import NAME, StoreWorker

TABLE = LogTable()
TESTS = Path(__file__).parents[1]


def event(message, level=Level.INFO):
    return Event(level=level, origin="application", message=message)


def entry(number, *, at=1000.0, message="", level=Level.INFO):
    return Entry(number=number, time=at, node="web1", level=level, origin="application", message=message or str(number))


def messages(page):
    return [each.message for each in page.events]


@contextlib.asynccontextmanager
async def life(directory, *, clock=time.time, size=2000, above=None, **more):
    """Run a journal with its store, as the daemon does; gives the journal."""
    told = []
    table = more.pop("table", TABLE)
    store = EventStore(
        directory / NAME, node="web1", table=table, tell=told.append, size=size, wall_clock=lambda: 0.0, **more
    )
    last = await store.last()
    journal = Journal(
        node="web1", log=lambda entry: None, clock=clock, size=size, store=store, above=last if above is None else above
    )
    journal.store, journal.told = store, told
    try:
        yield journal
    finally:
        journal.unsaved = await store.close()


async def everything(journal, *, limit=500, **wanted):
    """Read page by page, the oldest first; gives the messages and how many are missing."""
    number, found, missed = 0, [], 0
    while True:
        page = await journal.page_after(number, wanted=EventQuery(**wanted), limit=limit)
        found, missed = found + messages(page), missed + page.missed
        if page.next == journal.last and len(page.events) < limit:
            return found, missed
        number = page.next


async def backwards(journal, *, count=500, **wanted):
    """Read page by page, the newest first; gives the messages, the oldest first."""
    number, found = None, []
    while number != 0:
        page = await journal.page_before(number, count=count, wanted=EventQuery(**wanted))
        found, number = messages(page) + found, page.previous
    return found


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


async def stored(journal, _count):
    """Wait until what has been written is on the disk: an answer comes after it."""
    await journal.store.before(1, wanted=EventQuery(), limit=1)
    await until(lambda: journal.store._busy_since is None, what="the end of what follows an answer")


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


# What may go wrong


def garbage(path):
    path.write_bytes(os.urandom(8192))


def short_garbage(path):
    path.write_text("not a database, and no page of one")


def from_the_future(path):
    EventDatabase(path, node="web1").close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 7")


def of_something_else(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE event (number INTEGER)")
        connection.commit()


def without_its_table(path):
    EventDatabase(path, node="web1").close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE event RENAME COLUMN message TO text")
        connection.commit()


def cut_short(path):
    database = EventDatabase(path, node="web1")
    database.insert(entry(n, message="x" * 500) for n in range(1000))
    database.close()
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(
    "damage", [garbage, short_garbage, from_the_future, of_something_else, without_its_table, cut_short]
)
def test_a_broken_file_is_moved_aside_and_said_so(tmp_path, damage):
    damage(tmp_path / NAME)
    old = tmp_path / f"{NAME}.broken-20200101T000000Z"
    old.write_text("of last time")

    async def story():
        async with life(tmp_path) as journal:
            journal.write(event("still here"))
            await stored(journal, 1)
            await backwards(journal)
            await until(lambda: journal.told, what="the word")
            assert [told.level for told in journal.told] == [Level.WARNING]
            assert "a new file is begun, the old one is" in journal.told[0].message
        async with life(tmp_path) as journal:
            assert (await backwards(journal))[-1:] == ["still here"]
            assert journal.told == []

    asyncio.run(story())
    assert len(list(tmp_path.glob(f"{NAME}.broken-*T*Z"))) == 1
    assert not old.exists()


def test_a_file_that_breaks_while_it_is_open_is_moved_aside_too(tmp_path):
    database = EventDatabase(tmp_path / NAME, node="web1")
    database.insert(entry(n, message="x" * 900) for n in range(1500))
    database.close()

    async def story():
        async with life(tmp_path) as journal:
            journal.write(event("before"))
            await stored(journal, 1)
            with (tmp_path / NAME).open("r+b") as file:
                file.seek(4096)
                file.write(os.urandom((tmp_path / NAME).stat().st_size - 4096))
            await backwards(journal)
            await until(lambda: journal.told, what="the word")
            assert "malformed; a new file is begun, the old one is" in journal.told[0].message
            journal.write(event("after"))
            assert await backwards(journal) == ["before", "after"]

    asyncio.run(story())
    assert len(list(tmp_path.glob(f"{NAME}.broken-*T*Z"))) == 1


# What somebody does to the file while it is open


def removed(path):
    path.unlink()


def removed_with_its_log(path):
    path.unlink()
    Path(f"{path}-wal").unlink()


def removed_with_the_directory(path):
    shutil.rmtree(path.parent)


def replaced_by_a_backup(path):
    backup = path.with_name("backup")
    database = EventDatabase(backup, node="web1")
    database.insert([entry(1, message="from the backup")])
    database.close()
    backup.rename(path)


def touched(path):
    os.utime(path, (1.0, 1.0))


def log_removed(path):
    Path(f"{path}-wal").unlink()


@pytest.mark.parametrize(
    ("harm", "what", "kept"),
    [
        (removed, "was removed (begun anew, without the events of before)", []),
        (removed_with_its_log, "was removed (begun anew, without the events of before)", []),
        (removed_with_the_directory, "was removed (begun anew, without the events of before)", []),
        (replaced_by_a_backup, "was replaced (in order, with 1 events)", ["from the backup"]),
        (touched, "was overwritten (in order, with 1 events)", ["before"]),
        (log_removed, "was removed (in order, with 1 events)", ["before"]),
    ],
)
def test_no_event_is_lost_after_somebody_has_taken_the_file_away(tmp_path, harm, what, kept):
    home = tmp_path / "web1"
    home.mkdir()
    lost = []

    async def story():
        async with life(home, clock=lambda: 1.0, lost=lost.append) as journal:
            journal.write(event("before"))
            await stored(journal, 1)
            harm(home / NAME)
            journal.write(event("after"))
            await until(lambda: lost or journal.told, what="the loss")
            await stored(journal, 1)
            assert journal.told == []
        async with life(home) as journal:
            assert await backwards(journal) == [*kept, "after"]

    asyncio.run(story())
    assert [str(loss) for loss in lost] == [f"{NAME} {what}"]


@pytest.mark.parametrize("harm", [removed, removed_with_the_directory, touched])
def test_a_loss_is_noticed_though_nothing_happens(tmp_path, harm):
    home = tmp_path / "web1"
    home.mkdir()
    lost = []

    async def story():
        async with life(home, lost=lost.append) as journal:
            journal.write(event("before"))
            await stored(journal, 1)
            harm(home / NAME)
            await until(lambda: lost, what="the loss")
            assert (home / NAME).exists()
            assert journal.told == []

    asyncio.run(story())


@pytest.mark.parametrize("content", [b"", b"rotated", b"\x00" * 20_000])
def test_a_file_that_is_overwritten_while_it_is_open_is_noticed_and_the_next_events_are_kept(tmp_path, content):
    lost = []

    async def story():
        async with life(tmp_path, lost=lost.append) as journal:
            journal.write(event("before"))
            await stored(journal, 1)
            (tmp_path / NAME).write_bytes(content)
            journal.write(event("after"))
            await until(lambda: lost or journal.told, what="the word")
            await stored(journal, 1)
            assert len(lost) + len(journal.told) == 1
        async with life(tmp_path) as journal:
            assert (await backwards(journal))[-1:] == ["after"]
            assert journal.told == []

    asyncio.run(story())


def test_a_file_whose_pages_are_mixed_up_while_it_is_open_is_moved_aside(tmp_path):
    database = EventDatabase(tmp_path / NAME, node="web1")
    database.insert(entry(n, message="x" * 900) for n in range(1500))
    database.close()

    async def story():
        async with life(tmp_path) as journal:
            journal.write(event("before"))
            await stored(journal, 1)
            with (tmp_path / NAME).open("r+b") as file:
                file.seek(8192)
                file.write(bytes(65_536))
            # Nobody asks, and yet it is found.
            await until(lambda: journal.told, what="the word")
            assert "malformed; a new file is begun, the old one is" in journal.told[0].message

    asyncio.run(story())


def test_a_locked_file_holds_up_nobody_and_what_waits_is_stored_later(tmp_path):
    EventDatabase(tmp_path / NAME, node="web1").close()

    async def story():
        holder = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "import sqlite3, sys\n"
            f"c = sqlite3.connect({str(tmp_path / NAME)!r}, isolation_level=None)\n"
            "c.execute('BEGIN EXCLUSIVE')\n"
            "print('held', flush=True)\n"
            "sys.stdin.read()",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert await holder.stdout.readline() == b"held\n"
        async with life(tmp_path, retry=0.05, above=0) as journal:
            # Who holds the file lets it go at the end only: writing that waited for it would never be over.
            for n in range(1000):
                journal.write(event(str(n)))
            page = await journal.page_before(count=3)
            assert (messages(page), page.lacking) == (["997", "998", "999"], "")
            page = await journal.page_after(0)
            assert len(page.events) == 500
            assert "another process holds it" in page.lacking
            holder.stdin.close()
            await holder.wait()
            await until(lambda: not journal.store._worker.waiting, what="the storing")
            assert journal.told == []
        async with life(tmp_path) as journal:
            assert await backwards(journal) == [str(n) for n in range(1000)]

    asyncio.run(story())


def test_the_daemon_starts_and_ends_without_a_disk_that_can_be_used(tmp_path):
    (tmp_path / NAME).mkdir()

    async def story():
        logged = []
        async with kept_journal(tmp_path, TABLE, node="web1", log=logged.append) as journal:
            journal.write(event("works all the same"))
            page = await journal.page_before()
            assert "works all the same" in messages(page)
            assert "older events cannot be read" in page.lacking
        assert [each.level for each in logged] == [Level.ERROR, Level.INFO, Level.WARNING]
        assert logged[0].message.startswith("events are held in memory only, the last 2000, and not in ")
        assert "the last events are not stored" in logged[2].message

    asyncio.run(story())


ON_A_FULL_DISK = """
import asyncio, os, resource, sys
from pathlib import Path
from hcsidecar.core.events import Event, Level
from hcsidecar.core.farmfile.tables import LogTable
from hcsidecar.events.store import EventStore
from hcsidecar.events.journal import Journal, EventQuery

directory, size, way = Path(sys.argv[1]), 50, sys.argv[2]
ballast = directory / "ballast"

def fill():
    if way == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, resource.RLIM_INFINITY))
        return
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass

def free():
    if way == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    else:
        ballast.unlink()

async def write_until(journal, condition):
    n = 0
    while not condition():
        journal.write(Event(level=Level.INFO, origin="application", message=f"{n} " + "x" * 900))
        n += 1
        await asyncio.sleep(0.002)

async def main():
    told = []
    store = EventStore(directory / "events.db", node="web1", table=LogTable(), tell=told.append, size=size, retry=0.1)
    journal = Journal(node="web1", log=lambda e: None, size=size, store=store, above=await store.last())
    journal.write(Event(level=Level.INFO, origin="application", message="first"))
    await store.before(1, wanted=EventQuery(), limit=1)
    fill()
    await write_until(journal, lambda: told)
    print(told[0].level, told[0].message)
    written = journal.last
    await write_until(journal, lambda: journal.last > written + 4 * size)
    # Not with each attempt. A small one may succeed where SQLite writes over what it has written before.
    assert [event.level for event in told] == (["error", "warning"] * len(told))[: len(told)], told
    assert len(told) < 6, told
    assert len((await journal.page_before(count=size)).events) == size
    free()
    await write_until(journal, lambda: told[-1].level == "warning")
    print(told[-1].level, told[-1].message)
    assert await store.close() is None
    assert told[-1].level == "warning", told

asyncio.run(main())
"""


def full_disk_story(directory, way, inside=()):
    done = subprocess.run(
        [*inside, sys.executable, "-c", ON_A_FULL_DISK, directory, way],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    full, again = done.stdout.splitlines()
    assert full.startswith("error events are held in memory only, the last 50, and not in ")
    assert again.startswith("warning events are stored again in ")
    assert int(again.rpartition(": ")[2]) > 0
    return full


def test_a_full_disk_is_told_once_and_so_is_its_end(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root may mount the disk that is to be full")
    mounted = 'mount -t tmpfs -o size=256k tmpfs "$0" && exec "$@"'
    inside = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mounted, str(tmp_path)]
    assert "full" in full_disk_story(tmp_path, "tmpfs", inside)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_may_not_grow_is_like_a_full_disk(tmp_path):
    full_disk_story(tmp_path, "limit")

    async def story():
        async with life(tmp_path) as journal:
            assert (await backwards(journal))[0] == "first"

    asyncio.run(story())


WRITER = """
import asyncio, sys, time
from pathlib import Path
from hcsidecar.core.events import Event, Level
from hcsidecar.core.farmfile.tables import LogTable
from hcsidecar.events.store import kept_journal

async def main():
    async with kept_journal(Path(sys.argv[1]), LogTable(), node="web1", log=lambda entry: None) as journal:
        n = 0
        while True:
            journal.write(Event(level=Level.INFO, origin="application", message=str(n)))
            n += 1
            print(n, time.time(), flush=True)
            await asyncio.sleep(0.003)

asyncio.run(main())
"""


def test_a_kill_at_any_moment_costs_the_last_second_at_most(tmp_path):
    total = 0
    for after in (1, 40, 333):
        child = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE, text=True)
        lines = [child.stdout.readline().split() for _ in range(after)]
        child.send_signal(signal.SIGKILL)
        killed_at = time.time()
        lines += [line.split() for line in child.stdout.read().splitlines()]
        child.wait(10)
        child.stdout.close()
        due = sum(float(line[1]) < killed_at - 1 for line in lines if len(line) == 2)

        async def story():
            async with life(tmp_path) as journal:
                assert journal.told == []
                return await backwards(journal)

        kept = asyncio.run(story())[total:]
        assert kept == [str(n) for n in range(len(kept))]
        assert due <= len(kept)
        total += len(kept)
    assert total > 50


def test_a_disk_that_hangs_is_told_and_answers_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "hang")
    script = textwrap.dedent(
        """
        import asyncio, sys, time
        from pathlib import Path
        import hcsidecar.events.store as module
        from hcsidecar.core.events import Event, Level
        from hcsidecar.core.farmfile.tables import LogTable
        from hcsidecar.events.journal import Journal

        module.READ_LIMIT, module.STUCK, module.START_LIMIT, module.END_LIMIT = 0.1, 0.3, 0.1, 0.1

        async def main():
            # Opening this to look whether it is a database waits for ever, in the thread.
            told = []
            class Hanging(module.StoreWorker):
                def last(self):
                    with (Path(sys.argv[1]) / "hang").open("rb") as file:
                        file.read()
            module.StoreWorker = Hanging
            store = module.EventStore(Path(sys.argv[1]) / "events.db", node="web1", table=LogTable(), tell=told.append)
            journal = Journal(node="web1", log=lambda e: None, store=store, above=await store.last())
            while not told:
                journal.write(Event(level=Level.INFO, origin="application", message="x"))
                page = await journal.page_before(count=500)
                assert page.events or journal.last
                await asyncio.sleep(0.02)
            print(told[0].message)
            print(page.lacking)
            for _ in range(5000):
                journal.write(Event(level=Level.INFO, origin="application", message="x"))
            assert store._inbox.qsize() <= 2000 + module.QUESTIONS
            assert len(told) == 1
            print(await store.close())

        asyncio.run(main())
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    told, lacking, end = done.stdout.splitlines()
    assert told.startswith("events are held in memory only: the disk does not answer")
    assert lacking.endswith("the disk does not answer")
    assert end == "the disk does not answer"
