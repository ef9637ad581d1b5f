"""The judgement of the demo: figures from requests, and promises from figures."""

from math import inf

import pytest

from hcsidecar.demo.judge import (
    NOTICED_WITHIN,
    REMEMBERED,
    Request,
    RequestLog,
    all_take_part,
    fails_only_if_begun_in_time,
    fails_only_until_noticed,
    in_time,
    no_request_fails,
    said_in_order,
    summarise,
)

NAMES = ["web1", "web2", "web3"]


def good(ended, server="web1", took=0.01):
    return Request(began=ended - took, ended=ended, server=server, complaint=None)


def bad(ended, complaint="503 Service Unavailable"):
    return Request(began=ended - 0.01, ended=ended, server=None, complaint=complaint)


def recorded(*requests):
    record = RequestLog(since=0)
    for request in requests:
        record.add(request)
    return record


def test_a_summary_counts_by_server_and_by_complaint():
    requests = [good(1), good(2, "web2"), bad(3), good(4, "web2"), bad(5, "no answer in 2 s"), bad(6)]
    summary = summarise(requests, begin=0, end=7)
    assert (summary.requests, summary.failed, summary.seconds) == (6, 3, 7)
    assert summary.by_server == {"web1": 1, "web2": 2}
    assert summary.complaints == {"503 Service Unavailable": 2, "no answer in 2 s": 1}


@pytest.mark.parametrize(
    ("requests", "gap"),
    [
        ([], 10),
        ([good(4)], 6),
        ([good(6)], 6),
        ([good(1), good(9)], 8),
        ([good(2), bad(5), good(8)], 6),
        ([good(moment) for moment in range(11)], 1),
    ],
)
def test_the_longest_gap_is_the_longest_time_without_a_good_answer(requests, gap):
    assert summarise(requests, begin=0, end=10).longest_gap == gap


def test_latencies_are_those_of_good_answers():
    requests = [good(1, took=0.001), good(2, took=0.002), good(3, took=0.009), bad(4)]
    summary = summarise(requests, begin=0, end=4)
    assert summary.median_latency == pytest.approx(0.002)
    assert summary.worst_latency == pytest.approx(0.009)
    assert summarise([bad(1)], begin=0, end=1).median_latency is None


def test_a_request_belongs_to_the_time_when_it_ended():
    record = recorded(good(1), good(2), good(3), bad(4), good(5))
    assert [request.ended for request in record.between(2, 4)] == [2, 3, 4]
    assert record.between(6, 9) == ()


def test_a_record_tells_when_a_server_served_again():
    record = recorded(good(1, "web2"), Request(began=1.9, ended=2.1, server="web2", complaint=None), good(3, "web2"))
    assert record.first_good("web2", since=2) == 3, "the one before was asked for earlier"
    assert record.first_good("web3", since=0) is None


def test_a_records_gap_includes_the_present():
    record = recorded(good(1), bad(2), good(4), bad(5))
    assert record.longest_gap(now=5) == 3
    assert record.longest_gap(now=9) == 5


def test_a_record_forgets_old_requests_and_counts_them_still():
    record = recorded(*(good(number) for number in range(REMEMBERED + 5)))
    assert record.total == REMEMBERED + 5
    assert len(record.between(-inf, inf)) == REMEMBERED


@pytest.mark.parametrize(
    ("requests", "kept", "found"),
    [
        ([good(1), good(2)], True, "0 of 2 failed"),
        ([good(1), bad(2)], False, "1 of 2 failed"),
        ([], False, "there was no request"),
    ],
)
def test_a_planned_change_costs_no_request(requests, kept, found):
    verdict = no_request_fails(requests)
    assert (verdict.kept, verdict.found) == (kept, found)


@pytest.mark.parametrize(
    ("counts", "kept"),
    [((40, 40, 40), True), ((60, 40, 20), True), ((60, 41, 19), False), ((60, 60, 0), False), ((0, 0, 0), False)],
)
def test_every_server_takes_part_with_half_of_an_equal_share(counts, kept):
    requests = [good(1, name) for name, count in zip(NAMES, counts, strict=True) for _ in range(count)]
    assert all_take_part(requests, NAMES).kept is kept


@pytest.mark.parametrize(
    ("requests", "kept"),
    [
        ([good(1), good(1 + NOTICED_WITHIN + 0.1)], True),
        ([bad(1.2), bad(1 + NOTICED_WITHIN - 0.01), good(1 + NOTICED_WITHIN + 0.1)], True),
        ([bad(1.2), bad(1 + NOTICED_WITHIN + 0.01), good(1 + NOTICED_WITHIN + 0.1)], False),
        ([good(1.1)], False),
        ([], False),
    ],
)
def test_after_a_death_requests_fail_only_until_haproxy_has_noticed(requests, kept):
    assert fails_only_until_noticed(requests, death=1).kept is kept


def test_the_verdict_on_a_death_tells_how_long_it_hurt():
    verdict = fails_only_until_noticed([bad(1.2), bad(1.9), good(9)], death=1)
    assert verdict.found == "2 failed, the last 0.9 s after the kill; 1 good ones after that time"


@pytest.mark.parametrize(
    ("requests", "kept"),
    [
        ([good(4)], True),
        ([bad(2.9), bad(3.01), good(4)], True),
        ([bad(3.02), good(4)], False),
        ([bad(2)], False),
        ([good(3)], False),
        ([], False),
    ],
)
def test_a_hang_costs_only_requests_that_begin_before_it_is_noticed(requests, kept):
    assert fails_only_if_begun_in_time(requests, hang=1, limit=2).kept is kept


def test_the_verdict_on_a_hang_tells_when_the_last_that_failed_began():
    lost = Request(began=1.5, ended=3.5, server=None, complaint="no answer in 2 s")
    verdict = fails_only_if_begun_in_time([lost, good(9)], hang=1, limit=2, way="through the VIP")
    assert verdict.promise == "only requests fail through the VIP that begin within 2 s"
    assert verdict.found == "1 failed, the last begun after 0.5 s; 1 good ones begun after that time"
    verdict = fails_only_if_begun_in_time([good(9)], hang=1, limit=2)
    assert verdict.promise == "only requests fail that begin within 2 s"
    assert verdict.found == "none failed; 1 good ones begun after that time"


@pytest.mark.parametrize(("took", "kept"), [(0.0, True), (1.0, True), (1.1, False), (None, False)])
def test_what_must_happen_has_its_time(took, kept):
    verdict = in_time("web3 serves again", took, limit=1)
    assert verdict.kept is kept
    assert verdict.promise == "web3 serves again within 1 s"


@pytest.mark.parametrize(
    ("lines", "kept", "found"),
    [
        (["a 404", "x", "stopping"], True, "a 404\nstopping"),
        (["stopping", "a 404"], False, "no line with: stopping"),
        (["x"], False, "no line with: 404"),
    ],
)
def test_a_log_has_to_say_it_in_order(lines, kept, found):
    verdict = said_in_order("the log shows it", lines, words=("404", "stopping"))
    assert (verdict.kept, verdict.found) == (kept, found)
