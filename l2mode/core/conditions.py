"""The conditions that a machine must meet while its node takes a share of the virtual IPs.

What somebody undoes and the daemon can restore, the daemon restores. While any other condition is not met, the node
takes no share, since clients that reached it would get no answer. It then leaves all virtual IPs, even if only one of
them cannot be served, because one view covers them all. `CONDITIONS` is the complete list; the manual shows it as a
table.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Final

from l2mode.core.interface import LOOPBACK, ConfiguredAddress, Interface, Obstacle, obstacles
from l2mode.core.interface_kinds import Fit, judge
from l2mode.core.settings import VirtualIp
from l2mode.core.verdict import Delivery

HOLD: Final = 1.0
"Seconds for which all conditions must be met again. Whoever restores an address often sets routes just after it."
LONGEST_HOLD: Final = 30.0
CALM: Final = 60.0
"Seconds. A condition that is lost again within this time must be met for twice as long the next time."


class Response(Enum):
    """What the daemon does when a condition is no longer met."""

    PUT_BACK = "restored; no share while that fails"
    NO_SHARE = "no share until it is met again"
    FOLLOWED = "the daemon adopts the change"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A snapshot of what the kernel says of this machine, all read at one time."""

    name: str
    "Name of the interface of the virtual IPs."
    interface: Interface | None
    "None: there is no interface of this name."
    loopback_up: bool
    addresses: Sequence[ConfiguredAddress]
    vips: Sequence[VirtualIp]
    delivery: Delivery
    own: Collection[VirtualIp]
    "The node's addresses in the farm file, from which its heartbeats go out."


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition that a machine must meet."""

    what: str
    lost: str
    "How the condition can be lost."
    response: Response
    why_not: Callable[[Machine], Iterator[Obstacle]] = lambda _: iter(())
    """Yields the obstacles that can be seen. A condition that the daemon restores has none here; the attempt reports a
    failure."""


def in_the_way(machine: Machine) -> Iterator[Obstacle]:
    """Yield every obstacle that keeps a node from taking a share, in the order of `CONDITIONS`."""
    for condition in CONDITIONS:
        yield from condition.why_not(machine)


def why_no_carrier(interface: Interface) -> Iterator[Obstacle]:
    """Yield an obstacle if the interface is up and has no carrier."""
    if interface.up and not interface.carrier:
        yield Obstacle(f"{interface.name} has no carrier", "check the cable, and the port at the other end")


def _is_there(machine: Machine) -> Iterator[Obstacle]:
    if machine.interface is None:
        yield Obstacle(f"there is no interface {machine.name}", "restore it, or name another one in [l2] interface")


def _is_of_a_good_kind(machine: Machine) -> Iterator[Obstacle]:
    for judgement in () if machine.interface is None else judge(machine.interface, machine.delivery):
        if judgement.fit is Fit.REFUSED:
            yield Obstacle(judgement.text, judgement.remedy)


def _carries_the_virtual_ips(machine: Machine) -> Iterator[Obstacle]:
    if machine.interface is not None:
        yield from obstacles(machine.vips, machine.interface, machine.addresses)


def _has_a_carrier(machine: Machine) -> Iterator[Obstacle]:
    if machine.interface is not None:
        yield from why_no_carrier(machine.interface)


def _has_the_nodes_address(machine: Machine) -> Iterator[Obstacle]:
    there = {place.address for place in machine.addresses}
    if machine.own and not there & set(machine.own):
        first = min(machine.own, key=str)
        yield Obstacle(
            f"this machine no longer has an address of the node ({', '.join(sorted(map(str, machine.own)))}), so it "
            "hears no other node",
            f"ip address add {first}/LENGTH dev INTERFACE",
        )


def _has_loopback(machine: Machine) -> Iterator[Obstacle]:
    if not machine.loopback_up:
        yield Obstacle(f"{LOOPBACK} is down", f"ip link set {LOOPBACK} up")


CONDITIONS: Final = (
    Condition(
        what="there is an interface of this name",
        lost="removed, renamed, moved to another network namespace",
        response=Response.NO_SHARE,
        why_not=_is_there,
    ),
    Condition(
        what="it is of a kind that carries virtual IPs",
        lost="made a port of a bridge, bond, team or VRF; ARP switched off; another kind in its place",
        response=Response.NO_SHARE,
        why_not=_is_of_a_good_kind,
    ),
    Condition(
        what="it has a carrier",
        lost="an unplugged cable, a switch without power",
        response=Response.NO_SHARE,
        why_not=_has_a_carrier,
    ),
    Condition(
        what="it is up and has an address of its own of each family of the VIPs, and nothing but `lo` has a VIP",
        lost="`ip link set … down`; an expired DHCP lease; IPv6 addresses, which the kernel removes when a link goes "
        "down or with an MTU below 1,280; a VIP that somebody added to an interface",
        response=Response.NO_SHARE,
        why_not=_carries_the_virtual_ips,
    ),
    Condition(
        what="the machine has one of the node's addresses, for the heartbeats",
        lost="removed; with several networks, removed in all of them",
        response=Response.NO_SHARE,
        why_not=_has_the_nodes_address,
    ),
    Condition(what="`lo` is up", lost="`ip link set lo down`", response=Response.NO_SHARE, why_not=_has_loopback),
    Condition(
        what="the filter is where it belongs",
        lost="`tc qdisc del`; an XDP program taken off or replaced; nft or iptables rules flushed; another interface "
        "with the same name",
        response=Response.PUT_BACK,
    ),
    Condition(
        what="`arp_ignore` and `arp_announce` keep the kernel silent", lost="a sysctl file", response=Response.PUT_BACK
    ),
    Condition(
        what="the VIPs are on `lo`",
        lost="a network manager; IPv6 switched off on `lo`, which cannot be restored",
        response=Response.PUT_BACK,
    ),
    Condition(
        what="the MAC of the interface, and which one has its name",
        lost="a failover of a bond, a network card that is replaced",
        response=Response.FOLLOWED,
    ),
)
"""In the order in which they are checked: an interface that is down is not also reported to have no address.

Routes, firewalls and sysctls like rp_filter are not included, because this machine cannot tell what clients need of
them. `hcsidecar l2-check` warns of some of them.
"""


class Hold:
    """Keeps an obstacle until all conditions have been met for `HOLD` seconds, or longer if it comes and goes."""

    def __init__(self) -> None:
        self._present: Obstacle | None = None
        self._right_since: float | None = None
        self._hold = HOLD
        self._came_back_at = -inf

    @property
    def obstacle(self) -> Obstacle | None:
        """The reason why this node takes no share; None: it may take one."""
        return self._present

    def see(self, found: Sequence[Obstacle], *, now: float) -> bool:
        """Take in the present obstacles. Return whether `obstacle` has changed."""
        before = self._present
        if found:
            if before is None:
                again_soon = now < self._came_back_at + CALM
                self._hold = min(2 * self._hold, LONGEST_HOLD) if again_soon else HOLD
            self._present, self._right_since = found[0], None
        elif before is not None:
            self._right_since = now if self._right_since is None else self._right_since
            if now >= self._right_since + self._hold:
                self._present, self._right_since, self._came_back_at = None, None, now
        return self._present != before

    def next_at(self) -> float:
        """The time at which to check again even if nothing seems to change; infinity: no such time."""
        return inf if self._right_since is None else self._right_since + self._hold
