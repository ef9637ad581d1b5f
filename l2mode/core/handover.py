"""The buckets of this node: which it takes, which it has yet to claim, and until when; one table per share group.

The membership core of the daemon decides which view counts and when this node may claim what the view gives it. This
module turns these decisions into masks (bit b = bucket b) that a packet filter obeys. A bucket is in one of three
phases:

    OTHER --adopt, given by the view--> PENDING --claim--> MINE
    MINE --adopt, not given any more--> OTHER
    MINE --release--> PENDING (if the view still gives it)

Whatever narrows the filter takes effect at once, so that the caller can tell the other nodes afterwards. Only `claim`
widens it. All of this holds until the lease ends: from then on the filter takes nothing, even if the daemon is frozen.

In directed delivery a frame reaches one node only. During a planned move, the filter therefore takes pending buckets
before their claim, and goes on taking buckets that this node has given up. `transit.py` decides which buckets, and
until when.

A node is *dirty* while it holds connections in buckets that are not its own: the new owner of such a bucket must not
answer their packets with a reset. Only a scan of the sockets (`scanned`) can find out. Until the scan, a node that has
dropped a bucket counts as dirty, and so does a node that has just started, because an earlier boot may have accepted
connections. Between a new view and its claim no scan clears a node: a member that has not yet adopted the view still
hands packets over by the former one. Once a scan can tell which buckets the connections are in, only these buckets
count: clients of a dead node get their reset even if another node has been dirty for hours.

Nodes may differ in their settings for a moment, while a change reaches one after the other. Then a number of a share
group, and of a bucket, means something else there than here. So a node that goes by other settings counts as dirty in
every bucket, whatever it announces, and of the view that it announces only the names of the members are read.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import reduce
from itertools import zip_longest
from operator import or_
from typing import Final

from l2mode.core.buckets import BUCKETS, director_among, mask_of, owner_numbers, owners, takers
from l2mode.core.cells import NOBODY, PASS_ON, PENDING
from l2mode.core.heard_share import HeardShare
from l2mode.core.transit import Transit, View, powers_in, regrouped, regrouped_view


class BucketState(Enum):
    """The phase of a bucket on this node."""

    MINE = "mine"
    PENDING = "pending"
    "The view gives it to this node, which has not claimed it yet."
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class HeardNode:
    """What another node says of its share, in terms of this node's share groups."""

    name: str
    mac: bytes
    "The MAC of its interface in the virtual IPs' network; empty if it runs without layer-2 mode."
    dirty_buckets: int
    "Mask of the buckets in which it may hold connections though it does not own them; 0: it is clean."
    view: View = ()
    "The view that it announces; (): it takes no share. The powers are by this node's share groups."
    claimed: bool = True
    "It has claimed all that its view gives it."
    would_take: bool = False
    "It wants a share and has a power."

    @property
    def dirty(self) -> bool:
        """True while it may hold connections in buckets that are not its own."""
        return self.dirty_buckets != 0


