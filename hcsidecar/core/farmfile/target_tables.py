"""The targets of the farm file, one model for each kind; a key's docstring is its sentence in the reference."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from hcsidecar.core.farmfile.tables import Table
from hcsidecar.core.farmfile.values import (
    AbsolutePath,
    NameValue,
    Port,
    Seconds,
    ServerEndpoint,
    Text,
    as_toml,
    between,
    server_address,
    wrong,
)

FROM_METADATA = "metadata"
"As an id: ask the machine's metadata service."
OTHER = "other"
"Tag of the kinds that other packages add."
_ARN = re.compile(
    r"arn:aws[a-z-]*:elasticloadbalancing:(?P<region>[a-z0-9-]+):[0-9]{12}:targetgroup/(?P<name>[A-Za-z0-9-]{1,32})/[0-9A-Za-z]+"
)
INSTANCE_ID = re.compile(r"i-[0-9a-f]{8,17}")
_URL = re.compile(r"https?://([^/@\s]+@)?[A-Za-z0-9\[][A-Za-z0-9.:\]-]*(/[^\s]*)?")


def _arn(value: str) -> str:
    if _ARN.fullmatch(value) is None:
        raise wrong(
            f"is not the ARN of a target group: {as_toml(value)}",
            'for example "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef"',
        )
    return value


def _url(value: str) -> str:
    if _URL.fullmatch(value) is None:
        raise wrong(f"is not a URL: {as_toml(value)}", 'for example "http://192.0.2.9:3128"')
    return value


def _haproxy_name(value: str) -> str:
    if re.fullmatch("[A-Za-z0-9_.:-]+", value) is None:
        raise wrong(f"is not a name that HAProxy can have: {as_toml(value)}", "letters, digits, and -_.:")
    return value


def _haproxy_options(value: str) -> str:
    # They become a part of a line of commands, which these would end.
    if found := re.search(r"[;\\]|<<", value):
        raise wrong(f"must not have {found[0]} in it: {as_toml(value)}", 'for example "check port 9010 inter 1s"')
    return value


Arn = Annotated[Text, AfterValidator(_arn)]
"The ARN of a target group."
Url = Annotated[Text, AfterValidator(_url)]
"A URL of http or https."
HaproxyName = Annotated[Text, AfterValidator(_haproxy_name)]
"The name of a backend or server of HAProxy."


class Target(Table):
    """What every target has."""

    type: str
    "Kind of the balancer."
    name: NameValue | None = Field(default=None, examples=["web"])
    "Name of the target, in the log and the status; unless set, what it is called at the balancer."
    policy: Literal["member", "healthy", "observe"] = "member"
    "Member: registered from Ready on until `leave`. Healthy: not while unhealthy for `hold_down`. Observe: only look."
    poll: Annotated[Seconds, AfterValidator(between("1s", "1h"))] = 60.0
    "Time from one look at the balancer to the next, at rest."
    hold_down: Annotated[Seconds, AfterValidator(between("10s", "1d"))] = 600.0
    "With policy healthy: deregistered after not being Ready for so long."

    @property
    def label(self) -> str:
        """The name that it goes by."""
        return self.name or self.own_name

    @property
    def own_name(self) -> str:
        """What it is called at the balancer."""
        return self.type

    @property
    def deregisters_first(self) -> bool:
        """True when a node that leaves must be deregistered, and drained there, before it answers NOT FOUND."""
        return False

    @property
    def call_limit(self) -> float:
        """Seconds after which a call has failed."""
        return 6.0

    @property
    def longest_pause(self) -> float:
        """Seconds to the next attempt at most, after failures that may mend themselves."""
        return 60.0


class AwsNode(Table):
    """What one node is to AWS."""

    id: Text | None = Field(default=None, examples=["i-0123456789abcdef0"])
    "Its IP address or instance id."
    availability_zone: Text | None = Field(default=None, examples=["eu-west-1a"])
    "Its zone, over the table's."


class AwsTarget(Target):
    """A target group of AWS (Elastic Load Balancing v2)."""

    type: Literal["aws"] = Field(examples=["aws"])
    "Registers this node with a target group; needs the Python package boto3."
    group: Arn = Field(
        examples=["arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef"]
    )
    "ARN of the target group."
    target: Literal["ip", "instance"] = "ip"
    "Target type of the group."
    id: Text | None = Field(default=None, examples=[FROM_METADATA])
    "Unless set: ip: the node's main address; instance: by the metadata service of its machine, as metadata has it too."
    port: Port | None = Field(default=None, examples=[80])
    "Port to send traffic to, over the group's."
    availability_zone: Text | None = Field(default=None, examples=["all"])
    "Zone of addresses outside the group's network: a zone's name, or all."
    region: Text | None = Field(default=None, examples=["eu-west-1"])
    "Region of the API; that of the ARN unless set."
    endpoint_url: Url | None = Field(default=None, examples=["https://vpce-1.elasticloadbalancing.example.com"])
    "Where the API is, if not at the usual place of its region."
    proxy: Url | None = Field(default=None, examples=["http://192.0.2.9:3128"])
    "Proxy for the API; the environment's is not used."
    balancer: Literal["alb", "nlb"] = "alb"
    "Kind of the load balancer: behind an nlb, `leave` deregisters first and serves on until draining has ended."
    nodes: Mapping[NameValue, AwsNode] = Field(default={}, examples=[{"web1": {"id": "198.51.100.11"}}])
    "Id and availability_zone by node, over the table's."

    @property
    def own_name(self) -> str:
        """The group's name."""
        found = _ARN.fullmatch(self.group)
        return found["name"] if found else self.type

    @property
    def api_region(self) -> str:
        """The region of the API."""
        found = _ARN.fullmatch(self.group)
        return self.region or (found["region"] if found else "")

    @property
    def deregisters_first(self) -> bool:
        """An NLB goes on sending new connections for two minutes after a deregistration, which must be served."""
        return self.balancer == "nlb"

    def id_of(self, node: str, address: str) -> str:
        """Say what a node with this main address is to the group; FROM_METADATA: what its machine says."""
        own = self.nodes.get(node)
        if own is not None and own.id is not None:
            return own.id
        return self.id or (address if self.target == "ip" else FROM_METADATA)

    def zone_of(self, node: str) -> str | None:
        """Say in which zone a node is registered; None: AWS finds out."""
        own = self.nodes.get(node)
        return (own.availability_zone if own is not None else None) or self.availability_zone

    @model_validator(mode="after")
    def _be_one_kind_of_target(self) -> Self:
        tables: list[tuple[tuple[str, ...], AwsTarget | AwsNode]] = [((), self)]
        tables += [(("nodes", name), node) for name, node in self.nodes.items()]
        for place, table in tables:
            given, at = table.id, (*place, "id")
            if given is not None and given != FROM_METADATA and (why := self._why_not_id(given)):
                raise wrong(why, f'or "{FROM_METADATA}"', at=at)
            if self.target == "instance" and table.availability_zone is not None:
                at = (*place, "availability_zone")
                raise wrong("is for addresses only: AWS knows the zone of an instance", 'target = "ip"', at=at)
        return self

    def _why_not_id(self, given: str) -> str | None:
        if self.target == "instance":
            return None if INSTANCE_ID.fullmatch(given) else f"is not the id of an instance: {as_toml(given)}"
        try:
            server_address(given)
        except PydanticCustomError as refused:
            return refused.message()
        return None


