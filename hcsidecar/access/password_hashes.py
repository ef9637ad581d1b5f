"""Hashes passwords with argon2id, and verifies them: in the command line and the console, never in the daemon.

Each takes tens of milliseconds of a processor and 19 MiB, on purpose. The parameters are the first that the OWASP
Password Storage Cheat Sheet names (19 MiB, two passes, one lane), because a console has a limit of memory and may have
to verify several passwords at a time.
"""

from functools import cache

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

_HASHER = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1, hash_len=32, salt_len=16, type=Type.ID)


def hash_password(password: str) -> str:
    """Return what is kept of a password, with a salt of its own."""
    return _HASHER.hash(password)


def is_right_password(password: str, kept: str | None) -> bool:
    """Return whether this is the password of which `kept` was made.

    With None, where there is no such user, it takes as long: nobody learns from the time which users there are.
    """
    try:
        _HASHER.verify(_nobodys() if kept is None else kept, password)
    except (VerificationError, InvalidHashError):
        return False
    return kept is not None


@cache
def _nobodys() -> str:
    return hash_password("nobody has this password")
