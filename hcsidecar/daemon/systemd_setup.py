"""Sets up and removes this node's systemd unit: writes its file and calls systemctl.

Each step is reported to the operator at once. Both operations can be repeated, and continue where an earlier attempt
ended.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from hcsidecar.core.service_unit import (
    GROWING_DELAYS_SINCE,
    SHIPPED_PROGRAM,
    SHIPPED_STATE,
    UnitOptions,
    UnitState,
    config_of,
    console_unit_text,
    is_ours,
    signed,
    systemd_version,
    unit_state,
    unit_text,
)
from hcsidecar.farmfile.dirs import make_private
from hcsidecar.system.private_file import replace_file

PATIENCE = 1000.0
"Seconds that systemctl may take: a start may take TimeoutStartSec= of the unit, and a stop waits for the drain."


class ServiceError(Exception):
    """Raised if the unit cannot be set up or removed; the text says why, and what to do."""


def shipped_unit(name: str = "hcsidecar.service") -> str:
    """Return the text of a unit that comes with this version."""
    return (files("hcsidecar") / name).read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedUnit:
    """A unit that is to be there."""

    text: Callable[[int | None], str]
    "For a version of systemd, None where that is not known; without a fingerprint."
    config: str
    "The farm file, without which it is not started."
    state: str | None = None
    "A directory that must be there before it starts."


def node_unit(wishes: UnitOptions) -> WantedUnit:
    """Return the unit of the node."""
    return WantedUnit(
        text=lambda version: unit_text(shipped_unit(), wishes, systemd=version),
        config=wishes.config,
        state=wishes.state,
    )


def console_unit(wishes: UnitOptions) -> WantedUnit:
    """Return the unit of the node's console."""
    return WantedUnit(
        text=lambda _version: console_unit_text(shipped_unit("hcsidecar-console.service"), wishes),
        config=wishes.config,
    )


def this_program(executable: str = sys.executable) -> str:
    """Return the path of this installation's `hcsidecar`, the short one if there is one."""
    program = Path(executable).with_name("hcsidecar")
    try:
        if Path(SHIPPED_PROGRAM).samefile(program):
            return SHIPPED_PROGRAM
    except OSError:
        pass
    if not program.exists():
        raise ServiceError(f"there is no {program} for a unit to run: install hcsidecar into a virtual environment")
    return str(program)


def why_not_here(environment: Mapping[str, str] = os.environ, *, booted: Path = Path("/run/systemd/system")) -> str:
    """Return why this user cannot set up a unit on this machine; empty if he can."""
    if not booted.is_dir() or shutil.which("systemctl", path=environment.get("PATH")) is None:
        return "systemd does not run this machine: let what does run it start `hcsidecar run`"
    if os.geteuid() != 0:
        return "only root sets up units: try it with sudo"
    return ""


