"""The scripts of the demo's web servers, with real ones on a machine of their own: start, stop, and stop with force."""

import asyncio
import subprocess
import sys

import pytest
from leftovers import living_below
from namespaces import needs_namespaces

from hcsidecar.demo.network import TOOLS, Network
from hcsidecar.demo.plan import HANG, START, STOP, Plan
from hcsidecar.demo.programs import DemoPrograms, find_tool
from hcsidecar.demo.putting_up import write_files
from hcsidecar.demo.web import APACHE, NGINX, WebServer

ASK = """
import sys, urllib.request
try:
    print(urllib.request.urlopen("http://127.0.0.1/", timeout=0.5).read().decode())
except OSError as error:
    print(getattr(error, "reason", error))
"""


@needs_namespaces
@pytest.mark.parametrize("tool", [NGINX, APACHE], ids=lambda tool: tool.name)
def test_a_web_server_that_hangs_is_stopped_with_force_and_starts_again(tmp_path, tool):
    plan = Plan(directory=tmp_path, number=0, bridged=True)
    server = plan.servers[0]
    write_files(plan, WebServer(tool=tool, path=find_tool(tool)))

    async def main():
        programs = DemoPrograms(tmp_path, on_end=lambda _program: None)
        network = Network(programs, tools={tool: find_tool(tool) for tool in TOOLS}, directory=tmp_path)

        def run(*command):
            command = [*network.on_machine(server.name), *map(str, command)]
            return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=20)

        def script(name, *arguments):
            return run(plan.home(server) / name, *arguments).returncode

        def ask():
            return run(sys.executable, "-c", ASK).stdout

        try:
            await network.build([host for host in plan.hosts if host.name == server.name])
            assert script(STOP) == 0, "nothing to stop"
            assert script(START) == 0
            assert "<h1>web1</h1>" in ask()
            assert script(STOP) == 0
            assert "refused" in ask()
            assert script(START) == 0
            assert script(HANG) == 0
            assert "timed out" in ask()
            assert script(STOP) == 1
            assert script(STOP, "force") == 0
            assert "refused" in ask()
            assert script(START) == 0
            assert "<h1>web1</h1>" in ask()
            await network.power_off(server.name)
            await network.switch_on(server.name)
            assert script(START) == 0, "in spite of what a power cut has left"
            assert "<h1>web1</h1>" in ask()
        finally:
            await programs.end_all()

    asyncio.run(main())
    assert living_below(tmp_path) == []
