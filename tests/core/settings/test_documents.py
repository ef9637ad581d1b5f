"""The documents about settings: when a candidate may be proposed, and whom a proposal waits for."""

import pytest

from hcsidecar.core.settings.agreement import ProposalProgress, ProposalStatus
from hcsidecar.core.settings.documents import CandidateReport, CheckOutcome, ProposalReport
from hcsidecar.core.settings.messages import Proposal
from hcsidecar.core.settings.plan import ChangePlan
from hcsidecar.core.settings.revision import RevisionId

REVISION = RevisionId(2, "b" * 64)
RIGHT = CheckOutcome(node="web1")


@pytest.mark.parametrize(
    ("report", "right"),
    [
        (CandidateReport(revision=REVISION, checks=(RIGHT,), plan=ChangePlan()), True),
        (CandidateReport(problems=("farm.name: is missing",)), False),
        (CandidateReport(revision=REVISION, checks=(RIGHT, CheckOutcome(node="web2", problems=("no room",)))), False),
        (CandidateReport(revision=REVISION, plan=ChangePlan(refusals=("heartbeat.port becomes 4804",))), False),
    ],
)
def test_a_candidate_is_right_if_nothing_stands_against_it(report, right):
    assert report.is_right is right


@pytest.mark.parametrize(
    ("progress", "waits_for"),
    [
        (ProposalProgress.PREPARING, ("web3", "web4")),
        (ProposalProgress.TRIAL, ("web1", "web3")),
        (ProposalProgress.SETTLED, ("web1", "web3")),
        (ProposalProgress.ABORTED, ()),
        (ProposalProgress.UNDONE, ()),
    ],
)
def test_a_proposal_waits_for_answers_and_then_for_all_that_stay(progress, waits_for):
    proposal = Proposal(
        token="0" * 32,
        coordinator="web1",
        revision=REVISION,
        parents=("a" * 64,),
        ancestors=(RevisionId(1, "a" * 64),),
        participants=("web1", "web2", "web3", "web4"),
        removed=("web4",),
        confirm=30.0,
    )
    status = ProposalStatus(
        proposal=proposal, progress=progress, prepared=frozenset({"web1", "web2"}), refusals={}, outcome="why"
    )
    report = ProposalReport.of(status, settled=frozenset({"web2"}))
    assert (report.progress, report.waits_for, report.outcome) == (progress, waits_for, "why")
