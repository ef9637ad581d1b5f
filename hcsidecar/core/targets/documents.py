"""What a node says of its targets (`Reconciler.document`), as who asks it reads it, and whether all is as wished."""

import msgspec

from hcsidecar.core.targets.registration import DesiredState, Presence


class Failing(msgspec.Struct, frozen=True, kw_only=True):
    """What goes wrong, until a call works again."""

    trouble: str
    text: str
    age: float
    "Seconds since the latest failure."


class TargetStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One target of a node; ages and times to wait are in seconds."""

    name: str
    type: str
    policy: str
    desired: str
    why: str
    observed: str | None = None
    reason: str = ""
    former: tuple[str, ...] = ()
    observed_age: float | None = None
    last_success_age: float | None = None
    error: Failing | None = None
    next_try: float | None = None
    contested: bool = False
    leaving: bool = False
    calls: dict[str, int] = {}
    "Calls of the balancer since the daemon's start, by kind."
    failures: dict[str, int] = {}
    "Those that failed, by kind of trouble."

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


class TargetsDocument(msgspec.Struct, frozen=True, kw_only=True):
    """All targets of a node; unknown keys are of a newer version."""

    node: str
    targets: tuple[TargetStatus, ...]
