"""Tries the packet filter against the verifiers and the network cards of stock kernels, in virtual machines.

Each kernel boots an initramfs with nothing but a static loader, loads the programs one by one, attaches each to each
card in every way that there is, and powers off: some seconds under emulation.

    python -m vm.loading                    # the kernels that CI tries
    python -m vm.loading 5.10 newest --object l2mode/kernel/filter.bpf.o
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from vm.initramfs import build
from vm.kernels import SOURCES, FetchError, cache, kernel, made_once
from vm.qemu import BARE, processor

HERE = Path(__file__).parent
OBJECT = HERE.parents[1] / "l2mode/kernel/filter.bpf.o"
PROGRAMS = ("hcsidecar_xdp", "hcsidecar_tc")
BY_DEFAULT = ("6.1", "6.12")
"Debian's stable release and the one before."

CARDS = ("virtio-net-pci", "e1000", "e1000e", "rtl8139", "vmxnet3", "igb")
"As QEMU names them; what this QEMU does not have is left out."
_MODULES = (
    *("virtio_pci", "virtio_net", "e1000", "e1000e", "8139cp", "vmxnet3", "igb"),
    *("sch_ingress", "cls_bpf"),
)
_QUEUES = 4
_PROCESSORS = 2
_LIMIT = 600
"Seconds for a boot; a program that is refused takes minutes, for the verifier's log."
_BEGIN, _END = "loader begins", "loader has ended with "

_SCRIPT = """\
for card in /sys/class/net/e*; do interfaces="$interfaces ${{card##*/}}"; $B ip link set ${{card##*/}} up; done
echo "{begin}"
/loader /{object} {programs} $interfaces
echo "{end}$?"
$B poweroff -f
"""


class NotTriedError(Exception):
    """The virtual machine did not get as far as the loader."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A network card of the machine, as its kernel has it."""

    driver: str
    queues: int

    def __str__(self):
        return f"{self.driver}, {self.queues} queue{'' if self.queues == 1 else 's'}"


@dataclass(slots=True, kw_only=True)
class Seen:
    """What one kernel made of one object."""

    release: str
    cards: dict = field(default_factory=dict)
    "By interface."
    errors: dict = field(default_factory=dict)
    "By program, the errno with which it was refused, 0 if it was loaded."
    milliseconds: dict = field(default_factory=dict)
    "By program, how long that took."
    verified: dict = field(default_factory=dict)
    "By program, the instructions that the verifier went through, of a million; nothing before Linux 5.16."
    verifier: dict = field(default_factory=lambda: defaultdict(list))
    "By program, the last lines of the log of the verifier that refused it."
    without_perfmon: dict = field(default_factory=dict)
    "By program, the errno for a process without CAP_PERFMON."
    attached: dict = field(default_factory=dict)
    "By program, mode and interface, the errno, 0 if it was attached."

    @property
    def refused(self):
        """The programs that were not loaded, or not attached in a way that works with every card."""
        return sorted(
            {program for program, error in self.errors.items() if error}
            | {program for (program, mode, _), error in self.attached.items() if error and mode != "native"}
        )


def try_object(name, *, path=OBJECT, programs=PROGRAMS):
    """Boot a kernel by its name in `SOURCES` and give what it made of the object; raises NotTriedError."""
    chosen = kernel(name)
    with tempfile.TemporaryDirectory() as made:
        initramfs = Path(made) / "initramfs"
        script = _SCRIPT.format(begin=_BEGIN, end=_END, object=path.name, programs=",".join(programs))
        build(initramfs, chosen, modules=_MODULES, script=script, files=(path, _loader()))
        return read(chosen.release, _boot(chosen, initramfs))


def read(release, output):
    """Read what the loader says on the machine's console."""
    lines = output.splitlines()
    if _BEGIN not in lines or not any(line.startswith(_END) for line in lines):
        raise NotTriedError(f"{release} did not come as far as the end of the loader:\n" + "\n".join(lines[-20:]))
    seen = Seen(release=release)
    for line in lines[lines.index(_BEGIN) :]:
        match line.split("\t"):
            case ["card", interface, driver, queues]:
                seen.cards[interface] = Card(driver=driver, queues=int(queues))
            case ["load", program, error, milliseconds]:
                seen.errors[program] = int(error)
                seen.milliseconds[program] = int(milliseconds)
            case ["verified", program, instructions]:
                seen.verified[program] = int(instructions)
            case ["verifier", program, *text]:
                seen.verifier[program].append(" ".join(text))
            case ["unprivileged", program, error]:
                seen.without_perfmon[program] = int(error)
            case ["attach", program, mode, interface, error]:
                seen.attached[program, mode, interface] = int(error)
    return seen


def _boot(chosen, initramfs):
    """Run the machine until it powers off, and give what its console says."""
    namespace = f"hcsidecar-load-{os.getpid()}" if os.geteuid() == 0 else None
    cards = [f"-netdev user,id=n{number},restrict=on -device {card},netdev=n{number}" for number, card in _numbered()]
    if namespace:
        # Only a tap has several queues.
        taps = f"tap,id=tap,ifname=tap0,script=no,downscript=no,queues={_QUEUES}"
        cards.append(f"-netdev {taps} -device virtio-net-pci,netdev=tap,mq=on,vectors={2 * _QUEUES + 2}")
    command = [
        *("qemu-system-x86_64", *BARE, *processor(chosen), "-smp", str(_PROCESSORS), "-m", "384", "-serial", "stdio"),
        *("-kernel", str(chosen.image), "-initrd", str(initramfs)),
        *("-append", "console=ttyS0 net.ifnames=0 quiet panic=-1 mitigations=off tsc=unstable no_timer_check"),
        *" ".join(cards).split(),
    ]
    try:
        if namespace:
            _ip("netns", "add", namespace)
            command = ["ip", "netns", "exec", namespace, *command]
            _ip("-n", namespace, "tuntap", "add", "tap0", "mode", "tap", "vnet_hdr", "multi_queue")
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LIMIT, check=False, start_new_session=True
        )
    except subprocess.TimeoutExpired as late:
        said = (late.stdout or b"").decode(errors="replace")
        raise NotTriedError(f"{chosen.release} had not ended after {_LIMIT} s:\n{said[-2000:]}") from late
    finally:
        if namespace:
            _ip("netns", "delete", namespace)
    if done.returncode != 0:
        raise NotTriedError(f"QEMU: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode(errors="replace").replace("\r", "")


def _numbered():
    known = subprocess.run(["qemu-system-x86_64", "-device", "help"], capture_output=True, text=True, check=True).stdout
    return [(number, card) for number, card in enumerate(CARDS) if f'"{card}"' in known]


def _ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=60)


def _loader():
    """Compile the loader, once for each state of its source."""
    source = HERE / "loader.c"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]

    def compile_it(directory):
        options = ["-O2", "-static", "-Wall", "-Wextra", "-Werror", "-o", directory / "loader"]
        # libelf's archive wants symbols of zlib's, libbpf's of both.
        subprocess.run(["gcc", *options, source, "-lbpf", "-lelf", "-lz"], check=True, timeout=120)

    with made_once(cache() / f"loader-{digest}", compile_it) as directory:
        return directory / "loader"


