"""Which node hears which: a graph of bit masks, so that 64 nodes cost a few integer operations.

Bit i of every mask stands for the i-th node of the farm file in the order of names.
"""


class Connectivity:
    """The directed graph "listener hears speaker", as one node knows it from the latest heartbeats."""

    def __init__(self, size: int) -> None:
        self._hears = [0] * size
        self._heard_by = [0] * size

    def set_heard(self, listener: int, speakers: int) -> None:
        """Set the mask of all nodes that a listener hears; 0 removes them."""
        changed = self._hears[listener] ^ speakers
        self._hears[listener] = speakers
        bit = 1 << listener
        while changed:
            lowest = changed & -changed
            self._heard_by[lowest.bit_length() - 1] ^= bit
            changed ^= lowest

    def hears(self, listener: int) -> int:
        """Return the mask of the nodes that `listener` hears."""
        return self._hears[listener]

    def edges(self, node: int) -> int:
        """Return the mask of the nodes with which `node` has an edge: each hears the other."""
        return self._hears[node] & self._heard_by[node]

    def is_clique(self, members: int) -> bool:
        """Return whether each of the members has an edge to every other member."""
        rest = members
        while rest:
            lowest = rest & -rest
            rest ^= lowest
            if members & ~self.edges(lowest.bit_length() - 1) != lowest:
                return False
        return True

    def greedy_clique(self, candidates: int) -> int:
        """Return a clique, built greedily by number of edges, number of listeners, and name.

        Nodes with the same knowledge build the same clique. The number of listeners counts so that, of a pair in which
        only one hears the other, the deaf node is preferred: it cannot be told to step back.
        """

        def rank(node: int) -> tuple[int, int, int]:
            return (
                -(self.edges(node) & candidates).bit_count(),
                -(self._heard_by[node] & candidates).bit_count(),
                node,
            )

        clique = 0
        for node in sorted(bits(candidates), key=rank):
            if clique & ~self.edges(node) == 0:
                clique |= 1 << node
        return clique


def bits(mask: int) -> list[int]:
    """Return the positions of the set bits, in ascending order."""
    found = []
    while mask:
        lowest = mask & -mask
        found.append(lowest.bit_length() - 1)
        mask ^= lowest
    return found
