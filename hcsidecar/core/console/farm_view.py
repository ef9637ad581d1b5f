"""What the Farm page says of the farm and of each node: one level and one word for each, so that it is seen at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hcsidecar.core.console.documents import FarmOverview, NodeOverview
from hcsidecar.core.console.translatable import text as _


class StateLevel(StrEnum):
    """How well a node or the farm is; pages show each by a colour and a shape."""

    GOOD = "good"
    CHANGING = "changing"
    "It starts, drains or leaves: nothing is wrong."
    STOPPED = "stopped"
    "Somebody has stopped it."
    BAD = "bad"
    UNKNOWN = "unknown"
    "It does not answer the console, and others hear it."


ROLE_WORDS: Final = {"STOP": _("STOP"), "WAIT": _("WAIT"), "UP": _("UP")}
STATUS_WORDS: Final = {"NotReady": _("NotReady"), "Transient": _("Transient"), "Ready": _("Ready")}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """The state of a node in a word."""

    level: StateLevel
    word: str
    "To be translated."
    serves: bool
    "As far as is known, it takes clients."


NOT_HEARD: Final = NodeState(level=StateLevel.BAD, word=_("not heard"), serves=False)
SILENT: Final = NodeState(level=StateLevel.UNKNOWN, word=_("does not answer"), serves=False)
_DRAINING: Final = NodeState(level=StateLevel.CHANGING, word=_("draining"), serves=False)
_LEAVING: Final = NodeState(level=StateLevel.CHANGING, word=_("leaving"), serves=True)
_READY: Final = NodeState(level=StateLevel.GOOD, word=_("Ready"), serves=True)
CHANGING: Final = NodeState(level=StateLevel.CHANGING, word=_("changing"), serves=False)
_STOPPED: Final = NodeState(level=StateLevel.STOPPED, word=_("stopped"), serves=False)
_WAITING: Final = NodeState(level=StateLevel.BAD, word=_("waiting"), serves=False)
_NOT_READY: Final = NodeState(level=StateLevel.BAD, word=_("not Ready"), serves=False)


def state_of(node: NodeOverview) -> NodeState:
    """Return the state of a node, by its own words; of one that does not answer by what others hear of it."""
    if not node.answers or node.status is None:
        is_dead = node.seen is not None and not node.seen.alive
        return NOT_HEARD if is_dead else SILENT
    status = node.status
    if status.parting:
        return _LEAVING
    return state_told(role=status.role, status=status.status, draining=status.draining)


def state_told(*, role: str | None, status: str | None, draining: bool) -> NodeState:
    """Return the state of a node that tells its role and status."""
    if draining and status == "Ready":
        return _DRAINING
    match (status, role):
        case ("Ready", _role):
            return _READY
        case ("Transient", _role):
            return CHANGING
        case (_status, "STOP"):
            return _STOPPED
        case (_status, "WAIT"):
            return _WAITING
        case _:
            return _NOT_READY


@dataclass(frozen=True, slots=True, kw_only=True)
class FarmState:
    """The farm in one line."""

    level: StateLevel
    ready: int
    "Nodes that are Ready."
    total: int
    keep_ready: int
    not_good: Sequence[tuple[str, str]]
    "Name and word of each node that is not Ready."


def farm_state(overview: FarmOverview) -> FarmState:
    """Return the state of the farm: bad while fewer nodes are Ready than are to be."""
    states = [(node.name, state_of(node)) for node in overview.nodes]
    ready = sum(state.serves for _name, state in states)
    worst = {state.level for _name, state in states}
    if ready < max(1, overview.keep_ready) or StateLevel.BAD in worst:
        level = StateLevel.BAD
    elif StateLevel.UNKNOWN in worst:
        level = StateLevel.UNKNOWN
    elif worst - {StateLevel.GOOD}:
        level = StateLevel.CHANGING
    else:
        level = StateLevel.GOOD
    return FarmState(
        level=level,
        ready=ready,
        total=len(states),
        keep_ready=overview.keep_ready,
        not_good=[(name, state.word) for name, state in states if state.level is not StateLevel.GOOD],
    )
