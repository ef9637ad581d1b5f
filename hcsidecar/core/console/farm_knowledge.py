"""What the console knows of the farm: what each node last told of itself, and whether it answers now.

`now` is in seconds of a monotonic clock.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from hcsidecar.core.console.documents import FarmOverview, NodeOverview
from hcsidecar.core.documents import FarmStatus, NodeFacts, NodeStatus

NODE_LIMIT: Final = 0.8
"Seconds for the answer of a node: who looks sees within a second that it does not answer."
_FRESH: Final = 0.25
"Seconds for which an answer serves everybody who looks."
_FRESH_EACH: Final = 0.02
"And so much more for each node, because each costs the console's daemon a signed request."


def fresh_for(nodes: int) -> float:
    """Return for how many seconds a look at a farm of so many nodes serves everybody who looks."""
    return max(_FRESH, _FRESH_EACH * nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    status: NodeStatus
    at: float


class FarmKnowledge:
    """What is known of each node; empty at the start of the console."""

    def __init__(self) -> None:
        self.facts: NodeFacts | None = None
        "What the console's own node last said of itself and the farm."
        self._seen: FarmStatus | None = None
        self._own_answers = False
        self._own_problem = "not asked yet"
        self._told: dict[str, _Told] = {}
        self._problems: dict[str, str] = {}

    @property
    def nodes(self) -> tuple[str, ...]:
        """All nodes of the farm, in the order of the farm file; none if nobody has said yet."""
        return () if self.facts is None else self.facts.nodes

    @property
    def farm(self) -> str:
        """The name of the farm; empty if nobody has said yet."""
        return "" if self.facts is None else self.facts.farm

    def hear_facts(self, facts: NodeFacts) -> None:
        """Take what the console's own node says; what is known of nodes that are gone is forgotten."""
        self.facts = facts
        self._told = {name: told for name, told in self._told.items() if name in facts.nodes}
        self._problems = {name: problem for name, problem in self._problems.items() if name in facts.nodes}

    def hear(self, node: str, status: FarmStatus, *, now: float) -> None:
        """Take the status document of a node."""
        self._told[node] = _Told(status=status.of(node), at=now)
        self._problems.pop(node, None)
        if self.facts is not None and node == self.facts.node:
            self._doubt_the_dead(status)
            self._seen, self._own_answers = status, True

    def _doubt_the_dead(self, seen: FarmStatus) -> None:
        """Believe no longer what nodes have said of themselves that the own node has just ceased to hear.

        Whether they answer is known only when they have let somebody wait, which takes longer. One that still answers
        is believed again as soon as it does.
        """
        if self._seen is None:
            return
        for row in seen.nodes:
            if self._seen.of(row.name).alive and not row.alive and row.name in self._told:
                self._problems.setdefault(row.name, f"{seen.node} does not hear it any more")

    def miss(self, node: str, problem: str) -> None:
        """Take that a node does not answer, and why."""
        self._problems[node] = problem

    def miss_own(self, problem: str) -> None:
        """Take that the console's own node does not answer: so nobody can be asked."""
        self._own_answers, self._own_problem = False, problem

    def overview(self, *, now: float) -> FarmOverview | None:
        """Return the document; None if the console's own node has not answered yet."""
        facts = self.facts
        if facts is None:
            return None
        return FarmOverview(
            farm=facts.farm,
            node=facts.node,
            version=facts.version,
            keep_ready=facts.keep_ready,
            lame_duck=facts.lame_duck,
            shares=facts.shares,
            view=self._seen.view if self._seen is not None and self._own_answers else (),
            nodes=tuple(self._overview_of(name, now) for name in facts.nodes),
        )

    def _overview_of(self, name: str, now: float) -> NodeOverview:
        told = self._told.get(name)
        problem = self._problems.get(name, "" if told is not None else "not asked yet")
        if not self._own_answers:
            problem = f"the console's own node does not answer: {self._own_problem}"
        return NodeOverview(
            name=name,
            answers=not problem,
            problem=problem,
            age=None if told is None else round(max(0.0, now - told.at), 1),
            status=None if told is None else told.status,
            seen=self._seen.of(name) if self._seen is not None and self._own_answers else None,
        )


def news(before: FarmOverview | None, after: FarmOverview) -> list[tuple[str, FarmOverview | NodeOverview]]:
    """Return what has changed between two looks: the farm as a whole, or single nodes; nothing before the first one.

    Each change is named as in the stream. The age of a node's words is no change.
    """
    if before is None:
        return []
    if _outline(before) != _outline(after):
        return [("farm", after)]
    former = {node.name: node for node in before.nodes}
    return [("node", node) for node in after.nodes if _ageless(node) != _ageless(former[node.name])]


def _outline(overview: FarmOverview) -> FarmOverview:
    names = tuple(NodeOverview(name=node.name, answers=True) for node in overview.nodes)
    return msgspec.structs.replace(overview, nodes=names)


def _ageless(node: NodeOverview) -> NodeOverview:
    return msgspec.structs.replace(node, age=None)
