"""The farm on its stage: puts up three servers and HAProxy, does to them what is asked, and leaves nothing behind."""

import asyncio
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from hcsidecar.client import Row
from hcsidecar.demo.chronicle import DEMO, Chronicle
from hcsidecar.demo.plan import CANDIDATES, NETWORK, Plan, Server
from hcsidecar.demo.programs import SETPRIV, DemoError, Program, Programs, Tool, find_tool, missing_tools
from hcsidecar.demo.sight import READY, STOPPED, why_not_agreed
from hcsidecar.demo.texts import apache_config, farm_file, haproxy_config, nginx_config
from hcsidecar.demo.watch import Watch, balancer_log
from hcsidecar.dirs import MAX_SOCKET_PATH_BYTES
from hcsidecar.net.keyring import Keyring

HAPROXY = Tool(name="haproxy", package="haproxy")
NGINX = Tool(name="nginx", package="nginx-light")
APACHE = Tool(name="apache2", package="apache2-bin")
APACHE_USER = "www-data"
UP_WITHIN = 30.0
"Seconds that the start may take on a slow machine before it counts as failed."
_POLL = 0.02
"Seconds between two looks at a condition that is waited for."


class Stage:
    """The three servers and the balancer, while they are up."""

    def __init__(
        self, plan: Plan, *, tools: Mapping[Tool, str], programs: Programs, watch: Watch, chronicle: Chronicle
    ) -> None:
        self.plan = plan
        self.watch = watch
        self.chronicle = chronicle
        self._tools = tools
        self._programs = programs
        self._web: dict[str, Program] = {}
        self._daemons: dict[str, Program] = {}
        self._changing = {server.name: asyncio.Lock() for server in plan.servers}
        "Held while a server is stopped or brought back; a kill waits for nobody."

    async def start(self) -> None:
        """Start the servers, wait until they agree that all are Ready, and put HAProxy in front."""
        for server in self.plan.servers:
            self._start_web(server)
            self._start_daemon(server)
        names = [server.name for server in self.plan.servers]
        await self._come_true("agree that all are Ready", lambda: self.why_not_agreed(dict.fromkeys(names, READY)))
        self._programs.start("haproxy", [self._tools[HAPROXY], "-db", "-f", str(self.plan.balancer_config)])
        await self._come_true("are UP for HAProxy", self._why_not_all_up)

    def why_not_agreed(self, conditions: Mapping[str, str]) -> str | None:
        """Say which of the daemons that run does not see the servers in these conditions, or None."""
        running = {name for name, daemon in self._daemons.items() if daemon.running}
        return why_not_agreed(
            {name: document for name, document in self.watch.documents.items() if name in running}, conditions
        )

    async def stop(self, server: Server) -> None:
        """Stop a server as a careful operator does: the module, which drains first, then the web server."""
        async with self._changing[server.name]:
            if await self.command("stop", server) == 0:
                self.chronicle.write(DEMO, f"ends {server.name}'s web server, which nobody uses any more")
                await self._programs.end(self._web[server.name])

    async def kill(self, server: Server) -> None:
        """Kill a server's daemon and web server, as a power cut would."""
        self.chronicle.write(DEMO, f"kill -9 {server.name}: web server and daemon", grave=True)
        programs = (self._daemons[server.name], self._web[server.name])
        await asyncio.gather(*(self._programs.end(program, signal.SIGKILL) for program in programs))

    async def bring_back(self, server: Server) -> None:
        """Start whatever of a server does not run, and see that it serves."""
        async with self._changing[server.name]:
            if not self._web[server.name].running:
                self.chronicle.write(DEMO, f"starts {server.name}'s web server")
                self._start_web(server)
            daemon = self._daemons[server.name]
            if not daemon.running:
                self.chronicle.write(DEMO, f"$ hcsidecar run --node {server.name}")
                self.watch.documents[server.name] = None
                daemon = self._start_daemon(server)
            await until(lambda: self._own_row(server) is not None or not daemon.running, limit=UP_WITHIN)
            row = self._own_row(server)
            # The daemon remembers the operator's last word, and starts the module unless that was `stop`.
            if row is not None and (row.role == STOPPED or row.draining):
                await self.command("start", server)

    async def command(self, name: str, server: Server) -> int:
        """Give a server's daemon a command by the command line, and give its exit status."""
        self.chronicle.write(DEMO, f"$ hcsidecar {name} --node {server.name}")
        return await self._programs.run(
            name,
            [*_hcsidecar(name), "--config", str(self.plan.farm_file(server)), "--node", server.name],
            on_line=lambda line: self.chronicle.write(DEMO, line),
        )

    def _start_web(self, server: Server) -> None:
        home = self.plan.home(server)
        if NGINX in self._tools:
            arguments = [self._tools[NGINX], "-p", str(home), "-c", str(self.plan.web_config(server)), "-e", "stderr"]
        else:
            arguments = [self._tools[APACHE], "-f", str(self.plan.web_config(server)), "-DFOREGROUND"]
        # Of a demo that is killed only the master hears; told to terminate, it ends its workers too.
        self._web[server.name] = self._programs.start(
            f"{server.name}'s web server", arguments, end_signal=signal.SIGTERM
        )

    def _start_daemon(self, server: Server) -> Program:
        arguments = [*_hcsidecar("run"), "--config", str(self.plan.farm_file(server)), "--node", server.name]
        daemon = self._programs.start(
            f"{server.name}'s daemon",
            [*arguments, "--log-json"],
            on_line=lambda line: self.chronicle.take_daemon_line(server.name, line),
        )
        self._daemons[server.name] = daemon
        return daemon

    def _own_row(self, server: Server) -> Row | None:
        document = self.watch.documents[server.name]
        return document.row(server.name) if document is not None else None

    def _why_not_all_up(self) -> str | None:
        states = {name: target.state for name, target in self.watch.targets.items()}
        down = [f"{server.name} is {states.get(server.name, 'unknown')}" for server in self.plan.servers]
        return None if all(state.endswith(" UP") for state in down) else ", ".join(down)

    async def _come_true(self, what: str, why_not: Callable[[], str | None]) -> None:
        took = await until(lambda: bool(self._programs.fallen) or why_not() is None, limit=UP_WITHIN)
        for program in self._programs.fallen:
            words = program.last_words()
            raise DemoError(f"{program.name} has ended with status {program.status}; its last words:\n{words}")
        if took is None:
            raise DemoError(f"the servers do not {what} within {UP_WITHIN:g} s: {why_not()}")


