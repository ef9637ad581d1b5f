"""One node's part of the agreement on a revision, call by call: what went wrong once in the simulation, and edges."""

import pytest

from hcsidecar.core.membership.effects import Tell
from hcsidecar.core.membership.revision_state import NO_REVISION, RevisionState, TrialStage
from hcsidecar.core.settings.agreement import (
    Activate,
    Agreement,
    AgreementPhase,
    AskWhetherRemoved,
    Discard,
    EndRemoved,
    NotProposedError,
    Obtain,
    ProposalProgress,
    RestartDaemon,
    Save,
    SendMessage,
    SettingsRecord,
)
from hcsidecar.core.settings.messages import (
    Abort,
    AskLineage,
    Begin,
    Lineage,
    Prepare,
    Prepared,
    Proposal,
    Refused,
    decode_message,
)
from hcsidecar.core.settings.revision import RevisionId

FIRST, SECOND, OTHER, THIRD = (
    RevisionId(number, letter * 64) for number, letter in ((1, "a"), (2, "b"), (2, "c"), (3, "d"))
)
TOKEN = "0" * 32
BEHIND = RevisionState(settled=FIRST.mark, highest=1)
TRIES = RevisionState(settled=FIRST.mark, trial=SECOND.mark, stage=TrialStage.RUNNING, highest=2)
HEARS = RevisionState(settled=FIRST.mark, trial=SECOND.mark, stage=TrialStage.HEARS_ALL, highest=2)
BACK = RevisionState(settled=FIRST.mark, trial=SECOND.mark, stage=TrialStage.UNDONE, highest=2)
AHEAD = RevisionState(settled=SECOND.mark, highest=2)


def proposal(**fields):
    return Proposal(
        **{
            "token": TOKEN,
            "coordinator": "web1",
            "revision": SECOND,
            "parents": (FIRST.digest,),
            "ancestors": (FIRST,),
            "participants": ("web1", "web2", "web3"),
            "confirm": 30.0,
            **fields,
        }
    )


def node(name="web2", *, settled=FIRST, listens_until=0.0, heard=("web1", "web2", "web3")):
    record = SettingsRecord(settled=settled, highest=1) if settled else None
    made = Agreement(name=name, record=record, listens_until=listens_until, now=0.0)
    made.hear({other: BEHIND for other in heard if other != name}, now=0.0)
    return made


def promised(name="web2", **fields):
    made = node(name)
    made.receive(Prepare(proposal=proposal(**fields)), sender="web1", now=0.0)
    made.obtained(SECOND, (), now=0.0)
    assert made.phase is AgreementPhase.PROMISED
    return made


def on_trial(name="web2", **fields):
    made = promised(name, **fields)
    made.hear({"web1": TRIES, "web3": TRIES}, now=0.0)
    made.activated(SECOND, None, now=0.0)
    assert made.phase is AgreementPhase.TRIAL
    return made


def sent(effects):
    return [(effect.to, effect.message) for effect in effects if isinstance(effect, SendMessage)]


def told(effects):
    return [effect.event.message for effect in effects if isinstance(effect, Tell)]


# -- the coordinator


def test_a_coordinator_that_stood_still_counts_on_no_promise():
    coordinator = node("web1")
    coordinator.propose(proposal(), now=0.0)
    coordinator.receive(Prepared(token=TOKEN), sender="web2", now=0.1)
    effects = coordinator.receive(Prepared(token=TOKEN), sender="web3", now=300.0)
    assert Activate(SECOND) not in effects
    assert coordinator.status.progress is ProposalProgress.ABORTED
    assert coordinator.status.outcome == "web1 has not answered within 20s"


def test_one_that_does_not_answer_within_the_limit_is_named():
    coordinator = node("web1")
    coordinator.propose(proposal(), now=0.0)
    coordinator.receive(Prepared(token=TOKEN), sender="web2", now=0.1)
    effects = coordinator.tick(now=20.0)
    assert coordinator.status.outcome == "web3 has not answered within 20s"
    assert sent(effects) == [("web2", Abort(token=TOKEN)), ("web3", Abort(token=TOKEN))]


def test_one_that_is_not_heard_any_more_stops_it():
    coordinator = node("web1")
    coordinator.propose(proposal(), now=0.0)
    coordinator.receive(Prepared(token=TOKEN), sender="web3", now=0.1)
    coordinator.hear({"web2": BEHIND}, now=0.2)
    coordinator.receive(Refused(token=TOKEN, reasons=("disk full",)), sender="web2", now=0.3)
    assert coordinator.status.outcome == "web2 disk full; web3 is not heard any more"


