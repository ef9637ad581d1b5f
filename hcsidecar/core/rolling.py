"""One node at a time: whether a node may be taken out of the farm, and the course of a command that visits all of them.

`Rolling` decides from status documents; the caller fetches them, does what it is told and says how it went. `now` is
in seconds of a monotonic clock.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, assert_never

from hcsidecar.core.application.states import Role, Status
from hcsidecar.core.documents import FarmStatus, NodeStatus
from hcsidecar.core.plain_text import said_of

SETTLE: Final = 3.0
"Seconds for which a node that was never seen to leave Ready may still show its state from before the command."


def why_not_drain(farm: FarmStatus, node: str, *, keep_ready: int) -> str | None:
    """Say why a node should stay in, or None if it may go out.

    `drain` refuses for this reason unless forced; `stop` and `leave` only warn with it.
    """
    return _why_not_spare(node, farm.nodes, keep_ready)


def _is_stopped(node: NodeStatus) -> bool:
    """Tell whether its operator wants a node out."""
    return node.alive and node.role == Role.STOP


def _why_not_ready(node: NodeStatus) -> str | None:
    """Say what keeps a node from taking traffic, or None if it does."""
    because = f": {node.reason}" if node.reason else ""
    if not node.alive:
        return f"{node.name} is not heard{because}"
    if node.draining or node.role != Role.UP or node.status != Status.READY:
        draining = ", draining" if node.draining else ""
        return f"{node.name} is {node.role}({node.status}){draining}{because}"
    return None


def _why_not_spare(node: str, nodes: tuple[NodeStatus, ...], keep_ready: int) -> str | None:
    ready = [other.name for other in nodes if _why_not_ready(other) is None]
    left = [other for other in ready if other != node]
    # A node that takes no traffic takes nothing away by going.
    if node not in ready or len(left) >= keep_ready:
        return None
    who = f"only {', '.join(left)}" if left else "no node"
    return f"without {node}, {who} would be Ready, and [farm] keep_ready is {keep_ready}"


@dataclass(frozen=True, slots=True)
class ReportProgress:
    """Tell the person who waits how it goes."""

    text: str


@dataclass(frozen=True, slots=True)
class TakeNode:
    """Give the command to this node, then call `taken`."""

    node: str


@dataclass(frozen=True, slots=True)
class Finish:
    """It is over: every node has been visited, or `ok` is false and the text says why and what to do."""

    ok: bool
    text: str


RollingStep = ReportProgress | TakeNode | Finish


class _Stage(Enum):
    BEGINNING = auto()
    TAKING = auto()
    "A `TakeNode` is out."
    RETURNING = auto()
    "The command has been given; the node is to be Ready again."
    OVER = auto()


class Rolling:
    """The course of one command through the farm, in the order of the status document.

    `command` is only for the texts; it must be one after which a node becomes Ready again by itself. A node may take
    `limit` seconds for that. A node that is stopped when its turn comes is skipped. In a farm of one node, `keep_ready`
    does not hold.
    """

    def __init__(self, *, command: str, keep_ready: int, limit: float) -> None:
        self._command = command
        self._keep_ready = keep_ready
        self._limit = limit
        self._stage = _Stage.BEGINNING
        self._done: list[str] = []
        self._to_do: list[str] = []
        self._node = ""
        "Whose turn it is."
        self._taken_at = 0.0
        self._seen_leaving = False

    @property
    def over(self) -> bool:
        """True after a `Finish`."""
        return self._stage is _Stage.OVER

    def step(self, farm: FarmStatus | None, *, now: float) -> list[RollingStep]:
        """Go on by what the farm looks like; None when nobody would say (a daemon that restarts, for example)."""
        nodes = None if farm is None else farm.nodes
        match self._stage:
            case _Stage.BEGINNING:
                return self._begin(nodes)
            case _Stage.RETURNING:
                return self._await(nodes, now=now)
            case _Stage.TAKING | _Stage.OVER:
                return []
            case _:
                assert_never(self._stage)

    def taken(self, refusal: str | None, *, now: float) -> list[RollingStep]:
        """Take how the command went: None when the node has accepted it, else its reason."""
        if refusal is not None:
            return [self._give_up(said_of(self._node, refusal))]
        self._stage = _Stage.RETURNING
        self._taken_at = now
        self._seen_leaving = False
        return []

    def _begin(self, nodes: tuple[NodeStatus, ...] | None) -> list[RollingStep]:
        if nodes is None:
            return [self._give_up("the state of the farm is unknown")]
        unfit = [reason for node in nodes if not _is_stopped(node) and (reason := _why_not_ready(node))]
        if unfit:
            return [self._give_up(f"the farm is not ready for it: {'; '.join(unfit)}")]
        self._to_do = [node.name for node in nodes]
        if len(nodes) == 1:
            # Nobody else could stay Ready, and whoever begins this knows it.
            self._keep_ready = 0
        return self._go_on(nodes)

    def _await(self, nodes: tuple[NodeStatus, ...] | None, *, now: float) -> list[RollingStep]:
        """Wait until the whole farm is fit again, as it was at the beginning."""
        waited = now - self._taken_at
        missing = self._missing(nodes)
        if missing is None and nodes is not None and (self._seen_leaving or waited >= SETTLE):
            self._done.append(self._node)
            return [ReportProgress(f"{self._node} is Ready again after {waited:.0f} s"), *self._go_on(nodes)]
        if missing is not None and waited >= self._limit:
            return [self._give_up(f"{missing}, {waited:.0f} s after {self._command} of {self._node}")]
        return []

    def _missing(self, nodes: tuple[NodeStatus, ...] | None) -> str | None:
        """Say what is still wanting; a node that was stopped before its turn is not."""
        if nodes is None:
            return "no daemon reports the state of the farm"
        states = {node.name: node for node in nodes}
        for name in (self._node, *self._done, *self._to_do):
            node = states.get(name)
            reason = f"{name} is no longer in the farm" if node is None else _why_not_ready(node)
            if node is not None and _is_stopped(node) and name in self._to_do:
                continue
            if reason is not None:
                self._seen_leaving = self._seen_leaving or name == self._node
                return reason
        return None

    def _go_on(self, nodes: tuple[NodeStatus, ...]) -> list[RollingStep]:
        """Turn to the next node."""
        steps: list[RollingStep] = []
        states = {node.name: node for node in nodes}
        while self._to_do:
            self._node = self._to_do.pop(0)
            if _is_stopped(states[self._node]):
                steps.append(ReportProgress(f"{self._node} is stopped: skipped"))
                continue
            reason = _why_not_spare(self._node, nodes, self._keep_ready)
            if reason is not None:
                return [*steps, self._give_up(reason)]
            self._stage = _Stage.TAKING
            return [*steps, ReportProgress(f"{self._node}: {self._command}"), TakeNode(self._node)]
        self._stage = _Stage.OVER
        return [*steps, Finish(ok=True, text=f"{self._command} done: {', '.join(self._done) or 'no node'}")]

    def _give_up(self, reason: str) -> Finish:
        """End before all nodes have been visited, and tell the operator where that leaves the farm."""
        self._stage = _Stage.OVER
        done = f"done before that: {', '.join(self._done)}" if self._done else "no node was done before that"
        not_begun = f"; not begun: {', '.join(self._to_do)}" if self._to_do else ""
        advice = (
            "`hcsidecar status` and `hcsidecar logs` (with --node NAME) say why; correct the cause, then begin again"
        )
        return Finish(ok=False, text=f"{reason} ({done}{not_begun}). {advice}.")
