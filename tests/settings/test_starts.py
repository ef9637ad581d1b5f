"""With which settings a daemon starts, whatever has become of the files on the disk and wherever another was killed."""

import contextlib
import os

import msgspec
import pytest
from settings.farm_here import FARM, make_farm, script
from settings.killing import run_killed

from hcsidecar.core.settings.agreement import SettingsRecord
from hcsidecar.core.settings.revision import FARM_FILE, Manifest
from hcsidecar.daemon.settled_settings import TAKER, settled_farm, start_settings
from hcsidecar.farmfile.dirs import SETTINGS
from hcsidecar.farmfile.loading import FarmFileError, load, see
from hcsidecar.settings.bundle import read_bundle
from hcsidecar.settings.farm_directory import FarmDirectory
from hcsidecar.settings.operator_files import WorkingCopyRecord, bring_up_to, note_written
from hcsidecar.settings.store import WORKING_COPY, RevisionStore

EDIT = ("[application]", '[health]\nlame_duck = "3s"\n[application]')
NOBODY = 65534
CHANGED = 'start = "bin/other"'


class Here:
    """A farm on this machine, as web1 has it: the operator's files, and the store of revisions."""

    def __init__(self, directory):
        self.etc = directory / "etc"
        self.text = FARM.replace("[farm]", f'[farm]\nstate_dir = "{directory}/s"')
        make_farm(self.etc, self.text)
        self.path = self.etc / FARM_FILE
        self.directory = directory / "s/apache/web1" / SETTINGS
        self.store = RevisionStore(self.directory)
        self.record = SettingsRecord()

    def save(self, *, parents=()):
        """Make a revision of the operator's files, and settle it; gives its manifest."""
        loaded = load(self.path)
        bundle = read_bundle(loaded, FarmDirectory.of(loaded))
        number = self.record.highest + 1
        manifest = Manifest.of(
            bundle.contents,
            executable=bundle.executable,
            farm="apache",
            number=number,
            parents=parents,
            author="root on web1",
            made_at=number,
        )
        self.store.save(manifest, bundle.contents)
        self.record = SettingsRecord(
            settled=manifest.id,
            ancestors=(*self.record.ancestors, *([self.record.settled] if self.record.settled else [])),
            highest=number,
        )
        self.store.save_record(self.record)
        return manifest

    def settled(self, *, parents=()):
        """Make a revision that is also noted as written."""
        manifest = self.save(parents=parents)
        note_written(self.store, manifest.id, self.path)
        return manifest

    def settled_elsewhere(self, before, after):
        """Settle a second revision with other files, and leave the operator's as the first one has them."""
        first = self.settled()
        kept = self.store.load(first.id)
        script(self.etc / "bin/other")
        self.edit(before, after)
        second = self.save(parents=(first.id.digest,))
        note_written(self.store, second.id, self.path)
        bring_up_to(self.store, kept, FarmDirectory.of(load(self.path)))
        assert not (self.etc / "bin/other").exists()
        return first, second

    def edit(self, before, after):
        text = self.path.read_text()
        assert before in text
        self.path.write_text(text.replace(before, after))

    def start(self, **more):
        return start_settings(self.path, see(self.path), self.directory, **more)

    def found(self, node=None):
        return settled_farm(self.path, see(self.path), node)


@pytest.fixture
def here(memory):
    return Here(memory)


def told(start):
    return [(event.level.value, event.message) for event in start.events]


WRONG = {
    "a typo": lambda here: here.edit("[farm]", "[farm"),
    "an unknown key": lambda here: here.edit("[farm]", "[farm]\nnonsense = 1"),
    "not UTF-8": lambda here: here.path.write_bytes(b"\xff" + here.path.read_bytes()),
}
LOST = {
    "gone": lambda here: here.path.unlink(),
    "empty": lambda here: here.path.write_text(""),
    "a directory": lambda here: (here.path.unlink(), here.path.mkdir()),
}
"Where not even the text says where the state is."


@pytest.mark.parametrize("wrong", WRONG)
def test_a_node_with_a_revision_starts_whatever_is_wrong_with_its_farm_file(here, wrong):
    manifest = here.settled()
    WRONG[wrong](here)
    found = here.found()
    assert found.text.encode() == here.store.load(manifest.id).contents[FARM_FILE]
    assert found.working_copy == here.path
    start = here.start()
    assert start.record == here.record
    assert start.loaded.text == found.text
    [(level, message)] = told(start)
    assert level == "warning"
    assert f"is wrong, and not applied: this node goes by {manifest.id}" in message
    assert all(str(problem) in message for problem in see(here.path).problems)


