"""What the Settings page says of a proposal: which one, and how far each node is with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hcsidecar.core.console.action_effects import FarmAction
from hcsidecar.core.console.documents import FarmOverview, NodeAnswer
from hcsidecar.core.console.farm_view import state_of
from hcsidecar.core.settings.agreement import ProposalProgress
from hcsidecar.core.settings.documents import ProposalReport, SettingsReport

IN_PROGRESS: Final = (ProposalProgress.PREPARING, ProposalProgress.TRIAL)


class NodeStage(StrEnum):
    """How far a node is with a proposal."""

    CHECKS = "checks"
    AGREES = "agrees"
    REFUSES = "refuses"
    TRIES = "tries"
    "It has been told, and does not say yet that it goes by the new settings."
    TAKEN = "taken"
    "It goes by them."
    DRAINS = "drains"
    "It is removed, and lets its clients end."
    UNCHANGED = "unchanged"
    "The proposal has come to nothing."
    SILENT = "silent"
    "It does not answer the console."


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """One node on the way to new settings."""

    node: str
    stage: NodeStage
    reasons: tuple[str, ...] = ()
    "Why it refuses."


def shown_proposal(answers: Sequence[NodeAnswer[SettingsReport]]) -> ProposalReport | None:
    """Return the proposal to show, whichever node coordinates it: the one in progress, else the newest.

    None if there is none.
    """
    found = [answer.document.proposal for answer in answers if answer.document and answer.document.proposal]
    return max(
        found,
        key=lambda proposal: (proposal.progress in IN_PROGRESS, proposal.revision.number),
        default=None,
    )


def node_rows(proposal: ProposalReport, answers: Sequence[NodeAnswer[SettingsReport]]) -> tuple[NodeRow, ...]:
    """Return how far each node is, in the order of the answers; nodes that are leaving follow."""
    names = dict.fromkeys((*(answer.node for answer in answers), *proposal.leaving))
    silent = {answer.node for answer in answers if answer.document is None}
    return tuple(
        NodeRow(
            node=name,
            stage=_stage(name, proposal, is_silent=name in silent),
            reasons=tuple(proposal.refusals.get(name, ())),
        )
        for name in names
    )


def waiting_keys(answers: Sequence[NodeAnswer[SettingsReport]]) -> tuple[str, ...]:
    """Return the keys that any node takes only when its daemon starts again, each once."""
    return tuple(dict.fromkeys(key for answer in answers if answer.document for key in answer.document.waiting))


def restart_action(overview: FarmOverview) -> FarmAction:
    """Return how daemons are best started again: one after the other where all nodes serve, else all at once.

    A rolling command begins only with a farm whose nodes are all Ready. They are not while a new check finds that an
    application does not run which the daemons take only when they start again.
    """
    serve_all = all(state_of(node).serves for node in overview.nodes)
    return FarmAction.ROLLING_RESTART_DAEMON if serve_all else FarmAction.RESTART_DAEMON


def _stage(name: str, proposal: ProposalReport, *, is_silent: bool) -> NodeStage:
    if name in proposal.refusals:
        return NodeStage.REFUSES
    if name in proposal.leaving:
        return NodeStage.DRAINS
    if is_silent:
        return NodeStage.SILENT
    match proposal.progress:
        case ProposalProgress.PREPARING:
            return NodeStage.CHECKS if name in proposal.waits_for else NodeStage.AGREES
        case ProposalProgress.TRIAL | ProposalProgress.SETTLED:
            return NodeStage.TRIES if name in proposal.waits_for else NodeStage.TAKEN
        case _:
            return NodeStage.UNCHANGED
