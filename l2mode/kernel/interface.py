"""Reads interfaces and the addresses of this machine from the kernel."""

import array
import errno
import fcntl
import socket
import struct
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from l2mode.core.interface import ConfiguredAddress, Interface, holder_of
from l2mode.core.interface_kinds import STANDS_ON
from l2mode.core.settings import VirtualIp
from l2mode.kernel.errors import FilterError
from l2mode.kernel.netlink import dump, refused_as, route
from l2mode.kernel.netlink_messages import attributes

_SYS: Final = Path("/sys/class/net")
_DEEPEST: Final = 8
"The most interfaces that may stand on each other, as in the kernel (MAX_NEST_DEV)."

_IFF_UP: Final = 1
_IFF_LOWER_UP: Final = 1 << 16
_IFF_LOOPBACK: Final = 8
_IFF_NOARP: Final = 0x80
_ARPHRD_ETHER: Final = 1

# <linux/if_addr.h> and <linux/rtnetlink.h>
_RTM_GETADDR: Final = 22
_IFADDRMSG: Final = struct.Struct("=BBBBI")
"Family, prefix length, flags, scope, index."
_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2
_IFA_F_DADFAILED: Final = 8
_SCOPE_UNIVERSE: Final = 0

_BOND_MODES: Final = dict(
    enumerate(("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"))
)
"Keyed by their numbers in <linux/if_bonding.h>."
_FAIL_OVER_MAC_ACTIVE: Final = 1

# ioctl numbers of <linux/sockios.h>, <linux/wireless.h> and <linux/ethtool.h>
_SIOCGIWNAME: Final = 0x8B01
_SIOCGIFHWADDR: Final = 0x8927
_SIOCGIFINDEX: Final = 0x8933
_SIOCETHTOOL: Final = 0x8946
_ETHTOOL_GDRVINFO: Final = 3
_DRVINFO_SIZE: Final = 196
_NAME_SIZE: Final = 16
"Bytes of an interface's name, its final zero included."


def read_interface(name: str) -> Interface:
    """Return an interface and what it stands on. Raise FilterError if there is none of this name."""
    interface = find_interface(name)
    if interface is None:
        raise FilterError(
            f"there is no interface {name}",
            "name one that `ip link` shows in [l2] interface of the farm file",
            passing=True,
        )
    return interface


def find_interface(name: str) -> Interface | None:
    """Return an interface and what it stands on, or None. Raise FilterError if the kernel refuses to answer."""
    with refused_as(f"{name} cannot be read"):
        try:
            with route() as ip:
                (link,) = ip.link("get", ifname=name)
                return _interface(ip, link, depth=0)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            return None


def _interface(ip: Any, link: Any, *, depth: int) -> Interface:
    name = link.get("ifname")
    mac = link.get("address")
    flags = link["flags"]
    kind = link.get(("linkinfo", "kind"))
    data = link.get(("linkinfo", "data"))
    master, below = link.get("master"), link.get("link")
    # An index of another network namespace means a different interface here.
    is_here = below is not None and link.get("link_netnsid") is None and kind in STANDS_ON and depth < _DEEPEST
    return Interface(
        name=name,
        index=link["index"],
        mac=bytes.fromhex(mac.replace(":", "")) if mac else b"",
        mtu=link.get("mtu"),
        up=bool(flags & _IFF_UP),
        carrier=bool(flags & _IFF_LOWER_UP),
        loopback=bool(flags & _IFF_LOOPBACK),
        ethernet=link["ifi_type"] == _ARPHRD_ETHER,
        kind=kind,
        driver=_driver(name),
        mode=_mode(kind, data),
        port_of=None if master is None else _name_of(ip, master),
        port_kind=link.get(("linkinfo", "slave_kind")) or "",
        wireless=_is_wireless(name),
        virtual_function=_is_virtual_function(name),
        without_arp=bool(flags & _IFF_NOARP),
        mac_of_active_port=kind == "bond"
        and data is not None
        and data.get("bond_fail_over_mac") == _FAIL_OVER_MAC_ACTIVE,
        lower=_interface(ip, ip.link("get", index=below)[0], depth=depth + 1) if is_here else None,
    )


def _mode(kind: str | None, data: Any) -> str:
    """Return the mode of a kind that has several, as `ip -d link` names it; empty if there is none or it is unknown."""
    if kind == "macvlan" and data is not None:
        return str(data.get("macvlan_mode") or "")
    if kind == "bond" and data is not None:
        return _BOND_MODES.get(data.get("bond_mode"), "")
    return ""


