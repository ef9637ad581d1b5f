import msgspec
import pytest

from hcsidecar.core.events import Level
from hcsidecar.core.notify.documents import HandOverAnswer, Notification
from hcsidecar.core.notify.outbox import MOST_HELD, MOST_TOLD, Outbox

ABLE = HandOverAnswer()


def outbox(me="web1", *, others=(), group=60.0, life=1):
    made = Outbox(receiver="chat", kind="webhook", me=me, life=life, group=group, lost_after=0.5)
    made.see_others(others, now=0)
    return made


def add(box, text="error", *, node=None, change="", now=0.0):
    box.add(level=Level.ERROR, node=node or box.me, text=text, time=1e9 + now, change=change, now=now)


def texts(message):
    return None if message is None else [each.text for each in message.told]


def hand_over(giver, taker, *, now):
    """Carry every hand-over from one outbox to another, and the answer back; give the texts that were handed."""
    handed = []
    for each in giver.hand_overs(now=now):
        if each.to == taker.me:
            handed += [what.text for what in each.held]
            giver.answered(taker.me, taker.take(each.held, each.done, now=now), now=now)
        else:
            giver.unanswered(each.to, now=now)
    return handed


def said(box):
    events = [event.message for event in box.events]
    box.events.clear()
    return events


def test_notifications_are_gathered_from_the_first_on():
    box = outbox()
    add(box, "one", now=10)
    add(box, "two", now=40)
    assert box.due(now=69.9) is None
    assert texts(box.due(now=70)) == ["one", "two"]
    box.sent(now=70.5)
    assert box.due(now=200) is None
    assert box.status(now=80.5).last_sent_age == 10


def test_what_comes_while_a_message_is_being_sent_is_in_the_next_one():
    box = outbox()
    add(box, "one")
    assert texts(box.due(now=60)) == ["one"]
    add(box, "two", now=61)
    assert box.due(now=122) is None
    box.sent(now=122)
    assert texts(box.due(now=122)) == ["two"]


def test_only_the_first_by_name_sends():
    first, second = outbox("web1", others=["web2"], group=0), outbox("web2", others=["web1"], group=0)
    add(second, "of web2")
    assert second.due(now=100) is None
    assert hand_over(second, first, now=1) == ["of web2"]
    assert texts(first.due(now=10)) == ["of web2"]
    first.sent(now=10)
    assert second.status(now=10).held == 1
    hand_over(second, first, now=11)
    assert second.status(now=11).held == 0
    assert second.hand_overs(now=100) == []


def test_a_node_waits_for_the_others_before_it_sends_as_the_first():
    box = outbox("web2", others=["web1"], group=0)
    add(box, now=1)
    box.see_others([], now=100)
    assert box.due(now=104.9) is None
    assert box.due(now=105) is not None


def test_the_second_sends_what_the_first_held_when_it_died_even_what_only_the_first_knew():
    first, second = outbox("web1", others=["web2"]), outbox("web2", others=["web1"])
    add(first, "of web1")
    assert hand_over(first, second, now=1) == ["of web1"]
    second.see_others([], now=20)
    add(second, "is dead", node="web1", change="dead", now=20)
    assert texts(second.due(now=60)) == ["of web1", "is dead"]


def test_a_third_node_hands_over_to_the_first_two():
    box = outbox("web3", others=["web1", "web2", "web4"])
    add(box)
    assert [each.to for each in box.hand_overs(now=0)] == ["web1", "web2"]
    assert box.hand_overs(now=0) == []


def test_a_node_asks_again_after_five_seconds_and_at_once_when_there_is_news():
    box, first = outbox("web2", others=["web1"]), outbox("web1", others=["web2"])
    add(box, "one", now=0)
    assert hand_over(box, first, now=0) == ["one"]
    assert hand_over(box, first, now=4.9) == []
    add(box, "two", now=4.9)
    assert hand_over(box, first, now=4.9) == ["one", "two"]
    assert hand_over(box, first, now=9.9) == ["one", "two"]
    assert first.status(now=10).held == 2


