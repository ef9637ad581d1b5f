"""What one node answers when `hcsidecar l2-check` asks it: its document, and what it has just looked at."""

from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from l2mode.core.documents import LayerTwoReport


class CheckLevel(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    "It works, and might not for long."
    PROBLEM = "problem"
    "Clients are not served as they should be."


class CheckFinding(msgspec.Struct, frozen=True, kw_only=True):
    """What a node found on its own machine."""

    level: CheckLevel
    message: str
    remedy: str = ""


class VipAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One answer to a node that asked the network for a virtual IP."""

    mac: str
    "Where the virtual IP is, it says."
    source_mac: str
    "The machine that says it."


class LayerTwoCheck(LayerTwoReport, frozen=True, kw_only=True):
    """What a node does in layer-2 mode, and what it found on its machine and network: `GET /api/v1/layer-two/check`."""

    findings: tuple[CheckFinding, ...] = ()
    answers: dict[str, tuple[VipAnswer, ...]] = msgspec.field(default_factory=dict)
    "By virtual IP; one that could not be asked for is missing."


def checked(
    report: LayerTwoReport, *, findings: Sequence[CheckFinding], answers: Mapping[str, Sequence[VipAnswer]]
) -> LayerTwoCheck:
    """Return the document of a node with what it has found beside."""
    return LayerTwoCheck(
        **msgspec.structs.asdict(report),
        findings=tuple(findings),
        answers={vip: tuple(heard) for vip, heard in answers.items()},
    )
