"""A running daemon whose threads, descriptors, processes or disk come to an end: checks fail, and the node goes on."""

import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from math import inf
from pathlib import Path

import pytest
from daemons import fetch, network_namespace, real_farm, wait_for

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
    reports = f"{sys.executable} -m hcsidecar report SELF up\nexec sleep 3600"
    for name, what in {"check": """echo '{"presence": "healthy"}'""", "stop": "exit 0", "reports": reports}.items():
        (directory / name).write_text(f"#!/bin/sh\n{what}\n")
        (directory / name).chmod(0o755)
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
        if farm.daemons["web1"].poll() is None:
            subprocess.run([*prlimit, f"--{name}={before}:"], check=True)


def descriptors_in_use(farm):
    """Give the limit with which the daemon can open nothing more: all below it are in use, and a few above."""
    directory = Path(f"/proc/{farm.daemons['web1'].pid}/fd")
    # A check that is being made has some for a moment: longer than from one to the next, the fewest count.
    end, fewest = time.monotonic() + 0.5, inf
    while time.monotonic() < end:
        fewest = min(fewest, max(int(each.name) for each in directory.iterdir()))
    return fewest - 3


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


def test_a_stop_without_any_more_threads_drains_and_ends_with_0():
    with limited_farm(extra=PAGE) as farm:
        ready(farm)
        with limit(farm, "nproc", 1):
            for _ in range(2):
                farm.daemons["web1"].send_signal(signal.SIGTERM)
                wait_for(lambda: farm.health("web1") in (404, 0))
            assert farm.daemons["web1"].wait(20) == 0
        assert "Traceback" not in farm.log("web1")


def test_a_daemon_that_gets_no_threads_at_its_start_says_so_and_ends_with_1():
    with limited_farm() as farm:
        for most in range(1, 6):
            # Its log, its workers and what it remembers have a thread each: without any one of them it does not start.
            farm._inside = [*farm.as_user, "prlimit", f"--nproc={most}:{most}"]
            farm.start()
            assert farm.daemons["web1"].wait(30) == 1
            # What its log has still to write may come after it.
            assert farm.log("web1").count("no thread can be started: ") == most
        assert "Traceback" not in farm.log("web1")


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


EVERYTHING = (
    PROGRAM
    + PROCESS
    + PAGE
    + """
[[check]]
type = "http"
name = "HEALTH"
address = "@1"
port = 9010
path = "/metrics"
interval = "400ms"
timeout = "5s"

[[check]]
type = "interface"
name = "LOOP"
interface = "lo"
interval = "300ms"
timeout = "5s"

[[check]]
type = "custom"
name = "SELF"
command = ["./reports"]
interval = "500ms"
timeout = "5s"
when = "pre"
action = "none"

[[target]]
type = "command"
name = "BALANCER"
command = ["./check"]
poll = "1s"

[application]
start = "./check"
stop = "./stop"
start_timeout = "5s"
stop_timeout = "5s"
"""
)
ROUNDS = 40


@pytest.mark.soak
def test_a_daemon_outlives_every_limit_that_is_put_on_it_while_it_runs():
    seed = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 10_000)
    print(f"SEED={seed}")  # noqa: T201 - pytest shows it
    chance = random.Random(seed)
    with limited_farm(extra=EVERYTHING) as farm:
        ready(farm)
        for _ in range(ROUNDS):
            squeeze(farm, chance)
            assert farm.daemons["web1"].poll() is None, "the daemon has ended"
        farm.act("web1", "start")
        wait_for(lambda: farm.health("web1") == 200, limit=60, what="Ready after all")
        assert "Traceback" not in farm.log("web1")
        # A line for each transition, and not for each attempt: in a round there were some hundred of these.
        said = Counter(line.partition(" web1 ")[2] for line in farm.log("web1").splitlines())
        assert [line for line, times in said.items() if times > 4 * ROUNDS] == []