@contextlib.contextmanager
def as_ordinary_user(directory):
    """Let this process be that of an ordinary user, whose directory this is."""
    if os.geteuid() != 0:
        yield
        return
    for path in (directory, *directory.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("lost", LOST)
def test_the_revisions_of_a_file_that_is_lost_are_found_in_the_default_directory(here, lost, memory):
    here.edit(f'state_dir = "{memory}/s"', "")
    manifest = here.settled()
    (memory / "s").rename(memory / "hcsidecar")
    LOST[lost](here)
    with as_ordinary_user(memory):
        found = settled_farm(here.path, see(here.path), None, environment={"XDG_STATE_HOME": str(memory)})
    assert found.working_copy == here.path
    assert manifest.id.digest[:8] in str(found.path)


def test_a_node_without_a_revision_does_not_start_with_a_wrong_file(here):
    here.edit("[farm]", "[farm]\nnonsense = 1\nmore = 2")
    with pytest.raises(FarmFileError, match=r"(?s)nonsense.*more|more.*nonsense"):
        here.found()
    with pytest.raises(FarmFileError):
        here.start()


def test_a_revision_that_cannot_be_read_is_told_beside_what_is_wrong_with_the_file(here):
    manifest = here.settled()
    (here.store.load(manifest.id).directory / FARM_FILE).unlink()
    here.edit("[farm]", "[farm]\nnonsense = 1")
    with pytest.raises(FarmFileError, match=r"(?s)nonsense.*is missing"):
        here.found()
    with pytest.raises(FarmFileError, match="nonsense"):
        here.start()


@pytest.mark.parametrize("change", ['name = "nginx"', 'name = "www1"'])
def test_a_file_that_names_another_farm_or_node_is_an_edit_like_any_other(here, change):
    here.settled()
    former = {"nginx": 'name = "apache"', "www1": 'name = "web1"'}[change.split('"')[1]]
    here.edit(former, change)
    found = here.found()
    assert (found.farm.farm.name, found.farm.node[0].name) == ("apache", "web1")
    assert here.found("web1").text == found.text
    [(level, message)] = told(here.start())
    assert (level, "not applied" in message) == ("warning", True)


def test_revisions_of_another_machine_are_not_gone_by(here):
    here.settled()
    here.edit('"127.0.0.1"', '"192.0.2.11"')
    here.settled()
    here.edit('"192.0.2.12"', '"127.0.0.1"')
    here.settled()
    assert here.found() is None, "this machine is web2"
    assert here.found("web1") is not None


def test_revisions_of_another_farm_file_are_not_gone_by(here, memory):
    here.settled()
    other = memory / "other"
    make_farm(other, here.text.replace("apache", "nginx"))
    assert settled_farm(other / FARM_FILE, see(other / FARM_FILE), None) is None
    (other / FARM_FILE).write_text(here.text.replace("[farm]", "[farm"))
    with pytest.raises(FarmFileError):
        settled_farm(other / FARM_FILE, see(other / FARM_FILE), None)


def test_which_of_several_nodes_on_a_machine_is_meant_must_be_said_where_the_file_does_not(here):
    here.edit('"192.0.2.12"', '"127.0.0.2"')
    here.settled()
    for name in ("current.json", WORKING_COPY):
        (here.directory.parents[1] / "web2" / SETTINGS).mkdir(parents=True, exist_ok=True, mode=0o700)
        target = here.directory.parents[1] / "web2" / SETTINGS / name
        target.write_bytes((here.directory / name).read_bytes())
    manifest_directory = next(path for path in here.directory.iterdir() if path.is_dir())
    (here.directory.parents[1] / "web2" / SETTINGS / manifest_directory.name).symlink_to(manifest_directory)
    here.edit("[farm]", "[farm")
    with pytest.raises(FarmFileError, match=r"(?s)several with revisions on this machine: web1, web2.*--node"):
        here.found()
    assert here.found("web2") is not None


def test_an_edit_of_the_operator_stays_as_it_is(here):
    here.settled()
    here.edit(*EDIT)
    edited = here.path.read_text()
    [(level, message)] = told(here.start())
    assert (level, "is not as revision 1" in message) == ("warning", True)
    assert here.path.read_text() == edited


def test_files_that_a_killed_daemon_did_not_bring_up_to_date_are_brought_there_and_are_no_edit(here):
    first, second = here.settled_elsewhere('start = "bin/start"', CHANGED)
    assert CHANGED not in here.path.read_text()
    start = here.start()
    assert start.record.settled == second.id
    assert CHANGED in here.path.read_text()
    assert (here.etc / "bin/other").exists()
    assert [path.name for path in here.etc.iterdir() if "unapplied" in path.name] == []
    [(level, message)] = told(start)
    assert level == "info"
    assert "farm.toml" in message
    assert "which an earlier daemon did not get to" in message
    assert told(here.start()) == []
    # To go back to the first one by hand is an edit.
    kept = here.store.load(first.id)
    here.path.write_bytes(kept.contents[FARM_FILE])
    [(level, message)] = told(here.start())
    assert "is not as revision 2" in message
    assert CHANGED not in here.path.read_text()


def test_what_was_edited_before_the_kill_is_kept_beside(here):
    here.settled_elsewhere('start = "bin/start"', CHANGED)
    here.edit(*EDIT)
    edited = here.path.read_text()
    messages = [message for _, message in told(here.start())]
    assert "farm.toml was edited and not applied: the edited file is now farm.toml.unapplied" in messages
    assert (here.etc / "farm.toml.unapplied").read_text() == edited
    assert CHANGED in here.path.read_text()


def test_a_node_that_was_away_for_several_revisions_has_edited_nothing(here):
    _, second = here.settled_elsewhere('start = "bin/start"', CHANGED)
    # The parent of what it takes is a revision that was never here.
    record = here.store.load_record(SettingsRecord)
    other = here.store.load(second.id)
    third = Manifest.of(
        other.contents,
        executable=["bin/start", "bin/stop", "bin/other"],
        farm="apache",
        number=9,
        parents=("0" * 64,),
        author="root on web2",
        made_at=9,
    )
    here.store.save(third, other.contents)
    here.store.save_record(msgspec.structs.replace(record, settled=third.id, highest=9))
    assert [level for level, _ in told(here.start())] == ["info"]
    assert [path.name for path in here.etc.iterdir() if "unapplied" in path.name] == []
    assert CHANGED in here.path.read_text()
    assert here.store.load_record(WorkingCopyRecord, name=WORKING_COPY).revision == third.id


def test_a_daemon_killed_at_any_step_between_settling_and_the_end_of_writing_leaves_nothing_to_apply(memory):
    [killed] = run_killed("start_killed", memory)
    assert killed > 10


def test_take_file_makes_the_files_a_revision_that_nobody_follows(here):
    here.settled()
    here.edit(*EDIT)
    start = here.start(take_file=True)
    settled = start.record.settled
    assert (settled.number, start.record.ancestors, start.record.highest) == (2, (), 2)
    assert start.loaded.text == here.path.read_text()
    assert here.store.load(settled).manifest.author == TAKER
    [(level, message)] = told(start)
    assert level == "warning"
    assert "hcsidecar apply --take NODE" in message
    # From then on it is what the node goes by.
    again = here.start()
    assert (again.record, told(again)) == (start.record, [])
    assert told(here.start(take_file=True)) == [
        ("info", f"there is nothing to take: {here.path} is as {settled} has it")
    ]


def test_nodes_that_all_take_the_same_file_go_by_one_revision(memory):
    taken = []
    for name in ("one", "two"):
        (memory / name).mkdir()
        here = Here(memory / name)
        here.settled()
        here.path.write_text(here.text.replace(f'state_dir = "{memory / name}/s"', "").replace(*EDIT))
        taken.append(here.start(take_file=True).record.settled)
    assert taken[0] == taken[1]


def test_take_file_mends_a_revision_that_cannot_be_read(here):
    manifest = here.settled()
    (here.store.load(manifest.id).directory / FARM_FILE).unlink()
    assert here.start(take_file=True).record.settled.number == 2


def test_take_file_of_a_node_without_a_revision_takes_the_file_as_always(here):
    start = here.start(take_file=True)
    assert (start.record, told(start)) == (SettingsRecord(), [])


def test_take_file_refuses_a_wrong_file_and_files_that_are_no_bundle(here):
    here.settled()
    (here.etc / "bin/link").symlink_to("/etc/passwd")
    with pytest.raises(FarmFileError, match=r"--take-file: bin/link leads out of"):
        here.start(take_file=True)
    here.edit("[farm]", "[farm")
    with pytest.raises(FarmFileError):
        here.start(take_file=True)
    assert here.store.load_record(SettingsRecord) == here.record


def test_take_file_lets_a_farm_be_renamed(here):
    here.settled()
    here.edit('name = "apache"', 'name = "nginx"')
    directory = here.directory.parents[2] / "nginx/web1" / SETTINGS
    start = start_settings(here.path, see(here.path), directory, take_file=True)
    assert start.loaded.farm.farm.name == "nginx"
    assert here.found() is None, "the next start goes by it too"
