"""Agreement on a revision, story by story; `tests/simulation` attacks it."""

import msgspec
import pytest

from hcsidecar.core.membership.effects import Tell
from hcsidecar.core.membership.revision_state import RevisionState
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
    Settled,
)
from hcsidecar.core.settings.messages import Lineage, Prepare, Proposal, decode_message, encode_message
from hcsidecar.core.settings.revision import RevisionId

NODES = ("web1", "web2", "web3")


def revision(number, letter="a"):
    return RevisionId(number, letter * 64)


FIRST, SECOND = revision(1, "a"), revision(2, "b")


def proposal(new=SECOND, old=FIRST, *, coordinator="web1", participants=NODES, digit="0", **fields):
    parents = (old.digest,) if old else ()
    return Proposal(
        token=digit * 32,
        coordinator=coordinator,
        revision=new,
        parents=parents,
        ancestors=(old,) if old else (),
        participants=participants,
        confirm=30.0,
        **fields,
    )


class Farm:
    """Nodes that reach each other at once, but for those that are cut off; each carries its effects out at once."""

    def __init__(self, *names, settled=FIRST):
        self.now = 0.0
        record = SettingsRecord(settled=settled, highest=settled.number if settled else 0)
        self.nodes = {name: Agreement(name=name, record=record, listens_until=0.0, now=0.0) for name in names}
        self.cut = set()
        self.told, self.kept, self.active, self.stored = [], {}, dict.fromkeys(names, settled), {}
        self.problems = {}
        "By node and kind of effect: what goes wrong with it."
        self.discarded, self.restarted = [], []
        self.proof = None
        "What proves to those that ask that they are removed."
        self.talk()

    def propose(self, what, *, by="web1"):
        self.carry_out(by, self.nodes[by].propose(what, now=self.now))
        self.talk()

    def talk(self, seconds=1.0):
        """Let all nodes hear each other, again and again, for so long."""
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            states = {name: node.state for name, node in self.nodes.items() if name not in self.cut}
            for name, node in self.nodes.items():
                heard = {} if name in self.cut else {other: states[other] for other in states if other != name}
                self.carry_out(name, node.hear(heard, now=self.now))
                self.carry_out(name, node.tick(now=self.now))

    def carry_out(self, name, effects):
        node = self.nodes[name]
        for effect in effects:
            problem = self.problems.get((name, type(effect)))
            match effect:
                case SendMessage(to=to, message=message) if to in self.nodes and not {name, to} & self.cut:
                    message = decode_message(encode_message(message))
                    self.carry_out(to, self.nodes[to].receive(message, sender=name, now=self.now))
                case Obtain(revision=wanted):
                    self.stored.setdefault(name, set()).add(wanted)
                    self.carry_out(name, node.obtained(wanted, (problem,) if problem else (), now=self.now))
                case Activate(revision=wanted):
                    if problem is None:
                        self.active[name] = wanted
                    self.carry_out(name, node.activated(wanted, problem, now=self.now))
                case Save(record=record):
                    if problem is None:
                        self.kept[name] = record
                    self.carry_out(name, node.saved(record, problem, now=self.now))
                case Tell(event=event):
                    self.told.append(f"{name}: {event.message}")
                case Discard(revision=unwanted):
                    self.discarded.append((name, unwanted))
                case RestartDaemon():
                    self.restarted.append(name)
                case AskWhetherRemoved():
                    self.carry_out(name, node.told_of_removal(self.proof, now=self.now))
                case Settled() | EndRemoved():
                    pass

    def settled(self):
        return {name: node.record.settled for name, node in self.nodes.items()}

    def everywhere(self, wanted):
        return self.settled() == self.active == dict.fromkeys(self.nodes, wanted)


@pytest.fixture
def farm():
    return Farm(*NODES)


