"""What to do with one packet to a shared address, by the tables alone: take it, pass it on, or drop it.

This is the order of rules that every filter follows. Finding out the facts (the packet's bucket, whether a socket for
it exists here) is the business of who asks.

A connection must outlive a planned move of its bucket. No node remembers who had which bucket: instead a node that
holds connections in buckets not its own says that it is *dirty*, and whoever gets a packet that it does not know
leaves it to the dirty members: in flooded delivery they have their own copy, in directed delivery the packet is sent
along them in ascending order of names, so that it cannot loop, and marked, so that nobody starts a second round.
"""

from dataclasses import dataclass
from enum import Enum

from l2mode.core.handover import Phase


class Delivery(Enum):
    """How packets to a shared address reach the node that takes them."""

    DIRECTED = "directed"
    "To one node, the director, which sends each on to its owner."
    FLOODED = "flooded"
    "To every node; each drops what is not its own."


class Action(Enum):
    """What becomes of a packet."""

    TAKE = "take"
    RESET = "reset"
    "Take it too: the stack knows no socket for it and answers with a reset."
    FORWARD = "forward"
    "Send it to `to`, as a director or an owner does."
    CHAIN = "chain"
    "Send it to `to`, marked as one that travels along the dirty members."
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a packet, and why."""

    action: Action
    reason: str
    to: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """The facts about one packet."""

    opens: bool
    "A TCP SYN or a UDP datagram: whoever has the bucket may take it without knowing it."
    known: bool
    "A TCP socket for it exists here that is neither a listener nor in TIME_WAIT."
    sender: str | None = None
    "The member whose frame it came in; None: a client, or the router in front of it."
    chained: bool = False
    "Marked as one that travels along the dirty members; counts only in a member's frame."


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What this node's tables say of the packet's bucket."""

    me: str
    lease_open: bool
    phase: Phase
    dirty: bool
    "This node is dirty itself."
    dirty_members: tuple[str, ...]
    "The living members beside this node that are dirty, ascending."
    owner: str | None
    director: str | None


def judge(packet: Packet, standing: Standing, delivery: Delivery) -> Verdict:
    """Say what to do with a packet."""
    if not standing.lease_open:
        return Verdict(Action.DROP, "the lease is over")
    mine = standing.phase is Phase.MINE
    if mine and packet.opens:
        return Verdict(Action.TAKE, "new, and the bucket is mine")
    handed_to_me = _was_handed_to_me(packet, standing, delivery)
    # The gate saves a clean node the look for a socket in every packet that is not its own.
    looks = standing.dirty or standing.phase is not Phase.OTHER or handed_to_me
    if packet.known and looks:
        return Verdict(Action.TAKE, "its socket is here")
    if packet.chained and packet.sender is not None and delivery is Delivery.DIRECTED:
        return _along(standing, after=standing.me)
    if mine or handed_to_me:
        if packet.opens:
            return Verdict(Action.TAKE, "new, and the director, whose table is newer, sent it here")
        if not standing.dirty_members:
            return Verdict(Action.RESET, "its socket is gone with the member that had it")
    if (mine or handed_to_me or standing.phase is Phase.PENDING) and standing.dirty_members:
        if delivery is Delivery.FLOODED:
            return Verdict(Action.DROP, "left to the dirty members, which have their own copy")
        return _along(standing, after="")
    if delivery is Delivery.DIRECTED and packet.sender is None and standing.director == standing.me:
        if standing.owner not in (None, standing.me):
            return Verdict(Action.FORWARD, "its owner takes it", standing.owner)
        return Verdict(Action.DROP, "nobody has claimed its bucket")
    return Verdict(Action.DROP, "not mine")


def _was_handed_to_me(packet: Packet, standing: Standing, delivery: Delivery) -> bool:
    """True when the director sends what is its own by this node's table: it knows a view that this node does not.

    It has let go of the bucket already, so nobody else takes the packet.
    """
    return (
        delivery is Delivery.DIRECTED
        and not packet.chained
        and standing.phase is Phase.OTHER
        and packet.sender is not None
        and packet.sender == standing.director == standing.owner
    )


def _along(standing: Standing, *, after: str) -> Verdict:
    """Send it to the next dirty member by name; no reset at the end: a member may be dirty and not heard yet."""
    following = [name for name in standing.dirty_members if name > after]
    if following:
        return Verdict(Action.CHAIN, "one of the dirty members may know it", following[0])
    return Verdict(Action.DROP, "no dirty member knows it")