def report(name, seen):
    """Say in lines what a kernel made of the object."""
    lines = [f"{name} (Linux {seen.release})"]
    for program, error in seen.errors.items():
        took = f"{seen.milliseconds[program]} ms"
        if program in seen.verified:
            took += f", {seen.verified[program]:,} instructions of a million verified"
        lines.append(f"  {program}: {'loaded' if not error else f'REFUSED: {os.strerror(error)}'}, {took}")
        lines += [f"    | {line}" for line in seen.verifier[program]]
        if program in seen.without_perfmon:
            refusal = seen.without_perfmon[program]
            lines.append(f"    without CAP_PERFMON: {os.strerror(refusal) if refusal else 'loaded'}")
    for interface, card in seen.cards.items():
        ways = {mode: error for (_, mode, where), error in seen.attached.items() if where == interface}
        told = ", ".join(f"{mode} {'yes' if not error else os.strerror(error)}" for mode, error in ways.items())
        lines.append(f"  {card}: {told or 'nothing to attach'}")
    return "\n".join(lines)


def main():
    """Try kernels; exit status 1 when one refuses a program, 2 when one could not be tried."""
    parser = argparse.ArgumentParser(prog="python -m vm.loading", description=__doc__.splitlines()[0])
    parser.add_argument("kernels", nargs="*", metavar="KERNEL", help=f"{', '.join(SOURCES)} ({' '.join(BY_DEFAULT)})")
    parser.add_argument("--object", type=Path, default=OBJECT, help="the compiled filter")
    parser.add_argument("--program", action="append", help=f"a program in it ({' '.join(PROGRAMS)})")
    parser.add_argument("--json", action="store_true", help="for programs")
    arguments = parser.parse_args()
    status = 0
    for name in arguments.kernels or BY_DEFAULT:
        if name not in SOURCES:
            parser.error(f"there is no kernel {name}: {', '.join(SOURCES)}")
        try:
            seen = try_object(name, path=arguments.object, programs=arguments.program or PROGRAMS)
        except (NotTriedError, FetchError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 2
        status |= bool(seen.refused)
        print(_as_json(name, seen) if arguments.json else report(name, seen), flush=True)
    return status


def _as_json(name, seen):
    attached = [
        {"program": program, "mode": mode, "card": str(seen.cards[interface]), "errno": error}
        for (program, mode, interface), error in seen.attached.items()
    ]
    return json.dumps(
        {
            "kernel": name,
            "release": seen.release,
            "errors": seen.errors,
            "milliseconds": seen.milliseconds,
            "verified": seen.verified,
            "without_perfmon": seen.without_perfmon,
            "attached": attached,
        }
    )


if __name__ == "__main__":
    sys.exit(main())
