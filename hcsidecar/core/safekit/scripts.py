"""The scripts of a SafeKit module: which of them hcsidecar calls, and what prevents the others from running."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from hcsidecar.core.safekit.draft import DraftValues
from hcsidecar.core.safekit.notes import Coverage, Notes

TAKEN, DIFFERENT, NOT = Coverage.TAKEN, Coverage.DIFFERENT, Coverage.NOT

CALLED = {
    "start_both": "start",
    "stop_both": "stop",
    "prestart": "prestart",
    "poststop": "poststop",
    "transition": "transition",
}
"Keys of [application] by the script that SafeKit calls at the same time."
_NEEDED = ("start_both", "stop_both")
_NEVER = {
    "config": "there is no configuration step: do by hand, once on every node, what it does",
    "postconfig": "there is no configuration step: do by hand, once on every node, what it does",
    "deconfig": "there is no configuration step",
    "confcheck": "there is no configuration step",
    "update": "there is no reconfiguration while it runs",
    "state": "`hcsidecar status` tells the state",
    "level": "`hcsidecar --version` tells the version",
} | dict.fromkeys(
    ("start_prim", "stop_prim", "start_second", "stop_second", "start_sec", "stop_sec"), "is for mirror modules"
)
_WINDOWS = (".cmd", ".bat", ".ps1", ".vbs", ".exe")
_CALLS = re.compile(rb"safekit[\"']?[ \t]+(-r[ \t]+\w+|[a-z]+)")
_UNKNOWN_CALLS = frozenset(
    b"swap prim second primforce shutdown waitstate log logview logsave cmdlog config confcheck confinfo deconfig "
    b"module update cluster errd checker failover boot kill snapshot dump clean webservercfg notification".split()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleScripts:
    """The contents of bin/."""

    files: Mapping[str, bytes] | None
    "By path below bin/; None if only the configuration was given."
    added: dict[str, bytes] = field(default_factory=dict)
    "Files that an import adds to them, by path below bin/."

    def lacks(self, name: str) -> bool:
        """Return whether a program of bin/ is missing."""
        return not name.startswith("/") and _inside(name) not in (self.files or {})

    def is_for_windows(self, name: str) -> bool:
        """Return whether only Windows runs a program."""
        return name.lower().endswith(_WINDOWS)

    def place_of(self, name: str) -> str | None:
        """Return the path, relative to the farm file, of a program that the module names; None if it is outside."""
        if ".." in name.split("/") or "\\" in name or not _inside(name):
            return None
        return name if name.startswith("/") else f"bin/{_inside(name)}"

    def port_of(self, name: str) -> str | None:
        """Return the Windows script that stands for a script; None if there is none."""
        names = (self.files or {}) if name not in (self.files or {}) else {}
        return next((path for path in sorted(names) if self.is_for_windows(path) and _stem(path) == name), None)


def application_of(scripts: ModuleScripts, notes: Notes) -> DraftValues:
    """Return the scripts of [application], and add what they need to bin/; empty if there is nothing to call."""
    keys: DraftValues = {}
    if scripts.files is None:
        notes.say(0, "bin/", NOT, "only the configuration was given, so the application is checked, but not started")
        return keys
    for name, key in CALLED.items():
        if name in scripts.files:
            keys[key] = f"bin/{name}"
        elif port := scripts.port_of(name):
            keys[key] = f"bin/{name}"
            scripts.added[name] = _to_port(port)
            notes.say(0, f"bin/{name}", DIFFERENT, f"fails, until somebody puts there what bin/{port} does on Windows")
    if not any(CALLED[name] in keys for name in _NEEDED):
        notes.say(
            0, "bin/", NOT, "has neither start_both nor stop_both, so the application is checked, but not started"
        )
        return {}
    for name in _NEEDED:
        if CALLED[name] not in keys:
            keys[CALLED[name]] = f"bin/{name}"
            scripts.added[name] = b"#!/bin/sh\n# The module had no such script.\nexit 0\n"
            notes.say(0, f"bin/{name}", DIFFERENT, "was not in the module: one that does nothing stands there")
    return keys


def note_scripts(scripts: ModuleScripts, called: DraftValues, notes: Notes) -> None:
    """Note what becomes of each file of bin/."""
    for path, content in sorted((scripts.files or {}).items()):
        subject = f"bin/{path}"
        if scripts.is_for_windows(path):
            if why := _NEVER.get(_stem(path)):
                notes.say(0, subject, NOT, f"copied, and never called: {why}")
            else:
                notes.say(0, subject, DIFFERENT, "copied, to be ported: it is for Windows")
            continue
        if f"bin/{path}" in called.values():
            key = next(key for key, value in called.items() if value == f"bin/{path}")
            notes.say(0, subject, TAKEN, f"[application] {key}, unchanged")
        elif path in _NEVER or path in CALLED:
            notes.say(0, subject, NOT, f"copied, and never called: {_NEVER.get(path, 'no [application] was made')}")
        else:
            notes.say(0, subject, TAKEN, "copied unchanged, for other scripts and checks to use")
        for what, why in _obstacles(content, called=f"bin/{path}" in called.values()):
            notes.say(0, subject, what, why)


def _obstacles(content: bytes, *, called: bool) -> Iterator[tuple[Coverage, str]]:
    first, _, _ = content.partition(b"\n")
    if first.startswith(b"#!") and first.endswith(b"\r"):
        yield NOT, "does not run as it is: its lines end as on Windows; sed -i 's/\\r$//' mends it"
    elif called and not first.startswith((b"#!", b"\x7fELF")):
        yield NOT, "does not run as it is: it has no #! line; write #!/bin/sh on top of it"
    for number, line in enumerate(content.split(b"\n")[:100_000], start=1):
        for call in _CALLS.findall(line.partition(b"#")[0]):
            verb = call.split()[0]
            if verb == b"-r" or verb in _UNKNOWN_CALLS:
                command = call.decode("ascii", "replace")
                yield NOT, f"its line {number} calls `safekit {command}`, which fails here and does nothing"


def _inside(name: str) -> str:
    """Return a path without its empty parts and dots."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _stem(path: str) -> str:
    return path.rpartition(".")[0]


def _to_port(name: str) -> bytes:
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    return f'#!/bin/sh\necho "bin/{safe} is for Windows: put what it does into this script" >&2\nexit 1\n'.encode()
