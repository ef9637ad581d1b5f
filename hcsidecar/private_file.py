"""Writing a small file of this user's alone, so that after a crash there is either the old one or the new one."""

import os
from pathlib import Path


def replace_private(path: Path, content: bytes) -> str | None:
    """Write a new file beside the old one, on disk, and put it in its place; gives the reason when that fails."""
    new = path.with_suffix(".new")
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123 - needs a mode
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        return error.strerror or str(error)
    return None
