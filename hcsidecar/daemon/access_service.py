"""Users and API tokens on one node: keeps the record on disk, and the same as that of the other nodes.

A change is made here at once and sent to all nodes that live. Besides, each node compares its record with that of the
others in turn, at first with those that have just been heard, and merges what it lacks. So a node that was away, or
whose file is damaged, has the record of the others a moment after it has heard them.

If the file cannot be written, the change takes effect nevertheless, and is written later: it must be possible to lock
somebody out even if a disk is full.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Collection, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from hcsidecar.access.store import AccessStore, AccessStoreError
from hcsidecar.api.relay import Relay, UnreachableError
from hcsidecar.api.requests import Reply
from hcsidecar.core.access.documents import (
    AccessChangeBody,
    AccessReport,
    AccessResult,
    EndSessionsBody,
    LinkAnswer,
    LinkBody,
    LinkUser,
    RecordState,
    RedeemBody,
    UsesBody,
    Verification,
    access_report,
)
from hcsidecar.core.access.record import AccessRecord, decode_record, encode_record
from hcsidecar.core.events import Event, Level
from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.core.lost_files import Loss
from hcsidecar.net.sealed_messages import MessageSealer

if TYPE_CHECKING:
    from hcsidecar.core.access.sign_in_links import SignInLinks

PURPOSE: Final = "access"
DIGEST_PATH: Final = "/api/v1/access/digest"
RECORD_PATH: Final = "/api/v1/access/record"
LOOK_INTERVAL: Final = 1.0
"Seconds between two looks for nodes that have just been heard."
COMPARE_INTERVAL: Final = 5.0
"Seconds between two comparisons with other nodes."
_KEY_BYTES: Final = 32
_ID_BYTES: Final = 8
_LINK_BYTES: Final = 16


class AccessService:
    """Holds the record of this node; implements `hcsidecar.api.access.AccessControl`.

    `nodes` returns the names of all nodes of the farm, `alive` of those others that are heard. `tell` takes the events
    and `lost` what somebody did to the file. `clock` is the wall clock, in seconds since 1970.
    """

    def __init__(
        self,
        *,
        node: str,
        store: AccessStore,
        sealer: MessageSealer,
        relay: Relay,
        nodes: Callable[[], Collection[str]],
        alive: Callable[[], Collection[str]],
        tell: Callable[[Event], None],
        lost: Callable[[Loss], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._node = node
        self._store = store
        self._sealer = sealer
        self._relay = relay
        self._nodes = nodes
        self._alive = alive
        self._tell = tell
        self._lost = lost
        self._clock = clock
        self._record = AccessRecord()
        self._digest = self._record.digest
        self._writing = asyncio.Lock()
        self._on_disk: AccessRecord | None = None
        self._why_not = ""
        "Why the record could not be written."
        self._unsent: list[AccessRecord] = []
        "Changes for which nobody waits, to be sent to the others."
        self._wake = asyncio.Event()
        self._links: SignInLinks | None = None

    @property
    def record(self) -> AccessRecord:
        """Users and tokens as they are now."""
        return self._record

    # -- life ---------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Read the file. One that cannot be used is reported and kept under another name; nobody is let in by it."""
        path = self._store.path
        try:
            loaded = await asyncio.to_thread(self._store.load)
        except AccessStoreError as error:
            self._complain(
                f"{path} {error}; nobody can sign in until another node is heard, whose record is taken; if there is "
                "none, add the users again: hcsidecar user add"
            )
            with contextlib.suppress(AccessStoreError):  # it is written anew, in place of the damaged one
                await asyncio.to_thread(self._store.set_aside)
            return
        if loaded is not None:
            self._adopt(loaded)

    async def run(self) -> None:
        """Compare the record with those of the others, and send what is unsent, until cancelled."""
        heard: frozenset[str] = frozenset()
        turn = 0
        compare_at = 0.0
        loop = asyncio.get_running_loop()
        while True:
            alive = sorted(self._alive())
            new = [name for name in alive if name not in heard]
            for name in new:
                if not await self._compare(name):
                    alive.remove(name)  # tried again with the next look
            if alive and not new and loop.time() >= compare_at:
                turn += 1
                compare_at = loop.time() + COMPARE_INTERVAL
                await self._compare(alive[turn % len(alive)])
            heard = frozenset(alive)
            while self._unsent:
                await self._spread(self._unsent.pop(0))
            await self._look_at_file()
            await self._save()
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_INTERVAL):
                    await self._wake.wait()

    async def _compare(self, other: str) -> bool:
        """Merge what another node has and this one lacks. Return whether it has answered."""
        try:
            state = _state(await self._relay.ask(other, "GET", DIGEST_PATH))
            if state is None or state.digest == self._digest:
                # A node of an earlier version has no such path.
                return True
            reply = await self._relay.ask(other, "GET", RECORD_PATH)
        except (UnreachableError, KeyError):
            return False
        if reply.status == HTTPStatus.OK:
            await self.take(reply.body, sender=other)
        return True

    # -- for the API --------------------------------------------------------------------------------------------

    def report(self) -> AccessReport:
        """Return users and tokens, without what verifies them."""
        return access_report(self._record, node=self._node, now=self._clock())

    def verification(self, known: str) -> Verification:
        """Return what verifies passwords, sessions and tokens, unless the caller has it with this digest."""
        from hcsidecar.core.access.changes import new_session_key  # noqa: PLC0415 - only where there is a console
        from hcsidecar.core.access.credentials import signing_key  # noqa: PLC0415

        if signing_key(self._record, now=self._clock()) is None:
            token_id, key = _drawn_session_key()
            delta = new_session_key(token_id=token_id, key=key, now=self._clock(), record=self._record)
            self._adopt(delta)
            self._unsent.append(delta)
            self._wake.set()
        return Verification(digest=self._digest, record=None if known == self._digest else self._record)

    async def change(self, body: AccessChangeBody, *, name: str, by: str) -> AccessResult:
        """Change users or tokens here, and on the other nodes."""
        from hcsidecar.core.access.changes import AccessRefusal, decide  # noqa: PLC0415 - costs memory, seldom needed

        decision = decide(
            self._record, body, name=name, by=by, node=self._node, now=self._clock(), drawn=_drawn_session_key()
        )
        if isinstance(decision, AccessRefusal):
            return AccessResult(ok=False, text=decision.reason)
        self._adopt(decision.delta)
        self._tell(Event(level=Level.INFO, origin="access", message=f"{decision.text}: by {by}"))
        _, lacking = await asyncio.gather(self._save(), self._spread(decision.delta))
        warning = f"; not on the disk of {self._node} yet: {self._why_not}" if self._why_not else ""
        return AccessResult(ok=True, text=decision.text + warning, lacking=tuple(lacking))

    async def end_sessions(self, *, by: str) -> None:
        """End the sessions of all users, if there are any, because their key may be known to somebody else."""
        if self._record.session_keys:
            await self.change(EndSessionsBody(), name="", by=by)

    def note_uses(self, body: UsesBody) -> None:
        """Note when tokens were last used; the other nodes take it when they compare their records."""
        from hcsidecar.core.access.changes import note_uses  # noqa: PLC0415 - only where there is a console

        delta = note_uses(self._record, body.used)
        if delta is not None:
            self._adopt(delta)

    def make_link(self, body: LinkBody, *, by: str) -> LinkAnswer:
        """Make a link that signs a user in once, at the console of this node."""
        from hcsidecar.core.access.changes import no_such_user  # noqa: PLC0415 - costs memory, seldom needed
        from hcsidecar.core.access.sign_in_links import LINK_LIFE  # noqa: PLC0415

        users = self._record.present_users
        if body.user not in users:
            return LinkAnswer(ok=False, text=no_such_user(body.user, sorted(users)))
        secret = secrets.token_urlsafe(_LINK_BYTES)
        self._sign_in_links().add(body.user, secret.encode(), by=by, now=time.monotonic())
        self._tell(
            Event(level=Level.INFO, origin="access", message=f"a link that signs {body.user} in once is made: by {by}")
        )
        return LinkAnswer(ok=True, secret=secret, lasts=int(LINK_LIFE))

    def use_link(self, body: RedeemBody) -> LinkUser:
        """Return whom a link signs in, and tell that it is used."""
        found = self._sign_in_links().redeem(body.secret.encode(), now=time.monotonic())
        if found is None or found.user not in self._record.present_users:
            return LinkUser(user=None)
        self._tell(
            Event(
                level=Level.INFO,
                origin="access",
                message=f"the link that signs {found.user} in, made by {found.by}, is used from {body.address}",
            )
        )
        return LinkUser(user=found.user)

    def _sign_in_links(self) -> "SignInLinks":
        if self._links is None:
            from hcsidecar.core.access.sign_in_links import SignInLinks  # noqa: PLC0415 - costs memory, seldom needed

            self._links = SignInLinks()
        return self._links

    def state(self) -> RecordState:
        """Return the digest of the record."""
        return RecordState(digest=self._digest)

    def sealed(self) -> bytes:
        """Return the record for another node."""
        return self._sealer.seal(encode_record(self._record))

    async def take(self, sealed: bytes, *, sender: str) -> RecordState | None:
        """Take in what another node has sealed; None if it is not right."""
        content = self._sealer.open(sealed)
        if content is None:
            return None
        try:
            record = decode_record(content)
        except JsonError as error:
            self._complain(f"{sender} has sent a record of users and tokens that is not right: {error}")
            return None
        before = self._record
        if self._adopt(record):
            from hcsidecar.core.access.changes import changes_in_words  # noqa: PLC0415 - costs memory, seldom needed

            for line in changes_in_words(before, self._record):
                self._tell(Event(level=Level.INFO, origin="access", message=line))
            await self._save()
        return self.state()

    # -- a change -----------------------------------------------------------------------------------------------

    def _adopt(self, delta: AccessRecord) -> bool:
        """Go by the merged record from now on. Return whether anything has changed."""
        merged = self._record.merged(delta).pruned(now=self._clock())
        if merged == self._record:
            return False
        self._record, self._digest = merged, merged.digest
        return True

    async def _spread(self, delta: AccessRecord) -> Sequence[str]:
        """Send a change to all other nodes that live. Return the names of those that do not have it."""
        others = [name for name in self._nodes() if name != self._node]
        alive = [name for name in self._alive() if name in others]
        message = self._sealer.seal(encode_record(delta))
        answers = await asyncio.gather(*(self._send(name, message) for name in alive))
        have = {name for name, has in zip(alive, answers, strict=True) if has}
        return [name for name in others if name not in have]

    async def _send(self, other: str, message: bytes) -> bool:
        try:
            reply = await self._relay.ask(other, "POST", RECORD_PATH, message)
        except (UnreachableError, KeyError):
            return False
        return _state(reply) is not None

    async def _look_at_file(self) -> None:
        """See that the file is as this daemon has left it; if it is not, the record is written again."""
        async with self._writing:
            what = await asyncio.to_thread(self._store.what_became)
            if what is not None:
                self._on_disk = None
                self._lost(Loss(path=str(self._store.path), what=what, remedy="written again"))

    async def _save(self) -> None:
        async with self._writing:
            record = self._record
            if record == self._on_disk or (self._on_disk is None and record == AccessRecord()):
                return
            try:
                await asyncio.to_thread(self._store.save, record)
            except AccessStoreError as error:
                if str(error) != self._why_not:
                    self._complain(f"{self._store.path} {error}: users and tokens count as changed, tried again")
                self._why_not = str(error)
                return
            if self._why_not:
                self._tell(Event(level=Level.INFO, origin="access", message=f"{self._store.path} is written again"))
            self._on_disk, self._why_not = record, ""

    def _complain(self, message: str) -> None:
        self._tell(Event(level=Level.ERROR, origin="access", message=message))


def _drawn_session_key() -> tuple[str, str]:
    """Return the id and the key of a session key to be."""
    return secrets.token_hex(_ID_BYTES), secrets.token_hex(_KEY_BYTES)


def _state(reply: Reply) -> RecordState | None:
    """Return what another node says of its record; None if it does not have one."""
    if reply.status != HTTPStatus.OK:
        return None
    try:
        return read_json(reply.body, RecordState)
    except JsonError:
        return None
