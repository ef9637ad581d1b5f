"""Which node takes which part of each share, as strips of buckets; and which node is the director of each virtual IP.

A strip shows the first buckets of all, as they are: owners of buckets are drawn by a hash, so a few show how all are
spread, and when a node leaves, its own change hands and no other. The fractions are those of all buckets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from hcsidecar.core.console.documents import FarmOverview, NodeOverview
from hcsidecar.core.console.node_details import NodeDetails
from l2mode.core.buckets import BUCKETS, MAX_MEMBERS, masks, owners
from l2mode.core.documents import LayerTwoReport

SHOWN: Final = 128
"Buckets in a strip: on a telephone each is about 2 pixels wide."


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketRun:
    """Neighbouring buckets of one owner."""

    node: str | None
    "None: nobody takes them."
    begin: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareStrip:
    """The buckets of share groups that have the same owners: those with the same powers."""

    names: tuple[str, ...]
    runs: tuple[BucketRun, ...]
    fractions: tuple[tuple[str, float], ...]
    "Each node that takes some, and its fraction of all buckets, 0 to 1."


@dataclass(frozen=True, slots=True, kw_only=True)
class SharesNow:
    """Who takes what, by the view of one node."""

    told_by: str
    strips: tuple[ShareStrip, ...]
    directors: tuple[tuple[str, str | None], ...]
    "Each virtual IP with its director; None where no single node answers for it."
    is_directed: bool
    "Delivery is directed: in flooded delivery no virtual IP has a director."


def shares_now(overview: FarmOverview, details: Mapping[str, NodeDetails]) -> SharesNow | None:
    """Return who takes what now; None in a farm without [l2], and while no node has told of it.

    Told by the node with the largest view among those that answer; in a farm in parts, that is the largest part.
    """
    reports = [
        report
        for node in overview.nodes
        if node.answers and (report := details.get(node.name, NodeDetails(node=node.name)).layer_two) is not None
    ]
    if not reports:
        return None
    # `max` takes the first of several: the order of the farm file decides.
    report = max(reports, key=lambda each: len(each.view))
    groups: dict[tuple[tuple[str, int], ...], list[str]] = {}
    for share in report.shares:
        groups.setdefault(_powers(report, overview.nodes, share.name), []).append(share.name)
    return SharesNow(
        told_by=report.node,
        strips=tuple(_strip(tuple(names), dict(powers)) for powers, names in groups.items()),
        directors=tuple((vip.address, vip.director) for vip in report.vips),
        is_directed=report.delivery == "directed",
    )


def _powers(report: LayerTwoReport, nodes: Sequence[NodeOverview], share: str) -> tuple[tuple[str, int], ...]:
    """Return the power of each member of the view, as it last told it itself; else as the console's node heard it."""
    told = {node.name: node.status or node.seen for node in nodes}
    found = ((name, told.get(name)) for name in report.view[:MAX_MEMBERS])
    return tuple((name, 0 if status is None else status.powers.get(share, status.power)) for name, status in found)


def _strip(names: tuple[str, ...], powers: Mapping[str, int]) -> ShareStrip:
    runs, begin = [], 0
    for owner, same in groupby(owners(powers, SHOWN)):
        length = len(list(same))
        runs.append(BucketRun(node=owner, begin=begin, length=length))
        begin += length
    fractions = ((name, mask.bit_count() / BUCKETS) for name, mask in masks(powers).items())
    return ShareStrip(
        names=names, runs=tuple(runs), fractions=tuple((name, fraction) for name, fraction in fractions if fraction)
    )