def test_a_question_is_asked_again_each_second():
    coordinator = node("web1")
    asked = coordinator.propose(proposal(), now=0.0)
    assert sent(asked) == [(name, Prepare(proposal=proposal())) for name in ("web2", "web3")]
    coordinator.receive(Prepared(token=TOKEN), sender="web2", now=0.1)
    assert sent(coordinator.tick(now=0.5)) == []
    assert [to for to, _ in sent(coordinator.tick(now=1.0))] == ["web3"]


def test_whoever_answers_a_proposal_that_is_over_or_forgotten_is_told_so():
    for answer in (Prepared(token="9" * 32), Refused(token="9" * 32, reasons=("late",))):
        assert sent(node("web1").receive(answer, sender="web2", now=0.0)) == [("web2", Abort(token="9" * 32))]
    coordinator = node("web1")
    coordinator.propose(proposal(), now=0.0)
    coordinator.tick(now=20.0)
    assert sent(coordinator.receive(Prepared(token=TOKEN), sender="web2", now=21.0)) == [("web2", Abort(token=TOKEN))]


def test_an_answer_counts_once():
    coordinator = node("web1")
    coordinator.propose(proposal(), now=0.0)
    coordinator.receive(Prepared(token=TOKEN), sender="web2", now=0.1)
    assert coordinator.receive(Refused(token=TOKEN, reasons=("late",)), sender="web2", now=0.2) == []
    assert coordinator.status.prepared == {"web1", "web2"}


def test_a_node_does_not_remove_itself():
    with pytest.raises(NotProposedError, match="web1 cannot remove itself: do it on another node"):
        node("web1").propose(proposal(removed=("web1",)), now=0.0)


def test_a_node_without_a_proposal_has_no_status():
    assert node().status is None


def test_a_coordinator_begins_by_its_own_decision_only():
    coordinator = node("web1")
    coordinator.propose(proposal(), now=0.0)
    assert Activate(SECOND) not in coordinator.hear({"web2": TRIES, "web3": BEHIND}, now=0.1)


def test_one_that_does_not_hear_all_others_is_named_when_it_is_undone():
    coordinator = node("web1")
    coordinator.propose(proposal(), now=0.0)
    for name in ("web2", "web3"):
        coordinator.receive(Prepared(token=TOKEN), sender=name, now=0.1)
    coordinator.activated(SECOND, None, now=0.2)
    coordinator.hear({"web2": HEARS, "web3": TRIES}, now=0.3)
    coordinator.tick(now=1.0)
    for second in range(2, 31):
        coordinator.tick(now=float(second))
    assert coordinator.tick(now=30.2)
    assert coordinator.status.outcome == "web3 did not hear all others with it within 30s"


# -- those who are removed


def removing():
    coordinator = node("web1")
    coordinator.propose(proposal(removed=("web3",)), now=0.0)
    coordinator.receive(Prepared(token=TOKEN), sender="web3", now=0.1)
    return coordinator, coordinator.receive(Prepared(token=TOKEN), sender="web2", now=0.1)


def test_one_that_is_removed_begins_before_anybody_stops_to_speak_to_it():
    coordinator, effects = removing()
    assert effects == [SendMessage("web3", Begin(token=TOKEN))]
    assert sent(coordinator.tick(now=1.1)) == [("web3", Begin(token=TOKEN))]
    effects = coordinator.hear({"web2": BEHIND, "web3": HEARS}, now=1.2)
    assert Activate(SECOND) in effects


def test_it_begins_at_the_word_of_the_coordinator_only():
    removed = promised("web3", removed=("web3",))
    assert removed.receive(Begin(token=TOKEN), sender="web2", now=0.1) == []
    assert Activate(SECOND) in removed.receive(Begin(token=TOKEN), sender="web1", now=0.1)


def test_that_it_has_begun_lets_nobody_else_begin():
    assert Activate(SECOND) not in promised(removed=("web3",)).hear({"web1": BEHIND, "web3": TRIES}, now=0.1)


@pytest.mark.parametrize(
    ("what", "outcome"),
    [
        ({"web2": BEHIND}, "web3 is not heard any more"),
        ({"web2": BEHIND, "web3": BACK}, "web3 went back"),
    ],
)
def test_if_it_cannot_begin_all_go_back(what, outcome):
    coordinator, _ = removing()
    effects = coordinator.hear(what, now=0.3)
    assert coordinator.status.progress is ProposalProgress.UNDONE
    assert coordinator.status.outcome == outcome
    assert Discard(SECOND) in effects
    assert coordinator.state.stage is TrialStage.UNDONE
    other = promised(removed=("web3",))
    assert Discard(SECOND) in other.hear({"web1": coordinator.state, "web3": TRIES}, now=0.4)


