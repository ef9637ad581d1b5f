"""What the figures were taken on: machine, kernel and versions, for who wants to compare them."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("aiohttp", "cryptography", "msgspec")


def describe() -> str:
    """Say it in one line."""
    libraries = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{os.cpu_count()} × {_processor()}, {_memory():.0f} GB, {platform.system()} {platform.release()}, "
        f"{platform.python_implementation()} {platform.python_version()}, {libraries}"
    )


def load() -> str:
    """Give the machine's load over the last minute, which says how quiet it was before a figure was taken."""
    return f"{os.getloadavg()[0]:.2f}"


def commit() -> str:
    """Name the commit of the working tree; with a plus sign when files differ from it."""
    try:
        name = _git("rev-parse", "--short", "HEAD")
        return name + ("+" if _git("status", "--porcelain", "--", "hcsidecar", "l2mode", "benchmarks") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    here = Path(__file__).parent
    return subprocess.run(
        ["git", "-C", str(here.parent), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _memory() -> float:
    """Give the memory in GB."""
    total = Path("/proc/meminfo").read_text().split(maxsplit=2)[1]
    return int(total) * 1024 / 1e9