def test_the_death_of_a_node_is_told_once_whoever_notices_it():
    boxes = {name: outbox(name, others=[other for other in ("web1", "web2", "web3") if other != name]) for name in
             ("web1", "web2", "web3")}  # fmt: skip
    for box in boxes.values():
        add(box, "is dead", node="web4", change="dead", now=1)
    for name in ("web2", "web3"):
        for each in boxes[name].hand_overs(now=2):
            if each.to == "web1":
                answer = boxes["web1"].take(each.held, each.done, now=2)
                boxes[name].answered("web1", answer, now=2)
    assert texts(boxes["web1"].due(now=61)) == ["is dead"]
    boxes["web1"].sent(now=61)
    hand_over(boxes["web3"], boxes["web1"], now=62)
    assert boxes["web3"].status(now=62).held == 0


def test_one_that_notices_it_late_is_no_news_but_a_second_death_is():
    first, second = outbox("web1", others=["web2"], group=0), outbox("web2", others=["web1"], group=0)
    add(first, "is dead", node="web3", change="dead", now=10)
    assert first.due(now=10) is not None
    first.sent(now=10)
    add(second, "is dead", node="web3", change="dead", now=12)
    hand_over(second, first, now=13)
    assert first.due(now=14) is None
    assert first.status(now=14).held == 0
    add(first, "is dead", node="web3", change="dead", now=15)
    assert texts(first.due(now=15)) == ["is dead"]


def test_changes_that_are_far_apart_are_two():
    first, second = outbox("web1", others=["web2"], group=0), outbox("web2", others=["web1"], group=0)
    add(first, "is dead", node="web3", change="dead", now=0)
    add(second, "is dead", node="web3", change="dead", now=11)
    hand_over(second, first, now=12)
    assert len(first.due(now=12).told) == 2


def test_a_receiver_that_fails_is_tried_again_with_growing_pauses_and_told_once():
    box = outbox(group=0)
    add(box)
    pauses, now = [], 10.0
    for _ in range(7):
        assert box.due(now=now) is not None
        box.failed("connection refused", now=now)
        pauses.append(box.status(now=now).next_try)
        assert box.due(now=now + pauses[-1] - 0.1) is None
        now += pauses[-1]
    assert pauses == [10, 20, 40, 80, 160, 300, 300]
    assert box.status(now=now).error.text == "connection refused"
    assert said(box) == ["chat: cannot send notifications: connection refused: tries again, and keeps the last 200"]
    assert box.due(now=now) is not None
    box.sent(now=now)
    assert said(box) == ["chat: takes messages again after 7 attempts that failed"]
    assert box.status(now=now).error is None


def test_a_first_that_does_not_answer_is_passed_over_after_thirty_seconds():
    box = outbox("web2", others=["web1"], group=0)
    add(box, now=0)
    for second in range(0, 40, 5):
        for each in box.hand_overs(now=second):
            assert not box.status(now=second).sends or second > 30
            box.unanswered(each.to, now=second)
    assert box.due(now=36) is not None


def test_a_first_that_answers_in_time_is_not_passed_over():
    box, first = outbox("web2", others=["web1"], group=0), outbox("web1", others=["web2"], group=0)
    add(box, now=0)
    for each in box.hand_overs(now=0):
        box.unanswered(each.to, now=0)
    assert hand_over(box, first, now=29) == ["error"]
    assert box.due(now=100) is None


def test_the_second_sends_when_the_first_cannot_and_the_first_hears_of_it():
    first, second = outbox("web1", others=["web2"], group=0), outbox("web2", others=["web1"], group=0)
    add(first, now=0)
    now = 6.0
    while second.due(now=now) is None:
        assert now < 120
        if first.due(now=now) is not None:
            first.failed("no route", now=now)
        hand_over(first, second, now=now)
        hand_over(second, first, now=now)
        now += 1
    second.sent(now=now)
    now += 5
    hand_over(first, second, now=now)
    assert (first.status(now=now).held, second.status(now=now).held) == (0, 0)