class Handover:
    """The buckets of one node in every share group.

    `groups` is the number of share groups, `count` the number of buckets in each. Groups are numbered like the powers
    in the view. `settings` is the digest of the settings that define the groups.
    """

    def __init__(
        self, *, name: str, groups: int = 1, count: int = BUCKETS, directed: bool = False, settings: bytes = b""
    ) -> None:
        self.name = name
        self.count = count
        self._settings = settings
        self._powers_known: dict[str, tuple[int, ...]] = {}
        "The powers that nodes had in the views adopted so far, the latest of each, by the present share groups."
        self.view: View = ()
        self.lease = float("-inf")
        "The filter takes packets until this time, in seconds of the monotonic clock."
        self._anywhere = (1 << count) - 1
        self.foreign = self._anywhere
        "Mask, over all groups, of the buckets that are not `MINE` and in which this node may hold connections."
        self.drops = 0
        """How often buckets were dropped or a view was claimed. A scan notes this number to tell which table it belongs
        to."""
        self.neighbours: tuple[HeardNode, ...] = ()
        self._settled = True
        "The view is claimed: every member that is heard has adopted it."
        self._given = [0] * groups
        self._mine = [0] * groups
        self._directed = directed
        self._transit = Transit(name=name, groups=groups, count=count)
        "Stays empty in flooded delivery."

    # -- called by membership -------------------------------------------------------------------------------------

    @property
    def holding(self) -> bool:
        """True while this node takes any bucket."""
        return any(self._mine) or any(self._transit.incoming) or any(self._transit.outgoing)

    def adopt(self, view: View) -> None:
        """Adopt a view: drop the buckets that it takes away, and mark as pending those that it newly gives.

        Buckets that the view leaves with this node are served without interruption.
        """
        former = self.view or self.view_of_others()
        taking = [self.taken(group) for group in range(len(self._mine))]
        self.view = view
        self._powers_known |= dict(view)
        self._settled = not view
        self._given = [mask_of(self.name, powers, self.count) for powers in self._powers()]
        self._narrow(self._given)
        if self._directed:
            heard = {node.name for node in self.neighbours}
            self._transit.begin(view, former=former, taking=taking, mine=self._mine, given=self._given, heard=heard)
            if self.moving:
                self._note_drop()
            self._end_move()

    def regroup(self, former: Sequence[int | None], *, settings: bytes) -> None:
        """Go by other share groups, those of the settings with this digest.

        `former` has, for each group, the number of the former group of the same traffic, or None. What this node takes
        of such traffic it goes on taking; of all other traffic it takes nothing. Until a scan has found out, it may
        hold connections in any bucket. The next call must be `adopt`, with a view by these groups, or `meet` and
        `adopt`.
        """
        self._settings = settings
        self._mine, self._given = regrouped(self._mine, former), regrouped(self._given, former)
        self._transit.regroup(former)
        self.view = regrouped_view(self.view, former)
        self._powers_known = dict(regrouped_view(tuple(self._powers_known.items()), former))
        self.neighbours = tuple(
            [
                replace(node, dirty_buckets=self._anywhere, view=regrouped_view(node.view, former))
                for node in self.neighbours
            ]
        )
        self._settled = not self.view
        self._note_drop()

    def claim(self) -> None:
        """Turn every pending bucket into mine."""
        self._mine = list(self._given)
        self._settled = True
        self.drops += 1
        self._transit.arrive()
        self._end_move()

    def release(self) -> None:
        """Drop every bucket; those that the view gives to this node become pending again."""
        self._settled = not self.view
        self._narrow([0] * len(self._mine))
        if self._transit.end():
            self._note_drop()

    def renew(self, until: float) -> None:
        """Extend the lease to `until`, in seconds of the monotonic clock."""
        self.lease = until

    def meet(self, neighbours: Iterable[HeardShare]) -> bool:
        """Take in what the heard nodes announce. Return whether `cells` may have changed."""
        before = self._ways()
        self.neighbours = tuple(
            [
                HeardNode(each.name, each.mac, self._dirt(each), self._read(each), each.claimed, each.would_take)
                for each in sorted(neighbours)
            ]
        )
        self._end_move()
        return self._ways() != before

    # -- the scan of the sockets ----------------------------------------------------------------------------------

    def scanned(self, held: Sequence[int], *, drops: int) -> bool:
        """Take in the result of a scan. Return whether this node is dirty.

        `held` has one mask per group: the buckets in which connections live. `drops` is the value of `self.drops` when
        the scan began: a scan that began before the latest drop or claim may have missed a connection that was accepted
        in between, so it clears no bucket.
        """
        if drops != self.drops or not self._settled or self.moving:
            self.foreign = self._anywhere
            return self.dirty
        self.foreign = 0
        for mask, mine in zip(held, self._mine, strict=True):
            self.foreign |= mask & ~mine
        return self.dirty

    @property
    def dirty(self) -> bool:
        """True while this node may hold connections in buckets that are not its own."""
        return self.foreign != 0

    @property
    def dirty_buckets(self) -> bytes:
        """The dirty buckets as a heartbeat has them, one bit per bucket; empty: any bucket, or none if it is clean."""
        if self.foreign in (0, self._anywhere):
            return b""
        return self.foreign.to_bytes((self.count + 7) // 8, "little")

    # -- asked by the filter, the director and the operator -------------------------------------------------------

    def mine(self, group: int) -> int:
        """Return the mask of the buckets that this node owns and has claimed. They count while the lease runs."""
        return self._mine[group]

    def pending(self, group: int) -> int:
        """Return the mask of the buckets that the view gives to this node and that it has not claimed."""
        return self._given[group] & ~self._mine[group]

    def taken(self, group: int) -> int:
        """Return the mask of the buckets that the filter takes while the lease runs: mine, and those that move."""
        return self._mine[group] | self._transit.taken(group)

    @property
    def moving(self) -> bool:
        """True while the filter takes buckets that the view has taken away, because others may still send them here."""
        return any(self._transit.outgoing)

    def phase(self, group: int, bucket: int) -> BucketState:
        """Return the phase of a bucket on this node."""
        if self._mine[group] >> bucket & 1:
            return BucketState.MINE
        return BucketState.PENDING if self._given[group] >> bucket & 1 else BucketState.OTHER

    def owners(self, group: int) -> tuple[str | None, ...]:
        """Return the owner of every bucket by this node's view; None where nobody has a power."""
        return owners(self._powers()[group], self.count)

    def cells(self, group: int, numbers: Mapping[str, int]) -> bytes:
        """Return the filter's table of a group, one byte per bucket: the owner's number, or PENDING or NOBODY.

        `numbers` maps each node's name to its number. A bucket that this node has claimed has this node's number.
        """
        # A node that is in no view may still be the director for clients that have not heard of the new one.
        view = self.view or (self.view_of_others() if self._directed else ())
        table = owner_numbers(powers_in(view, group), numbers, self.count)
        table = self._transit.owners_meanwhile(group, table, view, self.neighbours, numbers)
        table = self._write_into(table, self.pending(group) & ~self._transit.incoming[group], PENDING)
        return self._write_into(table, self._transit.outgoing[group], numbers[self.name])

    def dirty_members(self) -> dict[str, int]:
        """Return the nodes that may hold connections in buckets they do not own, each with a mask of these buckets.

        Dirty nodes are included, and while buckets move also their former and new owners. This node is included with
        the moving buckets that no other node is named for: a filter sends nothing to its own node, and thus answers no
        packet of these buckets with a reset.
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
        """Return the filter's table of a group on a node that is out of the view: the owners by the others' view.

        The filter forwards there what clients still send to this node. `view` does not contain this node (see
        `view_of_others`); its members may come from a different version of the farm file.
        """
        powers = {name: each[group] for name, each in view if group < len(each) and name in numbers}
        return owner_numbers(powers, numbers, self.count).translate(_PASSED_ON)

    def director(self, vip: bytes) -> str | None:
        """Return the member that answers for a virtual IP in directed delivery, by this node's view."""
        return director_of(self.view, vip)

    def view_of_others(self) -> View:
        """Return the largest view that another node announces, without this node; on a tie the one of the lower names.

        A node that is in no view uses it: the others may not yet have heard that this node has left.
        """
        view = min((node.view for node in self.neighbours), key=lambda view: (-len(view), view), default=())
        return tuple(member for member in view if member[0] != self.name)

    def fractions(self, *, now: float) -> tuple[float, ...]:
        """Return the fraction of each group's buckets that this node takes, 0 to 1."""
        if now >= self.lease:
            return (0.0,) * len(self._mine)
        return tuple([mine.bit_count() / self.count for mine in self._mine])

    def _ways(self) -> tuple[object, ...]:
        """Return everything apart from the view that determines to whom `cells` sends packets."""
        if not self._directed:
            return ()
        others = () if self.view else self.view_of_others()
        if not self._transit.goes_on:
            return (others,)
        view = self.view or others
        return others, [(node.name, self._transit.is_up(node, view)) for node in self.neighbours]

    def _write_into(self, table: bytes, buckets: int, number: int) -> bytes:
        """Return a copy of the table with `number` in the bytes of these buckets."""
        if not buckets:
            return table
        # Spread the mask to one byte per bucket, 0xFF or 0, so that all cells are replaced in one operation.
        digits = f"{buckets:0{self.count}b}"[::-1].encode()
        chosen = int.from_bytes(digits.translate(_ONE_IS_ALL))
        number_everywhere = int.from_bytes(bytes([number]) * self.count)
        return ((int.from_bytes(table) & ~chosen) | (number_everywhere & chosen)).to_bytes(self.count)

    def _end_move(self) -> None:
        """End the move of buckets if no node sends by a former view any more."""
        if not self._transit.goes_on:
            return
        if self._transit.is_over(self.view, self.neighbours, claimed=self._settled) and self._transit.end():
            self._note_drop()

    def _note_drop(self) -> None:
        self.drops += 1
        self.foreign = self._anywhere

    def _dirt(self, said: HeardShare) -> int:
        """Return the mask of the buckets in which a node may hold connections that it does not own."""
        if said.settings != self._settings:
            # It may number buckets otherwise, and does not count connections that no share of its own names.
            return self._anywhere
        if not said.dirty:
            return 0
        return int.from_bytes(said.dirty_buckets, "little") & self._anywhere or self._anywhere

    def _read(self, said: HeardShare) -> View:
        """Return the view that a node announces, with powers by this node's share groups.

        Powers by other settings cannot be read, so those that the members had before stand for them. They are good
        enough to send packets by: no node takes a packet that another sends it, unless it owns the bucket by its own
        tables.
        """
        if said.settings == self._settings:
            return said.view
        return tuple([(name, self._powers_known.get(name, ())) for name, _ in said.view])

    def _powers(self) -> list[dict[str, int]]:
        """Return the members' powers, one mapping per group."""
        return [powers_in(self.view, group) for group in range(len(self._mine))]

    def _narrow(self, allowed: Sequence[int]) -> None:
        kept = [mine & mask for mine, mask in zip(self._mine, allowed, strict=True)]
        if kept != self._mine:
            self._mine = kept
            self._note_drop()


_PASSED_ON: Final = bytes([PASS_ON + owner if owner < PASS_ON else NOBODY for owner in range(256)])

_ONE_IS_ALL: Final = bytes([0xFF if byte == ord("1") else 0 for byte in range(256)])
"Translates the digit 1 to 0xFF and every other byte to 0."


def director_of(view: View, vip: bytes) -> str | None:
    """Return the member of a view that answers for a virtual IP in directed delivery.

    Every member that owns buckets in some group counts equally. A standby does not count: it would only forward what
    belongs to another node.
    """
    names = [name for name, _ in view]
    # A view that others announce may come from another farm file, with other groups.
    groups = zip_longest(*(powers for _, powers in view), fillvalue=0)
    owning = {name for powers in groups for name in takers(dict(zip(names, powers, strict=True)))}
    return director_among(owning, vip)
