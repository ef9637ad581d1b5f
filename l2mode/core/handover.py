"""Which buckets are open here, which wait to be claimed, and until when: one table per share group.

The membership core of the daemon says which view counts and when this node may open what the view gives it; this
class turns that into masks (bit b = bucket b) that a packet filter obeys. A bucket is in one of three phases:

    OTHER --adopt, given by the view--> PENDING --claim--> MINE
    MINE --adopt, not given any more--> OTHER
    MINE --release--> PENDING (when the view goes on giving it)

Whatever narrows the filter happens at once, so that the caller can say so to the others afterwards; nothing is opened
but by `claim`. All of it only counts until the lease ends: then the filter takes nothing, whoever sleeps.

In directed delivery a frame reaches one node only. So the filter takes what is pending before its claim, and what was
mine after it, for as long as a planned move goes on: `transit.py` says which buckets, and until when.

A node is *dirty* while it holds connections in buckets that are not open here, for then the new owner must not answer
their packets with a reset. Only a look at the sockets can tell (`scanned`); until the look, whoever has dropped
a bucket is taken for dirty, and so is who has just started: an earlier boot may have accepted connections. From a new
view to its claim a look clears nobody: a member that has not adopted the view yet still hands packets over by
the former one. Once it can be told in which buckets the connections are, only these count: clients of a dead node get
their reset although somebody else has been dirty for hours.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import reduce
from itertools import zip_longest
from operator import or_
from typing import Final

from l2mode.core.buckets import BUCKETS, mask_of, owner_numbers, owner_of, owners, takers
from l2mode.core.cells import NOBODY, PASS_ON, PENDING
from l2mode.core.transit import Transit, View, powers_in

Said = tuple[str, bytes, bool, bytes, View, bool]
"""What a node that is heard says: name, MAC of the interface, dirty and in which buckets, view, and whether it waits
for nothing to take what that view gives it."""


class BucketState(Enum):
    """What a bucket is to this node."""

    MINE = "mine"
    PENDING = "pending"
    "Given to this node by the view, and not claimed yet."
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class HeardNode:
    """What another node that is heard says of itself."""

    name: str
    mac: bytes
    "Of its interface in the virtual IPs' network; empty when it runs without layer-2 mode."
    dirty_buckets: int
    "Buckets in which it may hold connections that are not its own to take, as a mask; 0: it is clean."
    view: View = ()
    "The view that it announces; () = it takes no share."
    claimed: bool = True
    "It waits for nothing to take what that view gives it."

    @property
    def dirty(self) -> bool:
        """True when it holds connections in buckets that are not open there."""
        return self.dirty_buckets != 0


class Handover:
    """The buckets of one node in every share group.

    `groups` counts the share groups, `count` the buckets of each. Groups are numbered as the powers in the view.
    """

    def __init__(self, *, name: str, groups: int = 1, count: int = BUCKETS, directed: bool = False) -> None:
        self.name = name
        self.count = count
        self.view: View = ()
        self.lease = float("-inf")
        "The filter takes packets until then, in seconds of the monotonic clock."
        self._anywhere = (1 << count) - 1
        self.foreign = self._anywhere
        "Buckets, of all groups together, in which connections may live here although they are not open here."
        self.drops = 0
        "How often a bucket was dropped or a view claimed: names the state of the table that a scan belongs to."
        self.neighbours: tuple[HeardNode, ...] = ()
        self._settled = True
        "The view is claimed: every member that is heard has adopted it."
        self._given = [0] * groups
        self._mine = [0] * groups
        self._directed = directed
        self._transit = Transit(name=name, groups=groups, count=count)
        "Nothing moves in it in flooded delivery."

    # -- what membership says -----------------------------------------------------------------------------------

    @property
    def holding(self) -> bool:
        """True when some bucket is open here."""
        return any(self._mine) or any(self._transit.incoming) or any(self._transit.outgoing)

    def adopt(self, view: View) -> None:
        """Drop what the view takes; what it newly gives is pending; the rest of mine goes on uninterrupted."""
        former = self.view or self.view_of_others()
        taking = [self.taken(group) for group in range(len(self._mine))]
        self.view = view
        self._settled = not view
        self._given = [mask_of(self.name, powers, self.count) for powers in self._powers()]
        self._narrow(self._given)
        if self._directed:
            heard = {node.name for node in self.neighbours}
            self._transit.begin(view, former=former, taking=taking, mine=self._mine, given=self._given, heard=heard)
            if self.moving:
                self._note_drop()
            self._end_move()

    def claim(self) -> None:
        """Make mine what is pending."""
        self._mine = list(self._given)
        self._settled = True
        self.drops += 1
        self._transit.arrive()
        self._end_move()

    def release(self) -> None:
        """Drop everything; what the view gives this node is pending again."""
        self._settled = not self.view
        self._narrow([0] * len(self._mine))
        if self._transit.end():
            self._note_drop()

    def renew(self, until: float) -> None:
        """Take packets until then, in seconds of the monotonic clock."""
        self.lease = until

    def meet(self, neighbours: Iterable[Said]) -> bool:
        """Take in what the nodes that are heard say; answer whether `cells` may be others now."""
        before = self._ways()
        self.neighbours = tuple(
            [
                HeardNode(name, mac, self._dirt(buckets) if dirty else 0, view, claimed)
                for name, mac, dirty, buckets, view, claimed in sorted(neighbours)
            ]
        )
        self._end_move()
        return self._ways() != before

    # -- what the look at the sockets says ----------------------------------------------------------------------

    def scanned(self, held: Sequence[int], *, drops: int) -> bool:
        """Note in which buckets connections live, one mask per group; answer whether this node is dirty.

        `drops` is the count when the scan began: one that began before the latest drop or claim may have missed
        a connection that was accepted in between, and so clears nobody.
        """
        self.foreign = 0
        if drops != self.drops or not self._settled or self.moving:
            self.foreign = self._anywhere
        for mask, mine in zip(held, self._mine, strict=True):
            self.foreign |= mask & ~mine
        return self.dirty

    @property
    def dirty(self) -> bool:
        """True when connections may live here in buckets that are not open here."""
        return self.foreign != 0

    @property
    def dirty_buckets(self) -> bytes:
        """In which ones at most, as a heartbeat has it: a bit for each bucket; empty means any, or none when clean."""
        if self.foreign in (0, self._anywhere):
            return b""
        return self.foreign.to_bytes((self.count + 7) // 8, "little")

    # -- what the filter, the director and the operator ask -----------------------------------------------------

    def mine(self, group: int) -> int:
        """Mask of the buckets that are open here as long as the lease runs."""
        return self._mine[group]

    def pending(self, group: int) -> int:
        """Mask of the buckets that the view gives this node and that it has not claimed."""
        return self._given[group] & ~self._mine[group]

    def taken(self, group: int) -> int:
        """Mask of the buckets that the filter takes as long as the lease runs: mine, and those that move."""
        return self._mine[group] | self._transit.taken(group)

    @property
    def moving(self) -> bool:
        """True while the filter takes what the view has taken from this node, since others may still send it here."""
        return any(self._transit.outgoing)

    def phase(self, group: int, bucket: int) -> BucketState:
        """Say what a bucket is to this node."""
        if self._mine[group] >> bucket & 1:
            return BucketState.MINE
        return BucketState.PENDING if self._given[group] >> bucket & 1 else BucketState.OTHER

    def owners(self, group: int) -> tuple[str | None, ...]:
        """Name the owner of every bucket by this node's view; None where nobody has a power."""
        return owners(self._powers()[group], self.count)

    def cells(self, group: int, numbers: Mapping[str, int]) -> bytes:
        """Give the filter's table of a group, a byte per bucket: the owner's number, or PENDING or NOBODY.

        `numbers` gives each node's; an own bucket that is open here has this node's number.
        """
        # Who is in no view may be the director all the same, for clients that have not heard of another one.
        view = self.view or (self.view_of_others() if self._directed else ())
        table = owner_numbers(powers_in(view, group), numbers, self.count)
        table = self._transit.owners_meanwhile(group, table, self.view, self.neighbours, numbers)
        table = self._write_into(table, self.pending(group) & ~self._transit.incoming[group], PENDING)
        return self._write_into(table, self._transit.outgoing[group], numbers[self.name])

    def dirty_members(self) -> dict[str, int]:
        """Name the nodes beside this one that may hold connections in buckets not their own, each with its buckets.

        So may, of buckets that move, who had or gets them. This node is named for those of which nobody else may: to
        itself it sends nothing, and so its filter answers nobody with a reset.
        """
        if not self._transit.goes_on:
            return {node.name: node.dirty_buckets for node in self.neighbours if node.dirty}
        others = () if self.view else self.view_of_others()
        found = self._transit.suspects({node.name for node in self.neighbours}, others)
        for node in self.neighbours:
            if node.dirty:
                found[node.name] = found.get(node.name, 0) | node.dirty_buckets
        alone = reduce(or_, map(self._transit.taken, range(len(self._mine)))) & ~reduce(or_, found.values(), 0)
        return found | {self.name: alone} if alone else found

    def cells_of_others(self, view: View, group: int, numbers: Mapping[str, int]) -> bytes:
        """Give the filter's table of a group on a node that is out of the view: who owns what by the others' view.

        What clients still send to this node goes there. `view` is without this node, as of `view_of_others`; its
        members may be another farm file's.
        """
        powers = {name: each[group] for name, each in view if group < len(each) and name in numbers}
        return owner_numbers(powers, numbers, self.count).translate(_PASSED_ON)

    def director(self, vip: bytes) -> str | None:
        """Name the member that answers for a virtual IP in directed delivery, by this node's view."""
        return director_of(self.view, vip)

    def view_of_others(self) -> View:
        """Give the largest view that a neighbour announces, on a tie the one of the lower names; without this node.

        It is for a node that is in no view: the others may just not have heard yet that it has left.
        """
        view = min((node.view for node in self.neighbours), key=lambda view: (-len(view), view), default=())
        return tuple(member for member in view if member[0] != self.name)

    def fractions(self, *, now: float) -> tuple[float, ...]:
        """Give the part of each group's buckets that this node takes, 0 to 1."""
        if now >= self.lease:
            return (0.0,) * len(self._mine)
        return tuple([mine.bit_count() / self.count for mine in self._mine])

    def _ways(self) -> tuple[object, ...]:
        """Give all by which `cells` finds to whom packets are sent, apart from the view."""
        if not self._directed:
            return ()
        others = () if self.view else self.view_of_others()
        if not self._transit.goes_on:
            return (others,)
        return others, [(node.name, node.view == self.view) for node in self.neighbours]

    def _write_into(self, table: bytes, buckets: int, number: int) -> bytes:
        """Give a table with a number in these buckets' bytes."""
        if not buckets:
            return table
        # A byte per bucket, all its bits 1 or 0; then all cells at once.
        digits = f"{buckets:0{self.count}b}"[::-1].encode()
        chosen = int.from_bytes(digits.translate(_ONE_IS_ALL))
        number_everywhere = int.from_bytes(bytes([number]) * self.count)
        return ((int.from_bytes(table) & ~chosen) | (number_everywhere & chosen)).to_bytes(self.count)

    def _end_move(self) -> None:
        """End the move of buckets if nobody sends by a former view any more."""
        if not self._transit.goes_on:
            return
        if self._transit.is_over(self.view, self.neighbours, claimed=self._settled) and self._transit.end():
            self._note_drop()

    def _note_drop(self) -> None:
        self.drops += 1
        self.foreign = self._anywhere

    def _dirt(self, buckets: bytes) -> int:
        return int.from_bytes(buckets, "little") & self._anywhere or self._anywhere

    def _powers(self) -> list[dict[str, int]]:
        """Give the powers of the members, one mapping per group."""
        return [powers_in(self.view, group) for group in range(len(self._mine))]

    def _narrow(self, allowed: Sequence[int]) -> None:
        kept = [mine & mask for mine, mask in zip(self._mine, allowed, strict=True)]
        if kept != self._mine:
            self._mine = kept
            self._note_drop()


_PASSED_ON: Final = bytes([PASS_ON + owner if owner < PASS_ON else NOBODY for owner in range(256)])

_ONE_IS_ALL: Final = bytes([0xFF if byte == ord("1") else 0 for byte in range(256)])
"The translation of the digit 1 to a byte of ones, and of all else to 0."


def director_of(view: View, vip: bytes) -> str | None:
    """Name the member of a view that answers for a virtual IP in directed delivery.

    All count alike that own buckets of some group: one that stands by would only send on what is another's.
    """
    names = [name for name, _ in view]
    # A view that others announce may be of another farm file, with other groups.
    groups = zip_longest(*(powers for _, powers in view), fillvalue=0)
    owning = {name for powers in groups for name in takers(dict(zip(names, powers, strict=True)))}
    return owner_of(vip, dict.fromkeys(owning, 1))
