"""How many kinds of ports a filter can tell apart: for whoever reads a farm file, so that nothing else is loaded."""

from collections.abc import Iterable
from typing import Final

MAX_CLASSES: Final = 255
"Classes of ports in the filter's tables."


def count_classes(ports: Iterable[Iterable[int]]) -> int:
    """Give how many classes the ports fall in that share groups name, given the ports of each.

    Ports that the same groups name are one class; those that no group names need none. No two groups may name the same
    port of the same virtual IP and protocol.
    """
    named_by: dict[int, list[int]] = {}
    for group, its_ports in enumerate(ports):
        for port in its_ports:
            named_by.setdefault(port, []).append(group)
    return len(set(map(tuple, named_by.values())))
