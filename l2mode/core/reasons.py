"""What may become of a frame, and every reason for it in the operator's words."""

from enum import Enum


class Action(Enum):
    """What becomes of a frame."""

    PASS = "pass"  # noqa: S105 - no password
    "Leave the frame alone: it does not concern the filter."
    TAKE = "take"
    RESET = "reset"
    "Take it too: the network stack knows no socket for it and answers with a reset."
    FORWARD = "forward"
    "Send it to the owner of its bucket."
    CHAIN = "chain"
    "Send it along the dirty members, with a mark that says so."
    DROP = "drop"

    @property
    def sends(self) -> bool:
        """True when the frame goes to another node."""
        return self in (Action.FORWARD, Action.CHAIN)


class Reason(Enum):
    """The reasons for a verdict. Each has its action, and a number by which every filter counts it."""

    FOREIGN = (0, Action.PASS, "not for a virtual IP")
    NEIGHBOUR_DISCOVERY = (1, Action.PASS, "neighbour discovery, which the daemon answers")
    NEW = (2, Action.TAKE, "new, and the bucket is mine")
    KNOWN = (3, Action.TAKE, "its socket is here")
    HANDED_NEW = (4, Action.TAKE, "new, and sent here by its owner in my table, which has a newer table")
    DIRECTOR_TAKES = (5, Action.TAKE, "no share names it, and this node is the director")
    ORPHAN = (6, Action.RESET, "its socket is gone with the member that had it")
    TO_OWNER = (7, Action.FORWARD, "its owner takes it")
    ALONG_DIRTY = (8, Action.CHAIN, "one of the dirty members may know it")
    NOT_MINE = (9, Action.DROP, "the bucket is not mine")
    LEFT_TO_DIRTY = (10, Action.DROP, "left to the dirty members, which have their own copy")
    END_OF_CHAIN = (11, Action.DROP, "no dirty member knows it")
    UNCLAIMED = (12, Action.DROP, "nobody has claimed its bucket")
    LEASE_OVER = (13, Action.DROP, "the lease is over")
    UNMATCHED = (14, Action.DROP, "no share names it")
    NOT_TO_ONE = (15, Action.DROP, "not addressed to one node")
    MALFORMED = (16, Action.DROP, "its headers are truncated or invalid")
    TTL_OVER = (17, Action.DROP, "its time to live expired on the way to its owner")
    NO_MAC = (18, Action.DROP, "the MAC of the member that should get it is not known yet")
    PASSED_ON = (19, Action.FORWARD, "sent to this node, which is out of the view; its owner takes it")
    TO_DIRECTOR = (20, Action.FORWARD, "no share names it, and the director, another node, takes it")

    def __init__(self, number: int, action: Action, text: str) -> None:
        self.number = number
        "Its row in the filter's counters, the same as in filter.bpf.c."
        self.action = action
        self.text = text

    @property
    def counted(self) -> bool:
        """True for frames to a virtual IP; the filter need not spend a store on the rest of the traffic."""
        return self is not Reason.FOREIGN


REASONS = tuple(sorted(Reason, key=lambda reason: reason.number))
"In the order of their numbers."
