"""Network namespaces, and the cables and the switch between them: where packets are measured.

Never the machine's own interfaces; everything goes with its namespace.
"""

import ctypes
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

from benchmarks.figures import CannotMeasureError

INTERFACE = "eth0"
"Of a namespace that is plugged into a switch."
BRIDGE = "switch"
_CLONE_NEWNET = 0x40000000
"Of sched.h; Python names it from 3.12 on."


_numbers = count(1)
"One for each namespace: two farms at a time have nodes of the same names."


class Namespace:
    """A network namespace of this benchmark's own."""

    def __init__(self, name: str) -> None:
        self.name = f"hcs-bench-{os.getpid()}-{next(_numbers)}-{name}"

    def ip(self, *arguments: str) -> str:
        """Run `ip` in it."""
        return run("ip", "-n", self.name, *arguments)

    def run(self, *arguments: str) -> str:
        """Run a program in it to its end, and give what it wrote."""
        return run(*self.command(*arguments))

    def command(self, *arguments: str) -> tuple[str, ...]:
        """Give the command that runs a program in it."""
        return ("ip", "netns", "exec", self.name, *arguments)

    def set(self, key: str, value: int | str) -> None:
        """Write a setting below /proc/sys/net, named with slashes."""
        with self.entered():
            # The directory belongs to the namespace of who opens it.
            (Path("/proc/sys/net") / key).write_text(str(value))

    def mac(self, interface: str) -> bytes:
        """Give the MAC of an interface."""
        return bytes.fromhex(json.loads(self.ip("-json", "link", "show", interface))[0]["address"].replace(":", ""))

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Have the calling thread live in it while the block runs."""
        with open("/proc/thread-self/ns/net", "rb") as before, open(f"/run/netns/{self.name}", "rb") as inside:  # noqa: PTH123
            _set_namespace(inside.fileno())
            try:
                yield
            finally:
                _set_namespace(before.fileno())


class Switch:
    """A Linux bridge in a namespace of its own."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        namespace.ip("link", "add", BRIDGE, "type", "bridge", "forward_delay", "0", "stp_state", "0")
        namespace.ip("link", "set", BRIDGE, "up")
        with namespace.entered():
            for filtered in Path("/proc/sys/net/bridge").glob("bridge-nf-call-*"):
                filtered.write_text("0")

    def plug_in(self, name: str, namespace: Namespace, *addresses: str) -> None:
        """Join a namespace, whose interface gets these addresses; `name` is that of the port."""
        cable(self.namespace, name, namespace, INTERFACE)
        self.namespace.ip("link", "set", name, "master", BRIDGE)
        for address in addresses:
            namespace.ip("address", "add", f"{address}/24", "dev", INTERFACE)


@contextmanager
def namespaces(*names: str) -> Iterator[tuple[Namespace, ...]]:
    """Make network namespaces, without IPv6 and without mistrust of paths, and remove them."""
    if os.geteuid() != 0:
        raise CannotMeasureError("network namespaces need root")
    with ExitStack() as stack:
        made = []
        for name in names:
            namespace = Namespace(name)
            run("ip", "netns", "add", namespace.name)
            stack.callback(run, "ip", "netns", "del", namespace.name)
            namespace.ip("link", "set", "lo", "up")
            namespace.set("ipv6/conf/all/disable_ipv6", 1)
            namespace.set("ipv6/conf/default/disable_ipv6", 1)
            for which in ("all", "default"):
                namespace.set(f"ipv4/conf/{which}/rp_filter", 0)
            made.append(namespace)
        yield tuple(made)


def cable(one: Namespace, one_end: str, other: Namespace, other_end: str) -> None:
    """Join two namespaces; both ends are up."""
    one.ip("link", "add", "name", one_end, "type", "veth", "peer", "name", other_end, "netns", other.name)
    one.ip("link", "set", one_end, "up")
    other.ip("link", "set", other_end, "up")


def run(*arguments: str) -> str:
    """Run a program to its end, and give what it wrote. Raises CannotMeasureError with what it complained of."""
    done = subprocess.run(arguments, check=False, capture_output=True, text=True)
    if done.returncode:
        raise CannotMeasureError(f"{' '.join(arguments)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def _set_namespace(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
