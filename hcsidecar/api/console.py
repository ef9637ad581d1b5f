"""The API on the console's socket: its peers are the console's user, root and the daemon's user, and no others.

It serves the same paths as `api.local`, but not to everybody: the console says for whom it asks, and what the role of
that person or program does not allow is refused here, whatever the console has let pass. Nobody has more rights than
the farm's record of users and tokens gives, whatever the console claims.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import web

from hcsidecar.api.requests import ApiError
from hcsidecar.api.routes import PREFIX
from hcsidecar.core.access.claimed_role import granted_role
from hcsidecar.core.access.identity import ACTOR_HEADER, Via, decode_actor
from hcsidecar.core.access.record import AccessRecord
from hcsidecar.core.access.roles import AccessRole, why_not_permitted

MAX_BODY = 6 * 1024 * 1024
"Bytes of a request's body: a bundle of settings has 4 MiB at most, and a third more in base64."
OWN_VERBS = frozenset(
    {("GET", "access/verification"), ("POST", "access/uses"), ("POST", "access/links/use")}
    | {("GET", "certificates/console"), ("POST", "certificates/console")}
)
"What the console asks for itself, beyond what a monitor may read: what it verifies people with, and its certificate."
THE_CONSOLE = "the console"
"Who asks if the console says nobody."


def why_not_served(
    header: str | None, method: str, path: str, *, record: AccessRecord, now: float
) -> tuple[str, str | None]:
    """Return for whom the console asks, and why that is not served, or None if it is.

    `header` is the value of ACTOR_HEADER, `path` that of the API of one node, `now` in seconds since 1970. Without
    the header the console asks for itself: it only reads what it shows and what it verifies people with, and has its
    certificate made.
    """
    verb = path.removeprefix(f"{PREFIX}/")
    if header is None:
        if (method, verb) in OWN_VERBS or why_not_permitted(AccessRole.MONITOR, method, verb) is None:
            return THE_CONSOLE, None
        return (
            THE_CONSOLE,
            f"the console may not do this for itself; {ACTOR_HEADER} says for whom it asks",
        )
    actor = decode_actor(header)
    if actor is None or actor.identity.via is Via.COMMAND_LINE:  # nobody of the command line comes this way
        return THE_CONSOLE, f"{ACTOR_HEADER} names no person or program"
    role = granted_role(actor.identity, record, now=now)
    if role is None:
        return str(actor), f"{actor.identity.name} is no user or API token that this node knows of: sign in again"
    return str(actor), why_not_permitted(role, method, verb, person=actor.identity.person)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmitConsole:
    """Admits the console with what it may ask for; see `api.local.Admit`."""

    console: int | None
    "The user id of the console; None where it runs as the daemon's user."
    record: Callable[[], AccessRecord]
    "Returns the users and API tokens of the farm."

    def __call__(self, request: web.Request, path: str, *, uid: int | None) -> str:
        """Return for whom the console asks. Raise ApiError if that is not served."""
        if uid is not None and uid not in (0, os.geteuid(), self.console):
            raise ApiError(HTTPStatus.FORBIDDEN, f"user {uid} is not the console of this node")
        by, why = why_not_served(
            request.headers.get(ACTOR_HEADER), request.method, path, record=self.record(), now=time.time()
        )
        if why is not None:
            raise ApiError(HTTPStatus.FORBIDDEN, why)
        return by
