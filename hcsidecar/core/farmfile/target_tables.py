"""The targets of the farm file, one model for each kind. The docstring of a key becomes its text in the reference."""

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
"As an id: the machine's metadata service gives it."
OTHER = "other"
"The tag of all kinds that other packages add."
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
        raise wrong(f"is not a name that HAProxy accepts: {as_toml(value)}", "letters, digits, and -_.:")
    return value


def _haproxy_options(value: str) -> str:
    # The options become part of a line of commands, which any of these would end.
    if found := re.search(r"[;\\]|<<", value):
        raise wrong(f'must not contain "{found[0]}": {as_toml(value)}', 'for example "check port 9010 inter 1s"')
    return value


Arn = Annotated[Text, AfterValidator(_arn)]
"The ARN of a target group."
Url = Annotated[Text, AfterValidator(_url)]
"A URL of http or https."
HaproxyName = Annotated[Text, AfterValidator(_haproxy_name)]
"The name of a backend or server of HAProxy."


class Target(Table):
    """The keys that all targets have."""

    type: str
    "Kind of target."
    name: NameValue | None = Field(default=None, examples=["web"])
    "Name of the target in the log and in `hcsidecar targets`. Default: its name at the balancer."
    policy: Literal["member", "healthy", "observe"] = "member"
    """Member: the node is registered from when it is first Ready until `leave`. Healthy: the same, but it is
    deregistered after it has not been Ready for `hold_down`. Observe: the node changes nothing and only looks."""
    poll: Annotated[Seconds, AfterValidator(between("1s", "1h"))] = 60.0
    "Time between two looks at the balancer while nothing changes."
    hold_down: Annotated[Seconds, AfterValidator(between("10s", "1d"))] = 600.0
    "With policy healthy: how long the node may be not Ready before it is deregistered."

    @property
    def label(self) -> str:
        """The name in the log and in reports."""
        return self.name or self.own_name

    @property
    def own_name(self) -> str:
        """The name at the balancer."""
        return self.type

    @property
    def deregisters_first(self) -> bool:
        """Whether a node that leaves must be deregistered and drained at the balancer before it answers NOT FOUND."""
        return False

    @property
    def call_limit(self) -> float:
        """Seconds after which a call has failed."""
        return 6.0

    @property
    def longest_pause(self) -> float:
        """The longest pause between two attempts, in seconds, after failures that may go away by themselves."""
        return 60.0


class AwsNode(Table):
    """Values for one node of an AWS target."""

    id: Text | None = Field(default=None, examples=["i-0123456789abcdef0"])
    "IP address or instance id of the node."
    availability_zone: Text | None = Field(default=None, examples=["eu-west-1a"])
    "Zone of the node. It overrides that of the table."


