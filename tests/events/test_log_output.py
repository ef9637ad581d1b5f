"""Log lines: their styles, and that nobody ever waits for the one who reads them."""

import json
import logging
import os
import pty
import re
import select
import time

import pytest
from aiohttp.http_exceptions import BadHttpMessage

from hcsidecar.core.events import Event, Level
from hcsidecar.events.journal import Journal
from hcsidecar.events.log_output import LineWriter, Style, choose_style, configure, log_entry, render

AT = 1700000000.25


@pytest.fixture(autouse=True)
def as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def read(fd, *, until, limit=5.0):
    """Read from a descriptor until the bytes have come; fail after the limit in seconds."""
    end = time.monotonic() + limit
    got = b""
    while until not in got:
        ready, _, _ = select.select([fd], [], [], max(0, end - time.monotonic()))
        assert ready, f"{until!r} did not come within {limit} s, only {got[-200:]!r}"
        got += os.read(fd, 65536)
    return got.decode()


def line(style, level=Level.WARNING):
    return render(style, level=level, node="web1", origin="check", message="port 80 closed", at=AT)


def test_a_file_gets_date_and_time():
    assert line(Style.FILE) == "2023-11-14T22:13:20.250Z web1 warning check: port 80 closed"


def test_a_terminal_gets_time_of_day_and_colour():
    assert line(Style.TERMINAL).endswith(".250 web1 \x1b[33mwarning\x1b[0m check: port 80 closed")


def test_a_terminal_that_wants_no_escapes_gets_none():
    assert line(Style.PLAIN_TERMINAL).endswith(".250 web1 warning check: port 80 closed")


@pytest.mark.parametrize(
    ("environment", "style"),
    [
        ({}, Style.TERMINAL),
        ({"NO_COLOR": "", "TERM": "xterm"}, Style.TERMINAL),
        ({"NO_COLOR": "1"}, Style.PLAIN_TERMINAL),
        ({"TERM": "dumb"}, Style.PLAIN_TERMINAL),
    ],
)
def test_who_wants_no_colours_says_so_in_the_environment(environment, style):
    ours, theirs = pty.openpty()
    assert choose_style(as_json=False, fd=theirs, environment=environment) is style
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize(
    ("level", "priority"),
    [(Level.DEBUG, "<7>"), (Level.INFO, "<6>"), (Level.WARNING, "<4>"), (Level.ERROR, "<3>")],
)
def test_journald_gets_the_priority_and_no_time(level, priority):
    assert line(Style.JOURNAL, level) == f"{priority}web1 check: port 80 closed"


def test_a_program_gets_json():
    assert json.loads(line(Style.JSON)) == {
        "time": "2023-11-14T22:13:20.250Z",
        "node": "web1",
        "level": "warning",
        "origin": "check",
        "message": "port 80 closed",
    }


def test_the_style_follows_from_where_the_log_goes(pipe):
    _, fd = pipe
    status = os.fstat(fd)
    journal = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    assert choose_style(as_json=False, fd=fd, environment={}) is Style.FILE
    assert choose_style(as_json=False, fd=fd, environment=journal) is Style.JOURNAL
    assert choose_style(as_json=False, fd=fd, environment={"JOURNAL_STREAM": "1:1"}) is Style.FILE
    assert choose_style(as_json=True, fd=fd, environment=journal) is Style.JSON
    ours, theirs = pty.openpty()
    assert choose_style(as_json=False, fd=theirs, environment=journal) is Style.TERMINAL
    os.close(ours)
    os.close(theirs)


def test_what_the_journal_writes_is_in_the_log(pipe):
    reading, writing = pipe
    writer = configure(node="web1", fd=writing, as_json=True)
    held = Journal(node="web1", log=log_entry, clock=lambda: AT)
    held.write(Event(level=Level.DEBUG, origin="daemon", message="not at this level"))
    held.write(Event(level=Level.WARNING, origin="membership", message="web2 lost"))
    writer.close()
    assert json.loads(read(reading, until=b"\n")) == {
        "time": "2023-11-14T22:13:20.250Z",
        "node": "web1",
        "level": "warning",
        "origin": "membership",
        "message": "web2 lost",
    }


def test_a_librarys_error_comes_as_one_line_with_its_traceback(pipe):
    reading, writing = pipe
    writer = configure(node="web1", fd=writing)
    try:
        int("broken\n<0>forged")
    except ValueError:
        logging.getLogger("asyncio").exception("Task exception was never retrieved")
    logging.getLogger("aiohttp.client").warning("Unclosed connection")
    writer.close()
    first, second = read(reading, until=b"Unclosed connection\n").splitlines()
    assert "web1 error   asyncio: Task exception was never retrieved | Traceback" in first
    assert first.endswith("invalid literal for int() with base 10: 'broken\\n<0>forged'")
    assert "web1 warning aiohttp.client: Unclosed connection" in second


def test_garbage_from_the_network_does_not_fill_the_log(pipe):
    reading, writing = pipe
    writer = configure(node="web1", fd=writing)
    for _ in range(100):
        logging.getLogger("aiohttp.server").error("Error", exc_info=BadHttpMessage("garbage"))
    Journal(node="web1", log=log_entry).write(Event(level=Level.INFO, origin="daemon", message="started"))
    writer.close()
    assert read(reading, until=b"started\n").count("\n") == 1


def test_a_reader_who_hangs_makes_nobody_wait_and_is_told_what_it_missed(pipe):
    reading, writing = pipe
    writer = LineWriter(writing, lost=lambda count: f"lost {count}", size=10)
    # Nobody reads before all of this is over: waiting for a reader would last for ever.
    for _ in range(3000):
        writer.line("x" * 1000)
    writer.close(limit=0.01)
    text = ""
    while (written := text.count("x" * 1000)) + sum(map(int, re.findall(r"lost (\d+)\n", text))) < 3000:
        text += read(reading, until=b"\n")
    writer.close()
    assert written < 200


def test_what_was_missed_is_told_also_when_the_log_ends_before_there_was_room(pipe):
    reading, writing = pipe
    writer = LineWriter(writing, lost=lambda count: f"lost {count}", size=2)
    too_much = "x" * (1 << 17)  # for the pipe: the thread waits in its midst
    writer.line(too_much)
    select.select([reading], [], [], 5)
    for text in (too_much, "a", "nobody has room for this"):
        writer.line(text)
    read(reading, until=b"\n")
    select.select([reading], [], [], 5)  # the second one is being written: there is room for the end
    writer.close(limit=0.01)
    assert read(reading, until=b"lost 1\n").endswith("\na\nlost 1\n")
    writer.close()


def test_a_non_blocking_terminal_still_gets_every_line(pipe):
    reading, writing = pipe
    os.set_blocking(writing, False)
    writer = LineWriter(writing, lost=lambda count: f"lost {count}")
    for n in range(900):
        writer.line(f"{n:0500}")
    writer.line("end")
    text = read(reading, until=b"end\n")
    writer.close()
    assert [int(part) for part in text.split()[:-1]] == list(range(900))


def test_a_reader_who_is_gone_harms_nobody():
    reading, writing = os.pipe()
    os.close(reading)
    writer = LineWriter(writing, lost=str)
    writer.line("nobody reads this")
    writer.close()
    writer.close()
    os.close(writing)
