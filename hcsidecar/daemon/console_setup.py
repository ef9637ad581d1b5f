"""Sets up and removes what the console needs beside its unit: its user, and the daemon's way of reaching its group."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from hcsidecar.core.service_unit import CONSOLE_USER
from hcsidecar.daemon.systemd_setup import ServiceError, shipped_unit
from hcsidecar.system.private_file import replace_file

DROP_IN: Final = "hcsidecar.service.d/console.conf"
"Beside the unit of the node."
_PATIENCE: Final = 60.0
"Seconds for making a user."


class ConsoleSetup:
    """The console's user and the drop-in, below `root`; with `live` for this machine."""

    def __init__(
        self, *, root: Path, live: bool, say: Callable[[str], None], environment: Mapping[str, str] = os.environ
    ) -> None:
        self._root = root
        self._live = live
        self._say = say
        self._environment = environment
        self._path = root / "etc/systemd/system" / DROP_IN

    def install(self) -> bool:
        """Make the user and write the drop-in. Return whether the node's unit has changed. Raise ServiceError."""
        self._make_user()
        text = shipped_unit("hcsidecar-console.conf")
        places = ("usr/lib/systemd/system", "lib/systemd/system", "etc/systemd/system")
        there = next((path for place in places if _read(path := self._root / place / DROP_IN) == text), None)
        if there is not None:
            self._say(f"{there} is right already")
            return False
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._path, text.encode(), mode=0o644)
        except OSError as error:
            raise ServiceError(f"{error.filename or self._path}: {error.strerror}") from error
        self._say(f"wrote {self._path}, by which the daemon opens its socket for the console")
        return True

    def uninstall(self) -> None:
        """Remove the drop-in; the user stays, as a package's would."""
        if self._path.exists():
            self._path.unlink()
            self._say(f"removed {self._path}")
            if not any(self._path.parent.iterdir()):
                self._path.parent.rmdir()
        if self._has_user():
            self._say(f"stays: the user {CONSOLE_USER}; userdel {CONSOLE_USER} removes it")

    def _make_user(self) -> None:
        if self._has_user():
            return
        where = () if self._live else ("--prefix", str(self._root))
        command = [
            *("useradd", *where, "--system", "--user-group", "--no-create-home", "--home-dir", "/"),
            *("--shell", "/usr/sbin/nologin", "--comment", "the console of hcsidecar", CONSOLE_USER),
        ]
        path = self._environment.get("PATH")
        if shutil.which(command[0], path=path) is None:
            raise ServiceError(f"there is no useradd to make the user {CONSOLE_USER} with: make it, or --no-console")
        try:
            done = subprocess.run(  # noqa: S603 - a fixed command
                command, capture_output=True, text=True, check=False, timeout=_PATIENCE, env=self._environment
            )
        except subprocess.TimeoutExpired:
            raise ServiceError(f"{' '.join(command)} takes more than {_PATIENCE:g} s: look at it by hand") from None
        if done.returncode:
            raise ServiceError(f"{' '.join(command)}: {' '.join(done.stderr.split()) or done.returncode}")
        self._say(f"made the user {CONSOLE_USER}")

    def _has_user(self) -> bool:
        if self._live and self._root == Path("/"):
            try:
                pwd.getpwnam(CONSOLE_USER)
            except KeyError:
                return False
            return True
        users = _read(self._root / "etc/passwd") or ""
        return any(line.startswith(f"{CONSOLE_USER}:") for line in users.splitlines())


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