class AwsTarget(Target):
    """A target group of AWS (Elastic Load Balancing v2)."""

    type: Literal["aws"] = Field(examples=["aws"])
    "Registers this node in a target group. This requires the Python package boto3."
    group: Arn = Field(
        examples=["arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef"]
    )
    "ARN of the target group."
    target: Literal["ip", "instance"] = "ip"
    "Target type of the group."
    id: Text | None = Field(default=None, examples=[FROM_METADATA])
    """What the node is registered as. Default: the node's main address if target is ip; the instance id from the
    metadata service of its machine if target is instance. Metadata: asks that service in both cases."""
    port: Port | None = Field(default=None, examples=[80])
    "Port that gets the traffic. It overrides that of the group."
    availability_zone: Text | None = Field(default=None, examples=["all"])
    "Zone of addresses that are outside the network of the group: the name of a zone, or all."
    region: Text | None = Field(default=None, examples=["eu-west-1"])
    "Region of the API. Default: the region in the ARN."
    endpoint_url: Url | None = Field(default=None, examples=["https://vpce-1.elasticloadbalancing.example.com"])
    "URL of the API. Default: that of its region."
    proxy: Url | None = Field(default=None, examples=["http://192.0.2.9:3128"])
    "Proxy for calls to the API. A proxy in the environment is not used."
    balancer: Literal["alb", "nlb"] = "alb"
    "Kind of load balancer. Behind an nlb, `leave` deregisters first and serves until the group has drained the node."
    nodes: Mapping[NameValue, AwsNode] = Field(default={}, examples=[{"web1": {"id": "198.51.100.11"}}])
    "Keys `id` and `availability_zone` by node. They override those of the table."

    @property
    def own_name(self) -> str:
        """The name of the group."""
        found = _ARN.fullmatch(self.group)
        return found["name"] if found else self.type

    @property
    def api_region(self) -> str:
        """The region of the API."""
        found = _ARN.fullmatch(self.group)
        return self.region or (found["region"] if found else "")

    @property
    def deregisters_first(self) -> bool:
        """True for an NLB: for two minutes after a deregistration it sends new connections, which must be served."""
        return self.balancer == "nlb"

    def id_of(self, node: str, address: str) -> str:
        """Return the id of a node with this main address in the group; FROM_METADATA if its machine must be asked."""
        own = self.nodes.get(node)
        if own is not None and own.id is not None:
            return own.id
        return self.id or (address if self.target == "ip" else FROM_METADATA)

    def zone_of(self, node: str) -> str | None:
        """Return the zone in which a node is registered; None if AWS finds it."""
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
    "Adds this node to a backend, or changes the state of a server in it. This requires HAProxy 2.6 or newer."
    address: ServerEndpoint | None = Field(default=None, examples=["192.0.2.9:9999"])
    "Address and TCP port of the runtime API: a `stats socket` with level admin."
    socket: AbsolutePath | None = Field(default=None, examples=["/run/haproxy/admin.sock"])
    "Instead of `address`: path of a unix socket of the runtime API."
    poll: Annotated[Seconds, AfterValidator(between("1s", "1h"))] = 5.0
    "Time between two looks at HAProxy. After a reload of HAProxy, added servers are missing until the next look."
    backend: HaproxyName = Field(examples=["web"])
    "Name of the backend."
    servers: Literal["dynamic", "static"] = "dynamic"
    """Dynamic: servers are added and deleted. Static: the servers are in HAProxy's configuration, and only their state
    is changed."""
    server: HaproxyName | None = Field(default=None, examples=["web1"])
    "Name of the server, for a farm of one node only. Default: the name of the node."
    port: Port | None = Field(default=None, examples=[80])
    "Port that gets the traffic; needed for dynamic servers."
    options: Annotated[Text, AfterValidator(_haproxy_options)] | None = Field(
        default=None, examples=["check port 9010 inter 1s fall 2"]
    )
    "Options of an added server after its address and port. Default: options that check the health port."

    @property
    def own_name(self) -> str:
        """The name of the backend."""
        return self.backend

    @property
    def longest_pause(self) -> float:
        """`poll`: a restarted HAProxy has lost the added servers, and has no rate limit that others share."""
        return self.poll

    @model_validator(mode="after")
    def _know_where_and_what(self) -> Self:
        if (self.address is None) == (self.socket is None):
            if self.address is None:
                raise wrong("is missing", 'for example address = "192.0.2.9:9999", or socket', at="address")
            raise wrong("cannot be combined with `address`", "one of the two", at="socket")
        if self.servers == "dynamic" and self.port is None:
            raise wrong("is missing", "for example port = 80", at="port")
        return self


class CommandTarget(Target):
    """A balancer that is managed by a program of your own."""

    type: Literal["command"] = Field(examples=["command"])
    "Runs a program with JSON on its standard input. Its exit status reports the result."
    command: Annotated[tuple[Text, ...], Field(min_length=1, examples=[["bin/register", "--pool", "web"]])]
    "The program, relative to this file, and its arguments. It runs without a shell."
    timeout: Annotated[Seconds, AfterValidator(between("100ms", "5m"))] = 10.0
    "Time after which the program is killed and counts as failed."

    @property
    def call_limit(self) -> float:
        """Seconds after which a call has failed."""
        return self.timeout


class OtherTarget(Target):
    """A target of a kind that another package adds. The model of that package checks its own keys."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["consul"], json_schema_extra={"not": {"enum": ["aws", "haproxy", "command"]}})
    "Name of the kind, as the package defines it. The keys of this kind follow."


class ReadTarget(Target):
    """A target of a kind from another package, as read by the model of that package in another process."""

    type: str
    first: bool
    limit: float
    pause: float

    @property
    def deregisters_first(self) -> bool:
        """The value from its model."""
        return self.first

    @property
    def call_limit(self) -> float:
        """The value from its model."""
        return self.limit

    @property
    def longest_pause(self) -> float:
        """The value from its model."""
        return self.pause


TARGETS: Mapping[str, type[Target]] = {
    "aws": AwsTarget,
    "haproxy": HaproxyTarget,
    "command": CommandTarget,
}
"The model of each built-in type."


def target_tag(table: Any) -> str | None:
    """Return the type of a target's table if it is built in, else OTHER; None if the table has no type."""
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
"A target of any kind; `type` decides which."
