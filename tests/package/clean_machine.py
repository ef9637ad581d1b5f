"""A clean Debian in a directory, made by debootstrap: commands in it, and its systemd as the first process."""

import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from daemons import wait_for

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
CLEAN = ("env", "-i", f"PATH={PATH}", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")

ALONE = """\
mount -t proc proc "$1/proc"
ip link set lo up
exec chroot "$@"
"""
"Processes and network of its own; $1 is the root."

BOOT = """\
echo $$ >"$2/cgroup.procs"
exec unshare --fork --kill-child --pid --mount --net --ipc --uts --cgroup sh -euc '
mount --make-rprivate /
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount -t sysfs sysfs "$1/sys"
mount -t cgroup2 cgroup2 "$1/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$1/run"
cd "$1"
pivot_root . mnt
umount -l /mnt
exec env -i container=clean-machine PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd
' sh "$1"
"""
"Starts systemd in the root $1 as the first process of namespaces of its own, in the control group $2."


def cgroup2():
    """Where the newer kind of control groups is, or None."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return next((Path(fields[1]) for fields in mounts if fields[2] == "cgroup2"), None)


needs_cgroup2 = pytest.mark.skipif(cgroup2() is None, reason="systemd needs control groups of version 2")


class CleanMachine:
    """Commands are shell scripts that end at the first failure; `sh` gives what they write, to both outputs."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def make(cls, root, release, *packages):
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={','.join(packages)}", release, root],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=900,
        )
        # Packages come from where this machine has them from.
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        trusted = Path("etc/ssl/certs/ca-certificates.crt")
        if (root / trusted).exists():
            shutil.copy("/" / trusted, root / trusted)
        return cls(root)

    def copy(self, root):
        subprocess.run(["cp", "-a", self.root, root], check=True, timeout=300)
        return CleanMachine(root)

    def bring(self, file):
        """Copy a file into /root."""
        shutil.copy(file, self.root / "root" / file.name)

    def sh(self, script):
        return _run(["chroot", self.root, *CLEAN, "sh", "-euc", script])

    def alone(self, script):
        """Run it with processes and a network of its own: nothing of it goes on afterwards."""
        unshare = ["unshare", "--fork", "--kill-child", "--pid", "--mount", "--net", "sh", "-euc", ALONE, "sh"]
        return _run([*unshare, self.root, *CLEAN, "sh", "-euc", script])

    def files(self):
        """Every file, as a path, without those that change by themselves."""
        found = {str(path.relative_to(self.root)) for path in self.root.rglob("*")}
        return {path for path in found if not path.startswith(("proc/", "run/", "tmp/", "root/", "var/log/"))}

    @contextmanager
    def booted(self):
        """Let systemd run it; the end is that of a machine without power."""
        group = cgroup2() / f"hcsidecar-test-{os.getpid()}"
        group.mkdir()
        boot = subprocess.Popen(
            ["sh", "-euc", BOOT, "sh", self.root, group], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        try:
            children = Path(f"/proc/{boot.pid}/task/{boot.pid}/children")
            first = wait_for(lambda: children.read_text().split(), what="systemd is started")[0]
            machine = BootedMachine(first)
            wait_for(machine.is_up, limit=60, what="systemd is up")
            yield machine
        finally:
            boot.kill()
            boot.wait(10)
            wait_for(lambda: "populated 0" in (group / "cgroup.events").read_text(), what="nobody is left")
            for below in sorted(group.rglob("*/"), reverse=True):
                if below.is_dir():
                    below.rmdir()
            group.rmdir()


class BootedMachine:
    """A machine whose first process, as this machine numbers it, is systemd."""

    def __init__(self, first):
        self._enter = ["nsenter", "--target", first, "--all", *CLEAN]

    def sh(self, script):
        return _run([*self._enter, "sh", "-euc", script])

    def is_up(self):
        asked = [*self._enter, "systemctl", "is-system-running"]
        state = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False).stdout.strip()
        return state in ("running", "degraded")

    def show(self, unit, what):
        return self.sh(f"systemctl show --property={what} --value {unit}").strip()


def _run(command):
    began = time.monotonic()
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, f"status {done.returncode} after {time.monotonic() - began:.0f} s:\n{done.stdout}"
    return done.stdout
