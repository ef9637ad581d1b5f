import pytest
from hypothesis import given
from hypothesis import strategies as st
from probes import V1_TCP4, V2_LOCAL, V2_TCP4_WITH_AWS_TLV

from hcsidecar.web.proxy_protocol import prefix_length
from hcsidecar.web.refusals import ConnectionRefusal

V1_LONGEST = b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535".ljust(105, b" ") + b"\r\n"
PREFIXES = [
    V2_LOCAL,
    V2_TCP4_WITH_AWS_TLV,
    b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x24" + bytes(36),
    b"\r\n\r\n\0\r\nQUIT\n\x21\x00\x1f\xf0" + bytes(8176),
    V1_TCP4,
    b"PROXY TCP6 2001:db8::1 2001:db8::2 40000 9010\r\n",
    b"PROXY UNKNOWN\r\n",
    V1_LONGEST,
]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("rest", [b"", b"GET /health HTTP/1.0\r\n\r\n", b"\x16\x03\x01", b"\r\n"])
def test_a_prefix_is_exactly_as_long_as_it_is(prefix, rest):
    assert prefix_length(prefix + rest) == len(prefix)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_part_of_a_prefix_is_waited_for(prefix):
    assert {prefix_length(prefix[:size]) for size in range(len(prefix))} == {None}


@pytest.mark.parametrize(
    "begin",
    [
        b"G",
        b"GET /health HTTP/1.0\r\n\r\n",
        b"POST / HTTP/1.1\r\n",
        b"PROPFIND /",
        b"\r\nGET",
        b"\x16\x03\x01",
        b"\0",
        b"\n",
    ],
)
def test_what_begins_otherwise_has_no_prefix(begin):
    assert prefix_length(begin) == 0


@pytest.mark.parametrize(
    "bad",
    [
        b"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY \r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
        b"PROXY TCP4 \x00\r\n",
        b"PROXY TCP4 ".ljust(107, b"x"),
        b"PROXY TCP4 ".ljust(106, b"x") + b"\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x11\x11\x00\x0c",
        b"\r\n\r\n\0\r\nQUIT\n\x22\x11\x00\x0c",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
    ],
)
def test_a_bad_prefix_is_refused(bad):
    assert prefix_length(bad) is ConnectionRefusal.PROXY_PREFIX


@given(
    st.one_of(st.binary(), st.binary().map(lambda rest: V2_LOCAL[:12] + rest), st.binary().map(lambda b: b"PROXY " + b))
)
def test_no_bytes_are_too_odd(data):
    length = prefix_length(data)
    assert length is None or isinstance(length, ConnectionRefusal) or 0 <= length <= len(data)
