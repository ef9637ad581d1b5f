"""Selects the processes that a process check counts, and judges their number."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hcsidecar.core.farmfile.check_tables import ProcessCheck

_COMM_SIZE: Final = 15
"The bytes of a program's name that the kernel keeps (TASK_COMM_LEN without the final zero)."
_ENDED: Final = frozenset({"Z", "X"})
"The states of a process that has ended but was not waited for yet."


@dataclass(frozen=True, slots=True)
class Stat:
    """The contents of /proc/PID/stat (proc(5))."""

    name: bytes
    state: str

    @property
    def runs(self) -> bool:
        """False for a zombie."""
        return self.state not in _ENDED


def parse_stat(text: bytes) -> Stat | None:
    """Parse `4711 (apache2) S …`, where the name may contain parentheses and blanks. Return None for other text."""
    _, opened, rest = text.partition(b"(")
    name, closed, rest = rest.rpartition(b")")
    fields = rest.split()
    if not (opened and closed and fields):
        return None
    return Stat(name=name, state=fields[0].decode("ascii", errors="replace"))


def is_called(stat: Stat, name: str) -> bool:
    """Return whether a process has this name. The kernel keeps only the beginning of a name."""
    return stat.name == name.encode()[:_COMM_SIZE]


def is_in_unit(cgroups: bytes, unit: str) -> bool:
    """Return whether a process is in the control group of a unit or below it, by its /proc/PID/cgroup."""
    wanted = unit.encode()
    # systemd puts an underscore before names that the kernel reserves.
    return any(part.removeprefix(b"_") == wanted for line in cgroups.splitlines() for part in line.split(b"/")[1:])


def complaint(check: ProcessCheck, count: int, *, unit_state: str | None) -> str | None:
    """Return what is wrong with this number of processes, or None.

    `unit_state` is the state of the unit that systemd reports; None if systemd cannot be asked.
    """
    if unit_state not in (None, "active"):
        return f"{check.unit} is {unit_state}"
    if count < check.at_least:
        wanted = "none runs" if count == 0 else f"{_run(count)}, fewer than {check.at_least}"
        return f"{check.subject}: {wanted}"
    if check.at_most is not None and count > check.at_most:
        return f"{check.subject}: {_run(count)}, more than {check.at_most}"
    return None


def _run(count: int) -> str:
    return f"{count} {'runs' if count == 1 else 'run'}"


def command_line(text: bytes) -> str:
    """Return the command line in /proc/PID/cmdline with blanks between the arguments, but without quotes."""
    return text.rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")


def unit_file_state(properties: Mapping[str, str]) -> str:
    """Return the state of a unit, from the properties that `systemctl show` prints."""
    if properties.get("LoadState") == "not-found":
        return "not known to systemd"
    return properties.get("ActiveState") or "unknown"
