"""What a machine boots from beside its root: an initramfs with the drivers, and a disk with the kernel's modules."""

import shutil
import subprocess
from pathlib import Path

from vm.cache import digest, kept
from vm.initramfs import build, unpacked

GUEST = Path(__file__).parent / "guest"
_DRIVERS = ("virtio_pci", "virtio_blk", "ext4", "virtio_rng", "virtio_net", "ipv6")
_OF_MODELS = {"virtio-net-pci": "virtio_net", "rtl8139": "8139cp"}
"Drivers whose names are not those of QEMU's models."
_PROBE = "echo the guest runs; $B poweroff -f"
_MODULES = (
    *("kernel/net", "kernel/lib", "kernel/crypto", "kernel/arch", "kernel/drivers/virtio", "kernel/drivers/char"),
    *(f"kernel/drivers/net/{name}" for name in ("bonding", "ipvlan", "team", "vmxnet3", "ethernet/intel")),
    *(f"kernel/drivers/net/ethernet/{name}" for name in ("realtek", "amd")),
)
_ALONE = "kernel/drivers/net"
"Of this directory only the files that lie in it themselves."


def initramfs(kernel, model="virtio-net-pci"):
    """Give an initramfs that lays a machine's network and goes on with its root."""
    drivers = (*_DRIVERS, _OF_MODELS.get(model, model))
    script = (GUEST / "init").read_text()

    def make(directory):
        build(directory / "initramfs", kernel, modules=drivers, script=script)

    return kept("boot", digest([], kernel.release, drivers, script), make, most=12) / "initramfs"


def probe(kernel):
    """Give an initramfs that says "the guest runs" and ends."""

    def make(directory):
        build(directory / "initramfs", kernel, modules=(), script=_PROBE)

    return kept("probe", digest([], _PROBE), make, most=1) / "initramfs"


def modules(kernel):
    """Give a disk with those modules of a kernel that tests of networks can want, for /lib/modules."""

    def make(directory):
        root = directory / "root"
        below = root / "lib/modules" / kernel.release
        files = [file for name in _MODULES for file in (kernel.modules / name).rglob("*.ko*")]
        for file in [*files, *(kernel.modules / _ALONE).glob("*.ko*")]:
            there = below / file.relative_to(kernel.modules)
            there.parent.mkdir(parents=True, exist_ok=True)
            # The guest would unpack it anew at each boot.
            there.with_name(there.name.partition(".ko")[0] + ".ko").write_bytes(unpacked(file))
        for file in kernel.modules.glob("modules.*"):
            shutil.copy(file, below)
        subprocess.run(["depmod", "--basedir", root, kernel.release], check=True, timeout=120)
        megabytes = 20 + 2 * sum(file.stat().st_size for file in root.rglob("*") if file.is_file()) // 1_000_000
        make_ext4(root / "lib/modules", directory / "modules.ext4", megabytes)
        shutil.rmtree(root)

    return kept("modules", digest([], kernel.release, _MODULES, _ALONE), make, most=8) / "modules.ext4"


def make_ext4(directory, target, megabytes):
    """Make the image of a file system with the content of a directory, without mounting it."""
    command = ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", directory, target, f"{megabytes}M"]
    subprocess.run(command, check=True, timeout=300, stdout=subprocess.DEVNULL)
