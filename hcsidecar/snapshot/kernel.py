"""What a snapshot has of the kernel: addresses, filters, sockets, settings and log, as far as they concern a farm."""

import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from hcsidecar.snapshot.reading import MissingError, Reading, file_text, first_lines, said_by, sections
from hcsidecar.snapshot.where import Where
from l2mode import KERNEL_RECORD

_SETTINGS: Final = (
    *("ipv4/conf/all/arp_ignore", "ipv4/conf/all/arp_announce", "ipv4/conf/all/rp_filter", "ipv4/ip_forward"),
    *("ipv4/ip_nonlocal_bind", "ipv4/tcp_rmem", "ipv4/ip_local_port_range", "ipv4/neigh/default/gc_thresh3"),
    *("core/somaxconn", "core/rmem_max", "core/netdev_max_backlog", "netfilter/nf_conntrack_max"),
    *("netfilter/nf_conntrack_count", "bridge/bridge-nf-call-iptables"),
)
_OF_INTERFACE: Final = ("arp_ignore", "arp_announce", "rp_filter")
_OTHER_SETTINGS: Final = ("kernel/sched_rt_runtime_us", "kernel/unprivileged_bpf_disabled", "fs/file-nr", "fs/nr_open")
_LOG_WORDS: Final = ("hcsidecar", "bpf", "out of memory", "oom", "nf_", "link is", "link becomes", "blocked for more")
_LOG_LINES: Final = 500


def kernel_readings(where: Where) -> list[Reading]:
    """Return what is to be read of the kernel."""
    interface = where.farm.l2.interface if where.farm is not None and where.farm.l2 is not None else None
    readings = [
        Reading(name="kernel/network.txt", about="interfaces, addresses, routes, neighbours", read=_network),
        Reading(
            name="kernel/filters.txt",
            about="packet filters: XDP, tcx and tc on the interface, rules of ours in iptables and nft",
            read=lambda: _filters(interface, with_rules=_has_rules(where)),
        ),
        Reading(name="kernel/sockets.txt", about="counts of sockets, by port and state, and of errors", read=_sockets),
        Reading(
            name="kernel/settings.txt", about="settings (sysctl) that matter here", read=lambda: _settings(interface)
        ),
        Reading(
            name="kernel/log.txt",
            about="lines of the kernel's log on network interfaces, memory and BPF",
            read=lambda: _log(_names(interface)),
        ),
    ]
    if where.state_dir is not None and (where.farm is None or where.farm.l2 is not None):
        record = where.state_dir / KERNEL_RECORD
        readings.append(
            Reading(name="kernel/changes.json", about="what this node has changed", read=lambda: file_text(record))
        )
    return readings


def _network() -> str:
    # Imported here because other systems than Linux have no netlink: then the part says so.
    from l2mode.kernel import network_state  # noqa: PLC0415

    return sections(
        links=_joined(network_state.links),
        addresses=_joined(network_state.addresses),
        routes=_joined(network_state.routes),
        neighbours=_joined(network_state.neighbours),
    )


def _has_rules(where: Where) -> bool:
    """Return whether this node has rules in iptables. Listing them where there are none would create their table."""
    if where.state_dir is None:
        return False
    with suppress(OSError):
        return '"queue rules"' in file_text(where.state_dir / KERNEL_RECORD)
    return False


def _filters(interface: str | None, *, with_rules: bool) -> str:
    from l2mode.kernel import network_state  # noqa: PLC0415 - as above

    told = {name: _joined(lambda name=name: network_state.filters(name)) for name in _names(interface)}  # type: ignore[misc]
    if with_rules:
        told["iptables"] = lambda: _ours(said_by("iptables", "-w", "2", "-t", "raw", "-S"))
        told["ip6tables"] = lambda: _ours(said_by("ip6tables", "-w", "2", "-t", "raw", "-S"))
    return sections(**told, nft=_nft)


def _nft() -> str:
    tables = said_by("nft", "list", "tables")
    ours = [line.split()[1:] for line in tables.splitlines() if "hcsidecar" in line and line.startswith("table ")]
    return "\n".join([tables, *(said_by("nft", "list", "table", *words) for words in ours)])


def _ours(rules: str) -> str:
    return "\n".join(line for line in rules.splitlines() if "hcsidecar" in line)


def _sockets() -> str:
    from l2mode.kernel import network_state  # noqa: PLC0415 - as above

    return sections(
        counts=lambda: file_text("/proc/net/sockstat") + file_text("/proc/net/sockstat6"),
        TCP_by_port=_joined(network_state.sockets_by_port),
        protocols=lambda: file_text("/proc/net/snmp"),
        more_of_TCP=lambda: file_text("/proc/net/netstat"),
        devices=lambda: file_text("/proc/net/dev"),
        softnet=lambda: first_lines("/proc/net/softnet_stat", 64),
        netfilter_queues=lambda: file_text("/proc/net/netfilter/nfnetlink_queue"),
    )


def _settings(interface: str | None) -> str:
    paths = [f"net/{name}" for name in _SETTINGS]
    paths += [f"net/ipv4/conf/{name}/{key}" for name in _names(interface) for key in _OF_INTERFACE]
    lines = []
    for path in (*paths, *_OTHER_SETTINGS):
        try:
            value = file_text(Path("/proc/sys") / path).strip()
        except FileNotFoundError:
            continue
        except OSError as error:
            value = f"({error.strerror})"
        lines.append(f"{path} = {value}")
    return "\n".join(lines) + "\n"


def _log(interfaces: Iterable[str]) -> str:
    said = said_by("dmesg")
    if "not permitted" in said[:200]:
        raise MissingError("this user may not read the kernel's log: run it as root")
    words = (*_LOG_WORDS, *(f"{name}:" for name in interfaces))
    lines = [line for line in said.splitlines() if any(word in line.lower() for word in words)]
    return "\n".join(lines[-_LOG_LINES:]) + "\n" if lines else "(nothing in it is about this farm)\n"


def _names(interface: str | None) -> list[str]:
    """Return the interfaces of concern: that of the virtual IPs and `lo`, or all."""
    return [interface, "lo"] if interface is not None else [name for _, name in socket.if_nameindex()][:16]


def _joined(read: Callable[[], list[str]]) -> Callable[[], str]:
    return lambda: "\n".join(read())
