"""The document on a node's targets, and whether each target is in its desired state.

As in every document, keys are written in the order of the fields here (see `hcsidecar.core.documents`).
"""

import msgspec

from hcsidecar.core.targets.registration import DesiredState, Presence


class TargetFailure(msgspec.Struct, frozen=True, kw_only=True):
    """The latest failure at a target; it is shown until a call works again."""

    trouble: str
    "One of retry, throttle, auth and config."
    text: str
    age: float
    "Seconds since the latest failure."


class TargetStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One target of a node. Ages and waiting times are in seconds."""

    type: str
    name: str
    policy: str
    desired: str
    "The state that the node wants to have there: registered, absent or as it is."
    why: str
    "The reason for the desired state."
    observed: str | None = None
    "The state of the node there at the last look (`Presence`); None before the first look."
    reason: str = ""
    "The balancer's reason for that state."
    former: tuple[str, ...] = ()
    "Former registrations of this node, under other addresses, that still exist."
    observed_age: float | None = None
    "The time since the last look."
    last_success_age: float | None = None
    "The time since a call last worked."
    error: TargetFailure | None = None
    next_try: float | None = None
    "The time until the next call; None while a call is in progress."
    calls: dict[str, int] = {}
    "The calls to the balancer since the daemon started, by kind."
    failures: dict[str, int] = {}
    "The calls that failed, by kind of trouble."
    contested: bool = False
    "Somebody else keeps undoing what this node does."
    leaving: bool = False
    "The node is to be deregistered, and has not been yet."

    def why_not_as_wished(self) -> str | None:
        """Return why the target is not in its desired state, or why that is unknown; None if it is in that state."""
        if self.error is not None:
            return f"{self.error.trouble}: {self.error.text}"
        if self.observed is None:
            return "not looked at yet"
        if self.contested:
            return "somebody else keeps undoing what this node does"
        if self.leaving:
            return "to be deregistered"
        if self.observed in (Presence.UNSEEN, Presence.UNKNOWN):
            # The node cannot find out more.
            return None
        is_out = self.observed in (Presence.ABSENT, Presence.DRAINING)
        if (self.desired, is_out) in ((DesiredState.PRESENT, True), (DesiredState.ABSENT, False)):
            return f"to be {'registered' if is_out else 'deregistered'}"
        return None


class TargetsReport(msgspec.Struct, frozen=True, kw_only=True):
    """All targets of a node, in the order of the farm file: `GET /api/v1/targets`."""

    node: str
    "The node whose targets these are."
    targets: tuple[TargetStatus, ...]
