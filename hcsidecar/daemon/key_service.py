"""The keys of one node: records the certificates of the others, and takes part in rotations of the farm's keys."""

import asyncio
import contextlib
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from hcsidecar.api.relay import Relay, UnreachableError
from hcsidecar.core.documents import CommandResult
from hcsidecar.core.events import Event, Level
from hcsidecar.core.joining.names import SERVER_NAME
from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.core.key_messages import (
    KEYS_PATH,
    LONGEST_MATERIAL,
    MATERIAL_PATH,
    PROOF_PURPOSE,
    SEAL_PURPOSE,
    STEPS_PATH,
    Fingerprint,
    KeptRotation,
    KeyMaterial,
    KeyReport,
    RotateBody,
    SealedAuthority,
    StepAnswer,
    StepBody,
    is_proved,
    proof_of,
)
from hcsidecar.core.key_rotation import (
    KeyFacts,
    KeyHolder,
    KeyRotation,
    OrderStep,
    RotationEffect,
    RotationId,
    RotationStep,
    may_record,
    next_number,
    takes_by_itself,
    why_not_rotate,
    why_not_step,
)
from hcsidecar.core.membership.heartbeat import NodeName
from hcsidecar.daemon.reconfiguration import SettingsInForce
from hcsidecar.joining.node_tls import NodeTls, PeerCertificate
from hcsidecar.net.keyring import KeyFileError, Keyring, SealingKey
from hcsidecar.system.private_file import make_directory, place_file, replace_file

INTERVAL: Final = 1.0
"Seconds between two looks at whose certificate is not recorded."
RECORD_AGAIN: Final = 300.0
"Seconds after which a node is asked for its certificate again: it may have renewed it."
RECORD_SOON: Final = 5.0
"Seconds after which one is asked again that has not answered."
BEGIN_WITHIN: Final = 15.0
"Seconds for which a rotation waits until the certificates of all nodes are recorded."
_PULL_TAKES: Final = 5.0
_ORDER_TAKES: Final = 10.0
_NONCE_BYTES: Final = 12
_MOST: Final = 1_048_576
"Bytes of a file of this service; a larger one is damaged."

_Recorded = dict[NodeName, Fingerprint]
T = TypeVar("T")


class _NotDoneError(Exception):
    """A step cannot be done: the text completes a sentence about the node."""


