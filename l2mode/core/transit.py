"""Buckets on the move in directed delivery, which clients can use throughout the move.

In flooded delivery every node gets a copy of each packet. A bucket that changes hands must therefore have no taker
until the new owner has learned that the former one has let go. In directed delivery a frame reaches only the node that
a director passes it to. Both owners may take what reaches them, and no packet is without a taker:

    former owner     other members       new owner
    OUTGOING         send to the former  -                until they have heard of the view
    OUTGOING         send to the former  INCOMING         new owner has adopted the view, and is not heard yet
    OUTGOING         send to the new     INCOMING         it is heard
    -                send to the new     MINE             all have claimed: nobody sends to the former owner any more

The filter takes packets of incoming and outgoing buckets but answers none of them with a reset: it sends a packet that
belongs to no connection here to the other nodes that may know it, the *suspects*. A node that has taken connections of
an outgoing bucket is dirty, and stays so at least until the move is over.

This applies only between nodes that hear each other. Nobody takes a dead node's buckets before its lease is over.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from l2mode.core.buckets import mask_of, owner_numbers

View = tuple[tuple[str, tuple[int, ...]], ...]
"The members that take shares, each with one power per share group; (): this node takes none."

_VIEWS_BETWEEN = 4
"How many views of an unsettled move are kept. A node that had buckets by an older one is dirty by now."


class Heard(Protocol):
    """What another node announces of itself in its heartbeats."""

    @property
    def name(self) -> str:
        """The node's name."""

    @property
    def view(self) -> View:
        """The view that it announces; (): it takes no share."""

    @property
    def claimed(self) -> bool:
        """True when it has claimed all that its view gives it."""

    @property
    def would_take(self) -> bool:
        """True if it wants a share and has a power."""


class Transit:
    """The move in progress, as one node sees it. There is one mask per share group."""

    def __init__(self, *, name: str, groups: int, count: int) -> None:
        self._name, self._count = name, count
        self.incoming = [0] * groups
        "Buckets given to this node that it takes already, before it has claimed them."
        self.outgoing = [0] * groups
        "Buckets that the view has taken from this node and that it still takes."
        self._former: View = ()
        "The view that gave the buckets their owners before the move."
        self._views: tuple[View, ...] = ()
        "The views adopted since then, the present one last; empty when nothing moves."
        self._found: tuple[object, dict[str, int]] = (None, {})
        "The suspects and the input they were computed from: computing them takes milliseconds in a large farm."

    @property
    def goes_on(self) -> bool:
        """True until every heard node has adopted the view and claimed what it gives to it."""
        return bool(self._views)

    def begin(
        self,
        view: View,
        *,
        former: View,
        taking: Sequence[int],
        mine: Sequence[int],
        given: Sequence[int],
        heard: Collection[str],
    ) -> None:
        """Begin a move to another view, or change the destination of a move in progress.

        `former` is the view until now. The masks in `taking` are the buckets taken until now, incoming and outgoing
        included; `mine` and `given` are those of the new view.
        """
        if not self._views:
            self._former = former
        self._views = (*self._views, view)[-_VIEWS_BETWEEN:]
        for group in range(len(given)):
            pending = given[group] & ~mine[group]
            self.incoming[group] = pending & (taking[group] | self._had_by(heard, group)) if pending else 0
            self.outgoing[group] = taking[group] & ~given[group]

    def regroup(self, former: Sequence[int | None]) -> None:
        """Go by other share groups: `former` has, for each of them, the number of the former group of this traffic."""
        self.incoming, self.outgoing = regrouped(self.incoming, former), regrouped(self.outgoing, former)
        self._former = regrouped_view(self._former, former)
        self._views = tuple([regrouped_view(view, former) for view in self._views])
        self._found = (None, {})

    def arrive(self) -> None:
        """Called when this node has claimed what is incoming."""
        self.incoming = [0] * len(self.incoming)

    def end(self) -> bool:
        """End the move. Return whether the filter took any bucket on account of it."""
        had = any(self.incoming) or any(self.outgoing)
        self.incoming = [0] * len(self.incoming)
        self.outgoing = [0] * len(self.outgoing)
        self._views = ()
        return had

    def is_over(self, view: View, heard: Collection[Heard], *, claimed: bool) -> bool:
        """Return whether no heard node sends by a former view any more.

        `claimed` is whether this node has claimed what `view` gives it. If no node has a view, as when all go over to
        other share groups at the same moment, the move goes on until one of those that would take a share has.
        """
        if view and not claimed:
            return False
        if not view and not any(other.view for other in heard) and any(other.would_take for other in heard):
            return False
        return all(
            not other.view
            or (other.claimed and (other.view == view if view else all(name != self._name for name, _ in other.view)))
            for other in heard
        )

    def is_up(self, other: Heard, view: View) -> bool:
        """Return whether a heard node has adopted a view; if this node is not in that view, apart from this node."""
        if other.view == view or any(name == self._name for name, _ in view):
            return other.view == view
        return tuple([member for member in other.view if member[0] != self._name]) == view

    def taken(self, group: int) -> int:
        """Return the mask of the buckets that are taken in addition to those that are claimed."""
        return self.incoming[group] | self.outgoing[group]

    def owners_meanwhile(
        self, group: int, owners: bytes, view: View, heard: Iterable[Heard], numbers: Mapping[str, int]
    ) -> bytes:
        """Return the nodes that packets are sent to, one byte per bucket.

        This is `owners`, with the former owner in place of each new owner that has not adopted the view yet. A former
        owner that is not heard any more is sent nothing. A node that is in no view gives the view of the others.
        """
        heard = tuple(heard)
        not_up = [numbers[other.name] for other in heard if not self.is_up(other, view) and other.name in numbers]
        if not self._views or not not_up or not self._former:
            return owners
        former = owner_numbers(powers_in(self._former, group), numbers, self._count)
        here = [numbers[other.name] for other in heard if other.name in numbers]
        keep = _where(owners, not_up) & _where(former, here)
        return ((int.from_bytes(owners) & ~keep) | (int.from_bytes(former) & keep)).to_bytes(self._count)

    def suspects(self, heard: Collection[str], others: View) -> dict[str, int]:
        """Return the nodes that may know connections in moving buckets, each with a mask of these buckets.

        `others` is the view of the nodes that take shares without this node, for a node that is in no view.
        """
        known = (self._former, self._views, others, heard, [self.taken(group) for group in range(len(self.incoming))])
        if self._found[0] != known:
            self._found = (known, self._find_suspects(heard, others))
        return dict(self._found[1])

    def _find_suspects(self, heard: Collection[str], others: View) -> dict[str, int]:
        found: dict[str, int] = {}
        # Groups often have equal powers, and then the same buckets move.
        moves = {
            (tuple(powers_in(view, group).items()), moving)
            for group in range(len(self.incoming))
            if (moving := self.taken(group))
            for view in (self._former, *self._views, others)
        }
        for powers, moving in moves:
            for name, mask in _owned_of(moving, dict(powers), self._count).items():
                if name != self._name and name in heard:
                    found[name] = found.get(name, 0) | mask
        return found

    def _had_by(self, heard: Collection[str], group: int) -> int:
        """Return the mask of the buckets of a group that heard nodes had by the former view."""
        found = (1 << self._count) - 1 if self._former else 0
        # Nodes that are not heard are few, so subtracting theirs is cheaper than adding up the others'.
        for name, _ in self._former:
            if name not in heard:
                found &= ~self._owned(name, self._former, group)
        return found

    def _owned(self, name: str, view: View, group: int) -> int:
        return mask_of(name, powers_in(view, group), self._count)


