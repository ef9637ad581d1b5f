"""A site: servers and clients in network namespaces, on a switch that is a Linux bridge in a namespace of its own.

    servers web1, web2, …                       clients
    192.0.2.11, 2001:db8::11 …                  192.0.2.1, 2001:db8::1
            │                                       │  hold 198.51.100.0/24, 203.0.113.0/26 and 2001:db8:c::/64
      ──────┴────── near switch ────────────────────┴──────
                         │  trunk: `partition` cuts it
      ──────┬────── far switch ─────────────────────┬──────
    servers named as far                        far clients: 203.0.113.64/26 and 2001:db8:d::/64

The clients' namespace is a router as well, for whoever lives behind it. Servers and clients reach the switch through a
veth named eth0; no namespace has an interface of this machine.
"""

import contextlib
import ipaddress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from lan import namespaces
from lan.namespaces import configure, run, set_kernel, unique_prefix

VIP = {4: "192.0.2.100", 6: "2001:db8::100"}
"The virtual IP of each family."

_GATEWAY = {4: "192.0.2.1", 6: "2001:db8::1"}
_FAR_GATEWAY = {4: "192.0.2.2", 6: "2001:db8::2"}
_NEAR_NETS = {4: ("198.51.100.0/24", "203.0.113.0/26"), 6: ("2001:db8:c::/64",)}
_FAR_NETS = {4: ("203.0.113.64/26",), 6: ("2001:db8:d::/64",)}
_NARROW_NETS = {4: ("203.0.113.128/26",), 6: ("2001:db8:e::/64",)}
_NARROW_LINK = {4: ("203.0.113.193", "203.0.113.194"), 6: ("2001:db8:f::1", "2001:db8:f::2")}
NARROW_MTU = 1400
"Bytes that fit on the link between the router and those who live behind it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A machine of the site."""

    name: str
    namespace: str
    port: str
    "The switch's end of its cable."
    addresses: dict
    "Its own address by family, 4 and 6."
    nets: dict = field(default_factory=dict)
    "The networks by family whose addresses it holds besides, all of them: for clients."

    def clients(self, count, family=4):
        """Give the first `count` client addresses of this host."""
        every = chain.from_iterable(ipaddress.ip_network(net).hosts() for net in self.nets[family])
        found = [str(address) for address in islice(every, count)]
        assert len(found) == count, f"{self.name} has only {len(found)} client addresses"
        return found


