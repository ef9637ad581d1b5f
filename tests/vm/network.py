"""The network of the lab: a switch that is a bridge in a namespace of its own, its clients, and a way to the machines.

    machine 1: eth0, eth1    machine 2 …           clients: eth0
    192.0.2.11, 2001:db8::11                       192.0.2.1, 2001:db8::1
            │ taps                                     │  hold 198.51.100.0/24 and 2001:db8:c::/64
      ──────┴──────── bridge `switch` ─────────────────┴──────

    machine 1: lab0, 203.0.113.11 …
      ──────┴──────── bridge `lab`, for commands: 203.0.113.1

The clients' namespace is the machines' router. QEMU runs in the switch's namespace, where the taps are. All that a run
makes bears its name and is known by a directory that the run keeps locked, so that a later one can tell what a killed
run has left, and remove it.
"""

import contextlib
import fcntl
import shutil
import subprocess
from pathlib import Path

from lan import namespaces
from lan.namespaces import configure, run, set_kernel
from lan.site import Host
from vm.kernels import cache

ROUTER = {4: "192.0.2.1", 6: "2001:db8::1"}
CLIENT_NETS = {4: ("198.51.100.0/24",), 6: ("2001:db8:c::/64",)}
HOST_FOR_COMMANDS = "203.0.113.1"


def address_of(number, family=4):
    """Give the address of a machine by its number, 1 to 89, in the network of the clients' router."""
    return f"192.0.2.{10 + number}" if family == 4 else f"2001:db8::{10 + number}"


def command_address_of(number):
    """Give the address of a machine in the network for commands."""
    return f"203.0.113.{10 + number}"


class Network:
    """The cables of one run, made by `network`."""

    def __init__(self, name, directory):
        self.name = name
        self.directory = directory
        "For whatever belongs to this run."
        self.switch = f"{name}-switch"
        "The namespace of the bridges and of QEMU."
        self.clients = Host(
            name="clients", namespace=f"{name}-clients", port="clients", addresses=ROUTER, nets=CLIENT_NETS
        )

    def lay(self):
        """Lay the cables that do not depend on the machines."""
        set_kernel(self.switch, {"ipv6/conf/default/disable_ipv6": 1})
        set_kernel(self.clients.namespace, {"ipv6/conf/default/accept_dad": 0, "ipv6/conf/default/accept_ra": 0})
        with namespaces.inside(self.switch):
            for file in Path("/proc/sys/net/bridge").glob("bridge-nf-call-*"):
                file.write_text("0")
        configure(
            self.switch,
            [
                "link set lo up",
                "link add switch type bridge stp_state 0 mcast_snooping 0",
                "link add lab type bridge stp_state 0",
                f"address add {HOST_FOR_COMMANDS}/24 dev lab",
                f"link add clients type veth peer name eth0 netns {self.clients.namespace}",
                "link set clients master switch",
                *(f"link set {name} up" for name in ("switch", "lab", "clients")),
            ],
        )
        set_kernel(self.clients.namespace, {"ipv4/ip_nonlocal_bind": 1, "ipv6/ip_nonlocal_bind": 1})
        configure(
            self.clients.namespace,
            [
                "link set lo up",
                "link set eth0 up",
                *self.addresses_of_the_router("eth0"),
                *(f"route add local {net} dev lo" for nets in CLIENT_NETS.values() for net in nets),
            ],
        )

    def addresses_of_the_router(self, interface):
        """Give the `ip` commands that give an interface in the clients' namespace the router's addresses."""
        return [
            f"address replace {ROUTER[4]}/24 dev {interface}",
            f"address replace {ROUTER[6]}/64 dev {interface} nodad",
        ]

    def add_tap(self, name, *, bridge, queues=1):
        """Plug a tap into a bridge, with the offloads that virtio has by default."""
        several = " multi_queue" if queues > 1 else ""
        configure(
            self.switch,
            [
                f"tuntap add dev {name} mode tap vnet_hdr{several}",
                f"link set {name} master {bridge}",
                f"link set {name} up",
            ],
        )

    def remove_tap(self, name):
        """Pull it out again."""
        run(self.switch, "ip", "link", "delete", name)


@contextlib.contextmanager
def network():
    """Lay the cables of a run; end whatever still runs in its namespaces, and remove them, at the end."""
    runs = cache() / "run"
    runs.mkdir(exist_ok=True)
    remove_leftovers(runs)
    with _directory(runs) as directory:
        found = Network(directory.name, directory)
        with namespaces.made([found.switch, found.clients.namespace]):
            found.lay()
            yield found


def remove_leftovers(runs):
    """Remove what killed runs have left: their directories are there, and nobody has them locked."""
    for directory in runs.iterdir():
        with contextlib.suppress(BlockingIOError, FileNotFoundError), (directory / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for name in _namespaces_of(directory.name):
                namespaces.kill_all_in(name)
                subprocess.run(["ip", "netns", "delete", name], check=False)
            shutil.rmtree(directory)


def _namespaces_of(name):
    named = Path("/run/netns")
    return [path.name for path in named.glob(f"{name}-*")] if named.exists() else []


@contextlib.contextmanager
def _directory(runs):
    directory = runs / namespaces.unique_prefix().strip("-")
    directory.mkdir()
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield directory
        finally:
            shutil.rmtree(directory)
