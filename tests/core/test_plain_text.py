"""Text from afar made fit for a line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcsidecar.core.plain_text import escaped, on_one_line, said_of, shortened


@pytest.mark.parametrize(("text", "short"), [("", ""), ("abcd", "abcd"), ("abcde", "abc…"), ("abcdefgh", "abc…")])
def test_what_is_too_long_is_cut_and_ends_in_an_ellipsis(text, short):
    assert shortened(text, 4) == short


def test_what_is_not_printable_is_escaped_but_for_what_may_stay():
    assert escaped("a\tb\x1b[1m\nü") == "a\\tb\\x1b[1m\\nü"
    assert escaped("a\tb\n", beside="\t") == "a\tb\\n"


def test_a_text_on_one_line_has_single_blanks():
    assert on_one_line("  no\x00server \n\n by that name\t") == "no server by that name"


@given(st.text())
def test_neither_steers_a_terminal(text):
    assert escaped(text).isprintable()
    assert on_one_line(text).isprintable()


@pytest.mark.parametrize(
    ("sentence", "told"),
    [
        ("farm.toml cannot be written", "web3: farm.toml cannot be written"),
        ("web3 at 192.0.2.13:9010 does not answer", "web3 at 192.0.2.13:9010 does not answer"),
        ("web31 does not answer", "web3: web31 does not answer"),
    ],
)
def test_a_node_is_named_once_in_what_is_said_of_it(sentence, told):
    assert said_of("web3", sentence) == told
