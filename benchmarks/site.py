"""A switch with servers and a client on it, each in a network namespace; a web server on every server.

What happens here happens to real packets on a Linux bridge: a server can be cut off, killed, and brought back.
"""

import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

from pyroute2 import IPRoute

from benchmarks import processes
from benchmarks.figures import CannotMeasureError
from benchmarks.wire import Namespace, Switch, namespaces

VIP: Final = IPv4Address("203.0.113.50")
PORT: Final = 80
CLIENTS: Final = tuple(str(IPv4Address("203.0.113.128") + number) for number in range(48))
"The client's addresses: each is a client of its own to who shares by address."
_NGINX = """\
user root;
daemon off;
worker_processes {workers};
pid {directory}/{name}.nginx.pid;
error_log {directory}/{name}.nginx.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {directory}/{name}.bodies;
    server {{
        listen 80 default_server backlog=4096 reuseport;
        location / {{ return 200 "{name}\\n"; }}
        location /files/ {{ root {directory}; dav_methods PUT; }}
    }}
}}
"""


class Site:
    """Servers by name, their addresses and their processes. A server's processes all end when it is cut."""

    def __init__(
        self,
        directory: Path,
        switch: Switch,
        client: Namespace,
        servers: dict[str, Namespace],
        *,
        web_core: int | None,
    ) -> None:
        self.directory = directory
        self.client = client
        self.servers = servers
        self.addresses = {name: f"203.0.113.{number}" for number, name in enumerate(servers, start=11)}
        self._switch = switch
        self._web_core = web_core
        self._processes: dict[str, list[subprocess.Popen[bytes]]] = {name: [] for name in servers}
        for name, server in servers.items():
            switch.plug_in(name, server, self.addresses[name])
        switch.plug_in("client", client, *CLIENTS)
        client.set("ipv4/ip_local_port_range", "1024 65535")

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        """Start a program on a server; it ends with the server."""
        with (self.directory / f"{name}.log").open("ab") as log:
            started = processes.start(*self.servers[name].command(*command), output=log)
        self._processes[name].append(started)
        return started

    def start_web(self, name: str, *, workers: int = 1) -> None:
        """Start a web server that answers with the server's name, and wait until it does."""
        config = self.directory / f"{name}.nginx.conf"
        config.write_text(_NGINX.format(directory=self.directory, name=name, workers=workers))
        held = () if self._web_core is None else ("taskset", "--cpu-list", str(self._web_core))
        self.start(name, *held, "nginx", "-c", str(config))
        self.wait_until(lambda: self.who_serves(CLIENTS[0], self.addresses[name]) == name, what=f"{name} serves")

    def cut(self, name: str) -> float:
        """Pull a server's plug: its cable is dead and its processes killed; give when, in monotonic seconds."""
        with self._switch.namespace.entered(), IPRoute() as netlink:
            (index,) = netlink.link_lookup(ifname=name)
            at = time.monotonic()
            netlink.link("set", index=index, state="down")
        self._end(name, signal.SIGKILL)
        return at

    def mend(self, name: str) -> None:
        """Have a server's cable carry frames again."""
        self._switch.namespace.ip("link", "set", name, "up")

    def stop(self) -> None:
        """End all processes. Safe to repeat."""
        for name in self.servers:
            self._end(name, signal.SIGTERM)

    def who_serves(self, client: str, address: str = str(VIP), *, patience: float = 1.0) -> str | None:
        """Ask a web server from one of the client's addresses; give the name that it answers with."""
        with self.client.entered(), suppress(OSError), socket.socket() as connection:
            connection.settimeout(patience)
            connection.bind((client, 0))
            connection.connect((address, PORT))
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = b""
            while chunk := connection.recv(4096):
                answer += chunk
            return answer.rpartition(b"\r\n\r\n")[2].decode().strip()
        return None

    def share_out(self) -> dict[str, tuple[str, ...]]:
        """Say which of the client's addresses each server serves by the VIP; "" has those that are not served."""
        found: dict[str, list[str]] = {}
        for client in CLIENTS:
            found.setdefault(self.who_serves(client, patience=0.2) or "", []).append(client)
        return {name: tuple(clients) for name, clients in found.items()}

    def wait_until(self, condition: Callable[[], bool], *, what: str, limit: float = 30.0) -> None:
        """Look until something is true; CannotMeasureError says what never was."""
        until = time.monotonic() + limit
        while not condition():
            if time.monotonic() > until:
                raise CannotMeasureError(f"within {limit:g} s it did not happen that {what}; {self._last_words()}")
            time.sleep(0.05)

    def _end(self, name: str, number: signal.Signals) -> None:
        # All of them first: what outlives another may say goodbye for it.
        for process in self._processes[name]:
            processes.tell(process, number)
        while self._processes[name]:
            processes.end(self._processes[name].pop(), number)

    def _last_words(self) -> str:
        said = []
        for name in self.servers:
            log = self.directory / f"{name}.log"
            lines = log.read_text().splitlines() if log.exists() else []
            said.append(f"{name} said last: {lines[-1] if lines else 'nothing'}")
        return "; ".join(said)


@contextmanager
def site(*servers: str, web_core: int | None = None) -> Iterator[Site]:
    """Put up a site whose servers are plugged in and run nothing yet; remove it all at the end.

    `web_core` is the core on which all web servers run, if they shall run on one.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hcsidecar-bench-")))
        switch, client, *others = stack.enter_context(namespaces("switch", "client", *servers))
        made = Site(directory, Switch(switch), client, dict(zip(servers, others, strict=True)), web_core=web_core)
        stack.callback(made.stop)
        yield made
