"""What an interface check says of a link and of addresses, as the kernel tells them."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from hcsidecar.core.farmfile.check_tables import InterfaceCheck

# <linux/if.h>
_IFF_UP: Final = 1
_IFF_LOWER_UP: Final = 1 << 16
_WORKING: Final = frozenset({"UP", "UNKNOWN"})
"Operational states (RFC 2863) in which packets pass; drivers without carrier detection, and `lo`, say UNKNOWN."
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
        """Say why no packet passes, or None if one does."""
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
        """Say why it is there and not to be used, or None if it is."""
        if self.flags & _IFA_F_DADFAILED:
            return f"another machine has {self.address} too"
        if self.flags & _IFA_F_TENTATIVE:
            return f"{self.address} is not usable yet"
        return None


def holder_of(check: InterfaceCheck, addresses: Sequence[Held]) -> Held | None:
    """Find the address that a check looks for, on its interface if it names one; None if it is not there."""
    wanted = None if check.address is None else ip_address(check.address)
    there = [held for held in addresses if held.address == wanted and check.interface in (None, held.interface)]
    return min(there, key=lambda held: held.why_unusable() is not None, default=None)


def complaint(check: InterfaceCheck, link: Link | None, held: Held | None) -> str | None:
    """Say what is wrong: `link` is the interface that counts, `held` the address; None if there is none."""
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
