"""The powers of a node: what the farm file says, over it what the operator has set, and whether a change may be."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest

from hcsidecar.core.membership.heartbeat import View


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerChange:
    """A change that may be: what to remember, what to take from now on, and what to say of it."""

    powers: Mapping[str, int]
    "What the operator has set, by share; the farm file counts for the others."
    text: str
    "Completes a sentence that begins with the node's name."


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePowers:
    """One node's powers in the share groups, which a farm without [l2] has one of, named as the farm."""

    names: tuple[str, ...]
    file: tuple[int, ...]
    "One per share group, by the farm file."
    layer_two: bool
    "The farm has an [l2] table, and so shares that can be named."

    def effective(self, powers: Mapping[str, int]) -> tuple[int, ...]:
        """Give one power per share group; what was set for a share that is no more has no effect."""
        return tuple(powers.get(name, power) for name, power in zip(self.names, self.file, strict=True))

    def change(self, powers: Mapping[str, int], power: int | None, share: str | None) -> PowerChange | str:
        """Set the power of a share, or of all (None), or take back what was set (power None); or say why not."""
        if share is not None and not self.layer_two:
            return "this farm has no [l2] table, so no shares: a node has one power; leave --share away"
        if share is not None and share not in self.names:
            return f"no share {share!r}; there are {', '.join(self.names)}"
        meant = self.names if share is None else (share,)
        kept = {name: number for name, number in powers.items() if name in self.names and name not in meant}
        changed = kept if power is None else kept | dict.fromkeys(meant, power)
        return PowerChange(powers=changed, text=self.describe(changed))

    def describe(self, powers: Mapping[str, int]) -> str:
        """Complete a sentence that begins with the node's name."""
        told = [
            f"{f'{name} ' if self.layer_two else ''}{beside_file(powers.get(name, power), power)}"
            for name, power in zip(self.names, self.file, strict=True)
        ]
        return f"has power {', '.join(told)}"


def beside_file(power: int, file: int) -> str:
    """Write a power, and beside it the farm file's where they differ."""
    return str(power) if power == file else f"{power} (farm file: {file})"


def why_nobody_takes(names: tuple[str, ...], view: View, name: str, powers: tuple[int, ...]) -> list[str]:
    """Warn of each share that no member would take once this node has these powers."""
    others = [member_powers for member, member_powers in view if member != name]
    totals = [sum(column) for column in zip_longest(powers, *others, fillvalue=0)]
    return [
        f"nobody takes {share} now: no member of the view has a power above 0"
        for share, total in zip(names, totals, strict=False)
        if total == 0
    ]
