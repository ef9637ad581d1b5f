"""A console in the test's own loop, with nodes behind it that do what the test says."""

import asyncio
import contextlib
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from api_nodes import running
from argon2 import PasswordHasher

from hcsidecar.api.console import MAX_BODY, AdmitConsole
from hcsidecar.api.local import local_app
from hcsidecar.api.routes import Api
from hcsidecar.api.servers import serve_unix
from hcsidecar.console.start import console
from hcsidecar.core.access import changes
from hcsidecar.core.access.credentials import secret_digest, write_token
from hcsidecar.core.access.documents import AccessResult, LinkAnswer, LinkUser, Verification, access_report
from hcsidecar.core.access.record import AccessRecord, ChangeStamp, SessionKey, TokenEntry, UserEntry
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.access.sign_in_links import SignInLinks
from hcsidecar.core.console.openapi import COOKIE, CSRF_HEADER
from hcsidecar.core.documents import CommandResult
from hcsidecar.core.settings.agreement import AgreementPhase
from hcsidecar.core.settings.documents import CandidateReport, CheckOutcome, DifferencesReport, SettingsReport
from hcsidecar.core.settings.revision import Manifest

PASSWORD = "correct horse battery"  # noqa: S105 - of nobody
_QUICK = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1)
_STAMP = ChangeStamp(1, 1, "web1")
_SECRETS = {role: bytes([number]) * 32 for number, role in enumerate(AccessRole, start=1)}
USERS = {AccessRole.MONITOR: "eve", AccessRole.CONTROL: "bob", AccessRole.ADMIN: "alice"}


def token_of(role):
    """Give the API token of a program with a role."""
    return write_token(secret_digest(_SECRETS[role])[:16], _SECRETS[role])


def access_record():
    """Give a record with a user and a token for each role; all users have one password."""
    hashed = _QUICK.hash(PASSWORD)
    return AccessRecord(
        users={
            name: UserEntry(born=_STAMP, role=role, role_set=_STAMP, password=hashed, password_set=_STAMP)
            for role, name in USERS.items()
        },
        tokens={
            secret_digest(secret)[:16]: TokenEntry(
                name=f"{role}-token", role=role, secret_sha256=secret_digest(secret), made=_STAMP
            )
            for role, secret in _SECRETS.items()
        },
        session_keys={"0" * 16: SessionKey(key="ab" * 32, made_at=2_000_000_000)},
    )


@dataclass
class ConsoleHere:
    """A console that runs."""

    nodes: dict
    address: tuple
    record: list
    asked: list = field(default_factory=list)
    "Method and path of each request to the daemon."

    def url(self, path):
        return f"http://{self.address[0]}:{self.address[1]}{path}"

    async def ask(self, method, path, body=None, *, role=AccessRole.ADMIN, headers=None, raw=None):
        """Ask with the token of a role, None for nobody. Give status, headers and document."""
        more = {"Authorization": f"Bearer {token_of(role)}"} if role is not None else {}
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            return await self.ask_with(session, method, path, body, headers={**more, **(headers or {})}, raw=raw)

    async def ask_with(self, session, method, path, body=None, *, headers=None, raw=None):
        """Ask within a session of a browser."""
        data = raw if raw is not None else None if body is None else json.dumps(body)
        kind = {"Content-Type": "application/json"} if data is not None else {}
        async with session.request(
            method, self.url(path), data=data, headers={**kind, **(headers or {})}, allow_redirects=False
        ) as response:
            content = await response.read()
            with contextlib.suppress(ValueError):
                content = json.loads(content)
            return response.status, response.headers, content

    @asynccontextmanager
    async def signed_in(self, role=AccessRole.ADMIN):
        """Sign a person in; give the browser's session, and the headers that it sends with changes."""
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as session:
            status, _, told = await self.ask_with(
                session, "POST", "/api/v1/session", {"name": USERS[role], "password": PASSWORD}
            )
            assert status == 200, told
            yield session, {CSRF_HEADER: told["csrf"]}


def cookie_in(session):
    """Give the session cookie of a browser."""
    return next((cookie for cookie in session.cookie_jar if cookie.key == COOKIE), None)


