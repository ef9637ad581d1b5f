"""A farm of virtual machines that share a virtual IP, by the stock unit of the package."""

import json
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

from daemons import wait_for
from lan.site import VIP
from vm.image import image
from vm.machine import BOOT_LIMIT, Machine
from vm.network import network
from vm.qemu import accelerator

from hcsidecar.net.keyring import Keyring

STATE_LIMIT = 300
"Seconds for daemons to come to what is waited for; their start alone takes a minute where machines are emulated."
FILTERS = ("auto", "xdp", "tc", "nfqueue")
DELIVERIES = ("directed", "flooded")

_FILE = """\
[farm]
name = "apache"
{nodes}
[heartbeat]
pulse = "200ms"
lost_after = "3s"
[l2]
delivery = "{delivery}"
filter = "{filter}"
[[l2.vip]]
address = "{vip4}"
[[l2.vip]]
address = "{vip6}"
[[l2.share]]
name = "WEB"
ports = [80]
[[check]]
type = "http"
name = "HTTP"
address = "127.0.0.1"
port = 80
interval = "2s"
timeout = "10s"
"""
_NODE = """\
[[node]]
name = "{name}"
addresses = {{ default = "{ipv4}", six = "{ipv6}" }}
"""
# All else of the unit is as it is shipped. An emulated processor needs half a minute to import Python's modules alone.
_DROP_IN = "/run/systemd/system/hcsidecar.service.d/emulated.conf"
_TIMES = "[Service]\nTimeoutStartSec=600\nWatchdogSec=120\n"


class Farm:
    """Machines of one network that have booted, and the daemons on them."""

    def __init__(self, net, machines):
        self.network = net
        self.machines = {machine.name: machine for machine in machines}
        key = net.directory / "farm.key"
        Keyring.create(key, now=datetime.now(UTC)).write(replace=False)
        self._key = key.read_text()
        self.configured = None
        "Delivery and filter."

    @property
    def names(self):
        """The nodes, in order."""
        return sorted(self.machines)

    def prepare(self, *names):
        """Start what a machine has beside the daemon, after its boot."""
        for name in names or self.names:
            machine = self.machines[name]
            machine.write("/etc/hcsidecar/farm.key", self._key)
            machine.sh("chmod 600 /etc/hcsidecar/farm.key; mkdir -p /run/files; systemctl start nginx", limit=120)
            if accelerator(machine.build.kernel) == "tcg":
                machine.write(_DROP_IN, _TIMES)
                machine.sh("systemctl daemon-reload", limit=120)
        return self

    def configure(self, *, delivery="directed", packet_filter="auto"):
        """Stop the daemons that run, since all must agree, and write the farm file everywhere."""
        self.stop()
        self.configured = (delivery, packet_filter)
        self.write_farm_file(delivery, packet_filter, *self.names)
        return self

    def write_farm_file(self, delivery, packet_filter, *names):
        """Write it on these machines."""
        nodes = "".join(
            _NODE.format(name=name, ipv4=machine.addresses[4], ipv6=machine.addresses[6])
            for name, machine in sorted(self.machines.items())
        )
        text = _FILE.format(nodes=nodes, delivery=delivery, filter=packet_filter, vip4=VIP[4], vip6=VIP[6])
        for name in names:
            self.machines[name].write("/etc/hcsidecar/farm.toml", text)

    def start(self, *names):
        """Start daemons by their unit, those of all nodes unless named; `serving` waits for them."""
        for name in names or self.names:
            self.machines[name].sh("systemctl reset-failed; systemctl start --no-block hcsidecar")
        return self

    def stop(self, *names):
        """Stop daemons gently, all at once, and wait for their end."""
        names = names or self.names
        for name in names:
            self.machines[name].sh("systemctl stop --no-block hcsidecar")
        for name in names:
            wait_for(
                lambda name=name: self.unit(name) in ("inactive", "failed"), limit=STATE_LIMIT, what=f"{name} stops"
            )

    def unit(self, name):
        """Say in which state the unit of a node is."""
        return self.machines[name].status_of("systemctl is-active hcsidecar")[1].strip()

    def ask(self, name, path):
        """Give what a node's daemon answers over its socket, or None when it does not answer so, as while it starts."""
        # By curl: the command line takes ten seconds to start where machines are emulated.
        socket = f"/run/hcsidecar/apache/{name}/control.sock"
        command = f"curl --silent --fail --max-time 20 --unix-socket {socket} 'http://localhost/api/v1/{path}'"
        status, output = self.machines[name].status_of(command)
        return json.loads(output) if status == 0 else None

    def serving(self, *names):
        """Wait until these nodes, or all, are one view and each takes its share."""
        names = sorted(names or self.names)
        end = time.monotonic() + STATE_LIMIT
        waiting = list(names)
        while waiting:
            waiting = [name for name in waiting if not self._serves(name, names)]
            assert time.monotonic() < end, f"{waiting} of {names} do not serve:\n{self.log(waiting[0])}"
            time.sleep(0.5)
        return self

    def filter_of(self, name):
        """Name the filter that a node has taken."""
        return self.ask(name, "layer-two")["filter"]["name"]

    def owner(self, client, *, asked=None):
        """Name the node that takes a client."""
        explained = self.ask(asked or self.names[0], f"layer-two/explain?address={client}")
        return explained["shares"][0]["owner"]

    def director(self, family, *, asked=None):
        """Name the node that answers for the virtual IP of a family."""
        found = self.ask(asked or self.names[0], "layer-two")["vips"]
        return next(vip["director"] for vip in found if vip["address"] == VIP[family])

    def log(self, name, lines=60):
        """Give the end of a daemon's log."""
        return self.machines[name].sh(f"journalctl --no-pager --output cat --unit hcsidecar --lines {lines}")

    def revive(self, *names):
        """Boot machines that were killed; they know nothing of the farm file."""
        for name in names:
            self.machines[name].start()
        for name in names:
            self.machines[name].wait()
        self.configured = None
        return self.prepare(*names)

    def _serves(self, name, names):
        document = self.ask(name, "layer-two")
        if document is None:
            assert self.unit(name) not in ("inactive", "failed"), f"{name}:\n{self.log(name)}"
            return False
        taken = document["shares"][0]
        return document["view"] == names and document["lease_open"] and taken["mine"] and not taken["pending"]


@contextmanager
def farm(build, *, nodes=3, exact=False):
    """Boot machines and give the farm that they are, configured by nobody yet; end and remove all of it at the end."""
    disk = image(exact=exact)
    with network() as net, ExitStack() as stack:
        machines = [Machine(net, number, build, disk=disk) for number in range(1, nodes + 1)]
        for machine in machines:
            stack.callback(machine.kill)
            machine.start()
        for machine in machines:
            machine.wait(BOOT_LIMIT)
        yield Farm(net, machines).prepare()
