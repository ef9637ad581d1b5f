import json
import stat
import subprocess
import sys

import pytest

from l2mode import KERNEL_RECORD
from l2mode.kernel.changes import AddressAdded, FilterAttached, SettingChanged
from l2mode.kernel.errors import FilterError
from l2mode.kernel.record import Record

VIP = AddressAdded(interface="lo", address="192.0.2.50", prefix_length=32)
OTHER_VIP = AddressAdded(interface="lo", address="2001:db8::50", prefix_length=128)
FILTER = FilterAttached(interface="eth0", name="hcsidecar:apache")


def arp_ignore(former, value=1):
    return SettingChanged(interface="eth0", name="arp_ignore", former=former, value=value)


class Machine:
    """Undoes what it is told to, unless it cannot, and hears what is told."""

    def __init__(self, directory):
        self.directory = directory
        self.undone = []
        self.told = []
        self.fails = set()

    def record(self):
        return Record(self.directory, undo=self.undo, tell=lambda level, message: self.told.append((level, message)))

    def undo(self, change):
        if change in self.fails:
            raise OSError(1, "Operation not permitted")
        self.undone.append(change)
        return f"undone: {change.place[1]}"


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def rewrite(directory, **fields):
    path = directory / KERNEL_RECORD
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_one_process_at_a_time_may_change_what_the_record_is_about(machine):
    first, second = machine.record(), machine.record()
    first.hold()
    first.hold()
    with pytest.raises(FilterError, match="another daemon of this node runs here"):
        second.hold()
    assert (first.held, second.held) == (True, False)


def test_what_is_noted_is_on_the_disk_before_the_call_returns(machine, tmp_path):
    machine.record().note(VIP)
    assert machine.record().changes == (VIP,)
    assert stat.S_IMODE((tmp_path / KERNEL_RECORD).stat().st_mode) == 0o600


def test_everything_is_put_back_last_first_and_the_file_is_gone(machine, tmp_path):
    record = machine.record()
    for change in (FILTER, arp_ignore(0), VIP):
        record.note(change)
    record.restore()
    assert machine.undone == [VIP, arp_ignore(0), FILTER]
    assert not (tmp_path / KERNEL_RECORD).exists()
    assert machine.told == [
        ("info", "undone: lo"),
        ("info", "undone: eth0"),
        ("info", "undone: eth0"),
    ]


def test_only_some_kinds_are_put_back(machine):
    record = machine.record()
    for change in (FILTER, arp_ignore(0), VIP):
        record.note(change)
    record.restore(AddressAdded, SettingChanged)
    assert machine.undone == [VIP, arp_ignore(0)]
    assert record.changes == machine.record().changes == (FILTER,)


def test_to_put_back_twice_is_to_put_back_once(machine):
    record = machine.record()
    record.note(VIP)
    record.restore()
    record.restore()
    assert machine.undone == [VIP]


def test_a_process_killed_between_the_note_and_the_change_leaves_the_note(machine, tmp_path):
    killed = f"""
import os, signal
from pathlib import Path
from l2mode.kernel.changes import AddressAdded
from l2mode.kernel.record import Record
record = Record(Path({str(tmp_path)!r}), undo=str, tell=print)
record.note(AddressAdded(interface="lo", address="192.0.2.50", prefix_length=32))
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == -9
    machine.record().restore()
    assert machine.undone == [VIP]


def test_a_record_that_somebody_removes_is_written_again(machine, tmp_path):
    record = machine.record()
    assert record.repair() is None
    record.note(VIP)
    assert record.repair() is None
    (tmp_path / "kernel.json").unlink()
    assert record.repair() == f"{tmp_path / 'kernel.json'} was removed: written again"
    machine.record().restore()
    assert machine.undone == [VIP]


def test_what_was_before_the_first_change_is_what_counts(machine):
    record = machine.record()
    record.note(arp_ignore(0))
    record.note(arp_ignore(1))
    assert record.changes == (arp_ignore(0),)
    later = machine.record()
    later.note(arp_ignore(1))
    later.restore()
    assert machine.undone == [arp_ignore(0)]


def test_the_next_process_keeps_what_it_needs_and_puts_back_the_rest(machine):
    earlier = machine.record()
    for change in (FILTER, VIP, OTHER_VIP):
        earlier.note(change)
    record = machine.record()
    record.note(FILTER)
    record.keep(OTHER_VIP)
    record.restore_left_over()
    assert machine.undone == [VIP]
    assert record.changes == (FILTER, OTHER_VIP)
    record.restore_left_over()
    assert machine.undone == [VIP]


def test_nothing_is_left_over_of_this_process_itself(machine):
    record = machine.record()
    record.note(VIP)
    record.restore_left_over()
    assert machine.undone == []


def test_to_keep_what_was_never_changed_notes_nothing(machine):
    record = machine.record()
    record.keep(VIP)
    assert record.changes == ()


def test_what_cannot_be_put_back_is_told_and_tried_again_by_the_next_process(machine):
    record = machine.record()
    record.note(VIP)
    record.note(FILTER)
    machine.fails = {FILTER}
    record.restore()
    assert machine.undone == [VIP]
    assert machine.told[0][0] == "error"
    assert "Operation not permitted; it is tried again at the next start" in machine.told[0][1]
    machine.fails = set()
    machine.record().restore()
    assert machine.undone == [VIP, FILTER]


def test_a_record_of_an_earlier_boot_is_deleted(machine, tmp_path):
    machine.record().note(VIP)
    rewrite(tmp_path, boot="11111111-2222-3333-4444-555555555555")
    assert machine.record().changes == ()
    assert not (tmp_path / KERNEL_RECORD).exists()
    assert machine.told == []


def test_a_record_of_another_network_namespace_is_deleted(machine, tmp_path):
    machine.record().note(VIP)
    rewrite(tmp_path, namespace="1-1")
    assert machine.record().changes == ()
    assert not (tmp_path / KERNEL_RECORD).exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"boot": "x", "namespace": "y", "changes": [{"what": "spell"}]}',
        b'{"boot": "x", "namespace": "y", "changes": [{"what": "address", "interface": "lo", "address": 5}]}',
    ],
)
def test_a_broken_record_is_told_and_moved_aside(machine, tmp_path, content):
    (tmp_path / KERNEL_RECORD).write_bytes(content)
    record = machine.record()
    assert record.changes == ()
    ((level, message),) = machine.told
    assert level == "error"
    assert "is broken" in message
    assert "kernel.broken" in message
    assert (tmp_path / "kernel.broken").read_bytes() == content
    record.note(VIP)
    assert machine.record().changes == (VIP,)


def test_a_record_that_cannot_be_read_is_told(machine, tmp_path):
    (tmp_path / KERNEL_RECORD).mkdir()
    assert machine.record().changes == ()
    assert "cannot be read: Is a directory" in machine.told[0][1]


def test_nothing_may_be_changed_that_cannot_be_written_down(machine, tmp_path):
    record = machine.record()
    record.note(VIP)
    (tmp_path / "kernel.new").mkdir()
    with pytest.raises(FilterError, match="cannot write down what is about to be changed") as caught:
        record.note(FILTER)
    assert caught.value.remedy == f"make room in {tmp_path} and let this user write there"
    assert record.changes == (VIP,)


def test_a_change_that_cannot_be_struck_out_is_told(machine, tmp_path):
    record = machine.record()
    record.note(VIP)
    record.note(FILTER)
    (tmp_path / "kernel.new").mkdir()
    record.forget(VIP)
    assert machine.told == [("warning", f"{tmp_path / KERNEL_RECORD} cannot be written: Is a directory")]
