"""A store whose file is broken, overwritten or taken away: it is moved aside or made anew, and told."""

import asyncio
import contextlib
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from stored_events import backwards, entry, event, life, stored
from waiting import until

from hcsidecar.core.events import Level
from hcsidecar.events.database import EventDatabase
from hcsidecar.events.store_worker import NAME

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
