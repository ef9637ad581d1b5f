"""Sets aside what an earlier node has left on a server: FILE becomes FILE.before, and comes back if joining fails."""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

SUFFIX: Final = ".before"


class SetAside:
    """The files and directories that were set aside."""

    def __init__(self) -> None:
        self._moved: dict[Path, Path] = {}

    @property
    def moved(self) -> Mapping[Path, Path]:
        """Where each of them is now."""
        return self._moved

    def move(self, path: Path) -> None:
        """Set a file or directory aside, in place of what was set aside there before. Raise OSError if it cannot be."""
        aside = path.with_name(path.name + SUFFIX)
        if aside.is_dir() and not aside.is_symlink():
            shutil.rmtree(aside)
        path.replace(aside)
        self._moved[path] = aside

    def undo(self) -> None:
        """Put everything back, as far as that is possible."""
        for path, aside in reversed(self._moved.items()):
            with suppress(OSError):
                if not os.path.lexists(path):
                    aside.rename(path)
        self._moved = {}
