"""Where everything of the demo is: addresses and ports on loopback, paths below one temporary directory, and timing."""

from dataclasses import dataclass
from pathlib import Path

from hcsidecar.core.settings import PRESETS

FARM = "demo"
NETWORK = "127.77"
NAMES = ("web1", "web2", "web3")
CANDIDATES = 32
"Plans that are tried before giving up; each has addresses and ports of its own."
_SHIFT = 100
"Between the ports of two plans: a service on every address of the machine (0.0.0.0) blocks one plan only."

PULSE = PRESETS["lan"].pulse
LOST_AFTER = PRESETS["lan"].lost_after
CHECK_INTERVAL = 0.5
"Seconds between two checks of a web server by its own daemon."
PROBE_INTERVAL = 0.5
"Seconds between two probes of a health URL by HAProxy."
PROBE_FALL = 2
"Failed probes in a row after which HAProxy takes a server as dead."
PROBE_RISE = 2
"Good probes in a row after which HAProxy takes a dead server as alive."


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One of the three: its name, and the address that its web server and its daemon have to themselves."""

    name: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A farm with its balancer on loopback."""

    directory: Path
    "The temporary directory that holds everything."
    number: int
    "Third octet of the addresses."

    @property
    def servers(self) -> tuple[Server, ...]:
        """The servers, in order."""
        return tuple(
            Server(name=name, address=f"{NETWORK}.{self.number}.{11 + index}") for index, name in enumerate(NAMES)
        )

    @property
    def balancer(self) -> str:
        """HAProxy's address."""
        return f"{NETWORK}.{self.number}.10"

    @property
    def heartbeat_port(self) -> int:
        """UDP port of the heartbeats."""
        return 4803 + _SHIFT * self.number

    @property
    def web_port(self) -> int:
        """TCP port of the web servers, and of HAProxy for clients."""
        return 8080 + _SHIFT * self.number

    @property
    def health_port(self) -> int:
        """TCP port of the daemons: health URL and API."""
        return 9010 + _SHIFT * self.number

    @property
    def stats_port(self) -> int:
        """TCP port of HAProxy's own page."""
        return 8404 + _SHIFT * self.number

    @property
    def tcp(self) -> tuple[tuple[str, int], ...]:
        """Every TCP address that something will listen on."""
        own = ((self.balancer, self.web_port), (self.balancer, self.stats_port))
        return own + tuple(
            (server.address, port) for server in self.servers for port in (self.web_port, self.health_port)
        )

    @property
    def udp(self) -> tuple[tuple[str, int], ...]:
        """Every UDP address that something will listen on."""
        return tuple((server.address, self.heartbeat_port) for server in self.servers)

    @property
    def front_url(self) -> str:
        """What a client asks for."""
        return f"http://{self.balancer}:{self.web_port}/"

    @property
    def stats_url(self) -> str:
        """HAProxy's own page."""
        return f"http://{self.balancer}:{self.stats_port}/"

    def health_url(self, server: Server) -> str:
        """Give what HAProxy asks a server's daemon."""
        return f"http://{server.address}:{self.health_port}/health"

    def home(self, server: Server) -> Path:
        """Give the directory that stands for a server's own disk."""
        return self.directory / server.name

    def farm_file(self, server: Server) -> Path:
        """Give the server's copy of the farm file."""
        return self.home(server) / "farm.toml"

    def web_config(self, server: Server) -> Path:
        """Give the configuration of the server's web server."""
        return self.home(server) / "web.conf"

    @property
    def state_dir(self) -> Path:
        """Where the daemons keep their state and their sockets."""
        return self.directory / "state"

    def control_socket(self, server: Server) -> Path:
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
