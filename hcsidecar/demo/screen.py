"""What the live view looks like: a picture of the farm and its client, drawn. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from hcsidecar.demo.chronicle import Happening
from hcsidecar.demo.plan import Plan
from hcsidecar.demo.sight import DEAD, READY, STOPPED
from hcsidecar.demo.traffic import RATE

FULL_BAR = 24
"Characters of the bar of a server that gets every request."
KEYS = (
    ("1 2 3", "choose"),
    ("s", "stop gently"),
    ("k", "kill -9"),
    ("b", "bring back"),
    ("d", "drain"),
    ("r", "resume"),
    ("q", "quit"),
)
STYLES = {READY: "green", STOPPED: "dim", DEAD: "bold red", "UP": "green", "DOWN": "bold red"}
"Colours of conditions and of HAProxy's states; every other is on its way somewhere."
_ON_ITS_WAY = "yellow"
_ORIGIN_WIDTH = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A server in the picture."""

    name: str
    condition: str
    why: str
    "Why it is not Ready, or what its drain waits for; empty when there is nothing to say."
    balancer: str
    "HAProxy's state of it."
    probe: str
    "What HAProxy's last probe met."
    per_second: float
    "Requests that it answered, lately."


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """All that is shown."""

    servers: tuple[Line, ...]
    chosen: str | None
    "The server that keys act on; None when there are no keys."
    requests: int
    failed: int
    failed_per_second: float
    "Lately."
    longest_gap: float
    "Seconds without a good answer, at most, since the beginning."
    since: float
    "When it began, in seconds of the monotonic clock."
    happenings: Sequence[Happening]


def draw(picture: Picture, plan: Plan, *, height: int) -> RenderableType:
    """Draw the picture for a terminal of so many lines."""
    above: list[RenderableType] = [_farm(picture), Text(), _client(picture), Rule(style="dim")]
    below: list[RenderableType] = [Rule(style="dim"), *_footer(picture, plan)]
    heading_and_servers = 1 + len(picture.servers)
    room = max(0, height - heading_and_servers - len(above[1:]) - len(below))
    latest = picture.happenings[-room:] if room else []
    happenings: list[RenderableType] = [happening_text(happening, since=picture.since) for happening in latest]
    filling: list[RenderableType] = [Text() for _ in range(room - len(happenings))]
    return Group(*above, *happenings, *filling, *below)


def happening_text(happening: Happening, *, since: float) -> Text:
    """Tell one happening in a line."""
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{happening.at - since:7.1f} s  ", style="dim")
    text.append(f"{happening.origin:<{_ORIGIN_WIDTH}}  ", style="cyan")
    text.append(happening.text, style="red" if happening.grave else "")
    return text


def client_text(picture: Picture) -> str:
    """Tell in one line what the client has seen."""
    now = f" ({picture.failed_per_second:.0f}/s now)" if picture.failed_per_second else ""
    return f"{picture.requests} requests, {picture.failed} failed{now}, longest gap {picture.longest_gap * 1000:.0f} ms"


def plain_text(picture: Picture) -> str:
    """Tell the whole picture in one line, for who has no terminal."""
    servers = (f"{line.name} {line.condition} {line.per_second:.0f}/s" for line in picture.servers)
    return f"{', '.join(servers)}; {client_text(picture)}"


def bar(per_second: float) -> str:
    """Draw a rate, in half characters."""
    halves = round(min(1.0, per_second / RATE) * FULL_BAR * 2)
    return "█" * (halves // 2) + "▌" * (halves % 2)


def _farm(picture: Picture) -> RenderableType:
    table = Table(box=None, expand=True, pad_edge=False, header_style="dim")
    for heading, width in (("", 1), ("server", 6), ("state", None), ("HAProxy, its probe", None), ("", 3)):
        table.add_column(heading, no_wrap=True, min_width=width)
    # A server that has a reason not to serve has little or no bar, and room to tell.
    table.add_column("requests/s", no_wrap=True, overflow="ellipsis", ratio=1)
    for line in picture.servers:
        chosen = line.name == picture.chosen
        table.add_row(
            "▶" if chosen else " ",
            Text(line.name, style="bold reverse" if chosen else "bold"),
            Text(line.condition, style=STYLES.get(line.condition, _ON_ITS_WAY)),
            Text.assemble((line.balancer, STYLES.get(line.balancer, _ON_ITS_WAY)), (f" {line.probe}", "dim")),
            Text(f"{line.per_second:.0f}", justify="right"),
            Text.assemble((bar(line.per_second), "green"), " " if line.per_second else "", line.why),
        )
    return table


def _client(picture: Picture) -> Text:
    text = Text("client: ", style="dim", no_wrap=True, overflow="ellipsis")
    text.append(client_text(picture), style="bold red" if picture.failed_per_second else "not dim")
    return text


def _footer(picture: Picture, plan: Plan) -> list[Text]:
    first, second, _ = plan.servers
    lines = [
        f"pages: {plan.front_url} clients · {plan.stats_url} HAProxy's own · {plan.health_url(second)} health",
        f"or:    hcsidecar status --config {plan.farm_file(first)} --node {first.name}",
    ]
    keys = Text(no_wrap=True, overflow="ellipsis")
    if picture.chosen is None:
        keys.append("Ctrl-C quits", style="bold")
    for key, meaning in KEYS if picture.chosen is not None else ():
        keys.append(key, style="bold reverse")
        keys.append(f" {meaning}  ")
    keys.rstrip()
    return [keys, *(Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in lines)]
