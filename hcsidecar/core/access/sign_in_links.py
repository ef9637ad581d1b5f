"""Links that sign a user in once: made on the machine of a node, shown by the console of that node.

`now` is in seconds of the monotonic clock. Only the SHA-256 of a link's secret is kept, in memory.
"""

import hmac
from dataclasses import dataclass
from typing import Final

from hcsidecar.core.access.credentials import secret_digest

LINK_LIFE: Final = 600.0
"Seconds in which a link must be used."
MOST_LINKS: Final = 16
"At the same time; the one that ends first makes room."


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInLink:
    """A link that has not been used."""

    user: str
    by: str
    "Who has made it."
    ends_at: float
    secret_sha256: str


class SignInLinks:
    """The links of one node; none of them outlives its daemon."""

    def __init__(self) -> None:
        self._links: list[SignInLink] = []

    def add(self, user: str, secret: bytes, *, by: str, now: float) -> None:
        """Remember a link for this user."""
        link = SignInLink(user=user, by=by, ends_at=now + LINK_LIFE, secret_sha256=secret_digest(secret))
        self._links = [*self._valid(now), link][-MOST_LINKS:]

    def redeem(self, secret: bytes, *, now: float) -> SignInLink | None:
        """Return the link with this secret and forget it; None if there is none, it is used, or it has ended."""
        digest = secret_digest(secret)
        found = None
        for link in self._valid(now):
            if hmac.compare_digest(link.secret_sha256, digest):
                found = link
        self._links = [link for link in self._valid(now) if link is not found]
        return found

    def _valid(self, now: float) -> list[SignInLink]:
        return [link for link in self._links if now < link.ends_at]
