"""History: what each revision changed against its parent."""

from datetime import UTC

import msgspec

from hcsidecar.core.settings.history import FileChanges, file_changes, history, never_taken
from hcsidecar.core.settings.revision import FARM_FILE, Manifest

FIRST = {FARM_FILE: b"[farm]\n", "bin/start": b"", "bin/stop": b""}


def revision(contents, number, *parents, executable=(), author="root on web1", message=""):
    return Manifest.of(
        contents,
        executable=executable,
        farm="apache",
        number=number,
        parents=tuple(parent.id.digest for parent in parents),
        author=author,
        made_at=1_790_000_000 + number,
        message=message,
    )


first = revision(FIRST, 1)
second = revision({FARM_FILE: b"", "bin/start": b"", "bin/new": b""}, 2, first, executable={"bin/start"})


def test_each_revision_is_told_with_what_it_changed_newest_first():
    changes = FileChanges(added=("bin/new",), changed=("bin/start", FARM_FILE), removed=("bin/stop",))
    assert file_changes(first, second) == changes
    assert [(entry.number, entry.changes) for entry in history([first, second])] == [
        (2, changes),
        (1, FileChanges(added=("bin/start", "bin/stop", FARM_FILE))),
    ]


def test_nothing_is_claimed_of_a_revision_whose_parent_is_not_known_any_more():
    [entry] = history([second])
    assert entry.changes is None
    assert entry.line(UTC).endswith("root on web1")


def test_both_sides_of_a_conflict_are_told_and_its_end_is_compared_with_the_first_parent():
    other = revision({FARM_FILE: b"other"}, 2, first)
    end = revision({FARM_FILE: b"other"}, 3, other, second)
    entries = history([first, other, end, second])
    assert [entry.number for entry in entries] == [3, 2, 2, 1]
    assert entries[0].changes == FileChanges()
    assert entries[0].parents == (other.id.digest, second.id.digest)
    ended = f"; ended a conflict between {other.id.digest[:8]} and {second.id.digest[:8]} (nothing)"
    assert entries[0].line(UTC).endswith(ended)
    assert [entry.line(UTC).count("conflict") for entry in entries] == [1, 0, 0, 0]


def test_an_entry_is_one_line_whatever_its_author_wrote():
    [entry, _] = history([first, revision(FIRST | {FARM_FILE: b""}, 2, first, author="eve\n", message="a\n\x1b[2Jb")])
    assert entry.line(UTC) == f"revision 2 ({entry.digest[:8]}), 2026-09-21 14:13, eve: a [2Jb (farm.toml)"


def test_an_entry_says_so_where_nothing_changed():
    [entry, _] = history([first, revision(FIRST, 2, first, message="again")])
    assert entry.line(UTC).endswith("root on web1: again (nothing)")


def test_a_revision_that_several_nodes_have_made_alike_has_no_time():
    taken = msgspec.structs.replace(first, made_at=0, author="run --take-file")
    [entry] = history([taken])
    assert entry.line(UTC) == f"revision 1 ({entry.digest[:8]}), run --take-file (+bin/start +bin/stop +farm.toml)"


def test_only_what_was_checked_under_a_number_of_the_past_and_not_settled_was_never_taken():
    planned, refused, next_one = (revision(FIRST, number, message="planned").id for number in (1, 2, 3))
    stored = [first.id, second.id, planned, refused, next_one]
    assert never_taken(stored, settled=second.id, ancestors=(first.id,)) == [planned, refused]


def test_what_was_settled_before_a_node_was_started_by_its_own_file_is_kept():
    taken = revision(FIRST, 3, message="run --take-file").id
    assert never_taken([first.id, second.id, taken], settled=taken, ancestors=()) == []
