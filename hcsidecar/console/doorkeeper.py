"""Finds out who asks: a person with a session, or a program with an API token; the daemon has the record of both."""

import asyncio
import contextlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp import hdrs, web

from hcsidecar.access.password_hashes import is_right_password
from hcsidecar.api.requests import ApiError
from hcsidecar.console.daemon_client import DaemonClient, NoAnswerError
from hcsidecar.core.access.changes import LAST_USED_STEP
from hcsidecar.core.access.credentials import (
    NotLetIn,
    OpenSession,
    new_session,
    read_session,
    read_token,
    renewed_session,
)
from hcsidecar.core.access.documents import LinkUser, RedeemBody, UsesBody, Verification
from hcsidecar.core.access.identity import Actor, Identity, Via
from hcsidecar.core.access.login_throttle import LoginThrottle
from hcsidecar.core.access.record import AccessRecord
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.console.documents import SessionReport, SignInBody
from hcsidecar.core.console.openapi import COOKIE, CSRF_HEADER
from hcsidecar.core.json_reading import read_json

RECORD_LIMIT: Final = 0.4
"Seconds for the record of users, so that a whole answer takes less than one."
RECORD_FRESH: Final = 1.0
"Seconds for which the record is not asked for again."
RECORD_KEPT: Final = 900.0
"Seconds for which it is believed while the daemon does not answer; nothing can be changed then."
AT_ONCE: Final = 2
"Passwords that are verified at the same time: each takes 19 MiB."
MOST_WAITING: Final = 16
"Sign-ins that wait for that."
_BEARER: Final = "Bearer "
_BY_LINK: Final = ""
"In place of a user's name, for counting links that are wrong."
WRONG: Final = "name or password is wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Somebody who has been let in."""

    actor: Actor
    csrf: str = ""
    "What a browser must show with each change; empty for a program."
    renewed: str = ""
    "The session to be set in place of the former one; empty if that is fresh enough."

    @property
    def report(self) -> SessionReport:
        """The document about him."""
        identity = self.actor.identity
        return SessionReport(name=identity.name, role=identity.role, via=identity.via, csrf=self.csrf)


