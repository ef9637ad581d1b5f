"""Checks that the scripts of the farm file exist, can be executed, and cannot be changed by other users."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from hcsidecar.core.application.trusted_paths import PathStep, UntrustedPath, why_not_trusted
from hcsidecar.core.farmfile.application_table import ApplicationTable
from hcsidecar.core.farmfile.problems import Problem
from hcsidecar.farmfile.places import Places

_MAX_LINKS = 40
"The number of symbolic links that the kernel follows; see path_resolution(7)."


def why_not(table: ApplicationTable, places: Places) -> list[Problem]:
    """Return the problem of each script that must not be run."""
    return [
        Problem(path=f"application.{key}", message=refusal.message, hint=refusal.hint)
        for key, name in table.scripts.items()
        if (refusal := why_not_run(places.program(name))) is not None
    ]


def why_not_run(script: Path) -> UntrustedPath | None:
    """Return why a script must not be run, or None. Reads the file system, and may block as long as that does."""
    try:
        found = script.stat()
        way = list(_way_to(script))
    except FileNotFoundError:
        return UntrustedPath(message="is not there", hint=f"make {script}, or name another one")
    except OSError as error:
        return UntrustedPath(message=f"cannot be reached: {script}", hint=error.strerror or str(error))
    if not stat.S_ISREG(found.st_mode):
        return UntrustedPath(message="is not a file", hint=f"make {script} one, or name another one")
    if not found.st_mode & 0o111:
        return UntrustedPath(message="is not executable", hint=f"chmod +x {script}")
    if not os.access(script, os.X_OK):
        return UntrustedPath(
            message="may not be executed by this user", hint=f"chmod, or a mount without noexec: {script}"
        )
    if not hasattr(os, "geteuid"):
        return None
    return why_not_trusted(way, {0, os.geteuid()})


def why_not_placed(path: Path) -> UntrustedPath | None:
    """Say why a script must not be run once it is put there: somebody else could change it, or what it lies in."""
    while not os.path.lexists(path):
        path = path.parent
    try:
        way = list(_way_to(path))
    except OSError as error:
        return UntrustedPath(message=f"cannot be put there: {path}", hint=error.strerror or str(error))
    return why_not_trusted(way, {0, os.geteuid()}) if hasattr(os, "geteuid") else None


def _way_to(script: Path) -> Iterator[PathStep]:
    """Yield every directory and symbolic link on the way to a file, then the file. Raise OSError if one is missing."""
    place = Path("/")
    yield _step(place)
    waiting = list(reversed(script.parts[1:]))
    links = 0
    while waiting:
        name = waiting.pop()
        if name == "..":
            place = place.parent
            continue
        step = _step(place / name)
        yield step
        if not stat.S_ISLNK(step.mode):
            place /= name
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(f"more than {_MAX_LINKS} symbolic links")
        target = (place / name).readlink()
        waiting += reversed(target.parts[1:] if target.is_absolute() else target.parts)
        if target.is_absolute():
            place = Path("/")


def _step(path: Path) -> PathStep:
    found = path.lstat()
    return PathStep(path=str(path), mode=found.st_mode, owner=found.st_uid)
