"""The ARP settings of an interface, read from /proc/sys and written there, or over netlink if /proc/sys is read-only.

The effective value is the higher of the interface's and that of `all` (ip-sysctl.rst of the kernel), so an interface of
a machine that is set up already needs no change.
"""

import os
import socket
import struct
from pathlib import Path
from typing import Final

from l2mode.core.interface import ARP_SETTINGS
from l2mode.kernel.changes import SettingChanged
from l2mode.kernel.errors import FilterError
from l2mode.kernel.netlink_messages import ACKNOWLEDGE, NESTED, RECEIVE_SIZE, attribute, error_number, message
from l2mode.kernel.record import Record

_CONF: Final = Path("/proc/sys/net/ipv4/conf")

# <linux/rtnetlink.h>, <linux/if_link.h>, <linux/ip.h>
_RTM_SETLINK: Final = 19
_IFLA_AF_SPEC: Final = 26
_IFLA_INET_CONF: Final = 1
_DEVCONF: Final = {"arp_announce": 18, "arp_ignore": 19}


def effective(interface: str, name: str) -> int:
    """Return the effective value. Raise OSError if the interface is gone."""
    return max(_read("all", name), _read(interface, name))


def settle(interface: str, record: Record) -> list[str]:
    """Raise the ARP settings to what direct routing needs. Return a sentence about each that was raised.

    Raise FilterError if that is refused.
    """
    raised = []
    for name, least in ARP_SETTINGS.items():
        value = effective(interface, name)
        change = SettingChanged(interface=interface, name=name, former=_read(interface, name), value=least)
        if value >= least:
            record.keep(change)
            continue
        was_changed_before = change in record
        record.note(change)
        try:
            _write(interface, name, least)
        except OSError as error:
            if not was_changed_before:
                record.forget(change)
            raise FilterError(
                f"{name} of {interface} is {value} and cannot be set: {error.strerror}",
                f"sysctl -w net/ipv4/conf/{interface}/{name}={least} (in a container: `sysctls:` of its definition)",
            ) from error
        raised.append(f"{name} of {interface} was {value}: now {least}")
    return raised


def put_back(change: SettingChanged) -> str | None:
    """Restore a setting's former value, unless somebody else has changed it since. Raise OSError if that is refused."""
    try:
        value = _read(change.interface, change.name)
    except FileNotFoundError:  # the interface is gone, and its settings with it
        return None
    if value != change.value or value == change.former:
        return None
    _write(change.interface, change.name, change.former)
    return f"{change.name} of {change.interface} is {change.former} again"


def _read(interface: str, name: str) -> int:
    return int((_CONF / interface / name).read_text(encoding="ascii"))


def _write(interface: str, name: str, value: int) -> None:
    try:
        (_CONF / interface / name).write_text(f"{value}\n", encoding="ascii")
    except OSError:
        write_by_netlink(interface, name, value)


def write_by_netlink(interface: str, name: str, value: int) -> None:
    """Set the value as a container may, whose /proc/sys is read-only. Raise OSError if the kernel refuses.

    pyroute2 reads these settings as one structure, but they must be written as attributes, so they are packed here.
    """
    settings = attribute(_IFLA_INET_CONF | NESTED, attribute(_DEVCONF[name], struct.pack("=I", value)))
    families = attribute(_IFLA_AF_SPEC | NESTED, attribute(socket.AF_INET | NESTED, settings))
    body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, socket.if_nametoindex(interface), 0, 0) + families
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.send(message(_RTM_SETLINK, ACKNOWLEDGE, body))
        code = error_number(netlink.recv(RECEIVE_SIZE))
    if code:
        raise OSError(code, os.strerror(code))