def _name_of(ip: Any, index: int) -> str:
    (link,) = ip.link("get", index=index)
    return str(link.get("ifname"))


def _is_wireless(name: str) -> bool:
    """Return whether an interface is a wireless card.

    Only a wireless card has a wireless protocol with a name, but not every kernel can be asked (CONFIG_CFG80211_WEXT).
    So /sys is read too, which may show another network namespace.
    """
    request = struct.pack(f"{_NAME_SIZE}s16x", name.encode())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            fcntl.ioctl(any_socket, _SIOCGIWNAME, request)
        except OSError:
            return (_SYS / name / "phy80211").exists() and _is_the_one_in_sys(name)
    return True


def _is_virtual_function(name: str) -> bool:
    return (_SYS / name / "device" / "physfn").exists() and _is_the_one_in_sys(name)


def _is_the_one_in_sys(name: str) -> bool:
    """Return whether the interface that /sys shows under this name is the one in this thread's network namespace."""
    try:
        return int((_SYS / name / "ifindex").read_text(encoding="ascii")) == socket.if_nametoindex(name)
    except (OSError, ValueError):
        return False


def read_addresses() -> tuple[ConfiguredAddress, ...]:
    """Return all addresses of this network namespace."""
    names = dict(socket.if_nameindex())
    return tuple(_configured(answer, names) for answer in dump(_RTM_GETADDR, _IFADDRMSG.pack(0, 0, 0, 0, 0)))


def interface_holding(address: VirtualIp) -> str:
    """Return the interface that holds a node's address: that of the virtual IPs unless the farm file names another.

    Raise FilterError if no interface holds it.
    """
    with refused_as("the addresses of this machine cannot be read"):
        addresses = read_addresses()
    name = holder_of(address, addresses)
    if name is None:
        # An address on `lo` is present, and will not appear on another interface by itself.
        passing = not address.is_loopback and all(place.address != address for place in addresses)
        problem = f"no interface holds this node's address {address}"
        raise FilterError(problem, "name one in [l2] interface", passing=passing)
    return name


def index_if_there(name: str) -> int | None:
    """Return the present index of an interface, or None. Raise OSError if the kernel cannot be asked.

    socket.if_nametoindex fails alike for a name that does not exist and for a process without descriptors.
    """
    encoded = name.encode()
    if len(encoded) >= _NAME_SIZE:
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            answer = fcntl.ioctl(any_socket, _SIOCGIFINDEX, struct.pack(f"{_NAME_SIZE}s24x", encoded))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            return None
    return int(struct.unpack_from("=i", answer, _NAME_SIZE)[0])


def mac_of(name: str) -> bytes:
    """Return the present MAC of an interface, in a few microseconds. Raise OSError if the interface is gone."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, _SIOCGIFHWADDR, struct.pack(f"{_NAME_SIZE}s24x", name.encode()))
    return answer[_NAME_SIZE + 2 :][:6]


def _configured(answer: bytes, names: Mapping[int, str]) -> ConfiguredAddress:
    _, prefix_length, flags, scope, index = _IFADDRMSG.unpack_from(answer)
    found = attributes(answer, _IFADDRMSG.size)
    # On a point-to-point link IFA_ADDRESS is the other end; only there does IPv6 have IFA_LOCAL.
    return ConfiguredAddress(
        interface=names.get(index, ""),
        address=ip_address(found.get(_IFA_LOCAL) or found[_IFA_ADDRESS]),
        prefix_length=prefix_length,
        usable_as_source=scope == _SCOPE_UNIVERSE and not flags & _IFA_F_DADFAILED,
    )


def _driver(name: str) -> str:
    """Return the name of the driver, asked for as `ethtool -i` does: /sys may show another network namespace."""
    answer = array.array("B", struct.pack("=I", _ETHTOOL_GDRVINFO) + bytes(_DRVINFO_SIZE - 4))
    request = struct.pack(f"{_NAME_SIZE}sP16x", name.encode(), answer.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            fcntl.ioctl(any_socket, _SIOCETHTOOL, request)
        except OSError:  # it has no driver that gives a name
            return ""
    return answer.tobytes()[4:36].split(b"\0")[0].decode(errors="replace")
