"""The number of kinds of ports that a filter distinguishes.

This is a module of its own so that whoever reads a farm file loads nothing else.
"""

from collections.abc import Iterable
from typing import Final

MAX_CLASSES: Final = 255
"The most classes of ports that the filter's tables have room for."


def count_classes(ports: Iterable[Iterable[int]]) -> int:
    """Return the number of classes of the ports that share groups name, given the ports of each group.

    Ports that the same groups name form one class; ports that no group names need none. No two groups may name the same
    port of the same virtual IP and protocol.
    """
    named_by: dict[int, list[int]] = {}
    for group, its_ports in enumerate(ports):
        for port in its_ports:
            named_by.setdefault(port, []).append(group)
    return len(set(map(tuple, named_by.values())))
