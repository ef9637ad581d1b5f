"""What HAProxy's runtime API shows of a server, and what its refusals mean.

Answers are text without a code (HAProxy's management guide, 9.3). So an answer to a command is never believed: each
line of commands ends with a look at the server, and the look says what became of it. The words before the look serve
only to say why.
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
"Characters of an answer that are shown to the operator."


class Admin(IntFlag):
    """`srv_admin_state`: what people, agents and the configuration have made of a server."""

    FORCED_MAINT = 0x01
    INHERITED_MAINT = 0x02
    CONFIGURED_MAINT = 0x04
    FORCED_DRAIN = 0x08
    INHERITED_DRAIN = 0x10
    UNRESOLVED = 0x20


class Checks(IntFlag):
    """`srv_check_state` and `srv_agent_state`."""

    IN_PROGRESS = 0x01
    CONFIGURED = 0x02
    ENABLED = 0x04
    PAUSED = 0x08


_DISABLED: Final = Admin.FORCED_MAINT | Admin.CONFIGURED_MAINT
"The configuration says `disabled`, and nobody has made it ready since."
STOPPED, STARTING, RUNNING, STOPPING = range(4)
"`srv_op_state`."


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """Where this node is to be at HAProxy."""

    backend: str
    server: str
    address: str
    port: int
    "0 where nothing is added."
    options: str
    check_port: int | None
    "That of the health URL; None when the operator has options of his own, or the server is HAProxy's."
    dynamic: bool
    "The server is added and deleted, and not only made ready or drained."

    @property
    def path(self) -> str:
        """The server, as commands name it."""
        return f"{self.backend}/{self.server}"

    @property
    def look(self) -> str:
        """The commands that show the servers of the backend."""
        return f"show servers state {self.backend}; show stat {self.backend} 4 -1; show info"


@dataclass(frozen=True, slots=True, kw_only=True)
class HaproxyServer:
    """A server, as HAProxy shows it."""

    address: str
    port: int
    admin: Admin
    state: int
    checks: Checks
    check_port: int
    agent: Checks
    sessions: int
    "With requests that wait in its queue."
    idle: int
    "Connections to it that are kept for later requests."
    check_status: str
    "INI before the first, else as in the manual, 9.1; empty without a check."
    check_words: str

    @property
    def is_held(self) -> bool:
        """True in a maintenance that the configuration has not begun."""
        maint = self.admin & (Admin.FORCED_MAINT | Admin.INHERITED_MAINT | Admin.UNRESOLVED)
        return bool(maint or self.admin & Admin.INHERITED_DRAIN) and not self.is_disabled

    @property
    def is_disabled(self) -> bool:
        """True while it is as the `disabled` of the configuration has made it."""
        return self.admin & _DISABLED == _DISABLED

    @property
    def is_drained(self) -> bool:
        """True when it is out, and no agent will bring it back."""
        return bool(self.admin & Admin.FORCED_DRAIN) and not self.has_agent

    @property
    def has_agent(self) -> bool:
        """True when an agent-check has a say in its state."""
        return bool(self.agent & Checks.CONFIGURED and self.agent & Checks.ENABLED)

    @property
    def is_free(self) -> bool:
        """True when nothing goes on through it, so that it can be deleted."""
        return not self.sessions and not self.idle


@dataclass(frozen=True, slots=True, kw_only=True)
class HaproxyProcess:
    """The HAProxy that has answered."""

    number: int
    uptime: int
    "In seconds."

    def has_followed(self, former: "HaproxyProcess") -> bool:
        """Tell whether it has taken the place of another one: after a reload, or a restart."""
        # In a container each may have the same number.
        return self.number != former.number or self.uptime < former.uptime


def process_in(answer: str) -> HaproxyProcess | None:
    """Read which HAProxy has answered; None if it does not say."""
    # It comes last, and what is before may be megabytes.
    info = answer[max(0, answer.rfind(_INFO)) :]
    found = {name: re.search(rf"^{name}: ([0-9]+)$", info, re.MULTILINE) for name in ("Pid", "Uptime_sec")}
    number, uptime = found["Pid"], found["Uptime_sec"]
    return None if number is None or uptime is None else HaproxyProcess(number=int(number[1]), uptime=int(uptime[1]))


def server_in(answer: str, place: ServerAddress) -> HaproxyServer | None:
    """Read what a look at the backend has shown of the server; None: there is none of this name.

    TargetError says why the answer shows nothing.
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
    """Give the lines that have something in them: a backend may have thousands of others, which nobody need read."""
    at = text.find(words)
    while at >= 0:
        end = text.find("\n", at + len(words))
        end = len(text) if end < 0 else end
        yield text[text.rfind("\n", 0, at + 1) + 1 : end]
        at = text.find(words, end)


def _server_in(states: str, statistics: str, place: ServerAddress) -> HaproxyServer | None:
    names = ("be_id", *states.partition("\n")[0].split())
    # So that the last word of a line has a blank behind it, too.
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
        # While a check runs, a star stands before the result of the last one.
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
    """Say what an answer without the expected sight means, and what to do."""
    # An answer is all answers of a line, and the sight of what is comes last.
    words = answer.partition(_STATE)[0].removesuffix("1\n").strip()
    lower = words.lower()
    for sign, trouble, text in _REFUSALS:
        if sign in lower:
            return TargetError(trouble, text.format(backend=place.backend, server=place.server, words=quote(words)))
    if not words:
        return TargetError(Trouble.RETRY, "HAProxy has given no answer: does it end, or are too many connected to it?")
    return TargetError(Trouble.RETRY, f"HAProxy has not done what it was asked for; it says: {quote(words)}")


_TOO_OLD: Final = (
    'HAProxy does not know a command: version 2.6 or newer is needed; with servers = "static", any since 1.8 may do'
)
_REFUSALS: Final = (
    (
        "permission denied",
        Trouble.AUTH,
        "HAProxy does not permit this here: its line `stats socket` needs `level admin`",
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
        "backend {backend} balances by a method that takes no added servers: set `balance roundrobin` or `leastconn`",
    ),
    ("unknown command", Trouble.CONFIG, _TOO_OLD),
    ("experimental", Trouble.CONFIG, _TOO_OLD),
    ("unknown keyword", Trouble.CONFIG, "HAProxy does not take the options of an added server: {words}"),
    ("http/1.", Trouble.CONFIG, "what answers there is no runtime API of HAProxy but an HTTP server: {words}"),
)
"What stands in an answer in lower case, and what it means."


def quote(text: str) -> str:
    """Put what came from HAProxy on one line, without what could steer a terminal."""
    return shortened(on_one_line(text), _QUOTED)
