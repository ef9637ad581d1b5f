"""Draws the picture of the live view: the farm and its clients. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from hcsidecar.demo.chronicle import Happening
from hcsidecar.demo.plan import Plan
from hcsidecar.demo.sight import DEAD, READY, STOPPED
from hcsidecar.demo.through_vip import WAY
from hcsidecar.demo.traffic import RATE

FULL_BAR = 24
"Characters in the bar of a server that gets all requests."
SHARE_BAR = 12
"Characters in the bar of a server that has the whole share."
KEYS = (
    ("1 2 3", "choose"),
    ("s", "stop gently"),
    ("k", "kill -9"),
    ("b", "bring back"),
    ("d", "drain"),
    ("r", "resume"),
    ("q", "quit"),
)
MORE_KEYS = (
    ("l", "cut link"),
    ("x", "kill daemon"),
    ("f", "freeze daemon"),
    ("h", "hang web server"),
    ("p", "change power"),
)
"The keys with a virtual IP."
RANGE = 3
"Length from which consecutive numbers are written as a range."
DIRECTOR_MARK = "*"
"The mark after the name of the server that answers for the virtual IP."
STYLES = {READY: "green", STOPPED: "dim", DEAD: "bold red", "UP": "green", "DOWN": "bold red"}
"The colours of conditions and of HAProxy's states; all others are transitions."
_ON_ITS_WAY = "yellow"
_ORIGIN_WIDTH = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class VipLine:
    """The part of a server in the virtual IP."""

    share: float
    "The fraction of the buckets that the view gives it, 0 to 1."
    power: int
    director: bool
    "Whether it answers for the virtual IP."
    per_second: float
    "Requests that it answered, lately."
    clients: tuple[str, ...]
    "The addresses of the clients that reach it."


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLine:
    """A server in the picture."""

    name: str
    condition: str
    why: str
    "Why it is not Ready, or what its drain waits for; empty if neither applies."
    balancer: str
    "Its state at HAProxy."
    probe: str
    "The result of HAProxy's last probe."
    per_second: float
    "Requests that it answered, lately."
    vip: VipLine | None = None
    "Its part in the virtual IP; None without one."


@dataclass(frozen=True, slots=True, kw_only=True)
class VipPicture:
    """What the clients of the virtual IP saw."""

    address: str
    requests: int
    failed: int
    failed_per_second: float
    "Lately."
    lost: int
    "Connections that clients had kept, and found broken."
    inside: int
    "The id of a process in the namespace of the server on which keys act, or of the first server."


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Everything that is shown."""

    servers: tuple[ServerLine, ...]
    chosen: str | None
    "The server on which keys act; None if there are no keys."
    requests: int
    failed: int
    failed_per_second: float
    "Lately."
    longest_gap: float
    "The longest time without a good answer since the beginning, in seconds."
    since: float
    "When the view began, in seconds of the monotonic clock."
    happenings: Sequence[Happening]
    vip: VipPicture | None = None
    console: str = ""
    "The link that signs a browser in at the console, once."


def draw(picture: Picture, plan: Plan, *, height: int) -> RenderableType:
    """Draw the picture for a terminal with `height` lines."""
    above: list[RenderableType] = [_farm(picture), Text(), *_clients(picture), Rule(style="dim")]
    below: list[RenderableType] = [Rule(style="dim"), *_footer(picture, plan)]
    heading_and_servers = 1 + len(picture.servers)
    room = max(0, height - heading_and_servers - len(above[1:]) - len(below))
    latest = picture.happenings[-room:] if room else []
    happenings: list[RenderableType] = [happening_text(happening, since=picture.since) for happening in latest]
    filling: list[RenderableType] = [Text() for _ in range(room - len(happenings))]
    return Group(*above, *happenings, *filling, *below)


def happening_text(happening: Happening, *, since: float) -> Text:
    """Return a happening as one line."""
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{happening.at - since:7.1f} s  ", style="dim")
    text.append(f"{happening.origin:<{_ORIGIN_WIDTH}}  ", style="cyan")
    text.append(happening.text, style="red" if happening.grave else "")
    return text


def client_text(picture: Picture) -> str:
    """Return in one line what the client of HAProxy has seen."""
    now = f" ({picture.failed_per_second:.0f}/s now)" if picture.failed_per_second else ""
    return f"{picture.requests} requests, {picture.failed} failed{now}, longest gap {picture.longest_gap * 1000:.0f} ms"


def plain_text(picture: Picture) -> str:
    """Return the whole picture as one line, for output that is not a terminal."""
    servers = (
        f"{line.name} {line.condition} {line.per_second:.0f}/s{_plain_vip(line.vip)}" for line in picture.servers
    )
    return f"{', '.join(servers)}; {seen_text(picture)}"


def seen_text(picture: Picture) -> str:
    """Return in one line what all clients have seen."""
    if picture.vip is None:
        return client_text(picture)
    return f"through HAProxy: {client_text(picture)}; {WAY}: {vip_text(picture.vip)}"


def vip_text(vip: VipPicture) -> str:
    """Return in one line what the clients of the virtual IP have seen."""
    now = f" ({vip.failed_per_second:.0f}/s now)" if vip.failed_per_second else ""
    return f"{vip.requests} requests, {vip.failed} failed{now}, {vip.lost} kept connections broke"