def squeeze(farm, chance):
    """Put some limits on it for a while, and use it meanwhile."""
    choices = {
        "threads": lambda: limit(farm, "nproc", 1),
        "descriptors": lambda: limit(farm, "nofile", descriptors_in_use(farm) + chance.randrange(8)),
        "disk": lambda: limit(farm, "fsize", chance.choice([0, 4096])),
        "memory": lambda: limit(farm, "as", address_space(farm) + (chance.randrange(4, 32) << 20)),
        "processor": lambda: throttled(farm, chance.uniform(0.1, 0.9)),
    }
    with ExitStack() as stack:
        for name in chance.sample(list(choices), chance.randrange(1, 3)):
            stack.enter_context(choices[name]())
        for _ in range(chance.randrange(60)):
            with suppress(OSError):
                silent = stack.enter_context(socket.socket())
                silent.settimeout(1)
                silent.connect((farm.addresses["web1"], 9010))
        end = time.monotonic() + chance.uniform(0.3, 2)
        while time.monotonic() < end:
            with suppress(OSError, ValueError, http.client.HTTPException):
                use(farm, chance)


def use(farm, chance):
    """Do what balancers and operators do."""
    match chance.randrange(40):
        case 0:
            farm.act("web1", chance.choice(["restart", "drain", "resume", "stop", "start"]))
        case 1 | 2 | 3:
            farm.status("web1")
        case _:
            fetch(farm.url("web1"), timeout=1)


def address_space(farm):
    """Give the bytes of virtual memory that the daemon has."""
    pages = Path(f"/proc/{farm.daemons['web1'].pid}/statm").read_text().split()[0]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def throttled(farm, part):
    """Let the daemon run for a part of the time only, in turns of 100 ms, as a quota of the processor does."""
    daemon, over = farm.daemons["web1"], threading.Event()

    def keep_stopping():
        while not over.is_set():
            daemon.send_signal(signal.SIGSTOP)
            over.wait(0.1 * (1 - part))
            daemon.send_signal(signal.SIGCONT)
            over.wait(0.1 * part)

    stopping = threading.Thread(target=keep_stopping)
    stopping.start()
    try:
        yield
    finally:
        over.set()
        stopping.join()


LAYER_TWO = """
[l2]
interface = "eth0"
filter = "{}"
[[l2.vip]]
address = "192.0.2.50"
[[l2.share]]
name = "APACHE"
ports = [80]
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")
@pytest.mark.parametrize("kind", ["tc", "nfqueue"])
def test_a_node_with_a_virtual_ip_keeps_it_while_there_are_no_descriptors(kind):
    def addresses():
        return subprocess.check_output(["ip", "-n", netns, "address", "show", "lo"], text=True)

    with (
        network_namespace() as netns,
        limited_farm(user=None, netns=netns, prefix="192.0.2.", extra=LAYER_TWO.format(kind)) as farm,
    ):
        for command in ("link add eth0 type veth peer eth1", "link set eth1 arp off up", "link set eth0 up"):
            subprocess.run(["ip", "-n", netns, *command.split()], check=True)
        subprocess.run(["ip", "-n", netns, "address", "add", "192.0.2.1/24", "dev", "eth0"], check=True)
        farm.start()
        wait_for(lambda: farm.view("web1") == ["web1"], what="a view")
        with limit(farm, "nofile", descriptors_in_use(farm)):
            wait_for(lambda: lines(farm, "too many open files") or lines(farm, "Too many open files"))
            end = time.monotonic() + 6
            # Three looks at the machine, of which two without a filter would take the address away.
            wait_for(lambda: time.monotonic() > end or "192.0.2.50" not in addresses())
            assert "192.0.2.50" in addresses()
        wait_for(lambda: farm.status("web1"))
        assert farm.view("web1") == ["web1"]
        assert farm.daemons["web1"].poll() is None
        assert "Traceback" not in farm.log("web1")
        assert len(lines(farm, "open files")) < 8
