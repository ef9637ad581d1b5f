"""What a coordinator of a rotation of keys decides, and what a node refuses; `tests/simulation` attacks it."""

import msgspec
import pytest

from hcsidecar.core.key_messages import KeyReport, StepBody, is_proved, proof_of
from hcsidecar.core.key_rotation import (
    STEP_LIMIT,
    KeyFacts,
    KeyHolder,
    KeyRotation,
    OrderStep,
    RotationId,
    RotationOver,
    RotationStep,
    may_record,
    next_number,
    takes_by_itself,
    why_not_rotate,
    why_not_step,
)

MEMBERS = frozenset({"web1", "web2"})
ROTATION = RotationId(2, "web1", "0" * 32)
LATER = RotationId(3, "web2", "0" * 32)


def orders(step):
    return [OrderStep("web1", step), OrderStep("web2", step)]


def rotation():
    return KeyRotation(members=MEMBERS)


def test_each_step_begins_when_all_have_done_the_one_before():
    machine = rotation()
    effects = machine.tick(members=MEMBERS, now=0.0)
    for step in RotationStep:
        assert effects == orders(step)
        assert machine.answered("web2", step, None, members=MEMBERS, now=0.1) == []
        assert machine.answered("web2", step, None, members=MEMBERS, now=0.1) == []
        effects = machine.answered("web1", step, None, members=MEMBERS, now=0.2)
    assert effects == [RotationOver(ok=True, text="all nodes have new keys and a new certificate authority")]
    assert machine.tick(members=MEMBERS, now=1.0) == []
    assert machine.answered("web1", RotationStep.CERTIFY, None, members=MEMBERS, now=1.0) == []


def test_who_does_not_answer_is_asked_each_second_and_not_for_ever():
    machine = rotation()
    machine.tick(members=MEMBERS, now=0.0)
    machine.answered("web1", RotationStep.ADD, None, members=MEMBERS, now=0.1)
    assert machine.tick(members=MEMBERS, now=0.9) == []
    assert machine.tick(members=MEMBERS, now=1.0) == [OrderStep("web2", RotationStep.ADD)]
    (over,) = machine.tick(members=MEMBERS, now=STEP_LIMIT)
    assert over.text == (
        "the keys are not all changed: web2 has not answered within 30 s; the former keys stay in use on all nodes;"
        " give the command again when that is mended: hcsidecar key rotate"
    )


def test_a_problem_that_lasts_ends_it_and_says_what_is_left():
    machine = rotation()
    machine.tick(members=MEMBERS, now=0.0)
    for name in sorted(MEMBERS):
        machine.answered(name, RotationStep.ADD, None, members=MEMBERS, now=0.1)
    for second in range(1, 11):
        effects = machine.answered("web2", RotationStep.USE, "has a full disk", members=MEMBERS, now=float(second))
        assert RotationOver not in map(type, effects)
    (over,) = machine.tick(members=MEMBERS, now=11.0)
    assert not over.ok
    assert "web2 has a full disk; all nodes open both the former and the new key" in over.text


def test_a_problem_may_pass():
    machine = rotation()
    machine.tick(members=MEMBERS, now=0.0)
    machine.answered("web2", RotationStep.ADD, "has a full disk", members=MEMBERS, now=1.0)
    machine.answered("web2", RotationStep.ADD, None, members=MEMBERS, now=2.0)
    assert machine.tick(members=MEMBERS, now=20.0) == [OrderStep("web1", RotationStep.ADD)]


def test_it_ends_when_the_farm_has_other_nodes():
    (over,) = rotation().tick(members=MEMBERS | {"web3"}, now=0.0)
    assert "other nodes are in the farm now" in over.text


@pytest.mark.parametrize(
    ("step", "holder", "why"),
    [
        (RotationStep.ADD, {}, None),
        (RotationStep.ADD, {"rotation": LATER}, "takes part in a later rotation, which web2 has begun"),
        (RotationStep.USE, {}, "has not added the new key"),
        (RotationStep.USE, {"rotation": ROTATION, "new": 9}, "has not added the new key"),
        (RotationStep.USE, {"rotation": ROTATION, "new": 2, "keys": (1, 2)}, None),
        (RotationStep.DROP, {"rotation": ROTATION, "new": 2, "keys": (1, 2)}, "does not seal with the new key"),
        (RotationStep.DROP, {"rotation": ROTATION, "new": 2, "keys": (1, 2), "active": 2}, None),
        (RotationStep.CERTIFY, {"rotation": ROTATION, "new": 2, "keys": (1, 2), "active": 2}, "still has other keys"),
        (RotationStep.CERTIFY, {"rotation": ROTATION, "new": 2, "keys": (2,), "active": 2}, None),
    ],
)
def test_a_node_does_no_step_before_it_may(step, holder, why):
    found = KeyHolder(**{"rotation": None, "new": None, "keys": (1,), "active": 1, **holder})
    assert why_not_step(step, ROTATION, found, sender="web1", members=MEMBERS) == why


