"""The checks between the virtual IPs, the shares and the nodes of a farm file."""

from collections.abc import Iterator

from hcsidecar.core.farmfile.problems import Problem, path_of
from hcsidecar.core.farmfile.raw_tables import RawTables, twice
from hcsidecar.core.farmfile.values import HostPort, is_ipv6
from l2mode.core.port_classes import MAX_CLASSES, count_classes


def _vips_are_nobodys(parts: RawTables) -> Iterator[Problem]:
    own = {address: node.name for _, node in parts.nodes for address in node.addresses.values()}
    for index, vip in parts.vips:
        if vip.address in own:
            yield Problem(
                path=path_of(("l2", "vip", index, "address")),
                message=f"is the address of {own[vip.address]}: {vip.address}",
                hint="a VIP must be an unused address of the same network",
            )
    yield from twice(
        ((("l2", "vip", index, "address"), vip.address) for index, vip in parts.vips), "is given twice: {}"
    )


def _vips_have_the_family_of_the_nodes(parts: RawTables) -> Iterator[Problem]:
    for index, vip in parts.vips:
        family = "IPv6" if is_ipv6(vip.address) else "IPv4"
        without = [
            node.name
            for _, node in parts.nodes
            if is_ipv6(vip.address) not in {is_ipv6(address) for address in node.addresses.values()}
        ]
        if without:
            yield Problem(
                path=path_of(("l2", "vip", index, "address")),
                message=f"is {family}, but these nodes have no {family} address: {', '.join(without)}",
                hint=f"give every node an {family} address, or the system would use the VIP as its source address",
            )


def _shares_have_names_of_their_own(parts: RawTables) -> Iterator[Problem]:
    names = ((("l2", "share", index, "name"), share.name) for index, share in parts.shares)
    yield from twice(names, "is the name of another share: {}")


def _shares_name_what_there_is(parts: RawTables) -> Iterator[Problem]:
    nodes = {node.name for _, node in parts.nodes}
    vips = {vip.address for _, vip in parts.vips}
    for index, share in parts.shares:
        if share.vip is not None and share.vip not in vips and None not in parts.vip:
            yield Problem(
                path=path_of(("l2", "share", index, "vip")),
                message=f"is not a VIP of this farm: {share.vip}",
                hint=f"the VIPs are {', '.join(sorted(vips))}" if vips else "",
            )
        if None in parts.node:
            continue
        for name in share.power:
            if name not in nodes:
                yield Problem(
                    path=path_of(("l2", "share", index, "power", name)),
                    message="is not a node of this farm",
                    hint=f"the nodes are {', '.join(sorted(nodes))}",
                )


def _shares_have_takers(parts: RawTables) -> Iterator[Problem]:
    if None in parts.node or not parts.node:
        return
    for index, share in parts.shares:
        if not any(share.power.get(node.name, node.power) for _, node in parts.nodes):
            yield Problem(
                path=path_of(("l2", "share", index, "power")),
                message="is 0 on every node, so no node takes this share",
            )


def _shares_do_not_overlap(parts: RawTables) -> Iterator[Problem]:
    for place, (index, share) in enumerate(parts.shares):
        for _, first in parts.shares[:place]:
            ports = sorted(set(share.ports) & set(first.ports))
            same_vip = share.vip is None or first.vip is None or share.vip == first.vip
            if ports and same_vip and share.protocol == first.protocol:
                yield Problem(
                    path=path_of(("l2", "share", index, "ports")),
                    message=f"overlaps {first.name} on the same VIP: {share.protocol} {', '.join(map(str, ports))}",
                    hint="on one VIP, a port of a protocol may be in one share only",
                )
                break


def _shares_leave_the_daemon_its_ports(parts: RawTables) -> Iterator[Problem]:
    """Find shared traffic that would reach the daemon of the node that takes it, instead of the application."""
    listeners = [*parts.general_listeners, *(each for _, own in parts.own_listeners for each in own)]
    if not parts.nodes or any(node.listen is None for _, node in parts.nodes):
        listeners += parts.web_listeners
    vips = {vip.address for _, vip in parts.vips}
    for index, share in parts.shares:
        of_share = vips if share.vip is None else {share.vip}
        taken = {}
        if share.protocol == "tcp":
            taken = {
                listener.port: path_of(place)
                for place, listener in listeners
                if any(listener.overlaps(HostPort(vip, listener.port)) for vip in of_share)
            }
        elif parts.heartbeat is not None:
            taken = {parts.heartbeat.port: "heartbeat.port"}
        found = [f"{port} ({taken[port]})" for port in share.ports if port in taken]
        if found:
            yield Problem(
                path=path_of(("l2", "share", index, "ports")),
                message=f"has ports on which the daemon itself listens: {', '.join(found)}",
                hint="another port, or listeners on the addresses of the nodes: `listen` of each [[node]]"
                if share.protocol == "tcp"
                else "another port",
            )


def _shares_fit_the_filter(parts: RawTables) -> Iterator[Problem]:
    ports = [share.ports for _, share in parts.shares]
    if (found := count_classes(ports)) <= MAX_CLASSES:
        return
    # Each share can only add classes, so the first one that exceeds the limit is the one to report.
    index, _ = next(
        place for count, place in enumerate(parts.shares, start=1) if count_classes(ports[:count]) > MAX_CLASSES
    )
    yield Problem(
        path=path_of(("l2", "share", index, "ports")),
        message=f"makes too many kinds of ports: the shares have {found}, and the filter holds {MAX_CLASSES}",
        hint="ports that are in the same shares are of one kind: use the same ports in several shares, or fewer ports",
    )


L2_RULES = (
    _vips_are_nobodys,
    _vips_have_the_family_of_the_nodes,
    _shares_have_names_of_their_own,
    _shares_name_what_there_is,
    _shares_have_takers,
    _shares_do_not_overlap,
    _shares_leave_the_daemon_its_ports,
    _shares_fit_the_filter,
)
"The rules, in the order in which their problems are reported."