def test_it_stays_out_while_it_hears_nobody_and_does_not_tick_without_end():
    removed = on_trial("web3", removed=("web3",))
    assert removed.hear({}, now=0.1) == [AskWhetherRemoved()]
    for second in range(1, 200):
        assert removed.tick(now=float(second)) == []
        assert removed.next_tick_at(now=float(second)) == pytest.approx(second + 1.0, abs=0.99)
    assert removed.next_tick_at(now=199.0) == 200.0
    assert removed.phase is AgreementPhase.TRIAL


def test_it_comes_back_when_it_hears_others_that_do_not_go_by_its_removal():
    removed = on_trial("web3", removed=("web3",))
    removed.hear({}, now=0.1)
    for second in range(1, 60):
        removed.tick(now=float(second))
    assert Activate(FIRST) in removed.hear({"web1": BEHIND}, now=60.0)


def test_it_may_drain_and_promises_hold_for_as_much_longer():
    coordinator = node("web1")
    coordinator.propose(proposal(removed=("web3",), drain=60.0), now=0.0)
    for name in ("web2", "web3"):
        coordinator.receive(Prepared(token=TOKEN), sender=name, now=0.1)
    for tenth in range(2, 800):
        coordinator.tick(now=tenth / 10)
    assert coordinator.status.progress is ProposalProgress.TRIAL
    coordinator.tick(now=80.2)
    assert coordinator.status.progress is ProposalProgress.UNDONE
    assert coordinator.status.outcome == "web3 is not out of the farm in time"
    other = promised(removed=("web3",), drain=60.0)
    for tenth in range(1, 1200):
        other.tick(now=tenth / 10)
        assert other.phase is AgreementPhase.PROMISED
    assert Discard(SECOND) in other.tick(now=120.0)


def test_the_number_of_a_removal_that_was_given_up_is_not_proposed_again():
    coordinator, _ = removing()
    coordinator.hear({"web2": BEHIND}, now=0.3)
    coordinator.hear({"web2": BEHIND, "web3": BEHIND}, now=0.4)
    with pytest.raises(NotProposedError, match="has seen a revision 2 already"):
        coordinator.propose(proposal(removed=("web3",)), now=0.5)


def test_one_that_hears_that_its_removal_is_settled_waits_for_the_proof():
    removed = on_trial("web3", removed=("web3",))
    removed.hear({"web1": AHEAD}, now=0.1)
    assert removed.phase is AgreementPhase.TRIAL


def test_a_proof_ends_one_that_was_away_and_hears_nobody():
    away = node("web3", heard=())
    effects = away.told_of_removal(Lineage(settled=THIRD, ancestors=(FIRST, SECOND)), now=0.2)
    assert effects[1:] == [
        Save(SettingsRecord(settled=FIRST, highest=1, removed_by=THIRD)),
        EndRemoved(THIRD),
    ]
    assert told(effects) == ["the farm has removed this node: revision 3 (dddddddd) of the settings is without it"]
    assert away.tick(now=0.3) == []
    assert away.saved(away.record, "no space left on device", now=0.3) == []
    away.receive(Prepare(proposal=proposal()), sender="web1", now=0.4)
    assert away.phase is AgreementPhase.REMOVED
    with pytest.raises(NotProposedError, match="web3 is no longer in the farm, by revision 3"):
        away.propose(proposal(coordinator="web3"), now=0.5)


def test_no_proof_ends_one_that_hears_others():
    heard = node("web3")
    assert heard.told_of_removal(Lineage(settled=SECOND, ancestors=(FIRST,)), now=0.1) == []
    assert heard.phase is AgreementPhase.IDLE


def test_one_that_has_gone_another_way_goes_on_and_says_so_once():
    other = node("web3", settled=OTHER, heard=())
    proof = Lineage(settled=SECOND, ancestors=(FIRST,))
    effects = other.told_of_removal(proof, now=0.1)
    (alarm,) = told(effects)
    assert alarm == (
        "other nodes go by revision 2 (bbbbbbbb) of the settings, which is without this node and does not follow"
        " revision 2 (cccccccc): this node goes on; to end it, stop this daemon"
    )
    assert other.told_of_removal(proof, now=1.2) == []
    assert other.why_no_traffic() is None


