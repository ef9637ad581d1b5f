"""Identifies the present start of this machine among all others."""

from pathlib import Path

_PROC = Path("/proc")


def boot_id(proc: Path = _PROC) -> str:
    """Return the id of this boot of the machine (random(4)); empty if the kernel does not give one."""
    try:
        return (proc / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def start_of_machine(proc: Path = _PROC) -> str:
    """Return an id of this start of the machine, or of this container; empty if there is none.

    A container that is started again has the machine's boot id, but a new first process.
    """
    boot = boot_id(proc)
    try:
        # proc(5): the start time is field 22, counted after the name in parentheses, which may contain anything.
        started = (proc / "1/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
    return f"{boot}/{started}" if boot else ""