class Service:
    """One unit, below `root`; with `live` the systemd of this machine is told of each change."""

    def __init__(
        self,
        name: str,
        *,
        root: Path,
        live: bool,
        say: Callable[[str], None],
        environment: Mapping[str, str] = os.environ,
        outlived: bool = True,
    ) -> None:
        """`outlived` says that what it has started runs on when it stops."""
        self._name = name
        self._root = root
        self._live = live
        self._say = say
        self._environment = environment
        self._path = root / "etc/systemd/system" / f"{name}.service"
        self._outlives = "; an application that it has started runs on" if outlived else ""

    # -- installing -------------------------------------------------------------------------------------------------

    def install(self, wanted: WantedUnit, *, start: bool, force: bool, changed: bool = False) -> None:
        """Write the unit, enable it at boot, and start it. Raise ServiceError if that fails.

        It is not started while the farm file is missing. `changed` says that something beside it has changed that it
        takes with a restart.
        """
        changed = self._write(wanted, force=force) or changed
        if wanted.state is not None:
            self._make_state(wanted.state)
        if self._live and changed:
            self._systemctl("daemon-reload")
            self._say("told systemd to read its units again")
        self._enable()
        if self._live:
            self._start(wanted, start=start, changed=changed)

    def _write(self, wanted: WantedUnit, *, force: bool) -> bool:
        """Write the unit's file; return whether it has changed."""
        text = wanted.text(self._systemd())
        present = _read(self._path)
        match unit_state(present, text):
            case UnitState.SAME:
                self._say(f"{self._path} is right already")
                return False
            case UnitState.ABSENT if (packaged := self._packaged(wanted)) is not None:
                self._say(f"{packaged}, which a package brought, is right already")
                return False
            case UnitState.FOREIGN if not force:
                raise ServiceError(
                    f"{self._path} was not written by `hcsidecar install`, or somebody has changed it since; it stays"
                    f" as it is. To replace it, and keep a copy beside it: --force. Own settings are better kept in"
                    f" `systemctl edit {self._name}`"
                )
            case UnitState.FOREIGN:
                self._keep_copy()
            case UnitState.OURS:
                self._say("the unit was written for another version or other settings")
            case UnitState.ABSENT:
                pass
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._path, signed(text).encode(), mode=0o644)
        except OSError as error:
            raise ServiceError(f"{error.filename or self._path}: {error.strerror}") from error
        self._say(f"wrote {self._path}")
        return True

    def _packaged(self, wanted: WantedUnit) -> Path | None:
        """Return a package's unit of the same name that is as wanted, for any version of systemd, or None."""
        texts = [wanted.text(version) for version in (None, GROWING_DELAYS_SINCE)]
        for directory in ("usr/lib/systemd/system", "lib/systemd/system"):
            path = self._root / directory / self._path.name
            present = _read(path)
            if any(unit_state(present, text) is UnitState.SAME for text in texts):
                return path
        return None

    def _systemd(self) -> int | None:
        """Return the version of the systemd that will read the unit; None if it is not known."""
        # The systemctl here says nothing about the systemd of another machine's image.
        return systemd_version(self._systemctl("--version").stdout) if self._live else None

    def _keep_copy(self) -> None:
        copy = self._path.with_name(f"{self._path.name}.old")
        try:
            shutil.copy2(self._path, copy)
        except OSError as error:
            raise ServiceError(f"{copy}: {error.strerror}") from error
        self._say(f"kept what was there as {copy}")

    def _make_state(self, state: str) -> None:
        """Make the state directory, without which systemd cannot start the service."""
        path = self._below_root(state)
        if not path.is_dir():
            make_private(path)
            self._say(f"made {path}")

    def _enable(self) -> None:
        if self._systemctl("is-enabled", self._name, may_fail=True).returncode == 0:
            self._say(f"{self._name} starts at boot already")
            return
        self._systemctl("enable", self._name)
        self._say(f"enabled {self._name}: it starts at boot")

    def _start(self, wanted: WantedUnit, *, start: bool, changed: bool) -> None:
        if self._systemctl("is-active", self._name, may_fail=True).returncode == 0:
            later = f": systemctl restart {self._name} applies the new unit" if changed else ""
            self._say(f"{self._name} runs already{later}")
        elif not start:
            self._say(f"not started, because of --no-start; later: systemctl start {self._name}")
        elif not self._below_root(wanted.config).exists():
            self._say(
                f"not started: {wanted.config} is not there yet. `hcsidecar init` makes one; then: systemctl start"
                f" {self._name}"
            )
        else:
            self._systemctl("start", self._name, hint=f"journalctl -u {self._name} says why")
            self._say(f"started {self._name}")

    # -- uninstalling -----------------------------------------------------------------------------------------------

    def uninstall(self, *, force: bool) -> None:
        """Stop and disable the node, and remove the unit that `install` wrote. Raise ServiceError if that fails."""
        present = _read(self._path)
        packaged = self._any_packaged()
        if present is None and packaged is None:
            self._say(f"there is no {self._path}: nothing to remove")
            return
        foreign = present is not None and not is_ours(present)
        if foreign and not force:
            raise ServiceError(
                f"{self._path} was not written by `hcsidecar install`, or somebody has changed it since; it stays, and"
                f" nothing was done. To remove it all the same, and keep a copy beside it: --force"
            )
        if self._live:
            self._systemctl("stop", self._name)
            self._say(f"stopped {self._name}{self._outlives}")
        self._systemctl("disable", self._name)
        self._say(f"disabled {self._name}: it does not start at boot any more")
        if foreign:
            self._keep_copy()
        if present is not None:
            self._path.unlink(missing_ok=True)
            self._say(f"removed {self._path}")
            if self._live:
                self._systemctl("daemon-reload")
                self._say("told systemd to read its units again")
        self._tell_what_stays(present, packaged)

    def _any_packaged(self) -> Path | None:
        paths = (self._root / place / self._path.name for place in ("usr/lib/systemd/system", "lib/systemd/system"))
        return next((path for path in paths if path.exists()), None)

    def _tell_what_stays(self, present: str | None, packaged: Path | None) -> None:
        drop_ins = self._path.with_name(f"{self._path.name}.d")
        unit = present if packaged is None else _read(packaged)
        config = config_of(unit or "")
        if packaged is not None:
            self._say(f"stays: {packaged}, which goes with its package")
        if drop_ins.exists():
            self._say(f"stays: {drop_ins}, with your changes of the unit")
        if config is not None and self._below_root(config).exists():
            self._say(f"stays: {config}, with its key file and scripts")
        if self._below_root(SHIPPED_STATE).exists():
            self._say(f"stays: {SHIPPED_STATE}, the state")

    def _below_root(self, path: str) -> Path:
        return self._root / path.lstrip("/")

    # -- systemctl --------------------------------------------------------------------------------------------------

    def _systemctl(self, *arguments: str, may_fail: bool = False, hint: str = "") -> "subprocess.CompletedProcess[str]":
        """Call systemctl, for the running systemd or for the files below the root. Raise ServiceError if it fails."""
        where: Sequence[str] = () if self._live else ("--root", str(self._root))
        command = ["systemctl", *where, *arguments]
        try:
            done = subprocess.run(  # noqa: S603 - a fixed command; the unit's name was checked
                command,
                capture_output=True,
                text=True,
                check=False,
                timeout=PATIENCE,
                stdin=subprocess.DEVNULL,
                env=self._environment,
            )
        except FileNotFoundError:
            raise ServiceError("the command systemctl is missing: install systemd") from None
        except subprocess.TimeoutExpired:
            raise ServiceError(f"{' '.join(command)} takes more than {PATIENCE:g} s: look at it by hand") from None
        if done.returncode and not may_fail:
            said = " ".join(done.stderr.split()) or f"status {done.returncode}"
            raise ServiceError(". ".join(filter(None, (f"{' '.join(command)}: {said}", hint))))
        return done


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ServiceError(f"{path} cannot be read: {error}") from error
