"""What stays the same when the settings of layer-2 mode change while clients are served.

The filter by the new settings takes the place of the former one while the node still has its buckets by the former
groups. What one of them takes then, no other node may take by the other settings.
"""

from dataclasses import dataclass

from l2mode.core.settings import LayerTwoSettings, Protocol, Unmatched, VirtualIp

_Traffic = tuple[VirtualIp, Protocol, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Regrouping:
    """How the share groups of new settings follow from those of the former settings."""

    groups: tuple[int | None, ...]
    """For each new group the number of the former one that divided the same traffic in the same way; None if there was
    none, or more than one."""
    unmatched_alike: bool
    "What no group names goes where it went before."


def regrouping(former: LayerTwoSettings, settings: LayerTwoSettings) -> Regrouping:
    """Return how the share groups of `settings` follow from those of `former`.

    Virtual IPs that only one of the two has do not count: nobody serves them yet, or any more.
    """
    staying = set(former.vips) & set(settings.vips)
    before, after = _groups(former, staying), _groups(settings, staying)
    return Regrouping(
        groups=tuple(_former_group(number, former, settings, before, after) for number in range(len(settings.groups))),
        unmatched_alike=former.unmatched is settings.unmatched and before.keys() <= after.keys(),
    )


def _former_group(
    number: int,
    former: LayerTwoSettings,
    settings: LayerTwoSettings,
    before: dict[_Traffic, int],
    after: dict[_Traffic, int],
) -> int | None:
    found = {before.get(traffic) for traffic, group in after.items() if group == number}
    if former.unmatched is Unmatched.DROP:
        # Traffic that nobody took may begin with any owner.
        found.discard(None)
    if len(found) != 1:
        return None
    (group,) = found
    return group if group is not None and former.groups[group].by is settings.groups[number].by else None


def _groups(settings: LayerTwoSettings, vips: set[VirtualIp]) -> dict[_Traffic, int]:
    """Return the number of the group of each port of these virtual IPs; the first group that names it counts."""
    found: dict[_Traffic, int] = {}
    for number, group in enumerate(settings.groups):
        for vip in vips if group.vip is None else vips & {group.vip}:
            for port in group.ports:
                found.setdefault((vip, group.protocol, port), number)
    return found
