"""The last hour of a node: what is kept, for how long, and what setting a clock does to it."""

import pytest
from msgspec.structs import replace

from hcsidecar.core.node_samples import INTERVAL, SAMPLES, NodeSample, SampleRing

SAMPLE = NodeSample(ready=True, share={"WEB": 0.5}, health_answers=0, opened=0)
WALL = 1_795_395_600.0


def filled(*samples, since=1000.0, step=INTERVAL):
    """Give a ring with these samples, one each step, and the time of the last."""
    ring = SampleRing()
    for number, sample in enumerate(samples):
        ring.take(sample, now=since + number * step)
    return ring, since + (len(samples) - 1) * step


def told(ring, now, *, wall=WALL):
    return ring.series("web1", now=now, wall=wall)


def test_before_the_first_sample_the_hour_is_empty():
    series = told(SampleRing(), 1000.0)
    assert (series.node, series.ready, series.health, series.share, series.ends_at) == ("web1", (), (), {}, WALL)


def test_a_sample_is_due_once_in_ten_seconds():
    ring = SampleRing()
    assert ring.is_due(now=0.0)
    ring.take(SAMPLE, now=1000.5)
    assert not ring.is_due(now=1009.9)
    assert ring.is_due(now=1010.0)


def test_shares_are_told_in_percent_and_ready_as_a_number():
    ring, now = filled(SAMPLE, replace(SAMPLE, ready=False, share={"WEB": 1 / 3}))
    series = told(ring, now)
    assert (series.ready, series.share) == ((1, 0), {"WEB": (50.0, 33.33)})


def test_counters_are_told_as_rates_since_the_sample_before():
    ring, now = filled(
        SAMPLE, replace(SAMPLE, health_answers=5, opened=100), replace(SAMPLE, health_answers=5, opened=101)
    )
    series = told(ring, now)
    assert (series.health, series.connections) == ((None, 0.5, 0.0), (None, 10.0, 0.1))


def test_a_counter_that_begins_anew_tells_no_rate_and_goes_on_from_there():
    ring, now = filled(*(replace(SAMPLE, opened=count) for count in (50, 3, 13)))
    assert told(ring, now).connections == (None, None, 1.0)


def test_without_virtual_ips_there_are_neither_shares_nor_connections():
    ring, now = filled(*[replace(SAMPLE, share={}, opened=None)] * 2)
    series = told(ring, now)
    assert (series.share, series.connections, series.ready) == ({}, None, (1, 1))


def test_after_an_hour_the_oldest_sample_makes_room():
    samples = [replace(SAMPLE, share={"WEB": number / 1000}) for number in range(SAMPLES + 2)]
    ring, now = filled(*samples)
    column = told(ring, now).share["WEB"]
    assert (len(column), column[0], column[-1]) == (SAMPLES, 0.2, 36.1)


@pytest.mark.parametrize(
    ("places", "empty"), [(3, 2), (SAMPLES - 1, SAMPLES - 2), (SAMPLES, SAMPLES - 1), (9999, SAMPLES - 1)]
)
def test_where_the_daemon_stood_still_the_hour_is_empty_and_holds_nothing_older_than_an_hour(places, empty):
    ring, now = filled(*[SAMPLE] * (SAMPLES + 5))
    ring.take(replace(SAMPLE, ready=False), now=now + places * INTERVAL)
    ready = told(ring, now + places * INTERVAL).ready
    assert (len(ready), ready.count(None), ready[-1]) == (SAMPLES, empty, 0)
    assert set(ready[: SAMPLES - 1 - empty]) <= {1}


def test_a_rate_after_a_gap_is_that_of_the_whole_gap():
    ring, _ = filled(SAMPLE)
    ring.take(replace(SAMPLE, health_answers=30), now=1030.0)
    assert told(ring, 1030.0).health == (None, None, None, 1.0)


def test_a_wall_clock_that_is_set_moves_the_hour_and_loses_nothing():
    ring, now = filled(SAMPLE, SAMPLE)
    before, after = told(ring, now + 4, wall=WALL), told(ring, now + 4, wall=WALL - 86_400)
    assert before.ends_at == WALL - 4
    assert after.ends_at == WALL - 4 - 86_400
    assert (before.ready, before.share) == (after.ready, after.share)


def test_a_share_that_is_new_has_no_past_and_one_that_is_gone_takes_its_past_along():
    ring, now = filled(SAMPLE, replace(SAMPLE, share={"DNS": 0.25}))
    assert told(ring, now).share == {"DNS": (None, 25.0)}
