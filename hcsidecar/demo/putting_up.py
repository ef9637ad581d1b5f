"""Starts the demo: finds programs, addresses and a network, and writes the files. Leaves nothing behind at the end."""

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from hcsidecar.demo.chronicle import DEMO, Chronicle
from hcsidecar.demo.directory import own_directory
from hcsidecar.demo.network import TOOLS as NETWORK_TOOLS
from hcsidecar.demo.network import Network, NoNetworkError
from hcsidecar.demo.plan import CANDIDATES, NETWORK, DemoServer, Plan
from hcsidecar.demo.programs import SETPRIV, DemoError, DemoProgram, DemoPrograms, Tool, find_tool, missing_tools
from hcsidecar.demo.stage import HAPROXY, Stage
from hcsidecar.demo.texts import farm_file
from hcsidecar.demo.watch import Watch, balancer_log
from hcsidecar.demo.web import APACHE, NGINX, WebServer
from hcsidecar.farmfile.dirs import MAX_SOCKET_PATH_BYTES
from hcsidecar.farmfile.permissions import why_not_run
from hcsidecar.net.keyring import Keyring

APACHE_USER = "www-data"


@asynccontextmanager
async def put_up(chronicle: Chronicle) -> AsyncIterator[Stage]:
    """Start the farm, and end it after the block; whatever happens, nothing of it is left.

    For root it is on a bridge, with a virtual IP, if the machine permits that. Otherwise it is on loopback, and a line
    of the chronicle says what is missing. Raise DemoError, alone or in a group, if it cannot be started.
    """
    tools = find_tools()
    async with AsyncExitStack() as cleaning:
        directory = cleaning.enter_context(own_directory(Path(tempfile.gettempdir())))
        plan, mark = choose_plan(directory)
        cleaning.callback(mark.close)
        programs = DemoPrograms(directory, on_end=lambda program: _tell_end(chronicle, program))
        cleaning.push_async_callback(programs.end_all)
        network = await build_network(replace(plan, bridged=True), programs, tools)
        if isinstance(network, Network):
            plan = replace(plan, bridged=True)
        else:
            chronicle.write(DEMO, network)
        write_files(plan, WebServer.found(tools))
        await cleaning.enter_async_context(balancer_log(plan.log_socket, chronicle))
        watch = Watch(plan)
        tasks = await cleaning.enter_async_context(asyncio.TaskGroup())
        watching = tasks.create_task(watch.run())
        cleaning.callback(watching.cancel)
        farm = Stage(
            plan,
            tools=tools,
            programs=programs,
            network=network if isinstance(network, Network) else None,
            watch=watch,
            chronicle=chronicle,
        )
        await farm.start()
        yield farm


async def build_network(plan: Plan, programs: DemoPrograms, tools: Mapping[Tool, str]) -> Network | str:
    """Return the network of a plan on the bridge, or one line that says why there is none."""
    if os.geteuid() != 0:
        return "started as root, the demo also shows a virtual IP that the servers share"
    missing = [tool for tool in NETWORK_TOOLS if tool not in tools]
    if missing:
        return f"no virtual IP to show: {missing_tools(*missing)}"
    network = Network(programs, tools=tools, directory=plan.directory)
    try:
        await network.build(plan.hosts)
    except NoNetworkError as refused:
        return f"no virtual IP to show: this machine lets nobody make a network in namespaces ({refused})"
    return network


def find_tools() -> dict[Tool, str]:
    """Return the paths of the installed programs. Raise DemoError with the packages of those that are missing."""
    found = {tool: where for tool in (HAPROXY, NGINX, APACHE, SETPRIV, *NETWORK_TOOLS) if (where := find_tool(tool))}
    missing = [tool for tool in (HAPROXY, SETPRIV) if tool not in found]
    if NGINX not in found and APACHE not in found:
        missing.append(NGINX)
    if missing:
        raise DemoError(missing_tools(*missing))
    return found


def choose_plan(directory: Path) -> tuple[Plan, socket.socket]:
    """Return a plan whose addresses and ports are free, and the open socket that reserves it against other demos."""
    for number in range(CANDIDATES):
        plan = Plan(directory=directory, number=number)
        mark = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            mark.bind((plan.balancer, plan.heartbeat_port))
            for address in plan.udp:
                _try(address, socket.SOCK_DGRAM)
            for address in plan.tcp:
                _try(address, socket.SOCK_STREAM)
        except OSError:
            mark.close()
        else:
            return plan, mark
    raise DemoError(f"no free addresses and ports below {NETWORK}.0.0/16, in {CANDIDATES} places looked at")


def write_files(plan: Plan, web: WebServer) -> None:
    """Write the files of the programs; each server has a directory, as if that were its own disk.

    Raise DemoError if the path of the directory is too long for sockets, or if daemons would not trust scripts in it.
    """
    longest = max(len(os.fsencode(plan.control_socket(server))) for server in plan.servers)
    if longest > MAX_SOCKET_PATH_BYTES:
        raise DemoError(f"{plan.directory} is too long a path for unix sockets; a shorter TMPDIR helps")
    keyring = Keyring.create(plan.directory / "farm.key", now=datetime.now(UTC))
    keyring.write(replace=False)
    for server in plan.servers:
        # Whatever the umask, nobody else may write what a daemon runs.
        plan.home(server).mkdir(mode=0o700)
        plan.farm_file(server).write_text(farm_file(plan, server))
        shutil.copy(keyring.path, plan.home(server))
        user = APACHE_USER if os.geteuid() == 0 else None
        plan.web_config(server).write_text(web.config(plan, server, user=user))
        if plan.bridged:
            _write_scripts(plan, server, web)


def _write_scripts(plan: Plan, server: DemoServer, web: WebServer) -> None:
    for name, text in web.scripts(plan, server).items():
        script = plan.home(server) / name
        script.parent.mkdir(mode=0o700, exist_ok=True)
        script.write_text(text)
        script.chmod(0o755)
        refusal = why_not_run(script)
        if refusal is not None:
            raise DemoError(f"no daemon would run {script}, it {refusal}; another TMPDIR helps")


def _try(address: tuple[str, int], kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind is socket.SOCK_STREAM:
            # Lingering connections of an earlier demo (TIME_WAIT) do not matter; listeners do.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


def _tell_end(chronicle: Chronicle, program: DemoProgram) -> None:
    chronicle.write(DEMO, f"{program.name} has ended with status {program.status}", grave=True)
