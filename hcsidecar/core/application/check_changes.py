"""What a changed farm file means for the checks that run: which go on, which begin anew, and which end.

A check is known by its name. One whose keys only say how often and how patiently it tries keeps what it has found. One
that looks at something else begins anew, without a result.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from hcsidecar.core.farmfile.check_tables import Check

ADJUSTABLE: Final = frozenset({"action", "interval", "pending_interval", "timeout", "rise", "fall"})
"The keys of a check that change while it goes on."


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckChanges:
    """The names of checks, by what becomes of them. Those in none of the sets go on unchanged."""

    begun: frozenset[str]
    "New, or looking at something else: they begin in `init`."
    adjusted: frozenset[str]
    "Going on with what they have found, with other times or limits."
    ended: frozenset[str]
    "No longer in the farm file."


def check_changes(former: Iterable[Check], present: Iterable[Check]) -> CheckChanges:
    """Return what becomes of each check when the present ones take the place of the former ones."""
    before = {check.name: check for check in former}
    after = {check.name: check for check in present}
    begun = {name for name, check in after.items() if name not in before or not _is_the_same(before[name], check)}
    adjusted = {name for name, check in after.items() if name not in begun and check != before[name]}
    return CheckChanges(
        begun=frozenset(begun), adjusted=frozenset(adjusted), ended=frozenset(before.keys() - after.keys())
    )


def _is_the_same(before: Check, after: Check) -> bool:
    """Return whether two tables check the same thing for the same purpose."""
    if type(before) is not type(after):
        return False
    return before.model_dump(exclude=set(ADJUSTABLE)) == after.model_dump(exclude=set(ADJUSTABLE))
