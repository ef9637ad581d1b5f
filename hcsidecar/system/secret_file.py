"""Reads small files with secrets of the operator's, such as a token or a password."""

import stat
from pathlib import Path
from typing import Final

from hcsidecar.core.why_not import WhyNot

LONGEST: Final = 8192
"Bytes; no token or password is as long."


def why_not_read(path: Path, *, secret: bool = True) -> WhyNot | None:
    """Return what is wrong with a file, to complete a sentence, and what to do; None if it can be used.

    A secret must not be readable by other users.
    """
    try:
        with path.open("rb") as file:
            mode = path.stat().st_mode
            content = file.read(LONGEST + 1)
    except OSError as error:
        return WhyNot(f"cannot be read: {path}: {error.strerror}", "relative to the farm file, or absolute")
    if not secret:
        return None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        return WhyNot(f"can be read by others: {path}", f"chmod 600 {path}")
    if not content.strip():
        return WhyNot(f"is empty: {path}", "write the secret into it")
    if len(content) > LONGEST:
        return WhyNot(f"is longer than {LONGEST} bytes: {path}", "a file with nothing but the secret")
    return None


def secret_lines(path: Path) -> list[str]:
    """Return the lines of a file with a secret, without blanks at their ends. Raise ValueError that says why not."""
    why = why_not_read(path)
    if why is not None:
        raise ValueError(f"the file {why.problem} ({why.remedy})")
    try:
        text = path.read_bytes()[:LONGEST].decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the file cannot be read: {path}: {error}") from None
    return [line.strip() for line in text.strip().splitlines()]
