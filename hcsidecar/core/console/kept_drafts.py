"""The drafts of settings that a console keeps in memory, one for each person, so that no reload loses them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from hcsidecar.core.console.settings_draft import DraftFile

MOST_DRAFTS: Final = 8
"Drafts at a console; a further one takes the place of the one that was touched least lately."
DRAFT_LASTS: Final = 86_400.0
"Seconds for which a draft that nobody touches is kept."


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsDraft:
    """Settings that somebody edits."""

    files: Sequence[DraftFile]
    binary: Mapping[str, bytes] = field(default_factory=dict)
    "The contents of those files that are no text, by name."
    message: str = ""
    without: tuple[str, ...] = ()
    "Nodes that need not agree: dead ones."
    base: str = ""
    "The digest of the revision that it began with."
    planned: str = ""
    "The digest of the candidate that was last made of it; once that is in force, the draft has done its work."

    @property
    def contents(self) -> Mapping[str, bytes]:
        """The contents of all files, by name."""
        return {
            file.name: self.binary.get(file.name, b"") if file.text is None else file.text.encode()
            for file in self.files
        }


class KeptDrafts:
    """The drafts by person. Times are seconds of a clock that only goes forward."""

    def __init__(self) -> None:
        self._drafts: dict[str, tuple[float, SettingsDraft]] = {}

    def of(self, person: str, *, now: float) -> SettingsDraft | None:
        """Return the draft of a person, None if there is none."""
        self._forget_old(now)
        found = self._drafts.get(person)
        return None if found is None else found[1]

    def keep(self, person: str, draft: SettingsDraft, *, now: float) -> None:
        """Keep a draft in place of the person's former one."""
        self._forget_old(now)
        self._drafts.pop(person, None)
        while len(self._drafts) >= MOST_DRAFTS:
            del self._drafts[next(iter(self._drafts))]
        self._drafts[person] = (now, draft)

    def drop(self, person: str) -> None:
        """Forget the draft of a person, if there is one."""
        self._drafts.pop(person, None)

    def _forget_old(self, now: float) -> None:
        for person in [person for person, (at, _) in self._drafts.items() if at + DRAFT_LASTS <= now]:
            del self._drafts[person]
