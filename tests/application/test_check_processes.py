"""Process checks against real processes, and what runs beside the loop: threads and regular expressions."""

import asyncio
import contextlib
import re
import subprocess

import pytest
from waiting import turns_beside, until

from hcsidecar.application.checkers import pattern, process
from hcsidecar.core.farmfile.farm_file import ProcessCheck
from hcsidecar.system.blocking_calls import BlockingCalls

HOSTILE = "(a|aa)+$"
VICTIM = "a" * 40 + "b"


def check(**options):
    return ProcessCheck(type="process", name="PROC", **options)


@contextlib.contextmanager
def running(directory, *, name="hct-worker", arguments=("600",), count=1):
    """Let processes of a name of their own run."""
    program = directory / name
    program.symlink_to("/usr/bin/sleep")
    processes = [subprocess.Popen([program, *arguments]) for _ in range(count)]
    try:
        yield processes
    finally:
        for started in processes:
            started.kill()
            started.wait()
        program.unlink()


def count(**options):
    """Give how many processes a check counts, from its own words."""
    text = process.look(check(at_least=1_000_000, **options))
    return int(re.search(r": (none|\d+)", text)[1].replace("none", "0"))


def test_processes_are_counted_by_name_and_by_command_line(tmp_path):
    with running(tmp_path, count=3):
        assert count(process="hct-worker") == 3
        assert count(command_line=f"^{re.escape(str(tmp_path))}/hct-worker 600$") == 3
        assert count(process="hct-worker", command_line="no such") == 0
        assert process.look(check(process="hct-worker", at_least=3, at_most=3)) is None
        assert process.look(check(process="hct-worker", at_most=2)) == "hct-worker: 3 run, more than 2"
    assert process.look(check(process="hct-worker")) == "hct-worker: none runs"


def test_a_name_longer_than_the_kernel_keeps_is_found(tmp_path):
    with running(tmp_path, name="hct-a-long-name-of-a-program"):
        assert count(process="hct-a-long-name-of-a-program") == 1


def test_a_process_that_has_ended_and_is_not_waited_for_does_not_count(tmp_path):
    with running(tmp_path) as (worker,):
        worker.kill()
        asyncio.run(until(lambda: count(process="hct-worker") == 0, what="its end"))
        assert worker.returncode is None


def test_a_unit_has_its_processes_by_their_control_group(tmp_path):
    for number, cgroup in [(1, "/init.scope"), (71, "/system.slice/apache2.service"), (72, "/system.slice/b.service")]:
        directory = tmp_path / "proc" / str(number)
        directory.mkdir(parents=True)
        (directory / "stat").write_text(f"{number} (apache2) S 1")
        (directory / "cgroup").write_text(f"0::{cgroup}\n")
    (tmp_path / "proc" / "73").mkdir()  # one that ends while it is looked at
    systemctl = tmp_path / "systemctl"
    systemctl.write_text("#!/bin/sh\necho LoadState=loaded; echo ActiveState=$(cat ${0%/*}/state)\n")
    systemctl.chmod(0o755)

    def say(state, **options):
        (tmp_path / "state").write_text(state)
        return process.look(check(unit="apache2.service", **options), tmp_path / "proc", str(systemctl))

    assert say("active") is None
    assert say("active", at_most=0, at_least=0) == "apache2.service: 1 runs, more than 0"
    assert say("active", process="nginx") == "nginx, apache2.service: none runs"
    assert say("failed") == "apache2.service is failed"


def test_without_a_proc_there_is_a_reason(tmp_path):
    assert process.look(check(process="a"), tmp_path / "proc") == f"{tmp_path}/proc: No such file or directory"


def test_counting_many_processes_holds_up_nothing(tmp_path):
    for number in range(1, 4001):
        directory = tmp_path / str(number)
        directory.mkdir()
        (directory / "stat").write_text(f"{number} (apache2) S 1")
        (directory / "cmdline").write_bytes(b"apache2\0-k\0start\0")

    async def scene():
        calls = BlockingCalls("check")
        many = check(process="apache2", command_line="-k start", at_least=4000, at_most=4000)
        return await turns_beside(calls.run(lambda: process.look(many, tmp_path)), process.look)

    found, turns = asyncio.run(scene())
    assert found is None
    assert turns >= 3


# Patterns


def test_a_pattern_that_would_take_years_is_given_up_and_holds_up_nothing():
    def look():
        with pytest.raises(pattern.TooSlowError) as caught:
            pattern.count_matches(HOSTILE, [VICTIM])
        return str(caught.value)

    async def scene():
        return await turns_beside(BlockingCalls("check").run(look), pattern.count_matches)

    reason, turns = asyncio.run(scene())
    assert reason == "the pattern takes longer than 1s to look for: make it simpler"
    assert turns >= 10


def test_a_hostile_pattern_on_a_command_line_is_a_failure_with_a_reason(tmp_path):
    directory = tmp_path / "1"
    directory.mkdir()
    (directory / "stat").write_text("1 (a) S 1")
    (directory / "cmdline").write_text(VICTIM)
    assert process.look(check(command_line=HOSTILE), tmp_path) == pattern.TOO_SLOW


def test_the_limit_is_for_all_texts_together():
    texts = iter(["a" * 24 + "b"] * 10_000)
    with pytest.raises(pattern.TooSlowError):
        pattern.count_matches(HOSTILE, texts)
    assert next(texts, None) is not None
