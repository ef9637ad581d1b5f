"""The tables of the farm file, one model each. The docstring of a key becomes its text in the reference and schema."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from hcsidecar.core.farmfile.values import (
    AbsolutePath,
    CountValue,
    Endpoint,
    HostPort,
    InterfaceName,
    IpAddress,
    NameValue,
    Port,
    PowerValue,
    Seconds,
    SharedAddress,
    Text,
    UrlPath,
    between,
    each_once,
    format_duration,
    microseconds,
    wrong,
)
from hcsidecar.core.membership.heartbeat import MAX_SHARES

PULSES_TO_DEATH = 10
"The fewest pulses in lost_after. At 20 % loss, fewer gave hundreds of false deaths an hour."
SERVED_PATHS = ("/api", "/metrics", "/console")
"The paths that the web listener serves besides the health URL, with everything below them."
DEFAULT_NETWORK = "default"
MAX_VIPS = 64

Endpoints = Annotated[tuple[Endpoint, ...], Field(max_length=64), AfterValidator(each_once)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A timing of the heartbeats, with the reason for its values."""

    pulse: float
    "Seconds from one heartbeat to the next."
    lost_after: float
    "Seconds of silence after which a node is dead."
    reason: str

    def __str__(self) -> str:
        pulse, lost_after = format_duration(self.pulse), format_duration(self.lost_after)
        return f"pulse {pulse}, lost_after {lost_after}, for {self.reason}."


PRESETS: Mapping[str, Preset] = {
    "lan": Preset(
        pulse=0.05,
        lost_after=0.5,
        reason="a switched network: no node is declared dead for a stall of 200 ms, as busy machines have",
    ),
    "fast": Preset(
        pulse=0.02,
        lost_after=0.2,
        reason="idle machines on one switch that allow real-time priority: a stall of 200 ms causes a takeover",
    ),
    "wan": Preset(
        pulse=1.0,
        lost_after=10.0,
        reason="distant sites, or machines that are paused for backups: packets are lost for seconds at a time",
    ),
}


