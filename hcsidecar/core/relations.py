"""What the tables of a farm file must be to each other; tables that are wrong by themselves are left out of it."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import TypeVar

from hcsidecar.core.problems import Problem, path_of
from hcsidecar.core.tables import (
    DEFAULT_NETWORK,
    Check,
    FarmTable,
    HealthTable,
    NodeTable,
    ShareTable,
    VipTable,
    WebTable,
)
from hcsidecar.core.values import HostPort, is_ipv6
from l2mode.core.port_classes import MAX_CLASSES, count_classes

Place = tuple[str | int, ...]
Listener = tuple[Place, HostPort]
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The tables of one file; None stands for one that is wrong by itself, so that the others keep their places."""

    farm: FarmTable | None
    node: Sequence[NodeTable | None]
    web: WebTable | None
    health: HealthTable | None
    check: Sequence[Check | None] = ()
    vip: Sequence[VipTable | None] = ()
    share: Sequence[ShareTable | None] = ()

    @property
    def nodes(self) -> list[tuple[int, NodeTable]]:
        """The nodes that are right by themselves, with their places."""
        return _present(self.node)

    @property
    def shares(self) -> list[tuple[int, ShareTable]]:
        """The shares that are right by themselves, with their places."""
        return _present(self.share)

    @property
    def vips(self) -> list[tuple[int, VipTable]]:
        """The VIPs that are right by themselves, with their places."""
        return _present(self.vip)


def relation_problems(parts: Parts) -> list[Problem]:
    """List every relation that does not hold, table by table."""
    return [problem for rule in _RULES for problem in rule(parts)]


def _present(items: Sequence[_Item | None]) -> list[tuple[int, _Item]]:
    return [(index, item) for index, item in enumerate(items) if item is not None]


def _twice(names: Iterable[tuple[Place, str]], message: str, key: Callable[[str], str] = str) -> Iterator[Problem]:
    """Report each name that stands at a second place, with the first place as the hint."""
    seen: dict[str, str] = {}
    for place, name in names:
        path = path_of(place)
        first = seen.setdefault(key(name), path)
        if first != path:
            yield Problem(path=path, message=message.format(name), hint=f"{first} has it already")


def _farm_keeps_no_more_nodes_than_it_has(parts: Parts) -> Iterator[Problem]:
    if parts.farm is not None and parts.node and parts.farm.keep_ready > len(parts.node):
        yield Problem(
            path="farm.keep_ready",
            message=f"is {parts.farm.keep_ready}, more than the nodes of the farm: {len(parts.node)}",
            hint="nodes that must stay Ready when one is drained",
        )


def _nodes_have_names_of_their_own(parts: Parts) -> Iterator[Problem]:
    # Names become directories, and some file systems do not tell Web1 from web1.
    names = ((("node", index, "name"), node.name) for index, node in parts.nodes)
    yield from _twice(names, "is the name of another node: {}", key=str.lower)


def _address_of(index: int, node: NodeTable, network: str) -> Place:
    """Give the place of an address, in the short form where the node has only the one."""
    if tuple(node.addresses) == (DEFAULT_NETWORK,):
        return ("node", index, "address")
    return ("node", index, "addresses", network)


def _nodes_have_addresses_of_their_own(parts: Parts) -> Iterator[Problem]:
    addresses = (
        (_address_of(index, node, network), address)
        for index, node in parts.nodes
        for network, address in node.addresses.items()
    )
    yield from _twice(addresses, "is given twice: {}")


