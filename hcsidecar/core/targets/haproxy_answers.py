"""Parses what HAProxy's runtime API shows of a server, and explains its refusals.

Answers are text without a code (HAProxy's management guide, 9.3), so the answer to a command proves nothing. Each line
of commands ends with a look at the server, which shows the result. The text before the look only serves to explain a
failure.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntFlag
from typing import Final

from hcsidecar.core.plain_text import on_one_line, shortened
from hcsidecar.core.targets.registration import TargetError, Trouble

_STATE: Final = "# be_id "
_STATISTICS: Final = "# pxname,"
_INFO: Final = "\nName: "
_QUOTED: Final = 200
"The most characters of an answer that are shown to the operator."


class Admin(IntFlag):
    """The bits of `srv_admin_state`: the state that people, agents and the configuration have set."""

    FORCED_MAINT = 0x01
    INHERITED_MAINT = 0x02
    CONFIGURED_MAINT = 0x04
    FORCED_DRAIN = 0x08
    INHERITED_DRAIN = 0x10
    UNRESOLVED = 0x20


class Checks(IntFlag):
    """The bits of `srv_check_state` and `srv_agent_state`."""

    IN_PROGRESS = 0x01
    CONFIGURED = 0x02
    ENABLED = 0x04
    PAUSED = 0x08


_DISABLED: Final = Admin.FORCED_MAINT | Admin.CONFIGURED_MAINT
"The bits of a server with `disabled` in the configuration that nobody has made ready since."
STOPPED, STARTING, RUNNING, STOPPING = range(4)
"The values of `srv_op_state`."


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """This node's place at HAProxy: its backend, its server, and the address of the server."""

    backend: str
    server: str
    address: str
    port: int
    "0 for a static server without a port."
    options: str
    check_port: int | None
    "The port of the health URL; None if the operator has set `options`, or the server is in HAProxy's configuration."
    dynamic: bool
    "The server is added and deleted, not only made ready and drained."

    @property
    def path(self) -> str:
        """The name of the server in commands."""
        return f"{self.backend}/{self.server}"

    @property
    def look(self) -> str:
        """The line of commands that shows the servers of the backend."""
        return f"show servers state {self.backend}; show stat {self.backend} 4 -1; show info"


@dataclass(frozen=True, slots=True, kw_only=True)
class HaproxyServer:
    """A server in an answer of HAProxy."""

    address: str
    port: int
    admin: Admin
    state: int
    checks: Checks
    check_port: int
    agent: Checks
    sessions: int
    "Current sessions, with the requests in its queue."
    idle: int
    "Idle connections to the server, kept for later requests."
    check_status: str
    "INI before the first check, else as in the management guide, 9.1; empty if the server has no check."
    check_words: str

    @property
    def is_held(self) -> bool:
        """True if the server is in maintenance for another reason than `disabled` in the configuration."""
        maint = self.admin & (Admin.FORCED_MAINT | Admin.INHERITED_MAINT | Admin.UNRESOLVED)
        return bool(maint or self.admin & Admin.INHERITED_DRAIN) and not self.is_disabled

    @property
    def is_disabled(self) -> bool:
        """True if the server is still disabled by the configuration."""
        return self.admin & _DISABLED == _DISABLED

    @property
    def is_drained(self) -> bool:
        """True if the server is drained, and no agent can make it ready."""
        return bool(self.admin & Admin.FORCED_DRAIN) and not self.has_agent

    @property
    def has_agent(self) -> bool:
        """True if an agent-check can change the state of the server."""
        return bool(self.agent & Checks.CONFIGURED and self.agent & Checks.ENABLED)

    @property
    def is_free(self) -> bool:
        """True if the server has no connections, so that it can be deleted."""
        return not self.sessions and not self.idle


@dataclass(frozen=True, slots=True, kw_only=True)
class HaproxyProcess:
    """The HAProxy process that has answered."""

    number: int
    uptime: int
    "In seconds."

    def has_followed(self, former: "HaproxyProcess") -> bool:
        """Return whether this process has replaced another one, by a reload or a restart."""
        # In a container, each process may have the same number.
        return self.number != former.number or self.uptime < former.uptime


def process_in(answer: str) -> HaproxyProcess | None:
    """Return the process that has answered; None if the answer does not say."""
    # The process information comes last, and the text before it may be megabytes.
    info = answer[max(0, answer.rfind(_INFO)) :]
    found = {name: re.search(rf"^{name}: ([0-9]+)$", info, re.MULTILINE) for name in ("Pid", "Uptime_sec")}
    number, uptime = found["Pid"], found["Uptime_sec"]
    return None if number is None or uptime is None else HaproxyProcess(number=int(number[1]), uptime=int(uptime[1]))