class Site:
    """Servers, clients and the switch, made by `site`."""

    def __init__(self, directory, servers, far):
        self.directory = Path(directory)
        self._prefix = unique_prefix()
        self._switch = f"{self._prefix}switch"
        self._far = far
        self.servers = {
            name: self._host(name, {4: f"192.0.2.{number}", 6: f"2001:db8::{number}"})
            for number, name in enumerate((*servers, *far), start=11)
        }
        self.clients = self._host("clients", _GATEWAY, nets=_NEAR_NETS)
        self.far_clients = self._host("far-clients", _FAR_GATEWAY, nets=_FAR_NETS) if far else None
        self.narrow = Host(
            name="narrow",
            namespace=f"{self._prefix}narrow",
            port="",
            addresses={family: ends[1] for family, ends in _NARROW_LINK.items()},
            nets=_NARROW_NETS,
        )
        self._others = [self.clients, *([self.far_clients] if far else [])]

    @property
    def namespaces(self):
        """Every namespace of the site."""
        return [self._switch, *(host.namespace for host in [*self.servers.values(), *self._others, self.narrow])]

    def cut(self, name):
        """Pull a server's cable out of the switch."""
        run(self._switch, "ip", "link", "set", self.servers[name].port, "down")

    def plug(self, name):
        """Put it in again."""
        run(self._switch, "ip", "link", "set", self.servers[name].port, "up")

    def partition(self):
        """Part the far switch from the near one."""
        run(self._switch, "ip", "link", "set", "trunk", "down")

    def heal(self):
        """Join them again."""
        run(self._switch, "ip", "link", "set", "trunk", "up")

    def never_learn(self, name):
        """Let the switch not learn which addresses are behind a server's port: it floods what is for them."""
        run(self._switch, "bridge", "link", "set", "dev", self.servers[name].port, "learning", "off")

    def replace_cable(self, name):
        """Take a server's interface away and lay a new cable in its place: eth0 again, up and without addresses."""
        server = self.servers[name]
        bridge = "far" if name in self._far else "near"
        run(self._switch, "ip", "link", "delete", server.port)
        lines = [f"link add {server.port} type veth peer name eth0 netns {server.namespace}"]
        configure(self._switch, [*lines, f"link set {server.port} master {bridge}", f"link set {server.port} up"])
        configure(server.namespace, ["link set eth0 up"])

    def lay_second_cable(self, name):
        """Join a server to the switch by one more, named eth1, without addresses and down."""
        server = self.servers[name]
        port = f"two-{name}"[:15]
        lines = [f"link add {port} type veth peer name eth1 netns {server.namespace}", f"link set {port} master near"]
        configure(self._switch, [*lines, f"link set {port} up"])

    def flood(self, name, *, on):
        """Let the switch send to a server what is for nobody that it knows, or not."""
        port = self.servers[name].port
        run(self._switch, "bridge", "link", "set", "dev", port, "flood", "on" if on else "off")

    def build(self):
        """Lay the cables; the namespaces are there."""
        set_kernel(self._switch, {"ipv6/conf/default/disable_ipv6": 1})
        _quieten_netfilter(self._switch)
        lines = [f"link add near type bridge stp_state 0{self._trunk()}", "link set near up"]
        if self._far:
            lines += ["link set far up", "link set trunk master near", "link set trunk-far master far"]
            lines += ["link set trunk up", "link set trunk-far up"]
        configure(self._switch, lines)
        for host in (*self.servers.values(), *self._others):
            is_far = host.name in self._far or host is self.far_clients
            self._plug_in(host, "far" if is_far else "near")
        for server in self.servers.values():
            configure(server.namespace, _routes_of_a_server(with_far=bool(self._far)))
        for host in self._others:
            _hold_clients(host)
        self._put_somebody_behind_the_router()

    def _host(self, name, addresses, **more):
        # An interface's name has at most 15 letters.
        return Host(
            name=name, namespace=f"{self._prefix}{name}", port=f"to-{name}"[:15], addresses=dict(addresses), **more
        )

    def _trunk(self):
        if not self._far:
            return ""
        return "\nlink add far type bridge stp_state 0\nlink add trunk type veth peer name trunk-far"

    def _plug_in(self, host, bridge):
        _let_addresses_work_at_once(host.namespace)
        configure(
            self._switch,
            [
                f"link add {host.port} type veth peer name eth0 netns {host.namespace}",
                f"link set {host.port} master {bridge}",
                f"link set {host.port} up",
            ],
        )
        configure(
            host.namespace,
            [
                "link set lo up",
                f"addr add {host.addresses[4]}/24 dev eth0",
                f"addr add {host.addresses[6]}/64 dev eth0 nodad",
                "link set eth0 up",
            ],
        )

    def _put_somebody_behind_the_router(self):
        router, guest = self.clients.namespace, self.narrow.namespace
        _let_addresses_work_at_once(guest)
        set_kernel(router, {"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1})
        configure(
            router,
            [
                f"link add narrow mtu {NARROW_MTU} type veth peer name eth0 mtu 1500 netns {guest}",
                f"addr add {_NARROW_LINK[4][0]}/30 dev narrow",
                f"addr add {_NARROW_LINK[6][0]}/64 dev narrow nodad",
                "link set narrow up",
                *(f"route add {net} via {_NARROW_LINK[4][1]}" for net in _NARROW_NETS[4]),
            ],
        )
        configure(
            guest,
            [
                "link set lo up",
                f"addr add {_NARROW_LINK[4][1]}/30 dev eth0",
                f"addr add {_NARROW_LINK[6][1]}/64 dev eth0 nodad",
                "link set eth0 up",
                f"route add default via {_NARROW_LINK[4][0]}",
                f"route add ::/0 via {_NARROW_LINK[6][0]}",
            ],
        )
        configure(router, [f"route add {net} via {_NARROW_LINK[6][1]}" for net in _NARROW_NETS[6]])
        _hold_clients(self.narrow)


def _quieten_netfilter(namespace):
    """Let the bridge be a switch and nothing more: no firewall looks into its frames."""
    with namespaces.inside(namespace):
        for file in Path("/proc/sys/net/bridge").glob("bridge-nf-call-*"):
            file.write_text("0")


def _let_addresses_work_at_once(namespace):
    """Skip the second of duplicate address detection, of link-local addresses too, and ask no router."""
    quick = {"accept_dad": 0, "accept_ra": 0}
    set_kernel(namespace, {f"ipv6/conf/{of}/{key}": value for of in ("all", "default") for key, value in quick.items()})


def _routes_of_a_server(*, with_far):
    lines = [f"route add default via {_GATEWAY[4]}", f"route add ::/0 via {_GATEWAY[6]}"]
    if with_far:
        lines += [f"route add {net} via {_FAR_GATEWAY[4]}" for net in _FAR_NETS[4]]
        lines += [f"route add {net} via {_FAR_GATEWAY[6]}" for net in _FAR_NETS[6]]
    return lines


def _hold_clients(host):
    """Let all addresses of its client networks be its own, without adding each (ip-route(8), type local)."""
    set_kernel(host.namespace, {"ipv4/ip_nonlocal_bind": 1, "ipv6/ip_nonlocal_bind": 1})
    lines = [f"route add local {net} dev lo" for net in host.nets[4]]
    configure(host.namespace, lines + [f"route add local {net} dev lo" for net in host.nets[6]])


@contextlib.contextmanager
def site(directory, *, servers=("web1", "web2", "web3"), far=()):
    """Make a site; end whatever still runs there and remove all of it at the end. `far` are servers too."""
    made = Site(directory, servers, far)
    with namespaces.made(made.namespaces):
        made.build()
        yield made
