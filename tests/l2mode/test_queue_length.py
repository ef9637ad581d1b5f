"""A queue is as long as its judge is fast."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2mode.core.queue_length import QueueLength


@pytest.mark.parametrize(
    ("seconds_for_each", "packets"),
    [(1e-5, 1024), (15e-6, 1024), (1e-4, 500), (1e-3, 50), (5e-3, 10), (1.0, 8)],
)
def test_it_takes_a_twentieth_of_a_second_to_judge_a_full_queue(seconds_for_each, packets):
    queue = QueueLength()
    assert queue.worked(50, 50 * seconds_for_each)
    assert queue.packets == packets


def test_a_small_change_of_speed_is_no_news():
    queue = QueueLength()
    assert queue.worked(100, 0.1)
    assert not queue.worked(20, 0.01)
    assert queue.packets == 50


def test_one_pause_is_no_new_speed_and_two_seconds_of_work_are():
    queue = QueueLength()
    for _ in range(100):
        queue.worked(64, 0.0064)
    assert queue.packets == 500
    queue.worked(1, 0.02)
    assert queue.packets == 500
    for _ in range(100):
        queue.worked(10, 0.02)
    assert queue.packets in range(22, 32)


@given(st.lists(st.tuples(st.integers(1, 64), st.floats(0, 10)), max_size=50))
def test_it_is_never_too_short_for_a_burst_nor_longer_than_the_socket_has_room_for(works):
    queue = QueueLength()
    for packets, seconds in works:
        before = queue.packets
        assert queue.worked(packets, seconds) == (queue.packets != before)
        assert queue.packets in range(8, 1025)
