"""The rules for one packet, in their order: one row per sentence, and properties over all tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2mode.core.handover import Phase
from l2mode.core.verdict import Action, Delivery, Packet, Standing, judge

MINE, PENDING, OTHER = Phase.MINE, Phase.PENDING, Phase.OTHER
DIRECTED, FLOODED = Delivery.DIRECTED, Delivery.FLOODED


def standing(phase=OTHER, *, me="b", dirty=False, beside=(), owner="a", director="c", lease=True):
    return Standing(
        me=me,
        lease_open=lease,
        phase=phase,
        dirty=dirty,
        dirty_members=beside,
        owner=owner,
        director=director,
    )


def packet(*, opens=False, known=False, sender=None, chained=False):
    return Packet(opens=opens, known=known, sender=sender, chained=chained)


SYN = packet(opens=True)
DATA = packet()
KNOWN = packet(known=True)
FROM_DIRECTOR = packet(sender="c")
MARKED = packet(sender="a", chained=True)

# what it is, packet, tables, flooded action, directed action, directed to
ROWS = [
    ("a lease that is over takes nothing", SYN, standing(MINE, lease=False), "drop", "drop", None),
    ("not even what it knows", KNOWN, standing(MINE, lease=False, dirty=True), "drop", "drop", None),
    ("new and mine", SYN, standing(MINE), "take", "take", None),
    ("new and mine, whoever is dirty", SYN, standing(MINE, beside=("a",)), "take", "take", None),
    ("known and mine", KNOWN, standing(MINE, beside=("a",)), "take", "take", None),
    ("known in a bucket that waits", KNOWN, standing(PENDING), "take", "take", None),
    ("known in a moved bucket", KNOWN, standing(OTHER, dirty=True), "take", "take", None),
    ("a clean node does not look", KNOWN, standing(OTHER), "drop", "drop", None),
    ("unknown and mine, all clean", DATA, standing(MINE), "reset", "reset", None),
    ("unknown and mine, I alone am dirty", DATA, standing(MINE, dirty=True), "reset", "reset", None),
    ("unknown and mine, others dirty", DATA, standing(MINE, beside=("a", "c")), "drop", "chain", "a"),
    ("unknown and pending, others dirty", DATA, standing(PENDING, beside=("c",)), "drop", "chain", "c"),
    ("unknown and pending, all clean", DATA, standing(PENDING, owner="b"), "drop", "drop", None),
    ("new and pending", SYN, standing(PENDING, owner="b", director="b"), "drop", "drop", None),
    ("not mine, no director", DATA, standing(), "drop", "drop", None),
    ("not mine, from a client, I direct", DATA, standing(director="b"), "drop", "forward", "a"),
    ("new, not mine, I direct", SYN, standing(director="b"), "drop", "forward", "a"),
    ("nobody owns it", SYN, standing(director="b", owner=None), "drop", "drop", None),
    ("a client's mark counts for nothing", packet(chained=True), standing(MINE), "reset", "reset", None),
    ("two directors do not play ball", packet(sender="a"), standing(director="b"), "drop", "drop", None),
    ("from the director, not its own by my table", FROM_DIRECTOR, standing(), "drop", "drop", None),
]

HANDED = [
    ("new", packet(opens=True, sender="c"), standing(owner="c"), "take", None),
    ("known", packet(known=True, sender="c"), standing(owner="c"), "take", None),
    ("unknown, all clean", FROM_DIRECTOR, standing(owner="c"), "reset", None),
    ("unknown, others dirty", FROM_DIRECTOR, standing(owner="c", beside=("a",)), "chain", "a"),
]

CHAIN = [
    ("known in a moved bucket", packet(known=True, sender="a", chained=True), standing(dirty=True), "take", None),
    ("unknown: to the next by name", MARKED, standing(dirty=True, beside=("a", "c", "d")), "chain", "c"),
    ("unknown, the last by name", MARKED, standing(dirty=True, beside=("a",)), "drop", None),
    ("no reset at the end, even if mine", MARKED, standing(MINE), "drop", None),
    ("new and mine", packet(opens=True, sender="a", chained=True), standing(MINE), "take", None),
]


@pytest.mark.parametrize(("frame", "tables", "action"), [row[1:4] for row in ROWS], ids=[row[0] for row in ROWS])
def test_flooded(frame, tables, action):
    assert judge(frame, tables, FLOODED).action is Action(action)


@pytest.mark.parametrize(
    ("frame", "tables", "action", "to"), [(*row[1:3], *row[4:]) for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_directed(frame, tables, action, to):
    verdict = judge(frame, tables, DIRECTED)
    assert (verdict.action, verdict.to) == (Action(action), to)


@pytest.mark.parametrize(("frame", "tables", "action", "to"), [row[1:] for row in HANDED], ids=[r[0] for r in HANDED])
def test_what_a_director_with_a_newer_table_sends(frame, tables, action, to):
    verdict = judge(frame, tables, DIRECTED)
    assert (verdict.action, verdict.to) == (Action(action), to)


@pytest.mark.parametrize(("frame", "tables", "action", "to"), [row[1:] for row in CHAIN], ids=[r[0] for r in CHAIN])
def test_along_the_dirty_members(frame, tables, action, to):
    verdict = judge(frame, tables, DIRECTED)
    assert (verdict.action, verdict.to) == (Action(action), to)


names = st.sampled_from("abcd")
packets = st.builds(
    Packet,
    opens=st.booleans(),
    known=st.booleans(),
    sender=st.none() | names.filter(lambda name: name != "b"),
    chained=st.booleans(),
)
tables = st.builds(
    Standing,
    me=st.just("b"),
    lease_open=st.booleans(),
    phase=st.sampled_from(Phase),
    dirty=st.booleans(),
    dirty_members=st.sets(st.sampled_from("acd")).map(lambda some: tuple(sorted(some))),
    owner=st.none() | names,
    director=st.none() | names,
)
deliveries = st.sampled_from(Delivery)


@given(packets, tables, deliveries)
def test_a_reset_never_answers_while_another_member_may_know_the_connection(frame, own, delivery):
    if judge(frame, own, delivery).action is Action.RESET:
        assert not own.dirty_members
        assert not frame.opens


@given(packets, tables, deliveries)
def test_nothing_is_sent_to_oneself_and_nothing_in_flooded_delivery(frame, own, delivery):
    verdict = judge(frame, own, delivery)
    assert (verdict.to is not None) == (verdict.action in (Action.FORWARD, Action.CHAIN))
    assert verdict.to != own.me
    if delivery is Delivery.FLOODED:
        assert verdict.to is None


@given(packets, tables)
def test_a_marked_packet_only_goes_to_higher_names(frame, own):
    verdict = judge(frame, own, DIRECTED)
    if frame.chained and frame.sender is not None and verdict.to is not None:
        assert verdict.action is Action.CHAIN
        assert verdict.to > own.me


@given(packets, tables)
def test_a_marked_packet_is_never_reset(frame, own):
    if frame.chained and frame.sender is not None:
        assert judge(frame, own, DIRECTED).action is not Action.RESET


@given(packets, tables)
def test_only_packets_of_clients_are_forwarded(frame, own):
    if judge(frame, own, DIRECTED).action is Action.FORWARD:
        assert frame.sender is None


@given(packets, tables, deliveries)
def test_nothing_is_taken_after_the_lease(frame, own, delivery):
    if not own.lease_open:
        assert judge(frame, own, delivery).action is Action.DROP