def _nodes_are_on_the_same_networks(parts: Parts) -> Iterator[Problem]:
    if not parts.nodes:
        return
    # Most nodes are right: the commonest set of networks is what the others are measured by.
    (usual, _), *_ = Counter(tuple(node.addresses) for _, node in parts.nodes).most_common(1)
    model = next(node for _, node in parts.nodes if tuple(node.addresses) == usual)
    for index, node in parts.nodes:
        path = path_of(("node", index, "addresses"))
        if set(node.addresses) != set(usual):
            yield Problem(
                path=path,
                message=f"names the networks {', '.join(node.addresses)}; {model.name} has {', '.join(usual)}",
                hint="every node has an address on every network",
            )
        elif next(iter(node.addresses)) != usual[0]:
            yield Problem(
                path=path,
                message=f"begins with {next(iter(node.addresses))}; {model.name} begins with {usual[0]}",
                hint="the first network is the main one, and the same for all",
            )
        for network in set(node.addresses) & set(usual):
            if is_ipv6(node.addresses[network]) != is_ipv6(model.addresses[network]):
                yield Problem(
                    path=path_of(_address_of(index, node, network)),
                    message=f"is of another family than {model.name}'s on this network: {node.addresses[network]}",
                    hint="IPv4 or IPv6 on one network; both make two networks",
                )


def _nodes_can_be_asked(parts: Parts) -> Iterator[Problem]:
    if parts.web is None:
        return
    unheard = []
    for index, node in parts.nodes:
        if node.listen is not None and api_endpoint(node, node.listen) is None:
            yield _no_listener(path_of(("node", index, "listen")), [node], node.listen)
        elif node.listen is None and api_endpoint(node, parts.web.listen) is None:
            unheard.append(node)
    if unheard:
        yield _no_listener("web.listen", unheard, parts.web.listen)


def _no_listener(path: str, nodes: Sequence[NodeTable], listeners: Sequence[HostPort]) -> Problem:
    wildcard = "::" if is_ipv6(nodes[0].address) else "0.0.0.0"
    return Problem(
        path=path,
        message=f"has no listener of the family of the addresses of {', '.join(node.name for node in nodes)}",
        hint=f'add "{HostPort(wildcard, listeners[0].port)}"',
    )


def api_endpoint(node: NodeTable, listeners: Sequence[HostPort]) -> HostPort | None:
    """Say where the other nodes reach this one's API, or None if its listeners are all of families that it lacks.

    A listener on the node's main address comes first, then on any of its addresses, then whatever it listens on.
    """
    for address in node.addresses.values():
        for listener in listeners:
            if listener.overlaps(HostPort(address, listener.port)):
                return HostPort(address, listener.port)
    return next((listener for listener in listeners if not listener.is_wildcard), None)


def _listeners_do_not_meet(parts: Parts) -> Iterator[Problem]:
    web: list[Listener] = _placed(("web", "listen"), parts.web.listen) if parts.web else []
    health: list[Listener] = _placed(("health", "listen"), parts.health.listen) if parts.health else []
    if parts.health and parts.health.agent_check:
        health.append((("health", "agent_check"), parts.health.agent_check))
    # The web listener of a node is the general one or its own, never both.
    pairs = list(combinations([*web, *health], 2))
    for index, node in parts.nodes:
        own = _placed(("node", index, "listen"), node.listen or ())
        pairs += [*combinations(own, 2), *product(health, own)]
    for (first_place, first), (place, listener) in pairs:
        if listener.overlaps(first):
            yield Problem(
                path=path_of(place),
                message=f"meets {path_of(first_place)}: {listener} and {first}",
                hint="another port, or another address",
            )


def _placed(place: Place, listeners: Sequence[HostPort]) -> list[Listener]:
    return [((*place, index), listener) for index, listener in enumerate(listeners)]


def _checks_have_names_of_their_own(parts: Parts) -> Iterator[Problem]:
    names = ((("check", index, "name"), check.name) for index, check in _present(parts.check))
    yield from _twice(names, "is the name of another check: {}")


