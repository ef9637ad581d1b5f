"""What an operator reads of files that were edited and not applied."""

from datetime import UTC

from hcsidecar.core.settings.edits import Edit, edits_in_words

NOON = 1_790_000_000 // 86_400 * 86_400 + 12 * 3600


def words(*edits):
    return edits_in_words(edits, now=NOON, zone=UTC)


def test_nothing_is_said_where_nothing_was_edited():
    assert words() is None


def test_an_edit_is_told_with_its_time_of_day_and_an_older_one_with_its_day():
    assert words(Edit(name="farm.toml", kind="edited", at=NOON - 60)) == "farm.toml was edited at 11:59; not applied"
    assert words(Edit(name="farm.toml", kind="edited", at=NOON - 86_400)) == (
        "farm.toml was edited at 2026-09-20 12:00; not applied"
    )
    assert words(Edit(name="farm.toml", kind="edited")) == "farm.toml was edited; not applied"


def test_a_farm_file_that_could_not_be_applied_is_told_as_wrong():
    told = words(Edit(name="farm.toml", kind="edited", at=NOON, is_wrong=True))
    assert told == "farm.toml was edited at 12:00 and is wrong, as hcsidecar check-config tells; not applied"


def test_missing_and_new_files_are_told_and_only_the_first_by_name():
    edits = [Edit(name="bin/a", kind="missing"), Edit(name="bin/b", kind="new", at=NOON), Edit(name="c", kind="edited")]
    first = "bin/a is missing, bin/b was made at 12:00, c was edited"
    assert words(*edits) == f"{first}; not applied"
    assert words(*edits, Edit(name="d", kind="missing")) == f"{first}, one more; not applied"
    assert words(*edits, *edits) == f"{first}, 3 more; not applied"
