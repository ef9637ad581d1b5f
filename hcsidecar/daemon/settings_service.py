"""The settings of one node: drives the agreement on revisions, and carries out what it decides.

What takes long runs beside the event loop: one task at a time saves, activates and discards, in the order in which the
agreement has decided; messages and downloads have tasks of their own. Each reports back to the agreement.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Final, TypeVar, assert_never

import msgspec

from hcsidecar.api.relay import Relay, UnreachableError
from hcsidecar.api.requests import Reply
from hcsidecar.core.documents import Refusal
from hcsidecar.core.events import Event, Level
from hcsidecar.core.farmfile.farm_file import FarmFile
from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.core.membership.effects import Tell
from hcsidecar.core.membership.revision_state import RevisionState
from hcsidecar.core.metrics import SettingsFigures
from hcsidecar.core.settings.agreement import (
    Activate,
    Agreement,
    AgreementEffect,
    AgreementPhase,
    AskWhetherRemoved,
    Discard,
    EndRemoved,
    Obtain,
    RestartDaemon,
    Save,
    SendMessage,
    SettingsRecord,
    Settled,
)
from hcsidecar.core.settings.edits import Edit, edits_in_words
from hcsidecar.core.settings.history import never_taken
from hcsidecar.core.settings.messages import AgreementMessage, Lineage, encode_message
from hcsidecar.core.settings.removal import decode_notice, encode_notice, latest_removal, removal_notice
from hcsidecar.core.settings.revision import (
    FARM_FILE,
    BundleError,
    Manifest,
    RevisionId,
    content_problem,
    decode_manifest,
)
from hcsidecar.daemon.settled_settings import events_of
from hcsidecar.farmfile.loading import FarmFileError, LoadedFarm, see
from hcsidecar.net.keyring import Keyring
from hcsidecar.settings.candidate import check_here
from hcsidecar.settings.farm_directory import FarmDirectory
from hcsidecar.settings.operator_files import bring_up_to
from hcsidecar.settings.store import NotReadable, RevisionStore, StoredRevision, StoreError
from hcsidecar.settings.working_copy import EditFinder

MESSAGES_PATH: Final = "/api/v1/settings/messages"
REVISIONS_PATH: Final = "/api/v1/settings/revisions"
REMOVALS_PATH: Final = "/api/v1/settings/removals"
REMOVAL_LIMIT: Final = 1.5
"Seconds that a node may take to say whether it has removed another: a node that starts alone waits for all others."
EDIT_INTERVAL: Final = 10.0
"Seconds between two looks for files that the operator has edited."
_MESSAGES_AT_ONCE: Final = 256
"Messages under way. More are dropped: whoever needs an answer asks again."
_DOWNLOADS_AT_ONCE: Final = 8
"Files of a revision that are fetched at the same time."

T = TypeVar("T")


class NotObtainedError(Exception):
    """A revision cannot be had or stored here; the text says why."""


class SettingsService:
    """Holds the agreement of this node and its store of revisions.

    `directory` is where the revisions are, made when it is needed. `take` lets the daemon go by a loaded farm, with the
    groups of nodes of each of which a majority is needed (none: of all nodes), and returns the keys that wait for its
    restart, or raises an exception of `take_errors`. `leave` waits until this node, which the farm removes, is used by
    nobody any more; `end` ends the daemon for good. `keys` gives the farm's keys. `load_stored` reads the farm file of
    a stored revision. `in_force` returns that by which the daemon goes, without what waits for its restart. `say` puts
    this node's state into its heartbeats. `share_changed` is called when this node may take traffic, or must not any
    more. `initial` is the farm that the daemon has started with, `farm_directory` where the operator has it.
    """

    def __init__(
        self,
        *,
        node: str,
        directory: Path,
        record: SettingsRecord,
        listens_until: float,
        farm_directory: FarmDirectory,
        initial: LoadedFarm,
        load_stored: Callable[[Path], LoadedFarm],
        in_force: Callable[[], FarmFile],
        relay: Relay,
        take: Callable[[LoadedFarm, Sequence[Collection[str]]], Awaitable[Sequence[str]]],
        take_errors: tuple[type[Exception], ...],
        leave: Callable[[], Awaitable[None]],
        end: Callable[[RevisionId], Awaitable[None]],
        keys: Callable[[], Keyring],
        restart: Callable[[str], None],
        share_changed: Callable[[], None],
        say: Callable[[RevisionState], None],
        tell: Callable[[Event], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.node = node
        self.agreement = Agreement(
            name=node,
            record=record,
            listens_until=listens_until,
            others=_others(initial, node),
            now=self._loop.time(),
        )
        self.farm_directory = farm_directory
        self.loaded = initial
        "What the daemon goes by."
        self.waiting: tuple[str, ...] = ()
        "Keys of it whose new value is taken when the daemon is started again."
        self.unapplied: str | None = None
        "A line about files that were edited and are not applied, as of the last look."
        self._edits = EditFinder(farm_directory)
        self._found: tuple[Edit, ...] = ()
        "The edits of the last look."
        self._wrong: str | None = None
        "The name of the farm file, if it was edited and could not be applied as it is."
        self._looks_by: Manifest | None = None
        "The revision with which the operator's files are compared; read when another is settled."
        self._looking = threading.Lock()
        self._needs_both_majorities = False
        self._initial = initial
        self._directory = directory
        self._store: RevisionStore | None = None
        self._not_written: tuple[str, ...] = ()
        "Why files of the operator are not as the settled revision has them: nobody has edited these."
        self._store_lock = asyncio.Lock()
        self._load_stored = load_stored
        self._in_force = in_force
        self._relay = relay
        self._take = take
        self._take_errors = take_errors
        self._leave = leave
        self._end_removed = end
        self._keys = keys
        self._members = frozenset(each.name for each in initial.farm.node)
        "The nodes of the farm by the settled revision."
        self._removals: dict[str, bytes] = {}
        "By node that is no longer in the farm: the notice that says so."
        self._restart = restart
        self._share_changed = share_changed
        self._waits = record.settled is not None
        "It has not been told yet that this node may want a share."
        self._leaving: str | None = None
        "Why this node takes no traffic although it may want a share, as the rest of the daemon knows it."
        self._say = say
        self._tell = tell
        self._said = RevisionState()
        self._queue: asyncio.Queue[AgreementEffect] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._failed: asyncio.Future[None] = self._loop.create_future()

    # -- life ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Carry out what the agreement decides until cancelled."""
        await self._load_removals()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep_ticking(), name="settings")
                tasks.create_task(self._work(), name="settings' disk")
                tasks.create_task(self._keep_looking_for_edits(), name="settings' files")
                tasks.create_task(self._watch_for_bugs(), name="settings' tasks")
        finally:
            for task in self._tasks:
                task.cancel()

    def begin(self) -> None:
        """Tell the others at once which revision this node goes by. Call it when heartbeats are open."""
        self._announce()

    async def _watch_for_bugs(self) -> None:
        await self._failed

    async def _keep_ticking(self) -> None:
        while True:
            now = self._loop.time()
            self.carry_out(self.agreement.tick(now=now))
            delay = max(0.0, self.agreement.next_tick_at(now=now) - self._loop.time())
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._wake.wait()

    def why_no_traffic(self) -> str | None:
        """Return why this node must not take traffic yet, or None: it asks for the settings of the others first.

        One that never had a revision need not: it goes by the same file as always.
        """
        return self.agreement.why_no_traffic() if self._waits else self.agreement.why_leaving()

    @property
    def complaint(self) -> str:
        """What `status` says of the settings of this node; empty if all is well."""
        agreement = self.agreement
        if agreement.blocked is not None:
            return agreement.blocked
        if agreement.conflicts:
            return agreement.conflict_in_words()
        if self.unapplied and self._not_written:
            return self._not_written[0]
        return f"{self.unapplied} (hcsidecar diff)" if self.unapplied else ""

    def figures(self) -> SettingsFigures | None:
        """Return what the metrics tell of the settings; None without a revision."""
        agreement = self.agreement
        settled = agreement.record.settled
        if settled is None:
            return None
        return SettingsFigures(
            revision=settled.number,
            unapplied=len(self._found),
            waiting=len(self.waiting),
            conflicts=len(agreement.conflicts),
            blocked=agreement.blocked is not None,
        )

    async def _keep_looking_for_edits(self) -> None:
        while True:
            former = self.unapplied
            found = await self.look_for_edits()
            if found is not None and found != former and not self._not_written:
                self._tell(Event(level=Level.INFO, origin="settings", message=f"{found} (hcsidecar diff shows how)"))
            await asyncio.sleep(EDIT_INTERVAL)

    # -- called by the rest of the daemon ------------------------------------------------------------------------

    def hear(self, heard: Mapping[str, RevisionState]) -> None:
        """Take in what all nodes that count say of their revisions."""
        self.carry_out(self.agreement.hear(heard, now=self._loop.time()))

    def receive(self, message: AgreementMessage, *, sender: str) -> None:
        """Take in a message of another node."""
        self.carry_out(self.agreement.receive(message, sender=sender, now=self._loop.time()))

    def carry_out(self, effects: Sequence[AgreementEffect]) -> None:
        """Do what the agreement wants done, or begin to."""
        for effect in effects:
            match effect:
                case Tell(event=event):
                    self._tell(event)
                case SendMessage(to=to, message=message):
                    if len(self._tasks) < _MESSAGES_AT_ONCE:
                        self._spawn(self._send(to, message))
                case Obtain(revision=revision, source=source):
                    self._spawn(self._obtain(revision, source))
                case AskWhetherRemoved():
                    self._spawn(self._ask_whether_removed())
                case Activate() | Save() | Settled() | Discard() | RestartDaemon() | EndRemoved():
                    self._queue.put_nowait(effect)
                case _:
                    assert_never(effect)
        self._announce()
        if self._waits and self.agreement.why_no_traffic() is None:
            self._waits = False
            self._share_changed()
        if (leaving := self.agreement.why_leaving()) != self._leaving:
            self._leaving = leaving
            self._share_changed()
        self._wake.set()

    def _announce(self) -> None:
        state = self.agreement.state
        if state != self._said:
            self._said = state
            self._say(state)

    # -- what the agreement wants done --------------------------------------------------------------------------

    async def _work(self) -> None:
        """Do what must be done in order."""
        while True:
            match await self._queue.get():
                case Activate(revision=revision):
                    problem = await self._activate(revision)
                    self.carry_out(self.agreement.activated(revision, problem, now=self._loop.time()))
                case Save(record=record):
                    problem = await self._save(record)
                    self.carry_out(self.agreement.saved(record, problem, now=self._loop.time()))
                case EndRemoved(revision=revision):
                    await self._end_removed(revision)
                case Settled(revision=revision):
                    await self._note_removals()
                    if self._needs_both_majorities:
                        with contextlib.suppress(*self._take_errors):  # it has been taken, for the trial
                            await self._take(self.loaded, ())
                    await self._write_files(revision)
                case Discard(revision=revision):
                    await self.forget(revision)
                case RestartDaemon(reason=reason):
                    self._restart(reason)
                case _:  # the others are done where they are decided
                    pass

    async def _activate(self, revision: RevisionId | None) -> str | None:
        try:
            loaded = self._initial if revision is None else await self._load(revision)
            if all(each.name != self.node for each in loaded.farm.node):
                # It is still the former settings by which this node drains, and goes on if the others go back.
                await self._leave()
                return None
            electorates = self._electorates(loaded)
            self.waiting = tuple(await self._take(loaded, electorates))
            self._needs_both_majorities = bool(electorates)
        except NotObtainedError as error:
            return str(error)
        except FarmFileError as error:
            return "; ".join(map(str, error.problems))
        except self._take_errors as error:
            return str(error)
        self.loaded = loaded
        self.agreement.set_others(_others(loaded, self.node))
        return None

    def _electorates(self, loaded: LoadedFarm) -> Sequence[Collection[str]]:
        """Return of which nodes a majority is needed with a revision: in its trial, of the former ones too."""
        if self.agreement.phase is not AgreementPhase.STARTING:
            return ()
        former, new = ([node.name for node in farm.node] for farm in (self.loaded.farm, loaded.farm))
        return () if sorted(former) == sorted(new) else (former, new)

    async def _load(self, revision: RevisionId) -> LoadedFarm:
        stored = await self.stored(revision)
        if isinstance(stored, NotReadable):
            raise NotObtainedError(stored.why)
        return await asyncio.to_thread(self._load_stored, stored.directory)

    async def _save(self, record: SettingsRecord) -> str | None:
        try:
            await self._with_store(lambda store: store.save_record(record))
        except StoreError as error:
            return str(error)
        return None

    async def _write_files(self, revision: RevisionId) -> None:
        """Bring the operator's directory up to the settled revision."""
        stored = await self.stored(revision)
        if isinstance(stored, NotReadable):
            self._warn(f"the files of the operator are not brought up to date: {stored.why}")
            return

        ancestors = self.agreement.record.ancestors

        def write(store: RevisionStore) -> None:
            written = bring_up_to(store, stored, self.farm_directory, at_first=self._before_the_first)
            self._not_written = written.problems
            for event in events_of(written):
                self._loop.call_soon_threadsafe(self._tell, event)
            # Candidates must not count among the last revisions, which are kept for `rollback`.
            for unused in never_taken(
                (each.id for each in store.manifests().manifests), settled=revision, ancestors=ancestors
            ):
                store.remove(unused)
            store.prune({stored.manifest.id})

        with contextlib.suppress(StoreError):  # what is not noted or pruned is so at the next start
            await self._with_store(write)
        self.unapplied, self._found = None, ()

    @property
    def _before_the_first(self) -> Manifest:
        """What the operator's directory had before the first revision, as far as it is known."""
        contents = {FARM_FILE: self._initial.text.encode()}
        return Manifest.of(contents, farm=self._initial.farm.farm.name, number=1, parents=(), author="", made_at=0)

    async def _send(self, to: str, message: AgreementMessage) -> None:
        with contextlib.suppress(UnreachableError, KeyError):  # whoever needs an answer asks again
            await self._relay.ask(to, "POST", MESSAGES_PATH, encode_message(message))

    async def _obtain(self, revision: RevisionId, source: str) -> None:
        problems = await self.obtain(revision, source)
        self.carry_out(self.agreement.obtained(revision, problems, now=self._loop.time()))

    # -- revisions ----------------------------------------------------------------------------------------------

    async def obtain(self, revision: RevisionId, source: str) -> tuple[str, ...]:
        """Fetch a revision from a node unless it is stored, store it, and check it here. Return why it is not right."""
        try:
            stored = await self.stored(revision)
            if isinstance(stored, NotReadable):
                if source == self.node:
                    return (stored.why,)
                manifest, contents = await self._download(revision, source)
                await self.store(manifest, contents)
                stored = await self.stored(revision)
            if isinstance(stored, NotReadable):
                return (stored.why,)
        except (NotObtainedError, StoreError) as error:
            return (str(error),)
        me = self.loaded.farm.node_named(self.node)
        found = await asyncio.to_thread(
            check_here,
            stored.directory,
            me,
            farm_directory=self.farm_directory.farm_file.parent,
            running=(self._in_force(), self.loaded.farm),
        )
        return tuple(map(str, found))

    async def store(self, manifest: Manifest, contents: Mapping[str, bytes]) -> None:
        """Store a revision. Raise StoreError."""
        await self._with_store(lambda store: store.save(manifest, contents))

    async def stored(self, revision: RevisionId) -> StoredRevision | NotReadable:
        """Return a stored revision, verified, or why it is not here."""
        try:
            return await self._with_store(lambda store: store.load(revision))
        except StoreError as error:
            return NotReadable(str(error))

    async def forget(self, revision: RevisionId) -> None:
        """Remove a stored revision that nobody has taken."""
        with contextlib.suppress(StoreError):  # it is removed at the next start
            await self._with_store(lambda store: store.remove(revision))

    async def manifests(self) -> Sequence[Manifest]:
        """Return what is known of all revisions, the highest number first."""
        if not self._directory.is_dir():
            return ()
        try:
            return (await self._with_store(lambda store: store.manifests())).manifests
        except StoreError:
            return ()

    async def look_for_edits(self) -> str | None:
        """Return a line about files of the operator that are edited and not applied; waits for the disk."""
        settled = self.agreement.record.settled
        if settled is None:
            self.unapplied = None
            return None
        if self._looks_by is None or self._looks_by.id != settled:
            stored = await self.stored(settled)
            if isinstance(stored, NotReadable):
                return stored.why
            self._looks_by = stored.manifest
        self.unapplied = await asyncio.to_thread(self._look, self._looks_by)
        return self.unapplied

    def _look(self, settled: Manifest) -> str | None:
        """Return a line about the files that are not as this revision has them. For one thread at a time."""
        with self._looking:
            now = time.time()
            found = self._edits.find(settled, now=now)
            if found != self._found:
                self._found = found
                path = self.farm_directory.farm_file
                is_wrong = any(edit.name == path.name for edit in found) and bool(see(path, kinds_apart=True).problems)
                self._wrong = path.name if is_wrong else None
            told = [msgspec.structs.replace(edit, is_wrong=edit.name == self._wrong) for edit in found]
            return edits_in_words(told, now=now)

    async def _download(self, revision: RevisionId, source: str) -> tuple[Manifest, dict[str, bytes]]:
        path = f"{REVISIONS_PATH}/{revision.digest}"
        try:
            manifest = decode_manifest(await self._fetch(source, path))
        except BundleError as error:
            raise NotObtainedError(f"{source} has sent no manifest of {revision}: {error}") from None
        if manifest.id != revision:
            raise NotObtainedError(f"{source} has sent another manifest than that of {revision}")
        slots = asyncio.Semaphore(_DOWNLOADS_AT_ONCE)
        contents: dict[str, bytes] = {}

        async def download(name: str, digest: str) -> None:
            async with slots:
                contents[name] = await self._fetch(source, f"{path}/files/{digest}")

        try:
            async with asyncio.TaskGroup() as tasks:
                for entry in manifest.files:
                    tasks.create_task(download(entry.name, entry.sha256))
        except* NotObtainedError as errors:
            raise errors.exceptions[0] from None
        problems = [found for entry in manifest.files if (found := content_problem(entry, contents[entry.name]))]
        if problems:
            raise NotObtainedError(f"{source} has sent other files than those of {revision}: {problems[0]}")
        return manifest, contents

    async def _fetch(self, source: str, path: str) -> bytes:
        try:
            reply = await self._relay.ask(source, "GET", path)
        except UnreachableError as error:
            raise NotObtainedError(str(error)) from None
        except KeyError:
            raise NotObtainedError(f"{source} is no node of the farm") from None
        if reply.status != HTTPStatus.OK:
            raise NotObtainedError(f"{source} does not give it: {reason_of(reply)}")
        return reply.body

    # -- nodes that the farm has removed ------------------------------------------------------------------------

    def removal(self, name: str) -> bytes | None:
        """Return the notice that a node is no longer in the farm; None if it is, or never was."""
        return None if name in self._members else self._removals.get(name)

    def keys_of_removed(self) -> frozenset[int]:
        """Return the ids of the keys that nodes have which are no longer in the farm."""
        notices = [decode_notice(each) for name, each in self._removals.items() if name not in self._members]
        return frozenset(int(key_id, 16) for notice in notices if notice is not None for key_id in notice.seals)

    async def _load_removals(self) -> None:
        with contextlib.suppress(StoreError):  # then a node that was removed is not told so by this one
            if self._directory.is_dir():
                self._removals = await self._with_store(lambda store: store.removals())

    async def _note_removals(self) -> None:
        """Keep a notice for each node that the settled revision has removed."""
        record, farm = self.agreement.record, self.loaded.farm
        former, self._members = self._members, frozenset(each.name for each in farm.node)
        if record.settled is None:
            return
        lineage = Lineage(settled=record.settled, ancestors=record.ancestors)
        for name in sorted(former - self._members):
            notice = encode_notice(removal_notice(farm.farm.name, name, lineage, self._keys()))
            self._removals[name] = notice
            try:
                await self._with_store(partial(_save_removal, name=name, notice=notice))
            except StoreError as error:
                self._warn(f"{name} is not told after a restart of this daemon that it was removed: {error}")

    async def _ask_whether_removed(self) -> None:
        """Ask all others whether the farm has removed this node, and tell the agreement."""
        others = [each.name for each in self.loaded.farm.node if each.name != self.node]
        path = f"{REMOVALS_PATH}/{self.node}"
        replies = await asyncio.gather(*(self._relay.ask_openly(name, path, limit=REMOVAL_LIMIT) for name in others))
        told = latest_removal(
            [reply for reply in replies if reply is not None],
            farm=self.loaded.farm.farm.name,
            node=self.node,
            keys=self._keys(),
        )
        self.carry_out(self.agreement.told_of_removal(told, now=self._loop.time()))

    # -- tasks --------------------------------------------------------------------------------------------------

    def _spawn(self, coroutine: "Awaitable[None]") -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Future[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self._failed.done():
            self._failed.set_exception(error)

    async def _with_store(self, work: Callable[[RevisionStore], T]) -> T:
        """Let a thread do something with the store, which one at a time may use. Raise StoreError if it cannot."""

        def use() -> T:
            self._store = self._store or RevisionStore(self._directory)
            return work(self._store)

        async with self._store_lock:
            return await asyncio.to_thread(use)

    def _warn(self, message: str) -> None:
        self._tell(Event(level=Level.WARNING, origin="settings", message=message))


def _others(loaded: LoadedFarm, node: str) -> Sequence[str]:
    return [each.name for each in loaded.farm.node if each.name != node]


def _save_removal(store: RevisionStore, *, name: str, notice: bytes) -> None:
    store.save_removal(name, notice)


def reason_of(reply: Reply) -> str:
    """Return why a node has refused."""
    try:
        return read_json(reply.body, Refusal).reason
    except JsonError:
        return f"status {reply.status}"