def _vips_are_nobodys(parts: Parts) -> Iterator[Problem]:
    own = {address: node.name for _, node in parts.nodes for address in node.addresses.values()}
    for index, vip in parts.vips:
        if vip.address in own:
            yield Problem(
                path=path_of(("l2", "vip", index, "address")),
                message=f"is {own[vip.address]}'s own address: {vip.address}",
                hint="a VIP is an unused address of the same network",
            )
    yield from _twice(
        ((("l2", "vip", index, "address"), vip.address) for index, vip in parts.vips), "is given twice: {}"
    )


def _vips_have_the_family_of_the_nodes(parts: Parts) -> Iterator[Problem]:
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
                message=f"is {family}, and {', '.join(without)} has no address of this family",
                hint=f"give every node an {family} address: the system would take the VIP as its own source address",
            )


def _shares_have_names_of_their_own(parts: Parts) -> Iterator[Problem]:
    names = ((("l2", "share", index, "name"), share.name) for index, share in parts.shares)
    yield from _twice(names, "is the name of another share: {}")


def _shares_name_what_there_is(parts: Parts) -> Iterator[Problem]:
    nodes = {node.name for _, node in parts.nodes}
    vips = {vip.address for _, vip in parts.vips}
    for index, share in parts.shares:
        if share.vip is not None and share.vip not in vips and None not in parts.vip:
            yield Problem(
                path=path_of(("l2", "share", index, "vip")),
                message=f"is no VIP of this farm: {share.vip}",
                hint=f"the VIPs are {', '.join(sorted(vips))}" if vips else "",
            )
        if None in parts.node:
            continue
        for name in share.power:
            if name not in nodes:
                yield Problem(
                    path=path_of(("l2", "share", index, "power", name)),
                    message="is no node of this farm",
                    hint=f"the nodes are {', '.join(sorted(nodes))}",
                )


def _shares_have_takers(parts: Parts) -> Iterator[Problem]:
    if None in parts.node or not parts.node:
        return
    for index, share in parts.shares:
        if not any(share.power.get(node.name, node.power) for _, node in parts.nodes):
            yield Problem(
                path=path_of(("l2", "share", index, "power")),
                message="leaves nobody to take this share: every node has power 0",
            )


def _shares_do_not_overlap(parts: Parts) -> Iterator[Problem]:
    for (_, first), (index, share) in combinations(parts.shares, 2):
        ports = sorted(set(share.ports) & set(first.ports))
        same_vip = share.vip is None or first.vip is None or share.vip == first.vip
        if ports and same_vip and share.protocol == first.protocol:
            yield Problem(
                path=path_of(("l2", "share", index, "ports")),
                message=f"shares {share.protocol} {', '.join(map(str, ports))} with {first.name} on the same VIP",
                hint="one share per VIP, protocol and port",
            )


def _shares_fit_the_filter(parts: Parts) -> Iterator[Problem]:
    ports = [share.ports for _, share in parts.shares]
    if (found := count_classes(ports)) <= MAX_CLASSES:
        return
    # Another share only makes more of them: it is the first that is one too many.
    index, _ = next(
        place for count, place in enumerate(parts.shares, start=1) if count_classes(ports[:count]) > MAX_CLASSES
    )
    yield Problem(
        path=path_of(("l2", "share", index, "ports")),
        message=f"makes too many kinds of ports: {found} by the shares that name them, the filter holds {MAX_CLASSES}",
        hint="ports that the same shares name are one kind: let shares name the same ports, or fewer",
    )


_RULES: tuple[Callable[[Parts], Iterator[Problem]], ...] = (
    _farm_keeps_no_more_nodes_than_it_has,
    _nodes_have_names_of_their_own,
    _nodes_have_addresses_of_their_own,
    _nodes_are_on_the_same_networks,
    _nodes_can_be_asked,
    _listeners_do_not_meet,
    _checks_have_names_of_their_own,
    _vips_are_nobodys,
    _vips_have_the_family_of_the_nodes,
    _shares_have_names_of_their_own,
    _shares_name_what_there_is,
    _shares_have_takers,
    _shares_do_not_overlap,
    _shares_fit_the_filter,
)
