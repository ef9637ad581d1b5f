"""The systemd unit of a node: made from the one that is shipped, and told apart from one that somebody has changed.

A unit that `hcsidecar install` writes bears a fingerprint of its text in the first line. A text that does not fit its
fingerprint, or has none, is somebody else's work, which is not thrown away unasked.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b
from typing import Final

DEFAULT_NAME: Final = "hcsidecar"
CONSOLE_USER: Final = "hcsidecar-console"
"The user, and the group, of the console."
SHIPPED_PROGRAM: Final = "/usr/bin/hcsidecar"
SHIPPED_STATE: Final = "/var/lib/hcsidecar"

LEAST_STOP_LIMIT: Final = 90.0
"Seconds that systemd gives the daemon to stop, at least."
STOP_MARGIN: Final = 30.0
"Seconds beyond the drain: for the virtual IPs, the last words to the others, and a busy machine."

GROWING_DELAYS_SINCE: Final = 254
"The first version of systemd that knows RestartSteps= and RestartMaxDelaySec=; an older one complains of them."
STEADY_DELAY: Final = 10
"Seconds between a failure and the next start, where the delay cannot grow."

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_HEADER: Final = re.compile(
    r"# Made by `hcsidecar install`: change it with `systemctl edit`, not here\. Fingerprint (?P<print>[0-9a-f]{16})\n"
)
_PLAIN: Final = re.compile(r"/[^\x00-\x1f\x7f$\"'\\]*")
"Absolute paths that mean in a unit what they mean elsewhere."
_UNSEEN: Final[Mapping[str, str]] = {
    "/tmp": "the service has a /tmp of its own",  # noqa: S108 - not used, but refused
    "/var/tmp": "the service has a /var/tmp of its own",  # noqa: S108
    "/run": "it is gone after the next boot",
}
"Where nothing may be that the service needs, and why."


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitOptions:
    """What of the shipped unit depends on this machine and its farm. Paths are absolute."""

    program: str
    "The `hcsidecar` of this installation."
    config: str
    node: str | None
    "The node to be; None: the one that has this machine's address."
    state: str | None
    "Where the farm file wants the state, and so the sockets."
    drain: float
    "Seconds that a drain may take at most."


class UnitState(Enum):
    """How a unit that is there stands to the one that is wanted."""

    ABSENT = "absent"
    SAME = "same"
    OURS = "ours"
    "Written by `hcsidecar install`, for other wishes or in another version, and not changed since."
    FOREIGN = "foreign"
    "Somebody else's, or changed by somebody."


def why_not_a_unit_name(name: str) -> str | None:
    """Say why a name cannot be a unit's, or None."""
    if name.endswith(".service"):
        return f"name it without .service: {name.removesuffix('.service')}"
    if _NAME.fullmatch(name) is None:
        return "a letter or digit first, then at most 63 letters, digits and _ . -"
    return None


def why_not_for_a_service(wishes: UnitOptions) -> str | None:
    """Say which path a service cannot have where it is, with the remedy; None when all are well."""
    named = {"installation": wishes.program, "farm file": wishes.config, "state_dir": wishes.state}
    for what, path in named.items():
        if path is None:
            continue
        if _PLAIN.fullmatch(path) is None:
            return f"the {what} {path!r} has a character in its path that systemd reads otherwise: rename it"
        for directory, why in _UNSEEN.items():
            if path.startswith(f"{directory}/"):
                return f"the {what} {path} cannot be in {directory}, since {why}: move it elsewhere"
    return None


def unit_text(shipped: str, wishes: UnitOptions, *, systemd: int | None) -> str:
    """Give the unit for this machine, without a fingerprint; `systemd` is a version, or None when it is not known."""
    command = [wishes.program, "run", "--config", wishes.config]
    if wishes.node is not None:
        command += ["--node", wishes.node]
    text = _set(shipped, "ExecStart", " ".join(map(quoted, command)))
    text = _set(text, "ConditionPathExists", wishes.config.replace("%", "%%"))
    text = _set(text, "RequiresMountsFor", " ".join(map(quoted, (wishes.config, wishes.state or SHIPPED_STATE))))
    limit = max(LEAST_STOP_LIMIT, wishes.drain + STOP_MARGIN)
    text = _set(text, "TimeoutStopSec", str(math.ceil(limit)))
    if wishes.state is not None and not _is_granted(wishes.state):
        text = _set(text, "StateDirectoryMode", "0700", below=f"ReadWritePaths={quoted(wishes.state)}")
    return for_systemd(text, systemd)


def console_unit_text(shipped: str, wishes: UnitOptions) -> str:
    """Return the unit of the console for this installation, without a fingerprint."""
    return _set(shipped, "ExecStart", f"{quoted(wishes.program)} console")


def for_systemd(text: str, version: int | None) -> str:
    """Return the unit without what this version of systemd does not know."""
    if version is not None and version >= GROWING_DELAYS_SINCE:
        return text
    text = _set(text, "RestartSec", str(STEADY_DELAY))
    for key in ("RestartSteps", "RestartMaxDelaySec"):
        text = _without(text, key)
    return text


def systemd_version(said: str) -> int | None:
    """Return the version that `systemctl --version` says: 252 of "systemd 252 (252.38-1)"; None if it says none."""
    found = re.match(r"systemd (\d+)", said)
    return None if found is None else int(found[1])


def signed(text: str) -> str:
    """Put a unit's fingerprint before it."""
    return (
        "# Made by `hcsidecar install`: change it with `systemctl edit`, not here."
        f" Fingerprint {_fingerprint(text)}\n{text}"
    )


def unit_state(present: str | None, wanted: str) -> UnitState:
    """Compare the unit that is there with the one that is wanted, which has no fingerprint."""
    if present is None:
        return UnitState.ABSENT
    header = _HEADER.match(present)
    body = present if header is None else present[header.end() :]
    if body == wanted:
        return UnitState.SAME
    return UnitState.OURS if is_ours(present) else UnitState.FOREIGN


def is_ours(present: str) -> bool:
    """True for a unit that `hcsidecar install` wrote and nobody has changed since."""
    header = _HEADER.match(present)
    return header is not None and header["print"] == _fingerprint(present[header.end() :])


def config_of(present: str) -> str | None:
    """Give the farm file that a unit names."""
    found = re.search(r"^ConditionPathExists=(.+)$", present, re.MULTILINE)
    return None if found is None else found[1].replace("%%", "%")


def quoted(word: str) -> str:
    """Write a word that is `_PLAIN` so that systemd takes it as it is (systemd.syntax(7))."""
    escaped = word.replace("%", "%%")
    return f'"{escaped}"' if " " in word else escaped


def _is_granted(state: str) -> bool:
    """True when the state is kept where the shipped unit lets the daemon write."""
    return f"{state}/".startswith(f"{SHIPPED_STATE}/")


def _fingerprint(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()


def _set(text: str, key: str, value: str, *, below: str = "") -> str:
    """Give the one line of a key another value, and perhaps a line below it."""
    return _replace(text, key, "\n".join(filter(None, (f"{key}={value}", below))) + "\n")


def _without(text: str, key: str) -> str:
    return _replace(text, key, "")


def _replace(text: str, key: str, lines: str) -> str:
    changed, count = re.subn(rf"^{key}=.*\n", lambda _: lines, text, flags=re.MULTILINE)
    if count != 1:
        raise ValueError(f"the shipped unit must have {key}= once, and has it {count} times")
    return changed
