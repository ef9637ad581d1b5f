"""QEMU as the lab runs it: with KVM where a guest boots with that, else with an emulated processor (TCG)."""

import os
import subprocess
from pathlib import Path

from vm import disks
from vm.kernels import cache

BARE = ("-nodefaults", "-display", "none", "-no-reboot", "-no-user-config")
_ACCELERATED = ("-accel", "kvm", "-cpu", "host")
# Its instructions cost the least to emulate: Python starts in 5 s, with all that TCG has ("max") in 6.
_EMULATED = ("-accel", "tcg,thread=multi", "-cpu", "Nehalem")


def accelerator(kernel):
    """Say how QEMU runs guests here: "kvm" where a guest has been seen to boot with it, else "tcg"."""
    # A machine may have /dev/kvm and be no machine for it, as some that are virtual themselves. It stays what it is.
    remembered = cache() / f"accelerator-{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"
    if not remembered.exists():
        remembered.write_text("kvm" if os.access("/dev/kvm", os.R_OK | os.W_OK) and _boots_with_kvm(kernel) else "tcg")
    return remembered.read_text()


def processor(kernel):
    """Give QEMU's options for the processors of a guest with this kernel."""
    return _ACCELERATED if accelerator(kernel) == "kvm" else _EMULATED


def _boots_with_kvm(kernel):
    command = ["qemu-system-x86_64", *_ACCELERATED, *BARE, "-m", "256", "-serial", "stdio"]
    command += ["-kernel", kernel.image, "-initrd", disks.probe(kernel), "-append", "console=ttyS0 panic=-1 quiet"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return False
    return b"the guest runs" in done.stdout
