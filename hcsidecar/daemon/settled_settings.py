"""What a daemon starts with: the settled revision of its node, or the farm file on the disk where there is none."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from hcsidecar.core.events import Event, Level
from hcsidecar.core.settings.agreement import SettingsRecord
from hcsidecar.core.settings.history import never_taken
from hcsidecar.core.settings.revision import FARM_FILE, BundleError, Manifest, RevisionId
from hcsidecar.farmfile.loading import (
    FarmFileError,
    LoadedFarm,
    LoadResult,
    NoNodeHereError,
    Problem,
    find_node,
    is_local,
    load,
)
from hcsidecar.settings.bundle import read_bundle
from hcsidecar.settings.farm_directory import FarmDirectory
from hcsidecar.settings.operator_files import (
    NodeRevisions,
    bring_up_to,
    find_revisions,
    forget_farm_file,
    is_written,
    note_written,
)
from hcsidecar.settings.store import NotReadable, RevisionStore, StoredRevision, StoreError
from hcsidecar.settings.working_copy import Written

TAKER: Final = "run --take-file"
"The author of a revision that a start makes of the operator's files."


@dataclass(frozen=True, slots=True, kw_only=True)
class StartSettings:
    """What a node goes by at its start."""

    loaded: LoadedFarm
    record: SettingsRecord
    "Without a settled revision if the node goes by the farm file on the disk."
    events: tuple[Event, ...] = ()
    "What an operator should know of it."


def load_stored(directory: Path, *, working_copy: Path) -> LoadedFarm:
    """Return the farm of a stored revision; `working_copy` is the operator's farm file. Raise FarmFileError."""
    return load(directory / FARM_FILE, working_copy=working_copy, kinds_apart=True)


def settled_farm(
    path: Path, seen: LoadResult, node: str | None, *, environment: Mapping[str, str] = os.environ
) -> LoadedFarm | None:
    """Return the settled revision of the farm file at a path on this machine, whatever is in the file now.

    `seen` is what the file says now: it may name another farm or another node, or be wrong. Return None where the file
    is all that there is to go by. Raise FarmFileError if it is wrong and no revision can be used instead. Waits for the
    disk.
    """
    path = path.absolute()
    found: list[tuple[str, LoadedFarm]] = []
    refusals: list[Problem] = []
    for revisions in find_revisions(path, seen.text, environment=environment):
        if node in (None, revisions.node):
            settled = _settled_of(revisions, path)
            if isinstance(settled, LoadedFarm):
                found.append((revisions.node, settled))
            else:
                refusals += settled
    if node is None:
        found = [(name, loaded) for name, loaded in found if _may_be_here(name, loaded)]
    if len(found) == 1:
        return found[0][1]
    if not seen.problems:
        return None
    if found:
        names = ", ".join(name for name, _ in found)
        message = f"has several with revisions on this machine: {names}"
        refusals = [Problem(path="node", message=message, hint="choose with --node")]
    raise FarmFileError(*dict.fromkeys([*seen.problems, *refusals]))


def _settled_of(revisions: NodeRevisions, path: Path) -> LoadedFarm | Sequence[Problem]:
    """Return the settled revision of a node, or why it cannot be used; nothing if it has none."""
    try:
        store = RevisionStore(revisions.directory, only_read=True)
        record = store.load_record(SettingsRecord)
        if isinstance(record, NotReadable):
            return [Problem(path=revisions.node, message=record.why)]
        if record is None or record.settled is None:
            return []
        stored = store.load(record.settled)
        if isinstance(stored, NotReadable):
            return [Problem(path=revisions.node, message=stored.why)]
        return load_stored(stored.directory, working_copy=path)
    except StoreError as error:
        return [Problem(path=revisions.node, message=str(error))]
    except FarmFileError as error:
        return error.problems


def _may_be_here(name: str, loaded: LoadedFarm) -> bool:
    """Return whether this machine may be that node: it has its address, or none of any node yet."""
    try:
        return find_node(loaded.farm, None).name == name
    except NoNodeHereError:
        return True
    except FarmFileError:
        return any(node.name == name and any(map(is_local, node.addresses.values())) for node in loaded.farm.node)


def start_settings(path: Path, seen: LoadResult, directory: Path, *, take_file: bool = False) -> StartSettings:
    """Return what the node goes by whose revisions are below `directory`. Waits for the disk.

    `seen` is the farm file at `path`. A node without a revision, or that cannot read it, goes by that file; the latter
    until it has taken the revision anew from the others. With `take_file` the operator's files become a revision of
    this node. Otherwise they are brought up to its revision if an earlier daemon did not get there. Raise FarmFileError
    if the file is wrong and needed.
    """
    path = path.absolute()
    if take_file:
        _let_go_of_former(path, seen, directory)
    if not directory.is_dir():
        return StartSettings(loaded=seen.loaded_from(path), record=SettingsRecord())
    try:
        store = RevisionStore(directory)
        record = store.load_record(SettingsRecord)
    except StoreError as error:
        return _by_the_file(path, seen, SettingsRecord(), str(error))
    if isinstance(record, NotReadable):
        return _by_the_file(path, seen, SettingsRecord(), record.why)
    record = record or SettingsRecord()
    _clean_up(store, record)
    if record.settled is None:
        return StartSettings(loaded=seen.loaded_from(path), record=record)
    stored = store.load(record.settled)
    if take_file:
        return _with_the_file(store, record, stored, seen.loaded_from(path))
    if isinstance(stored, NotReadable):
        return _by_the_file(path, seen, record, stored.why)
    try:
        loaded = load_stored(stored.directory, working_copy=path)
    except FarmFileError as error:
        return _by_the_file(path, seen, record, f"{record.settled}: {'; '.join(map(str, error.problems))}")
    if is_written(store, record.settled, path):
        events = tuple(_edited(seen, loaded, record.settled))
    else:
        events = tuple(_bring_up_to(store, stored, loaded))
    return StartSettings(loaded=loaded, record=record, events=events)


