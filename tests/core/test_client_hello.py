"""The name that a client of TLS asks for, in messages that OpenSSL has made and in any others."""

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcsidecar.core.client_hello import INCOMPLETE, LONGEST_HELLO, server_name


def first_bytes(name):
    """Give what a client sends first; without a name it does not ask for one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = name is not None
    sent = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name).do_handshake()
    return sent.read()


HELLO = first_bytes("web1.example")


def records(message, size):
    """Give a message in records of a size."""
    parts = [message[place : place + size] for place in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2) + part for part in parts)


def hello(extensions):
    """Give a first message with what stands in the place of its extensions."""
    body = b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00" + extensions
    return records(b"\x01" + len(body).to_bytes(3) + body, 4096)


def test_the_name_is_read_when_the_message_is_whole():
    assert server_name(HELLO) == "web1.example"
    assert {server_name(HELLO[:size]) for size in range(len(HELLO))} == {INCOMPLETE}


@pytest.mark.parametrize("size", [1, 3, 100])
def test_the_message_may_be_in_many_records(size):
    assert server_name(records(HELLO[5:], size)) == "web1.example"


@pytest.mark.parametrize(
    "received",
    [
        first_bytes(None),
        hello(b""),
        hello(b"\x00\x00"),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x00\x00",
        records(b"\x02\x00\x00\x00", 4),
        records(b"\x01\x00\x00\x05hello", 100),
        hello(b"\x00\x06\x00\x00\x00\x02\x00\x00"),
        hello(b"\x00\x08\x00\x00\x00\x04\x00\x02\x07\x00"),
        b"\x16\x03\x01\xff\xff" + bytes(LONGEST_HELLO),
    ],
)
def test_a_client_that_asks_for_no_name_or_speaks_no_tls_has_none(received):
    assert server_name(received) is None


def test_a_name_that_is_not_ascii_is_a_name_of_nobody():
    name = b"\x00\x00\x04web\xff"
    entry = (len(name)).to_bytes(2) + name
    extension = b"\x00\x00" + len(entry).to_bytes(2) + entry
    assert server_name(hello(len(extension).to_bytes(2) + extension)) == "web\ufffd"


@given(st.integers(0, len(HELLO) - 1), st.integers(0, 255), st.binary(max_size=40))
def test_no_bytes_raise_an_error(place, byte, more):
    server_name(HELLO[:place] + bytes([byte]) + more + HELLO[place + 1 :])
    server_name(more)