class Table(BaseModel):
    """A table of the file: frozen, and without unknown keys.

    The docstring below a key describes it. `reference.py` reads it from the source when it is needed; pydantic would do
    so at every start.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class FarmTable(Table):
    """The farm as a whole."""

    name: NameValue = Field(examples=["apache"])
    "Name of the farm and of its application; part of paths and of the health URL."
    key_file: Text = "farm.key"
    """File with the secrets of the farm, made by `hcsidecar init`; relative to this file, the same on every node, with
    mode 0600."""
    state_dir: AbsolutePath | None = Field(default=None, examples=["/var/lib/hcsidecar"])
    """Directory for state that survives a restart; a node uses FARM/NODE in it. Default: /var/lib/hcsidecar, or a
    directory of the user if the daemon does not run as root."""
    partition: Literal["serve", "majority"] = "serve"
    """Which nodes serve when a network failure splits the farm. Serve: those of every part. Majority: only those of a
    part with more than half of all nodes."""
    keep_ready: int = Field(default=1, strict=True, ge=0)
    "`drain` refuses if fewer nodes than this would stay Ready; `stop` and `leave` only warn."
    last_stays: bool = Field(default=False, strict=True)
    "If every node would go to WAIT for the same reason, the last one stays UP."


def _address_or_addresses(schema: dict[str, Any]) -> None:
    """Describe `address`, the short form of `addresses`, which the model does not know as a key of its own."""
    address = {
        "type": "string",
        "description": "IP address of the node, for heartbeats and the API; the daemon finds its own node by it.",
        "examples": ["192.0.2.11"],
    }
    properties = schema["properties"]
    schema["properties"] = {"name": properties.pop("name"), "address": address} | properties
    schema["required"] = ["name"]
    schema["oneOf"] = [{"required": ["address"]}, {"required": ["addresses"]}]


class NodeTable(Table):
    """One server of the farm."""

    model_config = ConfigDict(json_schema_extra=_address_or_addresses)

    name: NameValue = Field(examples=["web1"])
    "Name of the node."
    addresses: Mapping[NameValue, IpAddress] = Field(
        min_length=1, max_length=16, examples=[{DEFAULT_NETWORK: "192.0.2.11", "backup": "198.51.100.11"}]
    )
    """Instead of `address`: one address on each of several networks, the main network first. A node that is heard on
    any of them is alive."""
    power: PowerValue = 1
    """Weight of the node in the shares, relative to the other nodes. A node with power 0 takes no share, nor does one
    with a 64th of the power of another node, or less."""
    listen: Endpoints | None = Field(default=None, min_length=1, examples=[["192.0.2.11:9010"]])
    "Instead of [web] listen, for this node only. This lets several nodes run on one machine."

    @property
    def address(self) -> str:
        """The main address: that of the first network."""
        return next(iter(self.addresses.values()))

    @model_validator(mode="before")
    @classmethod
    def _normalise(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "address" not in data:
            return data
        if "addresses" in data:
            raise wrong("stands beside `address`", "one of the two", at="addresses")
        rest = {key: value for key, value in data.items() if key != "address"}
        return rest | {"addresses": {DEFAULT_NETWORK: data["address"]}}


class HeartbeatTable(Table):
    """Heartbeats between the nodes."""

    port: Port = 4803
    "UDP port of the heartbeats, the same on every node."
    preset: Literal["lan", "fast", "wan"] = Field(
        default="lan",
        description="Timing. " + " ".join(f"{name}: {preset}" for name, preset in PRESETS.items()),
    )
    pulse: Annotated[Seconds, AfterValidator(between("1ms", "1m"))] = PRESETS["lan"].pulse
    "Time from one heartbeat to the next. It overrides that of the preset."
    lost_after: Annotated[Seconds, AfterValidator(between("10ms", "1h"))] = PRESETS["lan"].lost_after
    "Silence after which a node is dead, at least 10 pulses. It overrides that of the preset."
    realtime: bool = Field(default=True, strict=True)
    "Try to send heartbeats at real-time priority, so that a busy machine does not look dead."

    @model_validator(mode="before")
    @classmethod
    def _fill_in_the_preset(cls, data: Any) -> Any:
        name = data.get("preset", "lan") if isinstance(data, dict) else None
        if not isinstance(name, str) or name not in PRESETS:
            return data
        preset = PRESETS[name]
        return {"pulse": format_duration(preset.pulse), "lost_after": format_duration(preset.lost_after)} | data

    @model_validator(mode="after")
    def _survive_lost_heartbeats(self) -> Self:
        least = PULSES_TO_DEATH * microseconds(self.pulse)
        if microseconds(self.lost_after) < least:
            raise wrong(
                f"is {format_duration(self.lost_after)}: less than {PULSES_TO_DEATH} pulses"
                f" of {format_duration(self.pulse)}, so a few lost heartbeats would look like a death",
                f"at least {format_duration(least / 1_000_000)}, or a shorter pulse",
                at="lost_after",
            )
        return self


class TlsTable(Table):
    """The certificate of a listener."""

    cert: Text = Field(examples=["tls/farm.crt"])
    "PEM file with the certificate and its chain; relative to this file."
    key: Text = Field(examples=["tls/farm.key"])
    "PEM file with the private key; relative to this file."


class WebTable(Table):
    """The listener for the health URL and the API."""

    listen: Endpoints = Field(default=(HostPort("0.0.0.0", 9010),), min_length=1)
    "Addresses and TCP ports to listen on."
    tls: TlsTable | None = None
    "Use TLS on the web listener, with this certificate and key."


class HealthTable(Table):
    """What load balancers ask for."""

    path: UrlPath = "/health"
    """Path of the health URL, which answers 200 if the node may get traffic, else 404. /var/modules/FARM/ready.txt
    always answers too."""
    listen: Endpoints = Field(default=(), examples=[["0.0.0.0:9080"]])
    "Further addresses and TCP ports, which serve only the health URL. The web listener always serves it."
    tls: TlsTable | None = None
    "Use TLS on the listeners of [health], with this certificate and key."
    agent_check: Endpoint | None = Field(default=None, examples=["0.0.0.0:9011"])
    "Address and TCP port for HAProxy's agent-check."
    lame_duck: Annotated[Seconds, AfterValidator(between("0s", "1h"))] = 10.0
    "Time limit for a drain: how long the node answers 404 and still serves, before it stops."
    prober_fall: CountValue = 3
    """Number of 404 answers in a row after which a prober is taken to know that the node drains. For HAProxy's
    agent-check, one answer is enough."""

    @model_validator(mode="after")
    def _certify_a_listener(self) -> Self:
        if self.tls is not None and not self.listen:
            raise wrong("needs `listen` in [health]", "set `listen` in [health], or `tls` in [web]", at="tls")
        return self

    @model_validator(mode="after")
    def _keep_to_a_path_of_its_own(self) -> Self:
        if self.path == "/" or any(self.path == taken or self.path.startswith(f"{taken}/") for taken in SERVED_PATHS):
            raise wrong(f"is used for something else: {self.path}", 'for example "/health"', at="path")
        return self


class LogTable(Table):
    """The events that a node keeps on its disk for `hcsidecar logs`. They survive restarts of the daemon."""

    keep: Annotated[Seconds, AfterValidator(between("1h", "3650d"))] = 2_592_000.0
    "How long events are kept."
    most: Annotated[int, Field(strict=True, ge=1000, le=1_000_000)] = 100_000
    "Maximum number of events; the oldest are removed first. 100,000 events take about 15 MB."


class VipTable(Table):
    """A virtual IP address of the farm."""

    address: SharedAddress = Field(examples=["192.0.2.50"])
    "Address of the VIP, which no node may have as its own. Every node needs an address of the same family."


class ShareTable(Table):
    """Traffic that the nodes divide among themselves."""

    name: NameValue = Field(examples=["APACHE"])
    "Name of the share in the log and in `status`."
    protocol: Literal["tcp", "udp"] = "tcp"
    "Protocol of the traffic."
    ports: Annotated[
        tuple[Port, ...], Field(min_length=1, max_length=256, examples=[[80, 443]]), AfterValidator(each_once)
    ]
    "Destination ports of the traffic."
    vip: SharedAddress | None = Field(default=None, examples=["192.0.2.50"])
    "The VIP of the traffic. Default: all VIPs."
    by: Literal["address", "port", "datagram"] = "address"
    """What decides which node serves a client. Address: the client's address. Port: its address and port. Datagram:
    each datagram is decided by itself (udp only)."""
    power: Mapping[NameValue, PowerValue] = Field(default={}, examples=[{"web1": 2}])
    "Power of some nodes in this share. It overrides the power in [[node]]."

    @model_validator(mode="after")
    def _keep_connections_together(self) -> Self:
        if self.by == "datagram" and self.protocol != "udp":
            raise wrong("is for udp only", "datagrams of one tcp connection must meet the same node", at="by")
        return self


class L2Table(Table):
    """Layer-2 mode: a virtual IP address on one network, without a load balancer."""

    interface: InterfaceName | None = Field(default=None, examples=["eth0"])
    "Network interface of the VIPs. Default: the interface with the node's main address."
    delivery: Literal["directed", "flooded"] = "directed"
    """Directed: one node answers for a VIP and forwards the packets that belong to other nodes. Flooded: the switch
    sends every packet to all nodes."""
    filter: Literal["auto", "xdp", "tc", "nfqueue"] = "auto"
    "Where packets are filtered. Auto uses tc if it works, else xdp, else nfqueue. Xdp withstands floods best."
    unmatched: Literal["drop", "director"] = "drop"
    "What happens to traffic to a VIP that belongs to no share. Director: the node that answers for the VIP takes it."
    vip: tuple[VipTable, ...] = Field(min_length=1, max_length=MAX_VIPS)
    "The virtual IP addresses."
    share: tuple[ShareTable, ...] = Field(min_length=1, max_length=MAX_SHARES)
    "The shares: traffic that the nodes divide among themselves."