class FakeAccess:
    """Users and tokens as a daemon keeps them, without other nodes; `record` is a list with the record in it."""

    def __init__(self, record):
        self._record = record
        self.links = SignInLinks()

    def report(self):
        return access_report(self._record[0], node="web1", now=time.time())

    def verification(self, known):
        record = self._record[0]
        return Verification(digest=record.digest, record=None if record.digest == known else record)

    def note_uses(self, body):
        pass

    def make_link(self, body, *, by):
        self.links.add(body.user, b"s" * 22, by=by, now=time.monotonic())
        return LinkAnswer(ok=True, secret="s" * 22, lasts=600)

    def use_link(self, body):
        found = self.links.redeem(body.secret.encode(), now=time.monotonic())
        return LinkUser(user=None if found is None else found.user)

    async def change(self, body, *, name, by):
        drawn = ("ab" * 8, "cd" * 32)
        decision = changes.decide(self._record[0], body, name=name, by=by, node="web1", now=time.time(), drawn=drawn)
        if isinstance(decision, changes.AccessRefusal):
            return AccessResult(ok=False, text=decision.reason)
        self._record[0] = self._record[0].merged(decision.delta)
        return AccessResult(ok=True, text=decision.text)


class FakeSettings:
    """Settings of a node: one revision, and a candidate that is always right."""

    def __init__(self, node):
        self.node = node
        self.candidates, self.proposals = [], []
        self.content = b'[farm]\nname = "apache"\n[[node]]\nname = "web1"\naddress = "192.0.2.11"\n'
        self.revision = Manifest.of(
            {"farm.toml": self.content}, farm="apache", number=1, parents=(), author="root on web1", made_at=1
        )

    async def report(self):
        return SettingsReport(
            node=self.node,
            settled=self.revision.id,
            phase=AgreementPhase.IDLE,
            candidate=None,
            blocked=None,
            conflicts={},
            unapplied=None,
        )

    async def make(self, body, *, by):
        self.candidates.append((body, by))
        return CandidateReport(revision=self.revision.id, checks=(CheckOutcome(node=self.node),), changes=("power",))

    def propose(self, body):
        self.proposals.append(body)
        ok = body.digest == self.revision.id.digest
        return CommandResult(ok=ok, text="proposed" if ok else "this is not the latest candidate")

    async def differences(self, number):
        return DifferencesReport(before=None, after=self.revision.id if number else None)

    async def manifest(self, digest):
        return self.revision.encoded() if digest == self.revision.id.digest else None

    async def file(self, digest, sha256):
        return self.content if sha256 == self.revision.files[0].sha256 else None


async def eventually(ask, *, limit=20):
    """Ask again and again, with a function that makes a coroutine, until the answer is true; give that."""
    async with asyncio.timeout(limit):
        while True:
            if found := await ask():
                return found
            await asyncio.sleep(0.02)


@asynccontextmanager
async def console_here(directory, names=("web1", "web2", "web3"), **more):
    """Run nodes, and the console of the first; `more` is for the console."""
    record, asked = [access_record()], []

    @web.middleware
    async def remember(request, handler):
        asked.append((request.method, request.path))
        return await handler(request)

    async with running(list(names), directory) as nodes:
        first = nodes[names[0]]
        for name, node in nodes.items():
            node.control.settings = FakeSettings(name)
            node.control.access = FakeAccess(record)
        path = directory / "console.sock"
        admit = AdmitConsole(console=None, record=lambda: record[0])
        app = local_app(Api(first.control), first.relay, admit=admit, max_body=MAX_BODY)
        app.middlewares.insert(0, remember)
        async with serve_unix(app, path), console(path, "127.0.0.1", 0, tls=None, **more) as address:
            yield ConsoleHere(nodes=nodes, address=address, record=record, asked=asked)
            # As a daemon does at its end, so that nobody waits for an event.
            for node in nodes.values():
                node.control.journal.close()
    # Transports close in the loop's next turns.
    for _ in range(50):
        await asyncio.sleep(0)