class HaproxyTarget(Target):
    """A backend of HAProxy, through its runtime API."""

    type: Literal["haproxy"] = Field(examples=["haproxy"])
    "Adds this node to a backend, or sets the state of a server that the backend has; version 2.6 or newer."
    address: ServerEndpoint | None = Field(default=None, examples=["192.0.2.9:9999"])
    "Address and TCP port of the runtime API: that of a `stats socket` with level admin."
    socket: AbsolutePath | None = Field(default=None, examples=["/run/haproxy/admin.sock"])
    "Instead of `address`: the path of its unix socket."
    poll: Annotated[Seconds, AfterValidator(between("1s", "1h"))] = 5.0
    "Time from one look at HAProxy to the next: after its reload, added servers are missing until then."
    backend: HaproxyName = Field(examples=["web"])
    "Name of the backend."
    servers: Literal["dynamic", "static"] = "dynamic"
    "Dynamic: servers are added and deleted. Static: they are in HAProxy's configuration, and only made ready or not."
    server: HaproxyName | None = Field(default=None, examples=["web1"])
    "Name of the server; the node's unless set, which only a farm of one node needs."
    port: Port | None = Field(default=None, examples=[80])
    "Port to send traffic to; needed for dynamic servers."
    options: Annotated[Text, AfterValidator(_haproxy_options)] | None = Field(
        default=None, examples=["check port 9010 inter 1s fall 2"]
    )
    "What to say of an added server beyond address and port; unless set, that the health port is to be checked."

    @property
    def own_name(self) -> str:
        """The backend's name."""
        return self.backend

    @property
    def longest_pause(self) -> float:
        """A HAProxy that is started again knows no added server, and shares its limits with nobody."""
        return self.poll

    @model_validator(mode="after")
    def _know_where_and_what(self) -> Self:
        if (self.address is None) == (self.socket is None):
            if self.address is None:
                raise wrong("is missing", 'for example address = "192.0.2.9:9999", or socket', at="address")
            raise wrong("stands beside `address`", "one of the two", at="socket")
        if self.servers == "dynamic" and self.port is None:
            raise wrong("is missing", "for example port = 80", at="port")
        return self


