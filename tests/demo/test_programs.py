"""The demo's processes: what they say is read, and none is left."""

import asyncio
import signal
import socket

import pytest
from leftovers import living_below
from waiting import until

from hcsidecar.demo.plan import Plan
from hcsidecar.demo.programs import LONGEST_LINE, DemoError, DemoPrograms, Lines, Tool, find_tool, missing_tools
from hcsidecar.demo.putting_up import choose_plan, write_files
from hcsidecar.demo.stage import HAPROXY
from hcsidecar.demo.web import NGINX, WebServer

STUBBORN = "trap '' TERM; echo ready; sleep 60 & wait; wait"
"Ends for no SIGTERM, and has a child."


def with_programs(directory, use):
    """Run a coroutine that starts programs; gives the names of those that ended without being asked to."""
    fallen = []

    async def main():
        programs = DemoPrograms(directory, on_end=lambda program: fallen.append((program.name, program.status)))
        try:
            await use(programs)
        finally:
            await programs.end_all()

    asyncio.run(main())
    return fallen


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([b"one\ntwo\n"], ["one", "two"]),
        ([b"o", b"ne\r\nt", b"wo"], ["one"]),
        ([b"o", b"ne\nt", b"wo", b""], ["one", "two"]),
        ([b"\xff\n"], ["\ufffd"]),
        ([b""], []),
        ([b"x" * (LONGEST_LINE + 1), b"y\n"], ["x" * (LONGEST_LINE + 1), "y"]),
    ],
)
def test_output_is_cut_into_lines_however_it_comes(pieces, lines):
    splitter = Lines()
    assert [line for piece in pieces for line in splitter.feed(piece)] == lines


def test_a_commands_output_and_status_come_back(tmp_path):
    async def use(programs):
        lines = []
        status = await programs.run("talker", ["/bin/sh", "-c", "echo out; echo err >&2; exit 3"], on_line=lines.append)
        assert status == 3
        assert lines == ["out", "err"]

    assert with_programs(tmp_path, use) == []


def test_a_program_that_falls_is_reported_with_its_last_words(tmp_path):
    async def use(programs):
        program = programs.start("faller", ["/bin/sh", "-c", "seq 100; exit 7"])
        await program.ended.wait()
        assert programs.fallen == [program]
        assert program.last_words().endswith("    99\n    100")

    assert with_programs(tmp_path, use) == [("faller", 7)]


def test_a_program_that_was_told_to_end_is_no_news(tmp_path):
    async def use(programs):
        program = programs.start("sleeper", ["/bin/sleep", "60"])
        assert program.running
        await programs.end(program)
        assert program.status == -signal.SIGKILL
        await programs.end(program)

    assert with_programs(tmp_path, use) == []


def test_nobody_survives_the_end_not_even_the_children_of_the_stubborn(tmp_path):
    async def use(programs):
        lines = []
        program = programs.start("mule", ["/bin/sh", "-c", STUBBORN], on_line=lines.append, end_signal=signal.SIGTERM)
        await until(lambda: lines and len(living_below(tmp_path)) == 2)
        await programs.end(program)
        await until(lambda: not living_below(tmp_path))

    assert with_programs(tmp_path, use) == []


def test_children_of_a_program_that_falls_fall_with_it(tmp_path):
    async def use(programs):
        program = programs.start("parent", ["/bin/sh", "-c", "sleep 60 & exit 1"])
        await program.ended.wait()
        await until(lambda: not living_below(tmp_path))

    assert with_programs(tmp_path, use) == [("parent", 1)]


def test_a_command_that_is_cancelled_ends(tmp_path):
    async def use(programs):
        command = asyncio.create_task(programs.run("sleeper", ["/bin/sleep", "60"], on_line=print))
        await until(lambda: living_below(tmp_path))
        command.cancel()
        await asyncio.wait([command])
        assert command.cancelled()
        await until(lambda: not living_below(tmp_path))

    assert with_programs(tmp_path, use) == []


def test_a_program_that_is_not_there_is_an_error_in_its_output(tmp_path):
    async def use(programs):
        program = programs.start("nobody", ["/no/such/program"])
        await program.ended.wait()
        assert "/no/such/program" in program.last_words()

    assert with_programs(tmp_path, use) == [("nobody", 127)]


def test_tools_are_found_where_users_without_root_do_not_look():
    assert find_tool(Tool(name="haproxy", package="haproxy"), environment={"PATH": "/nowhere"})
    assert find_tool(Tool(name="no-such-tool", package="none")) is None


def test_missing_tools_are_named_with_their_packages():
    assert missing_tools(HAPROXY, NGINX) == (
        "the demo needs haproxy, nginx, not found here; on Debian, as root: apt-get install haproxy nginx-light"
    )


def test_two_demos_get_different_places(tmp_path):
    one, mark = choose_plan(tmp_path)
    other, second_mark = choose_plan(tmp_path)
    with mark, second_mark:
        assert one.number != other.number


@pytest.mark.parametrize("everywhere", [False, True])
def test_a_place_where_somebody_listens_is_left_to_them(tmp_path, everywhere):
    plan, mark = choose_plan(tmp_path)
    with mark:
        pass
    with socket.create_server(("0.0.0.0" if everywhere else plan.servers[2].address, plan.web_port)):
        other, mark = choose_plan(tmp_path)
        with mark:
            assert other.number != plan.number


def test_a_directory_too_long_for_sockets_is_refused_in_words(tmp_path):
    plan = Plan(directory=tmp_path / ("x" * 100), number=0)
    with pytest.raises(DemoError, match="a shorter TMPDIR helps"):
        write_files(plan, WebServer(tool=NGINX, path="/usr/sbin/nginx"))