def test_a_third_node_does_not_join_in_when_the_first_two_cannot_send():
    box = outbox("web3", others=["web1", "web2"], group=0)
    add(box)
    for second in range(0, 300, 5):
        for each in box.hand_overs(now=second):
            box.answered(each.to, HandOverAnswer(able=False), now=second)
        assert box.due(now=second) is None


def test_too_many_notifications_are_thrown_away_from_the_oldest_on_and_it_is_said():
    box = outbox(group=0)
    for number in range(MOST_HELD + 30):
        add(box, f"error {number}", now=number / 100)
    assert said(box) == ["chat: more than 200 notifications wait: the oldest are thrown away"]
    message = box.due(now=10)
    assert (message.thrown_away, message.omitted, len(message.told)) == (30, MOST_HELD - MOST_TOLD, MOST_TOLD)
    assert message.told[-1].text == "error 229"
    box.sent(now=10)
    assert (box.status(now=10).held, box.status(now=10).thrown_away) == (0, 30)
    add(box, now=20)
    assert box.due(now=20).thrown_away == 0


def test_what_was_thrown_away_is_not_taken_again():
    first, second = outbox("web1", others=["web2"]), outbox("web2", others=["web1"])
    add(second, "old", now=0)
    hand_over(second, first, now=0)
    for number in range(MOST_HELD):
        add(first, f"error {number}", now=1)
    hand_over(second, first, now=10)
    assert (first.status(now=10).held, first.status(now=10).thrown_away) == (MOST_HELD, 1)
    assert second.status(now=10).held == 0


def test_a_new_life_of_a_node_hides_nothing_of_the_former_one():
    first, second = outbox("web1", others=["web2"], group=0), outbox("web2", others=["web1"], group=0)
    add(first, "before")
    hand_over(first, second, now=0)
    reborn = outbox("web1", others=["web2"], group=0, life=2)
    add(reborn, "after", now=2)
    assert texts(reborn.due(now=7)) == ["after"]
    reborn.sent(now=7)
    assert hand_over(second, reborn, now=8) == ["before"]
    assert texts(reborn.due(now=8)) == ["before"]


def test_marks_are_bounded():
    box = outbox()
    box.take([], [(f"web{n % 64}", n, 1) for n in range(1000)], now=0)
    answer = box.take([], [], now=0)
    assert len(answer.done) == 128
    assert ("web39", 999, 1) in answer.done


def test_the_largest_hand_over_fits_into_a_request():
    box = outbox("w" * 63, others=["a" * 63])
    box.take([], [("n" * 60 + f"{n:03}", 2**53 - 1, 2**53 - 1) for n in range(200)], now=0)
    for _ in range(100):
        add(box, "\U0001f525" * 1000, node="n" * 63, change="heard", now=0)
    (due,) = box.hand_overs(now=1e6)
    assert len(msgspec.json.encode(due)) < 65536
    assert msgspec.json.decode(msgspec.json.encode(due.held), type=tuple[Notification, ...]) == due.held


@pytest.mark.parametrize("name", ["web1", "web9"])
def test_an_answer_of_a_node_that_is_not_heard_any_more_changes_nothing(name):
    box = outbox("web2", others=["web1"])
    add(box)
    box.hand_overs(now=0)
    box.see_others([], now=1)
    box.answered(name, ABLE, now=1)
    box.unanswered(name, now=1)
    assert box.status(now=1).sends


def test_an_old_word_of_what_was_sent_changes_nothing():
    box = outbox(others=("web0",))
    add(box, "one")
    add(box, "two")
    box.take((), [("web1", 1, 2)], now=1)
    assert box.take((), [("web1", 1, 1)], now=2).done == (("web1", 1, 2),)
