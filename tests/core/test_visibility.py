"""Which node is cut off by the switch, from what each says it has seen."""

import pytest

from l2mode.core.visibility import Sight, Visibility


def watched(*seconds):
    """Look once per entry, each a mapping of counts and the time of the look; give what each look told."""
    visibility = Visibility()
    return [visibility.look(counts, now=at) for at, counts in seconds], visibility


def after_a_window(**seen):
    """Give what is told when the nodes saw so many packets in 10 s."""
    told, visibility = watched((0, dict.fromkeys(seen, 1000)), (10, {name: 1000 + more for name, more in seen.items()}))
    return told[-1], visibility.cut_off


@pytest.mark.parametrize(
    ("seen", "cut_off"),
    [
        ({"web1": 1000, "web2": 1000, "web3": 1000}, set()),
        ({"web1": 1000, "web2": 0, "web3": 1000}, {"web2"}),
        ({"web1": 1000, "web2": 499, "web3": 1000}, {"web2"}),
        ({"web1": 1000, "web2": 500, "web3": 1000}, set()),
        ({"web1": 100, "web2": 0}, {"web2"}),
        ({"web1": 99, "web2": 0}, set()),
        ({"web1": 0, "web2": 0}, set()),
        ({"web1": 1000, "web2": 0, "web3": 0, "web4": 1000, "web5": 1000}, {"web2", "web3"}),
        ({"web1": 5000}, set()),
    ],
)
def test_a_node_that_saw_under_half_of_the_median_of_the_others_is_cut_off(seen, cut_off):
    told, now_cut_off = after_a_window(**seen)
    assert {sight.node for sight in told} == now_cut_off == cut_off


def test_the_alarm_comes_once_and_so_does_its_end():
    looks = [(second, {"web1": 100 * second, "web2": 100 * min(second, 5)}) for second in range(31)]
    looks += [(second, {"web1": 100 * second, "web2": 500 + 100 * (second - 30)}) for second in range(31, 60)]
    told, visibility = watched(*looks)
    sights = [(at, sight) for (at, _), news in zip(looks, told, strict=True) for sight in news]
    assert sights == [
        (11, Sight(node="web2", cut_off=True, seen=400, others=1000)),
        (35, Sight(node="web2", cut_off=False, seen=500, others=1000)),
    ]
    assert visibility.cut_off == frozenset()


def test_the_alarm_and_its_end_are_sentences():
    assert str(Sight(node="web2", cut_off=True, seen=3, others=1200)) == (
        "web2 is cut off by the switch: it saw 3 packets to the VIPs in 10 s, the others 1200"
    )
    assert str(Sight(node="web2", cut_off=False, seen=1100, others=1200)) == (
        "web2 sees the packets to the VIPs again: 1100 packets to the VIPs in 10 s, the others 1200"
    )


def test_when_the_clients_go_home_nothing_is_said():
    told, visibility = watched(
        (0, {"web1": 0, "web2": 0}),
        (10, {"web1": 1000, "web2": 0}),
        (20, {"web1": 1050, "web2": 50}),
        (30, {"web1": 1050, "web2": 50}),
    )
    assert [len(news) for news in told] == [0, 1, 0, 0]
    assert visibility.cut_off == {"web2"}


def test_a_node_that_starts_or_comes_back_is_judged_after_a_whole_window():
    told, _ = watched(
        (0, {"web1": 0}),
        (9, {"web1": 900, "web2": 0}),
        (18, {"web1": 1800, "web2": 0}),
        (19, {"web1": 1900, "web2": 0}),
    )
    assert [len(news) for news in told] == [0, 0, 0, 1]


def test_a_count_that_begins_anew_is_no_loss_of_sight():
    told, _ = watched(
        (0, {"web1": 0, "web2": 90_000}),
        (10, {"web1": 1000, "web2": 91_000}),
        (11, {"web1": 1100, "web2": 0}),
        (20, {"web1": 2000, "web2": 900}),
        (21, {"web1": 2100, "web2": 1000}),
    )
    assert told == [[], [], [], [], []]


def test_a_node_that_goes_silent_is_cut_off_no_more_and_nothing_is_said_of_it():
    told, visibility = watched(
        (0, {"web1": 0, "web2": 0}), (10, {"web1": 1000, "web2": 0}), (11, {"web1": 1100}), (12, {"web1": 1200})
    )
    assert [len(news) for news in told] == [0, 1, 0, 0]
    assert visibility.cut_off == frozenset()
