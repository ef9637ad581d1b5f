"""The values of the farm file: durations, addresses, names and ports, with a plain message for each wrong one."""

import ipaddress
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Annotated, Any, NamedTuple

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from hcsidecar.core.membership.heartbeat import MAX_POWER
from hcsidecar.core.plain_text import shortened

FROM_FILE = {"from_file": True}
"Validation context for a file, in which a duration must have a unit; in Python it may be a float in seconds."

_MICROSECONDS = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_DURATION = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)(us|ms|s|m|h|d)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_ABSOLUTE = re.compile(r"/|[A-Za-z]:[\\/]")
LAST_PORT = 65535
LONGEST_INTERFACE = 15
"In bytes: IFNAMSIZ without the final zero. Longer names are alternative names, which are not looked up."
_BROADCAST = ipaddress.IPv4Address("255.255.255.255")
_THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")
"RFC 1122, section 3.2.1.3."
_LONGEST = 100


def wrong(message: str, hint: str = "", *, at: str | tuple[str, ...] = ()) -> PydanticCustomError:
    """Return the error for a wrong value.

    `message` is the rest of a sentence that begins with the path; `at` is the key, below the checked table, that is
    wrong.
    """
    place = (at,) if isinstance(at, str) else at
    # An argument of a command may contain bytes that are not text, which pydantic does not accept.
    message, hint = (text.encode(errors="backslashreplace").decode() for text in (message, hint))
    return PydanticCustomError("wrong", "{message}", {"message": message, "hint": hint, "at": place})


def microseconds(seconds: float) -> int:
    """Return a duration in microseconds: with whole numbers, 0.7 s is exactly ten times 0.07 s."""
    return round(seconds * 1_000_000)


def parse_duration(text: str) -> float:
    """Return the seconds of a duration such as "100ms", "1.5s" or "24h". Raise ValueError if it is not one."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise wrong(
            f"is not a duration: {as_toml(text)}", 'a number and a unit (us, ms, s, m, h, d), for example "10s"'
        )
    number, unit = match.groups()
    return float(number) * _MICROSECONDS[unit] / 1_000_000


def format_duration(seconds: float) -> str:
    """Return a duration as text for the farm file, in the largest unit that needs no fraction."""
    whole = microseconds(seconds)
    if whole == 0:
        return "0s"
    unit = next(unit for unit in reversed(_MICROSECONDS) if whole % _MICROSECONDS[unit] == 0)
    return f"{whole // _MICROSECONDS[unit]}{unit}"


def _duration(value: object, info: ValidationInfo) -> object:
    if isinstance(value, str):
        return parse_duration(value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and info.context != FROM_FILE:
        return value
    hint = f'write "{value:g}s" if seconds are meant' if number else 'for example "10s"'
    raise wrong("must be a duration: a number with a unit, in quotes", hint)


def between(least: str, most: str) -> Callable[[float], float]:
    """Return a validator: a duration must be between two others, both included."""
    low, high = parse_duration(least), parse_duration(most)

    def check(seconds: float) -> float:
        if not low <= seconds <= high:
            raise wrong(f"must be between {least} and {most}, not {format_duration(seconds)}")
        return seconds

    return check


Seconds = Annotated[
    float,
    BeforeValidator(_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{_DURATION.pattern}$"}),
]
"A duration: text with a unit in the file, a float in seconds in Python."


def parse_address(text: str) -> str:
    """Return an IP address in its canonical form. Raise ValueError if no server can have it."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise wrong(
            f"is not an IP address: {as_toml(text)}",
            "an IPv4 or IPv6 address; a host name would make the farm depend on a name server",
        ) from None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            raise wrong(f"is an IPv4 address in IPv6 form: {text}", f"write {address.ipv4_mapped}")
        if address.scope_id is not None:
            raise wrong(
                f"contains the name of an interface: {as_toml(text)}",
                "an address that is the same on every machine",
            )
    if address.is_multicast:
        raise wrong(f"is a multicast address: {text}", "the address of one server")
    if address == _BROADCAST:
        raise wrong(f"is the broadcast address: {text}", "the address of one server")
    if address in _THIS_NETWORK and not address.is_unspecified:
        raise wrong(f"is in {_THIS_NETWORK}, which no machine can use: {text}", "the address of one server")
    return str(address)