class KeyService:
    """Implements `api.keys.KeysControl`.

    `directory` is for what must outlive the daemon. `alive` returns the names of the nodes that are heard,
    `known_to_removed` the ids of keys that nodes have which were removed from the farm. `reload` lets the daemon go by
    the key file that has just been written. `end_sessions` makes another key for the sessions of users on all nodes: a
    removed server has the former one, and could sign a session in everybody's name.
    """

    def __init__(
        self,
        *,
        directory: Path,
        settings: SettingsInForce,
        tls: NodeTls,
        relay: Relay,
        alive: Callable[[], Collection[str]],
        known_to_removed: Callable[[], Collection[int]],
        reload: Callable[[], None],
        end_sessions: Callable[[], Awaitable[None]],
        tell: Callable[[Event], object],
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._tls = tls
        self._relay = relay
        self._alive = alive
        self._known_to_removed = known_to_removed
        self._reload = reload
        self._end_sessions = end_sessions
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._recorded: _Recorded = {}
        self._due: dict[str, float] = {}
        "By node: when it is asked for its certificate again."
        self._kept: KeptRotation | None = None
        self._offer: KeyMaterial | None = None
        "The new key of the rotation that this node coordinates just now."
        self._loading = asyncio.Lock()
        self._loaded = False
        self._turn = asyncio.Lock()
        self._rotating = asyncio.Lock()
        self._writing = asyncio.Lock()

    async def load(self) -> None:
        """Read what an earlier daemon has kept, once; before that nothing is done, and nothing is written."""
        recorded, kept = self._directory / "certificates.json", self._directory / "rotation.json"
        async with self._loading:
            if not self._loaded:
                self._recorded = await asyncio.to_thread(lambda: _load(recorded, _Recorded) or {})
                self._kept = await asyncio.to_thread(lambda: _load(kept, KeptRotation))
                self._loaded = True

    # -- certificates of the others -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Record the certificates of the others until cancelled."""
        await self.load()
        while True:
            now = self._loop.time()
            others = [name for name in self._alive() if now >= self._due.get(name, 0.0)]
            # A kill between two files may have left an authority without its key, and so no certificate.
            if others and (self._tls.report is not None or (self._kept is not None and self._kept.sealed)):
                await asyncio.gather(*(self._ask(name) for name in others))
            if self._kept is not None and self._kept.unfinished and not self._rotating.locked():
                await self._go_on()
            await asyncio.sleep(INTERVAL)

    async def _ask(self, name: str) -> KeyFacts | str:
        """Ask a node for its facts, and record its certificate if that may be believed; return them or why not."""
        self._due[name] = self._loop.time() + RECORD_SOON
        try:
            own = self._tls.report.fingerprint if self._tls.report is not None else ""
            reply = await self._relay.ask(name, "GET", f"{KEYS_PATH}/{own}" if own else KEYS_PATH)
            report = read_json(reply.body, KeyReport) if reply.status == HTTPStatus.OK else None
        except (UnreachableError, KeyError) as error:
            return str(error).removeprefix(f"{name} ")
        except JsonError:
            report = None
        if report is None or report.node != name:
            return "gives no account of its keys: is it of the same version?"
        if report.certificate:
            self._due[name] = self._loop.time() + RECORD_AGAIN
            await self._record(name, report.certificate)
        await self._take_as(name, report.facts)
        return report.facts

    async def _take_as(self, name: str, theirs: KeyFacts) -> None:
        """Take the new authority if another node has it, and this one has missed the order."""
        async with self._turn:
            kept = self._kept
            if kept is None or not takes_by_itself(self._holder(), kept.authority, theirs):
                return
            try:
                if await self._take(kept.sealed, kept.key):
                    missed = f"took the new certificate authority as {name} has, whose order this node has missed"
                    self._say(Level.INFO, missed)
            except _NotDoneError:
                damaged = (
                    f"what is kept of the new certificate authority is damaged: copy ca.pem and ca.key from {name}"
                )
                self._say(Level.WARNING, damaged)
            except OSError as error:
                self._say(Level.WARNING, f"cannot write {error.filename}: {error.strerror}; tried again in 5 min")

    async def note_certificate(self, node: str, certificate: str) -> None:
        """Take in which certificate another node has, as it says in a signed request."""
        is_new = await self._record(node, certificate)
        # With another certificate it may have another authority, which this node has to take too.
        self._due[node] = 0.0 if is_new else self._loop.time() + RECORD_AGAIN

    async def _record(self, name: str, certificate: str) -> bool:
        """Record a certificate if that may be believed; return whether it is another one than before."""
        await self.load()
        former = self._recorded.get(name)
        if certificate == former or not may_record(keys=self._keyring.ids, known_to_removed=self._known_to_removed()):
            return False
        members = self._members()
        self._recorded = {other: each for other, each in self._recorded.items() if other in members}
        self._recorded[name] = certificate
        await self._save("certificates.json", lambda: self._recorded)
        return True

    async def _save(self, name: str, present: Callable[[], object]) -> None:
        """Write a file; one at a time, and what is present then, so that the last one written is the newest."""

        def write(content: bytes) -> None:
            make_directory(self._directory)
            replace_file(self._directory / name, content)

        try:
            async with self._writing:
                await asyncio.to_thread(write, msgspec.json.encode(present()))
        except OSError as error:
            self._say(Level.WARNING, f"{self._directory / name} cannot be written: {error.strerror}")

    # -- what others may know -----------------------------------------------------------------------------------

    @property
    def _node(self) -> str:
        return self._settings.me.name

    @property
    def _farm(self) -> str:
        return self._settings.farm.farm.name

    @property
    def _keyring(self) -> Keyring:
        return self._settings.loaded.keyring

    def _members(self) -> frozenset[str]:
        return frozenset(node.name for node in self._settings.farm.node)

    def report(self) -> KeyReport:
        """Return what this node says of its keys."""
        found = self._tls.report
        authority = _fingerprint(found.authority) if found is not None else ""
        return KeyReport(
            node=self._node,
            rotation=self._kept.rotation if self._kept else None,
            authority=authority,
            certificate=found.fingerprint if found is not None else "",
            recorded=self._recorded,
        )

    def material(self, token: str, peer: PeerCertificate) -> KeyMaterial | None:
        """Return the new key, for a node that shows the certificate that is recorded of it."""
        offer = self._offer
        if offer is None or not secrets.compare_digest(offer.rotation.token.encode(), token.encode()):
            return None
        if peer.node in self._members() and self._recorded.get(peer.node) == peer.fingerprint:
            return offer
        self._say(Level.WARNING, f"did not give the new key to {peer.node}: it shows another certificate than recorded")
        return None

    # -- the coordinator ----------------------------------------------------------------------------------------

    async def rotate(self, body: RotateBody, *, by: str) -> CommandResult:
        """Change the keys and the authority of all nodes; goes on if the command that asks is broken off."""
        if self._rotating.locked():
            return CommandResult(ok=False, text="a rotation of the keys is under way on this node already")
        return await asyncio.shield(asyncio.ensure_future(self._rotate(body, by=by)))

    async def _rotate(self, body: RotateBody, *, by: str) -> CommandResult:
        async with self._rotating:
            await self.load()
            facts, reasons = await self._ready()
            if reasons:
                return CommandResult(ok=False, text="; ".join(reasons))
            rotation = RotationId(next_number(facts.values()), self._node, secrets.token_hex(16))
            self._say(Level.INFO, f"begins to change the keys of all nodes, told by {by}")
            return await self._to_the_end(self._new_key(rotation, body), body)

    async def _go_on(self) -> None:
        """Go on, once all nodes are heard, with a rotation during which this daemon was killed."""
        async with self._rotating:
            kept, keyring = self._kept, self._keyring
            if kept is None or not self._members() - {self._node} <= set(self._alive()):
                return
            try:
                new, key = self._unsealed(kept.sealed, kept.key), keyring.keys[kept.key]
            except (_NotDoneError, KeyError):
                await self._keep(msgspec.structs.replace(kept, unfinished=False))
                return
            self._say(Level.INFO, "goes on to change the keys of all nodes: this daemon was ended while it did")
            material = KeyMaterial(
                rotation=kept.rotation,
                secret=key.secret.hex(),
                added=key.added.timestamp(),
                authority=new.authority,
                authority_key=new.authority_key,
            )
            await self._to_the_end(material, RotateBody(authority=new.authority, authority_key=new.authority_key))

    async def _to_the_end(self, material: KeyMaterial, body: RotateBody) -> CommandResult:
        self._offer = material
        try:
            result = await self._lead(material.rotation, body)
        finally:
            self._offer = None
        if result.ok:
            await self._end_sessions()
        if self._kept is not None and self._kept.unfinished:
            await self._keep(msgspec.structs.replace(self._kept, unfinished=False))
        self._say(Level.INFO if result.ok else Level.WARNING, result.text)
        return result

    async def _keep(self, kept: KeptRotation) -> None:
        self._kept = kept
        await self._save("rotation.json", lambda: self._kept)

    async def _ready(self) -> tuple[Mapping[str, KeyFacts | str], list[str]]:
        """Return the facts of all nodes, and why no rotation can begin."""
        until = self._loop.time() + BEGIN_WITHIN
        while True:
            alive, others = set(self._alive()), sorted(self._members() - {self._node})
            told = await asyncio.gather(*(self._ask(name) for name in others if name in alive))
            facts: dict[str, KeyFacts | str] = dict.fromkeys(others, "is not heard")
            facts |= dict(zip((name for name in others if name in alive), told, strict=True))
            facts[self._node] = self.report().facts
            doubtful = not may_record(keys=self._keyring.ids, known_to_removed=self._known_to_removed())
            reasons = why_not_rotate(self._node, facts, names=self._members(), doubtful=doubtful)
            if not any("recorded" in reason for reason in reasons) or self._loop.time() >= until:
                return facts, reasons
            await asyncio.sleep(INTERVAL)

    def _new_key(self, rotation: RotationId, body: RotateBody) -> KeyMaterial:
        """Return a new key, or that of a rotation of this node which did not get through."""
        kept, keyring = self._kept, self._keyring
        secret, added = secrets.token_bytes(32), time.time()
        if kept is not None and kept.rotation.coordinator == self._node and len(keyring.ids) > 1:
            former = keyring.keys.get(kept.key)
            if former is not None and former.id != keyring.active_id:
                secret, added = former.secret, former.added.timestamp()
        return KeyMaterial(
            rotation=rotation,
            secret=secret.hex(),
            added=added,
            authority=body.authority,
            authority_key=body.authority_key,
        )

    async def _lead(self, rotation: RotationId, body: RotateBody) -> CommandResult:
        machine = KeyRotation(members=self._members())
        answers: asyncio.Queue[tuple[str, RotationStep, str]] = asyncio.Queue()
        tasks: set[asyncio.Task[None]] = set()

        async def order(name: str, step: RotationStep) -> None:
            answers.put_nowait((name, step, await self._order(name, rotation, step, body)))

        def carry_out(effects: list[RotationEffect]) -> None:
            for effect in effects:
                if isinstance(effect, OrderStep):
                    task = asyncio.ensure_future(order(effect.node, effect.step))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)

        while machine.over is None:
            carry_out(machine.tick(members=self._members(), now=self._loop.time()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    name, step, problem = await answers.get()
                    now = self._loop.time()
                    carry_out(machine.answered(name, step, problem or None, members=self._members(), now=now))
        for task in tasks:
            task.cancel()
        self._due = {}
        return CommandResult(ok=machine.over.ok, text=machine.over.text)

    async def _order(self, name: str, rotation: RotationId, step: RotationStep, body: RotateBody) -> str:
        """Order a step at a node; return why it has not done it, or an empty text."""
        order = self._signed(StepBody(rotation=rotation, step=step), body)
        if name == self._node:
            return (await self.take_step(order, sender=name)).problem
        try:
            reply = await self._relay.ask(name, "POST", STEPS_PATH, msgspec.json.encode(order), wait=_ORDER_TAKES)
            if reply.status != HTTPStatus.OK:
                return f"refuses it with status {reply.status}"
            return read_json(reply.body, StepAnswer).problem
        except (UnreachableError, KeyError) as error:
            return f"cannot be told: {error}"
        except JsonError:
            return "answers in words that are not understood"

    def _signed(self, order: StepBody, body: RotateBody) -> StepBody:
        """Return an order with its proof, and with the sealed authority where it is needed."""
        if order.step is RotationStep.ADD or self._kept is None:
            return order
        keyring, key_id = self._keyring, self._kept.key
        if order.step is RotationStep.CERTIFY:
            new = SealedAuthority(authority=body.authority, authority_key=body.authority_key)
            order = msgspec.structs.replace(order, sealed=self._sealed(new, key_id))
        key = keyring.derive(PROOF_PURPOSE, key_id, self._farm.encode())
        return msgspec.structs.replace(order, proof=proof_of(order, key))

    # -- every node ---------------------------------------------------------------------------------------------

    async def take_step(self, body: StepBody, *, sender: str) -> StepAnswer:
        """Do what a coordinator orders; safe to repeat."""
        await self.load()
        async with self._turn:
            members = self._members()
            why = why_not_step(body.step, body.rotation, self._holder(), sender=sender, members=members)
            if why is not None:
                return StepAnswer(problem=why)
            try:
                await self._do(body)
            except (_NotDoneError, KeyFileError) as error:
                return StepAnswer(problem=str(error)[:1000])
            except OSError as error:
                return StepAnswer(problem=f"cannot write {error.filename}: {error.strerror}")
            return StepAnswer()

    def _holder(self) -> KeyHolder:
        kept, keyring = self._kept, self._keyring
        return KeyHolder(
            rotation=kept.rotation if kept else None,
            new=kept.key if kept else None,
            keys=keyring.ids,
            active=keyring.active_id,
        )

    async def _do(self, body: StepBody) -> None:
        keyring, kept = self._keyring, self._kept
        if body.step is RotationStep.ADD:
            if kept is None or kept.rotation != body.rotation or kept.key not in keyring.ids:
                await self._add(body.rotation)
            return
        if kept is None or not is_proved(body, keyring.derive(PROOF_PURPOSE, kept.key, self._farm.encode())):
            raise _NotDoneError("does not believe the order: it is not proved with the new key")
        match body.step:
            case RotationStep.USE:
                await self._write(keyring.using(kept.key))
            case RotationStep.DROP:
                await self._write(keyring.only(kept.key))
            case RotationStep.CERTIFY:
                await self._take(body.sealed, kept.key)

    async def _add(self, rotation: RotationId) -> None:
        offer = self._offer
        material = offer if rotation.coordinator == self._node else await self._pulled(rotation)
        if material is None or material.rotation != rotation:
            raise _NotDoneError("has been given no key of this rotation")
        added = datetime.fromtimestamp(material.added, UTC)
        key = SealingKey(secret=bytes.fromhex(material.secret), added=added)
        await self._write(self._keyring.with_key(key))
        new = SealedAuthority(authority=material.authority, authority_key=material.authority_key)
        try:
            fingerprint = _fingerprint(new.authority)
        except ValueError:
            raise _NotDoneError("has been given no certificate authority that it can read") from None
        kept = KeptRotation(
            rotation=rotation,
            key=key.id,
            authority=fingerprint,
            sealed=self._sealed(new, key.id),
            unfinished=rotation.coordinator == self._node,
        )
        await self._keep(kept)

    async def _write(self, keyring: Keyring) -> None:
        """Put other keys into the key file, and go by them."""
        if (tuple(keyring.ids), keyring.active_id) != (tuple(self._keyring.ids), self._keyring.active_id):
            await asyncio.to_thread(keyring.write, replace=True)
            self._reload()
        if set(self._keyring.ids) != set(keyring.ids) or self._keyring.active_id != keyring.active_id:
            raise _NotDoneError(f"cannot use its key file {keyring.path}; its log says why")

    async def _take(self, sealed: str, key_id: int) -> bool:
        """Take the new authority in place of the former one; return whether this node had another one."""
        new, files = self._unsealed(sealed, key_id), self._tls.files
        wanted = {files.key: (new.authority_key.encode(), 0o600), files.certificate: (new.authority.encode(), 0o644)}

        def write() -> bool:
            others = {path: it for path, it in wanted.items() if not path.exists() or path.read_bytes() != it[0]}
            for path, (content, mode) in others.items():
                place_file(path, content, replace=path.exists(), mode=mode)
            return bool(others)

        written = await asyncio.to_thread(write)
        if written:
            self._tls.look_now()
            self._due = {}
        return written

    def _sealed(self, new: SealedAuthority, key_id: int) -> str:
        """Return an authority, sealed with a key, in hexadecimal digits."""
        nonce, key = secrets.token_bytes(_NONCE_BYTES), self._keyring.derive(SEAL_PURPOSE, key_id, self._farm.encode())
        return (nonce + ChaCha20Poly1305(key).encrypt(nonce, msgspec.json.encode(new), None)).hex()

    def _unsealed(self, sealed: str, key_id: int) -> SealedAuthority:
        try:
            content = bytes.fromhex(sealed)
            key = self._keyring.derive(SEAL_PURPOSE, key_id, self._farm.encode())
            opened = ChaCha20Poly1305(key).decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], None)
            return read_json(opened, SealedAuthority)
        except (InvalidTag, ValueError, KeyError, JsonError):
            raise _NotDoneError("cannot open the new certificate authority") from None

    async def _pulled(self, rotation: RotationId) -> KeyMaterial | None:
        """Fetch the new key from a coordinator that shows the certificate that is recorded of it."""
        name = rotation.coordinator
        recorded, context = self._recorded.get(name), self._tls.client
        if recorded is None or context is None:
            raise _NotDoneError(f"has not recorded the certificate of {name} yet, or has none of its own")
        where = self._settings.farm.api_address(self._settings.farm.node_named(name))
        try:
            async with asyncio.timeout(_PULL_TAKES):
                reader, writer = await asyncio.open_connection(
                    where.host, where.port, ssl=context, server_hostname=SERVER_NAME
                )
                try:
                    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
                    if not shown or sha256(shown).hexdigest() != recorded:
                        raise _NotDoneError(f"does not believe {name}: it shows another certificate than recorded")
                    path = f"{MATERIAL_PATH}/{rotation.token}"
                    writer.write(f"GET {path} HTTP/1.1\r\nHost: {SERVER_NAME}\r\nConnection: close\r\n\r\n".encode())
                    answer = await _read(reader)
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            raise _NotDoneError(f"cannot fetch the new key from {name} at {where}: {error or 'no answer'}") from None
        head, _, content = answer.partition(b"\r\n\r\n")
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise _NotDoneError(f"is refused the new key by {name}, which has recorded another certificate of it")
        try:
            return read_json(content, KeyMaterial)
        except JsonError:
            raise _NotDoneError(f"does not understand what {name} sends as the new key") from None

    def _say(self, level: Level, message: str) -> None:
        self._tell(Event(level=level, origin="keys", message=message))


def _fingerprint(certificate: str) -> str:
    """Return the SHA-256 of a certificate (PEM) in hexadecimal digits. Raise ValueError if it is none."""
    return sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest()


async def _read(reader: asyncio.StreamReader) -> bytes:
    answer = bytearray()
    while part := await reader.read(LONGEST_MATERIAL):
        answer += part
        if len(answer) > LONGEST_MATERIAL:
            raise OSError(0, "the answer is too long")
    return bytes(answer)


def _load(path: Path, kind: type[T]) -> T | None:
    """Return what is in a file of this service; None if there is nothing that can be used."""
    try:
        with path.open("rb") as file:
            return read_json(file.read(_MOST), kind)
    except (OSError, JsonError):
        return None
