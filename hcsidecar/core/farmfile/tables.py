"""The tables of the farm file, one model each; a key's docstring is its sentence in the reference and the schema."""

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
"lost_after is at least so many pulses: at 20 % loss, fewer gave hundreds of false deaths an hour."
SERVED_PATHS = ("/api", "/metrics", "/console")
"What the web listener serves beside the health URL, with all that lies below."
DEFAULT_NETWORK = "default"
MAX_VIPS = 64

Endpoints = Annotated[tuple[Endpoint, ...], Field(max_length=64), AfterValidator(each_once)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Timing of the heartbeats, and why these values."""

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
        reason="a switched network: a stall of 200 ms, as busy machines have, kills nobody",
    ),
    "fast": Preset(
        pulse=0.02,
        lost_after=0.2,
        reason="quiet machines on one switch, real-time priority allowed: a stall of 200 ms costs a takeover",
    ),
    "wan": Preset(
        pulse=1.0,
        lost_after=10.0,
        reason="distant sites or machines that are paused for backups: losses come in bursts of seconds",
    ),
}


class Table(BaseModel):
    """A table of the file: frozen, and without keys that nobody knows.

    The text below a key describes it; `core.reference` finds it in the source, since pydantic would at every start.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class FarmTable(Table):
    """The farm as a whole."""

    name: NameValue = Field(examples=["apache"])
    "Name of the farm, and of its module; part of paths and of the health URL."
    key_file: Text = "farm.key"
    "File of the farm's secrets, made by `hcsidecar init`; relative to this file, the same on every node, mode 0600."
    state_dir: AbsolutePath | None = Field(default=None, examples=["/var/lib/hcsidecar"])
    "State that survives a restart, in FARM/NODE below it; unless set, /var/lib/hcsidecar, without root the user's own."
    partition: Literal["serve", "majority"] = "serve"
    "When nodes lose sight of each other: every side serves whom it reaches, or only one with more than half of all."
    keep_ready: int = Field(default=1, strict=True, ge=0)
    "`drain` refuses to leave fewer nodes Ready than this; `stop` and `leave` only warn."
    last_stays: bool = Field(default=False, strict=True)
    "When every node would go to WAIT for the same reason, the last one stays UP instead."


def _address_or_addresses(schema: dict[str, Any]) -> None:
    """Describe `address`, the short form of `addresses`, which the model does not know as a key of its own."""
    address = {
        "type": "string",
        "description": "Its IP address, for heartbeats and the API; by it the node finds itself in this file.",
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
    "Instead of `address`: one on each of several networks, the main one first; a node heard on any of them is alive."
    power: PowerValue = 1
    "Weight of the node in the shares, beside the others'; 0 = takes none, and so does a 64th of another's, or less."
    listen: Endpoints | None = Field(default=None, min_length=1, examples=[["192.0.2.11:9010"]])
    "Instead of [web] listen, for this node; several nodes can so run on one machine."

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
    "Time from one heartbeat to the next, over that of the preset."
    lost_after: Annotated[Seconds, AfterValidator(between("10ms", "1h"))] = PRESETS["lan"].lost_after
    "Silence after which a node is dead, at least 10 pulses; over that of the preset."
    realtime: bool = Field(default=True, strict=True)
    "Try to run the heartbeats at real-time priority, so that a busy machine does not look dead."

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
                f" of {format_duration(self.pulse)}, so that a few lost heartbeats would look like a death",
                f"at least {format_duration(least / 1_000_000)}, or a shorter pulse",
                at="lost_after",
            )
        return self


class TlsTable(Table):
    """Certificate of a listener."""

    cert: Text = Field(examples=["tls/farm.crt"])
    "PEM file of the certificate and its chain; relative to this file."
    key: Text = Field(examples=["tls/farm.key"])
    "PEM file of its private key; relative to this file."


class WebTable(Table):
    """The listener of health URL and API."""

    listen: Endpoints = Field(default=(HostPort("0.0.0.0", 9010),), min_length=1)
    "Addresses and TCP ports to listen on."
    tls: TlsTable | None = None
    "Speak TLS on it: certificate and key."


class HealthTable(Table):
    """What load balancers ask."""

    path: UrlPath = "/health"
    "Path of the health URL: 200 when the node may get traffic, else 404; also always /var/modules/FARM/ready.txt."
    listen: Endpoints = Field(default=(), examples=[["0.0.0.0:9080"]])
    "Addresses and TCP ports that answer the health URL only; it is on the web listener in any case."
    tls: TlsTable | None = None
    "Speak TLS on the listener of its own: certificate and key."
    agent_check: Endpoint | None = Field(default=None, examples=["0.0.0.0:9011"])
    "Address and TCP port for HAProxy's agent-check."
    lame_duck: Annotated[Seconds, AfterValidator(between("0s", "1h"))] = 10.0
    "Limit of a drain: how long the node serves on while it answers 404, before it stops."
    prober_fall: CountValue = 3
    "A prober has understood after so many answers of 404 in a row; HAProxy's agent-check after one."

    @model_validator(mode="after")
    def _certify_a_listener(self) -> Self:
        if self.tls is not None and not self.listen:
            raise wrong("has no listener of its own to serve", "set `listen` in [health], or `tls` in [web]", at="tls")
        return self

    @model_validator(mode="after")
    def _keep_to_a_path_of_its_own(self) -> Self:
        if self.path == "/" or any(self.path == taken or self.path.startswith(f"{taken}/") for taken in SERVED_PATHS):
            raise wrong(f"belongs to something else: {self.path}", 'for example "/health"', at="path")
        return self


class LogTable(Table):
    """The events that a node keeps on its disk, for `hcsidecar logs`, beyond restarts of its daemon."""

    keep: Annotated[Seconds, AfterValidator(between("1h", "3650d"))] = 2_592_000.0
    "For how long."
    most: Annotated[int, Field(strict=True, ge=1000, le=1_000_000)] = 100_000
    "How many at most, the oldest go first; 100,000 take some 15 MB."


class VipTable(Table):
    """A virtual IP address, shared by the nodes."""

    address: SharedAddress = Field(examples=["192.0.2.50"])
    "The address, no node's own; every node needs an address of its family."


class ShareTable(Table):
    """Traffic that the nodes share out among themselves."""

    name: NameValue = Field(examples=["APACHE"])
    "Name of the share, in the log and the status."
    protocol: Literal["tcp", "udp"] = "tcp"
    "Protocol of the traffic."
    ports: Annotated[
        tuple[Port, ...], Field(min_length=1, max_length=256, examples=[[80, 443]]), AfterValidator(each_once)
    ]
    "Its destination ports."
    vip: SharedAddress | None = Field(default=None, examples=["192.0.2.50"])
    "The one VIP that it is for; all of them unless set."
    by: Literal["address", "port", "datagram"] = "address"
    "What decides who serves: the client's address, its address and port, or each datagram by itself (udp only)."
    power: Mapping[NameValue, PowerValue] = Field(default={}, examples=[{"web1": 2}])
    "Weight by node in this share, over the node's own."

    @model_validator(mode="after")
    def _keep_connections_together(self) -> Self:
        if self.by == "datagram" and self.protocol != "udp":
            raise wrong("is for udp only", "datagrams of one tcp connection must meet the same node", at="by")
        return self


class L2Table(Table):
    """Layer-2 mode: a virtual IP address on one network, without a load balancer."""

    interface: InterfaceName | None = Field(default=None, examples=["eth0"])
    "Network interface of the VIPs; the one that holds the node's main address unless set."
    delivery: Literal["directed", "flooded"] = "directed"
    "One node answers for a VIP and sends on what belongs to others, or the switch floods and every node sees all."
    filter: Literal["auto", "xdp", "tc", "nfqueue"] = "auto"
    "Where packets are filtered; auto takes tc if it works, else xdp, else nfqueue. xdp withstands floods best."
    unmatched: Literal["drop", "director"] = "drop"
    "Traffic to a VIP that no share names: dropped, or taken by the node that answers for the VIP."
    vip: tuple[VipTable, ...] = Field(min_length=1, max_length=MAX_VIPS)
    "The virtual IP addresses."
    share: tuple[ShareTable, ...] = Field(min_length=1, max_length=MAX_SHARES)
    "What is shared out."
