"""Network namespaces of a test's own: made under unique names, entered by threads, removed whatever happens.

Python 3.11 has no os.setns, so a thread enters one through the C library (setns(2)). A socket belongs for all its life
to the namespace in which it was made, whichever thread uses it later.
"""

import contextlib
import ctypes
import itertools
import json
import os
import signal
import subprocess
import time
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_HERE = Path("/proc/thread-self/ns/net")
_NAMED = Path("/run/netns")
_libc = ctypes.CDLL(None, use_errno=True)
_sites = itertools.count(1)


def unique_prefix():
    """Give a prefix for the names of a site's namespaces that nobody else on this machine uses."""
    return f"hct{os.getpid()}-{next(_sites)}-"


def run(namespace, *command, check=True):
    """Run a program in a namespace; give what it wrote to its standard output."""
    done = subprocess.run(
        ["ip", "netns", "exec", namespace, *map(str, command)], capture_output=True, text=True, check=False, timeout=60
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))} in {namespace}: {done.stdout}{done.stderr}")
    return done.stdout


def configure(namespace, lines):
    """Give many `ip` commands to one process, in this order; without the word `ip`."""
    command = ["ip", "-n", namespace, "-batch", "-"]
    done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"in {namespace}: {done.stderr}\n" + "\n".join(lines)
    if any(" nodad" in line for line in lines):
        _wait_for_local_routes(namespace)


def _wait_for_local_routes(namespace):
    """Wait until the kernel takes packets to every IPv6 address of the interfaces that work.

    `ip` returns when the address stands at its interface; a work queue of the kernel makes the route to it, on a busy
    machine later. Until then who connects to it is told that the network is unreachable.
    """
    end = time.monotonic() + 10
    while missing := _ipv6_addresses(namespace) - _local_routes(namespace):
        assert time.monotonic() < end, f"in {namespace} there is no local route to {sorted(missing)}"
        time.sleep(0.01)


def _ipv6_addresses(namespace):
    return {
        held["local"]
        for interface in _shown(namespace, "address", "show", "up")
        if interface["operstate"] in ("UP", "UNKNOWN")
        for held in interface["addr_info"]
        if not held.get("tentative")
    }


def _local_routes(namespace):
    return {route["dst"] for route in _shown(namespace, "route", "show", "table", "local")}


def _shown(namespace, *what):
    shown = subprocess.run(
        ["ip", "-n", namespace, "-6", "-j", *what], capture_output=True, text=True, check=True, timeout=60
    )
    return [each for each in json.loads(shown.stdout or "[]") if each]


def set_kernel(namespace, values):
    """Set kernel parameters (sysctl) of a namespace, by their names with slashes."""
    with inside(namespace):
        for name, value in values.items():
            Path("/proc/sys/net", name).write_text(str(value))


@contextlib.contextmanager
def inside(namespace):
    """Let this thread be in a namespace until the end of the block."""
    with _HERE.open() as before, (_NAMED / namespace).open() as there:
        enter(there)
        try:
            yield
        finally:
            enter(before)


def enter(namespace_file):
    """Let this thread be in the namespace of an open file."""
    if _libc.setns(namespace_file.fileno(), _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, f"setns: {os.strerror(code)}")


def processes_in(namespace):
    """Give the numbers of the processes that live in a namespace; none when it is gone."""
    found = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def describe(pid):
    """Give the command line of a process, for a message."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "(ended)"


@contextlib.contextmanager
def made(names):
    """Make namespaces; end what still runs in them and remove them at the end."""
    try:
        for name in names:
            subprocess.run(["ip", "netns", "add", name], check=True)
        yield
    finally:
        for name in names:
            kill_all_in(name)
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, stderr=subprocess.DEVNULL)


def kill_all_in(namespace):
    """Kill every process of a namespace that is a test's own, the stopped ones too, and wait until they are gone."""
    end = time.monotonic() + 10
    while pids := [pid for pid in processes_in(namespace) if pid != os.getpid()]:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert time.monotonic() < end, f"in {namespace} still live {[describe(pid) for pid in pids]}"
        time.sleep(0.01)
