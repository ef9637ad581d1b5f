import pytest

from hcsidecar.core.probers import ABOUT, Prober, Probers

HAPROXY = Prober(address="192.0.2.5", method="GET", path="/health")
NLB = Prober(address="192.0.2.6", method="GET", path="/health", agent=b"ELB-HealthChecker/2.0")


def test_nobody_is_waited_for_when_nobody_polls():
    assert Probers().waiting(3, now=0) == ()


def test_a_prober_is_waited_for_until_it_has_had_its_fill_of_not_found():
    probers = Probers()
    probers.polled(HAPROXY, ok=True, now=0)
    assert probers.waiting(3, now=1) == ("prober 192.0.2.5 (GET /health)",)
    for now in (2, 4):
        probers.polled(HAPROXY, ok=False, now=now)
        assert probers.waiting(3, now=now) == ("prober 192.0.2.5 (GET /health)",)
    probers.polled(HAPROXY, ok=False, now=6)
    assert probers.waiting(3, now=6) == ()


def test_an_ok_in_between_begins_the_count_anew():
    probers = Probers()
    for now, ok in enumerate((False, False, True, False)):
        probers.polled(HAPROXY, ok=ok, now=now)
    assert probers.waiting(2, now=4) == ("prober 192.0.2.5 (GET /health)",)
    assert probers.waiting(1, now=4) == ()


def test_each_prober_has_its_own_count():
    probers = Probers()
    for now in range(3):
        probers.polled(HAPROXY, ok=False, now=now)
    probers.polled(NLB, ok=False, now=3)
    assert probers.waiting(3, now=3) == ("prober 192.0.2.6 (GET /health)",)


@pytest.mark.parametrize(
    "other",
    [
        HAPROXY._replace(address="192.0.2.6"),
        HAPROXY._replace(method="HEAD"),
        HAPROXY._replace(path="/var/modules/apache/ready.txt"),
        HAPROXY._replace(host=b"web1"),
        HAPROXY._replace(agent=b"curl/7.88.1"),
    ],
)
def test_whoever_asks_otherwise_is_another_prober(other):
    """A person with curl on the balancer must not use up the balancer's count."""
    probers = Probers()
    probers.polled(HAPROXY, ok=True, now=0)
    for now in range(9):
        probers.polled(other, ok=False, now=now)
    assert len(probers.waiting(3, now=9)) == 1


def test_who_has_not_polled_for_a_minute_is_not_waited_for():
    probers = Probers()
    probers.polled(HAPROXY, ok=True, now=100)
    assert probers.waiting(3, now=100 + ABOUT) != ()
    assert probers.waiting(3, now=101 + ABOUT) == ()


def test_an_agent_check_has_had_enough_when_it_was_told_once():
    probers = Probers()
    agent = Prober.asking_agent("192.0.2.5", b"")
    rhythm(probers, 0, 5, prober=agent)
    assert probers.waiting(3, now=6) == ("prober 192.0.2.5 (agent-check)",)
    rhythm(probers, 10, prober=agent, ok=False)
    assert probers.waiting(3, now=11) == ()


def test_agent_checks_are_told_apart_by_what_they_send():
    probers = Probers()
    rhythm(probers, 0, prober=Prober.asking_agent("192.0.2.5", b"web1\n"))
    rhythm(probers, 1, prober=Prober.asking_agent("192.0.2.5", b"api1\n"), ok=False)
    assert len(probers.waiting(3, now=2)) == 1


def rhythm(probers, *moments, prober=HAPROXY, ok=True):
    for now in moments:
        probers.polled(prober, ok=ok, now=now)


def test_a_prober_that_has_let_this_node_go_and_misses_its_turn_is_not_waited_for():
    probers = Probers()
    rhythm(probers, 0, 2, 4)
    assert probers.waiting(3, now=8, let_go=True) != ()
    assert probers.waiting(3, now=8.1, let_go=True) == ()
    # As long as nobody has let this node go, silence is no reason.
    assert probers.waiting(3, now=8.1) != ()


def test_a_prober_that_asks_on_has_this_node_still_and_is_waited_for_whoever_has_let_it_go():
    probers = Probers()
    rhythm(probers, 0, 10, 20, 30)
    rhythm(probers, 40, ok=False)
    assert probers.waiting(3, now=55, let_go=True) == ("prober 192.0.2.5 (GET /health)",)


def test_two_probers_that_count_as_one_are_as_slow_as_their_longest_pause():
    probers = Probers()
    rhythm(probers, 0, 0.1, 10, 10.1, 20, 20.1)
    assert probers.waiting(3, now=34, let_go=True) != ()
    assert probers.waiting(3, now=36.1, let_go=True) == ()


def test_a_long_pause_of_long_ago_is_forgotten():
    probers = Probers()
    rhythm(probers, 0, *range(50, 60))
    assert probers.waiting(3, now=62, let_go=True) == ()


def test_who_has_asked_only_once_has_no_rhythm_and_is_waited_for():
    probers = Probers()
    rhythm(probers, 0)
    assert probers.waiting(3, now=59, let_go=True) != ()


def test_probers_of_one_description_are_told_once():
    probers = Probers()
    probers.polled(NLB._replace(host=b"a"), ok=True, now=0)
    probers.polled(NLB._replace(host=b"b"), ok=True, now=0)
    probers.polled(HAPROXY, ok=True, now=0)
    assert probers.waiting(3, now=0) == ("prober 192.0.2.5 (GET /health)", "prober 192.0.2.6 (GET /health)")


def test_the_longest_silent_is_forgotten_and_the_drain_told_so():
    probers = Probers(remembered=2)
    probers.polled(HAPROXY, ok=True, now=0)
    probers.polled(NLB, ok=False, now=1)
    probers.polled(HAPROXY, ok=False, now=2)
    probers.polled(HAPROXY._replace(address="192.0.2.7"), ok=False, now=3)
    both = ("prober 192.0.2.5 (GET /health)", "prober 192.0.2.7 (GET /health)", "more than 2 probers")
    assert probers.waiting(2, now=3) == both
    assert probers.waiting(1, now=3) == ("more than 2 probers",)
    assert probers.waiting(1, now=1 + ABOUT) == ("more than 2 probers",)
    assert probers.waiting(1, now=2 + ABOUT) == ()


def test_memory_is_bounded_however_many_ask():
    probers = Probers()
    for number in range(5000):
        probers.polled(HAPROXY._replace(address=f"prober {number}"), ok=True, now=number / 1000)
    assert len(probers.waiting(1, now=5)) == 1024 + 1
