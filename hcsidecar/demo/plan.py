"""Where everything of the demo is: addresses and ports, paths below one temporary directory, and timing.

There are two plans. In the one, servers and balancer have addresses and ports of their own on loopback. In the other
(`bridged`) every server is in a network namespace, on a bridge with the clients and the balancer, and all share a
virtual IP; only the balancer's two listeners stay on loopback, for a browser.
"""

from dataclasses import dataclass
from pathlib import Path

from hcsidecar.core.farmfile.settings import PRESETS

FARM = "demo"
START, STOP, HANG = "bin/start_web", "bin/stop_web", "bin/hang_web"
"Scripts in a server's directory, on the bridge: two for its daemon, and one that makes the web server hang."
NETWORK = "127.77"
"On loopback; the plan's number follows."
BRIDGE_NETWORK = "198.51.100"
"Of the servers, their clients and the virtual IP on the bridge: addresses for examples (RFC 5737), nobody's own."
PREFIX_LENGTH = 24
CLIENT_ADDRESSES = 24
"Addresses that ask through the virtual IP: so many that every server has some of them, however the hash falls."
SHARE = "WEB"
"Name of the share group."
BALANCER = "balancer"
"Name of HAProxy's namespace."
CLIENTS = "clients"
"Name of the clients' namespace."
NAMES = ("web1", "web2", "web3")
CANDIDATES = 32
"Plans that are tried before giving up; each has addresses and ports of its own."
_SHIFT = 100
"Between the ports of two plans: a service on every address of the machine (0.0.0.0) blocks one plan only."

PULSE = PRESETS["lan"].pulse
LOST_AFTER = PRESETS["lan"].lost_after
CHECK_INTERVAL = 0.5
"Seconds between two checks of a web server by its own daemon."
CHECK_TIMEOUT = 1.0
"Seconds after which a check without an answer has failed."
DRAIN = 2.0
"Seconds that a server which stops leaves, on the bridge, to those who keep a connection to it."
STOP_PATIENCE = 2.0
"Seconds that the stop script waits until the web server has ended, on the bridge; then it is called with force."
PROBE_INTERVAL = 0.5
"Seconds between two probes of a health URL by HAProxy."
PROBE_FALL = 2
"Failed probes in a row after which HAProxy takes a server as dead."
PROBE_RISE = 2
"Good probes in a row after which HAProxy takes a dead server as alive."


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoServer:
    """One of the three: its name, and the address that its daemon and, but for a virtual IP, its web server have."""

    name: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoHost:
    """A namespace at the bridge."""

    name: str
    addresses: tuple[str, ...]
    "With the length of their prefix."
    is_machine: bool = False
    "It has processes of its own, and can be switched off."


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A farm with its balancer, and in namespaces its clients too."""

    directory: Path
    "The temporary directory that holds everything."
    number: int
    "Third octet of the addresses on loopback."
    bridged: bool = False
    "Servers, clients and balancer are in network namespaces, on a bridge."

    @property
    def servers(self) -> tuple[DemoServer, ...]:
        """The servers, in order."""
        network = BRIDGE_NETWORK if self.bridged else f"{NETWORK}.{self.number}"
        return tuple(DemoServer(name=name, address=f"{network}.{11 + index}") for index, name in enumerate(NAMES))

    @property
    def vip(self) -> str | None:
        """The virtual IP, None on loopback."""
        return f"{BRIDGE_NETWORK}.50" if self.bridged else None

    @property
    def clients(self) -> tuple[str, ...]:
        """The addresses that ask through the virtual IP."""
        return tuple(f"{BRIDGE_NETWORK}.{101 + index}" for index in range(CLIENT_ADDRESSES)) if self.bridged else ()

    @property
    def hosts(self) -> tuple[DemoHost, ...]:
        """What stands at the bridge; on loopback there is none."""
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
        """TCP port of HAProxy's own page."""
        return 8404 + _SHIFT * self.number

    @property
    def _shift(self) -> int:
        return 0 if self.bridged else _SHIFT * self.number

    @property
    def tcp(self) -> tuple[tuple[str, int], ...]:
        """Every TCP address of this machine that something will listen on; those in namespaces are not its own."""
        own = ((self.balancer, self.front_port), (self.balancer, self.stats_port))
        if self.bridged:
            return own
        return own + tuple(
            (server.address, port) for server in self.servers for port in (self.web_port, self.health_port)
        )

    @property
    def udp(self) -> tuple[tuple[str, int], ...]:
        """Every UDP address of this machine that something will listen on."""
        return () if self.bridged else tuple((server.address, self.heartbeat_port) for server in self.servers)

    @property
    def front_url(self) -> str:
        """What a client of HAProxy asks for."""
        return f"http://{self.balancer}:{self.front_port}/"

    @property
    def stats_url(self) -> str:
        """HAProxy's own page."""
        return f"http://{self.balancer}:{self.stats_port}/"

    def health_url(self, server: DemoServer) -> str:
        """Give what HAProxy asks a server's daemon."""
        return f"http://{server.address}:{self.health_port}/health"

    def home(self, server: DemoServer) -> Path:
        """Give the directory that stands for a server's own disk."""
        return self.directory / server.name

    def farm_file(self, server: DemoServer) -> Path:
        """Give the server's copy of the farm file."""
        return self.home(server) / "farm.toml"

    def web_config(self, server: DemoServer) -> Path:
        """Give the configuration of the server's web server."""
        return self.home(server) / "web.conf"

    def pid_file(self, server: DemoServer) -> Path:
        """Give where the server's web server writes down the number of its master."""
        return self.home(server) / "web.pid"

    def group_file(self, server: DemoServer) -> Path:
        """Give where the start script writes down the number of the process group of a server's web server."""
        return self.home(server) / "web.group"

    @property
    def state_dir(self) -> Path:
        """Where the daemons keep their state and their sockets."""
        return self.directory / "state"

    def control_socket(self, server: DemoServer) -> Path:
        """Give the socket on which a server's daemon listens to this machine."""
        return self.state_dir / FARM / server.name / "control.sock"

    @property
    def balancer_config(self) -> Path:
        """HAProxy's configuration."""
        return self.directory / "haproxy.cfg"

    @property
    def stats_socket(self) -> Path:
        """Where HAProxy answers questions about its servers."""
        return self.directory / "haproxy.sock"

    @property
    def log_socket(self) -> Path:
        """Where HAProxy sends its log."""
        return self.directory / "haproxy.log"
