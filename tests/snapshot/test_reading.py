"""Parts of a snapshot are read side by side: one that hangs or fails holds up no other."""

import threading

import pytest

from hcsidecar.snapshot.machine import machine_parts
from hcsidecar.snapshot.reading import MissingError, Reading, read_all, said_by, sections
from hcsidecar.snapshot.where import Where, find_where, stored_nodes


def test_a_part_that_hangs_or_fails_says_so_and_the_others_are_there():
    hang = threading.Event()

    def missing():
        raise MissingError("it is not installed")

    def refused():
        raise PermissionError(13, "Permission denied", "/x")

    readings = [
        Reading(name="hangs", about="", read=lambda: str(hang.wait()), seconds=0.2),
        Reading(name="missing", about="", read=missing),
        Reading(name="refused", about="", read=refused),
        Reading(name="wrong", about="", read=lambda: str(int("x1"))),
        Reading(name="there", about="", read=lambda: "text"),
    ]
    try:
        parts = {part.name: part for part in read_all(readings)}
    finally:
        hang.set()

    assert {name: part.lacking for name, part in parts.items()} == {
        "hangs": "it was not read within 0.2 s",
        "missing": "it is not installed",
        "refused": "/x cannot be read: Permission denied",
        "wrong": "it cannot be read: ValueError: invalid literal for int() with base 10: 'x1'",
        "there": "",
    }
    assert parts["there"].text == "text"


def test_a_section_that_fails_has_its_reason():
    assert sections(one_two=lambda: "text", three=lambda: str(int("x1"))) == (
        "# one two\ntext\n\n# three\n(ValueError: invalid literal for int() with base 10: 'x1')\n"
    )


def test_what_a_program_says_is_taken_also_of_its_errors():
    assert said_by("sh", "-c", "echo out; echo wrong >&2; exit 3") == "out\nwrong\n"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("/nonexistent",), "not installed"),
        (("sh", "-c", "exit 3"), "status 3"),
        (("sleep", "60"), "did not end"),
    ],
)
def test_a_program_that_is_missing_fails_or_hangs_is_told(words, why):
    with pytest.raises(MissingError, match=why):
        said_by(*words, seconds=1)


def test_without_its_secrets_nothing_of_a_machine_is_shown(tmp_path):
    config = tmp_path / "farm.toml"
    config.write_text("[farm]\n")

    def fail(_where):
        raise OSError(5, "Input/output error")

    parts, scrubber = machine_parts(Where(config=config), secrets=fail)

    assert scrubber is None
    assert [part.text for part in parts if part.text] == []
    assert all("Input/output error" in part.lacking for part in parts)


def test_nodes_are_found_by_their_stored_events_where_the_farm_file_is_broken(tmp_path):
    config = tmp_path / "farm.toml"
    config.write_text(f'[farm\nstate_dir = "{tmp_path}/s"\n')
    state = tmp_path / "s" / "apache" / "web1"
    state.mkdir(parents=True)
    (state / "events.db").touch()

    assert list(stored_nodes(config.read_text())) == [("web1", state)]
    assert find_where(config, None) == Where(config=config, node="web1", state_dir=state)
