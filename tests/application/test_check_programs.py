"""Checks that run a program: command and custom, with programs that misbehave in every way."""

import asyncio
import contextlib
import os
import resource
import time

import pytest
from leftovers import living_below
from running_checks import running_checks
from waiting import until

from hcsidecar.core.farmfile.farm_file import CommandCheck, CustomCheck

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HCSIDECAR_FARM": "apache"}


@contextlib.contextmanager
def below(directory):
    """At the end nothing that was started there may live, and soon."""
    try:
        yield
    finally:
        end = time.monotonic() + 5
        while living_below(directory):
            assert time.monotonic() < end, living_below(directory)
            time.sleep(0.005)


@contextlib.asynccontextmanager
async def checking(directory, *checks):
    reports = []

    def report(name, complaint):
        reports.append(complaint)

    async with running_checks(*checks, directory=directory, environment=ENVIRONMENT, report=report) as running:
        running.begin(1)
        yield running, reports


def script(directory, text, name="check", mode=0o755):
    path = directory / name
    path.write_text(text)
    path.chmod(mode)
    return path


def command(*words, **options):
    return CommandCheck(type="command", name="QUEUE", command=words or ("check",), **({"interval": 3600} | options))


def custom(*words, **options):
    return CustomCheck(type="custom", name="WATCH", command=words or ("check",), **({"interval": 3600} | options))


def first_result(directory, check):
    async def scene():
        async with checking(directory, check) as (_, reports):
            await until(lambda: reports, limit=20, what="the first attempt")
            return reports[0]

    with below(directory):
        return asyncio.run(scene())


# Command


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("#!/bin/sh\nexit 0\n", None),
        ("#!/bin/sh\necho all is well; exit 0\n", None),
        ("#!/bin/sh\nexit 3\n", "exit status 3"),
        ("#!/bin/sh\necho looking; echo queue is full >&2; exit 1\n", "queue is full (exit status 1)"),
        ("#!/bin/sh\nkill -SEGV $$\n", "killed by SIGSEGV"),
        ("#!/bin/sh\nread line || exit 7\n", "exit status 7"),
        ('#!/bin/sh\n[ "$HCSIDECAR_FARM/$HCSIDECAR_CHECK" = apache/QUEUE ]\n', None),
        ('#!/bin/sh\n[ -z "$HOME" ]\n', None),
    ],
)
def test_the_exit_status_decides_and_the_last_line_is_the_reason(tmp_path, text, reason):
    script(tmp_path, text)
    assert first_result(tmp_path, command()) == reason


def test_arguments_are_passed_as_they_are_and_the_program_runs_beside_the_farm_file(tmp_path):
    (tmp_path / "bin").mkdir()
    script(tmp_path / "bin", '#!/bin/sh\necho "$PWD|$#|$1|$2"; exit 1\n')
    assert first_result(tmp_path, command("bin/check", "a b", "$HOME;*")) == (
        f"{tmp_path}|2|a b|$HOME;* (exit status 1)"
    )


def test_a_program_elsewhere_is_given_by_its_path(tmp_path):
    assert first_result(tmp_path, command("/bin/false")) == "exit status 1"


def test_a_gigabyte_of_output_costs_no_memory(tmp_path):
    script(tmp_path, "#!/bin/sh\nhead -c 1G /dev/zero; echo; echo done; exit 1\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert first_result(tmp_path, command(timeout=20)) == "done (exit status 1)"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


@pytest.mark.parametrize(
    "text",
    [
        "#!/bin/sh\nexec sleep 600\n",
        "#!/bin/sh\ntrap '' TERM INT HUP\nsleep 600 & sleep 600\n",
        "#!/bin/sh\nkill -STOP $$\n",
        "#!/bin/sh\nyes\n",
    ],
    ids=["hangs", "ignores signals and forks", "stops", "talks for ever"],
)
def test_one_that_hangs_fails_at_its_timeout_and_nothing_of_it_is_left(tmp_path, text):
    script(tmp_path, text)
    assert first_result(tmp_path, command(timeout=0.3)) == "no answer within 300ms"


def test_the_end_of_a_round_kills_what_runs(tmp_path):
    script(tmp_path, "#!/bin/sh\ntrap '' TERM\nsleep 600 & sleep 600\n")

    async def scene():
        async with checking(tmp_path, command(timeout=600)) as (running, reports):
            await until(lambda: len(living_below(tmp_path)) == 3, what="the program and its two children")
            running.begin(None)
            await until(lambda: not living_below(tmp_path), what="the end of all three")
            assert reports == []

    asyncio.run(scene())


def test_a_round_that_ends_while_a_program_is_being_started_leaves_nothing(tmp_path):
    script(tmp_path, "#!/bin/sh\nsleep 600 & sleep 600\n")

    async def scene():
        async with checking(tmp_path, command(timeout=600)) as (running, _):
            for number in range(30):
                running.begin(number)
                for _ in range(number % 10):
                    await asyncio.sleep(0)
            running.begin(None)
            await until(lambda: not living_below(tmp_path), what="the end of all")

    with below(tmp_path):
        asyncio.run(scene())


def test_what_it_leaves_behind_ends_with_it_and_delays_no_verdict(tmp_path):
    script(tmp_path, "#!/bin/sh\nsleep 600 &\necho done; exit 1\n")
    assert first_result(tmp_path, command()) == "done (exit status 1)"


def test_a_child_that_goes_its_own_way_delays_no_verdict(tmp_path):
    script(tmp_path, "#!/bin/sh\nsetsid sh -c 'echo $$ > pid; exec sleep 600' &\nexit 0\n")

    async def scene():
        async with checking(tmp_path, command()) as (_, reports):
            await until(lambda: reports, what="the verdict")
            assert reports == [None]

    asyncio.run(scene())
    for process in living_below(tmp_path):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, 9)


