"""What the program of a target says, by its exit status and its output."""

import json

import pytest

from hcsidecar.core.targets.program import observation_in, why_failed
from hcsidecar.core.targets.registration import Observation, Presence, TargetError, Trouble


@pytest.mark.parametrize(
    ("status", "errors", "trouble", "text"),
    [
        (78, b"note\nthe pool is gone\n", Trouble.CONFIG, "the pool is gone (exit status 78)"),
        (75, b"", Trouble.RETRY, "exit status 75"),
        (77, b"", Trouble.AUTH, "exit status 77"),
        (69, b"", Trouble.THROTTLE, "exit status 69"),
        (64, b"", Trouble.CONFIG, "exit status 64"),
        (127, b"sh: not found", Trouble.CONFIG, "sh: not found (exit status 127)"),
        (1, b"", Trouble.RETRY, "exit status 1"),
        (-9, b"", Trouble.RETRY, "killed by SIGKILL"),
    ],
)
def test_an_exit_status_says_what_kind_of_trouble_it_is(status, errors, trouble, text):
    error = why_failed(status, errors)
    assert (error.trouble, error.text) == (trouble, text)


def test_exit_status_0_is_no_trouble_whatever_was_written():
    assert why_failed(0, b"a warning") is None


def test_an_observation_is_read_whatever_else_stands_beside_it():
    answer = {"presence": "unhealthy", "reason": "two\nlines", "former": ["192.0.2.7:80"], "more": 1}
    assert observation_in(json.dumps(answer).encode()) == Observation(
        presence=Presence.UNHEALTHY, reason="two lines", former=("192.0.2.7:80",)
    )


def test_a_reason_without_an_end_is_cut():
    answer = {"presence": "healthy", "reason": "x" * 100_000}
    assert observation_in(json.dumps(answer).encode()).reason == "x" * 199 + "…"


@pytest.mark.parametrize("output", [b"", b"healthy", b'{"presence": "fine"}', b"[]", b'{"reason": ""}', b"\xff"])
def test_an_answer_that_makes_no_sense_is_quoted_and_tried_again(output):
    with pytest.raises(TargetError, match="must print JSON like") as error:
        observation_in(output)
    assert error.value.trouble is Trouble.RETRY