def server_in(answer: str, place: ServerAddress) -> HaproxyServer | None:
    """Return the server of this node in an answer to `look`; None if the backend has no such server.

    Raise TargetError if the answer shows no servers.
    """
    before, found, after = answer.partition(_STATE)
    if not found:
        raise refusal(answer, place)
    states, _, statistics = after.partition(_STATISTICS)
    statistics = statistics.partition(_INFO)[0]
    try:
        return _server_in(states, statistics, place)
    except (KeyError, ValueError, IndexError):
        text = f"HAProxy's answer makes no sense: {quote(before + states)}"
        raise TargetError(Trouble.RETRY, text) from None


def _lines_with(words: str, text: str) -> Iterator[str]:
    """Yield the lines that contain some text. A backend may have thousands of lines, and the others need no parsing."""
    at = text.find(words)
    while at >= 0:
        end = text.find("\n", at + len(words))
        end = len(text) if end < 0 else end
        yield text[text.rfind("\n", 0, at + 1) + 1 : end]
        at = text.find(words, end)


def _server_in(states: str, statistics: str, place: ServerAddress) -> HaproxyServer | None:
    names = ("be_id", *states.partition("\n")[0].split())
    # This puts a blank after the last word of each line too.
    spaced = states.replace("\n", " \n")
    rows = [dict(zip(names, line.split(), strict=False)) for line in _lines_with(f" {place.server} ", spaced)]
    own = [row for row in rows if (row["be_name"], row["srv_name"]) == (place.backend, place.server)]
    if not own:
        return None
    row, numbers = own[0], _statistics(statistics, place)
    return HaproxyServer(
        address=row["srv_addr"],
        port=int(row["srv_port"]),
        admin=Admin(int(row["srv_admin_state"])),
        state=int(row["srv_op_state"]),
        checks=Checks(int(row["srv_check_state"])),
        check_port=int(row["srv_check_port"]),
        agent=Checks(int(row["srv_agent_state"])),
        sessions=int(numbers["scur"]) + int(numbers["qcur"]),
        idle=int(numbers["srv_icur"] or 0),
        # While a check runs, HAProxy puts an asterisk before the result of the last check.
        check_status=numbers["check_status"].lstrip("* "),
        check_words=_check_words(numbers),
    )


def _statistics(text: str, place: ServerAddress) -> Mapping[str, str]:
    names = ["pxname", *text.partition("\n")[0].split(",")]
    for values in csv.reader(_lines_with(f"\n{place.backend},{place.server},", text)):
        return dict(zip(names, values, strict=False))
    raise KeyError(place.server)


def _check_words(numbers: Mapping[str, str]) -> str:
    status, code = numbers["check_status"].lstrip("* "), numbers["check_code"]
    return quote(f"{status}/{code} {numbers['last_chk']}" if code else f"{status} {numbers['last_chk']}")


def refusal(answer: str, place: ServerAddress) -> TargetError:
    """Return the error for an answer that does not show the expected state, with what to do."""
    # An answer contains the answers to all commands of a line, and the look comes last.
    words = answer.partition(_STATE)[0].removesuffix("1\n").strip()
    lower = words.lower()
    for sign, trouble, text in _REFUSALS:
        if sign in lower:
            return TargetError(trouble, text.format(backend=place.backend, server=place.server, words=quote(words)))
    if not words:
        return TargetError(Trouble.RETRY, "HAProxy has not answered: is it ending, or has it too many connections?")
    return TargetError(Trouble.RETRY, f"HAProxy has not carried out the commands; it says: {quote(words)}")


_TOO_OLD: Final = (
    'HAProxy does not know a command: version 2.6 or newer is needed; with servers = "static", any since 1.8 may do'
)
_REFUSALS: Final = (
    (
        "permission denied",
        Trouble.AUTH,
        "HAProxy does not permit this: its line `stats socket` needs `level admin`",
    ),
    (
        "no such backend",
        Trouble.CONFIG,
        "HAProxy has no backend {backend}: write its name as in HAProxy's configuration",
    ),
    ("find backend", Trouble.CONFIG, "HAProxy has no backend {backend}: write its name as in HAProxy's configuration"),
    (
        "dynamic load balancing",
        Trouble.CONFIG,
        "the balance method of backend {backend} allows no added servers: set `balance roundrobin` or `leastconn`",
    ),
    ("unknown command", Trouble.CONFIG, _TOO_OLD),
    ("experimental", Trouble.CONFIG, _TOO_OLD),
    ("unknown keyword", Trouble.CONFIG, "HAProxy does not accept the options of an added server: {words}"),
    ("http/1.", Trouble.CONFIG, "an HTTP server answers there, not the runtime API of HAProxy: {words}"),
)
"A text in the lower-case answer, the kind of trouble, and the message for the operator."


def quote(text: str) -> str:
    """Return text from HAProxy on one line, shortened and without control characters."""
    return shortened(on_one_line(text), _QUOTED)