def test_a_command_never_runs_beside_itself(tmp_path):
    script(tmp_path, "#!/bin/sh\nmkdir lock || exit 9\nsleep 0.02\nrmdir lock\n")

    async def scene():
        async with checking(tmp_path, command(interval=0.01)) as (_, reports):
            await until(lambda: len(reports) >= 10, what="ten attempts")
            assert set(reports) == {None}

    with below(tmp_path):
        asyncio.run(scene())


# What cannot be run


def test_what_cannot_be_run_says_why_and_what_to_do(tmp_path):
    script(tmp_path, "#!/bin/sh\n", name="plain", mode=0o644)
    script(tmp_path, "#!/bin/sh\n", name="open", mode=0o757)
    script(tmp_path, "exit 0\n", name="bare")
    script(tmp_path, "#!/bin/sh\r\nexit 0\r\n", name="windows")
    (tmp_path / "wide").mkdir()
    (tmp_path / "wide").chmod(0o775)
    script(tmp_path / "wide", "#!/bin/sh\n")
    (tmp_path / "link").symlink_to(tmp_path / "wide" / "check")
    assert {
        name: first_result(tmp_path, command(name))
        for name in ("missing", "true", "plain", "open", "bare", "windows", "wide/check", "link", "wide")
    } == {
        "missing": f"there is no {tmp_path}/missing",
        "true": f"there is no {tmp_path}/true: write /usr/bin/true if that is meant",
        "plain": f"{tmp_path}/plain is not executable: chmod +x {tmp_path}/plain",
        "open": f"{tmp_path}/open can be written by others than its owner: chmod go-w {tmp_path}/open",
        "bare": f"{tmp_path}/bare cannot be run: exec format error: begin it with a line such as #!/bin/sh",
        "windows": f"{tmp_path}/windows cannot be run: the interpreter that its first line names is not there",
        "wide/check": f"{tmp_path}/wide can be written by others than its owner: chmod go-w {tmp_path}/wide",
        "link": f"{tmp_path}/wide can be written by others than its owner: chmod go-w {tmp_path}/wide",
        "wide": f"{tmp_path}/wide is not a file",
    }


# Custom


HANGS = "#!/bin/sh\necho watching $1\nexec sleep 600\n"


def test_a_custom_check_has_not_passed_before_its_first_word_and_then_is_as_it_says(tmp_path):
    script(tmp_path, HANGS)

    async def scene():
        async with checking(tmp_path, custom(timeout=0.05)) as (running, reports):
            await until(lambda: living_below(tmp_path), what="the program")
            assert reports == []
            assert [running.take_report("WATCH", word) for word in ("up", "down", "up")] == [None, None, None]
            assert reports == [None, "its program says down", None]

    with below(tmp_path):
        asyncio.run(scene())


def test_a_word_that_cannot_be_taken_is_refused_with_what_there_is(tmp_path):
    script(tmp_path, HANGS)

    async def scene():
        async with checking(tmp_path, custom(), command("/bin/true")) as (running, reports):
            await until(lambda: living_below(tmp_path), what="the program")
            assert running.take_report("NOBODY", "up") == "NOBODY is no custom check: there is WATCH"
            assert running.take_report("QUEUE", "up") == "QUEUE is no custom check: there is WATCH"
            assert running.take_report("WATCH", "sideways") == "a check is up or down, not sideways"
            running.begin(None)
            assert running.take_report("WATCH", "up") == "check WATCH does not run now"
            assert set(reports) <= {None}
        async with checking(tmp_path) as (running, _):
            assert running.take_report("WATCH", "up") == "WATCH is no custom check: there is none"

    with below(tmp_path):
        asyncio.run(scene())


def test_one_that_ends_is_started_again_and_fails_meanwhile(tmp_path):
    script(tmp_path, "#!/bin/sh\necho x >> runs\necho lost my mind\nexit 2\n")

    async def scene():
        async with checking(tmp_path, custom(interval=0.05)) as (_, reports):
            await until(lambda: len(reports) >= 3, what="three ends")
        assert set(reports) == {
            "its program must not end: lost my mind (exit status 2); it is started again after 50ms"
        }
        assert (tmp_path / "runs").read_text().count("x") >= 3

    with below(tmp_path):
        asyncio.run(scene())


def test_between_two_runs_no_word_is_taken(tmp_path):
    script(tmp_path, "#!/bin/sh\nexit 0\n")

    async def scene():
        async with checking(tmp_path, custom()) as (running, reports):
            await until(lambda: reports, what="the end")
            assert reports == ["its program must not end: exit status 0; it is started again after 1h"]
            assert running.take_report("WATCH", "up") == "the program of check WATCH is not running now"

    asyncio.run(scene())


def test_a_custom_program_that_is_not_there_is_a_failure(tmp_path):
    reason = first_result(tmp_path, custom("missing"))
    assert reason.startswith(f"its program must not end: there is no {tmp_path}/missing")


def test_the_end_of_a_round_kills_a_custom_program_with_its_children_and_the_next_starts_another(tmp_path):
    script(tmp_path, "#!/bin/sh\ntrap '' TERM\nsleep 600 & sleep 600\n")

    async def scene():
        async with checking(tmp_path, custom()) as (running, _):
            await until(lambda: len(living_below(tmp_path)) == 3, what="the program")
            former = set(living_below(tmp_path))
            running.begin(2)
            await until(lambda: len(set(living_below(tmp_path)) - former) == 3, what="the program anew")
            await until(lambda: not former & set(living_below(tmp_path)), what="the end of the former")

    with below(tmp_path):
        asyncio.run(scene())
