"""What a daemon starts with: the settled revision of its node, or the farm file on the disk where there is none."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from hcsidecar.core.events import Event, Level
from hcsidecar.core.settings.agreement import SettingsRecord
from hcsidecar.core.settings.revision import FARM_FILE
from hcsidecar.farmfile.loading import FarmFileError, LoadedFarm, load
from hcsidecar.settings.store import NotReadable, RevisionStore, StoreError


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


def start_settings(on_disk: LoadedFarm, directory: Path) -> StartSettings:
    """Return what the node goes by whose revisions are below `directory`. Waits for the disk.

    A node that cannot read its revision goes by the farm file on the disk, until it has taken the revision anew from
    the others.
    """
    if not directory.is_dir():
        return StartSettings(loaded=on_disk, record=SettingsRecord())
    try:
        store = RevisionStore(directory)
        record = store.load_record(SettingsRecord)
    except StoreError as error:
        return _by_the_file(on_disk, SettingsRecord(), str(error))
    if isinstance(record, NotReadable):
        return _by_the_file(on_disk, SettingsRecord(), record.why)
    record = record or SettingsRecord()
    _clean_up(store, record)
    if record.settled is None:
        return StartSettings(loaded=on_disk, record=record)
    stored = store.load(record.settled)
    if isinstance(stored, NotReadable):
        return _by_the_file(on_disk, record, stored.why)
    try:
        loaded = load_stored(stored.directory, working_copy=on_disk.path)
    except FarmFileError as error:
        return _by_the_file(on_disk, record, f"{record.settled}: {'; '.join(map(str, error.problems))}")
    events = []
    if loaded.text != on_disk.text:
        message = (
            f"{on_disk.path} is not as {record.settled} has it, and not applied: this node goes by the revision"
            " (hcsidecar diff shows how)"
        )
        events.append(Event(level=Level.WARNING, origin="settings", message=message))
    return StartSettings(loaded=loaded, record=record, events=tuple(events))


def _clean_up(store: RevisionStore, record: SettingsRecord) -> None:
    """Remove what an earlier daemon has stored and never taken."""
    settled = record.settled
    known = store.manifests()
    with suppress(StoreError):  # nothing depends on it
        for manifest in known.manifests:
            if manifest.id in known.with_files and (settled is None or manifest.number > settled.number):
                store.remove(manifest.id)
        store.prune(() if settled is None else (settled,))


def _by_the_file(on_disk: LoadedFarm, record: SettingsRecord, why: str) -> StartSettings:
    message = f"this node goes by {on_disk.path} until it has its revision of the settings from another node: {why}"
    return StartSettings(
        loaded=on_disk,
        record=msgspec.structs.replace(record, settled=None, ancestors=()),
        events=(Event(level=Level.ERROR, origin="settings", message=message),),
    )
