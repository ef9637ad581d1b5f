"""The judgement of the demo on the virtual IP: who met whom, and whom a change cost what."""

import pytest

from hcsidecar.demo.judge import Request, RequestLog
from hcsidecar.demo.through_vip import (
    RESCUED_WITHIN,
    SERVED_AGAIN_WITHIN,
    Clients,
    clients_of,
    no_connection_breaks,
    nobody_new_meets,
    one_server_each,
    others_undisturbed,
    served_again,
    servers_of,
)

CLIENTS = ["a", "b", "c"]
SERVERS = ["web1", "web2"]


def asked(client, server, ended=1.0, *, began=None, kept=False, lost=None, complaint=None):
    began = ended - 0.01 if began is None else began
    return Request(began=began, ended=ended, server=server, complaint=complaint, client=client, kept=kept, lost=lost)


def failed(client, ended=1.0, *, began=None, kept=False):
    return asked(client, None, ended, began=began, kept=kept, complaint="no answer in 2 s")


CALM = [asked("a", "web1"), asked("b", "web2"), asked("c", "web1"), asked("a", "web1", 2)]


def recorded(*requests):
    record = RequestLog(since=0)
    for request in requests:
        record.add(request)
    return Clients(record, CLIENTS, SERVERS)


def test_a_client_is_where_its_latest_new_connection_led():
    requests = [asked("a", "web1"), asked("a", "web2", 2), asked("a", "web1", 3, kept=True), failed("a", 4)]
    assert servers_of(requests) == {"a": "web2"}
    assert clients_of("web2", requests) == ["a"]
    assert clients_of("web1", requests) == []


@pytest.mark.parametrize(
    ("requests", "kept", "found"),
    [
        (CALM, True, "web1 has 2, web2 has 1"),
        ([*CALM, asked("a", "web2")], False, "a met web1 and web2"),
        ([asked("a", "web1"), asked("b", "web2")], False, "c met nobody"),
        ([asked(client, "web1") for client in CLIENTS], False, "web1 has 3, web2 has 0"),
        ([*CALM, asked("c", "web2", kept=True)], True, "web1 has 2, web2 has 1"),
        ([], False, "a met nobody; b met nobody; c met nobody"),
    ],
)
def test_every_client_has_one_server_and_every_server_clients(requests, kept, found):
    verdict = one_server_each(requests, CLIENTS, SERVERS)
    assert (verdict.kept, verdict.found) == (kept, found)


@pytest.mark.parametrize(
    ("requests", "kept", "found"),
    [
        ([asked("a", "web1", kept=True), asked("b", "web1", kept=True)], True, "0 of 2 broke"),
        (
            [asked("a", "web1", kept=True), asked("b", "web1", kept=True, lost="the server hung up")],
            False,
            "1 of 2 broke (1 × the server hung up)",
        ),
        ([failed("a", kept=True)], False, "1 of 1 broke (1 × no answer in 2 s)"),
        ([asked("a", "web1")], False, "0 of 0 broke"),
        ([asked("a", "web1", kept=True), asked("z", "web1", kept=True, lost="reset")], True, "0 of 1 broke"),
    ],
)
def test_a_kept_connection_breaks_when_its_client_says_so_or_gets_no_answer(requests, kept, found):
    verdict = no_connection_breaks(requests, CLIENTS)
    assert (verdict.kept, verdict.found) == (kept, found)


@pytest.mark.parametrize(
    ("requests", "kept"),
    [
        ([asked("a", "web1"), asked("b", "web2", kept=True)], True),
        ([asked("a", "web1"), asked("b", "web2")], False),
        ([asked("b", "web2", kept=True)], False),
        ([], False),
    ],
)
def test_a_server_that_drains_has_no_new_clients(requests, kept):
    assert nobody_new_meets("web2", requests).kept is kept


@pytest.mark.parametrize(
    ("requests", "kept"),
    [
        ([asked("b", "web2"), failed("a")], True),
        ([asked("b", "web2"), failed("b")], False),
        ([asked("b", "web2", kept=True, lost="the connection was reset")], False),
        ([failed("a")], False),
    ],
)
def test_a_death_may_cost_nobody_but_the_clients_of_the_dead(requests, kept):
    assert others_undisturbed(requests, ["a"]).kept is kept