def powers_in(view: View, group: int) -> dict[str, int]:
    """Return the powers of a view's members in a share group."""
    return {name: powers[group] if group < len(powers) else 0 for name, powers in view}


def regrouped(values: Sequence[int], former: Sequence[int | None]) -> list[int]:
    """Return one value per share group, renumbered: that of the former group of the same traffic, or 0."""
    return [0 if group is None or group >= len(values) else values[group] for group in former]


def regrouped_view(view: View, former: Sequence[int | None]) -> View:
    """Return a view with its powers renumbered, 0 where the traffic had no group."""
    return tuple([(name, tuple(regrouped(powers, former)) if powers else ()) for name, powers in view])


def _where(owners: bytes, numbers: Iterable[int]) -> int:
    """Return an integer with all bits set in the bytes of `owners` that are one of these numbers."""
    table = bytearray(256)
    for number in numbers:
        table[number] = 0xFF
    return int.from_bytes(owners.translate(table))


def _owned_of(buckets: int, powers: Mapping[str, int], count: int) -> dict[str, int]:
    """Return the part of `buckets` that each member owns, as a mask; members that own none of them are left out."""
    names = sorted(powers)
    table = owner_numbers(powers, {name: number for number, name in enumerate(names)}, count)
    found: dict[str, int] = {}
    if buckets.bit_count() * 4 < count:
        # With few buckets and many members, going bucket by bucket is quicker than member by member.
        while buckets:
            bucket = (buckets & -buckets).bit_length() - 1
            buckets &= buckets - 1
            number = table[bucket]
            if number < len(names):
                found[names[number]] = found.get(names[number], 0) | 1 << bucket
        return found
    backwards = table[::-1]
    for number, name in enumerate(names):
        digits = backwards.translate(bytes([ord("0") + (byte == number) for byte in range(256)]))
        if mask := int(digits, 2) & buckets:
            found[name] = mask
    return found
