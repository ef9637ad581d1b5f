"""Brings the operator's files up to the settled revision, and finds the revisions of a farm file that cannot be read.

A record beside the revisions says which farm file they are of, and up to which of them the operator's files were
brought. So a daemon that was killed between settling a revision and writing these files is told from an operator who
has edited them: what is missing then is written at the next start.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from hcsidecar.core.settings.revision import Manifest, RevisionId
from hcsidecar.farmfile.copy import named_state_dir
from hcsidecar.farmfile.dirs import SETTINGS, state_base
from hcsidecar.settings.farm_directory import FarmDirectory
from hcsidecar.settings.store import WORKING_COPY, RevisionStore, StoredRevision, StoreError
from hcsidecar.settings.working_copy import Written, write_revision


class WorkingCopyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the operator's files."""

    farm_file: str
    "The path of the farm file, absolute."
    revision: RevisionId | None = None
    "The revision that was written there last; None before the first."


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRevisions:
    """The revisions of a node on this machine."""

    node: str
    directory: Path


def is_written(store: RevisionStore, revision: RevisionId, farm_file: Path) -> bool:
    """Return whether the operator's files were brought up to a revision, and the record is of this farm file."""
    record = _record(store)
    return record is not None and (record.revision, record.farm_file) == (revision, os.fspath(farm_file))


def bring_up_to(
    store: RevisionStore, stored: StoredRevision, directory: FarmDirectory, *, at_first: Manifest | None = None
) -> Written:
    """Make the operator's files those of a revision, and note it if all were written. Raise StoreError if it cannot.

    What nobody has edited since the revision that was written last is replaced; what was edited is kept beside.
    `at_first` is what the operator had before the first revision, as far as that is known.
    """
    written = write_revision(directory, stored.manifest, stored.contents, former=_former(store, stored, at_first))
    if not written.problems:
        note_written(store, stored.manifest.id, directory.farm_file)
    return written


def note_written(store: RevisionStore, revision: RevisionId, farm_file: Path) -> None:
    """Note that the operator's files are those of a revision. Raise StoreError."""
    store.save_record(WorkingCopyRecord(farm_file=os.fspath(farm_file), revision=revision), name=WORKING_COPY)


def forget_farm_file(store: RevisionStore) -> None:
    """Let these revisions be of no farm file on the disk. Raise StoreError."""
    record = _record(store)
    if record is not None:
        store.save_record(msgspec.structs.replace(record, farm_file=""), name=WORKING_COPY)


def _former(store: RevisionStore, stored: StoredRevision, at_first: Manifest | None) -> Manifest | None:
    """Return what the operator's files were made by last; a node that was away has left out some revisions."""
    record, by_id = _record(store), {manifest.id: manifest for manifest in store.manifests().manifests}
    if record is not None and record.revision in by_id:
        return by_id[record.revision]
    parents = stored.manifest.parents
    return next((each for found, each in by_id.items() if found.digest in parents), at_first if not parents else None)


def _record(store: RevisionStore) -> WorkingCopyRecord | None:
    found = store.load_record(WorkingCopyRecord, name=WORKING_COPY)
    return found if isinstance(found, WorkingCopyRecord) else None


def find_revisions(
    farm_file: Path, text: str, *, environment: Mapping[str, str] = os.environ
) -> tuple[NodeRevisions, ...]:
    """Return the nodes on this machine that have revisions of the farm file at a path, sorted by name.

    `text` is its present content, as far as it can be read: where their directories are.
    """
    bases = {state_base(named, environment) for named in (None, named_state_dir(text))}
    wanted = os.path.realpath(farm_file)
    found = [
        NodeRevisions(node=directory.parent.name, directory=directory)
        for base in bases
        for directory in _below(base)
        if (named := _farm_file_of(directory)) and os.path.realpath(named) == wanted
    ]
    return tuple(sorted(found, key=lambda each: (each.node, each.directory)))


def _below(base: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from base.glob(f"*/*/{SETTINGS}")


def _farm_file_of(directory: Path) -> str | None:
    try:
        found = _record(RevisionStore(directory, only_read=True))
    except StoreError:
        return None
    return None if found is None else found.farm_file
