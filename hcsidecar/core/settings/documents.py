"""The documents about settings that the API answers with, and the bodies that it takes."""

from collections.abc import Mapping
from typing import Annotated

import msgspec

from hcsidecar.core.membership.heartbeat import NodeName
from hcsidecar.core.request_bodies import Body
from hcsidecar.core.settings.agreement import AgreementPhase, ProposalProgress, ProposalStatus
from hcsidecar.core.settings.differences import FileChange
from hcsidecar.core.settings.history import HistoryEntry
from hcsidecar.core.settings.messages import LONGEST_CONFIRM, SHORTEST_CONFIRM
from hcsidecar.core.settings.plan import ChangePlan
from hcsidecar.core.settings.revision import LONGEST_MESSAGE, MAX_FILES, Digest, RevisionId

DEFAULT_CONFIRM = 30.0
"Seconds within which all nodes must hear each other with new settings."
_LONGEST_PATH = 4096

Without = Annotated[tuple[NodeName, ...], msgspec.Meta(max_length=64)]


class CandidateFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of an uploaded bundle."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
    content: bytes
    "In base64."
    executable: bool = False


class CandidateBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asks for a candidate: `POST /api/v1/settings/candidates`. At most one of the first four keys is set."""

    file: Annotated[str, msgspec.Meta(min_length=1, max_length=_LONGEST_PATH)] | None = None
    "Absolute path of a farm file on the node that is asked; by default its own."
    files: Annotated[tuple[CandidateFile, ...], msgspec.Meta(min_length=1, max_length=MAX_FILES)] | None = None
    "A bundle that the console has got from a person or a program."
    number: Annotated[int, msgspec.Meta(ge=1)] | None = None
    "A former revision, to go back to its content."
    take: NodeName | None = None
    "The node whose revision all nodes are to take, after a conflict."
    remove: NodeName | None = None
    "Instead of these: the node that what is in force is to be without. One that is not heard need not agree."
    message: Annotated[str, msgspec.Meta(max_length=LONGEST_MESSAGE)] = ""
    without: Without = ()
    "Nodes that need not agree: dead ones."


class ProposalBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asks to apply a candidate: `POST /api/v1/settings/proposals`."""

    digest: Digest
    confirm: Annotated[float, msgspec.Meta(ge=SHORTEST_CONFIRM, le=LONGEST_CONFIRM)] = DEFAULT_CONFIRM


class CheckBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asks a node to check a revision on its machine: `POST /api/v1/settings/checks`."""

    revision: RevisionId


class CheckOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a node has found in a candidate."""

    node: str
    problems: tuple[str, ...] = ()
    "Why it cannot take it; none if it can."


class CandidateReport(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate: what it changes, and why it cannot be applied."""

    revision: RevisionId | None = None
    "None if the files cannot be a revision, or nothing differs from the settled one."
    problems: tuple[str, ...] = ()
    "Problems of the files, found by the node that was asked."
    checks: tuple[CheckOutcome, ...] = ()
    "The findings of each node that must agree."
    plan: ChangePlan | None = None
    changes: tuple[str, ...] = ()
    "The keys of the farm file that change, each with its old and new value."
    files: tuple[FileChange, ...] = ()

    @property
    def is_right(self) -> bool:
        """Whether it may be proposed."""
        plan_refuses = self.plan is not None and not self.plan.is_possible
        return not self.problems and not plan_refuses and not any(check.problems for check in self.checks)


class DifferencesReport(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between two bundles: `GET /api/v1/settings/differences`."""

    before: RevisionId | None
    "None where the farm has no revision yet."
    after: RevisionId | None
    "None: the files on the disk of the node."
    problems: tuple[str, ...] = ()
    "Why the files cannot be compared."
    changes: tuple[str, ...] = ()
    "The keys of the farm file that differ; empty where one of the two cannot be read as a farm file."
    files: tuple[FileChange, ...] = ()


class ProposalReport(msgspec.Struct, frozen=True, kw_only=True):
    """A proposal that this node coordinates, or coordinated last."""

    revision: RevisionId
    progress: ProposalProgress
    waits_for: tuple[str, ...] = ()
    "Nodes that have not answered, or do not go by the revision yet."
    refusals: Mapping[str, tuple[str, ...]] = {}
    outcome: str = ""
    "Why it was aborted or undone."
    leaving: tuple[str, ...] = ()
    "Nodes that it removes, and that drain just now."
    drain: float = 0.0
    "Seconds for which they may do so."

    @classmethod
    def of(cls, status: ProposalStatus, *, settled: frozenset[str]) -> "ProposalReport":
        """Return the report; `settled` names the nodes that have said that the revision is settled with them."""
        others = [name for name in status.proposal.participants if name not in status.refusals]
        match status.progress:
            case ProposalProgress.PREPARING:
                waits_for = [name for name in others if name not in status.prepared]
            case ProposalProgress.TRIAL | ProposalProgress.SETTLED:
                removed = status.proposal.removed
                waits_for = [name for name in others if name not in settled and name not in removed]
            case _:
                waits_for = []
        return cls(
            revision=status.proposal.revision,
            progress=status.progress,
            waits_for=tuple(waits_for),
            refusals=status.refusals,
            outcome=status.outcome,
            leaving=tuple(sorted(status.leaving)),
            drain=status.proposal.drain,
        )


class SettingsReport(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one node."""

    node: str
    settled: RevisionId | None
    "What it goes by; None while its farm file is no revision yet."
    phase: AgreementPhase
    candidate: RevisionId | None
    "What it checks, tries or takes just now."
    blocked: str | None
    "Why it does not take what the others have settled."
    conflicts: Mapping[str, RevisionId]
    "By node: a revision that has gone another way."
    unapplied: str | None
    "A line about files on the disk that were edited and not applied."
    waiting: tuple[str, ...] = ()
    "Keys whose new value the daemon takes when it starts again."
    proposal: ProposalReport | None = None
    history: tuple[HistoryEntry, ...] = ()
    "The highest number first."
