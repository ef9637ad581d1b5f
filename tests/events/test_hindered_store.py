"""A store that cannot write: a locked file, a full disk, a disk that hangs, a kill. It holds up nobody."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from stored_events import TABLE, backwards, event, life, messages
from waiting import until

from hcsidecar.core.events import Level
from hcsidecar.events.database import EventDatabase
from hcsidecar.events.store import kept_journal
from hcsidecar.events.store_worker import NAME


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
