"""What a snapshot has of a node's machine and files: settings, revisions, versions, processes, service and kernel."""

import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from hcsidecar import __version__
from hcsidecar.core.settings.differences import without_secrets
from hcsidecar.core.settings.history import history
from hcsidecar.core.settings.revision import BundleError, Manifest, decode_manifest
from hcsidecar.core.snapshot_contents import Part
from hcsidecar.core.snapshot_secrets import Scrubber
from hcsidecar.farmfile.loading import see
from hcsidecar.farmfile.machine_checks import problems_here
from hcsidecar.net.keyring import KeyFileError, Keyring
from hcsidecar.snapshot.kernel import kernel_readings
from hcsidecar.snapshot.known_secrets import known_secrets
from hcsidecar.snapshot.reading import MissingError, Reading, file_text, names_in, read_all, said_by, sections
from hcsidecar.snapshot.where import Where, daemons_here

_LIBRARIES: Final = (
    *("aiohttp", "cryptography", "msgspec", "pydantic", "pyroute2", "netfilterqueue", "boto3", "tenacity"),
    *("prometheus-client", "typer", "rich", "regex", "defusedxml", "tomlkit"),
)
_SERVICE: Final = "hcsidecar.service"
_PROPERTIES: Final = (
    "LoadState,ActiveState,SubState,Result,UnitFileState,FragmentPath,DropInPaths,MainPID,ExecMainStartTimestamp,"
    "ExecMainExitTimestamp,ExecMainStatus,NRestarts,MemoryCurrent,MemoryMax,TasksCurrent,TasksMax,CPUUsageNSec,"
    "LimitNOFILE,LimitRTPRIO,User,Group,AmbientCapabilities,CapabilityBoundingSet,WatchdogUSec,ProtectSystem"
)
_OF_A_PROCESS: Final = ("Name", "State", "Pid", "PPid", "Uid", "VmRSS", "VmHWM", "Threads", "CapEff", "SigQ")
_CHECK_TAKES: Final = 20.0
"Seconds: the packages of other kinds of targets are loaded in a process of its own."
_SECRETS: Final = "secrets"
_MOST_FILES: Final = 500


def machine_parts(
    where: Where, *, secrets: Callable[[Where], frozenset[str]] = known_secrets
) -> tuple[list[Part], Scrubber | None]:
    """Return the parts without secrets, the most important first, and what hides secrets in others.

    If the secrets cannot be read in time, nothing is shown, and None is returned.
    """
    known: list[frozenset[str]] = []

    def find() -> str:
        known.append(secrets(where))
        return ""

    (found,) = read_all([Reading(name=_SECRETS, about="", read=find)])
    readings = machine_readings(where)
    if not known:
        why = f"it could show secrets, and which there are is not known: {found.lacking}"
        return [Part(name=each.name, about=each.about, lacking=why) for each in readings], None
    scrubber = Scrubber(known[0])
    return [scrubbed(part, scrubber) for part in read_all(readings)], scrubber


def scrubbed(part: Part, scrubber: Scrubber) -> Part:
    """Return a part of text without secrets, also in the reason for what is missing."""
    return Part(
        name=part.name,
        about=part.about,
        text=scrubber.text(part.text),
        lacking=scrubber.text(part.lacking),
        seconds=part.seconds,
    )


def machine_readings(where: Where) -> list[Reading]:
    """Return what is to be read."""
    return [
        Reading(
            name="settings/farm.toml", about="the farm file, without secrets", read=lambda: _farm_file(where.config)
        ),
        Reading(
            name="settings/check-config.txt",
            about="what check-config finds",
            read=lambda: _findings(where.config),
            seconds=_CHECK_TAKES,
        ),
        Reading(name="settings/key-file.txt", about="ids of the keys in the key file", read=lambda: _key_file(where)),
        Reading(
            name="settings/revisions.txt",
            about="revisions of the settings that are stored here",
            read=lambda: _revisions(where),
        ),
        Reading(name="versions.txt", about="versions of hcsidecar, Python, libraries and system", read=_versions),
        Reading(name="machine.txt", about="load, memory, disks and clock", read=lambda: _machine(where)),
        Reading(name="processes.txt", about="the daemons that run here, and what they wait for", read=_processes),
        Reading(name="files.txt", about="names and sizes in the state directory", read=lambda: _files(where)),
        Reading(name="service.txt", about="the systemd service", read=_service),
        *kernel_readings(where),
    ]


def _farm_file(path: Path) -> str:
    return without_secrets(file_text(path), ())


def _findings(path: Path) -> str:
    seen = see(path, look=problems_here, kinds_apart=True)
    lines = [f"{each.path}: {each.message}{f' ({each.hint})' if each.hint else ''}" for each in seen.problems]
    return "\n".join(lines or [f"{path} is right"]) + "\n"


