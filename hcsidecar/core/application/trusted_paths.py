"""Who could change what the daemon runs: the rule for a script and for every directory on the way to it.

A program that runs as root must not be one that somebody else can write, replace, or put another one in the place of.
So the file, each directory from the root down to it, and each symbolic link on the way must belong to root or to the
user that the daemon runs as, and be writable by the owner alone, as sshd wants it of a user's keys (StrictModes in
sshd_config(5)). One thing is allowed that sshd refuses: a directory of ours in one like /tmp, writable for all with the
sticky bit. There nobody but the owner can rename or remove it, and a directory cannot be linked from elsewhere.
"""

import stat
from collections.abc import Collection, Iterable
from dataclasses import dataclass

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True, kw_only=True)
class PathStep:
    """A directory or a symbolic link on the way to a file, or at the end the file itself."""

    path: str
    mode: int
    "As stat(2) gives it, with the kind of file."
    owner: int
    "User id."


@dataclass(frozen=True, slots=True, kw_only=True)
class UntrustedPath:
    """Why a script must not run, and what would help."""

    message: str
    "Completes a sentence that begins with the script."
    hint: str

    def __str__(self) -> str:
        return f"{self.message}: {self.hint}" if self.hint else self.message


def why_not_trusted(way: Iterable[PathStep], owners: Collection[int]) -> UntrustedPath | None:
    """Say who besides `owners` (user ids) could change a file; `way` goes from the root directory to the file."""
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
                message=f"{what} lies in a directory where everybody may make files".strip(),
                hint=f"move {step.path} into a directory of its own",
            )
        writable = not is_link and bool(step.mode & _OTHERS_WRITE)
        shared = writable and is_directory and bool(step.mode & stat.S_ISVTX)
        if writable and not shared:
            return UntrustedPath(
                message=f"{what} may be written by others than its owner".strip(), hint=f"chmod go-w {step.path}"
            )
    return None
