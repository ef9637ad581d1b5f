"""The checks of the farm file, one model for each kind. The docstring of a key becomes its text in the reference."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from hcsidecar.core.farmfile.patterns import why_too_costly
from hcsidecar.core.farmfile.tables import Table
from hcsidecar.core.farmfile.values import (
    CountValue,
    HostPort,
    HttpStatus,
    InterfaceAddress,
    InterfaceName,
    IpAddress,
    NameValue,
    Port,
    Seconds,
    StatusRange,
    Text,
    as_toml,
    between,
    wrong,
)

_URL_CHARACTERS = r"[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*"
FailureAction = Literal["restart", "stopstart", "wait", "stop", "none"]


def _pattern(value: str) -> str:
    import regex  # noqa: PLC0415 - it takes a megabyte, which a farm without patterns does not need

    if why := why_too_costly(value):
        raise wrong(f"{why}: {as_toml(value)}", "a simpler expression")
    try:
        regex.compile(value)
    except regex.error as error:
        raise wrong(f"is not a regular expression: {as_toml(value)}", str(error)) from None
    return value


def _web_host(value: str) -> str:
    if re.fullmatch(r"([A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", value) is None or ".." in value:
        raise wrong(f"is not the name of a web server: {as_toml(value)}", 'for example "www.example.com"')
    return value


def _page_path(value: str) -> str:
    path, _, query = value.partition("?")
    if re.fullmatch(rf"/{_URL_CHARACTERS}", path) is None or re.fullmatch(rf"{_URL_CHARACTERS}", query) is None:
        raise wrong(f"is not the path of a page: {as_toml(value)}", 'it begins with "/" and has no blank and no "#"')
    return value


PagePath = Annotated[str, Field(strict=True), AfterValidator(_page_path)]
"The path of a URL, with its query if it has one."
Pattern = Annotated[Text, AfterValidator(_pattern)]
"A regular expression."
WebHost = Annotated[Text, AfterValidator(_web_host)]
"The value of a Host header: a name or an address, with the port unless it is the default one."


class Check(Table):
    """The keys that all checks have."""

    type: str
    "Kind of check."
    name: NameValue = Field(examples=["HTTP_APACHE"])
    "Name of the check in the log and in `status`."
    when: Literal["both", "pre"] = "both"
    """Both: the check tests the application and runs after the application has started. Pre: it tests something outside
    that the application needs, and also runs before the start."""
    action: FailureAction | None = Field(default=None, examples=["none"])
    """What happens when the check fails. Default: wait (until it passes) for a `pre` check; otherwise restart, or none
    if there are no scripts."""
    interval: Annotated[Seconds, AfterValidator(between("10ms", "1h"))] = 10.0
    "Time from one attempt to the next."
    pending_interval: Annotated[Seconds, AfterValidator(between("10ms", "1h"))] = 1.0
    """The same, at most `interval`, while a change is pending: the check has not passed yet, or the attempts in a row
    with a new result are fewer than `rise` or `fall`."""
    timeout: Annotated[Seconds, AfterValidator(between("10ms", "10m"))] = 5.0
    "An attempt that has no answer after this time has failed."
    rise: CountValue = 1
    "Number of successful attempts in a row after which the check passes."
    fall: CountValue = 1
    "Number of failed attempts in a row after which the check fails. The node is then not Ready."

    @model_validator(mode="after")
    def _act_as_its_kind_can(self) -> Self:
        if self.when == "pre" and self.action in ("restart", "stopstart"):
            raise wrong(
                f"is {self.action}, which repairs nothing outside the application",
                'wait, stop or none; or when = "both" if the check tests the application itself',
                at="action",
            )
        if self.when == "both" and self.action == "wait":
            raise wrong(
                "is wait, but the application is not checked while it waits",
                'when = "pre" for something outside the application; otherwise restart, stopstart, stop or none',
                at="action",
            )
        return self


class PortCheck(Check):
    """A check that connects to a port."""

    address: IpAddress = Field(examples=["127.0.0.1"])
    "IP address to connect to."
    port: Port = Field(examples=[80])
    "TCP port to connect to."

    @property
    def subject(self) -> str:
        """What it looks at, for a person."""
        return str(HostPort(self.address, self.port))


class TcpCheck(PortCheck):
    """The application accepts connections."""

    type: Literal["tcp"] = Field(examples=["tcp"])
    "Opens a connection and closes it."


class HttpCheck(PortCheck):
    """The application answers over HTTP."""

    type: Literal["http"] = Field(examples=["http"])
    "Requests a page."
    method: Literal["GET", "HEAD", "OPTIONS", "POST"] = "GET"
    "Method of the request."
    path: PagePath = Field(default="/", examples=["/server-status?auto"])
    "Path of the page, with its query if it has one."
    host: WebHost | None = Field(default=None, examples=["www.example.com"])
    "Host header of the request and, with `tls`, the name in the certificate. Default: the address."
    tls: Literal["off", "on", "unverified"] = "off"
    "Use TLS; unverified accepts any certificate."
    status: Annotated[tuple[HttpStatus, ...], Field(min_length=1)] = (StatusRange(200, 399),)
    "Status codes, and ranges of status codes, that count as success."
    body: Text | None = Field(default=None, examples=["Welcome"])
    "Text that must occur in the answer."
    pattern: Pattern | None = Field(default=None, examples=["workers: [1-9]"])
    "Regular expression that must match somewhere in the answer."

    @property
    def server_name(self) -> str | None:
        """The name or address that the certificate must have; None for the address that is connected to."""
        if self.host is None:
            return None
        return self.host[1:].split("]")[0] if self.host.startswith("[") else self.host.split(":")[0]

    def accepts(self, status: int) -> bool:
        """Return whether an answer with this status counts as success."""
        return any(good.first <= status <= good.last for good in self.status)

    @model_validator(mode="after")
    def _read_only_what_comes(self) -> Self:
        if self.method == "HEAD" and (self.body or self.pattern):
            raise wrong("is HEAD, whose answer has no body to search", 'method = "GET"', at="method")
        return self


class PingCheck(Check):
    """An address, such as that of a router, answers to pings."""

    type: Literal["ping"] = Field(examples=["ping"])
    "Sends an ICMP echo request."
    when: Literal["both", "pre"] = "pre"
    """Pre: the check tests something outside that the application needs, and also runs before the start. Both: it runs
    after the application has started."""
    address: IpAddress = Field(examples=["192.0.2.1"])
    "IP address to ping."

    @property
    def subject(self) -> str:
        """What it looks at, for a person."""
        return self.address


class InterfaceCheck(Check):
    """A network interface is up and has its address."""

    type: Literal["interface"] = Field(examples=["interface"])
    "Notices every change at once, because the kernel reports it."
    when: Literal["both", "pre"] = "pre"
    """Pre: the check tests something that the application needs, and also runs before the start. Both: it runs after
    the application has started."""
    interface: InterfaceName | None = Field(default=None, examples=["eth0"])
    "Name of the interface. Default: the interface that has the address."
    address: InterfaceAddress | None = Field(default=None, examples=["192.0.2.11"])
    "Address that the interface must have. If neither key is set: the node's own address."

    @property
    def subject(self) -> str:
        """What it looks at, for a person."""
        return " with ".join(filter(None, (self.interface, self.address))) or "the node's own address"


class ProcessCheck(Check):
    """Processes of the application, or a systemd unit, are running."""

    type: Literal["process"] = Field(examples=["process"])
    "Counts processes. If several of the next three keys are set, it counts the processes that match all of them."
    process: Text | None = Field(default=None, examples=["apache2"])
    "Name of the program as `ps -o comm` shows it, at most 15 characters."
    command_line: Pattern | None = Field(default=None, examples=["apache2 -k start"])
    "Regular expression that must match somewhere in the command line."
    unit: Text | None = Field(default=None, examples=["apache2.service"])
    "Systemd unit that must be active; the processes of this unit are counted."
    at_least: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] = 1
    "Fewer processes than this are a failure."
    at_most: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] | None = Field(default=None, examples=[100])
    "More processes than this are a failure."

    @model_validator(mode="after")
    def _look_for_something(self) -> Self:
        if self.process is None and self.command_line is None and self.unit is None:
            raise wrong("is missing", 'for example process = "apache2", or command_line, or unit', at="process")
        if self.at_least == 0 and self.at_most is None and self.unit is None:
            raise wrong("is 0 without at_most: this check could never fail", "1 or more, or at_most", at="at_least")
        if self.at_most is not None and self.at_most < self.at_least:
            raise wrong(f"is less than at_least: {self.at_most}", f"{self.at_least} or more", at="at_most")
        return self

    @property
    def subject(self) -> str:
        """What it looks at, for a person."""
        return ", ".join(filter(None, (self.process, self.command_line, self.unit)))


class CommandCheck(Check):
    """A program of your own tests the application and reports the result as its exit status."""

    type: Literal["command"] = Field(examples=["command"])
    "Runs a program. Exit status 0 is success; for any other, the last line of its output is the reason."
    command: Annotated[tuple[Text, ...], Field(min_length=1, examples=[["bin/check_queue", "--quick"]])]
    "The program, relative to this file, and its arguments. It runs without a shell."

    @property
    def subject(self) -> str:
        """What it looks at, for a person."""
        return " ".join(self.command)


class CustomCheck(Check):
    """A program of your own runs all the time and reports, as SafeKit's custom checkers do."""

    type: Literal["custom"] = Field(examples=["custom"])
    """Starts a program that calls `hcsidecar report NAME up` or `hcsidecar report NAME down`. If it ends, it is started
    again."""
    command: Annotated[tuple[Text, ...], Field(min_length=1, examples=[["bin/watch_queue"]])]
    "The program, relative to this file, and its arguments. It runs without a shell."

    @model_validator(mode="after")
    def _count_by_itself(self) -> Self:
        for key in ("rise", "fall"):
            if getattr(self, key) != 1:
                raise wrong(
                    "must be 1, since each report of the program counts at once",
                    "let the program count before it reports",
                    at=key,
                )
        return self

    @property
    def subject(self) -> str:
        """What it looks at, for a person."""
        return " ".join(self.command)


AnyCheck = Annotated[
    TcpCheck | HttpCheck | PingCheck | InterfaceCheck | ProcessCheck | CommandCheck | CustomCheck,
    Field(discriminator="type"),
]
"A check of any kind; `type` decides which."
CHECKS: Mapping[str, type[Check]] = {
    "tcp": TcpCheck,
    "http": HttpCheck,
    "ping": PingCheck,
    "interface": InterfaceCheck,
    "process": ProcessCheck,
    "command": CommandCheck,
    "custom": CustomCheck,
}
"The model of each type."
