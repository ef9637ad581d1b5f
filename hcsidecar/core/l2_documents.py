"""What one node says when `hcsidecar l2-check` asks it, as far as that is read."""

from enum import StrEnum

import msgspec


class CheckLevel(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    "It works, and might not for long."
    PROBLEM = "problem"
    "Clients are not served as they should be."


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What a node found on its own machine."""

    level: CheckLevel
    message: str
    remedy: str = ""


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """One answer to a node that asked the network for a VIP."""

    mac: str
    "Where the VIP is, it says."
    source_mac: str
    "The machine that says it."


class Vip(msgspec.Struct, frozen=True, kw_only=True):
    """A VIP, as one node sees it."""

    address: str
    director: str | None
    "None in flooded delivery, and out of the view."
    mac: str | None
    "Where it should be."


class ShareState(msgspec.Struct, frozen=True, kw_only=True):
    """How many buckets of a share group are open at one node, or wait to be."""

    name: str
    mine: int
    pending: int


class Packets(msgspec.Struct, frozen=True, kw_only=True):
    """How often a node's filter did something for one reason."""

    text: str
    count: int
    persists: bool = False
    "It should not happen, and goes on."


class FilterState(msgspec.Struct, frozen=True, kw_only=True):
    """The filter in use."""

    name: str
    why: str
    warnings: tuple[str, ...] = ()
    degraded: bool = False
    "Only the filter in user space works there."
    fall_back: str | None = None
    "In place of which others, why, and what that costs; None when it was the first to try."
    remedy: str = ""
    "What makes the others work."


class VipConflict(msgspec.Struct, frozen=True, kw_only=True):
    """A machine outside the farm uses a VIP, as one node has heard."""

    vip: str
    text: str


class NodeCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What one node tells: the document of layer-2 mode, and what it has just looked at."""

    view: tuple[str, ...]
    filter: FilterState
    interface: str
    macs: dict[str, str]
    "Of the nodes, as far as they are heard; its own too."
    delivery: str
    lease_open: bool
    vips: tuple[Vip, ...]
    shares: tuple[ShareState, ...]
    packets: tuple[Packets, ...] = ()
    cut_off: tuple[str, ...] = ()
    conflicts: tuple[VipConflict, ...] = ()
    findings: tuple[Finding, ...] = ()
    answers: dict[str, tuple[Heard, ...]] = {}
    "By VIP; one that could not be asked for is missing."
