"""What an acknowledgement proves about the time."""

from math import inf

from hcsidecar.core.membership.send_times import SendTimes


def test_the_time_of_each_heartbeat_to_all_is_known_until_there_are_very_many():
    times = SendTimes(distance=0.01)
    for seq in range(10_000):
        times.add(seq, now=seq / 100, to_all=True)
    assert times.sent_at(9999) == 99.99
    assert times.sent_at(9000) == 90.0
    assert times.sent_at(5) == -inf


def test_an_answer_just_after_another_word_counts_as_said_with_that():
    times = SendTimes(distance=0.01)
    times.add(1, now=1.0, to_all=True)
    times.add(2, now=1.009, to_all=False)
    times.add(3, now=1.011, to_all=False)
    times.add(4, now=1.012, to_all=True)
    assert [times.sent_at(seq) for seq in (1, 2, 3, 4)] == [1.0, 1.0, 1.011, 1.012]


def test_thousands_of_answers_a_second_forget_no_word_of_the_last_minute():
    times = SendTimes(distance=0.125)
    for seq in range(100_000):
        times.add(seq, now=seq / 2000, to_all=False)
    assert times.sent_at(20_000) > 9.8
    assert times.sent_at(0) == 0.0
