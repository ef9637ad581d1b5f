"""Which kinds of interface can carry virtual IPs, in which delivery, and why others cannot.

An interface must meet these requirements. In both deliveries, it lets the network stack receive a client's packet to an
address that is not the interface's own (the virtual IPs are on `lo`), and it does not alter the frames that the daemon
and the filter send. In directed delivery, the source MAC is the interface's own or the marked one, by which members
recognise each other's frames. In flooded delivery, frames to a MAC that no machine has come in, once each.

The rows follow from experiments and from the kernel's sources: drivers/net/macvlan.c (`macvlan_handle_frame`),
drivers/net/ipvlan/ipvlan_core.c (`ipvlan_handle_frame`), drivers/net/bonding/bond_alb.c (`bond_do_alb_xmit`,
`rlb_arp_xmit`), and bonding.rst and vrf.rst of the kernel's documentation. The manual has the same table; a test
compares them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from l2mode.core.interface import Interface
from l2mode.core.verdict import Delivery


class Fit(Enum):
    """How well a kind of interface suits a delivery."""

    RIGHT = "right"
    DOUBTFUL = "doubtful"
    "It works if something outside this machine is set up for it, which cannot be seen from here."
    REFUSED = "refused"
    "Some clients, or all, would not be served."


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRow:
    """A kind of interface."""

    what: str
    directed: Fit
    flooded: Fit
    why: str = ""
    "The reason why it is doubtful or refused."
    remedy: str = ""

    def fit(self, delivery: Delivery) -> Fit:
        """Return how well it suits a delivery."""
        return self.directed if delivery is Delivery.DIRECTED else self.flooded


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """How well an interface suits a delivery: one sentence, and what the operator can do."""

    fit: Fit
    text: str
    remedy: str = ""


RIGHT, DOUBTFUL, REFUSED = Fit.RIGHT, Fit.DOUBTFUL, Fit.REFUSED

_BY_MAC: Final = "its parent passes it only frames to its own MAC, and flooded frames are sent to another MAC"
_ONE_GROUP: Final = "unless the switch has its ports in one aggregation group, a flooded frame arrives at each port"
_AGGREGATE: Final = "put its ports into one static group at the switch, or use mode 802.3ad or active-backup"
_ANOTHER: Final = "name another interface in [l2] interface"
_PLAIN: Final = "use a veth on a bridge, a macvlan with directed delivery, or the card itself"
_DIRECTED: Final = 'set delivery = "directed" in [l2], on all nodes'

KINDS: Final = {
    "": KindRow(what="a network card", directed=RIGHT, flooded=RIGHT),
    "virtual function": KindRow(
        what="a virtual function of a network card (SR-IOV)",
        directed=DOUBTFUL,
        flooded=DOUBTFUL,
        why="unless configured otherwise, the switch in the card drops frames with another source MAC and floods "
        "nothing to it",
        remedy="on the host: ip link set CARD vf NUMBER spoofchk off trust on; for flooded delivery here: ip link set "
        "INTERFACE promisc on",
    ),
    "wireless": KindRow(
        what="a wireless card",
        directed=REFUSED,
        flooded=REFUSED,
        why="access points drop frames with another source MAC, and send it only frames to its own MAC",
        remedy="use a wired network",
    ),
    "veth": KindRow(what="one end of a veth pair", directed=RIGHT, flooded=RIGHT),
    "netkit": KindRow(what="one end of a netkit pair", directed=RIGHT, flooded=RIGHT),
    "bridge": KindRow(what="a bridge", directed=RIGHT, flooded=RIGHT),
    "vlan": KindRow(what="a VLAN", directed=RIGHT, flooded=RIGHT),
    "macsec": KindRow(what="MACsec", directed=RIGHT, flooded=RIGHT),
    "dsa": KindRow(what="a port of a switch chip", directed=RIGHT, flooded=RIGHT),
    "bond active-backup": KindRow(what="a bond, active-backup", directed=RIGHT, flooded=RIGHT),
    "bond 802.3ad": KindRow(what="a bond, 802.3ad (LACP)", directed=RIGHT, flooded=RIGHT),
    "bond balance-rr": KindRow(
        what="a bond, balance-rr", directed=DOUBTFUL, flooded=DOUBTFUL, why=_ONE_GROUP, remedy=_AGGREGATE
    ),
    "bond balance-xor": KindRow(
        what="a bond, balance-xor", directed=DOUBTFUL, flooded=DOUBTFUL, why=_ONE_GROUP, remedy=_AGGREGATE
    ),
    "bond broadcast": KindRow(
        what="a bond, broadcast",
        directed=DOUBTFUL,
        flooded=DOUBTFUL,
        why="it sends each frame over all ports, so datagrams arrive more than once if the ports are in the same "
        "network",
        remedy="use mode active-backup, unless all receivers accept duplicates",
    ),
    "bond balance-tlb": KindRow(
        what="a bond, balance-tlb",
        directed=REFUSED,
        flooded=RIGHT,
        why="it sends frames with the MAC of a port, so members cannot recognise each other's frames",
        remedy="use mode active-backup or 802.3ad, or flooded delivery",
    ),
    "bond balance-alb": KindRow(
        what="a bond, balance-alb",
        directed=REFUSED,
        flooded=REFUSED,
        why="it puts other MACs into frames and ARP answers, and receives a flooded frame once for each port",
        remedy="use mode active-backup or 802.3ad",
    ),
    "team": KindRow(
        what="a team",
        directed=DOUBTFUL,
        flooded=DOUBTFUL,
        why="its runner cannot be read: activebackup and lacp are right, roundrobin and loadbalance need one "
        "aggregation group at the switch, broadcast duplicates datagrams",
        remedy="see `teamdctl TEAM state`; a bond is better",
    ),
    "macvlan bridge": KindRow(
        what="a macvlan, bridge", directed=RIGHT, flooded=REFUSED, why=_BY_MAC, remedy=f"{_DIRECTED}; or {_PLAIN}"
    ),
    "macvlan private": KindRow(
        what="a macvlan, private", directed=RIGHT, flooded=REFUSED, why=_BY_MAC, remedy=f"{_DIRECTED}; or {_PLAIN}"
    ),
    "macvlan vepa": KindRow(
        what="a macvlan, vepa", directed=RIGHT, flooded=REFUSED, why=_BY_MAC, remedy=f"{_DIRECTED}; or {_PLAIN}"
    ),
    "macvlan passthru": KindRow(what="a macvlan, passthru", directed=RIGHT, flooded=RIGHT),
    "macvlan source": KindRow(
        what="a macvlan, source",
        directed=REFUSED,
        flooded=REFUSED,
        why="it receives only from listed MACs, and the marked MACs of the members are not listed",
        remedy="use mode bridge with directed delivery",
    ),
    "macvtap": KindRow(
        what="a macvtap",
        directed=REFUSED,
        flooded=REFUSED,
        why="its frames go to the program that has opened it, usually a virtual machine, and not to this one",
        remedy="run hcsidecar inside the virtual machine; or use a macvlan",
    ),
    "ipvlan": KindRow(
        what="an ipvlan",
        directed=REFUSED,
        flooded=REFUSED,
        why="it shares the MAC of its parent, and receives only packets to its own addresses, none to a virtual IP",
        remedy=_PLAIN,
    ),
    "ipvtap": KindRow(
        what="an ipvtap",
        directed=REFUSED,
        flooded=REFUSED,
        why="its frames go to the program that has opened it, and not to this one",
        remedy=_PLAIN,
    ),
    "tun": KindRow(
        what="a tap",
        directed=DOUBTFUL,
        flooded=DOUBTFUL,
        why="the program at its other end decides: it must let frames with other source MACs pass and, for flooded "
        "delivery, flood frames to unknown MACs",
        remedy="try it, with `hcsidecar l2-check`",
    ),
    "vxlan": KindRow(
        what="a VXLAN",
        directed=RIGHT,
        flooded=DOUBTFUL,
        why="frames to an unknown MAC are flooded only with a multicast group, or with default entries for all "
        "remote ends",
        remedy="see `bridge fdb show dev VXLAN`; or use directed delivery",
    ),
    "geneve": KindRow(what="a Geneve tunnel", directed=RIGHT, flooded=RIGHT),
    "gretap": KindRow(what="an Ethernet tunnel in GRE", directed=RIGHT, flooded=RIGHT),
    "ip6gretap": KindRow(what="an Ethernet tunnel in GRE over IPv6", directed=RIGHT, flooded=RIGHT),
    "openvswitch": KindRow(
        what="a port of Open vSwitch",
        directed=DOUBTFUL,
        flooded=DOUBTFUL,
        why="its flows decide: they must let frames with other source MACs pass, and flood frames to unknown MACs",
        remedy="try it, with `hcsidecar l2-check`",
    ),
    "vrf": KindRow(
        what="a VRF",
        directed=REFUSED,
        flooded=REFUSED,
        why="it is a routing table without a network of its own",
        remedy=_ANOTHER,
    ),
    "dummy": KindRow(
        what="a dummy", directed=REFUSED, flooded=REFUSED, why="it sends and receives nothing", remedy=_ANOTHER
    ),
    "ifb": KindRow(
        what="an intermediate queue (ifb)",
        directed=REFUSED,
        flooded=REFUSED,
        why="it only queues the frames of other interfaces",
        remedy=_ANOTHER,
    ),
}
"Keyed by the kernel's word for the kind, with the mode if there are several; the empty key is a device with a driver."

_UNKNOWN: Final = KindRow(
    what="an interface of an unknown kind",
    directed=DOUBTFUL,
    flooded=DOUBTFUL,
    why="it has never been tested",
    remedy="try it, with `hcsidecar l2-check`, and report what it says",
)
STANDS_ON: Final = frozenset({"vlan", "macvlan", "macsec"})
"The kinds that pass on the frames of another interface; both interfaces must be suitable."


def judge(interface: Interface, delivery: Delivery) -> tuple[Judgement, ...]:
    """Return everything that is wrong with an interface for a delivery, refusals first; or that it is suitable.

    The result is empty for an interface that is not Ethernet, which `obstacles` refuses.
    """
    if interface.loopback or not interface.ethernet:
        return ()
    found = [*_as_a_port(interface), *_objections(interface, delivery)]
    return tuple(sorted(found, key=lambda one: one.fit is not Fit.REFUSED)) or (_right(interface, delivery),)


def in_the_same_network(interface: Interface) -> tuple[str, ...]:
    """Return the interfaces of this network namespace that hear the ARP questions of its network: it and its parents.

    A macvlan's parent hears them too, and answers for any address on `lo` unless arp_ignore forbids it.
    """
    names = [interface.name]
    while interface.kind == "macvlan" and interface.lower is not None:
        interface = interface.lower
        names.append(interface.name)
    return tuple(names)


def _right(interface: Interface, delivery: Delivery) -> Judgement:
    what, unless = f"{interface.name} is {_row(interface).what}", ""
    while interface.kind in STANDS_ON:
        if interface.lower is None:
            what += " on one of another network namespace"
            unless = ", unless that is wireless, or a bond in mode balance-tlb or balance-alb"
            break
        interface = interface.lower
        what += f" on {interface.name}, {_row(interface).what}"
    return Judgement(fit=Fit.RIGHT, text=f"{what}: right for {delivery.value} delivery{unless}")


def _as_a_port(interface: Interface) -> Iterator[Judgement]:
    name, master = interface.name, interface.port_of
    if master is None:
        return
    if interface.port_kind == "vrf":
        yield Judgement(
            fit=Fit.REFUSED,
            text=f"{name} belongs to the VRF {master}, in which the virtual IPs on lo are no addresses",
            remedy=f"ip link set {name} nomaster; or {_ANOTHER}",
        )
    else:
        yield Judgement(
            fit=Fit.REFUSED,
            text=f"{name} is a port of {master}, which receives its frames",
            remedy=f'set interface = "{master}" in [l2]',
        )


def _objections(interface: Interface, delivery: Delivery) -> Iterator[Judgement]:
    name, row = interface.name, _row(interface)
    match row.fit(delivery):
        case Fit.REFUSED:
            text = f"{name} is {row.what}, which {delivery.value} delivery cannot use: {row.why}"
            yield Judgement(fit=Fit.REFUSED, text=text, remedy=row.remedy)
        case Fit.DOUBTFUL:
            yield Judgement(fit=Fit.DOUBTFUL, text=f"{name} is {row.what}: {row.why}", remedy=row.remedy)
    if interface.without_arp:
        text = f"{name} has ARP switched off, so it neither sends nor answers ARP"
        yield Judgement(fit=Fit.REFUSED, text=text, remedy=f"ip link set {name} arp on")
    if interface.mac_of_active_port:
        yield Judgement(
            fit=Fit.DOUBTFUL,
            text=f"{name} has fail_over_mac = active: a failover changes its MAC, and the daemon then announces the "
            "new one",
            remedy="set fail_over_mac to none, or to follow if the cards support that",
        )
    if interface.kind in STANDS_ON:
        yield from _below(interface, delivery)


def _below(interface: Interface, delivery: Delivery) -> Iterator[Judgement]:
    # Whether the lower interface is a port does not matter: a VLAN on a bridge's port gets its frames before the
    # bridge.
    lower = interface.lower
    if lower is None:
        return
    for one in _objections(lower, delivery):
        text = f"{interface.name} stands on {lower.name}, and {one.text}"
        yield Judgement(fit=one.fit, text=text, remedy=one.remedy)


def _row(interface: Interface) -> KindRow:
    if interface.wireless:
        return KINDS["wireless"]
    if interface.kind is None:
        return KINDS["virtual function" if interface.virtual_function else ""]
    return KINDS.get(f"{interface.kind} {interface.mode}".strip(), _UNKNOWN)
