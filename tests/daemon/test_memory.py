"""What survives a restart, and what happens when the disk does not play along."""

import asyncio
import errno
import json
import os
import shutil
import stat
import subprocess
import threading
from dataclasses import replace

import pytest
from waiting import until

from hcsidecar.core.application.restart_budget import Failure
from hcsidecar.core.application.state import Past
from hcsidecar.core.application.states import Left, Word
from hcsidecar.core.events import Level
from hcsidecar.core.key_change import KeyPrint
from hcsidecar.core.membership.peers import KnownPeer
from hcsidecar.core.membership.timing import Timing
from hcsidecar.daemon.memory import StateFile
from hcsidecar.farmfile.dirs import STATE
from hcsidecar.system.machine_start import start_of_machine

MILLENNIUM = 946_684_800.5
"Seconds since 1970."


def live(directory, act=lambda memory: None, *, at=MILLENNIUM, machine="first start"):
    """Run one life of a daemon; gives its memory and the events."""
    events = []

    async def scene():
        memory = StateFile(directory, tell=events.append, wall_clock=lambda: at, machine=machine)
        act(memory)
        await memory.close()
        return memory

    return asyncio.run(scene()), events


def boots(directory, count=1, *, at=MILLENNIUM):
    """Give the boot numbers that one life takes."""
    taken = []
    live(directory, lambda memory: taken.extend(memory.next_boot() for _ in range(count)), at=at)
    return taken


# The other nodes


def test_what_is_known_of_the_other_nodes_survives_a_restart(tmp_path):
    peers = {"web2": KnownPeer(4, Timing(pulse=1.0, lost_after=10.0)), "web3": KnownPeer(5)}
    live(tmp_path, lambda memory: memory.remember_peers(peers))
    memory, events = live(tmp_path)
    assert (memory.known_peers, events) == (peers, [])


# The key file


def test_the_fingerprints_of_the_key_file_survive_a_restart_and_none_are_known_before(tmp_path):
    memory, _ = live(tmp_path)
    assert memory.known_keys is None
    keys = KeyPrint(keys=frozenset({7, 2**32 - 1}), hash_seed=0)
    live(tmp_path, lambda memory: memory.remember_keys(keys))
    memory, events = live(tmp_path)
    assert (memory.known_keys, events) == (keys, [])


# The operator's last word


def test_a_new_node_starts_its_module_and_complains_of_nothing(tmp_path):
    memory, events = live(tmp_path)
    assert (memory.past(now=0).last_word, events) == (Word.START, [])


@pytest.mark.parametrize("word", list(Word))
def test_the_last_word_survives_a_restart(tmp_path, word):
    live(tmp_path, lambda memory: memory.remember_past(Past(last_word=word), now=0))
    memory, events = live(tmp_path)
    assert (memory.past(now=0).last_word, events) == (word, [])


PAST = Past(
    last_word=Word.DRAIN,
    left=Left.STARTED,
    has_passed=True,
    gave_up="check DISK: full",
    failures=(Failure(at=90.0, why="check HTTP: refused"),),
)


def test_the_modules_past_survives_a_restart_of_the_daemon(tmp_path):
    live(tmp_path, lambda memory: memory.remember_past(PAST, now=100))
    memory, events = live(tmp_path, at=MILLENNIUM + 30)
    # Another daemon, another monotonic clock: what was 10 s ago then is 40 s ago now.
    assert memory.past(now=1000) == replace(PAST, failures=(Failure(at=960.0, why="check HTTP: refused"),))
    assert events == []


def test_no_application_outlives_the_machine_but_its_failures_do(tmp_path):
    live(tmp_path, lambda memory: memory.remember_past(PAST, now=100))
    memory, _ = live(tmp_path, machine="second start")
    past = memory.past(now=100)
    assert (past.left, past.has_passed) == (Left.STOPPED, False)
    assert (past.failures, past.gave_up) == (PAST.failures, PAST.gave_up)


def test_a_wall_clock_that_was_set_back_makes_no_failure_of_the_future(tmp_path):
    live(tmp_path, lambda memory: memory.remember_past(PAST, now=100))
    memory, _ = live(tmp_path, at=MILLENNIUM - 3600)
    assert memory.past(now=5).failures == (Failure(at=5, why="check HTTP: refused"),)


def test_what_must_be_on_disk_before_a_script_runs_can_be_waited_for(tmp_path):
    async def scene():
        memory = StateFile(tmp_path, tell=print, machine="")
        memory.remember_past(PAST, now=100)
        await memory.written()
        assert json.loads((tmp_path / STATE).read_text())["left"] == "started"
        await memory.close()

    asyncio.run(scene())


def test_a_machine_and_a_container_that_start_again_are_told_apart(tmp_path):
    def start(boot, first_process):
        (tmp_path / "sys/kernel/random").mkdir(parents=True, exist_ok=True)
        (tmp_path / "1").mkdir(exist_ok=True)
        (tmp_path / "sys/kernel/random/boot_id").write_text(f"{boot}\n")
        fields = " ".join(["0"] * 18)
        (tmp_path / "1/stat").write_text(f"1 (a) b) S {fields} {first_process} 0")
        return start_of_machine(tmp_path)

    assert start("a", 5) == start("a", 5)
    assert len({start("a", 5), start("b", 5), start("a", 6)}) == 3
    assert start_of_machine(tmp_path / "nowhere") == ""


