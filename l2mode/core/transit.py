"""Buckets on the move in directed delivery, where no client need wait until they have arrived.

In flooded delivery every node gets a copy of each packet, so a bucket that changes hands must have no taker for as long
as it takes the new owner to learn that the former one has let go. In directed delivery a frame reaches one node only:
the one that a director passes it to. Both may take what reaches them, and nobody is without a taker:

    former owner     other members       new owner
    OUTGOING         send to the former  -                until they have heard of the view
    OUTGOING         send to the former  INCOMING         new owner has adopted the view, and is not heard yet
    OUTGOING         send to the new     INCOMING         it is heard
    -                send to the new     MINE             all have claimed: nobody sends to the former owner any more

What is incoming or outgoing is taken, but nobody is answered with a reset: a packet that belongs to no connection here
is sent to the others that may know it, the *suspects*. Who has taken connections of an outgoing bucket is dirty, and
is not cleared before the move is over.

Only between nodes that hear each other: what a dead node had is taken by nobody before its lease is over, as ever.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from l2mode.core.buckets import mask_of, owner_numbers

View = tuple[tuple[str, tuple[int, ...]], ...]
"The members that take shares, each with one power per share group; () = this node takes none."

_VIEWS_BETWEEN = 4
"Views that were adopted and never settled: who had buckets by an older one is dirty by now."


class Heard(Protocol):
    """What another node that is heard says of itself."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def view(self) -> View:
        """The view that it announces; () = it takes no share."""

    @property
    def claimed(self) -> bool:
        """True when it waits for nothing to take what that view gives it."""


class Transit:
    """The move that goes on, as one node sees it; masks are one per share group."""

    def __init__(self, *, name: str, groups: int, count: int) -> None:
        self._name, self._count = name, count
        self.incoming = [0] * groups
        "Given to this node and not claimed, and taken already."
        self.outgoing = [0] * groups
        "Taken from this node by the view, and taken by it all the same."
        self._former: View = ()
        "The view by which the buckets were owned before the move."
        self._views: tuple[View, ...] = ()
        "By which they have been, or will be, since then; the last is the present one. Empty when nothing moves."
        self._found: tuple[object, dict[str, int]] = (None, {})
        "The suspects, and what they were found from: to find them takes milliseconds in a large farm."

    @property
    def goes_on(self) -> bool:
        """True until all that are heard have adopted the view, and claimed what it gives them."""
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
        """Begin a move to another view, or change where one that goes on leads to.

        `former` is the view until now. Of the masks `taking` is what was open until now, incoming and outgoing
        included; `mine` and `given` are those of the new view.
        """
        if not self._views:
            self._former = former
        self._views = (*self._views, view)[-_VIEWS_BETWEEN:]
        for group in range(len(given)):
            pending = given[group] & ~mine[group]
            self.incoming[group] = pending & (taking[group] | self._had_by(heard, group)) if pending else 0
            self.outgoing[group] = taking[group] & ~given[group]

    def arrive(self) -> None:
        """What is incoming has been claimed."""
        self.incoming = [0] * len(self.incoming)

    def end(self) -> bool:
        """End the move; answer whether something was taken that is so no more."""
        had = any(self.incoming) or any(self.outgoing)
        self.incoming = [0] * len(self.incoming)
        self.outgoing = [0] * len(self.outgoing)
        self._views = ()
        return had

    def is_over(self, view: View, heard: Iterable[Heard], *, claimed: bool) -> bool:
        """Tell whether nobody that is heard sends by a former view any more; `claimed` says it of this node."""
        if view and not claimed:
            return False
        return all(
            not other.view
            or (other.claimed and (other.view == view if view else all(name != self._name for name, _ in other.view)))
            for other in heard
        )

    def taken(self, group: int) -> int:
        """Give what is taken beside what is claimed, as a mask."""
        return self.incoming[group] | self.outgoing[group]

    def owners_meanwhile(
        self, group: int, owners: bytes, view: View, heard: Iterable[Heard], numbers: Mapping[str, int]
    ) -> bytes:
        """Give to whom packets are sent: as `owners`, a byte per bucket, but to the former one while the new is not up.

        Former ones that are not heard any more are sent nothing.
        """
        heard = tuple(heard)
        not_up = [numbers[other.name] for other in heard if other.view != view]
        if not self._views or not not_up or not self._former:
            return owners
        former = owner_numbers(powers_in(self._former, group), numbers, self._count)
        here = [numbers[other.name] for other in heard]
        keep = _where(owners, not_up) & _where(former, here)
        return ((int.from_bytes(owners) & ~keep) | (int.from_bytes(former) & keep)).to_bytes(self._count)

    def suspects(self, heard: Collection[str], others: View) -> dict[str, int]:
        """Name who may know connections in what is incoming or outgoing, each with its buckets as a mask.

        `others` is the view of those that share without this node, if it is in none.
        """
        grounds = (self._former, self._views, others, heard, [self.taken(group) for group in range(len(self.incoming))])
        if self._found[0] != grounds:
            self._found = (grounds, self._find_suspects(heard, others))
        return dict(self._found[1])

    def _find_suspects(self, heard: Collection[str], others: View) -> dict[str, int]:
        found: dict[str, int] = {}
        # Groups often have the same powers, and then the same buckets move.
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
        """Give the buckets of a group that nodes that are heard had by the former view."""
        found = (1 << self._count) - 1 if self._former else 0
        # Those that are not heard are few.
        for name, _ in self._former:
            if name not in heard:
                found &= ~self._owned(name, self._former, group)
        return found

    def _owned(self, name: str, view: View, group: int) -> int:
        return mask_of(name, powers_in(view, group), self._count)


def powers_in(view: View, group: int) -> dict[str, int]:
    """Give the powers of a view's members in a share group."""
    return {name: powers[group] if group < len(powers) else 0 for name, powers in view}


def _where(owners: bytes, numbers: Iterable[int]) -> int:
    """Give an integer with all bits of the bytes that are one of these numbers."""
    table = bytearray(256)
    for number in numbers:
        table[number] = 0xFF
    return int.from_bytes(owners.translate(table))


def _owned_of(buckets: int, powers: Mapping[str, int], count: int) -> dict[str, int]:
    """Give what of some buckets each member owns, as masks; members that own none of them are left out."""
    names = sorted(powers)
    table = owner_numbers(powers, {name: number for number, name in enumerate(names)}, count)
    found: dict[str, int] = {}
    if buckets.bit_count() * 4 < count:
        # Few buckets of many members: a bit at a time is quicker than a member at a time.
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
