"""The demo's addresses and ports, its paths below one temporary directory, and its timing.

There are two kinds of plan. In one, servers and balancer have their own addresses and ports on loopback. In the other
(`bridged`), every server is in a network namespace, on a bridge with the clients and the balancer, and they share a
virtual IP; only the two listeners of the balancer stay on loopback, for a browser.
"""

from dataclasses import dataclass
from pathlib import Path

from hcsidecar.core.farmfile.farm_file import PRESETS

FARM = "demo"
START, STOP, HANG = "bin/start_web", "bin/stop_web", "bin/hang_web"
"On the bridge: the scripts in a server's directory. Two are for its daemon, and one makes the web server hang."
NETWORK = "127.77"
"The first two octets of addresses on loopback; the plan's number is the third."
BRIDGE_NETWORK = "198.51.100"
"The network of servers, clients and virtual IP on the bridge; it is reserved for documentation (RFC 5737)."
PREFIX_LENGTH = 24
CLIENT_ADDRESSES = 24
"Number of client addresses of the virtual IP: enough for every server to get some, whatever the hash seed."
SHARE = "WEB"
"The name of the share group."
BALANCER = "balancer"
"The name of HAProxy's namespace."
CLIENTS = "clients"
"The name of the clients' namespace."
NAMES = ("web1", "web2", "web3")
CANDIDATES = 32
"Number of plans to try before giving up; each has its own addresses and ports."
_SHIFT = 100
"The distance between the ports of two plans, so that a service on 0.0.0.0 blocks only one plan."