def test_of_many_words_the_last_one_stays(tmp_path):
    def waver(memory):
        for word in (Word.STOP, Word.START, Word.DRAIN, Word.STOP, Word.DRAIN):
            memory.remember_past(Past(last_word=word), now=0)
            assert memory.past(now=0).last_word is word

    live(tmp_path, waver)
    assert live(tmp_path)[0].past(now=0).last_word is Word.DRAIN


def test_word_and_boot_do_not_overwrite_each_other(tmp_path):
    live(tmp_path, lambda memory: memory.remember_past(Past(last_word=Word.STOP), now=0))
    [boot] = boots(tmp_path)
    memory, _ = live(tmp_path)
    assert memory.past(now=0).last_word is Word.STOP
    assert boots(tmp_path) > [boot]


# Powers


def test_powers_that_were_set_survive_a_restart_until_they_are_taken_back(tmp_path):
    assert live(tmp_path)[0].powers == {}
    live(tmp_path, lambda memory: memory.remember_powers({"APACHE": 3, "DNS": 0}))
    memory, events = live(tmp_path, lambda memory: memory.remember_past(Past(last_word=Word.STOP), now=0))
    assert (memory.powers, memory.past(now=0).last_word, events) == ({"APACHE": 3, "DNS": 0}, Word.STOP, [])
    live(tmp_path, lambda memory: memory.remember_powers({}))
    assert live(tmp_path)[0].powers == {}


def test_a_file_of_a_version_without_powers_is_read_and_stays_as_it_was_without_them(tmp_path):
    (tmp_path / STATE).write_text('{"boot": 5, "last_word": "stop"}')
    memory, events = live(tmp_path, lambda memory: memory.remember_past(Past(last_word=Word.DRAIN), now=0))
    assert (memory.powers, events) == ({}, [])
    assert json.loads((tmp_path / STATE).read_text()) == {"boot": 5, "last_word": "drain"}


# The boot number


def test_the_first_boot_number_is_the_wall_clock_in_milliseconds(tmp_path):
    assert boots(tmp_path) == [946_684_800_500]


def test_copies_of_one_state_directory_take_different_boot_numbers_where_the_clock_is_behind(tmp_path):
    copies = tmp_path / "one", tmp_path / "other"
    for copy in copies:
        copy.mkdir()
        (copy / STATE).write_text('{"boot": 5, "last_word": "start"}')
    taken = [boots(copy, at=0)[0] for copy in copies]
    assert len(set(taken)) == 2
    assert min(taken) > 5


def test_boot_numbers_grow_within_a_life_and_over_restarts(tmp_path):
    taken = boots(tmp_path, 3) + boots(tmp_path, 2)
    assert taken == sorted(set(taken))


def test_a_clock_set_back_does_not_lower_the_boot_number(tmp_path):
    [before] = boots(tmp_path)
    assert boots(tmp_path, at=0) > [before]


def test_a_lost_file_does_not_lower_the_boot_number(tmp_path):
    [before] = boots(tmp_path)
    (tmp_path / STATE).unlink()
    assert boots(tmp_path, at=MILLENNIUM + 1) > [before]


def test_a_file_from_a_backup_does_not_lower_the_boot_number(tmp_path):
    boots(tmp_path)
    backup = (tmp_path / STATE).read_bytes()
    [before] = boots(tmp_path, at=MILLENNIUM + 60)
    (tmp_path / STATE).write_bytes(backup)
    assert boots(tmp_path, at=MILLENNIUM + 61) > [before]


# The file


def test_the_file_is_for_its_owner_only_and_nothing_is_left_beside_it(tmp_path):
    live(tmp_path, lambda memory: memory.remember_past(Past(last_word=Word.STOP), now=0))
    assert [path.name for path in tmp_path.iterdir()] == [STATE]
    assert stat.S_IMODE((tmp_path / STATE).stat().st_mode) == 0o600
    assert json.loads((tmp_path / STATE).read_text()) == {"boot": 0, "last_word": "stop"}


def test_what_a_later_version_has_added_is_no_hindrance(tmp_path):
    (tmp_path / STATE).write_text('{"boot": 5, "last_word": "stop", "restarts": [1, 2]}')
    memory, events = live(tmp_path)
    assert (memory.past(now=0).last_word, events) == (Word.STOP, [])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 100,
        b"\xff\xfe",
        b"[" * 60_000,
        b"{" + b" " * 100_000 + b"}",
        b"[]",
        b'{"boot": 5}',
        b'{"boot": -1, "last_word": "stop"}',
        b'{"boot": 1e400, "last_word": "stop"}',
        b'{"boot": 99999999999999999999, "last_word": "stop"}',
        b'{"boot": 5, "last_word": "perhaps"}',
        b'{"boot": 5, "last_word": "stop"',
        b'{"boot": 5, "last_word": "stop", "powers": {"APACHE": -1}}',
        b'{"boot": 5, "last_word": "stop", "powers": [1]}',
    ],
)
def test_a_broken_file_is_told_and_replaced(tmp_path, content):
    (tmp_path / STATE).write_bytes(content)
    _, [event] = live(tmp_path, lambda memory: memory.remember_past(Past(last_word=Word.DRAIN), now=0))
    assert event.level is Level.ERROR
    assert event.message.startswith(f"{tmp_path / STATE} is broken: ")
    assert event.message.endswith("; treated as a new node, the application starts")
    assert boots(tmp_path) == [946_684_800_500]
    assert live(tmp_path)[0].past(now=0).last_word is Word.DRAIN


