"""Which events the Events page shows."""

import pytest

from hcsidecar.core.console.event_filter import EventFilter, split_runs
from hcsidecar.core.documents import Entry
from hcsidecar.core.events import Level

ENTRY = Entry(
    number=1, time=1_700_000_000.0, node="web1", level=Level.WARNING, origin="application", message="HTTPD is gone"
)


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        ({}, True),
        ({"node": "web1"}, True),
        ({"node": "web2"}, False),
        ({"level": Level.ERROR}, False),
        ({"level": Level.WARNING}, True),
        ({"origin": "application"}, True),
        ({"origin": "app"}, False),
        ({"text": "httpd"}, True),
        ({"text": "APPLICATION: httpd is"}, True),
        ({"text": "nginx"}, False),
        ({"since": "2023-11-14T22:13"}, True),
        ({"since": "2023-11-14T22:14"}, False),
        ({"until": "2023-11-14T22:13"}, True),
        ({"until": "2023-11-14T22:12"}, False),
        ({"until": "2023-11-14T22:13:20"}, True),
        ({"until": "2023-11-14T22:12:59"}, False),
        ({"since": "1900-01-01T00:00"}, True),
        ({"since": "2023-02-30T00:00"}, True),
    ],
)
def test_an_event_passes_what_it_fits(wanted, taken):
    assert EventFilter(**wanted).takes(ENTRY) is taken


def test_no_moment_is_before_1970():
    assert EventFilter(since="1900-01-01T00:00").begins_at == 0


def test_what_comes_now_is_shown_unless_the_filter_has_an_end():
    assert EventFilter().is_open
    assert not EventFilter(until="2026-12-01T00:00").is_open


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        ("", []),
        ("no run", [("no run", False)]),
        ("20261128T034001.123Z_stop_force", [("20261128T034001.123Z_stop_force", True)]),
        (
            "see 20261128T034001.123Z_start, it failed",
            [("see ", False), ("20261128T034001.123Z_start", True), (", it failed", False)],
        ),
    ],
)
def test_the_names_of_runs_are_found_in_a_message(message, parts):
    assert split_runs(message) == parts
