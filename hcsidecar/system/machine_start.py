"""What tells one start of this machine from all others."""

from pathlib import Path

_PROC = Path("/proc")


def boot_id(proc: Path = _PROC) -> str:
    """Give what distinguishes this boot of the machine from others (random(4)); empty if the kernel does not say."""
    try:
        return (proc / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def start_of_machine(proc: Path = _PROC) -> str:
    """Tell this start of this machine, or of this container, from all others; empty where nothing tells.

    A container that is started again has the machine's boot id, and a new first process.
    """
    boot = boot_id(proc)
    try:
        # proc(5): the start time is field 22, counted behind the name in parentheses, which may hold anything.
        started = (proc / "1/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
    return f"{boot}/{started}" if boot else ""
