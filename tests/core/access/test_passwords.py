"""Which passwords are taken."""

import pytest

from hcsidecar.core.access.passwords import why_not_password


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short", "the password has 5 characters: take at least 12"),
        ("x" * 257, "the password has 257 characters: take at most 256"),
        ("correct horse\tbattery", "characters in it that nobody can type"),
        ("alicealice12", "little more than the user's name"),
        ("ALICE-2026-11", "little more than the user's name"),
        ("aaaaaaaaaaaaaaaa", "fewer than 5 different characters"),
        ("121212121212", "fewer than 5 different characters"),
    ],
)
def test_a_weak_password_is_refused_and_the_reason_says_what_to_do(password, why):
    assert why in (why_not_password(password, user="alice") or "")


@pytest.mark.parametrize("password", ["correct horse battery", "Grüße aus Köln!", "alice likes long walks at night"])
def test_a_few_words_are_a_password(password):
    assert why_not_password(password, user="alice") is None
