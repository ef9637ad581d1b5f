import pytest
from hypothesis import given
from hypothesis import strategies as st
from probes import PROBES

from hcsidecar.core.health import Version
from hcsidecar.web.refusals import ConnectionRefusal
from hcsidecar.web.request_head import LONGEST_HEAD, RequestHead, read_head


def test_a_request_is_read():
    request = b"GET /health?x=1 HTTP/1.1\r\nHost: web1\r\nUser-Agent:\tGo-http-client/1.1 \r\n\r\nGET"
    assert read_head(request) == RequestHead(
        method="GET",
        path="/health",
        version=Version.HTTP_1_1,
        keep_alive=True,
        has_body=False,
        host=b"web1",
        agent=b"Go-http-client/1.1",
        size=len(request) - 3,
    )


def test_a_simple_request_ends_with_its_line():
    head = read_head(b"GET /health\r\nwhatever")
    assert head == RequestHead(method="GET", path="/health", version=Version.HTTP_0_9, size=13)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/health", "/health"),
        (b"/health?verbose", "/health"),
        (b"/health#top", "/health"),
        (b"http://192.0.2.11:9010/health?a=b", "/health"),
        (b"HTTPS://[2001:db8::1]/health", "/health"),
        (b"http://web1", "/"),
        (b"http://web1?x", "/"),
        (b"*", "*"),
        (b"//health", "//health"),
        (b"/%68ealth", "/%68ealth"),
        (b"/http://web1/health", "/http://web1/health"),
    ],
)
def test_the_path_is_without_scheme_authority_and_query(target, path):
    head = read_head(b"GET " + target + b" HTTP/1.0\r\n\r\n")
    assert isinstance(head, RequestHead)
    assert head.path == path


@pytest.mark.parametrize(
    ("version", "headers", "stays"),
    [
        (b"1.0", b"", False),
        (b"1.0", b"Connection: keep-alive\r\n", True),
        (b"1.0", b"Connection: Keep-Alive, Upgrade\r\n", True),
        (b"1.0", b"Connection: keep-alive\r\nConnection: close\r\n", False),
        (b"1.1", b"", True),
        (b"1.2", b"", True),
        (b"1.1", b"connection: CLOSE\r\n", False),
        (b"1.1", b"Connection: foo , close\r\n", False),
        (b"1.1", b"Connection: closed\r\n", True),
        (b"1.1", b"Content-Length: 0\r\n", True),
        (b"1.1", b"Content-Length: 1\r\n", False),
        (b"1.1", b"Content-Length: x\r\n", False),
        (b"1.1", b"Content-Length: 0\r\nContent-Length: 5\r\n", False),
        (b"1.1", b"Transfer-Encoding: chunked\r\n", False),
    ],
)
def test_whether_another_request_may_follow(version, headers, stays):
    head = read_head(b"GET / HTTP/" + version + b"\r\n" + headers + b"\r\n")
    assert isinstance(head, RequestHead)
    assert head.keep_alive is stays


@pytest.mark.parametrize(
    ("request_bytes", "refusal"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", ConnectionRefusal.REQUEST_LINE),
        (b"\0", ConnectionRefusal.REQUEST_LINE),
        (b" GET / HTTP/1.0\r\n\r\n", ConnectionRefusal.REQUEST_LINE),
        (b"GET  / HTTP/1.0\r\n\r\n", ConnectionRefusal.REQUEST_LINE),
        (b"GET / HTTP/1.0 \r\n\r\n", ConnectionRefusal.REQUEST_LINE),
        (b"GET /a b HTTP/1.0\r\n\r\n", ConnectionRefusal.REQUEST_LINE),
        (b"GET / HTTP/11\r\n\r\n", ConnectionRefusal.REQUEST_LINE),
        (b"GET / HTTP/3.0\r\n\r\n", ConnectionRefusal.REQUEST_LINE),
        (b"GET / http/1.1\r\n\r\n", ConnectionRefusal.REQUEST_LINE),
        (b"GET /\xe9 HTTP/1.1\r\n\r\n", ConnectionRefusal.REQUEST_LINE),
        (b"GET\r\n", ConnectionRefusal.REQUEST_LINE),
        (b"POST /\r\n", ConnectionRefusal.REQUEST_LINE),
        (b"GET /\r\r\n", ConnectionRefusal.REQUEST_LINE),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ConnectionRefusal.HTTP_2),
        (b"GET / HTTP/1.1\r\nHost\r\n\r\n", ConnectionRefusal.HEADER),
        (b"GET / HTTP/1.1\r\nHost : web1\r\n\r\n", ConnectionRefusal.HEADER),
        (b"GET / HTTP/1.1\r\n folded: x\r\n\r\n", ConnectionRefusal.HEADER),
        (b"GET / HTTP/1.1\r\n: x\r\n\r\n", ConnectionRefusal.HEADER),
        (b"GET / HTTP/1.1\r\nA: \0\r\n\r\n", ConnectionRefusal.HEADER),
        (b"GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n", ConnectionRefusal.HEADER),
        (b"GET /" + b"a" * LONGEST_HEAD, ConnectionRefusal.TOO_LARGE),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 2000, ConnectionRefusal.TOO_LARGE),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * LONGEST_HEAD + b"\r\n\r\n", ConnectionRefusal.TOO_LARGE),
        (b"\r\n" * 5000, ConnectionRefusal.TOO_LARGE),
    ],
)
def test_what_is_no_request_is_refused_for_its_reason(request_bytes, refusal):
    assert read_head(request_bytes) is refusal


def test_a_head_may_be_as_large_as_the_limit():
    begin, end = b"GET / HTTP/1.1\r\nA: ", b"\r\n\r\n"
    largest = begin + b"b" * (LONGEST_HEAD - len(begin) - len(end)) + end
    assert isinstance(read_head(largest), RequestHead)
    assert read_head(largest.replace(b"A:", b"AA:")) is ConnectionRefusal.TOO_LARGE


@pytest.mark.parametrize("name", [name for name, probe in PROBES.items() if probe[:3] in (b"GET", b"HEA", b"OPT")])
def test_a_part_of_a_probe_is_waited_for(name):
    probe = PROBES[name]
    assert {read_head(probe[:size]) for size in range(len(probe))} == {None}
    head = read_head(probe)
    assert isinstance(head, RequestHead)
    assert head.size == len(probe)


@pytest.mark.parametrize("before", [b"\r\n", b"\n", b"\r\n\r\n\n"])
def test_empty_lines_before_a_request_are_skipped(before):
    request = before + b"GET /health HTTP/1.0\r\n\r\n"
    head = read_head(request)
    assert isinstance(head, RequestHead)
    assert head.size == len(request)


lines = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from((b"GET /health HTTP/1.1", b"Host: a", b"", b"Content-Length: 3", b"GET /health", b"\r", b" x")),
    ),
    max_size=8,
)


@given(st.one_of(st.binary(), lines.map(b"\r\n".join), lines.map(b"\n".join)))
def test_no_bytes_are_too_odd(data):
    head = read_head(data)
    if isinstance(head, RequestHead):
        assert 0 < head.size <= len(data)
        assert head.path.isascii()
