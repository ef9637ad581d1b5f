"""A running daemon whose threads, descriptors, processes or disk come to an end: checks fail, and the node goes on."""

import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from daemons import fetch, real_farm, wait_for

USER = 61_234
"Nobody else's, so that a limit of its processes counts ours alone."

PROGRAM = """
[[check]]
type = "command"
name = "PROGRAM"
command = ["./check"]
interval = "300ms"
timeout = "5s"
"""
PROCESS = """
[[check]]
type = "process"
name = "PROCESS"
process = "python"
at_least = 1
interval = "300ms"
timeout = "5s"
"""
PAGE = """
[[check]]
type = "tcp"
name = "PAGE"
address = "@1"
port = 9010
interval = "300ms"
timeout = "5s"
"""


@contextmanager
def limited_farm(**more):
    """Give a farm of one node that belongs to an ordinary user, whose limits bind it."""
    directory = Path(tempfile.mkdtemp(prefix="hcsidecar-"))
    check = directory / "check"
    check.write_text("#!/bin/sh\nexit 0\n")
    check.chmod(0o755)
    more.setdefault("user", USER if os.geteuid() == 0 else None)
    try:
        with real_farm(directory, names=("web1",), **more) as farm:
            yield farm
    finally:
        shutil.rmtree(directory)


@contextmanager
def limit(farm, name, value):
    """Put a soft limit on the running daemon for a while, named as prlimit(1) has it."""
    # Its own user may do so, and root in a container may not.
    prlimit = [*farm.as_user, "prlimit", f"--pid={farm.daemons['web1'].pid}"]
    asked = [*prlimit, f"--{name}", "--output=SOFT", "--noheadings"]
    before = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run([*prlimit, f"--{name}={value}:"], check=True)
    try:
        yield
    finally:
        subprocess.run([*prlimit, f"--{name}={before}:"], check=True)


def descriptors_in_use(farm):
    """Give the limit with which the daemon can open nothing more: all below it are in use, and a few above."""
    return max(int(each.name) for each in Path(f"/proc/{farm.daemons['web1'].pid}/fd").iterdir()) - 3


def lines(farm, text):
    return [line for line in farm.log("web1").splitlines() if text in line]


def ready(farm):
    farm.start()
    wait_for(lambda: farm.health("web1") == 200, what="Ready")
    return farm


def fails_and_comes_back(farm, what, value, *, says):
    """Limit it, and see that the check says so, the node lives, and all is well again when the limit is over."""
    with limit(farm, what, value):
        # No probe meanwhile: what one gives back of the reserve, the check would use.
        wait_for(lambda: lines(farm, " fails: ") or farm.daemons["web1"].poll() is not None, what="a failed check")
        assert farm.daemons["web1"].poll() is None
        status, headers, _ = fetch(farm.url("web1"))
        assert (status, says in headers["x-farm-reason"]) == (404, True)
    wait_for(lambda: farm.health("web1") == 200, what="Ready again")
    assert "Traceback" not in farm.log("web1")


@pytest.mark.parametrize("check", [PROGRAM, PROCESS], ids=["command", "process"])
def test_a_check_for_which_no_thread_can_be_started_fails_and_the_node_lives_on(check):
    with limited_farm(extra=check) as farm:
        fails_and_comes_back(ready(farm), "nproc", 1, says="no thread can be started")


@pytest.mark.parametrize("check", [PROGRAM, PROCESS, PAGE], ids=["command", "process", "tcp"])
def test_a_check_without_a_descriptor_fails_and_the_node_lives_on(check):
    with limited_farm(extra=check) as farm:
        ready(farm)
        fails_and_comes_back(farm, "nofile", descriptors_in_use(farm), says="too many open files")


def test_a_probe_is_answered_while_more_silent_connections_than_descriptors_come():
    with limited_farm(extra=PROGRAM) as farm, ExitStack() as stack:
        ready(farm)
        with limit(farm, "nofile", 64):
            for _ in range(180):
                silent = stack.enter_context(socket.socket())
                silent.settimeout(5)
                silent.connect((farm.addresses["web1"], 9010))
            for _ in range(20):
                assert fetch(farm.url("web1"))[0] in (200, 404)
            wait_for(lambda: farm.status("web1"), what="an answer on the control socket")
        stack.close()
        wait_for(lambda: farm.health("web1") == 200, what="Ready again")
        assert len(lines(farm, "descriptors")) <= 2
        assert "Traceback" not in farm.log("web1")
