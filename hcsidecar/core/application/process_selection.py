"""Which processes a process check counts, and what it says of their number."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hcsidecar.core.farmfile.check_tables import ProcessCheck

_COMM_SIZE: Final = 15
"Bytes of a program's name that the kernel keeps (TASK_COMM_LEN, without its final zero)."
_ENDED: Final = frozenset({"Z", "X"})
"States of a process that has ended and is not yet waited for."


@dataclass(frozen=True, slots=True)
class Stat:
    """What /proc/PID/stat says (proc(5))."""

    name: bytes
    state: str

    @property
    def runs(self) -> bool:
        """False of a zombie."""
        return self.state not in _ENDED


def parse_stat(text: bytes) -> Stat | None:
    """Read `4711 (apache2) S …`; a name may have parentheses and blanks in it. None if it is not that."""
    _, opened, rest = text.partition(b"(")
    name, closed, rest = rest.rpartition(b")")
    fields = rest.split()
    if not (opened and closed and fields):
        return None
    return Stat(name=name, state=fields[0].decode("ascii", errors="replace"))


def is_called(stat: Stat, name: str) -> bool:
    """Tell whether a process has this name, of which the kernel keeps the beginning only."""
    return stat.name == name.encode()[:_COMM_SIZE]


def is_in_unit(cgroups: bytes, unit: str) -> bool:
    """Tell whether what /proc/PID/cgroup says lies in the control group of a unit, or below it."""
    wanted = unit.encode()
    # systemd puts an underscore before names that the kernel has for itself.
    return any(part.removeprefix(b"_") == wanted for line in cgroups.splitlines() for part in line.split(b"/")[1:])


def complaint(check: ProcessCheck, count: int, *, unit_state: str | None) -> str | None:
    """Say what is wrong with so many processes; `unit_state` is what systemd says, None where nobody can be asked."""
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
    """Write what /proc/PID/cmdline says as a shell would have it, but for quotes."""
    return text.rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")


def unit_file_state(properties: Mapping[str, str]) -> str:
    """Sum up what `systemctl show` says of a unit."""
    if properties.get("LoadState") == "not-found":
        return "not known to systemd"
    return properties.get("ActiveState") or "unknown"