def _plain_vip(vip: VipLine | None) -> str:
    return f" ({len(vip.clients)} clients, {vip.per_second:.0f}/s)" if vip is not None else ""


def bar(part: float, *, full: int = FULL_BAR) -> str:
    """Return a bar for a fraction, 0 to 1, in steps of half a character."""
    halves = round(min(1.0, part) * full * 2)
    return "█" * (halves // 2) + "▌" * (halves % 2)


def in_ranges(numbers: Iterable[int]) -> str:
    """Return numbers in ascending order, with `RANGE` or more consecutive ones written as a range."""
    rows: list[list[int]] = []
    for number in sorted(numbers):
        if rows and rows[-1][-1] == number - 1:
            rows[-1].append(number)
        else:
            rows.append([number])
    return " ".join(f"{row[0]}–{row[-1]}" if len(row) >= RANGE else " ".join(map(str, row)) for row in rows)


def _farm(picture: Picture) -> RenderableType:
    table = Table(box=None, expand=True, pad_edge=False, header_style="dim")
    headings = [("", 1), ("server", 6), ("state", None), ("HAProxy, its probe", None), ("", 3)]
    if picture.vip is not None:
        headings[3:] = [("share, power", SHARE_BAR + 9), ("HAProxy, its probe", None), ("/s", 3), ("VIP/s", 5)]
    for heading, width in headings:
        table.add_column(heading, no_wrap=True, min_width=width)
    # A server with a reason not to serve has no clients to show, so the last column has room for the reason.
    last = "requests/s" if picture.vip is None else f"clients of {picture.vip.address}"
    table.add_column(last, no_wrap=True, overflow="ellipsis", ratio=1)
    for line in picture.servers:
        table.add_row(*_cells(line, chosen=line.name == picture.chosen))
    return table


def _cells(line: ServerLine, *, chosen: bool) -> list[RenderableType]:
    name = Text(line.name, style="bold reverse" if chosen else "bold")
    balancer = Text.assemble((line.balancer, STYLES.get(line.balancer, _ON_ITS_WAY)), (f" {line.probe}", "dim"))
    cells: list[RenderableType] = [
        "▶" if chosen else " ",
        name,
        Text(line.condition, style=STYLES.get(line.condition, _ON_ITS_WAY)),
        balancer,
        _rate(line.per_second),
    ]
    if line.vip is None:
        length = bar(line.per_second / RATE)
        return [*cells, Text.assemble((length, "green"), " " if line.per_second else "", line.why)]
    vip = line.vip
    if vip.director:
        name.append(DIRECTOR_MARK, style="not reverse")
    share = Text.assemble(
        (f"{bar(vip.share, full=SHARE_BAR):<{SHARE_BAR}}", "green"), f" {vip.share:4.0%}", (f"  {vip.power}", "dim")
    )
    reached = in_ranges([int(address.rpartition(".")[2]) for address in vip.clients])
    return [*cells[:3], share, *cells[3:], _rate(vip.per_second), Text(" ".join(filter(None, (reached, line.why))))]


def _rate(per_second: float) -> Text:
    return Text(f"{per_second:.0f}", justify="right")


def _clients(picture: Picture) -> list[Text]:
    if picture.vip is None:
        return [_seen("client", client_text(picture), failing=picture.failed_per_second > 0)]
    return [
        _seen("client of HAProxy ", client_text(picture), failing=picture.failed_per_second > 0),
        _seen("clients of the VIP", vip_text(picture.vip), failing=picture.vip.failed_per_second > 0),
    ]


def _seen(who: str, what: str, *, failing: bool) -> Text:
    text = Text(f"{who}: ", style="dim", no_wrap=True, overflow="ellipsis")
    text.append(what, style="bold red" if failing else "not dim")
    return text


def _footer(picture: Picture, plan: Plan) -> list[Text]:
    first, second, _ = plan.servers
    ask = f"--config {plan.farm_file(first)} --node {first.name}"
    lines = [
        f"pages: {plan.front_url} clients · {plan.stats_url} HAProxy's own",
        f"or:    hcsidecar status {ask}",
    ]
    if picture.vip is None:
        lines[0] += f" · {plan.health_url(second)} health"
    else:
        lines[1] = f"or:    hcsidecar explain {plan.clients[0]} {ask}"
        lines.append(f"inside {picture.chosen or first.name}: nsenter --net --target {picture.vip.inside} ip address")
    rows = [Text("Ctrl-C quits", style="bold")]
    if picture.chosen is not None:
        rows = [_keys(KEYS)] if picture.vip is None else [_keys(KEYS), _keys(MORE_KEYS)]
    if picture.console:
        rows.append(Text.assemble(("console: ", "bold"), (picture.console, "underline"), no_wrap=True))
    return [*rows, *(Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in lines)]


def _keys(row: Sequence[tuple[str, str]]) -> Text:
    keys = Text(no_wrap=True, overflow="ellipsis")
    for key, meaning in row:
        keys.append(key, style="bold reverse")
        keys.append(f" {meaning}  ")
    keys.rstrip()
    return keys
