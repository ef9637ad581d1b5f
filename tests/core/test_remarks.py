import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hcsidecar
from hcsidecar.core.events import Level
from hcsidecar.core.remarks import LONGEST_ORIGIN, OURS, remark, why_not_origin


def test_a_remark_says_who_made_it():
    made = remark(Level.WARNING, "the disk is replaced", origin="operator", by="root@web2")
    assert (made.level, made.origin, made.message) == (Level.WARNING, "operator", "the disk is replaced (root@web2)")


@given(st.text(min_size=1, max_size=3000), st.text(max_size=130))
def test_who_made_it_is_there_however_long_the_text_is(text, by):
    message = remark(Level.INFO, text, origin="script", by=by).message
    assert len(message) <= max(1000, len(text))
    assert len(message) <= 1000
    assert message.endswith(f" ({by})")


def origins_of_events():
    """Give every origin of an event that stands in the code as a string."""
    for path in sorted(Path(hcsidecar.__file__).parent.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "Event":
                origins = [each.value for each in call.keywords if each.arg == "origin"]
                yield from (each.value for each in origins if isinstance(each, ast.Constant))


def test_the_origins_of_our_events_are_those_that_nobody_else_may_use():
    said = set(origins_of_events())
    assert {"membership", "application", "daemon", "layer 2"} <= said <= OURS
    assert OURS - said == {"health", "module"}


@pytest.mark.parametrize("name", ["membership", "MEMBERSHIP", "mem-ber.ship", "Layer-2", "layer2", "daemon."])
def test_an_origin_of_ours_is_refused_however_it_is_written(name):
    assert why_not_origin(name) == "is an origin of hcsidecar's own events: take another name"


@pytest.mark.parametrize("name", ["", " ", "a ", " a", "a  b", "a:b", "a\nb", "\u00e4", "m\u0435mbership", "x" * 33])
def test_an_origin_that_is_no_plain_name_is_refused(name):
    assert why_not_origin(name).startswith(f"is no name of at most {LONGEST_ORIGIN} characters")


@pytest.mark.parametrize("name", ["operator", "script", "backup", "web-check", "Nightly Backup", "root@db1", "x" * 32])
def test_every_other_name_may_be_used(name):
    assert why_not_origin(name) is None