def _address_of_a_machine(value: str) -> str:
    address = parse_address(value)
    if ipaddress.ip_address(address).is_unspecified:
        raise wrong(f"stands for every address: {value}", "the address at which the other nodes reach it")
    return address


def server_address(value: str) -> str:
    """Return the address at which others reach a server, in its canonical form. Raise ValueError if it is not one."""
    address = _address_of_a_machine(value)
    parsed = ipaddress.ip_address(address)
    if parsed.version == 6 and parsed.is_link_local:  # noqa: PLR2004 - IPv6
        raise wrong(f"is a link-local address, which is ambiguous without an interface: {value}", "another address")
    return address


def _shared_address(value: str) -> str:
    address = server_address(value)
    if ipaddress.ip_address(address).is_loopback:
        raise wrong(f"is a loopback address: {value}", "an address that clients can reach")
    return address


def is_ipv6(address: str) -> bool:
    """Return whether an address that was parsed here is an IPv6 address."""
    return ":" in address


IpAddress = Annotated[str, Field(strict=True), AfterValidator(server_address)]
"The address of a server, in its canonical form."
InterfaceAddress = Annotated[str, Field(strict=True), AfterValidator(_address_of_a_machine)]
"An address that an interface may have, in its canonical form; it may be link-local."
SharedAddress = Annotated[str, Field(strict=True), AfterValidator(_shared_address)]
"A virtual IP address, in its canonical form."


class HostPort(NamedTuple):
    """Where to listen or connect: an IP address (0.0.0.0 and :: stand for all of their family) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if is_ipv6(self.host) else f"{self.host}:{self.port}"

    @property
    def is_wildcard(self) -> bool:
        """Whether the address stands for all addresses of its family."""
        return ipaddress.ip_address(self.host).is_unspecified

    def overlaps(self, other: "HostPort") -> bool:
        """Return whether two listeners on one machine would need the same socket."""
        if self.port != other.port or is_ipv6(self.host) != is_ipv6(other.host):
            return False
        return self.host == other.host or self.is_wildcard or other.is_wildcard

    @classmethod
    def parse(cls, text: str) -> "HostPort":
        """Parse "192.0.2.1:9010" or "[2001:db8::1]:9010". Raise ValueError if it is neither."""
        host, colon, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        if not colon or not re.fullmatch("[0-9]{1,5}", port) or (":" in host and not bracketed):
            raise wrong(f"is not an address and a port: {as_toml(text)}", 'for example "0.0.0.0:9010" or "[::]:9010"')
        if not 1 <= int(port) <= LAST_PORT:
            raise wrong(f"has no port between 1 and {LAST_PORT}: {as_toml(text)}", 'for example "0.0.0.0:9010"')
        return cls(parse_address(host[1:-1] if bracketed else host), int(port))


def _host_port(value: object) -> HostPort:
    if isinstance(value, HostPort):
        return value
    if not isinstance(value, str):
        raise wrong("must be an address and a port, in quotes", 'for example "0.0.0.0:9010" or "[::]:9010"')
    return HostPort.parse(value)


Endpoint = Annotated[
    HostPort,
    PlainValidator(_host_port),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["0.0.0.0:9010", "[::]:9010"]}),
]
"A HostPort to listen on; text in the file."


def _with_server_address(value: HostPort) -> HostPort:
    return HostPort(server_address(value.host), value.port)


ServerEndpoint = Annotated[Endpoint, AfterValidator(_with_server_address)]
"A HostPort to connect to."


def _name(value: str) -> str:
    if _NAME.fullmatch(value) is None:
        raise wrong(
            f"is not a usable name: {as_toml(value)}",
            "it becomes part of paths and URLs: letters, digits, dot, hyphen and underscore, "
            "beginning with a letter or digit, at most 63",
        )
    return value


NameValue = Annotated[
    str,
    Field(strict=True),
    AfterValidator(_name),
    WithJsonSchema({"type": "string", "pattern": f"^{_NAME.pattern}$"}),
]
"A name that is safe in a path and in a URL."


def _text(value: str) -> str:
    if not value or any(not char.isprintable() for char in value):
        raise wrong("must be printable text, and must not be empty")
    return value


Text = Annotated[str, Field(strict=True), AfterValidator(_text)]
"Printable text that is not empty: the path of a file, a host name, a text to search for."


def _absolute(value: str) -> str:
    if _ABSOLUTE.match(value) is None:
        raise wrong(f"is not an absolute path: {as_toml(value)}", 'for example "/var/lib/hcsidecar"')
    return value


AbsolutePath = Annotated[Text, AfterValidator(_absolute)]
"The absolute path of a directory."


def _interface(value: str) -> str:
    if len(value.encode()) > LONGEST_INTERFACE or value in (".", "..") or re.search(r"[\s/:]", value):
        raise wrong(
            f"is not the name of a network interface: {as_toml(value)}",
            f"at most {LONGEST_INTERFACE} characters, as `ip link` shows it, without blank, slash and colon",
        )
    return value


InterfaceName = Annotated[Text, AfterValidator(_interface)]
"The name of a network interface in the kernel."


def _url_path(value: str) -> str:
    if re.fullmatch(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*", value) is None:
        raise wrong(f"is not the path of a URL: {as_toml(value)}", 'it begins with "/" and has no blank, "?" or "#"')
    return value


UrlPath = Annotated[str, Field(strict=True), AfterValidator(_url_path)]
"The path of a URL."

Port = Annotated[int, Field(strict=True, ge=1, le=LAST_PORT)]
"A TCP or UDP port."
PowerValue = Annotated[int, Field(strict=True, ge=0, le=MAX_POWER)]
"The weight of a node in a share, relative to the other nodes; with 0, the node takes none."
CountValue = Annotated[int, Field(strict=True, ge=1, le=1000)]
"How many times in a row."


class StatusRange(NamedTuple):
    """HTTP status codes from `first` to `last`, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


