"""Network namespaces on a bridge: a switch with servers, clients and a balancer, apart from the machine's network.

No namespace has a name, so nothing has to be found and removed later: a sleeping process holds each namespace, and dies
with the demo, however that ends. The kernel removes a namespace with its last process, and its links with it.

A server also has a PID namespace, which is made when it is switched on. All its processes, also those in the
background, die with the first process of that namespace, as at a power cut; and that process dies with the demo.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hcsidecar.demo.plan import DemoHost
from hcsidecar.demo.programs import DemoError, DemoProgram, DemoPrograms, Tool
from hcsidecar.demo.waiting import until

IP = Tool(name="ip", package="iproute2")
UNSHARE = Tool(name="unshare", package="util-linux")
NSENTER = Tool(name="nsenter", package="util-linux")
SHELL = "/bin/sh"
TOOLS = (IP, UNSHARE, NSENTER)
SWITCH = "switch"
"The name of the namespace with the bridge. A port of the bridge has the name of the namespace to which it leads."
INTERFACE = "eth0"
"The name of the link to the switch in each of the other namespaces."
HELD_WITHIN = 5.0
"Seconds to make a namespace; even a busy machine needs only milliseconds."
_READY = "ready"
_SLEEP = f"echo {_READY}; exec sleep infinity"
_BE_THE_FIRST = f"echo {_READY}; while :; do sleep 1; done"
"The first process of a machine: a shell, because it also reaps processes whose parents have ended."
_WAIT = '"$@" & wait $!'
"""Runs a command as a child, because only a child can enter a PID namespace, and waits for it. nsenter could do this
too, but it stops itself when the child is stopped, and may then miss that both are continued."""


class NoNetworkError(Exception):
    """Raised if such a network cannot be made on this machine; the text says why."""


class Network:
    """A switch with hosts on it."""

    def __init__(self, programs: DemoPrograms, *, tools: Mapping[Tool, str], directory: Path) -> None:
        """`tools` has the paths of `TOOLS`; files are written in `directory`."""
        self._programs = programs
        self._tools = tools
        self._directory = directory
        self._holders: dict[str, DemoProgram] = {}
        self._machines: dict[str, DemoProgram] = {}

    async def build(self, hosts: Sequence[DemoHost]) -> None:
        """Make the namespaces and their links, and switch on the machines.

        Raise NoNetworkError, and leave nothing behind, if this machine refuses.
        """
        try:
            for name in (SWITCH, *(host.name for host in hosts)):
                command = [self._tools[UNSHARE], "--net", "--", SHELL, "-c", _SLEEP]
                self._holders[name] = await self._hold(f"the namespace {name}", command)
            await self._ip(SWITCH, _bridge_lines({host.name: self.process(host.name) for host in hosts}))
            for host in hosts:
                await self._ip(host.name, _host_lines(host))
                if host.is_machine:
                    await self._switch_on(host.name)
        except NoNetworkError:
            for holder in (*self._holders.values(), *self._machines.values()):
                await self._programs.end(holder)
            raise

    def inside(self, name: str) -> list[str]:
        """Return the words before a command that run it in a namespace."""
        return [self._tools[NSENTER], f"--net=/proc/{self.process(name)}/ns/net", "--"]

    def process(self, name: str) -> int:
        """Return the id of the process that holds a namespace."""
        return self._holders[name].pid

    def on_machine(self, name: str) -> list[str]:
        """Return the words before a command that run it on a machine that is on. They make a process with it as child.

        The parent must not end before the child: an orphan is not reaped on the machine, but by whatever adopts it
        outside, perhaps never, and a machine is off only when all its processes are reaped.
        """
        holder = f"/proc/{self._machines[name].pid}/ns"
        return [
            *(self._tools[NSENTER], f"--net=/proc/{self.process(name)}/ns/net", f"--mount={holder}/mnt"),
            *(f"--pid={holder}/pid_for_children", "--no-fork", "--", SHELL, "-c", _WAIT, SHELL),
        ]

    def is_on(self, name: str) -> bool:
        """Return whether a machine is on."""
        return name in self._machines and self._machines[name].running

    async def switch_on(self, name: str) -> None:
        """Switch on a machine that is off. Raise DemoError if that fails."""
        try:
            await self._switch_on(name)
        except NoNetworkError as refused:
            raise DemoError(f"the machine {name} cannot be switched on: {refused}") from None

    async def power_off(self, name: str) -> None:
        """Kill all processes of a machine at once; safe to repeat."""
        if (machine := self._machines.pop(name, None)) is not None:
            await self._programs.end(machine)

    async def cut(self, name: str) -> None:
        """Cut a host's link at the switch, as if its cable were pulled. Raise DemoError if that fails."""
        await self._set_link(name, "down")

    async def join(self, name: str) -> None:
        """Restore a host's link, if it is cut. Raise DemoError if that fails."""
        await self._set_link(name, "up")

    async def _switch_on(self, name: str) -> None:
        unshare = [self._tools[UNSHARE], "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
        command = [*self.inside(name), *unshare, "--", SHELL, "-c", _BE_THE_FIRST]
        # The first process of a PID namespace ends after all others, so then nothing can write any more. Therefore
        # signals go to it, and unshare waits for it.
        machine = self._machines[name] = await self._hold(f"the machine {name}", command, stands_for_child=True)
        if not machine.children:
            raise NoNetworkError("the kernel does not tell the children of a process, CONFIG_PROC_CHILDREN")

    async def _set_link(self, name: str, state: str) -> None:
        try:
            await self._ip(SWITCH, [f"link set {name} {state}"])
        except NoNetworkError as refused:
            raise DemoError(f"the link of {name} cannot be set {state}: {refused}") from None

    async def _hold(self, name: str, command: Sequence[str], *, stands_for_child: bool = False) -> DemoProgram:
        # The shell prints a word as soon as the namespace exists.
        holder = self._programs.start(name, command, stands_for_child=stands_for_child)
        holder.expected = True
        await until(lambda: bool(holder.lines) or not holder.running, limit=HELD_WITHIN)
        if list(holder.lines) != [_READY]:
            await self._programs.end(holder)
            raise NoNetworkError(_in_a_line(holder.lines))
        holder.expected = False
        return holder

    async def _ip(self, name: str, lines: Sequence[str]) -> None:
        """Run lines of ip(8) in a namespace."""
        script = self._directory / f"{name}.ip"
        script.write_text("".join(f"{line}\n" for line in lines))
        said: list[str] = []
        command = [*self.inside(name), self._tools[IP], "-batch", str(script)]
        if await self._programs.run("ip", command, on_line=said.append) != 0:
            raise NoNetworkError(_in_a_line(said))


def _bridge_lines(processes: Mapping[str, int]) -> list[str]:
    """Return the lines of ip(8) that make the bridge and a link to every host, each given by a process in it."""
    # No spanning tree, because it would block a new link for 30 s; no snooping, because it needs a querier.
    lines = ["link set lo up", "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0"]
    for name, process in processes.items():
        lines += [
            f"link add {name} type veth peer name {INTERFACE} netns {process}",
            f"link set {name} master br0",
            f"link set {name} up",
        ]
    return [*lines, "link set br0 up"]


def _host_lines(host: DemoHost) -> list[str]:
    addresses = [f"address add {address} dev {INTERFACE}" for address in host.addresses]
    return ["link set lo up", *addresses, f"link set {INTERFACE} up"]


def _in_a_line(said: Sequence[str]) -> str:
    return "; ".join(filter(None, said)) or "nothing was said"
