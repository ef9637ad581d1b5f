"""The virtual IPs on `lo`: added where they are missing; only what was added is removed again."""

import errno
from collections.abc import Sequence
from typing import Final

from l2mode.core.interface import LOOPBACK, missing
from l2mode.core.settings import VirtualIp
from l2mode.kernel.changes import AddressAdded
from l2mode.kernel.errors import FilterError
from l2mode.kernel.interface import read_addresses
from l2mode.kernel.netlink import route
from l2mode.kernel.record import Record

_LOOPBACK_INDEX: Final = 1
"The index of `lo` in every network namespace (LOOPBACK_IFINDEX of the kernel)."
_SCOPE_HOST: Final = 254
_IFA_F_NODAD: Final = 2


def add_missing(vips: Sequence[VirtualIp], record: Record) -> tuple[VirtualIp, ...]:
    """Add the missing virtual IPs to `lo` and return those added. Raise FilterError if that is refused."""
    absent = missing(vips, read_addresses())
    for vip in vips:
        change = change_of(vip)
        if vip not in absent:
            record.keep(change)
            continue
        record.note(change)
        try:
            _add(vip)
        except OSError as error:
            record.forget(change)
            if error.errno == errno.EEXIST:  # somebody else has just added it, so it is theirs
                continue
            raise FilterError(
                f"the virtual IP {vip} cannot be put on {LOOPBACK}: {error.strerror}", _remedy(vip, error)
            ) from error
    still = missing(vips, read_addresses())
    if still:
        raise FilterError(
            f"the virtual IP {still[0]} was put on {LOOPBACK} and is not there",
            f"find out what removes addresses from {LOOPBACK}",
        )
    return absent


def change_of(vip: VirtualIp) -> AddressAdded:
    """Return the change that a virtual IP is on `lo`."""
    return AddressAdded(interface=LOOPBACK, address=str(vip), prefix_length=vip.max_prefixlen)


def take_away(change: AddressAdded) -> str | None:
    """Remove an address that was added. Raise OSError if that is refused."""
    try:
        with route() as ip:
            ip.addr("del", index=_LOOPBACK_INDEX, address=change.address, prefixlen=change.prefix_length)
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            return None
        raise
    return f"{change.address} is removed from {change.interface}"


def _add(vip: VirtualIp) -> None:
    with route() as ip:
        place = {"index": _LOOPBACK_INDEX, "address": str(vip), "prefixlen": vip.max_prefixlen}
        if vip.version == 4:  # noqa: PLR2004 - IPv4
            # Scope host: the address is never chosen as the source of a connection to another machine.
            ip.addr("add", scope=_SCOPE_HOST, **place)
        else:
            # The other nodes have the address too. On lo the kernel would not look for duplicates, but would mark it
            # tentative at first.
            ip.addr("add", flags=_IFA_F_NODAD, **place)


def _remedy(vip: VirtualIp, error: OSError) -> str:
    if error.errno == errno.EPERM:
        return "run with the capability CAP_NET_ADMIN"
    if vip.version == 6:  # noqa: PLR2004 - IPv6
        return f"sysctl -w net/ipv6/conf/{LOOPBACK}/disable_ipv6=0"
    return f"try by hand: ip address add {vip}/{vip.max_prefixlen} dev {LOOPBACK} scope host"