def test_a_revision_that_all_take_is_settled_on_all(farm):
    farm.propose(proposal())
    assert farm.everywhere(SECOND)
    assert farm.nodes["web1"].status.progress is ProposalProgress.SETTLED
    assert all(record.ancestors == (FIRST,) for record in farm.kept.values())


def test_the_first_revision_of_a_farm_has_no_parents():
    farm = Farm(*NODES, settled=None)
    farm.propose(proposal(FIRST, None))
    assert farm.everywhere(FIRST)


def test_one_that_refuses_stops_it_for_all_and_all_reasons_are_told(farm):
    farm.problems = {("web2", Obtain): "l2.interface: eth7 is not there", ("web3", Obtain): "disk full"}
    farm.propose(proposal())
    assert farm.everywhere(FIRST)
    status = farm.nodes["web1"].status
    assert status.progress is ProposalProgress.ABORTED
    assert status.outcome == "web2 l2.interface: eth7 is not there; web3 disk full"
    assert {name for name, _ in farm.discarded} == set(NODES)
    assert all(node.phase is AgreementPhase.IDLE for node in farm.nodes.values())


def test_a_node_that_has_just_started_lets_nobody_be_left_out():
    record = SettingsRecord(settled=FIRST, highest=1)
    node = Agreement(name="web1", record=record, listens_until=3.0, others=["web2"], now=0.0)
    alone = proposal(participants=("web1",))
    with pytest.raises(NotProposedError, match="web1 has just started, and may not have heard yet who lives"):
        node.propose(alone, now=2.9)
    node.propose(alone, now=3.0)
    assert node.status.proposal == alone


def test_a_node_that_does_not_answer_heartbeats_must_be_left_out_by_name(farm):
    farm.cut = {"web3"}
    farm.talk()
    with pytest.raises(NotProposedError, match="web3 does not answer heartbeats"):
        farm.propose(proposal())
    farm.propose(proposal(participants=("web1", "web2")))
    assert farm.settled() == {"web1": SECOND, "web2": SECOND, "web3": FIRST}


def test_one_that_was_away_follows_when_it_returns(farm):
    farm.cut = {"web3"}
    farm.talk()
    farm.propose(proposal(participants=("web1", "web2")))
    farm.cut = set()
    farm.talk(2)
    assert farm.everywhere(SECOND)
    assert "web3: this node has taken revision 2 (bbbbbbbb) of the settings from the others" in farm.told


def test_one_that_is_not_heard_with_it_makes_all_go_back(farm):
    carry_out = farm.carry_out

    def cut_off_by_it(name, effects):
        carry_out(name, effects)
        if farm.active["web3"] == SECOND:
            farm.cut = {"web3"}

    farm.carry_out = cut_off_by_it
    farm.propose(proposal())
    assert set(farm.active.values()) == {SECOND}
    farm.talk(40)
    assert farm.everywhere(FIRST)
    assert farm.nodes["web1"].status.progress is ProposalProgress.UNDONE
    assert farm.nodes["web1"].status.outcome == "web3 was not heard with it within 30s"


def test_one_that_cannot_take_it_after_all_makes_all_go_back_at_once(farm):
    farm.problems = {("web2", Activate): "port 80 is in use"}

    def only_the_new(name, effects, carry_out=farm.carry_out):
        back = [effect for effect in effects if effect == Activate(FIRST)]
        if back:
            farm.problems.pop((name, Activate), None)
        carry_out(name, effects)

    farm.carry_out = only_the_new
    farm.propose(proposal())
    assert farm.everywhere(FIRST)
    assert farm.nodes["web1"].status.progress is ProposalProgress.UNDONE
    assert any("web2 went back" in line for line in farm.told)


def test_the_number_of_one_that_was_undone_is_not_given_again(farm):
    test_one_that_cannot_take_it_after_all_makes_all_go_back_at_once(farm)
    assert {node.next_number() for node in farm.nodes.values()} == {3}
    with pytest.raises(NotProposedError, match="has seen a revision 2 already"):
        farm.propose(proposal(digit="1"))
    farm.propose(proposal(revision(3, "c"), digit="1"))
    assert farm.everywhere(revision(3, "c"))


