"""Network namespaces on this machine: whether tests may make some, and which have processes."""

import subprocess
from pathlib import Path

import pytest


def network_namespaces():
    """The network namespaces in which somebody lives."""
    found = set()
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdecimal():
                found.add(namespace_of(process.name))
        except OSError:  # it has ended meanwhile, or is not ours
            continue
    return found


def namespace_of(process):
    """The network namespace of a process, by its id."""
    return str(Path(f"/proc/{process}/ns/net").readlink())


def _permitted():
    try:
        return subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


needs_namespaces = pytest.mark.skipif(not _permitted(), reason="needs root, and a machine that permits namespaces")