def _key_file(where: Where) -> str:
    path = where.config.parent / (where.farm.farm.key_file if where.farm is not None else "farm.key")
    try:
        keyring = Keyring.load(path)
    except KeyFileError as error:
        raise MissingError(f"the key file {error}") from None
    lines = [
        f"{key.id:08x} added {key.added.isoformat()}{', in use' if key.id == keyring.active_id else ''}"
        for key in keyring.keys.values()
    ]
    return "\n".join([str(path), *lines]) + "\n"


def _revisions(where: Where) -> str:
    directory = _state_dir(where) / "settings"
    names = names_in(directory)
    if not names:
        raise MissingError(f"there are none in {directory}")
    manifests: list[Manifest] = []
    problems = []
    for name in names[:_MOST_FILES]:
        path = directory / name / "manifest.json"
        try:
            manifests.append(decode_manifest(file_text(path).encode()))
        except FileNotFoundError:
            continue
        except (NotADirectoryError, BundleError) as error:
            problems += [f"{path}: {error}"] if isinstance(error, BundleError) else []
    return "\n".join([*(entry.line(UTC) for entry in history(manifests)), *problems]) + "\n"


def _versions() -> str:
    libraries = []
    for name in _LIBRARIES:
        try:
            libraries.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            libraries.append(f"{name} is not installed")
    return sections(
        hcsidecar=lambda: __version__,
        Python=lambda: f"{sys.version}\n{sys.executable}",
        libraries=lambda: "\n".join(libraries),
        kernel=lambda: " ".join(platform.uname()),
        distribution=lambda: file_text("/etc/os-release"),
        systemd=lambda: said_by("systemctl", "--version"),
    )


def _machine(where: Where) -> str:
    directories = dict.fromkeys([Path("/"), Path("/tmp"), where.config.parent, *_known(where.state_dir)])  # noqa: S108 - only looked at
    return sections(
        clock=lambda: f"{datetime.now(UTC).isoformat()}, {time.monotonic():.1f} s of the monotonic clock",
        synchronized=lambda: said_by("timedatectl", "show", "--property=NTPSynchronized,Timezone", seconds=2),
        uptime_and_load=lambda: file_text("/proc/uptime") + file_text("/proc/loadavg"),
        memory=lambda: file_text("/proc/meminfo"),
        pressure=lambda: "".join(f"{kind}: {file_text(f'/proc/pressure/{kind}')}" for kind in ("cpu", "memory", "io")),
        disks=lambda: "\n".join(map(_disk, directories)),
    )


def _disk(directory: Path) -> str:
    try:
        facts = os.statvfs(directory)
    except OSError as error:
        return f"{directory}: {error.strerror}"
    mib = 1024 * 1024
    return (
        f"{directory}: {facts.f_bavail * facts.f_frsize // mib} of {facts.f_blocks * facts.f_frsize // mib} MiB free,"
        f" {facts.f_favail} of {facts.f_files} files{', read-only' if facts.f_flag & os.ST_RDONLY else ''}"
    )


def _processes() -> str:
    found = daemons_here()
    if not found:
        raise MissingError("no daemon runs on this machine")
    return sections(**{f"process_{number}": lambda number=number: _process(number) for number in found})


def _process(number: int) -> str:
    base = Path(f"/proc/{number}")
    lines = [line for line in file_text(base / "status").splitlines() if line.partition(":")[0] in _OF_A_PROCESS]
    lines.append(f"command: {' '.join(file_text(base / 'cmdline').split(chr(0)))}")
    with suppress(OSError):
        lines.append(f"open files: {len(os.listdir(base / 'fd'))}")  # noqa: PTH208 - only counted
    for thread in names_in(base / "task")[:64]:
        with suppress(OSError):
            task = base / "task" / thread
            lines.append(f"thread {thread} {file_text(task / 'comm').strip()}: {file_text(task / 'wchan') or 'runs'}")
    return "\n".join(lines)


def _files(where: Where) -> str:
    directory = _state_dir(where)
    lines = []
    for path in sorted(directory.rglob("*"))[:_MOST_FILES]:
        with suppress(OSError):
            facts = path.lstat()
            when = datetime.fromtimestamp(facts.st_mtime, UTC).isoformat(timespec="seconds")
            lines.append(f"{facts.st_mode:06o} {facts.st_uid:>6} {facts.st_size:>10} {when} {path}")
    return "\n".join(lines) + "\n"


def _service() -> str:
    shown = said_by("systemctl", "show", _SERVICE, f"--property={_PROPERTIES}")
    if "LoadState=" not in shown:
        raise MissingError(f"systemd does not answer: {shown.strip()}")
    return sections(
        state=lambda: shown, unit=lambda: without_secrets(said_by("systemctl", "cat", _SERVICE, "--no-pager"), ())
    )


def _state_dir(where: Where) -> Path:
    if where.state_dir is None:
        raise MissingError("which state directory the node has is not known")
    return where.state_dir


def _known(path: Path | None) -> Iterable[Path]:
    return [] if path is None else [path]
