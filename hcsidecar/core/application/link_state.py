"""The result of an interface check, from the links and addresses that the kernel reports."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from hcsidecar.core.farmfile.check_tables import InterfaceCheck

# <linux/if.h>
_IFF_UP: Final = 1
_IFF_LOWER_UP: Final = 1 << 16
_WORKING: Final = frozenset({"UP", "UNKNOWN"})
"""The operational states (RFC 2863) in which packets pass. Drivers that cannot detect a carrier, and `lo`, report
UNKNOWN."""
# <linux/if_addr.h>
_IFA_F_DADFAILED: Final = 0x08
_IFA_F_TENTATIVE: Final = 0x40


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A network interface."""

    name: str
    flags: int
    operational: str
    "Its operational state: UP, DOWN, LOWERLAYERDOWN, DORMANT, …"

    def why_down(self) -> str | None:
        """Return why no packets pass, or None if they do."""
        if not self.flags & _IFF_UP:
            return f"{self.name} is switched off"
        if not self.flags & _IFF_LOWER_UP:
            return f"{self.name} has no carrier"
        if self.operational not in _WORKING:
            return f"{self.name} is {self.operational.lower()}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An address of an interface."""

    address: IPv4Address | IPv6Address
    interface: str
    flags: int

    def why_unusable(self) -> str | None:
        """Return why the address cannot be used although it is there, or None if it can."""
        if self.flags & _IFA_F_DADFAILED:
            return f"another machine has {self.address} too"
        if self.flags & _IFA_F_TENTATIVE:
            return f"{self.address} is not usable yet"
        return None


def holder_of(check: InterfaceCheck, addresses: Sequence[Held]) -> Held | None:
    """Return the address that a check looks for, on its interface if it names one; None if it is not there."""
    wanted = None if check.address is None else ip_address(check.address)
    there = [held for held in addresses if held.address == wanted and check.interface in (None, held.interface)]
    return min(there, key=lambda held: held.why_unusable() is not None, default=None)


def complaint(check: InterfaceCheck, link: Link | None, held: Held | None) -> str | None:
    """Return what is wrong, or None. `link` is the interface to judge and `held` the address; None if it is missing."""
    if check.address is not None and held is None and check.interface is None:
        return f"no interface has {check.address}"
    if link is None:
        return f"there is no interface {check.interface}"
    down = link.why_down()
    if down is not None:
        return down
    if check.address is None:
        return None
    return held.why_unusable() if held is not None else f"{link.name} does not have {check.address}"
