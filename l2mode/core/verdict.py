"""What to do with one packet to a shared address, by the tables alone: take it, pass it on, or drop it.

This is the order of rules that every filter follows. Finding out the facts (the packet's bucket, whether a socket for
it exists here) is the business of who asks.

A connection must outlive a planned move of its bucket. No node remembers who had which bucket: instead a node that
holds connections in buckets not its own says that it is *dirty*, and whoever gets a packet that it does not know
leaves it to the dirty members: in flooded delivery they have their own copy, in directed delivery the packet is sent
along them in ascending order of their numbers, so that it cannot loop, and marked, so that nobody starts a second
round.

In directed delivery clients reach the director, or, until they have heard of a new one, a former director: so any
member sends a client's packet to the owner of its bucket. What comes from a member is not sent to an owner again. So
does a node that has left the view and lives: clients may have its MAC for a minute more.

The lease is judged last. A packet that is dropped anyway needs no look at the clock, and keeps its own reason.

Nodes are numbered in the order of their names.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from l2mode.core.handover import BucketState
from l2mode.core.reasons import Action, Reason

__all__ = ["Action", "Delivery", "Ownership", "Packet", "Reason", "Verdict", "judge", "under_lease"]


class Delivery(Enum):
    """How packets to a shared address reach the node that takes them."""

    DIRECTED = "directed"
    "To one node, the director, which sends each on to its owner."
    FLOODED = "flooded"
    "To every node; each drops what is not its own."


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a packet, and why."""

    reason: Reason
    to: int | None = None
    "The node that it is sent to, where it is."

    @property
    def action(self) -> Action:
        """What becomes of the packet."""
        return self.reason.action


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """The facts about one packet."""

    opens: bool
    "A TCP SYN or a UDP datagram: whoever has the bucket may take it without knowing it."
    known: Callable[[], bool]
    "Says whether a TCP socket for it exists here that is neither a listener nor in TIME_WAIT; asked where it counts."
    sender: int | None = None
    "The member whose frame it came in; None: a client, or the router in front of it."
    chained: bool = False
    "Marked as one that travels along the dirty members; counts only in a member's frame."


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """What this node's tables say of the packet's bucket."""

    me: int
    phase: BucketState
    dirty: bool
    "This node is dirty itself."
    dirty_members: int
    "The living members beside this node that are dirty: bit n for node n."
    owner: int | None
    outside: bool = False
    "This node is out of the view; `owner` is by the view that the others announce."


def judge(packet: Packet, standing: Ownership, delivery: Delivery) -> Verdict:
    """Say what to do with a packet as long as the lease runs: the rest is up to `under_lease`."""
    mine = standing.phase is BucketState.MINE
    if mine and packet.opens:
        return Verdict(Reason.NEW)
    handed_to_me = _was_handed_to_me(packet, standing, delivery)
    # The gate saves a clean node the look for a socket in every packet that is not its own.
    looks = standing.dirty or standing.phase is not BucketState.OTHER or handed_to_me
    if looks and packet.known():
        return Verdict(Reason.KNOWN)
    if packet.chained and packet.sender is not None and delivery is Delivery.DIRECTED:
        return _along(standing, after=standing.me)
    if handed_to_me and packet.opens:
        return Verdict(Reason.HANDED_NEW)
    if (mine or handed_to_me) and not standing.dirty_members:
        return Verdict(Reason.ORPHAN)
    if (mine or handed_to_me or standing.phase is BucketState.PENDING) and standing.dirty_members:
        if delivery is Delivery.FLOODED:
            return Verdict(Reason.LEFT_TO_DIRTY)
        return _along(standing, after=-1)
    if delivery is Delivery.DIRECTED and packet.sender is None:
        if standing.owner not in (None, standing.me):
            return Verdict(Reason.PASSED_ON if standing.outside else Reason.TO_OWNER, standing.owner)
        return Verdict(Reason.UNCLAIMED)
    return Verdict(Reason.NOT_MINE)


def under_lease(verdict: Verdict, *, lease_open: bool) -> Verdict:
    """Let the verdict stand, or drop what it would take or send when the lease is over."""
    return verdict if lease_open or verdict.action is Action.DROP else Verdict(Reason.LEASE_OVER)


def _was_handed_to_me(packet: Packet, standing: Ownership, delivery: Delivery) -> bool:
    """True when a member sends what is its own by this node's table: it knows a view that this node does not.

    It has let go of the bucket already, so nobody else takes the packet.
    """
    return (
        delivery is Delivery.DIRECTED
        and not packet.chained
        and not standing.outside
        and standing.phase is BucketState.OTHER
        and packet.sender is not None
        and packet.sender == standing.owner
    )


def _along(standing: Ownership, *, after: int) -> Verdict:
    """Send it to the next dirty member; no reset at the end: a member may be dirty and not heard yet."""
    following = standing.dirty_members >> (after + 1)
    if not following:
        return Verdict(Reason.END_OF_CHAIN)
    lowest = (following & -following).bit_length() - 1
    return Verdict(Reason.ALONG_DIRTY, after + 1 + lowest)
