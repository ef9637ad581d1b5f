"""The demo's network in namespaces: who reaches whom, and that nothing of it stays."""

import asyncio
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from leftovers import living_below
from namespaces import namespace_of, needs_namespaces, network_namespaces
from waiting import until

from hcsidecar.demo.network import IP, SWITCH, TOOLS, Network, NoNetworkError
from hcsidecar.demo.plan import DemoHost
from hcsidecar.demo.programs import DemoPrograms, find_tool

WEB = DemoHost(name="web1", addresses=("198.51.100.11/24",), is_machine=True)
CLIENTS = DemoHost(name="clients", addresses=("198.51.100.101/24", "198.51.100.102/24"))
FOUND = {tool: find_tool(tool) for tool in TOOLS}


def with_network(directory, use, *, hosts=(WEB, CLIENTS), tools=FOUND):
    """Run a coroutine on a network; gives what has ended without being asked to."""

    async def main():
        programs = DemoPrograms(directory, on_end=lambda _program: None)
        try:
            network = Network(programs, tools=tools, directory=directory)
            await network.build(hosts)
            await use(network)
        finally:
            await programs.end_all()
        return [program.name for program in programs.fallen]

    return asyncio.run(main())


def reaches(network, *, source, target):
    """Ping once from within the clients' namespace."""
    command = [*network.inside("clients"), "ping", "-n", "-c", "1", "-W", "1", "-I", source, target]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@needs_namespaces
def test_everybody_at_the_switch_reaches_everybody_until_a_link_is_cut(tmp_path):
    async def use(network):
        assert reaches(network, source="198.51.100.101", target="198.51.100.11")
        assert reaches(network, source="198.51.100.102", target="198.51.100.11")
        await network.cut("web1")
        assert not reaches(network, source="198.51.100.101", target="198.51.100.11")
        await network.join("web1")
        await network.join("web1")
        await until(lambda: reaches(network, source="198.51.100.101", target="198.51.100.11"))

    assert with_network(tmp_path, use) == []


@needs_namespaces
def test_nothing_of_it_is_in_this_machines_own_network_or_stays(tmp_path):
    ours = {"br0", "web1", "clients"}
    namespaces = set()

    async def use(network):
        assert not links() & ours
        namespaces.update(namespace_of(network.process(name)) for name in (SWITCH, "web1", "clients"))

    with_network(tmp_path, use)
    assert len(namespaces) == 3
    assert living_below(tmp_path) == []
    assert not network_namespaces() & namespaces
    assert not links() & ours


@needs_namespaces
def test_a_machine_that_makes_no_links_is_told_of_and_nothing_stays(tmp_path):
    broken = tmp_path / "ip"
    broken.write_text("#!/bin/sh\necho 'Error: Unknown device type.' >&2\nexit 2\n")
    broken.chmod(0o755)

    async def use(network):
        raise AssertionError("there is none")

    with pytest.raises(NoNetworkError, match=r"^Error: Unknown device type\.$"):
        with_network(tmp_path, use, tools=FOUND | {IP: str(broken)})
    assert living_below(tmp_path) == []


def test_a_machine_that_permits_no_namespaces_is_told_of(tmp_path):
    refusing = tmp_path / "unshare"
    refusing.write_text("#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2\nexit 1\n")
    refusing.chmod(0o755)

    async def use(network):
        raise AssertionError("there is none")

    tools = {tool: str(refusing) for tool in TOOLS}
    with pytest.raises(NoNetworkError, match="Operation not permitted"):
        with_network(tmp_path, use, tools=tools)
    assert living_below(tmp_path) == []


@needs_namespaces
def test_a_machine_ends_with_all_that_runs_in_it_and_is_another_when_switched_on_again(tmp_path):
    async def use(network):
        first = first_process(network)
        assert on_machine(network, "setsid sh -c 'sleep 60 & sleep 60' >/dev/null 2>&1 & echo started") == "started"
        (net,) = {namespace_of(network.process("web1"))}
        await until(lambda: len(sleepers(net)) == 2)
        await network.power_off("web1")
        assert not network.is_on("web1")
        assert sleepers(net) == []
        await network.switch_on("web1")
        assert network.is_on("web1")
        assert first_process(network) != first
        assert reaches(network, source="198.51.100.101", target="198.51.100.11"), "its cable is where it was"

    assert with_network(tmp_path, use) == []


@needs_namespaces
def test_signals_to_a_program_on_a_machine_reach_it(tmp_path):
    async def main():
        programs = DemoPrograms(tmp_path, on_end=lambda _program: None)
        try:
            network = Network(programs, tools=FOUND, directory=tmp_path)
            await network.build([WEB])
            count = "n=0; while :; do n=$((n+1)); echo $n; sleep 0.02; done"
            command = [*network.on_machine("web1"), "/bin/sh", "-c", count]
            program = programs.start("counter", command, stands_for_child=True)
            await until(lambda: len(program.lines) > 1)
            for _ in range(3):
                program.send(signal.SIGSTOP)
                await until(lambda: {state(process) for process in program.children} == {"T"})
                latest = list(program.lines)
                program.send(signal.SIGCONT)
                await until(lambda latest=latest: list(program.lines) != latest)
            await programs.end(program, signal.SIGKILL)
            assert program.status == 128 + signal.SIGKILL, "it was there to see its child end"
        finally:
            await programs.end_all()

    asyncio.run(main())


def on_machine(network, script):
    """Run a line of the shell on the machine; gives what it says."""
    command = [*network.on_machine("web1"), "/bin/sh", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def first_process(network):
    """When the first process of the machine started, which tells one start of a machine from another."""
    return on_machine(network, "cut -d' ' -f22 /proc/1/stat")


def sleepers(net):
    """The processes in a network namespace that sleep for a minute."""
    found = []
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if process.name.isdecimal() and namespace_of(process.name) == net:
                found += [process.name] * ((process / "cmdline").read_bytes().split(b"\0")[:2] == [b"sleep", b"60"])
    return found


def state(process):
    """What a process does, in a letter of proc(5): T is stopped."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


def links():
    """Names of this machine's own links."""
    return {path.name for path in Path("/sys/class/net").iterdir()}