@pytest.mark.parametrize(
    ("requests", "found"),
    [
        ([asked("a", "web2", 5.7), asked("b", "web2", 6.25), asked("a", "web2", 9)], "after 1.2 s"),
        ([asked("a", "web2", 5.7), asked("b", "web1", 6), failed("b", 7)], "did not happen"),
        ([asked("a", "web2", 4.9), asked("b", "web2", 5.5)], "did not happen"),
    ],
)
def test_the_clients_of_the_dead_are_served_again_when_the_last_of_them_is(requests, found):
    verdict = served_again(requests, "web1", ["a", "b"], death=5)
    assert verdict.found == found
    assert verdict.kept is (found != "did not happen")
    assert verdict.promise == f"the 2 clients of web1 are served by others within {SERVED_AGAIN_WITHIN:g} s"


def test_a_death_that_concerns_nobody_proves_nothing():
    assert not served_again([asked("a", "web2", 6)], "web1", [], death=5).kept


def test_the_longest_gap_is_that_of_the_client_with_the_longest():
    clients = recorded(asked("a", "web1", 1), asked("b", "web1", 2), asked("c", "web1", 2), asked("a", "web1", 4))
    assert clients.summary(0, 5).longest_gap == 3
    assert clients.summary(0, 5).by_server == {"web1": 4}


def test_who_was_with_the_dead_server_is_taken_from_before_its_death():
    kept_there = asked("b", "web1", 4.8, kept=True)
    clients = recorded(
        asked("a", "web1", 4.5), kept_there, asked("c", "web2", 4.9), asked("a", "web2", 6), asked("b", "web2", 7)
    )
    undisturbed, again = clients.killed("web1", 5, 8)
    assert again.promise.startswith("the 2 clients of web1")
    assert again.found == "after 2.0 s"
    assert not undisturbed.kept, "c did not ask any more"


def test_those_who_stay_with_others_keep_their_connections_during_a_stop():
    before = [asked("a", "web1", 4.5, kept=True), asked("b", "web2", 4.6, kept=True), asked("c", "web2", 4.7)]
    leaves = asked("a", "web2", 6, kept=True, lost="the server hung up")
    stays = asked("b", "web2", 7, kept=True)
    assert all(verdict.kept for verdict in recorded(*before, leaves, stays).stopped("web1", 5, 8))
    breaks = asked("b", "web2", 7, kept=True, lost="the server hung up")
    assert [verdict.kept for verdict in recorded(*before, leaves, breaks).stopped("web1", 5, 8)] == [True, False]


def test_a_hang_costs_only_the_clients_of_that_server_and_only_what_they_began_before_it_was_noticed():
    before = [asked("a", "web1", 4.5), asked("b", "web2", 4.6), asked("c", "web2", 4.7, kept=True)]
    during = [
        failed("a", 7, began=5.2),
        asked("a", "web2", 7.1),
        asked("b", "web2", 7.5),
        asked("c", "web2", 7.6, kept=True),
    ]
    after = [asked("a", "web1", 12), asked("b", "web2", 12), asked("c", "web2", 12)]
    verdicts = recorded(*before, *during, *after).hung("web1", 5, steady=11, end=13)
    assert [verdict.kept for verdict in verdicts] == [True] * 4
    assert verdicts[1].promise == f"the 1 clients of web1 are served by others within {RESCUED_WITHIN:g} s"
    for worse, broken in (
        (failed("b", 8), 0),
        (asked("c", "web2", 8, kept=True, lost="the connection was reset"), 0),
        (failed("a", 9.5, began=7.6), 2),
    ):
        verdicts = recorded(*before, *during, worse, *after).hung("web1", 5, steady=11, end=13)
        assert not verdicts[broken].kept
    verdicts = recorded(*before, *during[2:], *after).hung("web1", 5, steady=11, end=13)
    assert not verdicts[1].kept, "a was served by web1 alone"


def test_during_a_drain_only_what_began_in_it_counts_as_new():
    late = asked("a", "web1", 3.1, began=2.9)
    during = [late, asked("b", "web2", 4), asked("b", "web1", 4, kept=True)]
    after = asked("a", "web1", 6)
    verdicts = recorded(*during, after).drained("web1", 1, drained=3, resumed=5, end=7)
    assert [verdict.kept for verdict in verdicts] == [True, True, True]
    assert verdicts[1].found == "0 of 1 do; 1 clients go on over the one that they keep"