def _with_the_file(
    store: RevisionStore, record: SettingsRecord, settled: StoredRevision | NotReadable, on_disk: LoadedFarm
) -> StartSettings:
    """Make the operator's files a revision of this node. Raise FarmFileError if that cannot be.

    Nothing in it tells who made it when: nodes that are all started so with the same files go by one revision.
    """
    path = on_disk.working_copy
    try:
        bundle = read_bundle(on_disk, FarmDirectory.of(on_disk))
        manifest = Manifest.of(
            bundle.contents,
            executable=bundle.executable,
            farm=on_disk.farm.farm.name,
            number=record.highest + 1,
            parents=(),
            author=TAKER,
            made_at=0,
        )
        if isinstance(settled, StoredRevision) and manifest.has_content_of(settled.manifest):
            message = f"there is nothing to take: {path} is as {record.settled} has it"
            loaded = load_stored(settled.directory, working_copy=path)
            events = (Event(level=Level.INFO, origin="settings", message=message),)
            return StartSettings(loaded=loaded, record=record, events=events)
        record = record.alone_with(manifest.id)
        store.save(manifest, bundle.contents)
        store.save_record(record)
        note_written(store, manifest.id, path)
        stored = store.load(manifest.id)
    except BundleError as error:
        raise FarmFileError(*(Problem(path="--take-file", message=problem) for problem in error.problems)) from None
    except StoreError as error:
        raise FarmFileError(Problem(path="--take-file", message=str(error))) from None
    if isinstance(stored, NotReadable):
        raise FarmFileError(Problem(path="--take-file", message=stored.why))
    message = (
        f"this node goes by {path} as {manifest.id}, which no other node follows: hcsidecar apply --take NODE makes the"
        " settings of one node those of all"
    )
    loaded = load_stored(stored.directory, working_copy=path)
    return StartSettings(loaded=loaded, record=record, events=(_warning(message),))


def _let_go_of_former(path: Path, seen: LoadResult, directory: Path) -> None:
    """Let this farm file be no longer that of a farm or a node of another name."""
    names = () if seen.farm is None else [node.name for node in seen.farm.node]
    for revisions in find_revisions(path, seen.text):
        if revisions.directory.parent.parent != directory.parent.parent or revisions.node not in names:
            with suppress(StoreError):
                forget_farm_file(RevisionStore(revisions.directory))


def events_of(written: Written) -> Iterator[Event]:
    """Give what an operator should know of his files that were brought up to a revision."""
    for name, kept in written.kept.items():
        yield _warning(f"{name} was edited and not applied: the edited file is now {kept}")
    for problem in written.problems:
        yield _warning(problem)


def _bring_up_to(store: RevisionStore, stored: StoredRevision, loaded: LoadedFarm) -> Iterator[Event]:
    """Bring the operator's files up to a revision, which an earlier daemon did not get to."""
    try:
        written = bring_up_to(store, stored, FarmDirectory.of(loaded))
    except StoreError as error:
        yield _warning(str(error))
        return
    changed = (*written.written, *written.removed)
    if changed:
        text = f"{', '.join(changed)}: brought up to {stored.manifest.id}, which an earlier daemon did not get to"
        yield Event(level=Level.INFO, origin="settings", message=text)
    yield from events_of(written)


def _edited(seen: LoadResult, loaded: LoadedFarm, settled: RevisionId) -> Iterator[Event]:
    path = loaded.working_copy
    if seen.problems:
        yield _warning(
            f"{path} is wrong, and not applied: this node goes by {settled}"
            f" (hcsidecar check-config says what to mend): {'; '.join(map(str, seen.problems))}"
        )
    elif loaded.text != seen.text:
        yield _warning(
            f"{path} is not as {settled} has it, and not applied: this node goes by the revision"
            " (hcsidecar diff shows how)"
        )


def why_not_in_the_farm(start: StartSettings, name: str) -> str | None:
    """Return why a node must not start: the farm has removed it. None if it has not."""
    record = start.record
    by = record.removed_by
    if by is None and all(node.name != name for node in start.loaded.farm.node):
        by = record.settled
    if by is None:
        return None
    return (
        f"{name} is not in the farm any more: {by} of the settings has removed it, and it serves nobody. To take it in"
        f" again, run hcsidecar token {name} on a node of the farm, and here the line that it prints, with --fresh"
    )


def _clean_up(store: RevisionStore, record: SettingsRecord) -> None:
    """Remove what an earlier daemon has stored and never taken."""
    settled = record.settled
    known = store.manifests()
    with suppress(StoreError):  # nothing depends on it
        for manifest in known.manifests:
            if manifest.id in known.with_files and (settled is None or manifest.number > settled.number):
                store.remove(manifest.id)
        if settled is not None:
            stored = (manifest.id for manifest in known.manifests)
            for unused in never_taken(stored, settled=settled, ancestors=record.ancestors):
                store.remove(unused)
        store.prune(() if settled is None else (settled,))


def _by_the_file(path: Path, seen: LoadResult, record: SettingsRecord, why: str) -> StartSettings:
    """Let the node go by the farm file on the disk, because it cannot read its revision."""
    message = f"this node goes by {path} until it has its revision of the settings from another node: {why}"
    return StartSettings(
        loaded=seen.loaded_from(path),
        record=msgspec.structs.replace(record, settled=None, ancestors=()),
        events=(Event(level=Level.ERROR, origin="settings", message=message),),
    )


def _warning(message: str) -> Event:
    return Event(level=Level.WARNING, origin="settings", message=message)