class CommandTarget(Target):
    """A balancer that a program of your own talks to."""

    type: Literal["command"] = Field(examples=["command"])
    "Runs a program with JSON on its standard input; its exit status says what became of it."
    command: Annotated[tuple[Text, ...], Field(min_length=1, examples=[["bin/register", "--pool", "web"]])]
    "The program, relative to this file, and its arguments; no shell."
    timeout: Annotated[Seconds, AfterValidator(between("100ms", "5m"))] = 10.0
    "It is killed after this, and has failed."

    @property
    def call_limit(self) -> float:
        """Seconds after which a call has failed."""
        return self.timeout


class OtherTarget(Target):
    """A target of a kind that another package adds; its own model checks what this one lets through."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["consul"], json_schema_extra={"not": {"enum": ["aws", "haproxy", "command"]}})
    "Name of the kind, as the package says; its own keys stand beside these."


class ReadTarget(Target):
    """A target of another package's kind, as its model has read it elsewhere: the model is not loaded here."""

    type: str
    first: bool
    limit: float
    pause: float

    @property
    def deregisters_first(self) -> bool:
        """As its model says."""
        return self.first

    @property
    def call_limit(self) -> float:
        """As its model says."""
        return self.limit

    @property
    def longest_pause(self) -> float:
        """As its model says."""
        return self.pause


TARGETS: Mapping[str, type[Target]] = {
    "aws": AwsTarget,
    "haproxy": HaproxyTarget,
    "command": CommandTarget,
}
"The model of each type that comes with hcsidecar."


def target_tag(table: Any) -> str | None:
    """Give the type of a target's table, if it is one of ours, else OTHER; None without any."""
    given = table.type if isinstance(table, BaseModel) and hasattr(table, "type") else None
    if isinstance(table, dict):
        given = table.get("type")
    if not isinstance(given, str):
        return None
    return given if given in TARGETS else OTHER


AnyTarget = Annotated[
    Annotated[AwsTarget, Tag("aws")]
    | Annotated[HaproxyTarget, Tag("haproxy")]
    | Annotated[CommandTarget, Tag("command")]
    | Annotated[OtherTarget, Tag(OTHER)],
    Discriminator(target_tag),
]
"A target, told apart by its type."
