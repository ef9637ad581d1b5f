"""Whether a new server can be a node of the farm, before anybody is asked to agree."""

from collections.abc import Collection, Mapping


def why_not_this_node(
    nodes: Mapping[str, Collection[str]],
    name: str,
    addresses: Collection[str],
    *,
    alive: Collection[str],
    named: bool,
) -> tuple[str, ...]:
    """Return every reason why a server cannot join by this name with these addresses.

    `nodes` are those of the farm file with their addresses, `alive` those that are heard, this one included. A server
    may take the place of a node that is in the farm file and does not run only by a token that is `named`, which was
    made for that node.
    """
    if name in alive:
        return (f"the farm has a node {name}, and it runs: choose another name with --name",)
    if name not in nodes:
        taken = {address: other for other, theirs in nodes.items() for address in theirs}
        return tuple(
            f"{address} is the address of {taken[address]}: choose another one with --address"
            for address in addresses
            if address in taken
        )
    if not named:
        otherwise = f"make a token for that node if this server is to take its place: hcsidecar token {name}"
        return (f"the farm has a node {name} already: choose another name with --name, or {otherwise}",)
    if sorted(nodes[name]) != sorted(addresses):
        theirs = ", ".join(nodes[name])
        return (f"{name} has the address {theirs} in the farm file, not {', '.join(addresses)}",)
    return ()
