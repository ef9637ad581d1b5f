from contextlib import suppress

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from hcsidecar.core.farmfile.patterns import why_too_costly


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param("(?:" * 20 + "a" + "){1,9}" * 20, id="20 nested repeats"),
        pytest.param("(?:" * 30 + "a" + ")+" * 30, id="30 nested pluses"),
        pytest.param("(?:" * 8 + "a" + "){1000}" * 8, id="nested counts"),
        pytest.param("a{1000000}", id="one great count"),
        pytest.param("a{99999999999999999999}", id="a count of many digits"),
        pytest.param("((a|b){500}c){500,}", id="a repeat of a repeat"),
        pytest.param("(" * 51 + ")" * 51, id="51 groups in each other"),
        pytest.param("(" * 100_000, id="groups that never end"),
        pytest.param("ab" * 6_000, id="12,000 characters"),
    ],
)
def test_an_expression_that_would_take_the_machines_memory_to_compile_is_too_costly(pattern):
    assert why_too_costly(pattern) is not None


@pytest.mark.parametrize(
    "pattern",
    [
        "workers: [1-9]",
        r"^(\d{1,3}\.){3}\d{1,3}$",
        r"[(+]{5}\(\{(?P<name>[]+*?{9999999}]+)",
        "(?:" * 40 + "a" + ")*" * 40,
        "a{,}{}{x}",
        "wrong)",
    ],
)
def test_what_people_write_is_not(pattern):
    assert why_too_costly(pattern) is None


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet="ab()[]{}0129,+*?|\\^", max_size=40))
def test_what_is_not_too_costly_is_compiled_or_refused_by_the_package(pattern):
    if why_too_costly(pattern) is None:
        with suppress(regex.error):
            regex.compile(pattern)
