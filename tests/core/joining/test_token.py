"""Tokens: what they hold, and the proof of having one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcsidecar.core.joining.messages import JoinTokenAnswer
from hcsidecar.core.joining.token import JoinToken, TokenError, decode_token, prove

TOKEN = JoinToken(fingerprint=bytes(range(32)), secret=b"0123456789abcdef", expires=1_796_000_000)


@given(
    fingerprint=st.binary(min_size=32, max_size=32),
    secret=st.binary(min_size=16, max_size=16),
    expires=st.integers(0, 2**40 - 1),
)
def test_what_is_written_is_read_again(fingerprint, secret, expires):
    token = JoinToken(fingerprint=fingerprint, secret=secret, expires=expires)
    assert decode_token(f" {token.encode()}\n") == token


def test_a_token_is_a_word_of_small_letters_and_digits_that_hides_its_secret_from_logs():
    text = TOKEN.encode()
    assert text.startswith("hcj1.")
    assert text.removeprefix("hcj1.").isalnum()
    assert text.islower()
    assert "0123456789abcdef" not in repr(TOKEN)


@given(st.text())
def test_whatever_is_pasted_is_a_token_or_refused(text):
    with pytest.raises(TokenError):
        decode_token(text)


@given(st.integers(5, len(TOKEN.encode()) - 1), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_a_wrong_letter_is_noticed(place, letter):
    text = TOKEN.encode()
    if text[place] != letter:
        with pytest.raises(TokenError, match="damaged"):
            decode_token(text[:place] + letter + text[place + 1 :])


@pytest.mark.parametrize("text", [TOKEN.encode()[:-1], TOKEN.encode()[:40], "hcj1.", "hcj1.ß", TOKEN.encode() * 2])
def test_a_part_of_a_token_is_noticed(text):
    with pytest.raises(TokenError, match="copy the whole line again"):
        decode_token(text)


def test_bits_that_mean_nothing_are_not_another_spelling():
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    text = TOKEN.encode()
    assert len(TOKEN.encode().removeprefix("hcj1.")) % 8 != 0
    with pytest.raises(TokenError, match="copy the whole line again"):
        decode_token(text[:-1] + letters[letters.index(text[-1]) ^ 1])


def test_something_else_is_no_token():
    with pytest.raises(TokenError, match="begins with hcj1"):
        decode_token("hca1.abc.def")


def test_a_proof_holds_for_one_request_to_one_certificate_only():
    request = {"nonce": "n", "server": "s", "path": "/p", "body": b"b"}
    proof = prove(TOKEN.key, **request)
    assert prove(TOKEN.key, **request) == proof
    for other in ({"nonce": "m"}, {"server": "t"}, {"path": "/q"}, {"body": b"c"}):
        assert prove(TOKEN.key, **request | other) != proof
    assert TOKEN.id not in proof


def test_what_is_said_of_an_answer_with_a_token_does_not_have_the_token():
    answer = JoinTokenAnswer(token="hcj1.secret", host="192.0.2.11")  # noqa: S106 - no password
    assert "secret" not in repr(answer)
    assert answer.command("web 2") == "hcsidecar join 192.0.2.11 --token hcj1.secret --name 'web 2'"
    assert answer.command(None) == "hcsidecar join 192.0.2.11 --token hcj1.secret"
