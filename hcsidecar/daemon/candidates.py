"""Makes a revision of what an operator wants to apply, has every node check it, and plans what it does to the farm."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

import msgspec

from hcsidecar.api.relay import Relay, UnreachableError
from hcsidecar.core.documents import CommandResult
from hcsidecar.core.farmfile.farm_file import FarmFile, read
from hcsidecar.core.farmfile.node_tables import NodeTableError, with_node, without_node
from hcsidecar.core.farmfile.tables import DEFAULT_NETWORK
from hcsidecar.core.farmfile.text import NotTomlError, document_in
from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.core.settings.agreement import NotProposedError
from hcsidecar.core.settings.differences import RevisionContent, file_changes, secrets_of, setting_changes
from hcsidecar.core.settings.documents import (
    CandidateBody,
    CandidateFile,
    CandidateReport,
    CheckBody,
    CheckOutcome,
    DifferencesReport,
    ProposalBody,
    ProposalReport,
    SettingsReport,
)
from hcsidecar.core.settings.history import history
from hcsidecar.core.settings.leaving import leave_limit
from hcsidecar.core.settings.messages import AgreementMessage, Proposal
from hcsidecar.core.settings.plan import NodeCondition, plan
from hcsidecar.core.settings.revision import FARM_FILE, BundleError, Manifest, RevisionId, bundle_problems
from hcsidecar.daemon.settings_service import SettingsService, reason_of
from hcsidecar.farmfile.loading import FarmFileError, LoadedFarm, see
from hcsidecar.settings.bundle import Bundle, read_bundle
from hcsidecar.settings.farm_directory import FarmDirectory
from hcsidecar.settings.store import NotReadable, StoredRevision, StoreError

CHECKS_PATH: Final = "/api/v1/settings/checks"
CHECK_TAKES: Final = 15.0
"Seconds that a node may take to fetch and check a candidate."


class _NotACandidateError(Exception):
    """Files cannot become a revision: every reason, as a sentence."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    bundle: Bundle
    heads: tuple[RevisionId, ...]
    "What the new revision follows: what this node goes by, and where a conflict is ended what the others go by."
    taken: tuple[RevisionId, ...] = ()
    "All of these but the first."


