"""In which combinations each story is told: delivery, packet filter and family of addresses.

`make test` tells each story in a few, chosen so that every pair of delivery, filter and family occurs; `make soak`
tells each in all twelve.
"""

from dataclasses import dataclass
from itertools import product

import pytest

DELIVERIES = ("directed", "flooded")
FILTERS = ("tc", "xdp", "nfqueue")
FAMILIES = (4, 6)


@dataclass(frozen=True, slots=True)
class Combination:
    """One way in which a farm may be set up."""

    delivery: str
    packet_filter: str
    family: int

    def __str__(self):
        return f"{self.delivery}-{self.packet_filter}-ipv{self.family}"


ALL = tuple(Combination(*one) for one in product(DELIVERIES, FILTERS, FAMILIES))

IN_MAKE_TEST = {
    "exactly one": ("directed-tc-ipv4", "flooded-nfqueue-ipv6"),
    "crash": ("directed-xdp-ipv6", "flooded-nfqueue-ipv4"),
    "crash after moves": ("directed-tc-ipv6", "flooded-xdp-ipv4"),
    "director dies": ("directed-tc-ipv4", "directed-tc-ipv6"),
    "frozen": ("flooded-tc-ipv6", "directed-nfqueue-ipv4"),
    "killed": ("directed-xdp-ipv4", "flooded-nfqueue-ipv6"),
    "gentle stop": ("directed-tc-ipv6", "flooded-xdp-ipv4"),
    "shutdown": ("directed-tc-ipv4", "flooded-nfqueue-ipv6"),
    "join and powers": ("directed-tc-ipv4", "flooded-tc-ipv6"),
    "partition": ("directed-tc-ipv6", "flooded-xdp-ipv4"),
    "bulk": ("directed-tc-ipv4", "flooded-xdp-ipv6", "directed-nfqueue-ipv4"),
    "bulk past slow readers": (),
    "datagrams": ("directed-xdp-ipv6", "flooded-tc-ipv4"),
    "path MTU": ("directed-tc-ipv4", "flooded-nfqueue-ipv6"),
    "ping": ("directed-tc-ipv4", "flooded-nfqueue-ipv6"),
    "left as found": ("directed-tc-ipv4", "flooded-nfqueue-ipv6", "directed-xdp-ipv6"),
    "attack": ("directed-xdp-ipv4", "flooded-tc-ipv6"),
    "forgeries": ("directed-tc-ipv4",),
}
"The combinations of each story outside `make soak`."


def story(name):
    """Tell the test in all combinations, those beyond `IN_MAKE_TEST` in `make soak` only."""
    chosen = IN_MAKE_TEST[name]
    directed_only = name == "director dies"
    filters = ("nfqueue",) if name == "bulk past slow readers" else FILTERS
    return pytest.mark.parametrize(
        "way",
        [
            pytest.param(way, id=str(way), marks=() if str(way) in chosen else pytest.mark.soak)
            for way in ALL
            if (way.delivery == "directed" or not directed_only) and way.packet_filter in filters
        ],
    )
