"""Who answers and who announces: a table of questions, stories of views that change, and what must never be said."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2mode.core.conflicts import GONE_AFTER, Conflict, ConflictOver
from l2mode.core.frames import (
    AddressClaim,
    AddressQuestion,
    announcement,
    answer,
    correction,
    parse,
    question,
    solicited_node,
    virtual_mac,
)
from l2mode.core.settings import LayerTwoSettings
from l2mode.core.speaker import ANSWERS_AT_ONCE, ASK_AGAIN, ASK_SOON, Speaker
from l2mode.core.verdict import Delivery

VIP, VIP6 = IPv4Address("192.0.2.50"), IPv6Address("2001:db8::50")
PEER = {VIP: IPv4Address("192.0.2.1"), VIP6: IPv6Address("2001:db8::1")}
CLIENT, STRANGER = bytes.fromhex("060000000001"), bytes.fromhex("06000000bad0")
MACS = {name: bytes([2, 0, 0, 0, 0, number]) for number, name in enumerate(("web1", "web2", "web3"), start=11)}
WEB1, WEB2, WEB3 = MACS.values()
ALL = b"\xff" * 6
NEVER = float("inf")


def settings(delivery, vips=(VIP, VIP6), me="web1"):
    return LayerTwoSettings(
        farm="apache", me=me, nodes=tuple(MACS), vips=vips, groups=(), seed=bytes(16), delivery=delivery
    )


VIRTUAL = virtual_mac(settings(Delivery.FLOODED))


def a_speaker(
    me="web1", *, delivery="directed", view=("web1", "web2"), director="web1", macs=MACS, lease=100.0, vips=(VIP, VIP6)
):
    speaker = Speaker(settings(Delivery(delivery), vips, me))
    speaker.update(view=view, directors=[director] * len(vips), macs=macs, now=0.0)
    speaker.renew(lease)
    return speaker


def a_question(vip, to=ALL, *, asker=PEER, mac=CLIENT):
    frame = question(source_mac=mac, asker=asker and asker[vip], target=vip)
    return frame if to == ALL else to + frame[6:]


def announced(said):
    """The addresses and MACs that frames announce to everybody."""
    assert all(frame[0] & 1 for frame in said)
    read = list(map(parse, said))
    assert all(isinstance(each, AddressClaim) or each.asker is None for each in read)
    return [(claim.address, claim.mac) for claim in read if isinstance(claim, AddressClaim)]


def known(said):
    """What is said of conflicts."""
    return [each for each in said if isinstance(each, Conflict | ConflictOver)]


def asked(said):
    """The addresses that are asked for."""
    read = [parse(each) for each in said if isinstance(each, bytes)]
    return [each.target for each in read if isinstance(each, AddressQuestion)]


# what it is, who answers, delivery, view, director, addressed to, lease, the MAC it tells (None: silence)
ANSWERS = [
    ("the director answers everybody", "web1", "directed", "12", "web1", ALL, 100, WEB1),
    ("the director answers a check of what is cached", "web1", "directed", "12", "web1", WEB1, 100, WEB1),
    ("a director without lease is silent", "web1", "directed", "12", "web1", ALL, 5, None),
    ("it is even to a check", "web1", "directed", "12", "web1", WEB1, 5, None),
    ("another member leaves it to the director", "web2", "directed", "12", "web1", ALL, 100, None),
    ("a former director tells the present one", "web2", "directed", "12", "web1", WEB2, 100, WEB1),
    ("not with an old table", "web2", "directed", "12", "web1", WEB2, 5, None),
    ("a node out of the view tells the director", "web3", "directed", "12", "web1", WEB3, 0, WEB1),
    ("a node out of the view leaves it to the director", "web3", "directed", "12", "web1", ALL, 100, None),
    ("a node that knows no director is silent", "web3", "directed", "", None, WEB3, 100, None),
    ("a director out of the view is none", "web3", "directed", "12", "web3", WEB3, 100, None),
    ("nobody answers what is for another", "web1", "directed", "12", "web1", WEB2, 100, None),
    ("nobody answers for the virtual MAC", "web1", "directed", "12", "web1", VIRTUAL, 100, None),
    ("flooded, a member answers everybody", "web2", "flooded", "12", "web1", ALL, 100, VIRTUAL),
    ("flooded, a member answers a check", "web2", "flooded", "12", "web1", VIRTUAL, 100, VIRTUAL),
    ("flooded, a member answers one that has its own MAC", "web2", "flooded", "12", "web1", WEB2, 100, VIRTUAL),
    ("flooded, a member without lease is silent", "web2", "flooded", "12", "web1", ALL, 5, None),
    ("flooded, who is out of the view is silent", "web3", "flooded", "12", "web1", ALL, 100, None),
    ("flooded, nobody answers what is for another", "web2", "flooded", "12", "web1", WEB1, 100, None),
]


@pytest.mark.parametrize("vip", [VIP, VIP6])
@pytest.mark.parametrize("row", ANSWERS, ids=[row[0] for row in ANSWERS])
def test_the_one_who_is_to_answer_does(row, vip):
    _, me, delivery, view, director, to, lease, told = row
    speaker = a_speaker(me, delivery=delivery, view=[f"web{number}" for number in view], director=director, lease=lease)
    asked = a_question(vip, to)
    said = speaker.heard(asked, now=10.0)
    if told is None:
        assert said == []
    elif told in (MACS[me], VIRTUAL):
        assert said == [answer(parse(asked), mac=told, source_mac=MACS[me])]
    else:
        assert said == correction(parse(asked), mac=told, source_mac=MACS[me])


@pytest.mark.parametrize("vip", [VIP, VIP6])
@pytest.mark.parametrize("delivery", ["directed", "flooded"])
def test_one_who_asks_whether_the_address_is_free_hears_that_it_is_not(vip, delivery):
    (frame,) = a_speaker(delivery=delivery).heard(a_question(vip, asker=None), now=1.0)
    assert parse(frame).address == vip


def test_other_addresses_are_not_answered_for():
    frame = question(source_mac=CLIENT, asker=PEER[VIP], target=IPv4Address("192.0.2.51"))
    assert a_speaker().heard(frame, now=1.0) == []


def test_a_director_whose_mac_is_unknown_is_not_told():
    speaker = a_speaker("web2", macs={"web2": WEB2})
    assert speaker.heard(a_question(VIP, WEB2), now=1.0) == []


@pytest.mark.parametrize("delivery", ["directed", "flooded"])
def test_a_speaker_that_was_told_nothing_is_silent(delivery):
    speaker = Speaker(settings(Delivery(delivery)))
    speaker.renew(100.0)
    assert speaker.heard(a_question(VIP), now=1.0) == []
    assert speaker.due(now=1.0) == []
    assert speaker.next_at() == NEVER


@pytest.mark.parametrize("delivery", ["directed", "flooded"])
def test_a_node_that_does_not_know_its_own_mac_is_silent(delivery):
    speaker = a_speaker(delivery=delivery, macs={"web2": WEB2})
    assert speaker.heard(a_question(VIP), now=1.0) == []
    assert speaker.next_at() == NEVER


def test_a_flood_of_questions_is_answered_only_so_often():
    speaker = a_speaker()
    answered = [len(speaker.heard(a_question(VIP), now=1.0)) for _ in range(2 * ANSWERS_AT_ONCE)]
    assert answered == [1] * ANSWERS_AT_ONCE + [0] * ANSWERS_AT_ONCE
    assert len([1 for _ in range(50) if speaker.heard(a_question(VIP), now=1.01)]) == 10


# -- announcements --------------------------------------------------------------------------------------------------


def the_times(speaker, until):
    """When the speaker announces something, as its own clock has it."""
    times = []
    while (at := speaker.next_at()) <= until:
        if announced(speaker.due(now=at)):
            times.append(round(at, 3))
    return times


@pytest.mark.parametrize("delivery", ["directed", "flooded"])
def test_announcements_are_repeated_quickly_and_then_slowly(delivery):
    assert the_times(a_speaker(delivery=delivery, vips=(VIP,), lease=NEVER), until=130) == [0, 0.1, 1, 5, 65, 125]


@pytest.mark.parametrize(("delivery", "mac"), [("directed", WEB1), ("flooded", VIRTUAL)])
def test_an_announcement_names_the_mac_of_the_delivery_in_a_frame_of_its_own(delivery, mac):
    said = a_speaker(delivery=delivery).due(now=0.0)
    assert said == [announcement(vip, mac=mac, source_mac=WEB1) for vip in (VIP, VIP6)]


def quiet(speaker, now=2.0):
    """The speaker after its first announcements and its question."""
    for at in (0.0, 0.1, 1.0, ASK_SOON):
        speaker.due(now=at)
    assert speaker.due(now=now) == []
    return speaker


def update(speaker, *, view=("web1", "web2"), directors=("web1", "web1"), macs=MACS):
    speaker.update(view=view, directors=directors, macs=macs, now=2.0)
    return announced(speaker.due(now=2.0))


BOTH = [(VIP, WEB1), (VIP6, WEB1)]


def test_a_new_director_announces_what_it_directs():
    speaker = quiet(a_speaker(director="web2"))
    assert update(speaker, directors=("web1", "web2")) == [(VIP, WEB1)]


def test_a_director_announces_again_when_a_member_is_back():
    assert update(quiet(a_speaker()), view=("web1", "web2", "web3")) == BOTH


def test_a_director_announces_again_when_a_member_has_gone():
    assert update(quiet(a_speaker()), view=("web1",)) == BOTH


def test_a_director_announces_its_new_mac():
    assert update(quiet(a_speaker()), macs=MACS | {"web1": STRANGER}) == [(VIP, STRANGER), (VIP6, STRANGER)]


def test_the_same_again_is_no_news():
    assert update(quiet(a_speaker())) == []
    assert update(quiet(a_speaker()), macs=MACS | {"web2": STRANGER}) == []


def test_who_directs_no_more_announces_no_more():
    speaker = a_speaker(lease=NEVER)
    speaker.due(now=0.0)
    update(speaker, directors=("web2", "web2"))
    assert speaker.next_at() == NEVER


def test_who_leaves_the_view_announces_no_more():
    speaker = a_speaker(lease=NEVER)
    update(speaker, view=("web2",))
    assert speaker.next_at() == NEVER


def test_flooded_only_the_lowest_name_announces():
    assert a_speaker("web2", delivery="flooded", director="web2").due(now=0.0) == []
    speaker = quiet(a_speaker("web2", delivery="flooded", director="web2"))
    assert update(speaker, view=("web2", "web3")) == [(VIP, VIRTUAL), (VIP6, VIRTUAL)]


def test_nothing_is_announced_without_lease_and_everything_at_once_with_it():
    speaker = a_speaker(lease=0.0)
    assert speaker.next_at() == 0.0
    assert announced(speaker.due(now=3.0)) == []
    assert speaker.next_at() == NEVER
    speaker.renew(4.0)
    assert speaker.next_at() <= 3.5
    assert announced(speaker.due(now=3.5)) == BOTH


def test_an_announcement_is_due_at_its_time_though_the_present_lease_is_shorter():
    speaker = quiet(a_speaker(lease=4.0))
    assert speaker.next_at() == 5.0
    speaker.renew(100.0)
    assert speaker.next_at() == 5.0
    assert announced(speaker.due(now=5.0)) == BOTH


# -- others who claim the address -----------------------------------------------------------------------------------


def claims_of(mac, vip=VIP):
    """The frames by which a machine can say that the address is its own."""
    announces = announcement(vip, mac=mac, source_mac=mac)
    asks_as_it = question(source_mac=mac, asker=vip, target=PEER[vip])
    return [announces, answer(parse(a_question(vip)), mac=mac, source_mac=mac)] + [asks_as_it] * (vip == VIP)


@pytest.mark.parametrize("frame", claims_of(STRANGER) + claims_of(STRANGER, VIP6))
def test_a_claim_by_another_machine_is_told_in_plain_words(frame):
    speaker = quiet(a_speaker())
    vip = VIP6 if frame[12:14] == b"\x86\xdd" else VIP
    speaker.heard(frame, now=3.0)
    assert known(speaker.due(now=4.9)) == []
    assert speaker.next_at() == 5.0
    assert known(speaker.due(now=5.0)) == [Conflict(vip=vip, mac=STRANGER)]
    assert speaker.conflicts == (Conflict(vip=vip, mac=STRANGER),)
    assert str(Conflict(vip=vip, mac=STRANGER)) == (
        f"{vip} is also claimed by 06:00:00:00:ba:d0: another machine or another farm uses this address"
    )


def test_a_conflict_is_told_once_and_its_end_when_nobody_has_claimed_the_address_for_a_while():
    speaker = quiet(a_speaker("web2", director="web1"))
    told = []
    for second in range(3, 150):
        if second < 100:
            speaker.heard(claims_of(STRANGER)[0], now=second)
        told += [(second, each) for each in known(speaker.due(now=second))]
    conflict = Conflict(vip=VIP, mac=STRANGER)
    assert told == [(5, conflict), (99 + GONE_AFTER, ConflictOver(conflict=conflict))]
    assert str(told[1][1]) == f"over: {conflict}"
    assert speaker.conflicts == ()


def test_a_machine_that_comes_and_goes_is_told_once_a_minute():
    speaker = quiet(a_speaker("web2", director="web1"))
    told = []
    for second in range(3, 140):
        if second % 35 < 5:
            speaker.heard(claims_of(STRANGER)[0], now=second)
        told += [(second, type(each)) for each in known(speaker.due(now=second))]
    assert [kind for _, kind in told] == [Conflict, ConflictOver] * 2
    assert told[2][0] - told[0][0] >= 60


def test_of_another_farm_each_node_may_claim_in_turn():
    speaker = quiet(a_speaker("web2", director="web1"))
    told = []
    for second in range(3, 60):
        speaker.heard(claims_of(bytes([6, 0, 0, 0, 0, second % 3]))[0], now=second)
        told += known(speaker.due(now=second))
    assert len(told) == 1


@pytest.mark.parametrize("me", ["web1", "web2"])
def test_every_member_asks_in_a_new_view_who_else_has_the_address_and_who_announces_goes_on_asking(me):
    speaker = a_speaker(me, director="web1", lease=NEVER)
    times = {}
    while (at := speaker.next_at()) < 200:
        if targets := asked(speaker.due(now=at)):
            times[at] = targets
    later = [65.0, 125.0, 185.0] if me == "web1" else []
    assert times == {at: [VIP, VIP6] for at in (ASK_SOON, *later)}


def test_the_question_is_in_the_form_that_routers_which_answer_for_others_do_not_answer():
    speaker = a_speaker("web2", director="web1")
    assert speaker.due(now=ASK_SOON) == [question(source_mac=WEB2, asker=None, target=vip) for vip in (VIP, VIP6)]


def test_who_is_out_of_the_view_asks_nothing():
    assert a_speaker("web3").next_at() == NEVER


def test_who_knows_of_a_conflict_asks_until_it_is_over():
    speaker = quiet(a_speaker("web2", director="web1"))
    speaker.heard(claims_of(STRANGER)[0], now=3.0)
    times = []
    while (at := speaker.next_at()) < NEVER:
        times += [at] * len(asked(speaker.due(now=at)))
    assert times == [5.0 + ASK_AGAIN * number for number in range(4)]
    assert times[-1] < 5.0 + GONE_AFTER


def test_another_farm_of_the_same_name_has_the_same_virtual_mac_and_is_known_by_who_sends():
    speaker = quiet(a_speaker(delivery="flooded"))
    for vip in (VIP, VIP6):
        speaker.heard(announcement(vip, mac=VIRTUAL, source_mac=STRANGER), now=3.0)
        speaker.heard(announcement(vip, mac=VIRTUAL, source_mac=WEB2), now=3.0)
    told = known(speaker.due(now=5.0))
    assert told == [Conflict(vip=VIP, mac=STRANGER), Conflict(vip=VIP6, mac=STRANGER)]


def test_a_switch_that_answers_with_what_a_member_has_said_is_no_conflict():
    speaker = quiet(a_speaker(delivery="flooded"))
    for mac in (WEB2, VIRTUAL):
        asked_for = parse(a_question(VIP, mac=WEB1))
        speaker.heard(answer(asked_for, mac=mac, source_mac=STRANGER), now=3.0)
    assert known(speaker.due(now=10.0)) == []


def test_a_conflict_that_a_heartbeat_explains_after_all_is_over():
    speaker = quiet(a_speaker("web2", director="web1"))
    speaker.heard(claims_of(STRANGER)[0], now=3.0)
    conflict = Conflict(vip=VIP, mac=STRANGER)
    assert known(speaker.due(now=5.0)) == [conflict]
    speaker.update(view=("web1", "web2"), directors=("web1", "web1"), macs=MACS | {"web1": STRANGER}, now=6.0)
    assert known(speaker.due(now=9.0)) == [ConflictOver(conflict=conflict)]


def test_a_conflict_is_told_without_a_lease_too():
    speaker = quiet(a_speaker("web2", lease=0.0))
    speaker.heard(claims_of(STRANGER)[0], now=3.0)
    assert known(speaker.due(now=speaker.next_at())) == [Conflict(vip=VIP, mac=STRANGER)]


@pytest.mark.parametrize("mac", [WEB1, WEB2, WEB3])
def test_a_claim_of_the_farm_is_no_conflict(mac):
    speaker = quiet(a_speaker())
    for frame in claims_of(mac):
        speaker.heard(frame, now=3.0)
    assert known(speaker.due(now=10.0)) == []


def test_the_virtual_mac_is_of_the_farm_only_in_flooded_delivery():
    flooded, directed = (quiet(a_speaker(delivery=delivery)) for delivery in ("flooded", "directed"))
    for speaker in (flooded, directed):
        speaker.heard(claims_of(VIRTUAL)[0], now=3.0)
    assert known(flooded.due(now=10.0)) == []
    assert known(directed.due(now=10.0)) == [Conflict(vip=VIP, mac=VIRTUAL)]


def test_a_claim_heard_before_the_heartbeat_that_explains_it_is_no_conflict():
    speaker = quiet(a_speaker(director="web2"))
    speaker.heard(claims_of(STRANGER)[0], now=3.0)
    speaker.update(view=("web1", "web2"), directors=("web2", "web2"), macs=MACS | {"web2": STRANGER}, now=3.5)
    assert known(speaker.due(now=10.0)) == []


def test_a_claim_that_is_explained_later_does_not_hide_another_machine():
    speaker = quiet(a_speaker("web2", macs={"web2": WEB2}))
    for mac in (WEB1, STRANGER):
        speaker.heard(claims_of(mac)[0], now=3.0)
    speaker.update(view=("web1", "web2"), directors=("web1", "web1"), macs=MACS, now=3.5)
    assert known(speaker.due(now=10.0)) == [Conflict(vip=VIP, mac=STRANGER)]


def test_a_flood_of_claims_is_told_once_and_then_forgotten():
    speaker = quiet(a_speaker())
    for number in range(1000):
        speaker.heard(claims_of(b"\x06\0\0\0" + number.to_bytes(2, "big"))[0], now=3.0)
    assert len(known(speaker.due(now=10.0))) == 1
    assert [type(each) for each in known(speaker.due(now=30.0))] == [ConflictOver]
    assert known(speaker.due(now=90.0)) == []


def test_a_claim_by_the_mac_that_a_member_had_before_is_no_conflict():
    speaker = quiet(a_speaker())
    update(speaker, macs=MACS | {"web2": STRANGER})
    speaker.heard(claims_of(WEB2)[0], now=3.0)
    assert known(speaker.due(now=50.0)) == []


def test_a_question_for_another_address_is_no_claim():
    speaker = quiet(a_speaker())
    speaker.heard(a_question(VIP, mac=STRANGER), now=3.0)
    assert known(speaker.due(now=10.0)) == []


# -- always and never -----------------------------------------------------------------------------------------------

names = st.sampled_from(sorted(MACS))
moments = st.integers(0, 200)
happenings = st.lists(
    st.one_of(
        st.tuples(st.just("renew"), moments),
        st.tuples(st.just("update"), st.frozensets(names), st.lists(st.none() | names, min_size=2, max_size=2)),
        st.tuples(st.just("ask"), st.sampled_from([VIP, VIP6]), st.sampled_from([ALL, WEB1, WEB2, VIRTUAL])),
        st.tuples(st.just("claim"), st.sampled_from([WEB2, STRANGER, CLIENT])),
        st.tuples(st.just("due")),
    ),
    max_size=30,
)


@given(
    st.sampled_from(["directed", "flooded"]),
    st.lists(st.sampled_from([0.0, 0.05, 0.1, 1.0, 30.0]), min_size=30, max_size=30),
    happenings,
)
def test_whatever_happens_the_rules_hold(delivery, waits, story):
    view, directors, lease, now = frozenset(MACS), ["web1", "web2"], -1.0, 0.0
    speaker = Speaker(settings(Delivery(delivery)))
    speaker.update(view=view, directors=directors, macs=MACS, now=now)
    for wait, (event, *details) in zip(waits, story, strict=False):
        now += wait
        said = []
        match event:
            case "renew":
                (lease,) = details
                speaker.renew(lease)
            case "update":
                view, directors = details
                speaker.update(view=view, directors=directors, macs=MACS, now=now)
            case "ask":
                said = speaker.heard(a_question(*details), now=now)
            case "claim":
                assert speaker.heard(claims_of(*details)[0], now=now) == []
            case "due":
                said = speaker.due(now=now)
                assert speaker.next_at() > now
        for claim in map(parse, [frame for frame in said if isinstance(frame, bytes)]):
            if isinstance(claim, AddressQuestion):
                assert (claim.asker, claim.asker_mac) == (None, WEB1)
                continue
            assert claim.source_mac == WEB1
            director = dict(zip((VIP, VIP6), directors, strict=True))[claim.address]
            assert claim.mac == (VIRTUAL if delivery == "flooded" else MACS[director])
            if claim.mac == WEB1 or delivery == "flooded" or "web1" in view:
                assert "web1" in view
                assert now < lease
        assert all(conflict.mac in (STRANGER, CLIENT) for conflict in said if isinstance(conflict, Conflict))


@given(st.binary(max_size=120))
def test_no_bytes_raise(frame):
    assert a_speaker().heard(frame, now=1.0) == []


def test_a_question_as_it_comes_from_the_wire_is_addressed_to_the_group_of_the_address():
    assert a_question(VIP6)[38:54] == solicited_node(VIP6).packed


def test_a_frame_of_another_protocol_is_not_answered():
    assert a_speaker("web1", delivery="directed", view=["web1", "web2"]).heard(bytes(60), now=10.0) == []


def test_a_virtual_ip_that_comes_is_announced_with_the_next_view_and_one_that_goes_is_not_spoken_for_any_more():
    speaker = a_speaker(vips=(VIP,))
    speaker.due(now=0.0)
    speaker.change_vips((VIP6,))
    assert speaker.heard(a_question(VIP), now=1.0) == []
    assert speaker.heard(a_question(VIP6), now=1.0) == []
    speaker.update(view=("web1", "web2"), directors=["web1"], macs=MACS, now=1.0)
    assert announced(speaker.due(now=1.0)) == [(VIP6, WEB1)]
    assert asked(speaker.heard(a_question(VIP), now=1.0)) == []
    assert speaker.heard(a_question(VIP6), now=1.0)


def test_a_conflict_about_a_virtual_ip_that_goes_is_forgotten():
    speaker = a_speaker()
    speaker.heard(announcement(VIP, mac=STRANGER, source_mac=STRANGER), now=1.0)
    assert known(speaker.due(now=5.0))
    speaker.change_vips((VIP6,))
    assert speaker.conflicts == ()
    assert known(speaker.due(now=5.0 + 2 * GONE_AFTER)) == []