def test_two_ways_are_told_and_nobody_chooses(farm):
    farm.cut = {"web3"}
    farm.talk()
    farm.propose(proposal(participants=("web1", "web2")))
    other = revision(2, "c")
    farm.carry_out(
        "web3",
        farm.nodes["web3"].propose(proposal(other, coordinator="web3", participants=("web3",)), now=farm.now),
    )
    farm.cut = set()
    farm.talk(20)
    assert farm.settled() == {"web1": SECOND, "web2": SECOND, "web3": other}
    (told,) = [line for line in farm.told if "two ways" in line and line.startswith("web3")]
    assert told == (
        "web3: the settings have gone two ways: this node goes by revision 2 (cccccccc), web1, web2 by"
        " revision 2 (bbbbbbbb), and neither follows the other. Both go on as they are until one is chosen:"
        " hcsidecar apply --take web3, or --take web1"
    )
    both = Proposal(
        token="9" * 32,
        coordinator="web2",
        revision=revision(3, "d"),
        parents=(SECOND.digest, other.digest),
        ancestors=(FIRST, SECOND, other),
        participants=NODES,
        confirm=30.0,
    )
    farm.propose(both, by="web2")
    assert farm.everywhere(revision(3, "d"))
    assert any("gone the same way again" in line for line in farm.told)


def test_a_node_that_takes_its_own_file_is_fought_over_by_nobody_and_an_operator_ends_it(farm):
    own = revision(2, "c")
    record = farm.nodes["web3"].record.alone_with(own)
    assert record == SettingsRecord(settled=own, ancestors=(), highest=2)
    farm.nodes["web3"] = Agreement(name="web3", record=record, listens_until=farm.now, now=farm.now)
    farm.active["web3"] = own
    farm.talk(20)
    assert farm.settled() == {"web1": FIRST, "web2": FIRST, "web3": own}
    assert farm.nodes["web3"].why_no_traffic() is None
    assert any("two ways" in line for line in farm.told)
    farm.propose(proposal(revision(3)))
    assert farm.settled() == {"web1": FIRST, "web2": FIRST, "web3": own}
    assert any(
        "web3 goes by revision 2 (cccccccc), which the proposed one does not follow" in line for line in farm.told
    )
    both = msgspec.structs.replace(proposal(revision(4, "d"), digit="4"), parents=(FIRST.digest, own.digest))
    farm.propose(both)
    assert farm.everywhere(revision(4, "d"))


def test_a_farm_that_has_gone_three_ways_goes_one_way_again_by_one_revision(farm):
    farm.cut = set(NODES)
    farm.talk()
    ways = {name: revision(2, digit) for name, digit in zip(NODES, "bcd", strict=True)}
    for name, way in ways.items():
        alone = proposal(way, coordinator=name, participants=(name,))
        farm.carry_out(name, farm.nodes[name].propose(alone, now=farm.now))
    farm.cut = set()
    farm.talk(20)
    assert farm.settled() == ways
    node = farm.nodes["web1"]
    assert node.conflict_in_words() == (
        "the settings have gone two ways: web2, web3 go by others (hcsidecar apply --take NODE)"
    )
    others = (ways["web2"], ways["web3"])
    ending = Proposal(
        token="9" * 32,
        coordinator="web1",
        revision=revision(3, "e"),
        parents=tuple(way.digest for way in ways.values()),
        ancestors=node.ancestors_of_next(others),
        participants=NODES,
        confirm=30.0,
    )
    farm.propose(ending)
    assert farm.everywhere(revision(3, "e"))
    assert node.conflict_in_words() == ""


