"""The checks of the farm file, one model for each kind; a key's docstring is its sentence in the reference."""

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
    import regex  # noqa: PLC0415 - a megabyte that a farm without patterns does not need

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
"What a browser sends as Host: a name or address, and a port if it is not the usual one."


class Check(Table):
    """What every check has."""

    type: str
    "What is checked."
    name: NameValue = Field(examples=["HTTP_APACHE"])
    "Name of the check, in the log and the status."
    when: Literal["both", "pre"] = "both"
    "Both: of the application, once it is started. Pre: of something outside that it needs, before the start too."
    action: FailureAction | None = Field(default=None, examples=["none"])
    "On failure; unless set, of a `pre` check wait (until it passes), else restart if there are scripts, else none."
    interval: Annotated[Seconds, AfterValidator(between("10ms", "1h"))] = 10.0
    "Time from one attempt to the next."
    pending_interval: Annotated[Seconds, AfterValidator(between("10ms", "1h"))] = 1.0
    "The same while a change is pending: not passed yet, or fewer than rise or fall in a row; at most `interval`."
    timeout: Annotated[Seconds, AfterValidator(between("10ms", "10m"))] = 5.0
    "An attempt without an answer has failed after this."
    rise: CountValue = 1
    "The check passes after so many good attempts in a row."
    fall: CountValue = 1
    "The check fails after so many bad attempts in a row; the node is not Ready then."

    @model_validator(mode="after")
    def _act_as_its_kind_can(self) -> Self:
        if self.when == "pre" and self.action in ("restart", "stopstart"):
            raise wrong(
                f"is {self.action}, which mends nothing outside",
                'wait, stop or none; or when = "both" if this is the application itself',
                at="action",
            )
        if self.when == "both" and self.action == "wait":
            raise wrong(
                "is wait, and the application is not checked while it waits",
                'when = "pre" for what is outside; else restart, stopstart, stop or none',
                at="action",
            )
        return self


class PortCheck(Check):
    """What connects to a port."""

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
    "Connects and hangs up."


class HttpCheck(PortCheck):
    """The application answers over HTTP."""

    type: Literal["http"] = Field(examples=["http"])
    "Asks for a page."
    method: Literal["GET", "HEAD", "OPTIONS", "POST"] = "GET"
    "Method of the request."
    path: PagePath = Field(default="/", examples=["/server-status?auto"])
    "Path of the page, and its query."
    host: WebHost | None = Field(default=None, examples=["www.example.com"])
    "Host header, and with tls the name on the certificate; the address unless set."
    tls: Literal["off", "on", "unverified"] = "off"
    "Speak TLS; unverified takes any certificate."
    status: Annotated[tuple[HttpStatus, ...], Field(min_length=1)] = (StatusRange(200, 399),)
    "Status codes and ranges of them that are good."
    body: Text | None = Field(default=None, examples=["Welcome"])
    "Text that must occur in the answer."
    pattern: Pattern | None = Field(default=None, examples=["workers: [1-9]"])
    "Regular expression that must match somewhere in the answer."

    @property
    def server_name(self) -> str | None:
        """The name, or address, that must be on the certificate; None: the address that is asked."""
        if self.host is None:
            return None
        return self.host[1:].split("]")[0] if self.host.startswith("[") else self.host.split(":")[0]

    def accepts(self, status: int) -> bool:
        """Tell whether an answer with this status is good."""
        return any(good.first <= status <= good.last for good in self.status)

    @model_validator(mode="after")
    def _read_only_what_comes(self) -> Self:
        if self.method == "HEAD" and (self.body or self.pattern):
            raise wrong("is HEAD, which has no answer to look into", 'method = "GET"', at="method")
        return self


class PingCheck(Check):
    """An address answers to pings: a router, say."""

    type: Literal["ping"] = Field(examples=["ping"])
    "Sends an ICMP echo request."
    when: Literal["both", "pre"] = "pre"
    "Pre: of something outside that the application needs, before the start too. Both: once it is started."
    address: IpAddress = Field(examples=["192.0.2.1"])
    "IP address to ask."

    @property
    def subject(self) -> str:
        """What it looks at, for a person."""
        return self.address


class InterfaceCheck(Check):
    """A network interface is up and has its address."""

    type: Literal["interface"] = Field(examples=["interface"])
    "Hears from the kernel of every change, at once."
    when: Literal["both", "pre"] = "pre"
    "Pre: of something that the application needs, before the start too. Both: once it is started."
    interface: InterfaceName | None = Field(default=None, examples=["eth0"])
    "Name of the interface; the one that has the address unless set."
    address: InterfaceAddress | None = Field(default=None, examples=["192.0.2.11"])
    "An address that it must have; with neither of the two keys, the node's own."

    @property
    def subject(self) -> str:
        """What it looks at, for a person."""
        return " with ".join(filter(None, (self.interface, self.address))) or "the node's own address"


class ProcessCheck(Check):
    """Processes of the application run, or a unit of systemd does."""

    type: Literal["process"] = Field(examples=["process"])
    "Counts processes; given several of the three keys, those that fit all."
    process: Text | None = Field(default=None, examples=["apache2"])
    "Name of the program, as `ps -o comm` has it: 15 characters at most."
    command_line: Pattern | None = Field(default=None, examples=["apache2 -k start"])
    "Regular expression that must match somewhere in its command line."
    unit: Text | None = Field(default=None, examples=["apache2.service"])
    "Unit of systemd that must be active; its processes."
    at_least: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] = 1
    "Fewer are a failure."
    at_most: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] | None = Field(default=None, examples=[100])
    "More are a failure."

    @model_validator(mode="after")
    def _look_for_something(self) -> Self:
        if self.process is None and self.command_line is None and self.unit is None:
            raise wrong("is missing", 'for example process = "apache2", or command_line, or unit', at="process")
        if self.at_least == 0 and self.at_most is None and self.unit is None:
            raise wrong("is 0, and there is no at_most: this check never fails", "1 or more, or at_most", at="at_least")
        if self.at_most is not None and self.at_most < self.at_least:
            raise wrong(f"is less than at_least: {self.at_most}", f"{self.at_least} or more", at="at_most")
        return self

    @property
    def subject(self) -> str:
        """What it looks at, for a person."""
        return ", ".join(filter(None, (self.process, self.command_line, self.unit)))


class CommandCheck(Check):
    """A program of your own says so by its exit status."""

    type: Literal["command"] = Field(examples=["command"])
    "Runs a program: exit status 0 is good; its last line of output is the reason otherwise."
    command: Annotated[tuple[Text, ...], Field(min_length=1, examples=[["bin/check_queue", "--quick"]])]
    "The program, relative to this file, and its arguments; no shell."

    @property
    def subject(self) -> str:
        """What it looks at, for a person."""
        return " ".join(self.command)


class CustomCheck(Check):
    """A program of your own that runs all the time and reports, as SafeKit's custom checkers do."""

    type: Literal["custom"] = Field(examples=["custom"])
    "Runs a program that says `hcsidecar report NAME up` or `down`; one that ends is started again."
    command: Annotated[tuple[Text, ...], Field(min_length=1, examples=[["bin/watch_queue"]])]
    "The program, relative to this file, and its arguments; no shell."

    @model_validator(mode="after")
    def _count_by_itself(self) -> Self:
        for key in ("rise", "fall"):
            if getattr(self, key) != 1:
                raise wrong(
                    "is another than 1, and what the program says counts at once",
                    "let the program count before it says anything",
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
"A check, told apart by its type."
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