# -- promises


def test_a_promise_is_told_again_until_the_coordinator_begins_or_takes_it_back():
    participant = promised()
    assert sent(participant.tick(now=0.5)) == []
    assert sent(participant.tick(now=1.0)) == [("web1", Prepared(token=TOKEN))]
    assert participant.receive(Abort(token=TOKEN), sender="web3", now=1.5) == []
    assert Discard(SECOND) in participant.receive(Abort(token=TOKEN), sender="web1", now=1.6)
    assert participant.phase is AgreementPhase.IDLE


def test_a_promise_ends_after_a_minute():
    participant = promised()
    for second in range(1, 60):
        participant.tick(now=float(second))
    assert participant.next_tick_at(now=59.5) == 60.0
    assert Discard(SECOND) in participant.tick(now=60.0)


def test_whoever_has_promised_says_so_again_when_asked_again():
    participant = promised()
    asked = Prepare(proposal=proposal())
    assert sent(participant.receive(asked, sender="web1", now=0.1)) == [("web1", Prepared(token=TOKEN))]
    checking = node()
    assert Obtain(SECOND, "web1") in checking.receive(asked, sender="web1", now=0.0)
    assert checking.receive(asked, sender="web1", now=0.1) == []


def test_a_node_without_a_revision_takes_that_of_the_others_first():
    effects = node(settled=None).receive(Prepare(proposal=proposal()), sender="web1", now=0.0)
    assert sent(effects) == [
        ("web1", Refused(token=TOKEN, reasons=("web2 has no revision yet, and takes that of the others first",)))
    ]


def test_a_node_says_what_it_goes_by_if_the_proposed_one_does_not_follow():
    asked = Prepare(proposal=proposal(parents=(OTHER.digest,), revision=THIRD))
    why = "web2 goes by revision 1 (aaaaaaaa), which the proposed one does not follow"
    assert sent(node().receive(asked, sender="web1", now=0.0)) == [("web1", Refused(token=TOKEN, reasons=(why,)))]


def test_what_is_obtained_when_nobody_waits_for_it_is_thrown_away_unless_it_is_in_use_or_was():
    participant = node()
    assert participant.obtained(SECOND, (), now=0.0) == [Discard(SECOND)]
    assert participant.obtained(FIRST, (), now=0.0) == []
    late = Agreement(
        name="web2", record=SettingsRecord(settled=SECOND, ancestors=(FIRST,), highest=2), listens_until=0.0, now=0.0
    )
    assert late.obtained(FIRST, (), now=0.0) == []


def test_a_report_that_nobody_waits_for_changes_nothing():
    participant = promised()
    assert participant.activated(SECOND, None, now=0.1) == []
    assert participant.activated(None, None, now=0.1) == []
    assert participant.saved(SettingsRecord(settled=SECOND), None, now=0.1) == []
    assert participant.phase is AgreementPhase.PROMISED


# -- trials


def test_a_trial_that_begins_after_a_standstill_is_not_longer_for_it():
    participant = promised()
    participant.hear({"web1": TRIES, "web3": TRIES}, now=0.1)
    participant.activated(SECOND, None, now=300.0)
    assert participant.next_tick_at(now=300.0) == 301.0
    for second in range(301, 335):
        participant.tick(now=float(second))
    assert participant.phase is AgreementPhase.TRIAL
    participant.tick(now=335.0)
    assert participant.phase is AgreementPhase.UNDOING


def test_the_deadline_of_one_that_stood_still_moves_so_that_it_first_hears_what_the_others_did():
    participant = on_trial()
    participant.tick(now=0.5)
    assert participant.tick(now=500.0) == []
    assert any(isinstance(effect, Save) for effect in participant.hear({"web1": AHEAD, "web3": AHEAD}, now=500.1))


def test_a_coordinator_that_does_not_confirm_is_named():
    participant = on_trial()
    for second in range(1, 35):
        participant.tick(now=float(second))
    (line,) = told(participant.tick(now=35.0))
    assert line.endswith("web1 has not confirmed it within 30s")


def test_what_cannot_be_gone_back_from_is_kept_until_the_daemon_starts_anew():
    participant = on_trial()
    assert Discard(SECOND) not in participant.hear({"web1": BACK, "web3": TRIES}, now=0.1)
    assert participant.activated(SECOND, None, now=0.2) == []
    (restart,) = participant.activated(FIRST, "port 80 is in use", now=0.3)
    assert restart == RestartDaemon("the daemon cannot go back to the settings before: port 80 is in use")


