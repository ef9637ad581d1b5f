"""The running farm of the demo: three servers and HAProxy and, on the bridge, the clients of a virtual IP."""

import asyncio
import json
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from hcsidecar.core.documents import FarmStatus, NodeStatus
from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.demo.chronicle import DEMO, Chronicle
from hcsidecar.demo.judge import Request, RequestLog
from hcsidecar.demo.network import Network
from hcsidecar.demo.plan import BALANCER, CLIENTS, HANG, DemoServer, Plan
from hcsidecar.demo.programs import DemoError, DemoProgram, DemoPrograms, Tool
from hcsidecar.demo.sight import READY, STOPPED, why_not_agreed, why_still_served
from hcsidecar.demo.texts import haproxy_config
from hcsidecar.demo.waiting import until
from hcsidecar.demo.watch import Watch
from hcsidecar.demo.web import WebServer

HAPROXY = Tool(name="haproxy", package="haproxy")
CONSOLE_USER = "demo"
UP_WITHIN = 30.0
"Seconds that the start may take, on a slow machine, before it counts as failed."
POWERS = (0, 1, 2, 4)
"The powers to which a server's power is changed, one after the other."


class Stage:
    """The three servers and the balancer, while they run."""

    def __init__(
        self,
        plan: Plan,
        *,
        tools: Mapping[Tool, str],
        programs: DemoPrograms,
        network: Network | None,
        watch: Watch,
        chronicle: Chronicle,
    ) -> None:
        self.plan = plan
        self.watch = watch
        self.chronicle = chronicle
        self.network = network
        "The network of servers, balancer and clients; None on loopback."
        self.console_link = ""
        "Signs a browser in at the first server's console, once; empty before there are consoles."
        self._tools = tools
        self._web_server = WebServer.found(tools)
        self._programs = programs
        self._web: dict[str, DemoProgram] = {}
        "The web servers, on loopback; on the bridge each daemon starts its own."
        self._daemons: dict[str, DemoProgram] = {}
        self._changing = {server.name: asyncio.Lock() for server in plan.servers}
        "Held while a server is stopped or brought back; a kill does not wait for them."

    async def start(self) -> None:
        """Start the servers, wait until they agree that all are Ready, and put HAProxy in front."""
        for server in self.plan.servers:
            if self.network is None:
                self._start_web(server)
            self._start_daemon(server)
        names = [server.name for server in self.plan.servers]
        await self._wait_until("agree that all are Ready", lambda: self.why_not_agreed(dict.fromkeys(names, READY)))
        self._start_balancer()
        await self._wait_until("are UP for HAProxy", self._why_not_all_up)

    async def start_consoles(self) -> None:
        """Start a console for each server, and make a link that signs in at the first one."""
        listening: set[str] = set()

        def hear(name: str) -> Callable[[str], None]:
            return lambda line: listening.add(name) if "listens on" in line else None

        for server in self.plan.servers:
            self._programs.start(
                f"{server.name}'s console",
                [
                    *(sys.executable, "-P", "-m", "hcsidecar.console.start", "--http"),
                    *("--socket", str(self.plan.console_socket(server))),
                    *("--listen", f"{self.plan.balancer}:{self.plan.console_port(server)}"),
                ],
                on_line=hear(server.name),
            )
        await self._wait_until(
            "have consoles", lambda: None if len(listening) == len(self.plan.servers) else "they start"
        )
        password = self.plan.directory / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe() + "\n")
        first = self.plan.servers[0]
        said: list[str] = []
        for command in (
            ["user", "add", CONSOLE_USER, "--role", "admin", "--password-file", str(password)],
            ["user", "link", CONSOLE_USER, "--url", self.plan.console_url(first), "--json"],
        ):
            said.clear()
            status = await self._programs.run(
                " ".join(command[:2]),
                [
                    *_hcsidecar(command[0]),
                    *command[1:],
                    *("--config", str(self.plan.farm_file(first)), "--node", first.name),
                ],
                on_line=said.append,
            )
            if status != 0:
                raise DemoError(f"no link to the console: {' '.join(said)}")
        self.console_link = json.loads(said[-1])["link"]
        self.chronicle.write(DEMO, f"the console, in which this link signs you in once: {self.console_link}")

    def ask_through_vip(self, record: RequestLog) -> None:
        """Start the clients of the virtual IP, if there is one; they send requests until the end."""
        if self.network is None:
            return
        address = [str(self.plan.vip), str(self.plan.web_port)]
        self._programs.start(
            "the clients' program",
            [
                *self.network.inside(CLIENTS),
                *(sys.executable, "-m", "hcsidecar.demo.clients", *address, *self.plan.clients),
            ],
            on_line=lambda line: self._take_request(line, record),
        )

    def why_not_agreed(self, conditions: Mapping[str, str]) -> str | None:
        """Return which running daemon does not see the servers in these conditions, or None."""
        return why_not_agreed(self._documents(), conditions)

    def why_still_served(self, server: DemoServer) -> str | None:
        """Return which running daemon still considers a server Ready, or None."""
        return why_still_served(self._documents(), server.name)

    async def stop(self, server: DemoServer) -> None:
        """Stop a server as a careful operator does: the application with its drain, then the web server.

        If the daemon has scripts, both are one step.
        """
        async with self._changing[server.name]:
            if await self.command("stop", server) == 0 and self.network is None:
                self.chronicle.write(DEMO, f"ends {server.name}'s web server, which nobody uses any more")
                await self._programs.end(self._web[server.name])

    async def kill(self, server: DemoServer) -> None:
        """Kill a server's daemon and web server, as a power cut would."""
        self.chronicle.write(DEMO, f"kill -9 {server.name}: web server and daemon", grave=True)
        ends = [self._programs.end(self._daemons[server.name], signal.SIGKILL)]
        if self.network is None:
            ends.append(self._programs.end(self._web[server.name], signal.SIGKILL))
        else:
            ends.append(self.network.power_off(server.name))
        await asyncio.gather(*ends)

    async def kill_daemon(self, server: DemoServer) -> None:
        """Kill only a server's daemon; its web server runs on."""
        self.chronicle.write(DEMO, f"kill -9 {server.name}: daemon", grave=True)
        await self._programs.end(self._daemons[server.name], signal.SIGKILL)

    async def freeze(self, server: DemoServer) -> None:
        """Freeze a server's daemon, as if the machine were out of memory or paused."""
        self.chronicle.write(DEMO, f"kill -STOP {server.name}: daemon", grave=True)
        self._daemons[server.name].send(signal.SIGSTOP)

    async def hang(self, server: DemoServer) -> None:
        """Let a server's web server hang: it accepts connections and answers none. Does nothing on loopback."""
        if self.network is not None and self.network.is_on(server.name):
            self.chronicle.write(DEMO, f"kill -STOP {server.name}: the workers of its web server", grave=True)
            await self._programs.run(
                "hang",
                [*self.network.on_machine(server.name), str(self.plan.home(server) / HANG)],
                on_line=lambda line: self.chronicle.write(DEMO, line),
                stands_for_child=True,
            )

    async def cut(self, server: DemoServer) -> None:
        """Cut a server's link. Does nothing on loopback."""
        if self.network is not None:
            self.chronicle.write(DEMO, f"cuts {server.name}'s link", grave=True)
            await self.network.cut(server.name)

    async def change_power(self, server: DemoServer) -> None:
        """Set a server's power to the next one of `POWERS`."""
        node = self._own_status(server)
        if node is not None:
            power = next((power for power in POWERS if power > node.power), POWERS[0])
            await self.command("power", server, str(power))

    async def bring_back(self, server: DemoServer) -> None:
        """Undo what was done to a server, start what does not run, and let it serve."""
        async with self._changing[server.name]:
            if self.network is not None:
                await self.network.join(server.name)
                if not self.network.is_on(server.name):
                    await self.network.switch_on(server.name)
            elif not self._web[server.name].running:
                self.chronicle.write(DEMO, f"starts {server.name}'s web server")
                self._start_web(server)
            self._daemons[server.name].send(signal.SIGCONT)
            daemon = self._daemons[server.name]
            if not daemon.running:
                self.chronicle.write(DEMO, f"$ hcsidecar run --node {server.name}")
                self.watch.documents[server.name] = None
                daemon = self._start_daemon(server)
            await until(lambda: self._own_status(server) is not None or not daemon.running, limit=UP_WITHIN)
            node = self._own_status(server)
            # The daemon remembers the operator's last word, and starts the application unless that was `stop`.
            if node is not None and (node.role == STOPPED or node.draining):
                await self.command("start", server)

    async def command(self, name: str, server: DemoServer, *more: str) -> int:
        """Give a server's daemon a command with the command line, and return the exit status."""
        self.chronicle.write(DEMO, f"$ {' '.join(['hcsidecar', name, *more])} --node {server.name}")
        return await self._programs.run(
            name,
            [*_hcsidecar(name), *more, "--config", str(self.plan.farm_file(server)), "--node", server.name],
            on_line=lambda line: self.chronicle.write(DEMO, line),
        )

    def _start_web(self, server: DemoServer) -> None:
        # If the demo is killed, only the master gets the signal. With SIGTERM it ends its workers too.
        self._web[server.name] = self._programs.start(
            f"{server.name}'s web server", self._web_server.command(self.plan, server), end_signal=signal.SIGTERM
        )

    def _start_daemon(self, server: DemoServer) -> DemoProgram:
        arguments = [*_hcsidecar("run"), "--config", str(self.plan.farm_file(server)), "--node", server.name]
        machine = self.network.on_machine(server.name) if self.network is not None else []
        daemon = self._programs.start(
            f"{server.name}'s daemon",
            [*machine, *arguments, "--log-json"],
            on_line=lambda line: self.chronicle.take_daemon_line(server.name, line),
            stands_for_child=bool(machine),
        )
        self._daemons[server.name] = daemon
        return daemon

    def _start_balancer(self) -> None:
        plan = self.plan
        front, stats = (plan.balancer, plan.front_port), (plan.balancer, plan.stats_port)
        with ExitStack() as ours:
            binds, listeners = [f"{host}:{port}" for host, port in (front, stats)], []
            if self.network is not None:
                # Clients are on this machine's loopback, but the servers are not. So HAProxy runs where it reaches the
                # servers, and gets its listeners from here.
                listeners = [ours.enter_context(socket.create_server(address)).fileno() for address in (front, stats)]
                binds = [f"fd@{listener}" for listener in listeners]
            plan.balancer_config.write_text(haproxy_config(plan, front=binds[0], stats=binds[1]))
            arguments = [self._tools[HAPROXY], "-db", "-f", str(plan.balancer_config)]
            inside = self.network.inside(BALANCER) if self.network is not None else []
            self._programs.start("haproxy", [*inside, *arguments], pass_fds=listeners)

    def _take_request(self, line: str, record: RequestLog) -> None:
        try:
            record.add(read_json(line, Request))
        except JsonError:
            self.chronicle.write(DEMO, line, grave=True)

    def _documents(self) -> Mapping[str, FarmStatus | None]:
        """Return the farm's status of each running daemon."""
        return {name: self.watch.documents[name] for name, daemon in self._daemons.items() if daemon.running}

    def _own_status(self, server: DemoServer) -> NodeStatus | None:
        document = self.watch.documents[server.name]
        return document.of(server.name) if document is not None else None

    def _why_not_all_up(self) -> str | None:
        states = {name: target.state for name, target in self.watch.targets.items()}
        down = [f"{server.name} is {states.get(server.name, 'unknown')}" for server in self.plan.servers]
        return None if all(state.endswith(" UP") for state in down) else ", ".join(down)

    async def _wait_until(self, what: str, why_not: Callable[[], str | None]) -> None:
        took = await until(lambda: bool(self._programs.fallen) or why_not() is None, limit=UP_WITHIN)
        for program in self._programs.fallen:
            words = program.last_words()
            raise DemoError(f"{program.name} has ended with status {program.status}; its last words:\n{words}")
        if took is None:
            raise DemoError(f"the servers do not {what} within {UP_WITHIN:g} s: {why_not()}")


def _hcsidecar(command: str) -> list[str]:
    return [sys.executable, "-m", "hcsidecar", command]
