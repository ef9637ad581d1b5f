"""Answers of other daemons, and of programs, that are no JSON of the form that is expected."""

import pytest

from hcsidecar.api import relay
from hcsidecar.api.client import ClientError, read
from hcsidecar.api.following import read_page
from hcsidecar.api.relay import UnreachableError
from hcsidecar.core.documents import EventPage
from hcsidecar.core.targets.program import observation_in
from hcsidecar.core.targets.registration import TargetError
from hcsidecar.targets.aws_memory import KnownTargets

NESTED = b'{"reason": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
ODD = pytest.mark.parametrize("answer", [b"", b"{", b"[]", b'{"reason": "\xff"}', NESTED], ids=range(5))


@ODD
def test_the_command_line_says_that_it_does_not_understand_an_answer(answer):
    with pytest.raises(ClientError, match="not in a form that this version understands"):
        read(answer, EventPage)


@ODD
def test_following_takes_an_odd_answer_for_none(answer):
    with pytest.raises(UnreachableError, match="not in a form that this version understands"):
        read_page(relay.Reply(status=200, body=answer))


@ODD
def test_a_refusal_in_odd_words_is_still_a_refusal(answer):
    assert relay._refusal(answer).reason == "in words that this version does not understand"


@ODD
def test_a_program_that_prints_something_odd_has_failed(answer):
    with pytest.raises(TargetError, match="must print JSON like"):
        observation_in(answer)


@ODD
def test_an_odd_memory_of_targets_is_an_empty_one(tmp_path, answer):
    (tmp_path / "targets").write_bytes(answer[:65_536])
    assert KnownTargets(tmp_path / "targets", "group").targets() == ()