class Doorkeeper:
    """Lets people and programs in, by the record that the daemon has."""

    def __init__(self, client: DaemonClient, *, clock: Callable[[], float] = time.time) -> None:
        """`clock` is the wall clock, in seconds."""
        self._client = client
        self._clock = clock
        self._record: AccessRecord | None = None
        self._digest = ""
        self._fetched_at = self._fresh_until = float("-inf")
        self._throttle = LoginThrottle()
        self._verifying = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._csrf_key = secrets.token_bytes(32)
        self._noted: dict[str, int] = {}
        self._noting: set[asyncio.Task[None]] = set()

    async def identify(self, request: web.Request, needed: AccessRole) -> Visitor:
        """Return who asks. Raise ApiError if nobody, or somebody who may not, or if a page of another site asks."""
        caller = await self.identify_reader(request, needed)
        if request.method != hdrs.METH_GET:
            self.refuse_forged(request, caller, request.headers.get(CSRF_HEADER, ""))
        return caller

    async def identify_reader(self, request: web.Request, needed: AccessRole) -> Visitor:
        """Return who asks, before it is known whether he has asked himself. Raise ApiError as `identify`."""
        caller = await self._identify(request)
        identity = caller.actor.identity
        if not identity.role.includes(needed):
            raise ApiError(
                HTTPStatus.FORBIDDEN, f"this takes the role {needed}, and {identity.name} has the role {identity.role}"
            )
        return caller

    def refuse_forged(self, request: web.Request, caller: Visitor, shown: str) -> None:
        """Raise ApiError unless a page of this console itself has sent the request; `shown` is what it must know."""
        if caller.actor.identity.via is not Via.CONSOLE:
            return
        self.refuse_other_site(request)
        if not hmac.compare_digest(shown.encode("utf-8", "replace"), caller.csrf.encode()):
            raise ApiError(
                HTTPStatus.FORBIDDEN,
                f"{CSRF_HEADER} must be the `csrf` that GET /api/v1/session of this console returns; a page that is"
                " older than the console must be loaded again",
            )

    @staticmethod
    def refuse_other_site(request: web.Request) -> None:
        """Raise ApiError if a browser says that a page of another site has sent the request."""
        origin = request.headers.get(hdrs.ORIGIN)
        other = origin is not None and origin.partition("://")[2] != request.host
        if other or request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise ApiError(HTTPStatus.FORBIDDEN, "the request comes from a page of another site")

    async def sign_in(self, body: SignInBody, address: str) -> tuple[Visitor, str]:
        """Return who has given the right password, and his session. Raise ApiError for a wrong one, or too many."""
        loop = asyncio.get_running_loop()
        name = body.name.lower()
        wait = self._throttle.wait(name, address, now=loop.time())
        if wait > 0:
            raise ApiError(
                HTTPStatus.TOO_MANY_REQUESTS, f"too many wrong passwords: try it again in {max(1, round(wait))} s"
            )
        if self._waiting >= MOST_WAITING:
            raise ApiError(HTTPStatus.TOO_MANY_REQUESTS, "too many people sign in just now: try it again in a moment")
        record = await self._fresh_record()
        user = record.present_users.get(name)
        self._waiting += 1
        try:
            async with self._verifying:
                right = await asyncio.to_thread(
                    is_right_password, body.password, None if user is None else user.password
                )
        finally:
            self._waiting -= 1
        if not right or user is None:
            self._throttle.failed(name, address, now=loop.time())
            raise ApiError(HTTPStatus.UNAUTHORIZED, WRONG)
        self._throttle.succeeded(name)
        session = new_session(record, name, now=self._clock())
        if session is None:
            raise ApiError(
                HTTPStatus.SERVICE_UNAVAILABLE, "the farm has no key for sessions yet: try it again in a moment"
            )
        opened = read_session(record, session, now=self._clock())
        if isinstance(opened, NotLetIn):
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, opened.reason)
        return Visitor(actor=Actor(identity=opened.identity, address=address), csrf=self._csrf(opened)), session

    async def sign_in_by_link(self, secret: str, address: str) -> str:
        """Return the session of the user whom a link signs in. Raise ApiError for one that is not valid any more."""
        now = asyncio.get_running_loop().time()
        if (wait := self._throttle.wait(_BY_LINK, address, now=now)) > 0:
            raise ApiError(
                HTTPStatus.TOO_MANY_REQUESTS, f"too many wrong links: try it again in {max(1, round(wait))} s"
            )
        try:
            body = RedeemBody(secret=secret, address=address)
            reply = await self._client.ask("POST", "/access/links/use", msgspec.json.encode(body), limit=RECORD_LIMIT)
            found = read_json(reply.body, LinkUser) if reply.status == HTTPStatus.OK else LinkUser(user=None)
        except NoAnswerError as error:
            raise _closed(str(error)) from None
        record = await self._fresh_record()
        session = None if found.user is None else new_session(record, found.user, now=self._clock())
        if session is None:
            self._throttle.failed(_BY_LINK, address, now=now)
            raise ApiError(
                HTTPStatus.UNAUTHORIZED,
                "this link is used, or its ten minutes are over: `hcsidecar user link NAME` makes another one",
            )
        return session

    async def is_still_in(self, request: web.Request) -> bool:
        """Return whether somebody who was let in with this request still is."""
        try:
            await self._identify(request)
        except ApiError:
            return False
        return True

    def expect_change(self) -> None:
        """Ask for the record again before anybody else is let in: somebody has just changed it here."""
        self._fresh_until = float("-inf")

    async def close(self) -> None:
        """End what goes on in the background."""
        for task in self._noting:
            task.cancel()

    async def _identify(self, request: web.Request) -> Visitor:
        address = request.remote or ""
        authorization = request.headers.get(hdrs.AUTHORIZATION)
        cookie = request.cookies.get(COOKIE)
        if authorization is None and cookie is None:
            raise ApiError(
                HTTPStatus.UNAUTHORIZED,
                "sign in by POST /api/v1/session, or send an API token: Authorization: Bearer …",
            )
        record, now = await self._current_record(), self._clock()
        if authorization is not None:
            return Visitor(actor=Actor(identity=self._of_token(record, authorization, now), address=address))
        opened = read_session(record, cookie or "", now=now)
        if isinstance(opened, NotLetIn):
            raise ApiError(HTTPStatus.UNAUTHORIZED, opened.reason)
        renewed = renewed_session(record, opened, now=now) if opened.is_due(now=now) else None
        actor = Actor(identity=opened.identity, address=address)
        return Visitor(actor=actor, csrf=self._csrf(opened), renewed=renewed or "")

    def _of_token(self, record: AccessRecord, authorization: str, now: float) -> Identity:
        shown = authorization.removeprefix(_BEARER)
        token = read_token(record, shown.strip(), now=now) if shown != authorization else None
        if token is None:
            raise ApiError(HTTPStatus.UNAUTHORIZED, "the header Authorization is not `Bearer` and an API token")
        if isinstance(token, NotLetIn):
            raise ApiError(HTTPStatus.UNAUTHORIZED, token.reason)
        self._note_use(token.token_id, int(now))
        return token.identity

    def _csrf(self, opened: OpenSession) -> str:
        session = opened.session
        text = f"{session.name}|{session.epoch}|{session.signed_in_at}".encode()
        return hmac.digest(self._csrf_key, text, "sha256").hex()

    async def _current_record(self) -> AccessRecord:
        """Return the record of users; if the daemon does not answer, one that is not too old."""
        loop = asyncio.get_running_loop()
        try:
            return await self._fresh_record()
        except ApiError:
            if self._record is None or loop.time() > self._fetched_at + RECORD_KEPT:
                raise
            return self._record

    async def _fresh_record(self) -> AccessRecord:
        loop = asyncio.get_running_loop()
        if self._record is not None and loop.time() <= self._fresh_until:
            return self._record
        if why := self._client.why_silent():
            raise _closed(why)
        try:
            told = await self._client.document(
                "/access/verification", Verification, query={"known": self._digest}, limit=RECORD_LIMIT
            )
        except NoAnswerError as error:
            raise _closed(str(error)) from None
        self._fetched_at = loop.time()
        self._fresh_until = self._fetched_at + RECORD_FRESH
        if told.record is not None or self._record is None:
            self._record, self._digest = told.record or AccessRecord(), told.digest
        return self._record

    def _note_use(self, token_id: str, now: int) -> None:
        """Let the daemon note that a token is in use, once in a while."""
        if now < self._noted.get(token_id, 0) + LAST_USED_STEP:
            return
        self._noted[token_id] = now
        body = msgspec.json.encode(UsesBody(used={token_id: now}))
        task = asyncio.create_task(self._tell_use(body))
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)

    async def _tell_use(self, body: bytes) -> None:
        # If this fails, the next use after an hour is noted.
        with contextlib.suppress(NoAnswerError):
            await self._client.ask("POST", "/access/uses", body, limit=RECORD_LIMIT)


def _closed(why: str) -> ApiError:
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, f"nobody can be let in: {why}")
