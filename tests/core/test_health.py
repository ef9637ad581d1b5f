from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcsidecar.core.health import METHODS, HealthAnswer, HealthFace, Shape, Version
from hcsidecar.core.probers import Prober

OK = HealthAnswer(ok=True, node="web1", state="UP(Ready)")
DOWN = HealthAnswer(ok=False, node="web1", state="UP(NotReady)", reason="check HTTP_APACHE: connection refused")
DRAINING = HealthAnswer(ok=False, node="web1", state="UP(Ready)", reason="drained by root", draining=True)
PROBER = Prober(address="192.0.2.5", method="GET", path="/health")


def face(answer=OK):
    return HealthFace(farm="apache", path="/health", answer=answer, now=0)


def told(face, method="GET", version=Version.HTTP_1_1, *, keep_alive=True):
    return face.poll(PROBER._replace(method=method), version, keep_alive=keep_alive, now=1)


def test_ok_is_said_in_these_bytes():
    assert told(face()) == (
        b"HTTP/1.1 200 OK\r\n"
        b"Content-Length: 3\r\n"
        b"Content-Type: text/plain; charset=us-ascii\r\n"
        b"Cache-Control: no-store\r\n"
        b"X-Farm-Node: web1\r\n"
        b"X-Farm-State: UP(Ready)\r\n"
        b"\r\n"
        b"OK\n"
    )


def test_not_found_is_said_in_these_bytes():
    assert told(face(DOWN), version=Version.HTTP_1_0, keep_alive=False) == (
        b"HTTP/1.0 404 Not Found\r\n"
        b"Content-Length: 10\r\n"
        b"Content-Type: text/plain; charset=us-ascii\r\n"
        b"Cache-Control: no-store\r\n"
        b"X-Farm-Node: web1\r\n"
        b"X-Farm-State: UP(NotReady)\r\n"
        b"X-Farm-Reason: check HTTP_APACHE: connection refused\r\n"
        b"\r\n"
        b"NOT FOUND\n"
    )


def test_the_new_answer_is_said_at_once():
    door = face()
    door.set_answer(DOWN, now=5)
    assert told(door).endswith(b"NOT FOUND\n")
    door.set_answer(OK, now=6)
    assert told(door).endswith(b"OK\n")


def test_http_0_9_gets_the_body_alone():
    assert told(face(), version=Version.HTTP_0_9, keep_alive=False) == b"OK\n"
    assert told(face(DOWN), version=Version.HTTP_0_9, keep_alive=False) == b"NOT FOUND\n"


def test_head_gets_the_headers_of_get_without_the_body():
    assert told(face(), "HEAD") + b"OK\n" == told(face(), "GET")


def test_options_says_what_is_allowed():
    assert b"\r\nAllow: GET, HEAD, OPTIONS\r\n" in told(face(), "OPTIONS")
    assert told(face(), "OPTIONS").endswith(b"\r\n\r\nOK\n")


@pytest.mark.parametrize(
    ("version", "keep_alive", "said"),
    [
        (Version.HTTP_1_0, True, b"Connection: keep-alive"),
        (Version.HTTP_1_0, False, None),
        (Version.HTTP_1_1, True, None),
        (Version.HTTP_1_1, False, b"Connection: close"),
    ],
)
def test_what_happens_to_the_connection_is_said_where_it_is_not_the_default(version, keep_alive, said):
    lines = told(face(), version=version, keep_alive=keep_alive).split(b"\r\n")
    assert [line for line in lines if line.startswith(b"Connection")] == ([said] if said else [])


def test_envoy_is_told_to_let_go_at_once_while_draining_only():
    header = b"\r\nX-Envoy-Immediate-Health-Check-Fail: true\r\n"
    assert header in told(face(DRAINING))
    assert header not in told(face(DOWN))
    assert header not in told(face(OK))


def test_no_body_contains_the_other():
    """Some balancers look for a text anywhere in the answer."""
    assert OK.body not in DOWN.body
    assert DOWN.body not in OK.body


def test_a_draining_node_cannot_be_ok():
    with pytest.raises(ValueError, match="draining"):
        HealthAnswer(ok=True, node="web1", state="UP(Ready)", draining=True)