class Candidates:
    """The settings as the API has them: reports, and what operators of this node want to apply.

    `conditions` tells which nodes there are, those of a new farm file included, and how they are.
    """

    def __init__(
        self,
        service: SettingsService,
        relay: Relay,
        *,
        conditions: Callable[[FarmFile], Sequence[NodeCondition]],
    ) -> None:
        self._service = service
        self._relay = relay
        self._conditions = conditions
        self._latest: Manifest | None = None
        self._farm: FarmFile | None = None
        self._without: frozenset[str] = frozenset()
        self._ancestors: tuple[RevisionId, ...] = ()
        self._checked: RevisionId | None = None
        "What this node has stored to check it, and nobody has proposed yet."

    async def make(self, body: CandidateBody, *, by: str) -> CandidateReport:
        """Make a candidate, and have it checked by every node that must agree."""
        without = set(body.without)
        if body.remove is not None and body.remove not in {self._service.node, *self._service.agreement.heard}:
            without.add(body.remove)
        return await self._reported(self._wanted(body), message=body.message, without=sorted(without), by=by)

    async def make_with_node(
        self, name: str, addresses: Mapping[str, str], *, message: str, without: Sequence[str], by: str
    ) -> CandidateReport:
        """Make a candidate of what is in force, with one more node; `addresses` has one on each network."""
        return await self._reported(self._with_node(name, addresses), message=message, without=without, by=by)

    async def _reported(
        self, wanted: Awaitable["_Wanted"], *, message: str, without: Sequence[str], by: str
    ) -> CandidateReport:
        try:
            return await self._make(await wanted, message=message, without=without, by=by)
        except (_NotACandidateError, BundleError) as error:
            return CandidateReport(problems=error.problems)
        except FarmFileError as error:
            return CandidateReport(problems=tuple(map(str, error.problems)))
        except StoreError as error:
            return CandidateReport(problems=(str(error),))

    async def _make(self, wanted: "_Wanted", *, message: str, without: Sequence[str], by: str) -> CandidateReport:
        service, record = self._service, self._service.agreement.record
        current = await self._read(record.settled) if record.settled is not None else None
        manifest = Manifest.of(
            wanted.bundle.contents,
            executable=wanted.bundle.executable,
            farm=service.loaded.farm.farm.name,
            number=service.agreement.next_number(),
            parents=tuple(head.digest for head in wanted.heads),
            author=f"{by} on {service.node}",
            made_at=int(time.time()),
            message=message,
        )
        if current is not None and manifest.has_content_of(current.manifest) and len(wanted.heads) == 1:
            return CandidateReport()
        await self._forget_former(manifest.id)
        await service.store(manifest, wanted.bundle.contents)
        problems = await service.obtain(manifest.id, service.node)
        if problems:
            await service.forget(manifest.id)
            raise _NotACandidateError(*problems)
        stored = await self._read(manifest.id)
        new = (await asyncio.to_thread(see, stored.directory / FARM_FILE, kinds_apart=True, machine=self._machine)).farm
        if new is None:
            raise _NotACandidateError("the farm file cannot be read any more")
        self._latest, self._farm, self._without = None, new, frozenset(without)
        self._ancestors = service.agreement.ancestors_of_next(wanted.taken)
        left_out = self._left_out(new)
        if left_out:
            await service.forget(manifest.id)
            raise _NotACandidateError(*left_out)
        checks = await asyncio.gather(
            *(self._check_there(name, manifest.id) for name in self._participants() if name != service.node)
        )
        former = _as_it_runs(service.loaded) if current is None else RevisionContent(current.manifest, current.contents)
        report = self._report(stored, former, new, (CheckOutcome(node=service.node), *checks), first=current is None)
        # What is not right cannot be proposed, whoever asks for it.
        self._latest = manifest if report.is_right else None
        return report

    def _left_out(self, new: FarmFile) -> list[str]:
        """Return why nodes that live cannot be removed, or left out."""
        service = self._service
        removed = {node.name for node in service.loaded.farm.node} - {node.name for node in new.node}
        alive = {*service.agreement.heard, service.node}
        problems = []
        if service.node in removed:
            problems.append(
                f"{service.node} cannot remove itself: edit and apply the farm file on a node that stays, or say there"
                f" hcsidecar remove {service.node}"
            )
        known = {node.name for node in (*service.loaded.farm.node, *new.node)}
        problems += [f"there is no node {name} to be left out" for name in sorted(self._without - known)]
        return problems + [
            f"{name} is alive and cannot be left out with --without" for name in sorted(self._without & alive)
        ]

    async def _wanted(self, body: CandidateBody) -> "_Wanted":
        """Return the files that are to become a revision, and what it is to follow."""
        agreement = self._service.agreement
        settled = agreement.record.settled
        heads = () if settled is None else (settled,)
        if body.take is not None:
            if not agreement.conflicts:
                raise _NotACandidateError(
                    "the settings of all nodes that are heard go one way: there is nothing to end"
                )
            if body.take == self._service.node:
                kept = settled
            elif body.take in agreement.conflicts:
                kept = await self._obtained(agreement.conflicts[body.take], body.take)
            else:
                there = ", ".join(sorted({self._service.node, *agreement.conflicts}))
                raise _NotACandidateError(f"{body.take} has no other settings than this node; choose one of {there}")
            others = tuple(sorted(set(agreement.conflicts.values())))
            return _Wanted(bundle=await self._of_revision(kept), heads=(*heads, *others), taken=others)
        if agreement.conflicts:
            raise _NotACandidateError(agreement.conflict_in_words() + ": choose one first")
        if body.files is not None:
            return _Wanted(bundle=_uploaded(body.files), heads=heads)
        if body.remove is not None:
            return await self._without_node(body.remove)
        if body.number is not None:
            return _Wanted(bundle=await self._of_number(body.number), heads=heads)
        return _Wanted(bundle=await self._of_file(Path(body.file) if body.file is not None else None), heads=heads)

    async def _without_node(self, name: str) -> "_Wanted":
        if name == self._service.node:
            raise _NotACandidateError(f"{name} cannot remove itself: say it on a node that stays")
        settled = self._service.agreement.record.settled
        bundle = await self.bundle_in_force()
        try:
            text = without_node(bundle.contents[FARM_FILE].decode(), name)
        except NodeTableError as error:
            raise _NotACandidateError(str(error)) from None
        contents = {**bundle.contents, FARM_FILE: text.encode()}
        heads = () if settled is None else (settled,)
        return _Wanted(bundle=Bundle(contents=contents, executable=bundle.executable), heads=heads)

    async def _with_node(self, name: str, addresses: Mapping[str, str]) -> "_Wanted":
        agreement = self._service.agreement
        if agreement.conflicts:
            raise _NotACandidateError(agreement.conflict_in_words() + ": choose one first")
        settled = agreement.record.settled
        bundle = await self.bundle_in_force()
        try:
            text = with_node(bundle.contents[FARM_FILE].decode(), name, addresses, default=DEFAULT_NETWORK)
        except NodeTableError as error:
            raise _NotACandidateError(str(error)) from None
        contents = {**bundle.contents, FARM_FILE: text.encode()}
        heads = () if settled is None else (settled,)
        return _Wanted(bundle=Bundle(contents=contents, executable=bundle.executable), heads=heads)

    async def bundle_in_force(self) -> Bundle:
        """Return the files that this node goes by. Raise BundleError if they cannot be had."""
        settled = self._service.agreement.record.settled
        if settled is None:
            return await asyncio.to_thread(read_bundle, self._service.loaded, self._service.farm_directory)
        return await self.bundle(settled)

    async def bundle(self, revision: RevisionId) -> Bundle:
        """Return the files of a stored revision. Raise BundleError if they cannot be read."""
        stored = await self._service.stored(revision)
        if isinstance(stored, NotReadable):
            raise BundleError(stored.why)
        return _bundle_of(stored)

    def _report(
        self,
        stored: StoredRevision,
        former: RevisionContent,
        new: FarmFile,
        checks: tuple[CheckOutcome, ...],
        *,
        first: bool,
    ) -> CandidateReport:
        old = self._service.loaded.farm
        present = RevisionContent(stored.manifest, stored.contents)
        files = file_changes(former, present, secrets=secrets_of(old) | secrets_of(new))
        if first:
            # What runs now is known as far as the farm file goes.
            files = tuple(each for each in files if each.name == FARM_FILE)
        return CandidateReport(
            revision=stored.manifest.id,
            checks=checks,
            plan=plan(old, new, files=files, nodes=self._conditions(new), without=self._without),
            changes=tuple(map(str, setting_changes(old, new))),
            files=files,
        )

    async def differences(self, number: int | None) -> DifferencesReport:
        """Return what a revision has changed, or (None) what of the operator's files is not applied."""
        settled = self._service.agreement.record.settled
        before, after = (settled, None) if number is None else (None, None)
        try:
            if number is None:
                former, present = await self._unapplied(settled)
            else:
                after, before = await self._with_number(number)
                former = await self._content_before(after, before)
                present = _stored_content(await self._read(after))
        except (_NotACandidateError, BundleError) as error:
            return DifferencesReport(before=before, after=after, problems=error.problems)
        except FarmFileError as error:
            return DifferencesReport(before=before, after=after, problems=tuple(map(str, error.problems)))
        old, new = _farm_in(former.contents), _farm_in(present.contents)
        secret = frozenset(text for farm in (old, new) if farm is not None for text in secrets_of(farm))
        return DifferencesReport(
            before=before,
            after=after,
            changes=() if old is None or new is None else tuple(map(str, setting_changes(old, new))),
            files=file_changes(former, present, secrets=secret),
        )

    async def _content_before(self, revision: RevisionId, parent: RevisionId | None) -> RevisionContent:
        if parent is None and revision.number == 1:
            raise _NotACandidateError(f"{revision} is the first one: there is none before it to compare it with")
        if parent is None:
            raise _NotACandidateError(f"what was before {revision} is not known here any more")
        return _stored_content(await self._read(parent))

    async def _unapplied(self, settled: RevisionId | None) -> tuple[RevisionContent, RevisionContent]:
        """Return what is in force, and the files of the operator."""
        bundle = await self._of_file(None)
        farm = self._service.loaded.farm.farm.name
        if settled is not None:
            return _stored_content(await self._read(settled)), _content_of(bundle, farm)
        # Before the first revision it is known of the farm file only what is in force.
        only_farm_file = Bundle(contents={FARM_FILE: bundle.contents[FARM_FILE]}, executable=frozenset())
        return _as_it_runs(self._service.loaded), _content_of(only_farm_file, farm)

    def propose(self, body: ProposalBody) -> CommandResult:
        """Propose the latest candidate to all nodes; the report tells how that goes on."""
        manifest, new = self._latest, self._farm
        if manifest is None or new is None or manifest.id.digest != body.digest:
            return CommandResult(
                ok=False, text="this is not the latest candidate, or it is not right: make one, and propose it"
            )
        service = self._service
        old = service.loaded.farm
        removed = tuple(sorted({node.name for node in old.node} - {node.name for node in new.node}))
        proposal = Proposal(
            token=secrets.token_hex(16),
            coordinator=service.node,
            revision=manifest.id,
            parents=manifest.parents,
            ancestors=self._ancestors,
            participants=self._participants(),
            removed=tuple(name for name in removed if name not in self._without),
            confirm=body.confirm,
            drain=leave_limit(old) if removed else 0.0,
        )
        loop = asyncio.get_running_loop()
        try:
            effects = service.agreement.propose(proposal, now=loop.time())
        except NotProposedError as error:
            return CommandResult(ok=False, text="; ".join(error.reasons))
        self._latest = None
        service.carry_out(effects)
        return CommandResult(ok=True, text=f"{manifest.id} is proposed to {', '.join(proposal.participants)}")

    async def check(self, body: CheckBody, *, source: str) -> CheckOutcome:
        """Check a candidate of another node on this machine; it is stored, so that a proposal need not fetch it."""
        await self._forget_former(body.revision)
        problems = await self._service.obtain(body.revision, source)
        return CheckOutcome(node=self._service.node, problems=problems)

    async def _forget_former(self, revision: RevisionId) -> None:
        """Note what is to be checked, and remove what was checked before it and came to nothing."""
        former, self._checked = self._checked, revision
        if former is None or former in (revision, self._service.agreement.candidate) or self._was_settled(former):
            return
        await self._service.forget(former)

    def receive(self, message: AgreementMessage, *, sender: str) -> None:
        """Take in a message of another node."""
        self._service.receive(message, sender=sender)

    async def manifest(self, digest: str) -> bytes | None:
        """Return the manifest of a revision, None if it is not here."""
        found = next((each for each in await self._service.manifests() if each.id.digest == digest), None)
        return None if found is None else found.encoded()

    async def file(self, digest: str, sha256: str) -> bytes | None:
        """Return the content of a file of a revision, None if it is not here."""
        found = next((each for each in await self._service.manifests() if each.id.digest == digest), None)
        stored = None if found is None else await self._service.stored(found.id)
        if stored is None or isinstance(stored, NotReadable):
            return None
        return next((stored.contents[entry.name] for entry in stored.manifest.files if entry.sha256 == sha256), None)

    async def report(self) -> SettingsReport:
        """Return the document about this node's settings; waits for the disk."""
        service = self._service
        agreement = service.agreement
        status, proposal = agreement.status, None
        if status is not None:
            mark = status.proposal.revision.mark
            settled = {name for name, state in agreement.heard.items() if state.settled == mark}
            if agreement.record.settled == status.proposal.revision:
                settled.add(service.node)
            proposal = ProposalReport.of(status, settled=frozenset(settled))
        known = [manifest for manifest in await service.manifests() if self._was_settled(manifest.id)]
        return SettingsReport(
            node=service.node,
            settled=agreement.record.settled,
            phase=agreement.phase,
            candidate=agreement.candidate,
            blocked=agreement.blocked,
            conflicts=agreement.conflicts,
            unapplied=await service.look_for_edits(),
            waiting=service.waiting,
            proposal=proposal,
            history=tuple(history(known)),
        )

    def _was_settled(self, revision: RevisionId) -> bool:
        record = self._service.agreement.record
        return revision == record.settled or revision in record.ancestors

    def _participants(self) -> tuple[str, ...]:
        """Return who must agree: the nodes of the farm as it is. Those that are new learn of it when they join."""
        old = [node.name for node in self._service.loaded.farm.node]
        return tuple(name for name in old if name not in self._without)

    async def _check_there(self, name: str, revision: RevisionId) -> CheckOutcome:
        body = msgspec.json.encode(CheckBody(revision=revision))
        try:
            reply = await self._relay.ask(name, "POST", CHECKS_PATH, body, wait=CHECK_TAKES)
        except UnreachableError as error:
            return CheckOutcome(node=name, problems=(str(error),))
        if reply.status != HTTPStatus.OK:
            return CheckOutcome(node=name, problems=(reason_of(reply),))
        try:
            return read_json(reply.body, CheckOutcome)
        except JsonError as error:
            return CheckOutcome(node=name, problems=(f"its answer is not understood: {error}",))

    @property
    def _machine(self) -> Path:
        return self._service.farm_directory.farm_file.parent

    async def _of_file(self, path: Path | None) -> Bundle:
        """Read the files of a farm file, by default of the one that the operator has."""
        chosen = path or self._service.farm_directory.farm_file

        def read() -> Bundle:
            if chosen.exists() and not (chosen.is_file() or chosen.is_dir()):
                # The reading of a pipe ends when somebody writes to it.
                raise _NotACandidateError(f"{chosen} is no plain file")
            loaded = see(chosen, kinds_apart=True, machine=self._machine).loaded_from(chosen)
            return read_bundle(loaded, FarmDirectory.of(loaded))

        return await asyncio.to_thread(read)

    async def _of_revision(self, revision: RevisionId | None) -> Bundle:
        if revision is None:
            raise _NotACandidateError(f"{self._service.node} has no revision yet")
        return _bundle_of(await self._read(revision))

    async def _read(self, revision: RevisionId) -> StoredRevision:
        stored = await self._service.stored(revision)
        if isinstance(stored, NotReadable):
            raise _NotACandidateError(stored.why)
        return stored

    async def _of_number(self, number: int) -> Bundle:
        revision, _parent = await self._with_number(number)
        return await self._of_revision(revision)

    async def _with_number(self, number: int) -> tuple[RevisionId, RevisionId | None]:
        """Return the settled revision of a number, and its first parent if that is known."""
        known = [each for each in await self._service.manifests() if self._was_settled(each.id)]
        of_number = [manifest for manifest in known if manifest.number == number]
        if len(of_number) > 1:
            there = ", ".join(f"{each.id} by {each.author}" for each in of_number)
            raise _NotACandidateError(
                f"there are {len(of_number)} revisions {number}, of a farm that was in parts: {there}",
                *[
                    f"hcsidecar apply {stored.directory / FARM_FILE} applies {each.id}"
                    for each in of_number
                    if isinstance(stored := await self._service.stored(each.id), StoredRevision)
                ],
            )
        found = of_number[0] if of_number else None
        if found is None:
            there = ", ".join(str(manifest.number) for manifest in known) or "none"
            raise _NotACandidateError(f"there is no revision {number} here; there are {there}")
        parent = found.parents[0] if found.parents else None
        return found.id, next((each.id for each in known if each.id.digest == parent), None)

    async def _obtained(self, revision: RevisionId, source: str) -> RevisionId:
        """Return a revision that another node goes by, once it is stored here."""
        problems = await self._service.obtain(revision, source)
        if problems:
            raise _NotACandidateError(*problems)
        return revision