def test_a_node_that_cannot_go_by_it_goes_back_and_throws_it_away():
    participant = promised()
    participant.hear({"web1": TRIES, "web3": BEHIND}, now=0.1)
    assert Activate(FIRST) in participant.activated(SECOND, "port 80 is in use", now=0.2)
    assert participant.activated(FIRST, None, now=0.3)[0] == Discard(SECOND)


# -- those who were away


def following(*, heard=AHEAD, settled=FIRST):
    late = Agreement(
        name="web2",
        record=SettingsRecord(settled=settled, highest=1) if settled else None,
        listens_until=0.5,
        now=0.0,
    )
    assert sent(late.hear({"web1": heard}, now=0.1)) == [("web1", AskLineage())]
    effects = late.receive(Lineage(settled=SECOND, ancestors=(FIRST,)), sender="web1", now=0.2)
    assert effects == [Obtain(SECOND, "web1")]
    return late


def test_who_was_away_says_what_it_waits_for():
    late = following()
    assert late.why_no_traffic() == "takes revision 2 (bbbbbbbb) of the settings, which the others have"
    assert late.obtained(SECOND, (), now=0.3) == [Activate(SECOND)]
    (save,) = late.activated(SECOND, None, now=0.4)
    assert save == Save(SettingsRecord(settled=SECOND, ancestors=(FIRST,), highest=2))
    late.saved(save.record, None, now=0.6)
    assert late.why_no_traffic() is None


def test_who_was_away_listens_for_the_nodes_that_were_added_meanwhile():
    late = Agreement(
        name="web2",
        record=SettingsRecord(settled=FIRST, highest=1),
        listens_until=0.5,
        others=["web1"],
        now=0.0,
    )
    late.hear({"web1": AHEAD}, now=0.1)
    late.receive(Lineage(settled=SECOND, ancestors=(FIRST,)), sender="web1", now=0.2)
    late.obtained(SECOND, (), now=0.2)
    late.set_others(["web1", "web3"])
    (save,) = late.activated(SECOND, None, now=0.2)
    late.saved(save.record, None, now=0.3)
    assert late.why_no_traffic() == "asks the others for their settings"
    late.hear({"web1": AHEAD, "web3": AHEAD}, now=0.4)
    assert late.why_no_traffic() is None


def test_who_cannot_take_what_the_others_have_says_why_and_tries_again():
    late = following()
    (line,) = told(late.obtained(SECOND, ("no space left on device",), now=0.3))
    why = "cannot take revision 2 (bbbbbbbb) of the settings: no space left on device"
    assert line == f"this node {why}"
    assert late.why_no_traffic() == why
    assert late.tick(now=5.0) == []
    assert late.tick(now=10.4) == [Obtain(SECOND, "web1")]
    assert late.obtained(SECOND, ("no space left on device",), now=10.5) == []


def test_who_cannot_go_by_what_the_others_have_goes_back_and_says_why():
    late = following()
    late.obtained(SECOND, (), now=0.3)
    effects = late.activated(SECOND, "port 80 is in use", now=0.4)
    assert effects[-1] == Activate(FIRST)
    assert late.activated(FIRST, None, now=0.5) == [Discard(SECOND)]
    assert late.why_no_traffic() == "cannot take revision 2 (bbbbbbbb) of the settings: port 80 is in use"
    assert late.hear({}, now=1.0) == [AskWhetherRemoved()]
    late.told_of_removal(None, now=1.1)
    assert late.why_no_traffic() is None


def test_who_goes_by_what_the_others_have_serves_though_its_disk_is_full():
    late = following()
    late.obtained(SECOND, (), now=0.3)
    (save,) = late.activated(SECOND, None, now=0.4)
    assert late.why_no_traffic() is not None
    (line,) = told(late.saved(save.record, "no space left on device", now=0.5))
    assert line.endswith("cannot be saved, and is tried again: no space left on device")
    assert late.why_no_traffic() is None


def test_one_whose_disk_is_full_listens_to_all_that_live_before_it_serves():
    late = following()
    late.obtained(SECOND, (), now=0.3)
    (save,) = late.activated(SECOND, None, now=0.4)
    late.saved(save.record, "no space left on device", now=0.45)
    assert late.why_no_traffic() == "takes revision 2 (bbbbbbbb) of the settings, which the others have"
    late.tick(now=0.5)
    assert late.why_no_traffic() is None


