"""A machine with an interface on a network of its own: two namespaces joined by a veth pair."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from daemons import wait_for
from lan.namespaces import configure, inside, made, run, unique_prefix

from l2mode.kernel.restore import open_record

TESTS = Path(__file__).parents[1]


class Server:
    """A network namespace with `eth0`, which has an address of each family; `told` is what layer-2 mode says."""

    def __init__(self, prefix, directory):
        self.namespace = f"{prefix}server"
        self.network = f"{prefix}network"
        self.directory = directory
        self.told = []

    def sh(self, script):
        return run(self.namespace, "sh", "-ec", script)

    def json(self, command):
        return json.loads(self.sh(command) or "[]")

    def run_killed(self, script):
        """Let a process in the namespace run lines of Python, with `record` opened, and be killed at their end."""
        lines = f"""
import os, signal
from pathlib import Path
from kernel.tiny_programs import TC, XDP, memory, program
from l2mode.kernel.restore import open_record
record = open_record(Path({str(self.directory)!r}), tell=print)
{script}
os.kill(os.getpid(), signal.SIGKILL)
"""
        command = ["ip", "netns", "exec", self.namespace, sys.executable, "-c", lines]
        environment = os.environ | {"PYTHONPATH": str(TESTS)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == -signal.SIGKILL, done.stderr

    def run_without(self, capabilities, script):
        """Run lines of Python in the namespace, with `record` opened, as a process that lacks capabilities."""
        lines = f"""
from pathlib import Path
from kernel.tiny_programs import TC, XDP, memory, program
from l2mode.kernel.errors import FilterError
from l2mode.kernel.restore import open_record
record = open_record(Path({str(self.directory)!r}), tell=lambda level, message: print(level, message))
{script}
"""
        dropped = ["setpriv", "--bounding-set", ",".join(f"-{name}" for name in capabilities)]
        return run(self.namespace, "env", f"PYTHONPATH={TESTS}", *dropped, sys.executable, "-c", lines)

    def record(self):
        """Read the record as a process of the node's would at its start."""
        return open_record(self.directory, tell=self.tell)

    def tell(self, level, message):
        """Hear what layer-2 mode says."""
        self.told.append((level, message))

    def addresses_of(self, interface):
        lines = self.sh(f"ip -o address show dev {interface}").splitlines()
        return [line.split()[3] for line in lines]

    def setting(self, name, interface="eth0"):
        return int(self.sh(f"cat /proc/sys/net/ipv4/conf/{interface}/{name}"))


@pytest.fixture
def server(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root, to make network namespaces")
    made_here = Server(unique_prefix(), tmp_path)
    with made([made_here.namespace, made_here.network]):
        configure(made_here.network, [f"link add peer0 type veth peer name eth0 netns {made_here.namespace}"])
        configure(made_here.network, ["link set peer0 up"])
        configure(
            made_here.namespace,
            [
                "link set lo up",
                # No link-local address, which comes by itself a second later: what is found must hold still.
                "link set eth0 addrgenmode none",
                "link set eth0 up",
                "address add 192.0.2.11/24 dev eth0",
                "address add 2001:db8::11/64 dev eth0 nodad",
            ],
        )
        # The kernel says so up to a second after the cable is in, and what is found must hold still.
        wait_for(lambda: made_here.json("ip -j link show dev eth0")[0]["operstate"] == "UP", what="eth0 is up")
        with inside(made_here.namespace):
            yield made_here