async def until(condition: Callable[[], bool], *, limit: float) -> float | None:
    """Wait until a condition holds: the seconds that it took, None if it did not within the limit."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    while not condition():
        if loop.time() - begin > limit:
            return None
        await asyncio.sleep(_POLL)
    return loop.time() - begin


@asynccontextmanager
async def put_up(chronicle: Chronicle) -> AsyncIterator[Stage]:
    """Put up the farm; whatever happens in the block or before it, nothing of it is left afterwards.

    DemoError, alone or in a group, says why it could not be put up.
    """
    tools = required_tools()
    async with AsyncExitStack() as cleaning:
        directory = Path(tempfile.mkdtemp(prefix="hcsidecar-demo-"))
        cleaning.callback(shutil.rmtree, directory)
        plan, mark = choose_plan(directory)
        cleaning.callback(mark.close)
        write_files(plan, apache=NGINX not in tools)
        await cleaning.enter_async_context(balancer_log(plan.log_socket, chronicle))
        programs = Programs(directory, on_end=lambda program: _tell_end(chronicle, program))
        cleaning.push_async_callback(programs.end_all)
        watch = Watch(plan)
        tasks = await cleaning.enter_async_context(asyncio.TaskGroup())
        watching = tasks.create_task(watch.run())
        cleaning.callback(watching.cancel)
        farm = Stage(plan, tools=tools, programs=programs, watch=watch, chronicle=chronicle)
        await farm.start()
        yield farm


def required_tools() -> dict[Tool, str]:
    """Find the programs that the demo needs; DemoError names the Debian packages of those that are missing."""
    found = {tool: where for tool in (HAPROXY, NGINX, APACHE, SETPRIV) if (where := find_tool(tool))}
    missing = [tool for tool in (HAPROXY, SETPRIV) if tool not in found]
    if NGINX not in found and APACHE not in found:
        missing.append(NGINX)
    if missing:
        raise DemoError(missing_tools(*missing))
    return found


def choose_plan(directory: Path) -> tuple[Plan, socket.socket]:
    """Find addresses and ports that are free, and hold the socket that marks them as ours for other demos."""
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


def write_files(plan: Plan, *, apache: bool) -> None:
    """Write what the programs read; each server has a directory, as if it were its own disk.

    DemoError if the directory's path is too long for the sockets in it.
    """
    longest = max(len(os.fsencode(plan.control_socket(server))) for server in plan.servers)
    if longest > MAX_SOCKET_PATH_BYTES:
        raise DemoError(f"{plan.directory} is too long a path for unix sockets; a shorter TMPDIR helps")
    plan.balancer_config.write_text(haproxy_config(plan))
    keyring = Keyring.create(plan.directory / "farm.key", now=datetime.now(UTC))
    keyring.write(replace=False)
    for server in plan.servers:
        plan.home(server).mkdir()
        plan.farm_file(server).write_text(farm_file(plan, server))
        shutil.copy(keyring.path, plan.home(server))
        user = APACHE_USER if os.geteuid() == 0 else None
        text = apache_config(plan, server, user=user) if apache else nginx_config(plan, server)
        plan.web_config(server).write_text(text)


def _try(address: tuple[str, int], kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind is socket.SOCK_STREAM:
            # Connections of an earlier demo that linger (TIME_WAIT) are in nobody's way; listeners are.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


def _hcsidecar(command: str) -> list[str]:
    return [sys.executable, "-m", "hcsidecar", command]


def _tell_end(chronicle: Chronicle, program: Program) -> None:
    chronicle.write(DEMO, f"{program.name} has ended with status {program.status}", grave=True)