def _uploaded(files: Sequence[CandidateFile]) -> Bundle:
    """Return the bundle of files that somebody has sent."""
    problems = []
    contents: dict[str, bytes] = {}
    for file in files:
        if file.name in contents:
            problems.append(f"{file.name} is there twice: leave one of the two out")
        contents[file.name] = file.content
    if FARM_FILE not in contents:
        problems.append(f"there is no {FARM_FILE}: send the farm file under this name")
    problems += bundle_problems({name: len(content) for name, content in contents.items()})
    if problems:
        raise _NotACandidateError(*dict.fromkeys(problems))
    return Bundle(contents=contents, executable=frozenset(file.name for file in files if file.executable))


def _as_it_runs(loaded: LoadedFarm) -> RevisionContent:
    """Return what is known of the settings before the first revision: the farm file."""
    bundle = Bundle(contents={FARM_FILE: loaded.text.encode()}, executable=frozenset())
    return _content_of(bundle, loaded.farm.farm.name)


def _content_of(bundle: Bundle, farm: str) -> RevisionContent:
    """Return files with a manifest for comparing them, which is that of no revision."""
    manifest = Manifest.of(
        bundle.contents, executable=bundle.executable, farm=farm, number=1, parents=(), author="", made_at=0
    )
    return RevisionContent(manifest, bundle.contents)


def _bundle_of(stored: StoredRevision) -> Bundle:
    executable = frozenset(entry.name for entry in stored.manifest.files if entry.executable)
    return Bundle(contents=stored.contents, executable=executable)


def _stored_content(stored: StoredRevision) -> RevisionContent:
    return RevisionContent(stored.manifest, stored.contents)


def _farm_in(contents: Mapping[str, bytes]) -> FarmFile | None:
    try:
        found = read(document_in(contents[FARM_FILE]))
    except NotTomlError:
        return None
    return found if isinstance(found, FarmFile) else None