def test_the_disk_is_asked_again_after_a_while_and_once_at_a_time():
    late = following()
    late.obtained(SECOND, (), now=0.3)
    (save,) = late.activated(SECOND, None, now=0.4)
    late.saved(save.record, "no space left on device", now=0.5)
    assert late.tick(now=5.0) == []
    assert late.tick(now=10.5) == [save]
    assert late.tick(now=11.5) == []
    assert late.saved(save.record, "no space left on device", now=12.0) == []


def test_one_that_stood_still_while_it_listened_listens_on():
    late = Agreement(name="web2", record=None, listens_until=3.0, now=0.0)
    late.tick(now=0.1)
    late.tick(now=60.0)
    assert late.why_no_traffic() == "asks the others for their settings"
    for tenth in range(601, 640):
        late.tick(now=tenth / 10)
    late.told_of_removal(None, now=64.0)
    assert late.why_no_traffic() is None


def test_one_whose_questions_nobody_answers_goes_on_and_raises_an_alarm():
    late = Agreement(name="web2", record=None, listens_until=0.0, now=0.0)
    late.hear({"web1": AHEAD}, now=0.1)
    lines = [line for second in range(1, 40) for line in told(late.tick(now=float(second)))]
    assert lines == [
        "web1 has other settings, and does not answer on its API which: this node goes on by its farm file"
    ]
    assert late.why_no_traffic() is None


def test_a_lineage_that_the_heartbeats_do_not_bear_out_is_ignored():
    late = node()
    late.hear({"web1": AHEAD}, now=0.1)
    assert late.receive(Lineage(settled=THIRD, ancestors=(FIRST,)), sender="web1", now=0.2) == []
    assert late.receive(Lineage(settled=SECOND, ancestors=(FIRST,)), sender="web3", now=0.2) == []


def test_a_node_says_what_is_before_its_revision_if_it_has_one():
    assert sent(node().receive(AskLineage(), sender="web1", now=0.0)) == [
        ("web1", Lineage(settled=FIRST, ancestors=()))
    ]
    assert node(settled=None).receive(AskLineage(), sender="web1", now=0.0) == []
    assert node(settled=None).state.settled == NO_REVISION


def test_what_ends_a_conflict_has_all_that_was_before_both_before_it():
    one = Agreement(
        name="web2", record=SettingsRecord(settled=SECOND, ancestors=(FIRST,), highest=2), listens_until=0.0, now=0.0
    )
    fourth = RevisionId(4, "e" * 64)
    one.hear({"web1": RevisionState(settled=fourth.mark, highest=4)}, now=0.1)
    one.receive(Lineage(settled=fourth, ancestors=(FIRST, OTHER, THIRD)), sender="web1", now=0.2)
    assert one.conflicts == {"web1": fourth}
    assert one.ancestors_of_next([fourth]) == (FIRST, SECOND, OTHER, THIRD, fourth)
    assert one.ancestors_of_next() == (FIRST, SECOND)
    assert node(settled=None).ancestors_of_next() == ()


def test_a_conflict_is_not_over_because_the_other_is_not_heard_for_a_moment():
    one = Agreement(
        name="web2", record=SettingsRecord(settled=SECOND, ancestors=(FIRST,), highest=2), listens_until=0.0, now=0.0
    )
    other = {"web1": RevisionState(settled=OTHER.mark, highest=2)}
    one.hear(other, now=0.1)
    lines = told(one.receive(Lineage(settled=OTHER, ancestors=(FIRST,)), sender="web1", now=0.2))
    assert len(lines) == 1
    assert told(one.hear({}, now=10.0)) == []
    one.hear(other, now=20.0)
    assert told(one.receive(Lineage(settled=OTHER, ancestors=(FIRST,)), sender="web1", now=20.1)) == []
    assert one.conflicts == {"web1": OTHER}
    assert told(one.hear({"web1": AHEAD}, now=30.0)) == ["the settings of all nodes have gone the same way again"]


def test_a_node_that_is_busy_follows_nobody_meanwhile():
    participant = promised()
    participant.hear({"web1": BEHIND, "web3": RevisionState(settled=OTHER.mark, highest=2)}, now=0.1)
    assert participant.receive(Lineage(settled=OTHER, ancestors=(FIRST,)), sender="web3", now=0.2) == []


@pytest.mark.parametrize("body", [b"", b"{}", b'{"type":"abort","token":"short"}', b'"' + b"x" * 300_000 + b'"'])
def test_bytes_that_are_no_message_within_the_limits_are_none(body):
    assert decode_message(body) is None
