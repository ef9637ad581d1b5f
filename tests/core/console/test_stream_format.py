"""Server-sent events, and the id by which a client goes on."""

from hypothesis import given
from hypothesis import strategies as st

from hcsidecar.core.console.stream_format import message, read_id, write_id

NAMES = st.text(alphabet="abcXYZ019._-", min_size=1, max_size=20)


@given(places=st.dictionaries(NAMES, st.integers(0, 10**15), max_size=64))
def test_an_id_is_read_as_it_was_written(places):
    assert read_id(write_id(places)) == places


@given(text=st.text(max_size=200))
def test_whatever_a_client_names_is_read_without_harm(text):
    assert all(isinstance(place, int) for place in read_id(text).values())


def test_an_id_that_is_too_long_says_nothing():
    assert read_id("web1=1," * 2000) == {}


@given(text=st.text(max_size=50).filter(lambda text: "\r" not in text))
def test_a_message_comes_as_it_was_sent_however_many_lines_it_has(text):
    lines = message("event", text.encode(), {"web1": 7}).decode().split("\n")
    assert lines[:2] == ["event: event", "id: web1=7"]
    assert lines[-2:] == ["", ""]
    assert all(line.startswith("data: ") for line in lines[2:-2])
    assert "\n".join(line.removeprefix("data: ") for line in lines[2:-2]) == text


def test_a_message_without_a_place_has_no_id():
    assert message("farm", b"{}") == b"event: farm\ndata: {}\n\n"
