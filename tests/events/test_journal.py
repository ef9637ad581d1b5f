"""The journal: bounded, numbered, and fair to slow followers."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcsidecar.core.events import Event, Level
from hcsidecar.events.journal import LONGEST, PAGE, EventQuery, Journal, one_line


def event(message, level=Level.INFO):
    return Event(level=level, origin="membership", message=message)


def journal(size=2000, at=1000.0, log=lambda entry: None):
    return Journal(node="web1", log=log, clock=lambda: at, size=size)


def newest(held, count, **wanted):
    return asyncio.run(held.page_before(count=count, wanted=EventQuery(**wanted)))


def messages(page):
    return [entry.message for entry in page.events]


def test_entries_carry_number_time_and_node_and_go_to_the_log():
    logged = []
    written = journal(at=1000.5, log=logged.append).write(event("web2 lost"))
    assert (written.number, written.time, written.node) == (1000500, 1000.5, "web1")
    assert (written.level, written.origin, written.message) == (Level.INFO, "membership", "web2 lost")
    assert logged == [written]


def test_a_follower_gets_each_entry_once_and_in_order():
    held = journal()
    held.write(event("one"))
    page = held.after(0)
    held.write(event("two"))
    held.write(event("three"))
    assert messages(page) == ["one"]
    assert messages(held.after(page.next)) == ["two", "three"]
    assert messages(held.after(held.after(page.next).next)) == []


def test_a_slow_follower_is_told_how_many_it_missed():
    held = journal(size=3)
    first = held.write(event("0")).number
    for n in range(1, 8):
        held.write(event(str(n)))
    page = held.after(first)
    assert page.missed == 4
    assert messages(page) == ["5", "6", "7"]
    assert held.after(page.next).missed == 0


def test_who_asks_from_the_start_has_missed_nothing():
    held = journal(size=2)
    for n in range(5):
        held.write(event(str(n)))
    assert held.after(0).missed == 0
    assert messages(held.after(0)) == ["3", "4"]


@pytest.mark.parametrize("number", [5, 999_999_999])
def test_a_number_from_another_life_of_the_daemon_gets_everything_of_this_one(number):
    held = journal(size=2)
    for n in range(3):
        held.write(event(str(n)))
    page = held.after(number)
    assert messages(page) == ["1", "2"]
    assert page.missed == 1


def test_numbers_grow_over_a_restart():
    before = journal(at=1000.0)
    for n in range(50):
        last = before.write(event(str(n)))
    assert journal(at=1001.0).write(event("again")).number > last.number


def test_the_level_leaves_out_but_is_passed_over():
    held = journal()
    held.write(event("quiet", Level.DEBUG))
    held.write(event("loud", Level.ERROR))
    held.write(event("quiet again", Level.DEBUG))
    page = held.after(0, wanted=EventQuery(level=Level.WARNING))
    assert messages(page) == ["loud"]
    assert page.next == held.last
    assert messages(newest(held, 5, level=Level.WARNING)) == ["loud"]


def test_a_page_has_a_limit_and_the_next_goes_on_there():
    held = journal()
    for n in range(PAGE + 3):
        held.write(event(str(n)))
    first = held.after(0)
    assert len(first.events) == PAGE
    assert messages(held.after(first.next)) == [str(PAGE), str(PAGE + 1), str(PAGE + 2)]


def test_the_tail_is_the_newest_and_following_goes_on_from_it():
    held = journal()
    for n in range(5):
        held.write(event(str(n)))
    page = newest(held, 2)
    assert messages(page) == ["3", "4"]
    held.write(event("5"))
    assert messages(held.after(page.next)) == ["5"]
    assert len(newest(held, 10 * PAGE).events) == 6


def test_waiting_ends_with_the_next_entry():
    async def story():
        held = journal()
        last = held.write(event("one")).number
        waiting = asyncio.create_task(held.wait(last, limit=10))
        await asyncio.sleep(0)
        assert not waiting.done()
        held.write(event("two"))
        await asyncio.wait_for(waiting, 1)
        await asyncio.wait_for(held.wait(last, limit=10), 1)

    asyncio.run(story())


def test_waiting_ends_at_its_limit_and_when_the_journal_closes():
    async def story():
        held = journal()
        await asyncio.wait_for(held.wait(held.last, limit=0.001), 1)
        waiting = asyncio.create_task(held.wait(held.last, limit=10))
        await asyncio.sleep(0)
        held.close()
        await asyncio.wait_for(waiting, 1)
        assert held.closed
        await asyncio.wait_for(held.wait(held.last, limit=10), 1)

    asyncio.run(story())


def test_text_from_afar_forges_no_line_and_steers_no_terminal():
    assert one_line("a\nFAKE \x1b[2J\ud800 é") == "a\\nFAKE \\x1b[2J\\ud800 é"


@given(st.text(max_size=3 * LONGEST, alphabet=st.characters()) | st.text().map(lambda t: t * 300))
def test_a_message_is_always_one_bounded_printable_line(text):
    line = one_line(text)
    assert len(line) <= LONGEST
    assert line.isprintable()
    line.encode("utf-8")


@given(
    size=st.integers(1, 5),
    steps=st.lists(st.sampled_from(["write", "read"]), max_size=40),
    limit=st.integers(1, 3),
)
def test_every_entry_is_either_seen_once_or_counted_as_missed(size, steps, limit):
    held = journal(size=size)
    number = held.write(event("0")).number
    written, seen, missed = 0, [], 0
    for step in [*steps, *["read"] * 6]:
        if step == "write":
            written += 1
            held.write(event(str(written)))
        else:
            page = held.after(number, limit=limit)
            seen += [int(m) for m in messages(page)]
            missed += page.missed
            number = page.next
    assert len(seen) + missed == written
    assert seen == sorted(set(seen))
