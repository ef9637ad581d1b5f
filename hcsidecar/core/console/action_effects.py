"""What an action does to clients, before it is done: who drains, who takes over, and whether enough nodes stay Ready.

The shares are reckoned by the function by which the farm divides its buckets, so what is foretold is what comes.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hcsidecar.core.console.documents import FarmOverview, NodeOverview
from hcsidecar.core.console.farm_view import StateLevel, state_of
from hcsidecar.core.documents import NodeStatus
from l2mode.core.buckets import BUCKETS, owners


class FarmAction(StrEnum):
    """What one can do to nodes on the Farm page."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"
    DRAIN = "drain"
    RESUME = "resume"
    LEAVE = "leave"
    RESTART_DAEMON = "restart-daemon"
    POWER = "power"
    ROLLING_RESTART = "rolling-restart"
    ROLLING_RESTART_DAEMON = "rolling-restart-daemon"

    @property
    def takes_out(self) -> bool:
        """Whether a node that gets it serves no new clients, for a time or until it is told otherwise."""
        return self not in (FarmAction.START, FarmAction.RESUME, FarmAction.POWER)

    @property
    def comes_back(self) -> bool:
        """Whether a node that it takes out comes back by itself."""
        return self in (FarmAction.RESTART, FarmAction.RESTART_DAEMON) or self.is_rolling

    @property
    def is_rolling(self) -> bool:
        """Whether it takes one node after the other."""
        return self in (FarmAction.ROLLING_RESTART, FarmAction.ROLLING_RESTART_DAEMON)


POSSIBLE: Final[Mapping[StateLevel, Sequence[FarmAction]]] = {
    StateLevel.GOOD: (
        FarmAction.DRAIN,
        FarmAction.STOP,
        FarmAction.RESTART,
        FarmAction.LEAVE,
        FarmAction.POWER,
        FarmAction.RESTART_DAEMON,
    ),
    StateLevel.CHANGING: (FarmAction.RESUME, FarmAction.STOP, FarmAction.RESTART, FarmAction.RESTART_DAEMON),
    StateLevel.STOPPED: (FarmAction.START, FarmAction.RESTART_DAEMON),
    StateLevel.BAD: (FarmAction.START, FarmAction.RESTART, FarmAction.STOP, FarmAction.RESTART_DAEMON),
    StateLevel.UNKNOWN: (),
}
"By the level of a node: the actions that make sense, the most usual first."


def possible_actions(node: NodeOverview) -> Sequence[FarmAction]:
    """Return the actions that make sense for a node; none for one that does not answer, which could not be told."""
    return POSSIBLE[state_of(node).level] if node.answers else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEffect:
    """What an action does to one node."""

    node: str
    serves: bool
    "It serves clients before."
    answers: bool
    "It can be told."
    changes: bool
    "The action does something to it."


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionEffect:
    """What an action does to the farm."""

    action: FarmAction
    nodes: Sequence[NodeEffect]
    drain: float
    "Seconds that a node may take to drain."
    ready_before: int
    ready_after: int
    "While those that it takes out are out; with a rolling action, one at a time."
    total: int
    keep_ready: int
    shares: Mapping[str, Mapping[str, float]]
    "By share group and node: the fraction of the clients, 0 to 1, afterwards."

    @property
    def breaks_keep_ready(self) -> bool:
        """Whether fewer nodes would be Ready than are to be, because of this."""
        return self.ready_after < min(self.keep_ready, self.ready_before) and self.ready_after < self.ready_before

    @property
    def leaves_nobody(self) -> bool:
        """Whether nobody would serve clients that are served now."""
        return self.ready_after == 0 < self.ready_before

    @property
    def changes(self) -> bool:
        """Whether it does anything."""
        return any(each.changes for each in self.nodes)


def action_effect(
    overview: FarmOverview, action: FarmAction, nodes: Collection[str], *, power: int | None = None
) -> ActionEffect:
    """Return the effect of an action on these nodes, on all if none is named. `power` is for FarmAction.POWER."""
    chosen = frozenset(nodes) or frozenset(node.name for node in overview.nodes)
    serving = {node.name for node in overview.nodes if state_of(node).serves}
    effects = tuple(_node_effect(node, action, serving) for node in overview.nodes if node.name in chosen)
    told = {effect.node for effect in effects if effect.answers and effect.changes}
    if action.takes_out:
        # A rolling action takes one node at a time: the worst moment is with one less.
        gone = set(sorted(told & serving)[:1]) if action.is_rolling else told
        after = serving - gone
    elif action is FarmAction.POWER:
        after = serving
    else:
        after = serving | told
    return ActionEffect(
        action=action,
        nodes=effects,
        drain=overview.lame_duck,
        ready_before=len(serving),
        ready_after=len(after),
        total=len(overview.nodes),
        keep_ready=overview.keep_ready,
        shares={
            group: _fractions(
                {
                    node.name: power if power is not None and node.name in told else _power(node, group)
                    for node in overview.nodes
                    if node.name in after
                }
            )
            for group in overview.shares
        },
    )


def _node_effect(node: NodeOverview, action: FarmAction, serving: Collection[str]) -> NodeEffect:
    status = _known(node)
    draining = status is not None and (status.draining or status.parting)
    stopped = status is not None and status.role == "STOP"
    match action:
        case FarmAction.START:
            changes = stopped
        case FarmAction.RESUME:
            changes = draining
        case FarmAction.DRAIN:
            changes = not draining and not stopped
        case FarmAction.STOP | FarmAction.LEAVE:
            changes = not stopped
        case _:
            changes = True
    return NodeEffect(node=node.name, serves=node.name in serving, answers=node.answers, changes=changes)


def _known(node: NodeOverview) -> NodeStatus | None:
    return node.status if node.status is not None else node.seen


def _power(node: NodeOverview, group: str) -> int:
    status = _known(node)
    return 0 if status is None else status.powers.get(group, status.power)


def _fractions(powers: Mapping[str, int]) -> Mapping[str, float]:
    found = owners(powers)
    return {name: found.count(name) / BUCKETS for name in powers}