def test_two_coordinators_at_once_do_not_both_succeed(farm):
    one, two = proposal(digit="1"), proposal(revision(2, "c"), coordinator="web2", digit="2")
    first = farm.nodes["web1"].propose(one, now=farm.now)
    second = farm.nodes["web2"].propose(two, now=farm.now)
    farm.carry_out("web1", first)
    farm.carry_out("web2", second)
    farm.talk(30)
    assert len(set(farm.settled().values())) == 1


def test_a_node_that_has_just_started_asks_before_it_wants_a_share():
    node = Agreement(name="web3", record=SettingsRecord(settled=FIRST, highest=1), listens_until=0.5, now=0.0)
    assert node.tick(now=0.1) == []
    assert node.why_no_traffic() == "asks the others for their settings"
    ahead = RevisionState(settled=SECOND.mark, highest=2)
    asked = node.hear({"web1": ahead}, now=0.2)
    assert [effect.to for effect in asked] == ["web1"]
    assert node.why_no_traffic() is not None


def test_alone_it_goes_on_when_it_has_listened():
    node = Agreement(name="web3", record=None, listens_until=0.5, now=0.0)
    assert node.tick(now=0.4) == []
    assert node.tick(now=0.6) == [AskWhetherRemoved()]
    assert node.tick(now=1.0) == []
    assert node.why_no_traffic() == "asks the others for their settings"
    node.told_of_removal(None, now=1.1)
    assert node.why_no_traffic() is None
    assert node.tick(now=2.0) == []
    assert node.tick(now=2.2) == [AskWhetherRemoved()]


def test_alone_it_goes_on_at_last_though_no_question_comes_back():
    node = Agreement(name="web3", record=None, listens_until=0.5, now=0.0)
    for second in range(1, 31):
        node.tick(now=float(second))
        assert node.why_no_traffic() is not None
    node.tick(now=31.0)
    assert node.why_no_traffic() is None


def test_a_coordinator_that_cannot_save_goes_back_with_all_others(farm):
    farm.problems = {("web1", Save): "no space left on device"}
    farm.propose(proposal())
    assert farm.everywhere(FIRST)
    assert farm.nodes["web1"].status.outcome == "web1 cannot save it: no space left on device"


def test_what_is_settled_is_saved_as_soon_as_there_is_room(farm):
    farm.problems = {("web3", Save): "no space left on device"}
    farm.propose(proposal())
    assert farm.nodes["web3"].phase is AgreementPhase.SETTLING
    assert farm.active["web3"] == SECOND
    farm.problems = {}
    farm.talk(12)
    assert farm.everywhere(SECOND)


def test_a_proposal_comes_from_its_coordinator_only(farm):
    assert farm.nodes["web3"].receive(Prepare(proposal=proposal()), sender="web2", now=farm.now) == []


def test_one_that_is_to_be_removed_does_not_go_back_alone(farm):
    carry_out = farm.carry_out

    def not_talked_to(name, effects):
        carry_out(name, effects)
        if farm.active["web1"] == SECOND:
            assert farm.active["web3"] == SECOND
            farm.cut = {"web3"}

    farm.carry_out = not_talked_to
    farm.propose(proposal(removed=("web3",)))
    farm.talk(100)
    assert farm.settled() == {"web1": SECOND, "web2": SECOND, "web3": FIRST}
    assert (farm.active["web3"], farm.nodes["web3"].phase) == (SECOND, AgreementPhase.TRIAL)
    assert farm.nodes["web3"].why_no_traffic() == "leaves the farm: revision 2 (bbbbbbbb) of the settings removes it"
    farm.proof = Lineage(settled=SECOND, ancestors=(FIRST,))
    farm.talk(3)
    assert farm.nodes["web3"].phase is AgreementPhase.REMOVED
    assert farm.kept["web3"] == SettingsRecord(settled=FIRST, highest=2, removed_by=SECOND)
    assert farm.nodes["web3"].why_no_traffic() == "removed from the farm by revision 2 (bbbbbbbb) of the settings"
