"""The checks between the tables of a farm file. Tables that are wrong by themselves are left out of them."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address
from itertools import combinations, product

from hcsidecar.core.farmfile.l2_cross_checks import L2_RULES
from hcsidecar.core.farmfile.problems import Problem, path_of
from hcsidecar.core.farmfile.raw_tables import KeyPath, RawTables, present, twice
from hcsidecar.core.farmfile.tables import DEFAULT_NETWORK, NodeTable
from hcsidecar.core.farmfile.target_cross_checks import TARGET_RULES
from hcsidecar.core.farmfile.values import HostPort, is_ipv6


def relation_problems(parts: RawTables) -> list[Problem]:
    """Return a problem for each relation between tables that does not hold."""
    return [problem for rule in _RULES for problem in rule(parts)]


def _farm_keeps_no_more_nodes_than_it_has(parts: RawTables) -> Iterator[Problem]:
    if parts.farm is not None and parts.node and parts.farm.keep_ready > len(parts.node):
        yield Problem(
            path="farm.keep_ready",
            message=f"is {parts.farm.keep_ready}, but the farm has only {len(parts.node)} nodes",
            hint="the number of nodes that must stay Ready when one is drained",
        )


def _nodes_have_names_of_their_own(parts: RawTables) -> Iterator[Problem]:
    # Names become directories, and some file systems do not distinguish Web1 from web1.
    names = ((("node", index, "name"), node.name) for index, node in parts.nodes)
    yield from twice(names, "is the name of another node: {}", key=str.lower)


def address_place(index: int, node: NodeTable, network: str) -> KeyPath:
    """Return the place of an address in the file: the key `address` if the node has only one."""
    if tuple(node.addresses) == (DEFAULT_NETWORK,):
        return ("node", index, "address")
    return ("node", index, "addresses", network)


def _nodes_have_addresses_of_their_own(parts: RawTables) -> Iterator[Problem]:
    addresses = (
        (address_place(index, node, network), address)
        for index, node in parts.nodes
        for network, address in node.addresses.items()
    )
    yield from twice(addresses, "is given twice: {}")


def _nodes_are_on_the_same_networks(parts: RawTables) -> Iterator[Problem]:
    if not parts.nodes:
        return
    # Most nodes are right, so the most common set of networks is the standard for the others.
    (usual, _), *_ = Counter(tuple(node.addresses) for _, node in parts.nodes).most_common(1)
    model = next(node for _, node in parts.nodes if tuple(node.addresses) == usual)
    for index, node in parts.nodes:
        path = path_of(("node", index, "addresses"))
        if set(node.addresses) != set(usual):
            yield Problem(
                path=path,
                message=f"has the networks {', '.join(node.addresses)}, but {model.name} has {', '.join(usual)}",
                hint="every node needs an address on every network",
            )
        elif next(iter(node.addresses)) != usual[0]:
            yield Problem(
                path=path,
                message=f"begins with {next(iter(node.addresses))}, but {model.name} begins with {usual[0]}",
                hint="the first network is the main one and must be the same on all nodes",
            )
        for network in set(node.addresses) & set(usual):
            if is_ipv6(node.addresses[network]) != is_ipv6(model.addresses[network]):
                yield Problem(
                    path=path_of(address_place(index, node, network)),
                    message=f"is of another family than that of {model.name}: {node.addresses[network]}",
                    hint="a network has IPv4 or IPv6 addresses; for both, define two networks",
                )


def _nodes_can_be_asked(parts: RawTables) -> Iterator[Problem]:
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
        message=f"has no listener for the address family of {', '.join(node.name for node in nodes)}",
        hint=f'add "{HostPort(wildcard, listeners[0].port)}"',
    )


def api_endpoint(node: NodeTable, listeners: Sequence[HostPort]) -> HostPort | None:
    """Return where the other nodes reach the API of this node, or None if no listener is of a family that the node has.

    A listener on the main address of the node comes first, then one on another of its addresses, then any other.
    """
    for address in node.addresses.values():
        for listener in listeners:
            if listener.overlaps(HostPort(address, listener.port)):
                return HostPort(address, listener.port)
    return next((listener for listener in listeners if not listener.is_wildcard), None)


def _listeners_do_not_meet(parts: RawTables) -> Iterator[Problem]:
    # A node uses the general web listener or its own, never both.
    pairs = list(combinations([*parts.web_listeners, *parts.general_listeners], 2))
    for _, own in parts.own_listeners:
        pairs += [*combinations(own, 2), *product(parts.general_listeners, own)]
    for (first_place, first), (place, listener) in pairs:
        if listener.overlaps(first):
            yield Problem(
                path=path_of(place),
                message=f"conflicts with {path_of(first_place)}: {listener} and {first}",
                hint="use another port or another address",
            )


def _listeners_are_on_every_node(parts: RawTables) -> Iterator[Problem]:
    owners = {address: node for _, node in parts.nodes for address in node.addresses.values()}
    for users, listeners in (
        ([node for _, node in parts.nodes if node.listen is None], parts.web_listeners),
        ([node for _, node in parts.nodes], parts.general_listeners),
    ):
        for place, listener in listeners:
            owner = owners.get(listener.host)
            others = [node.name for node in users if node is not owner]
            # Nodes on loopback addresses run on one machine, which has all of these addresses.
            if owner is None or not others or ip_address(listener.host).is_loopback:
                continue
            wildcard = HostPort("::" if is_ipv6(listener.host) else "0.0.0.0", listener.port)
            yield Problem(
                path=path_of(place),
                message=f"is the address of {owner.name}, so {', '.join(others)} cannot listen on it: {listener}",
                hint=f'"{wildcard}"' + (", or `listen` of each [[node]]" if place[0] == "web" else ""),
            )


def _nodes_have_a_power(parts: RawTables) -> Iterator[Problem]:
    # With [l2], each share has its own powers, and another rule checks them.
    if parts.nodes and not parts.share and None not in parts.node and not any(node.power for _, node in parts.nodes):
        yield Problem(
            path="node",
            message="every node has power 0, so none can be a member of the view",
            hint="give at least one node a power of 1 or more",
        )


def _checks_have_names_of_their_own(parts: RawTables) -> Iterator[Problem]:
    names = ((("check", index, "name"), check.name) for index, check in present(parts.check))
    yield from twice(names, "is the name of another check: {}")


def _checks_restart_what_has_scripts(parts: RawTables) -> Iterator[Problem]:
    for index, check in present(parts.check):
        if check.action in ("restart", "stopstart") and not parts.has_application:
            yield Problem(
                path=path_of(("check", index, "action")),
                message=f"is {check.action}, but there are no scripts to do that",
                hint="add a table [application] with start and stop",
            )


def _receivers_have_names_of_their_own(parts: RawTables) -> Iterator[Problem]:
    names = ((("notify", index, "name"), receiver.label) for index, receiver in present(parts.notify))
    yield from twice(names, "is the name of another receiver: {}")


_RULES: tuple[Callable[[RawTables], Iterator[Problem]], ...] = (
    _farm_keeps_no_more_nodes_than_it_has,
    _nodes_have_names_of_their_own,
    _nodes_have_addresses_of_their_own,
    _nodes_are_on_the_same_networks,
    _nodes_can_be_asked,
    _listeners_do_not_meet,
    _listeners_are_on_every_node,
    _nodes_have_a_power,
    _checks_have_names_of_their_own,
    _checks_restart_what_has_scripts,
    _receivers_have_names_of_their_own,
    *TARGET_RULES,
    *L2_RULES,
)
