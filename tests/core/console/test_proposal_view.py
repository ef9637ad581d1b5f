"""How far each node is with new settings."""

import msgspec
import pytest

from hcsidecar.core.console.documents import FarmOverview, NodeAnswer, NodeOverview
from hcsidecar.core.console.proposal_view import node_rows, restart_action, shown_proposal, waiting_keys
from hcsidecar.core.documents import NodeStatus
from hcsidecar.core.settings.agreement import AgreementPhase, ProposalProgress
from hcsidecar.core.settings.documents import ProposalReport, SettingsReport
from hcsidecar.core.settings.revision import RevisionId


def proposal(progress="preparing", *, number=2, **more):
    return ProposalReport(
        revision=RevisionId(number=number, digest="a" * 64), progress=ProposalProgress(progress), **more
    )


def answer(node, proposed=None, *, answers=True):
    if not answers:
        return NodeAnswer(node=node, answers=False, problem="it does not answer")
    report = SettingsReport(
        node=node,
        settled=None,
        phase=AgreementPhase.IDLE,
        candidate=None,
        blocked=None,
        conflicts={},
        unapplied=None,
        proposal=proposed,
    )
    return NodeAnswer(node=node, answers=True, document=report)


def test_the_proposal_in_progress_is_shown_whoever_coordinates_it_else_the_newest():
    old, new, running = proposal("settled"), proposal("undone", number=5), proposal("trial", number=3)
    assert shown_proposal([answer("web1"), answer("web2", answers=False)]) is None
    assert shown_proposal([answer("web1", old), answer("web2", new)]) == new
    assert shown_proposal([answer("web1", new), answer("web2", running), answer("web3", old)]) == running


@pytest.mark.parametrize(
    ("progress", "waiting", "other"),
    [
        ("preparing", "checks", "agrees"),
        ("trial", "tries", "taken"),
        ("settled", "tries", "taken"),
        ("aborted", "unchanged", "unchanged"),
        ("undone", "unchanged", "unchanged"),
    ],
)
def test_each_node_has_its_stage(progress, waiting, other):
    made = proposal(progress, waits_for=("web1",), refusals={"web4": ("no eth7",)}, leaving=("web5",))
    answers = [answer("web1"), answer("web2"), answer("web3", answers=False), answer("web4")]
    assert [(row.node, row.stage, row.reasons) for row in node_rows(made, answers)] == [
        ("web1", waiting, ()),
        ("web2", other, ()),
        ("web3", "silent", ()),
        ("web4", "refuses", ("no eth7",)),
        ("web5", "drains", ()),
    ]


def test_keys_that_wait_for_a_restart_are_named_once():
    one = answer("web1")
    waits = msgspec.structs.replace(one, document=msgspec.structs.replace(one.document, waiting=("a", "b")))
    assert waiting_keys([waits, answer("web2", answers=False), waits, one]) == ("a", "b")


@pytest.mark.parametrize(
    ("statuses", "action"),
    [(("Ready", "Ready"), "rolling-restart-daemon"), (("Ready", "Transient"), "restart-daemon")],
)
def test_daemons_start_again_one_after_the_other_only_where_all_nodes_serve(statuses, action):
    nodes = tuple(
        NodeOverview(name=name, answers=True, status=NodeStatus(name=name, alive=True, role="UP", status=status))
        for name, status in zip(("web1", "web2"), statuses, strict=True)
    )
    overview = FarmOverview(farm="a", node="web1", version="1", keep_ready=1, lame_duck=10, nodes=nodes)
    assert restart_action(overview) == action
