"""Network namespaces on a bridge: a switch with servers, clients and a balancer on it, apart from the machine's own.

Nothing here has a name outside, so that nothing has to be found and removed later: a process that sleeps holds each
namespace, and dies with the demo, however that ends. With the last process in a namespace the kernel removes it, and
its links with it.

A server is more than its network: it is switched on, which makes a PID namespace. All that runs there, in the
background too, dies with that namespace's first process, as at a power cut; and that dies with the demo.
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
"Name of the namespace that holds the bridge; a port of the bridge is named as the namespace that it leads to."
INTERFACE = "eth0"
"What the link to the switch is called inside each of the others."
HELD_WITHIN = 5.0
"Seconds that a namespace may take; a busy machine needs milliseconds."
_READY = "ready"
_SLEEP = f"echo {_READY}; exec sleep infinity"
_BE_THE_FIRST = f"echo {_READY}; while :; do sleep 1; done"
"What the first process of a machine does: a shell also buries those whose parents have ended."
_WAIT = '"$@" & wait $!'
"""Enters a PID namespace, which only a child can; and waits for it. nsenter could do so too, but stops itself when the
child is stopped, and then may miss that both are continued."""


class NoNetworkError(Exception):
    """This machine lets nobody make such a network; the text says why."""


class Network:
    """A switch with hosts on it, while it is up."""

    def __init__(self, programs: DemoPrograms, *, tools: Mapping[Tool, str], directory: Path) -> None:
        """Take who starts programs, where those of `TOOLS` are, and where files may be written."""
        self._programs = programs
        self._tools = tools
        self._directory = directory
        self._holders: dict[str, DemoProgram] = {}
        self._machines: dict[str, DemoProgram] = {}

    async def build(self, hosts: Sequence[DemoHost]) -> None:
        """Make the namespaces and their links, and switch the machines on.

        NoNetworkError, with nothing of it left, if this machine refuses.
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
        """Give the words that put a command into a namespace."""
        return [self._tools[NSENTER], f"--net=/proc/{self.process(name)}/ns/net", "--"]

    def process(self, name: str) -> int:
        """Give the id of the process that holds a namespace."""
        return self._holders[name].pid

    def on_machine(self, name: str) -> list[str]:
        """Give the words that put a command onto a machine that is on; who carries them out stands for it as its child.

        The one must not end before the other: an orphan is not buried by the machine, but by whoever adopts it here,
        perhaps never, and a machine is off when all are.
        """
        holder = f"/proc/{self._machines[name].pid}/ns"
        return [
            *(self._tools[NSENTER], f"--net=/proc/{self.process(name)}/ns/net", f"--mount={holder}/mnt"),
            *(f"--pid={holder}/pid_for_children", "--no-fork", "--", SHELL, "-c", _WAIT, SHELL),
        ]

    def is_on(self, name: str) -> bool:
        """Tell whether a machine is on."""
        return name in self._machines and self._machines[name].running

    async def switch_on(self, name: str) -> None:
        """Switch a machine on that is off; DemoError if that fails."""
        try:
            await self._switch_on(name)
        except NoNetworkError as refused:
            raise DemoError(f"the machine {name} cannot be switched on: {refused}") from None

    async def power_off(self, name: str) -> None:
        """Kill all that runs on a machine, at once. Safe to repeat."""
        if (machine := self._machines.pop(name, None)) is not None:
            await self._programs.end(machine)

    async def cut(self, name: str) -> None:
        """Cut a host's link at the switch, as if its cable were pulled; DemoError if that fails."""
        await self._set_link(name, "down")

    async def join(self, name: str) -> None:
        """Join a host's link again; nothing happens if it is not cut. DemoError if that fails."""
        await self._set_link(name, "up")

    async def _switch_on(self, name: str) -> None:
        unshare = [self._tools[UNSHARE], "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
        command = [*self.inside(name), *unshare, "--", SHELL, "-c", _BE_THE_FIRST]
        # The first process of a PID namespace has ended when all of them have: then all is over that could still write.
        # So signals go to it, and unshare waits for it.
        machine = self._machines[name] = await self._hold(f"the machine {name}", command, stands_for_child=True)
        if not machine.children:
            raise NoNetworkError("the kernel does not tell the children of a process, CONFIG_PROC_CHILDREN")

    async def _set_link(self, name: str, state: str) -> None:
        try:
            await self._ip(SWITCH, [f"link set {name} {state}"])
        except NoNetworkError as refused:
            raise DemoError(f"the link of {name} cannot be set {state}: {refused}") from None

    async def _hold(self, name: str, command: Sequence[str], *, stands_for_child: bool = False) -> DemoProgram:
        # The word of the shell says that the namespace is there.
        holder = self._programs.start(name, command, stands_for_child=stands_for_child)
        holder.expected = True
        await until(lambda: bool(holder.lines) or not holder.running, limit=HELD_WITHIN)
        if list(holder.lines) != [_READY]:
            await self._programs.end(holder)
            raise NoNetworkError(_in_a_line(holder.lines))
        holder.expected = False
        return holder

    async def _ip(self, name: str, lines: Sequence[str]) -> None:
        """Carry out lines of ip(8) in a namespace."""
        script = self._directory / f"{name}.ip"
        script.write_text("".join(f"{line}\n" for line in lines))
        said: list[str] = []
        command = [*self.inside(name), self._tools[IP], "-batch", str(script)]
        if await self._programs.run("ip", command, on_line=said.append) != 0:
            raise NoNetworkError(_in_a_line(said))


def _bridge_lines(processes: Mapping[str, int]) -> list[str]:
    """Say how to make the bridge and a link to every host, given by a process in it."""
    # No spanning tree, which would keep a new link silent for 30 s; no snooping, which needs a querier.
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
