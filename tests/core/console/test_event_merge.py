"""The events of all nodes in one list, page after page."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcsidecar.core.console.event_merge import CursorError, in_order, merged, read_cursor, write_cursor
from hcsidecar.core.documents import Entry, EventPage
from hcsidecar.core.events import Level


def entry(node, number, *, origin="test"):
    return Entry(number=number, time=float(number), node=node, level=Level.INFO, origin=origin, message=f"{number}")


def page(node, entries, *, before=None, count=2):
    """Give the page that a node's journal has."""
    older = [each for each in entries if before is None or each.number < before]
    shown = older[max(0, len(older) - count) :]
    previous = shown[0].number if len(older) > len(shown) else 0
    return EventPage(node=node, missed=0, next=0, previous=previous, events=tuple(shown))


def all_pages(journals, *, last, count, origin=""):
    """Ask page after page; give all that was shown, the newest page first."""
    cursor, found = {}, []
    for _ in range(500):
        pages = {
            node: page(node, entries, before=cursor.get(node), count=count)
            for node, entries in journals.items()
            if cursor.get(node) != 0
        }
        answer = merged(pages, cursor=cursor, last=last, origin=origin, problems={})
        found.append(list(answer.events))
        if not answer.before:
            return found
        cursor = read_cursor(answer.before)
    raise AssertionError("it does not end")


@given(
    places=st.lists(st.sampled_from(["web1", "web2", "web3"]), max_size=40),
    last=st.integers(1, 7),
    count=st.integers(1, 5),
)
def test_every_event_is_shown_once_and_in_the_order_of_time(places, last, count):
    journals = {
        node: [entry(node, number) for number, where in enumerate(places, start=1) if where == node]
        for node in ("web1", "web2", "web3")
    }
    shown = all_pages(journals, last=last, count=count)
    assert [each.number for page in reversed(shown) for each in page] == list(range(1, len(places) + 1))
    assert all(len(page) <= last for page in shown)


def test_only_one_origin_is_shown_and_the_others_are_passed_over():
    journals = {"web1": [entry("web1", number, origin="ab"[number % 2]) for number in range(1, 9)]}
    shown = all_pages(journals, last=2, count=3, origin="a")
    assert [each.number for page in reversed(shown) for each in page] == [2, 4, 6, 8]


def test_a_node_that_has_not_answered_is_told_and_keeps_its_place():
    answer = merged(
        {"web1": page("web1", [entry("web1", 1)])}, cursor={"web2": 7}, last=5, problems={"web2": "no answer"}
    )
    assert answer.problems == {"web2": "no answer"}
    assert read_cursor(answer.before) == {"web1": 0, "web2": 7}


def test_a_store_that_cannot_be_read_is_told():
    lacking = EventPage(node="web1", missed=0, next=0, lacking="the disk is full", events=())
    answer = merged({"web1": lacking}, cursor={}, last=5, problems={})
    assert (answer.problems, answer.before) == ({"web1": "the disk is full"}, "")


@pytest.mark.parametrize(
    "text", ["web1", "web1:", "web1:x", "web1:1,", ":1", "web1:1;web2:2", "web 1:1", "w:" + "9" * 17]
)
def test_what_is_no_cursor_is_refused(text):
    with pytest.raises(CursorError):
        read_cursor(text)


def test_a_cursor_is_read_as_it_was_written():
    assert read_cursor(write_cursor({"web2": 5, "web1": 0})) == {"web1": 0, "web2": 5}
    assert read_cursor("") == {}


def test_events_of_one_moment_have_an_order_too():
    assert [each.number for each in in_order([entry("web2", 2), entry("web1", 1)])] == [1, 2]
