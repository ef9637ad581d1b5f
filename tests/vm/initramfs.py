"""Initial file systems for kernels of the lab: busybox, modules, and what else the caller brings."""

import lzma
import shutil
import subprocess
import tempfile
from pathlib import Path

BUSYBOX = Path("/bin/busybox")

_START = """\
#!/bin/busybox sh
B=/bin/busybox
$B mkdir -p /proc /sys /dev /new
$B mount -t devtmpfs dev /dev
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
for module in /modules/*; do $B insmod $module 2>/dev/null; done
"""


def build(target, kernel, *, modules, script, files=()):
    """Write an initramfs whose init loads these modules of the kernel, as far as it has them, and runs the script.

    The script is one of busybox's shell, with `$B` for busybox; `files` are put into the root directory.
    """
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        (root / "bin").mkdir()
        shutil.copy(BUSYBOX, root / "bin/busybox")
        (root / "bin/sh").symlink_to("busybox")
        for file in files:
            shutil.copy(file, root)
        (root / "modules").mkdir()
        for number, module in enumerate(_in_order(kernel, modules)):
            name = f"{number:03}-{module.name.removesuffix('.xz').removesuffix('.zst')}"
            (root / "modules" / name).write_bytes(unpacked(module))
        (root / "init").write_text(_START + script)
        (root / "init").chmod(0o755)
        names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
        command = ["cpio", "--create", "--format=newc", "--quiet"]
        archive = subprocess.run(command, cwd=root, input=names.encode(), capture_output=True, check=True, timeout=60)
        target.write_bytes(archive.stdout)


def _in_order(kernel, wanted):
    """Give the files of modules and of those that they need, each behind what it needs."""
    found = {}
    for name in wanted:
        command = ["modprobe", "--dirname", kernel.root, "--set-version", kernel.release, "--show-depends", name]
        shown = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        for line in shown.stdout.splitlines():
            if line.startswith("insmod "):
                found.setdefault(Path(line.split()[1]))
    return found


def unpacked(module):
    """Give the content of a module's file, as the kernel loads it."""
    if module.suffix == ".xz":
        return lzma.decompress(module.read_bytes())
    if module.suffix == ".zst":
        command = ["zstd", "--decompress", "--stdout", "--quiet", module]
        return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    return module.read_bytes()
