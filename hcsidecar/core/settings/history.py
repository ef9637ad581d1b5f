"""What `hcsidecar history` tells: who made which revision, when and why, and what each changed."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, tzinfo
from typing import Final

import msgspec

from hcsidecar.core.plain_text import on_one_line
from hcsidecar.core.settings.revision import Manifest, RevisionId

_SHORT: Final = 8
"Digits of a digest that people are shown."


class FileChanges(msgspec.Struct, frozen=True, kw_only=True):
    """The names of the files in which two revisions differ, sorted."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    "In content, or in whether they may be executed."
    removed: tuple[str, ...] = ()

    def __str__(self) -> str:
        marked = [*self.changed, *(f"+{name}" for name in self.added), *(f"-{name}" for name in self.removed)]
        return " ".join(marked) or "nothing"


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One revision, as JSON has it too."""

    number: int
    digest: str
    made_at: int
    "Seconds since 1970; 0 where nobody has noted it."
    author: str
    message: str
    parents: tuple[str, ...]
    "Digests; two where the revision ended a conflict."
    changes: FileChanges | None
    "Against the first parent; None where that is not known any more."

    def line(self, zone: tzinfo | None = None) -> str:
        """Return the entry as one line, with the time of day in this zone, else in that of this machine."""
        when = datetime.fromtimestamp(self.made_at, zone).strftime("%Y-%m-%d %H:%M, ") if self.made_at else ""
        why = f": {on_one_line(self.message)}" if self.message else ""
        changes = "" if self.changes is None else f" ({self.changes})"
        *others, last = (digest[:_SHORT] for digest in self.parents or ("",))
        ended = f"; ended a conflict between {', '.join(others)} and {last}" if others else ""
        return f"{RevisionId(self.number, self.digest)}, {when}{on_one_line(self.author)}{why}{ended}{changes}"


def file_changes(old: Manifest | None, new: Manifest) -> FileChanges:
    """Return what the new revision has changed; all of its files are added where there was none before."""
    before = {} if old is None else {entry.name: entry for entry in old.files}
    after = {entry.name: entry for entry in new.files}
    return FileChanges(
        added=tuple(sorted(after.keys() - before.keys())),
        changed=tuple(sorted(name for name in after.keys() & before.keys() if after[name] != before[name])),
        removed=tuple(sorted(before.keys() - after.keys())),
    )


def history(manifests: Iterable[Manifest]) -> Sequence[HistoryEntry]:
    """Return an entry for each of these revisions, the highest number first."""
    by_digest = {manifest.id.digest: manifest for manifest in manifests}
    newest_first = sorted(by_digest.items(), key=lambda item: (-item[1].number, item[0]))
    return [
        HistoryEntry(
            number=manifest.number,
            digest=digest,
            made_at=manifest.made_at,
            author=manifest.author,
            message=manifest.message,
            parents=manifest.parents,
            changes=_changes(manifest, by_digest.get(manifest.parents[0]) if manifest.parents else None),
        )
        for digest, manifest in newest_first
    ]


def _changes(manifest: Manifest, parent: Manifest | None) -> FileChanges | None:
    return None if parent is None and manifest.parents else file_changes(parent, manifest)


def never_taken(
    stored: Iterable[RevisionId], *, settled: RevisionId, ancestors: Collection[RevisionId]
) -> Sequence[RevisionId]:
    """Return which of these were stored to be checked only, and can never be settled: others have had their numbers.

    `settled` is what the node goes by. One above it may be checked, or tried, just now; one before all `ancestors` was
    settled before the node was started by its own file.
    """
    history = {settled, *ancestors}
    first = min(history).number
    return [each for each in stored if first <= each.number <= settled.number and each not in history]
