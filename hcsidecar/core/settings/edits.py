"""What an operator has edited in the working copy and not applied."""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Literal

import msgspec

_NAMED = 3
"Files that a line names."


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the operator's directory that is not as the current revision has it."""

    name: str
    "As it is called in that directory."
    kind: Literal["edited", "missing", "new"]
    at: float | None = None
    "When it was last written, in seconds since 1970; None where that is not known."
    is_wrong: bool = False
    "It is the farm file, and could not be applied as it is now."


def edits_in_words(edits: Sequence[Edit], *, now: float, zone: tzinfo | None = None) -> str | None:
    """Return a line about these files, None if there are none. Times are those of the zone, else of this machine."""
    if not edits:
        return None
    said = [_in_words(edit, now, zone) for edit in edits[:_NAMED]]
    more = len(edits) - len(said)
    said += [f"{more} more" if more > 1 else "one more"] if more else []
    return f"{', '.join(said)}; not applied"


def _in_words(edit: Edit, now: float, zone: tzinfo | None) -> str:
    if edit.kind == "missing":
        return f"{edit.name} is missing"
    when = "" if edit.at is None else f" at {_time(edit.at, now, zone)}"
    wrong = " and is wrong, as hcsidecar check-config tells" if edit.is_wrong else ""
    return f"{edit.name} was {'edited' if edit.kind == 'edited' else 'made'}{when}{wrong}"


def _time(at: float, now: float, zone: tzinfo | None) -> str:
    when, today = datetime.fromtimestamp(at, zone), datetime.fromtimestamp(now, zone).date()
    return when.strftime("%H:%M" if when.date() == today else "%Y-%m-%d %H:%M")