@pytest.mark.parametrize("sender", ["web2", "web9"])
def test_only_the_coordinator_orders_and_only_as_long_as_it_is_in_the_farm(sender):
    holder = KeyHolder(rotation=None, new=None, keys=(1,), active=1)
    rotation_of_nobody = RotationId(2, "web9" if sender == "web9" else "web1", "0" * 32)
    why = why_not_step(RotationStep.ADD, rotation_of_nobody, holder, sender=sender, members=MEMBERS)
    assert why is not None
    assert why.startswith(f"takes no orders of {sender}")


def facts(**changed):
    return KeyFacts(**{"rotation": None, "authority": "a", "certificate": "1", "recorded": {"web2": "2"}, **changed})


def other(**changed):
    return facts(**{"certificate": "2", "recorded": {"web1": "1"}, **changed})


@pytest.mark.parametrize(
    ("mine", "theirs", "why"),
    [
        (facts(), other(), None),
        ("has no answer", other(), "web1 has no answer"),
        (facts(authority=""), other(), "this farm has no certificate authority"),
        (facts(), "is not heard", "web2 is not heard: start it, or take it out of the farm (hcsidecar remove web2)"),
        (facts(), None, "web2 does not answer: start it"),
        (facts(), other(authority="b"), "web2 has another certificate authority: copy ca.pem and ca.key from web1"),
        (facts(), other(certificate="3"), "web1 has not recorded the certificate that web2 has now"),
        (facts(), other(certificate=""), "web1 has not recorded the certificate that web2 has now"),
        (facts(), other(recorded={}), "web2 has not recorded the certificate that web1 has now"),
    ],
)
def test_it_begins_only_if_all_can_take_part(mine, theirs, why):
    told = {"web1": mine} | ({} if theirs is None else {"web2": theirs})
    reasons = why_not_rotate("web1", told, names=MEMBERS)
    assert len(reasons) == (why is not None)
    assert not reasons or reasons[0].startswith(why)


def test_what_cannot_be_believed_any_more_is_to_be_done_by_hand():
    told = {"web1": facts(), "web2": other(certificate="3")}
    (reason,) = why_not_rotate("web1", told, names=MEMBERS, doubtful=True)
    assert reason.endswith("could have sent this, so change the key by hand (hcsidecar key add)")


def test_the_number_is_above_all_that_is_known():
    assert next_number([facts(), "is not heard", facts(rotation=ROTATION)]) == 3
    assert next_number([]) == 1


def test_no_certificate_is_recorded_by_the_word_of_one_who_was_removed():
    assert may_record(keys=(1, 2), known_to_removed=())
    assert may_record(keys=(2,), known_to_removed=(1,))
    assert not may_record(keys=(1, 2), known_to_removed=(1,))


def test_an_order_is_proved_with_the_key_and_only_as_it_was_given():
    order = StepBody(rotation=ROTATION, step=RotationStep.DROP)
    order = msgspec.structs.replace(order, proof=proof_of(order, b"key"))
    assert is_proved(order, b"key")
    assert not is_proved(order, b"other")
    assert not is_proved(msgspec.structs.replace(order, step=RotationStep.CERTIFY), b"key")
    assert not is_proved(msgspec.structs.replace(order, proof=""), b"key")


def test_a_report_has_the_facts():
    report = KeyReport(
        node="web1", rotation=ROTATION, authority="a" * 64, certificate="b" * 64, recorded={"web2": "c" * 64}
    )
    assert report.facts == KeyFacts(
        rotation=ROTATION, authority="a" * 64, certificate="b" * 64, recorded={"web2": "c" * 64}
    )


@pytest.mark.parametrize(
    ("keys", "authority", "theirs", "taken"),
    [
        ((7,), "new", "new", True),
        ((7,), "new", "former", False),  # nobody was ordered to certify yet
        ((5, 7), "new", "new", False),  # this node was never ordered to drop
        ((7,), "", "", False),  # an earlier version has kept none
    ],
)
def test_a_node_takes_the_new_authority_by_itself_once_another_one_has_it(keys, authority, theirs, taken):
    rotation = RotationId(3, "web1", "a" * 32)
    holder = KeyHolder(rotation=rotation, new=7, keys=keys, active=7)
    facts = KeyFacts(rotation=rotation, authority=theirs, certificate="", recorded={})
    assert takes_by_itself(holder, authority, facts) is taken
    later = KeyFacts(rotation=RotationId(4, "web2", "b" * 32), authority=theirs, certificate="", recorded={})
    assert not takes_by_itself(holder, authority, later)
    assert not takes_by_itself(KeyHolder(rotation=None, new=None, keys=keys, active=7), authority, facts)
