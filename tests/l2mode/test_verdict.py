"""The rules for one packet, in their order: one row per sentence, and properties over all tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2mode.core.handover import BucketState
from l2mode.core.verdict import Action, Delivery, Ownership, Packet, Reason, judge, under_lease

MINE, PENDING, OTHER = BucketState.MINE, BucketState.PENDING, BucketState.OTHER
DIRECTED, FLOODED = Delivery.DIRECTED, Delivery.FLOODED


A, B, C, D = range(4)


def mask(*nodes):
    return sum(1 << node for node in nodes)


def standing(phase=OTHER, *, me=B, dirty=False, beside=(), owner=A, outside=False):
    return Ownership(
        me=me,
        phase=phase,
        dirty=dirty,
        dirty_members=mask(*beside),
        owner=owner,
        outside=outside,
    )


def packet(*, opens=False, known=False, sender=None, chained=False):
    return Packet(opens=opens, known=lambda: known, sender=sender, chained=chained)


SYN = packet(opens=True)
DATA = packet()
KNOWN = packet(known=True)
FROM_A, FROM_C = packet(sender=A), packet(sender=C)
MARKED = packet(sender=A, chained=True)

# what it is, packet, tables, why in flooded delivery, why in directed delivery, directed to
ROWS = [
    ("new and mine", SYN, standing(MINE), "NEW", "NEW", None),
    ("new and mine, whoever is dirty", SYN, standing(MINE, beside=(A,)), "NEW", "NEW", None),
    ("known and mine", KNOWN, standing(MINE, beside=(A,)), "KNOWN", "KNOWN", None),
    ("known in a bucket that waits", KNOWN, standing(PENDING, owner=B), "KNOWN", "KNOWN", None),
    ("known in a moved bucket", KNOWN, standing(OTHER, dirty=True), "KNOWN", "KNOWN", None),
    ("a clean node does not look", KNOWN, standing(OTHER), "NOT_MINE", "TO_OWNER", A),
    ("unknown and mine, all clean", DATA, standing(MINE), "ORPHAN", "ORPHAN", None),
    ("unknown and mine, I alone am dirty", DATA, standing(MINE, dirty=True), "ORPHAN", "ORPHAN", None),
    ("unknown and mine, others dirty", DATA, standing(MINE, beside=(A, C)), "LEFT_TO_DIRTY", "ALONG_DIRTY", A),
    ("unknown, pending, others dirty", DATA, standing(PENDING, beside=(C,)), "LEFT_TO_DIRTY", "ALONG_DIRTY", C),
    ("unknown and pending, all clean", DATA, standing(PENDING, owner=B), "NOT_MINE", "UNCLAIMED", None),
    ("new and pending", SYN, standing(PENDING, owner=B), "NOT_MINE", "UNCLAIMED", None),
    ("new, pending, others dirty", SYN, standing(PENDING, beside=(C,)), "LEFT_TO_DIRTY", "ALONG_DIRTY", C),
    ("a client's, not mine", DATA, standing(), "NOT_MINE", "TO_OWNER", A),
    ("a client's, new, not mine", SYN, standing(), "NOT_MINE", "TO_OWNER", A),
    ("a client's, not mine, others dirty", DATA, standing(beside=(C,)), "NOT_MINE", "TO_OWNER", A),
    ("a client's, out of the view", SYN, standing(outside=True), "NOT_MINE", "PASSED_ON", A),
    ("known out of the view", KNOWN, standing(dirty=True, outside=True), "KNOWN", "KNOWN", None),
    ("a member's, out of the view", packet(opens=True, sender=A), standing(outside=True), "NOT_MINE", "NOT_MINE", None),
    ("not new either", FROM_A, standing(outside=True), "NOT_MINE", "NOT_MINE", None),
    ("along the dirty, out of the view", MARKED, standing(outside=True, beside=(C,)), "NOT_MINE", "ALONG_DIRTY", C),
    ("out of the view, and nobody serves", SYN, standing(owner=None), "NOT_MINE", "UNCLAIMED", None),
    ("nobody owns it", SYN, standing(owner=None), "NOT_MINE", "UNCLAIMED", None),
    ("a client's mark counts for nothing", packet(chained=True), standing(MINE), "ORPHAN", "ORPHAN", None),
    ("two members do not play ball", FROM_C, standing(), "NOT_MINE", "NOT_MINE", None),
    ("nor with new ones", packet(opens=True, sender=C), standing(), "NOT_MINE", "NOT_MINE", None),
    ("from a member, new and mine", packet(opens=True, sender=C), standing(MINE), "NEW", "NEW", None),
    ("from a member, unknown and mine", FROM_C, standing(MINE), "ORPHAN", "ORPHAN", None),
]

HANDED = [
    ("new", packet(opens=True, sender=A), standing(), "HANDED_NEW", None),
    ("new, others dirty", packet(opens=True, sender=A), standing(beside=(C,)), "HANDED_NEW", None),
    ("known", packet(known=True, sender=A), standing(), "KNOWN", None),
    ("unknown, all clean", FROM_A, standing(), "ORPHAN", None),
    ("unknown, others dirty", FROM_A, standing(beside=(A,)), "ALONG_DIRTY", A),
]

CHAIN = [
    ("known in a moved bucket", packet(known=True, sender=A, chained=True), standing(dirty=True), "KNOWN", None),
    ("unknown: to the next", MARKED, standing(dirty=True, beside=(A, C, D)), "ALONG_DIRTY", C),
    ("unknown, over a gap", MARKED, standing(dirty=True, beside=(A, 63)), "ALONG_DIRTY", 63),
    ("unknown, the last", MARKED, standing(dirty=True, beside=(A,)), "END_OF_CHAIN", None),
    ("the last of all", MARKED, standing(me=63, dirty=True, beside=(A,)), "END_OF_CHAIN", None),
    ("no reset at the end, even if mine", MARKED, standing(MINE), "END_OF_CHAIN", None),
    ("not handed to me by its owner", MARKED, standing(owner=A), "END_OF_CHAIN", None),
    ("new and mine", packet(opens=True, sender=A, chained=True), standing(MINE), "NEW", None),
]


@pytest.mark.parametrize(("frame", "tables", "reason"), [row[1:4] for row in ROWS], ids=[row[0] for row in ROWS])
def test_flooded(frame, tables, reason):
    verdict = judge(frame, tables, FLOODED)
    assert (verdict.reason, verdict.to) == (Reason[reason], None)


@pytest.mark.parametrize(
    ("frame", "tables", "reason", "to"), [(*row[1:3], *row[4:]) for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_directed(frame, tables, reason, to):
    verdict = judge(frame, tables, DIRECTED)
    assert (verdict.reason, verdict.to) == (Reason[reason], to)


@pytest.mark.parametrize(("frame", "tables", "reason", "to"), [row[1:] for row in HANDED], ids=[r[0] for r in HANDED])
def test_what_an_owner_with_a_newer_table_sends(frame, tables, reason, to):
    verdict = judge(frame, tables, DIRECTED)
    assert (verdict.reason, verdict.to) == (Reason[reason], to)


@pytest.mark.parametrize(("frame", "tables", "reason", "to"), [row[1:] for row in CHAIN], ids=[r[0] for r in CHAIN])
def test_along_the_dirty_members(frame, tables, reason, to):
    verdict = judge(frame, tables, DIRECTED)
    assert (verdict.reason, verdict.to) == (Reason[reason], to)


@pytest.mark.parametrize("delivery", Delivery)
def test_when_the_lease_is_over_what_would_be_taken_or_sent_is_dropped_and_the_rest_keeps_its_reason(delivery):
    for _, frame, tables, *_ in ROWS + HANDED + CHAIN:
        before = judge(frame, tables, delivery)
        assert under_lease(before, lease_open=True) is before
        after = under_lease(before, lease_open=False)
        assert after.reason is (before.reason if before.action is Action.DROP else Reason.LEASE_OVER)
        assert after.to is None


def test_a_socket_is_looked_for_only_where_it_counts():
    def never():
        pytest.fail("looked for a socket")

    unknown = Packet(opens=False, known=never)
    judge(Packet(opens=True, known=never), standing(MINE), DIRECTED)
    judge(unknown, standing(OTHER), FLOODED)
    judge(unknown, standing(OTHER, beside=(C,)), DIRECTED)


nodes = st.integers(A, D)
packets = st.builds(
    packet,
    opens=st.booleans(),
    known=st.booleans(),
    sender=st.none() | nodes.filter(lambda node: node != B),
    chained=st.booleans(),
)
tables = st.builds(
    standing,
    st.sampled_from(BucketState),
    dirty=st.booleans(),
    beside=st.sets(st.sampled_from([A, C, D])),
    owner=st.none() | nodes,
    outside=st.booleans(),
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
    assert (verdict.to is not None) == verdict.action.sends
    assert verdict.to != own.me
    if delivery is Delivery.FLOODED:
        assert verdict.to is None


@given(packets, tables.filter(lambda own: own.outside and own.phase is OTHER), deliveries)
def test_a_node_out_of_the_view_takes_what_it_knows_and_nothing_else(frame, own, delivery):
    verdict = judge(frame, own, delivery)
    assert verdict.action is not Action.RESET
    assert verdict.action is not Action.TAKE or verdict.reason is Reason.KNOWN


@given(packets, tables)
def test_a_marked_packet_only_goes_to_higher_numbers(frame, own):
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


def test_only_forward_and_chain_send_a_frame_to_another_node():
    assert [action for action in Action if action.sends] == [Action.FORWARD, Action.CHAIN]
