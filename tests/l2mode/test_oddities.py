"""What is told of packets that should not be there."""

import pytest

from l2mode.core.oddities import Oddities, Oddity
from l2mode.core.reasons import REASONS, Reason
from l2mode.core.verdict import Delivery

ODD = {
    Delivery.DIRECTED: {
        Reason.NOT_MINE: "warning",
        Reason.TTL_OVER: "warning",
        Reason.NO_MAC: "warning",
        Reason.MALFORMED: "info",
        Reason.NOT_TO_ONE: "info",
    },
    Delivery.FLOODED: {Reason.MALFORMED: "info", Reason.NOT_TO_ONE: "info"},
}


def told_of(oddities, counts, reason=Reason.TTL_OVER):
    """Look once a second at counts of one reason; give when how many packets are told."""
    return [
        (second, oddity.packets)
        for second, count in enumerate(counts)
        for oddity in oddities.look({reason: count}, now=float(second))
    ]


@pytest.mark.parametrize("delivery", list(Delivery))
@pytest.mark.parametrize("reason", REASONS)
def test_only_what_should_not_be_there_is_told(delivery, reason):
    oddities = Oddities(delivery)
    told = [oddity for second in range(10) for oddity in oddities.look({reason: 5 * second}, now=float(second))]
    assert [oddity.level for oddity in told] == ([ODD[delivery][reason]] if reason in ODD[delivery] else [])


@pytest.mark.parametrize(
    ("grows_at", "first_told_at"),
    [
        ([], None),
        ([0], None),
        ([3, 4], None),
        ([0, 1, 2, 3, 4], None),
        ([0, 1, 2, 3, 4, 5], 5),
        # The client whose opening nobody takes asks again after 1, 2 and 4 s.
        ([0, 1, 3, 7], 7),
        # Views that change one after the other, as when every node is restarted.
        ([0, 6, 12, 18, 24], None),
        ([0, 1, 10, 11, 20, 21], None),
        ([0, 1, 10, 11, 12, 13, 14, 15], 15),
    ],
)
def test_only_what_goes_on_is_told(grows_at, first_told_at):
    counts = [10 * sum(at <= second for at in grows_at) for second in range(30)]
    told = told_of(Oddities(Delivery.DIRECTED), counts, Reason.NOT_MINE)
    assert [second for second, _ in told] == ([] if first_told_at is None else [first_told_at])


def test_it_is_told_how_many_came_since_it_began():
    counts = [7, 7, 7, 7, 7, 7, 7, 7, 8, 9, 10, 11, 12, 13]
    assert told_of(Oddities(Delivery.DIRECTED), counts) == [(13, 6)]


def test_a_flood_is_a_line_a_minute_with_all_that_came_meanwhile():
    counts = [1 + 1000 * second for second in range(180)]
    assert told_of(Oddities(Delivery.DIRECTED), counts) == [(5, 5001), (65, 60_000), (125, 60_000)]


def test_what_lasts_is_known_until_it_has_stood_still_for_as_long():
    oddities = Oddities(Delivery.DIRECTED)
    lasting = []
    for second in range(20):
        oddities.look({Reason.NO_MAC: min(second, 10)}, now=float(second))
        lasting.append(oddities.lasting)
    known = [second for second, reasons in enumerate(lasting) if reasons == {Reason.NO_MAC}]
    # It grows from second 1 to second 10.
    assert known == list(range(6, 16))
    assert set(lasting) == {frozenset(), frozenset({Reason.NO_MAC})}


def test_one_reason_does_not_silence_another():
    oddities = Oddities(Delivery.DIRECTED)
    told = [
        (second, oddity.reason)
        for second in range(12)
        for oddity in oddities.look({Reason.TTL_OVER: second, Reason.NO_MAC: max(0, second - 3)}, now=float(second))
    ]
    assert told == [(6, Reason.TTL_OVER), (9, Reason.NO_MAC)]


def test_it_is_told_in_a_sentence():
    hint = "somebody sends garbage, or something on the way damages packets"
    oddity = Oddity(level="info", packets=1, reason=Reason.MALFORMED, hint=hint)
    assert str(oddity) == f"dropped 1 packet to the VIPs: its headers are truncated or invalid; {hint}"
