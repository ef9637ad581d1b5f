"""The application log: a file for each run, listed, shown and followed, and nothing else that lies there."""

import asyncio
import json
import os
import tempfile
from pathlib import Path
from urllib.parse import quote

import pytest
from api_nodes import ask, running
from hypothesis import given
from hypothesis import strategies as st

from hcsidecar.application.run_logs import PAGE_BYTES, NoSuchRunError, list_runs, read_end, read_on

START = "20261128T034001.123Z_start"
STOP = "20261128T040000.000Z_stop_force"


def write(directory, name, text, *, old=None):
    directory.mkdir(exist_ok=True, parents=True)
    (directory / f"{name}.log").write_text(text)
    if old is not None:
        (directory / f"{name}.log.old").write_text(old)


def append(path, text):
    with path.open("a") as file:
        file.write(text)


def all_of(directory, name, place="0"):
    text, missed = "", False
    while True:
        page = read_on(directory, "web1", name, place=place)
        text, missed, place = text + page.text, missed or page.missed, page.next
        if not page.more:
            return text, missed, place


def test_runs_are_listed_the_newest_last_with_the_size_of_both_parts(tmp_path):
    write(tmp_path, STOP, "1234", old="56")
    write(tmp_path, START, "12")
    for other in ("notes.log", "20261128T034001.123Z_start", "20269928T034001.123Z_start.log", f"{START}.log.gz"):
        (tmp_path / other).write_text("not a run")
    (tmp_path / "20261128T050000.000Z_link.log").symlink_to("/etc/passwd")
    (tmp_path / "20261128T050000.000Z_directory.log").mkdir()
    os.mkfifo(tmp_path / "20261128T050000.000Z_fifo.log")
    first, second = list_runs(tmp_path, "web1").runs
    assert (first.name, first.script, first.size, first.started) == (START, "start", 2, 1795837201.123)
    assert (second.name, second.script, second.size) == (STOP, "stop_force", 6)
    assert [run.name for run in list_runs(tmp_path, "web1", most=1).runs] == [STOP]


def test_where_no_script_has_run_the_list_is_empty(tmp_path):
    assert list_runs(tmp_path / "application", "web1").runs == ()
    with pytest.raises(NoSuchRunError):
        read_on(tmp_path / "application", "web1", "last", place="0")


def test_the_older_part_comes_first_and_the_last_lines_may_be_in_both(tmp_path):
    write(tmp_path, START, "three\nfour\n", old="one\ntwo\n")
    assert all_of(tmp_path, START)[0] == "one\ntwo\nthree\nfour\n"
    page = read_end(tmp_path, "web1", "last", lines=3)
    assert (page.name, page.text) == (START, "two\nthree\nfour\n")
    assert read_end(tmp_path, "web1", START, lines=0).text == ""
    append(tmp_path / f"{START}.log", "five\n")
    assert read_on(tmp_path, "web1", START, place=page.next).text == "five\n"


def test_a_follower_loses_nothing_to_a_rotation_and_is_told_of_two(tmp_path):
    write(tmp_path, START, "one\n")
    log, old = tmp_path / f"{START}.log", tmp_path / f"{START}.log.old"
    text, _, place = all_of(tmp_path, START)
    append(log, "two\n")
    log.rename(old)
    log.write_text("three\n")
    text, missed, place = all_of(tmp_path, START, place)
    assert (text, missed) == ("two\nthree\n", False)
    before = place
    for line in ("four\n", "five\n"):
        log.rename(old)
        log.write_text(line)
    text, missed, place = all_of(tmp_path, START, before)
    assert (text, missed) == ("four\nfive\n", True)


def test_a_long_output_comes_in_pages_and_its_end_fits_in_one(tmp_path):
    whole = "".join(f"{n} é\n" for n in range(100_000))
    write(tmp_path, START, whole[400_000:], old=whole[:400_000])
    assert all_of(tmp_path, START)[0] == whole
    end = read_end(tmp_path, "web1", START, lines=1_000_000)
    assert whole.endswith(end.text.lstrip("\ufffd"))
    assert PAGE_BYTES - 10 < len(end.text.encode()) <= PAGE_BYTES + 3


@given(st.lists(st.binary(max_size=6), max_size=12))
def test_bytes_of_any_kind_are_shown_without_cutting_characters(parts):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / f"{START}.log"
        path.touch()
        shown, place = "", "0"
        for part in parts:
            with path.open("ab") as file:
                file.write(part)
            text, missed, place = all_of(Path(directory), START, place)
            assert not missed
            shown += text
        assert b"".join(parts).decode("utf-8", "replace").startswith(shown)
        assert len(b"".join(parts)) - int(place.partition("-")[2] or 0) <= 3


def asked(tmp_path, *questions):
    async def story():
        async with running(["web1", "web2"], tmp_path) as nodes:
            return [await ask(nodes["web1"], "GET", question) for question in questions]

    return asyncio.run(story())


@pytest.mark.parametrize("node", ["web1", "web2"])
def test_the_api_lists_and_shows_runs_of_this_node_and_of_another(tmp_path, node):
    write(tmp_path / node, START, "one\ntwo\n")
    prefix = f"/api/v1/nodes/{node}/runs"
    listed, end, begin, newest = asked(
        tmp_path, prefix, f"{prefix}/{START}?last=1", f"{prefix}/{START}?after=0", f"{prefix}/last"
    )
    run = {"name": START, "script": "start", "started": 1795837201.123, "size": 8}
    assert listed == (200, {"node": node, "runs": [run]})
    assert (end[1]["text"], begin[1]["text"], newest[1]["name"]) == ("two\n", "one\ntwo\n", START)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/20261128T034001.123Z_stop", 404),
        ("/..", 404),
        ("/" + quote("../web2/" + START, safe=""), 404),
        ("/" + quote(f"{START}.log", safe=""), 404),
        ("/" + quote(f"{START}\0", safe=""), 404),
        (f"/{START}/more", 404),
        ("/20261128T050000.000Z_link", 503),
        ("/20261128T050000.000Z_fifo", 404),
        ("/20261128T050000.000Z_directory", 404),
        (f"/{START}?after=1&last=1", 400),
        (f"/{START}?after=-1", 400),
        (f"/{START}?after=1-99999999999999999999", 400),
        (f"/{START}?last=many", 400),
        (f"/{START}?first=1", 400),
        ("?after=1", 400),
    ],
)
def test_what_is_no_run_is_not_shown(tmp_path, path, status):
    directory = tmp_path / "web1"
    write(directory, START, "one\n")
    (tmp_path / "secret").write_text("secret")
    (directory / "20261128T050000.000Z_link.log").symlink_to(tmp_path / "secret")
    (directory / "20261128T050000.000Z_directory.log").mkdir()
    os.mkfifo(directory / "20261128T050000.000Z_fifo.log")
    [(found, document)] = asked(tmp_path, f"/api/v1/runs{path}")
    assert found == status
    assert set(document) == {"reason"}
    assert "secret" not in json.dumps(document)
