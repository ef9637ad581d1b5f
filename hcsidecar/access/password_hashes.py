"""Hashes passwords with argon2id, and verifies them: in the command line and the console, never in the daemon.

Each takes tens of milliseconds of a processor and 19 MiB, on purpose. The parameters are the first that the OWASP
Password Storage Cheat Sheet names (19 MiB, two passes, one lane), because a console has a limit of memory and may have
to verify several passwords at a time.
"""

from typing import Final

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

_HASHER = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1, hash_len=32, salt_len=16, type=Type.ID)
NOBODYS: Final = "$argon2id$v=19$m=19456,t=2,p=1$hPnqw0zC3Q80FOCyPJgsvw$7Lk9BXkf2rHQbGYZU5h9fOHsfsqtw2dDrW4mXmr3prE"
"""Verified in place of a user's hash where there is no such user; made beforehand, so that the first such sign-in takes
no longer than others."""


def hash_password(password: str) -> str:
    """Return what is kept of a password, with a salt of its own."""
    return _HASHER.hash(password)


def is_right_password(password: str, kept: str | None) -> bool:
    """Return whether this is the password of which `kept` was made.

    With None, where there is no such user, it takes as long: nobody learns from the time which users there are.
    """
    try:
        _HASHER.verify(NOBODYS if kept is None else kept, password)
    except (VerificationError, InvalidHashError):
        return False
    return kept is not None
