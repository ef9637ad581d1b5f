"""What is told of packets that should not be there."""

import pytest

from l2mode.core.oddities import Oddities
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


@pytest.mark.parametrize("delivery", list(Delivery))
@pytest.mark.parametrize("reason", REASONS)
def test_only_what_should_not_be_there_is_told(delivery, reason):
    told = Oddities(delivery).look({reason: 5}, now=0)
    assert [oddity.level for oddity in told] == ([ODD[delivery][reason]] if reason in ODD[delivery] else [])


def test_a_flood_is_a_line_a_minute_with_all_that_came_meanwhile():
    oddities = Oddities(Delivery.DIRECTED)
    told = [
        (second, oddity.packets)
        for second in range(180)
        for oddity in oddities.look({Reason.TTL_OVER: 1 + 1000 * second}, now=float(second))
    ]
    assert told == [(0, 1), (60, 60_000), (120, 60_000)]


def test_nothing_is_said_while_nothing_grows():
    oddities = Oddities(Delivery.DIRECTED)
    assert oddities.look({Reason.TTL_OVER: 0}, now=0) == []
    assert len(oddities.look({Reason.TTL_OVER: 1}, now=1)) == 1
    assert oddities.look({Reason.TTL_OVER: 1}, now=1000) == []
    assert len(oddities.look({Reason.TTL_OVER: 2}, now=1001)) == 1


def test_one_reason_does_not_silence_another():
    oddities = Oddities(Delivery.DIRECTED)
    oddities.look({Reason.TTL_OVER: 1}, now=0)
    assert [oddity.reason for oddity in oddities.look({Reason.TTL_OVER: 2, Reason.NO_MAC: 1}, now=1)] == [Reason.NO_MAC]


def test_it_is_told_in_a_sentence():
    [oddity] = Oddities(Delivery.FLOODED).look({Reason.MALFORMED: 1}, now=0)
    assert str(oddity) == (
        "dropped 1 packet to the VIPs: its headers are cut or wrong; "
        "somebody sends garbage, or something on the way breaks packets"
    )
