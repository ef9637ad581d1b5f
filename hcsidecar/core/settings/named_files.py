"""Which files belong to a bundle: those that the farm file names below its directory, and what lies beside them.

A script may source others, so a directory that holds a named one travels as a whole, with the directories in it. The
directory of the farm file itself does not: the key file is there, and whatever else the operator keeps.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from hcsidecar.core.farmfile.check_tables import CommandCheck, CustomCheck
from hcsidecar.core.farmfile.problems import path_of
from hcsidecar.core.farmfile.raw_tables import RawTables, present
from hcsidecar.core.farmfile.target_tables import CommandTarget

UNAPPLIED: Final = ".unapplied"
"Ends the name of a copy of what was edited in the working copy and replaced by a revision."
_LEFT_OUT: Final = re.compile(rf"\..*|#.*#|.*~|.*\.sw[op]|.*{re.escape(UNAPPLIED)}(-[0-9]+)?|__pycache__", re.DOTALL)
"Hidden files, what editors and Python leave behind, and copies of unapplied edits."


def travelling_name(named: str) -> str | None:
    """Return the name in the bundle of a file that the farm file names so; None if it is not one of the bundle.

    Each machine has its own of those with an absolute path and of those with a `..` in it.
    """
    components = named.split("/")
    if named.startswith("/") or ".." in components:
        return None
    return "/".join(each for each in components if each not in ("", ".")) or None


def named_files(parts: RawTables) -> Mapping[str, str]:
    """Return the names in the bundle of the scripts and programs of a farm file, by their place in the file."""
    named: dict[str, str] = {}
    if parts.application is not None:
        named |= {f"application.{key}": name for key, name in parts.application.scripts.items()}
    for index, check in present(parts.check):
        if isinstance(check, CommandCheck | CustomCheck):
            named[path_of(("check", index, "command", 0))] = check.command[0]
    for index, target in present(parts.target):
        if isinstance(target, CommandTarget):
            named[path_of(("target", index, "command", 0))] = target.command[0]
    return {place: found for place, name in named.items() if (found := travelling_name(name)) is not None}


def whole_directories(names: Iterable[str]) -> tuple[str, ...]:
    """Return the directories that travel as a whole, for these files of a bundle; none lies in another."""
    directories = {name.rpartition("/")[0] for name in names} - {""}
    return tuple(sorted(each for each in directories if not any(each.startswith(f"{above}/") for above in directories)))


def is_left_out(name: str) -> bool:
    """Return whether a file or directory of this name, without a path, does not travel with what is beside it."""
    return _LEFT_OUT.fullmatch(name) is not None