@given(
    answer=st.builds(
        partial(HealthAnswer, ok=False), node=st.text(), state=st.text(), reason=st.text(), draining=st.booleans()
    ),
    method=st.sampled_from(METHODS),
    version=st.sampled_from((Version.HTTP_1_0, Version.HTTP_1_1)),
    keep_alive=st.booleans(),
)
def test_no_reason_can_forge_a_header_or_a_line(answer, method, version, keep_alive):
    head, _, body = told(face(answer), method, version, keep_alive=keep_alive).partition(b"\r\n\r\n")
    assert body == (b"" if method == "HEAD" else b"NOT FOUND\n")
    lines = head.split(b"\r\n")
    assert lines[0] == f"{version} 404 Not Found".encode()
    names = [line.partition(b":")[0] for line in lines[1:]]
    allowed = {b"Content-Length", b"Content-Type", b"Cache-Control", b"X-Farm-Node", b"X-Farm-State", b"X-Farm-Reason"}
    assert set(names) <= allowed | {b"Allow", b"Connection", b"X-Envoy-Immediate-Health-Check-Fail"}
    assert len(names) == len(set(names))
    assert all(0x20 <= byte <= 0x7E for byte in head.replace(b"\r\n", b""))
    assert all(len(line) <= 220 for line in lines)
    line = answer.agent_line
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert all(0x20 <= byte <= 0x7E for byte in line[:-1])


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (OK, b"ready up 100%\n"),
        (DRAINING, b"drain up\n"),
        (DOWN, b"ready down #UP(NotReady): check HTTP_APACHE: connection refused\n"),
        (HealthAnswer(ok=False, node="web1", state="STOP(NotReady)"), b"ready down #STOP(NotReady)\n"),
    ],
)
def test_each_agent_line_sets_the_administrative_and_the_operational_state(answer, line):
    assert face(answer).agent_line == line
    assert {b"ready", b"drain"} & set(line.split())
    assert {b"up", b"down"} & set(line.split())


@pytest.mark.parametrize(
    ("method", "path", "version", "shape"),
    [
        ("GET", "/health", Version.HTTP_1_1, Shape.PROBE),
        ("HEAD", "/health", Version.HTTP_1_0, Shape.PROBE),
        ("OPTIONS", "/health", Version.HTTP_1_1, Shape.PROBE),
        ("GET", "/health", Version.HTTP_0_9, Shape.PROBE),
        ("GET", "/var/modules/apache/ready.txt", Version.HTTP_1_1, Shape.PROBE),
        ("GET", "/var/modules/other/ready.txt", Version.HTTP_1_1, Shape.ELSEWHERE),
        ("OPTIONS", "/", Version.HTTP_1_0, Shape.PROBE),
        ("OPTIONS", "*", Version.HTTP_1_1, Shape.PROBE),
        ("GET", "/", Version.HTTP_0_9, Shape.PROBE),
        ("GET", "/", Version.HTTP_1_0, Shape.ELSEWHERE),
        ("GET", "*", Version.HTTP_0_9, Shape.ELSEWHERE),
        ("HEAD", "/", Version.HTTP_1_1, Shape.ELSEWHERE),
        ("POST", "/health", Version.HTTP_1_1, Shape.WRONG_METHOD),
        ("DELETE", "/var/modules/apache/ready.txt", Version.HTTP_1_1, Shape.WRONG_METHOD),
        ("get", "/health", Version.HTTP_1_1, Shape.WRONG_METHOD),
        ("GET", "/health/", Version.HTTP_1_1, Shape.ELSEWHERE),
        ("GET", "//health", Version.HTTP_1_1, Shape.ELSEWHERE),
        ("GET", "/healthy", Version.HTTP_1_1, Shape.ELSEWHERE),
        ("OPTIONS", "/api/v1/status", Version.HTTP_1_1, Shape.ELSEWHERE),
    ],
)
def test_what_is_a_probe(method, path, version, shape):
    assert face().shape(method, path, version) is shape


def test_polls_are_counted_by_what_was_said_and_by_whom():
    door = face()
    told(door)
    told(door, "HEAD")
    door.set_answer(DRAINING, now=2)
    told(door)
    assert (door.told_ok, door.told_not_found) == (2, 1)
    assert door.probers.waiting(1, now=3) == ("prober 192.0.2.5 (HEAD /health)",)


def test_since_is_when_the_answer_turned_and_not_when_its_words_changed():
    door = face()
    door.set_answer(DOWN, now=10)
    door.set_answer(DRAINING, now=20)
    assert door.since == 10
    assert door.answer == DRAINING
    door.set_answer(OK, now=30)
    assert door.since == 30


def test_saying_the_same_again_changes_nothing():
    door = face(DOWN)
    before = told(door)
    door.set_answer(DOWN, now=50)
    assert door.since == 0
    assert told(door) is before


def test_another_health_path_is_answered_at_once_and_that_of_safekit_still():
    probed = face()
    probed.set_path("/up")
    shapes = [
        probed.shape("GET", path, Version.HTTP_1_1) for path in ("/up", "/var/modules/apache/ready.txt", "/health")
    ]
    assert shapes == [Shape.PROBE, Shape.PROBE, Shape.ELSEWHERE]