def test_a_file_that_cannot_be_read_is_told_and_done_without(tmp_path):
    (tmp_path / STATE).mkdir()
    memory, events = live(tmp_path)
    assert memory.past(now=0).last_word is Word.START
    assert [event.message for event in events] == [
        f"{tmp_path / STATE} cannot be read: Is a directory; treated as a new node, the application starts"
    ]


def test_a_directory_that_cannot_be_made_is_told_once_and_the_node_goes_on_in_memory(tmp_path):
    home = tmp_path / "home"
    told = []

    async def scene():
        memory = StateFile(home, tell=told.append, wall_clock=lambda: MILLENNIUM)
        home.write_text("in the way")
        memory.remember_past(Past(last_word=Word.STOP), now=0)
        await until(lambda: told, what="the complaint")
        assert memory.past(now=0).last_word is Word.STOP
        assert memory.next_boot() < memory.next_boot()
        for _ in range(3):
            await memory.written()
            memory.look()
        await memory.written()
        home.unlink()
        memory.look()
        await until(lambda: len(told) == 2, what="the end of it")
        await memory.close()

    asyncio.run(scene())
    assert [event.message for event in told] == [
        f"{home / STATE} cannot be written: File exists; after a restart, the operator's last word may be an old one",
        f"{home / STATE} is written again",
    ]
    assert live(home)[0].past(now=0).last_word is Word.STOP


# What somebody else does to the file


def removed(directory):
    (directory / STATE).unlink()


def removed_with_its_directory(directory):
    shutil.rmtree(directory.parent)


def emptied(directory):
    (directory / STATE).write_text("")


def put_back_from_a_backup(directory):
    (directory / "backup").write_text('{"boot": 5, "last_word": "start"}')
    (directory / "backup").rename(directory / STATE)


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        (removed, "was removed"),
        (removed_with_its_directory, "was removed"),
        (emptied, "was overwritten"),
        (put_back_from_a_backup, "was replaced"),
    ],
)
def test_the_operators_last_word_is_written_again_when_somebody_has_taken_it_away(tmp_path, harm, what):
    home = tmp_path / "apache" / "web1"
    home.mkdir(parents=True)
    told, lost = [], []

    async def scene():
        memory = StateFile(home, tell=told.append, lost=lost.append, wall_clock=lambda: MILLENNIUM, machine="")
        memory.remember_past(Past(last_word=Word.DRAIN), now=0)
        await memory.written()
        memory.look()
        await until(lambda: memory._looking is None, what="the look")
        assert lost == []
        harm(home)
        memory.look()
        await until(lambda: lost, what="the loss")
        memory.look()
        await until(lambda: memory._looking is None, what="the look")
        assert json.loads((home / STATE).read_text())["last_word"] == "drain"
        await memory.close()

    asyncio.run(scene())
    assert told == []
    assert [str(loss) for loss in lost] == [f"{STATE} {what} (written again, with the operator's last word)"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 16 KiB."""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", tmp_path], check=False).returncode:
        pytest.skip("may not mount file systems here")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def test_a_full_disk_is_told_and_leaves_the_old_file_whole(small_disk):
    live(small_disk, lambda memory: memory.remember_past(Past(last_word=Word.STOP), now=0))
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        (small_disk / "big").write_bytes(b"x" * 100_000)
    _, [event] = live(small_disk, lambda memory: memory.remember_past(Past(last_word=Word.DRAIN), now=0))
    assert "cannot be written: No space left on device" in event.message
    assert live(small_disk)[0].past(now=0).last_word is Word.STOP


def test_a_disk_that_hangs_delays_neither_the_loop_nor_the_end_for_long(tmp_path):
    pipe = tmp_path / "state.new"
    os.mkfifo(pipe)  # who opens it for writing waits until somebody reads: a disk that hangs
    told, problems = [], []

    async def scene():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: problems.append(context))
        memory = StateFile(tmp_path, tell=told.append)
        memory.remember_past(Past(last_word=Word.STOP), now=0)
        for word in (Word.DRAIN, Word.START) * 1000:
            memory.remember_past(Past(last_word=word), now=0)
        began = loop.time()
        await memory.close()
        assert loop.time() - began < 5
        reader = threading.Thread(target=pipe.read_bytes)
        reader.start()
        await until(lambda: not reader.is_alive(), what="end of the hanging")
        await until(lambda: len(told) == 2, what="what became of the write")

    asyncio.run(scene())
    assert problems == []
    assert told[0].message.endswith("is not written yet after 2 s, and may be out of date")
