"""The dispute over a boot number: others refuse this node because they have heard a higher boot under its name.

Boot numbers only grow, but a machine that is restored from an old snapshot, with its clock behind, starts with a lower
number than it had before. In that case no other process speaks with the higher boot, and this node takes a number above
it. Otherwise a second process runs under the same name, as on a copied machine. Then the refused one stays out, since
two processes that each go above the other would never stop.
"""

from enum import Enum, auto


class DisputeOutcome(Enum):
    """What to do about a refusal."""

    IGNORE = auto()
    STAY_OUT = auto()
    "Somebody was heard with the higher boot within lost_after: this node's own past, or another process."
    GO_ABOVE = auto()
    TELL = auto()
    "Another process runs under this name; tell the operator."


class BootDispute:
    """The refusals of one boot of this node. Times are in seconds of the monotonic clock."""

    def __init__(self, *, name: str, boot: int) -> None:
        self._name, self._boot = name, boot
        self._since = self._until = float("-inf")
        self._why_out = ""
        self._told = False

    def hear(self, *, peer: str, boot: int, lives: bool, lost_after: float, now: float) -> DisputeOutcome:
        """Judge a refusal by a peer that has heard `boot` under this node's name.

        `lives` is whether the peer still hears that boot; `lost_after` and `now` are in seconds.
        """
        if boot < self._boot:
            return DisputeOutcome.IGNORE
        if not lives:
            return DisputeOutcome.GO_ABOVE
        if boot == self._boot:
            return self._tell()
        if now >= self._until:
            self._since = now
        self._until = now + lost_after
        self._why_out = f"{peer} hears another process as {self._name}, with a higher boot"
        # If the other process has died, the peers forget it within lost_after.
        return self._tell() if now >= self._since + 2 * lost_after else DisputeOutcome.STAY_OUT

    def why_out(self, *, now: float) -> str | None:
        """Return why this node takes no share, or None."""
        return self._why_out if now < self._until else None

    def _tell(self) -> DisputeOutcome:
        told, self._told = self._told, True
        return DisputeOutcome.STAY_OUT if told else DisputeOutcome.TELL
