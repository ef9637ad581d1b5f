"""What a node says of its targets, for those who make it and those who read it, and whether all is as wished.

As in every document, keys are told in the order in which they stand here (see `hcsidecar.core.documents`).
"""

import msgspec

from hcsidecar.core.targets.registration import DesiredState, Presence


class TargetFailure(msgspec.Struct, frozen=True, kw_only=True):
    """What goes wrong at a target, until a call works again."""

    trouble: str
    "retry, throttle, auth or config."
    text: str
    age: float
    "Seconds since the latest failure."


class TargetStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One target of a node; ages and times to wait are in seconds."""

    type: str
    name: str
    policy: str
    desired: str
    "What the node wants to be there: registered, absent or as it is."
    why: str
    "The reason of that wish."
    observed: str | None = None
    "What the node was there at the last look (`Presence`); None before the first."
    reason: str = ""
    "The balancer's word for that."
    former: tuple[str, ...] = ()
    "What of this node is still registered from before, under another address."
    observed_age: float | None = None
    "Since that look."
    last_success_age: float | None = None
    "Since a call last worked."
    error: TargetFailure | None = None
    next_try: float | None = None
    "Until the next call; None while one is made."
    calls: dict[str, int] = {}
    "Calls of the balancer since the daemon's start, by kind."
    failures: dict[str, int] = {}
    "Those that failed, by kind of trouble."
    contested: bool = False
    "Somebody else keeps undoing what this node does."
    leaving: bool = False
    "It is to be deregistered, and is not yet."

    def why_not_as_wished(self) -> str | None:
        """Say what keeps the balancer from being as this node wishes, or what cannot be told; None if nothing does."""
        if self.error is not None:
            return f"{self.error.trouble}: {self.error.text}"
        if self.observed is None:
            return "not looked at yet"
        if self.contested:
            return "somebody else keeps undoing what this node does"
        if self.leaving:
            return "to be deregistered"
        if self.observed in (Presence.UNSEEN, Presence.UNKNOWN):
            # Nothing more can be known.
            return None
        is_out = self.observed in (Presence.ABSENT, Presence.DRAINING)
        if (self.desired, is_out) in ((DesiredState.PRESENT, True), (DesiredState.ABSENT, False)):
            return f"to be {'registered' if is_out else 'deregistered'}"
        return None


class TargetsReport(msgspec.Struct, frozen=True, kw_only=True):
    """All targets of a node, in the order of the farm file: `GET /api/v1/targets`."""

    node: str
    "Who tells it."
    targets: tuple[TargetStatus, ...]
