"""Which node is cut off by the switch, from what each says it has seen, and when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2mode.core.visibility import (
    ENOUGH,
    FORGOTTEN_AFTER,
    TIMING,
    WINDOW,
    NodeVisibility,
    SeenPackets,
    Visibility,
    VisibilityChange,
)

CUT_OFF, SEES_AGAIN, UNKNOWN = VisibilityChange.CUT_OFF, VisibilityChange.SEES_AGAIN, VisibilityChange.UNKNOWN


class Farm:
    """Nodes that count a packet of clients every so often, as this one hears of it, look by look."""

    def __init__(self, **rates):
        self.visibility = Visibility()
        self.rates = rates
        self.counts = dict.fromkeys(rates, 1000)
        self.clocks = {name: 1e6 * number for number, name in enumerate(rates, 1)}
        "How far each node's clock is ahead of this one's."
        self.said = {}
        self.silent = set()
        "Nodes whose counts do not come any more, though they are heard."
        self.now = 0.0

    def go_on(self, seconds):
        """Look once a second; give who has changed how."""
        told = []
        for _ in range(seconds):
            self.now += 1
            for name, rate in self.rates.items():
                self.counts[name] += rate
                if name not in self.silent:
                    self.said[name] = SeenPackets(packets=self.counts[name], at=self.now + self.clocks[name])
            told += self.visibility.look(self.said, now=self.now)
        return [(sight.node, sight.change) for sight in told]


@pytest.mark.parametrize(
    ("rates", "cut_off"),
    [
        ({"web1": 100, "web2": 100, "web3": 100}, []),
        ({"web1": 100, "web2": 0, "web3": 100}, ["web2"]),
        ({"web1": 100, "web2": 30, "web3": 100}, ["web2"]),
        ({"web1": 100, "web2": 50, "web3": 100}, []),
        ({"web1": 100, "web2": 0, "web3": 0, "web4": 100, "web5": 100}, ["web2", "web3"]),
        ({"web1": 0, "web2": 0, "web3": 0}, []),
        # Two blind ones cannot be told from one that is sent more than is meant for all.
        ({"web1": 100, "web2": 0, "web3": 0}, []),
        ({"web1": 100, "web2": 0, "web3": 100, "web4": 0}, ["web2", "web4"]),
        # The others must have seen enough: 12 in the surest part of the window.
        ({"web1": 12, "web2": 0, "web3": 12}, ["web2"]),
        ({"web1": 8, "web2": 0, "web3": 8}, []),
        ({"web1": 5000}, []),
        # Of two nodes one must be as good as blind.
        ({"web1": 100, "web2": 0}, ["web2"]),
        ({"web1": 100, "web2": 5}, ["web2"]),
        ({"web1": 100, "web2": 20}, []),
        ({"web1": 100, "web2": 100}, []),
    ],
    ids=str,
)
def test_a_node_that_saw_under_half_of_the_median_of_the_others_is_cut_off(rates, cut_off):
    farm = Farm(**rates)
    told = farm.go_on(30)
    assert {node for node, _ in told} == farm.visibility.cut_off == set(cut_off)
    assert {change for _, change in told} <= {CUT_OFF}


def test_the_alarm_comes_once_and_so_does_its_end():
    farm = Farm(web1=100, web2=0, web3=100)
    assert farm.go_on(int(WINDOW)) == []
    assert farm.go_on(1) == [("web2", CUT_OFF)]
    assert farm.go_on(100) == []
    farm.rates["web2"] = 100
    assert farm.go_on(20) == [("web2", SEES_AGAIN)]
    assert farm.visibility.cut_off == frozenset()
    assert farm.go_on(100) == []


def test_what_is_told_are_sentences():
    def told(change, seen, others):
        return str(NodeVisibility(node="web2", change=change, seen=seen, others=others))

    assert told(CUT_OFF, 3, 1200) == (
        "web2 is cut off by the switch: it saw 3 packets to the VIPs in 15 s, the others 1200"
    )
    assert told(SEES_AGAIN, 1100, 1200) == (
        "web2 sees the packets to the VIPs again: 1100 packets to the VIPs in 15 s, the others 1200"
    )
    assert told(UNKNOWN, 0, 0) == "web2 is no longer known to be cut off: too little to compare for 60 s"


def test_when_the_clients_go_home_the_verdict_is_taken_back_after_a_while():
    farm = Farm(web1=100, web2=0)
    farm.go_on(30)
    assert farm.visibility.cut_off == {"web2"}
    farm.rates["web1"] = 0
    told = farm.go_on(int(FORGOTTEN_AFTER))
    assert told == []
    assert farm.go_on(int(WINDOW)) == [("web2", UNKNOWN)]
    assert farm.visibility.cut_off == frozenset()


def test_a_pause_of_the_clients_ends_no_verdict_and_tells_nothing_anew():
    farm = Farm(web1=100, web2=0)
    told = farm.go_on(30)
    for _ in range(5):
        farm.rates["web1"] = 0
        told += farm.go_on(30)
        farm.rates["web1"] = 100
        told += farm.go_on(20)
    assert told == [("web2", CUT_OFF)]


def test_a_node_whose_counts_are_not_fresh_is_not_judged():
    # As two nodes on a slow machine did, each of which called the other blind.
    farm = Farm(web1=100, web2=100)
    farm.go_on(30)
    farm.silent = {"web2"}
    assert farm.go_on(100) == []
    farm.silent = set()
    assert farm.go_on(100) == []


def test_a_node_whose_counts_are_not_fresh_does_not_judge():
    farm = Farm(web1=0, web2=100)
    farm.rates["web1"] = 100
    farm.go_on(30)
    farm.silent = {"web2"}
    farm.rates["web1"] = 0
    assert farm.go_on(100) == []


def test_what_a_paused_machine_missed_is_not_held_against_it():
    farm = Farm(web1=100, web2=100)
    farm.go_on(30)
    # Its clock stands as well, and it misses what comes meanwhile.
    farm.silent, farm.rates = {"web2"}, {"web1": 5000, "web2": 0}
    farm.clocks["web2"] -= TIMING + 1
    assert farm.go_on(int(TIMING + 1)) == []
    farm.silent, farm.rates = set(), {"web1": 100, "web2": 100}
    assert farm.go_on(60) == []


def test_a_verdict_on_a_node_whose_counts_do_not_come_any_more_is_taken_back():
    farm = Farm(web1=100, web2=0, web3=100)
    farm.go_on(30)
    farm.silent = {"web2"}
    assert farm.go_on(int(FORGOTTEN_AFTER + WINDOW)) == [("web2", UNKNOWN)]


def test_after_a_pause_of_this_node_nobody_is_called_blind():
    farm = Farm(web1=100, web2=100, web3=100)
    farm.go_on(30)
    farm.now += 20
    for name in farm.counts:
        farm.counts[name] += 20 * 100
    # What it hears at first is what was sent before the pause.
    farm.silent = {"web2", "web3"}
    assert farm.go_on(2) == []
    farm.silent = set()
    assert farm.go_on(60) == []


def test_a_node_that_starts_or_comes_back_is_judged_after_a_whole_window():
    farm = Farm(web1=100, web2=0)
    farm.silent = {"web2"}
    farm.go_on(30)
    farm.silent = set()
    assert farm.go_on(int(WINDOW)) == []
    assert farm.go_on(1) == [("web2", CUT_OFF)]


def test_a_count_that_begins_anew_is_no_loss_of_sight():
    farm = Farm(web1=100, web2=100)
    farm.go_on(30)
    farm.counts["web2"] = 0
    assert farm.go_on(60) == []


def test_a_node_that_goes_silent_is_cut_off_no_more_and_nothing_is_said_of_it():
    farm = Farm(web1=100, web2=0, web3=100)
    farm.go_on(30)
    assert farm.visibility.cut_off == {"web2"}
    del farm.rates["web2"], farm.said["web2"]
    assert farm.go_on(30) == []
    assert farm.visibility.cut_off == frozenset()


@given(
    traffic=st.lists(st.sampled_from([0, 0, 0, 0, 0, 20, 5000]), min_size=40, max_size=60),
    nodes=st.lists(
        st.tuples(
            st.floats(0, 1e6, width=32).map(int),
            st.integers(0, int(TIMING)),
            st.lists(st.integers(0, 20), max_size=8),
            st.none() | st.tuples(st.integers(1, 40), st.integers(int(TIMING) + 1, 8)),
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_who_sees_what_the_others_see_is_never_cut_off_whatever_the_delays(traffic, nodes):
    """A node has its clock, how long its quickest heartbeat takes, how much longer some take, and perhaps a pause.

    In a pause its clock stands, and it sees nothing. A heartbeat tells of the second in which it was sent.
    """
    visibility = Visibility()
    others = [
        (f"web{number}", quickest, stalls, sent_by(traffic, clock, pause))
        for number, (clock, quickest, stalls, pause) in enumerate(nodes)
    ]
    seen = 0
    for now, packets in enumerate(traffic):
        seen += packets
        counts = {"me": SeenPackets(packets=seen, at=float(now))}
        for name, quickest, stalls, sent in others:
            # What is heard is the latest that has arrived.
            arrived = [told for at, told in enumerate(sent) if at + quickest + stalled(stalls, at) <= now and told]
            if arrived:
                counts[name] = arrived[-1]
        assert visibility.look(counts, now=float(now)) == []


def sent_by(traffic, clock, pause):
    """Give what a node says second by second, None while it is paused."""
    begin, length = pause or (len(traffic), 0)
    said, seen, time = [], 0, float(clock)
    for second, packets in enumerate(traffic):
        if begin <= second < begin + length:
            said.append(None)
            continue
        seen, time = seen + packets, time + 1
        said.append(SeenPackets(packets=seen, at=time))
    return said


def stalled(stalls, at):
    return [0, *stalls][at % (len(stalls) + 1)]


@given(st.lists(st.sampled_from([0, 1, 40, 1000]), min_size=2, max_size=7))
def test_more_than_half_are_never_cut_off(rates):
    farm = Farm(**{f"web{number}": rate for number, rate in enumerate(rates)})
    farm.go_on(30)
    assert 2 * len(farm.visibility.cut_off) <= len(rates)


@given(st.integers(0, 6), st.integers(0, 6))
def test_where_few_packets_come_there_is_no_verdict(first, second):
    farm = Farm(web1=first, web2=second)
    assert max(first, second) * WINDOW < ENOUGH
    assert farm.go_on(60) == []
