"""What the machine needs to hold the virtual IPs: set up, kept that way, and put back at the end.

The procedure is always to read, compare, change and read again: at the first start, after a kill, and whenever somebody
undoes the setup.
"""

from collections.abc import Collection, Iterable, Sequence

from l2mode.core.conditions import Machine, in_the_way
from l2mode.core.interface import LOOPBACK, Interface, Obstacle, obstacles
from l2mode.core.interface_kinds import Fit, Judgement, in_the_same_network, judge
from l2mode.core.settings import VirtualIp
from l2mode.core.verdict import Delivery
from l2mode.kernel.addresses import add_missing, change_of
from l2mode.kernel.changes import AddressAdded, SettingChanged
from l2mode.kernel.errors import FilterError
from l2mode.kernel.interface import find_interface, read_addresses, read_interface
from l2mode.kernel.netlink import refused_as
from l2mode.kernel.record import Record
from l2mode.kernel.sysctls import settle


class HostAddresses:
    """The virtual IPs on `lo` and the ARP settings of the interface. Every change is noted in the record.

    Must not be used on the thread of a running event loop.
    """

    def __init__(self, vips: Sequence[VirtualIp], interface: str, record: Record, *, delivery: Delivery) -> None:
        self._vips = tuple(vips)
        self._interface = interface
        self._record = record
        self._delivery = delivery
        self._quiet: tuple[str, ...] = (interface,)
        "The interfaces on which the kernel must not answer for the virtual IPs."
        self.warnings: tuple[Judgement, ...] = ()
        "What may be in the way but cannot be determined from here, as of the latest look."

    def check(self) -> Interface:
        """Return the interface. Raise FilterError with the first obstacle if it cannot carry the virtual IPs."""
        interface = read_interface(self._interface)
        with refused_as("the addresses of this machine cannot be read"):
            addresses = read_addresses()
        for judgement in self._judge(interface):
            # This comes before the addresses: a port of a bridge has none, and the message must name the bridge.
            if judgement.fit is Fit.REFUSED:
                raise FilterError(judgement.text, judgement.remedy)
        for obstacle in obstacles(self._vips, interface, addresses):
            raise FilterError(obstacle.problem, obstacle.remedy, passing=obstacle.passing)
        if not read_interface(LOOPBACK).up:
            raise FilterError(f"{LOOPBACK} is down", f"ip link set {LOOPBACK} up", passing=True)
        return interface

    def set_up(self) -> None:
        """Silence the kernel's ARP, then add the virtual IPs to `lo`. Raise FilterError if that is refused.

        In this order the kernel never gets to answer for an address of the farm.
        """
        self.check()
        self._make_it_so()

    def look(self, own: Collection[VirtualIp]) -> tuple[Obstacle, ...]:
        """Return the obstacles to serving the virtual IPs that cannot be removed here.

        `own` has the node's addresses in the farm file. Raise FilterError if the kernel does not answer.
        """
        interface = find_interface(self._interface)
        if interface is not None:
            self._judge(interface)
        loopback = find_interface(LOOPBACK)
        with refused_as("the addresses of this machine cannot be read"):
            addresses = read_addresses()
        machine = Machine(
            name=self._interface,
            interface=interface,
            loopback_up=loopback is not None and loopback.up,
            addresses=addresses,
            vips=self._vips,
            delivery=self._delivery,
            own=own,
        )
        return tuple(in_the_way(machine))

    def repair(self) -> str | None:
        """Restore what somebody has removed and return a sentence about it; None if nothing was missing.

        Raise FilterError if that is refused.
        """
        raised, added = self._make_it_so()
        news = [*raised, *(f"{vip} was removed from {LOOPBACK}: put back" for vip in added)]
        return "; ".join(news) or None

    def _judge(self, interface: Interface) -> tuple[Judgement, ...]:
        judgements = judge(interface, self._delivery)
        self._quiet = in_the_same_network(interface)
        self.warnings = tuple(judgement for judgement in judgements if judgement.fit is Fit.DOUBTFUL)
        return judgements

    def _make_it_so(self) -> tuple[list[str], tuple[VirtualIp, ...]]:
        raised = []
        for name in self._quiet:
            try:
                raised += settle(name, self._record)
            except FileNotFoundError as error:
                raise FilterError(f"{name} is gone", "bring the interface back") from error
        with refused_as("the addresses of this machine cannot be read"):
            return raised, add_missing(self._vips, self._record)

    def remove(self, vips: Iterable[VirtualIp]) -> None:
        """Remove virtual IPs from `lo` that were added there; safe to repeat."""
        self._record.take_back(change_of(vip) for vip in vips)

    def take_down(self) -> None:
        """Undo all changes; safe to repeat."""
        self._record.restore(AddressAdded, SettingChanged)
