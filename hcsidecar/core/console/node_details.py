"""What a page shows of a node beyond its state: checks, layer-2 mode, settings, targets."""

from collections.abc import Mapping
from typing import Final

import msgspec

from hcsidecar.core.documents import ChecksReport
from hcsidecar.core.settings.documents import SettingsReport
from hcsidecar.core.targets.documents import TargetsReport
from l2mode.core.documents import LayerTwoReport

_FRESH: Final = 2.0
"Seconds between two looks at the details of a farm."
_FRESH_EACH: Final = 0.2
"And so much more for each node: each costs the console's daemon four signed requests."


class NodeDetails(msgspec.Struct, frozen=True, kw_only=True):
    """The details of one node, each None as long as it is not known; those of a node that is silent stay."""

    node: str
    checks: ChecksReport | None = None
    layer_two: LayerTwoReport | None = None
    "None also without [l2]."
    settings: SettingsReport | None = None
    targets: TargetsReport | None = None


def details_fresh_for(nodes: int) -> float:
    """Return for how many seconds a look at the details of so many nodes serves everybody."""
    return max(_FRESH, _FRESH_EACH * nodes)


def details_news(before: Mapping[str, NodeDetails], after: Mapping[str, NodeDetails]) -> list[NodeDetails]:
    """Return the details that have changed. Counters and ages are no change: they change always."""
    return [
        details for node, details in after.items() if node not in before or _outline(details) != _outline(before[node])
    ]


def _outline(details: NodeDetails) -> NodeDetails:
    layer_two, targets = details.layer_two, details.targets
    return msgspec.structs.replace(
        details,
        layer_two=None if layer_two is None else msgspec.structs.replace(layer_two, packets=(), seen=0),
        targets=None
        if targets is None
        else msgspec.structs.replace(
            targets,
            targets=tuple(
                msgspec.structs.replace(
                    target,
                    observed_age=None,
                    last_success_age=None,
                    next_try=None,
                    calls={},
                    failures={},
                    error=None if target.error is None else msgspec.structs.replace(target.error, age=0.0),
                )
                for target in targets.targets
            ),
        ),
    )
