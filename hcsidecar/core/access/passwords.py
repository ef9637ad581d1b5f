"""Which passwords are taken. What is kept of one is made by `hcsidecar.access.password_hashes`."""

from typing import Final

SHORTEST: Final = 12
"Characters. Length is what makes guessing hard; rules about kinds of characters do not."
LONGEST: Final = 256
_FEWEST_KINDS: Final = 5
"Different characters, so that it is no key that was held down."


def why_not_password(password: str, *, user: str) -> str | None:
    """Return why a password is not taken, as a sentence that says what to do, or None."""
    if len(password) < SHORTEST:
        return f"the password has {len(password)} characters: take at least {SHORTEST}, such as a few words"
    if len(password) > LONGEST:
        return f"the password has {len(password)} characters: take at most {LONGEST}"
    if not password.isprintable():
        return "the password has characters in it that nobody can type: take letters, digits, signs and blanks"
    if user.casefold() in password.casefold() and len(password) - len(user) < SHORTEST:
        return f"the password is little more than the user's name: take at least {SHORTEST} characters beside it"
    if len(set(password.casefold())) < _FEWEST_KINDS:
        return f"the password has fewer than {_FEWEST_KINDS} different characters: take a few words"
    return None