def _status_range(value: object) -> StatusRange:
    if isinstance(value, StatusRange):
        return value
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    match = re.fullmatch(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?", text)
    if match is None:
        raise wrong(f"is not an HTTP status code or range: {as_toml(value)}", 'for example 200 or "200-399"')
    first, last = int(match[1]), int(match[2] or match[1])
    if first > last:
        raise wrong(f"ends before it begins: {as_toml(value)}", f'write "{last}-{first}"')
    return StatusRange(first, last)


def _write_status(value: StatusRange) -> int | str:
    return value.first if value.first == value.last else str(value)


HttpStatus = Annotated[
    StatusRange,
    PlainValidator(_status_range),
    PlainSerializer(_write_status),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^[1-5][0-9]{2}(-[1-5][0-9]{2})?$"}]}),
]
"A status code, or a range of them as text."


def each_once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the values. Raise an error if one of them occurs twice."""
    doubles = sorted(str(value) for value, count in Counter(values).items() if count > 1)
    if doubles:
        raise wrong(f"contains the same entry twice: {', '.join(doubles)}")
    return values


def as_toml(value: object, *, depth: int = 3) -> str:
    """Return a value as TOML for a message. `…` stands for the rest of a long value, and for what is nested too deeply.

    `depth` is the number of levels that are shown.
    """
    match value:
        case bool():
            return str(value).lower()
        case int() if value.bit_length() > _LONGEST:
            return "a huge number"
        case str():
            return json.dumps(shortened(value, _LONGEST + 1), ensure_ascii=False)
        case list() | tuple() if depth:
            return f"[{_some(as_toml(inner, depth=depth - 1) for inner in value)}]"
        case dict() if depth:
            items = (f"{key} = {as_toml(inner, depth=depth - 1)}" for key, inner in value.items())
            return f"{{ {_some(items)} }}"
        case list() | tuple() | dict():
            return "…"
        case _:
            return str(value)


def _some(items: Iterator[str]) -> str:
    some = list(islice(items, _LONGEST + 1))
    return ", ".join(some if len(some) <= _LONGEST else [*some[:_LONGEST], "…"])
