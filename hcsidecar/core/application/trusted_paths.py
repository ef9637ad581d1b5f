"""Decides whether a script may run: nobody but root and the daemon's user may be able to change or replace it.

The file, each directory from the root down to it, and each symbolic link on the way must belong to root or to the user
that the daemon runs as, and only the owner may be able to write to it. sshd requires the same of a user's keys
(StrictModes in sshd_config(5)). One case is allowed that sshd refuses: a directory of a trusted owner inside one like
/tmp, which all users can write to and which has the sticky bit. Nobody but the owner can rename or remove a directory
there, and no directory can be linked there from elsewhere.
"""

import stat
from collections.abc import Collection, Iterable
from dataclasses import dataclass

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True, kw_only=True)
class PathStep:
    """A directory or a symbolic link on the way to a file, or the file itself at the end."""

    path: str
    mode: int
    "The st_mode of stat(2), with the file type."
    owner: int
    "User id."


@dataclass(frozen=True, slots=True, kw_only=True)
class UntrustedPath:
    """Why a script must not run, and what to do."""

    message: str
    "The rest of a sentence that begins with the script."
    hint: str

    def __str__(self) -> str:
        return f"{self.message}: {self.hint}" if self.hint else self.message


def why_not_trusted(way: Iterable[PathStep], owners: Collection[int]) -> UntrustedPath | None:
    """Return why others than `owners` (user ids) could change a file, or None if they cannot.

    `way` goes from the root directory to the file.
    """
    shared = False
    for step in way:
        is_directory, is_link = stat.S_ISDIR(step.mode), stat.S_ISLNK(step.mode)
        what = f"is reached by {step.path}, which" if is_directory or is_link else ""
        if step.owner not in owners:
            return UntrustedPath(
                message=f"{what} belongs to another user (uid {step.owner})".strip(),
                hint=f"chown {'-h ' if is_link else ''}root {step.path}",
            )
        if shared and not is_directory:
            return UntrustedPath(
                message=f"{what} is in a directory where everybody can create files".strip(),
                hint=f"move {step.path} into a directory of its own",
            )
        writable = not is_link and bool(step.mode & _OTHERS_WRITE)
        shared = writable and is_directory and bool(step.mode & stat.S_ISVTX)
        if writable and not shared:
            return UntrustedPath(
                message=f"{what} may be written by others than its owner".strip(), hint=f"chmod go-w {step.path}"
            )
    return None
