"""One virtual machine: a process of QEMU that boots a kernel to the lab's disk, and runs what it is told."""

import contextlib
import json
import socket
import subprocess
import time
from dataclasses import dataclass

from lan.namespaces import inside
from vm import disks
from vm.kernels import Kernel
from vm.network import address_of, command_address_of
from vm.qemu import BARE, processor

SCRIPTS, SHELLS = 7777, 7778
"The ports of the two agents in the guest."
BOOT_LIMIT = 300
"Seconds; a machine of three boots in far less, unless somebody else has the cores."


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What a machine is made of."""

    kernel: Kernel
    cards: int = 2
    "In the clients' network: eth0, eth1 …; eth0 alone is up and has addresses."
    model: str = "virtio-net-pci"
    queues: int = 1
    "Pairs of queues that each virtio card has; as many processors use them."
    memory: int = 448
    "Megabytes."


class Machine:
    """A machine of a network. `start` boots it; `sh` runs scripts in it as root."""

    def __init__(self, network, number, build, *, disk):
        self.number = number
        self.name = f"web{number}"
        self.addresses = {family: address_of(number, family) for family in (4, 6)}
        self.build = build
        self.console = network.directory / f"{self.name}.console"
        self._network = network
        # A name of this run's own: the cache forgets disks that later runs have no use for.
        self._disk = network.directory / "disk.ext4"
        if not self._disk.exists():
            self._disk.hardlink_to(disk)
        self._monitor = network.directory / f"{self.name}.qmp"
        self._process = None
        self._taps = []

    def start(self):
        """Start QEMU; `wait` waits until the guest has booted."""
        overlay = self._network.directory / f"{self.name}.qcow2"
        _qemu_img("create", "-q", "-f", "qcow2", "-F", "raw", "-b", self._disk, overlay)
        self._plug_in()
        self.console.unlink(missing_ok=True)
        with (self._network.directory / f"{self.name}.qemu").open("w") as output:
            # The machine dies with whoever started it.
            self._process = subprocess.Popen(
                [
                    "ip",
                    "netns",
                    "exec",
                    self._network.switch,
                    "setpriv",
                    "--pdeathsig",
                    "KILL",
                    *self._command(overlay),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        return self

    def wait(self, limit=BOOT_LIMIT):
        """Wait until systemd has started what it starts at boot."""
        end = time.monotonic() + limit
        while True:
            assert self.is_running, f"{self.name} has ended:\n{self.output()}"
            assert time.monotonic() < end, f"{self.name} has not booted within {limit} s:\n{self.output()}"
            with contextlib.suppress(OSError):
                if self._ask("systemctl is-active multi-user.target", limit=20)[0] == 0:
                    return self
            time.sleep(0.1)

    @property
    def is_running(self):
        """True while there is a process of QEMU."""
        return self._process is not None and self._process.poll() is None

    def sh(self, script, *, limit=60):
        """Run a script in the guest, as root, to its first failing command; give what it wrote to both outputs."""
        status, output = self._ask(f"set -e\n{script}", limit=limit)
        assert status == 0, f"{self.name}: {script}\nstatus {status}\n{output}"
        return output

    def status_of(self, script, *, limit=60):
        """Run a script; give its exit status and what it wrote."""
        return self._ask(script, limit=limit)

    def write(self, path, content):
        """Write a file in the guest."""
        quoted = content.replace("'", "'\\''")
        self.sh(f"mkdir -p \"$(dirname '{path}')\"; printf %s '{quoted}' >'{path}'")

    def shell(self):
        """Give a connection to a shell with a terminal."""
        return self._connect(SHELLS, limit=10)

    def freeze(self):
        """Stop its processors in the middle of what they do, as a hypervisor does that is short of time."""
        self._tell("stop")

    def thaw(self):
        """Let them go on."""
        self._tell("cont")

    def pull_cable(self, card):
        """Let a card lose its link."""
        self._tell("set_link", name=f"card{card}-{self.number}", up=False)

    def plug_cable(self, card):
        """Give it back."""
        self._tell("set_link", name=f"card{card}-{self.number}", up=True)

    def kill(self):
        """End it as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None
        for tap in self._taps:
            self._network.remove_tap(tap)
        self._taps = []

    def shut_down(self, limit=120):
        """Let systemd stop everything, and power it off."""
        with contextlib.suppress(OSError):
            self._ask("systemctl poweroff --no-block", limit=10)
        self._process.wait(limit)
        self.kill()

    def output(self):
        """Give the end of its console, and what QEMU said."""
        files = (self.console, self._network.directory / f"{self.name}.qemu")
        return "\n".join(file.read_text(errors="replace")[-4000:] for file in files if file.exists())

    def _plug_in(self):
        for card in range(self.build.cards):
            self._add_tap(f"card{card}-{self.number}", bridge="switch", queues=self._queues)
        self._add_tap(f"lab-{self.number}", bridge="lab")

    def _add_tap(self, name, **how):
        self._network.add_tap(name, **how)
        self._taps.append(name)

    @property
    def _queues(self):
        return self.build.queues if self.build.model.startswith("virtio") else 1

    def _command(self, overlay):
        build = self.build
        command = ["qemu-system-x86_64", "-name", self.name, *BARE, "-m", str(build.memory)]
        command += processor(build.kernel)
        command += ["-smp", str(build.queues), "-serial", f"file:{self.console}"]
        command += ["-qmp", f"unix:{self._monitor},server=on,wait=off"]
        command += ["-kernel", build.kernel.image, "-initrd", disks.initramfs(build.kernel, build.model)]
        command += ["-append", f"{_APPEND} lab.node={self.number}"]
        command += ["-object", "rng-random,id=rng0,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng0"]
        for number, (file, kind, more) in enumerate(
            ((overlay, "qcow2", ""), (disks.modules(build.kernel), "raw", ",readonly=on"))
        ):
            command += ["-drive", f"if=none,id=disk{number},file={file},format={kind},cache=unsafe{more}"]
            command += ["-device", f"virtio-blk-pci,drive=disk{number}"]
        for card in range(build.cards):
            command += self._card(f"card{card}-{self.number}", build.model, self._queues, card)
        command += self._card(f"lab-{self.number}", "virtio-net-pci", 1, 15)
        return list(map(str, command))

    def _card(self, tap, model, queues, kind):
        several = f",mq=on,vectors={2 * queues + 2}" if queues > 1 else ""
        mac = f"52:54:00:00:{kind:02x}:{self.number:02x}"
        backend = f"tap,id={tap},ifname={tap},script=no,downscript=no"
        if queues > 1:
            backend += f",queues={queues}"
        return ["-netdev", backend, "-device", f"{model},netdev={tap},mac={mac}{several}"]

    def _ask(self, script, *, limit):
        with self._connect(SCRIPTS, limit=limit) as connection:
            connection.sendall(script.encode())
            connection.shutdown(socket.SHUT_WR)
            answer = bytearray()
            while part := connection.recv(65536):
                answer += part
        output, _, status = answer.decode(errors="replace").rpartition("\n")
        if not status.isdecimal():
            raise ConnectionError(f"{self.name} answered half: {answer!r}")
        return int(status), output

    def _connect(self, port, *, limit):
        with inside(self._network.switch):
            return socket.create_connection((command_address_of(self.number), port), timeout=limit)

    def _tell(self, command, **arguments):
        """Give QEMU a command, in the words of its machine protocol (QMP)."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as monitor:
            monitor.settimeout(30)
            monitor.connect(str(self._monitor))
            with monitor.makefile("rw") as lines:
                lines.readline()
                for request in (
                    {"execute": "qmp_capabilities"},
                    {"execute": command, "arguments": arguments},
                ):
                    lines.write(json.dumps(request) + "\n")
                    lines.flush()
                    while "event" in (answer := json.loads(lines.readline())):
                        pass
                    assert "return" in answer, answer


# Under emulation the clock of the processor is no clock, and there is nobody to protect from speculation.
_APPEND = (
    "console=ttyS0 net.ifnames=0 quiet panic=-1 mitigations=off tsc=unstable audit=0 systemd.show_status=0"
    # Where the host is busy the kernel takes its emulated timer for a broken one, and panics.
    " no_timer_check"
)


def _qemu_img(*arguments):
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, timeout=60)