PULSE = PRESETS["lan"].pulse
LOST_AFTER = PRESETS["lan"].lost_after
CHECK_INTERVAL = 0.5
"Seconds between two checks of a web server by its own daemon."
CHECK_TIMEOUT = 1.0
"Seconds after which a check without an answer has failed."
DRAIN = 2.0
"On the bridge: seconds that a server which stops leaves to clients with a kept connection."
STOP_PATIENCE = 2.0
"On the bridge: seconds that the stop script waits for the web server's end; then it is called with force."
PROBE_INTERVAL = 0.5
"Seconds between two probes of a health URL by HAProxy."
PROBE_FALL = 2
"Failed probes in a row after which HAProxy considers a server dead."
PROBE_RISE = 2
"Good probes in a row after which HAProxy considers a dead server alive."


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoServer:
    """One of the three servers: its name, and the address of its daemon and, without a virtual IP, its web server."""

    name: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoHost:
    """A namespace on the bridge."""

    name: str
    addresses: tuple[str, ...]
    "The addresses with their prefix length."
    is_machine: bool = False
    "Whether it has its own processes, and can be switched off."


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A farm with its balancer and, in namespaces, its clients."""

    directory: Path
    "The temporary directory for all files."
    number: int
    "The third octet of the addresses on loopback."
    bridged: bool = False
    "Whether servers, clients and balancer are in network namespaces on a bridge."

    @property
    def servers(self) -> tuple[DemoServer, ...]:
        """The servers, in order."""
        network = BRIDGE_NETWORK if self.bridged else f"{NETWORK}.{self.number}"
        return tuple(DemoServer(name=name, address=f"{network}.{11 + index}") for index, name in enumerate(NAMES))

    @property
    def vip(self) -> str | None:
        """The virtual IP; None on loopback."""
        return f"{BRIDGE_NETWORK}.50" if self.bridged else None

    @property
    def clients(self) -> tuple[str, ...]:
        """The addresses of the virtual IP's clients."""
        return tuple(f"{BRIDGE_NETWORK}.{101 + index}" for index in range(CLIENT_ADDRESSES)) if self.bridged else ()

    @property
    def hosts(self) -> tuple[DemoHost, ...]:
        """The hosts on the bridge; none on loopback."""
        if not self.bridged:
            return ()
        addresses: dict[str, tuple[str, ...]] = {server.name: (server.address,) for server in self.servers}
        addresses |= {BALANCER: (f"{BRIDGE_NETWORK}.10",), CLIENTS: self.clients}
        return tuple(
            DemoHost(
                name=name, addresses=tuple(f"{address}/{PREFIX_LENGTH}" for address in own), is_machine=name in NAMES
            )
            for name, own in addresses.items()
        )

    @property
    def balancer(self) -> str:
        """HAProxy's address for clients, always on loopback."""
        return f"{NETWORK}.{self.number}.10"

    @property
    def heartbeat_port(self) -> int:
        """UDP port of the heartbeats."""
        return 4803 + self._shift

    @property
    def web_port(self) -> int:
        """TCP port of the web servers."""
        return 80 if self.bridged else self.front_port

    @property
    def health_port(self) -> int:
        """TCP port of the daemons: health URL and API."""
        return 9010 + self._shift

    @property
    def front_port(self) -> int:
        """TCP port of HAProxy for clients."""
        return 8080 + _SHIFT * self.number

    @property
    def stats_port(self) -> int:
        """TCP port of HAProxy's statistics page."""
        return 8404 + _SHIFT * self.number

    def console_port(self, server: DemoServer) -> int:
        """Return the TCP port of the console of a server, on the balancer's address."""
        return 9453 + self.servers.index(server) + _SHIFT * self.number

    def console_url(self, server: DemoServer) -> str:
        """Return the URL of the console of a server."""
        return f"http://{self.balancer}:{self.console_port(server)}"

    def console_socket(self, server: DemoServer) -> Path:
        """Return the path of the socket of a server's daemon for its console."""
        return self.control_socket(server).with_name("console.sock")

    @property
    def _shift(self) -> int:
        return 0 if self.bridged else _SHIFT * self.number

    @property
    def tcp(self) -> tuple[tuple[str, int], ...]:
        """Every TCP address of this machine on which the demo listens, without those in namespaces."""
        consoles = ((self.balancer, self.console_port(server)) for server in self.servers)
        own = ((self.balancer, self.front_port), (self.balancer, self.stats_port), *consoles)
        if self.bridged:
            return own
        return own + tuple(
            (server.address, port) for server in self.servers for port in (self.web_port, self.health_port)
        )

    @property
    def udp(self) -> tuple[tuple[str, int], ...]:
        """Every UDP address of this machine on which the demo listens, without those in namespaces."""
        return () if self.bridged else tuple((server.address, self.heartbeat_port) for server in self.servers)

    @property
    def front_url(self) -> str:
        """The URL that HAProxy's client requests."""
        return f"http://{self.balancer}:{self.front_port}/"

    @property
    def stats_url(self) -> str:
        """The URL of HAProxy's statistics page."""
        return f"http://{self.balancer}:{self.stats_port}/"

    def health_url(self, server: DemoServer) -> str:
        """Return the URL with which HAProxy probes a server's daemon."""
        return f"http://{server.address}:{self.health_port}/health"

    def home(self, server: DemoServer) -> Path:
        """Return the directory that represents a server's own disk."""
        return self.directory / server.name

    def farm_file(self, server: DemoServer) -> Path:
        """Return the path of the server's copy of the farm file."""
        return self.home(server) / "farm.toml"

    def web_config(self, server: DemoServer) -> Path:
        """Return the path of the configuration of the server's web server."""
        return self.home(server) / "web.conf"

    def pid_file(self, server: DemoServer) -> Path:
        """Return the path of the file in which the web server writes the process id of its master."""
        return self.home(server) / "web.pid"

    def group_file(self, server: DemoServer) -> Path:
        """Return the path of the file in which the start script writes the process group of the web server."""
        return self.home(server) / "web.group"

    @property
    def state_dir(self) -> Path:
        """The directory of the daemons' state and sockets."""
        return self.directory / "state"

    def control_socket(self, server: DemoServer) -> Path:
        """Return the path of the control socket of a server's daemon."""
        return self.state_dir / FARM / server.name / "control.sock"

    @property
    def balancer_config(self) -> Path:
        """The path of HAProxy's configuration."""
        return self.directory / "haproxy.cfg"

    @property
    def stats_socket(self) -> Path:
        """The socket of HAProxy's runtime API."""
        return self.directory / "haproxy.sock"

    @property
    def log_socket(self) -> Path:
        """The socket to which HAProxy sends its log."""
        return self.directory / "haproxy.log"
