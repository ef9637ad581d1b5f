"""The verdict on one packet to a virtual IP, from the tables alone: take it, send it on, or drop it.

This is the order of rules that every filter follows. The caller, `classify.py`, finds out the facts: the packet's
bucket, and whether a socket for it exists here.

A connection must outlive a planned move of its bucket. No node remembers who had which bucket. Instead, a node that
holds connections in buckets that are not its own announces that it is *dirty*, and a node that gets a packet it does
not know leaves it to the dirty members. In flooded delivery they have their own copy. In directed delivery the packet
is sent along them in ascending order of their numbers, so that it cannot loop, and marked, so that nobody starts a
second round.

In directed delivery clients reach the director or, until they have heard of a new one, a former director, so any member
sends a client's packet to the owner of its bucket. A packet from a member is not sent to an owner again. A node that
has left the view and is alive forwards too: clients may have its MAC for another minute.

The lease is checked last. A packet that is dropped anyway needs no look at the clock, and keeps its own reason.

Nodes are numbered in the order of their names.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from l2mode.core.handover import BucketState
from l2mode.core.reasons import Action, Reason

__all__ = ["Action", "Delivery", "Ownership", "Packet", "Reason", "Verdict", "judge", "under_lease"]


class Delivery(Enum):
    """How packets to a virtual IP reach the node that takes them."""

    DIRECTED = "directed"
    "They reach one node, the director, which sends each to its owner."
    FLOODED = "flooded"
    "They reach every node; each drops what is not its own."


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a packet, and why."""

    reason: Reason
    to: int | None = None
    "The node that the packet is sent to; None if it is not sent on."

    @property
    def action(self) -> Action:
        """What becomes of the packet."""
        return self.reason.action


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """The facts about one packet."""

    opens: bool
    "It is a TCP SYN or a UDP datagram, which the owner of the bucket may take without knowing it."
    known: Callable[[], bool]
    "Returns whether a TCP socket for it exists here that neither listens nor is in TIME_WAIT; called only if needed."
    sender: int | None = None
    "The member that sent the frame; None: a client, or the router in front of it."
    chained: bool = False
    "The frame is marked as travelling along the dirty members; counts only if a member sent it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """What this node's tables say of the packet's bucket."""

    me: int
    phase: BucketState
    dirty: bool
    "This node is dirty."
    dirty_members: int
    "The other living members that are dirty: bit n stands for node n."
    owner: int | None
    outside: bool = False
    "This node is out of the view; `owner` comes from the view that the others announce."


def judge(packet: Packet, ownership: Ownership, delivery: Delivery) -> Verdict:
    """Return what to do with a packet while the lease runs; `under_lease` checks that."""
    mine = ownership.phase is BucketState.MINE
    if mine and packet.opens:
        return Verdict(Reason.NEW)
    handed_to_me = _was_handed_to_me(packet, ownership, delivery)
    # This condition saves a clean node the look for a socket for every packet that is not its own.
    looks = ownership.dirty or ownership.phase is not BucketState.OTHER or handed_to_me
    if looks and packet.known():
        return Verdict(Reason.KNOWN)
    if packet.chained and packet.sender is not None and delivery is Delivery.DIRECTED:
        return _along(ownership, after=ownership.me)
    if handed_to_me and packet.opens:
        return Verdict(Reason.HANDED_NEW)
    if (mine or handed_to_me) and not ownership.dirty_members:
        return Verdict(Reason.ORPHAN)
    if (mine or handed_to_me or ownership.phase is BucketState.PENDING) and ownership.dirty_members:
        if delivery is Delivery.FLOODED:
            return Verdict(Reason.LEFT_TO_DIRTY)
        return _along(ownership, after=-1)
    if delivery is Delivery.DIRECTED and packet.sender is None:
        if ownership.owner not in (None, ownership.me):
            return Verdict(Reason.PASSED_ON if ownership.outside else Reason.TO_OWNER, ownership.owner)
        return Verdict(Reason.UNCLAIMED)
    return Verdict(Reason.NOT_MINE)


def under_lease(verdict: Verdict, *, lease_open: bool) -> Verdict:
    """Return the verdict, or the one that drops the packet if the lease is over and it would be taken or sent."""
    return verdict if lease_open or verdict.action is Action.DROP else Verdict(Reason.LEASE_OVER)


def _was_handed_to_me(packet: Packet, ownership: Ownership, delivery: Delivery) -> bool:
    """Return whether a member has sent this node what the table gives to that member: it knows a newer view.

    It has already let go of the bucket, so no other node takes the packet.
    """
    return (
        delivery is Delivery.DIRECTED
        and not packet.chained
        and not ownership.outside
        and ownership.phase is BucketState.OTHER
        and packet.sender is not None
        and packet.sender == ownership.owner
    )


def _along(ownership: Ownership, *, after: int) -> Verdict:
    """Return the verdict that sends the packet to the next dirty member.

    There is no reset at the end of the chain: a member may be dirty and not heard yet.
    """
    following = ownership.dirty_members >> (after + 1)
    if not following:
        return Verdict(Reason.END_OF_CHAIN)
    lowest = (following & -following).bit_length() - 1
    return Verdict(Reason.ALONG_DIRTY, after + 1 + lowest)
