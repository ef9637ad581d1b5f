"""The documents of the API: each type is what one end encodes and the other decodes.

Daemons and commands of different versions speak with each other. So keys are only ever added, a reader passes over
those that it does not know, and what an older version does not say has a default. Keys are told in the order in which
they stand here. What layer-2 mode tells is in `l2mode.core.documents`, targets in `core.targets.documents`, metrics in
`core.metric_catalogue`.
"""

from typing import Annotated, Literal

import msgspec

from hcsidecar.core.events import Level


class RestartsUsed(msgspec.Struct, frozen=True, kw_only=True):
    """The restart budget, as the status document has it."""

    used: int
    "Failures that count now."
    most: int
    "How many it takes; one more stops the application."


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One node in the status document.

    Only of itself does a node tell `parting`, `waits_for` and `restarts`.
    """

    name: str
    address: str = ""
    "Its main address, as in the farm file."
    alive: bool
    "It is heard, and hears the node that tells this."
    role: str | None = None
    "STOP, WAIT or UP; None when it is not alive."
    status: str | None = None
    "NotReady, Transient or Ready; None when it is not alive."
    draining: bool = False
    "It serves on and asks for no new traffic."
    parting: bool = False
    "It takes traffic until its balancers have drained it, and leaves then."
    power: int = 0
    "Its weight in the first share."
    reason: str = ""
    "Why it is not Ready, or not in the view; empty when there is nothing to say."
    waits_for: tuple[str, ...] = ()
    "What its drain or its stop still waits for, in plain words."
    restarts: RestartsUsed | None = None
    "None where nothing is restarted."
    share: dict[str, float] = {}
    "Its part of each share, 0 to 1; empty without [l2]."
    powers: dict[str, int] = {}
    "Its weight in each share, as far as it is known."
    file_powers: dict[str, int] = {}
    "The same by the farm file of the node that tells this."


class FarmStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The status document: the whole farm as one node sees it, the same for command line, API and programs."""

    farm: str
    node: str
    "Who tells it."
    view: tuple[str, ...]
    "Those that take shares together; empty when `node` is out."
    nodes: tuple[NodeStatus, ...]
    "All nodes of the farm file, in its order."

    def of(self, name: str) -> NodeStatus:
        """Return what it says about a node; one that it does not know is not alive."""
        unknown = NodeStatus(name=name, alive=False, reason="not in the farm file of the daemon that was asked")
        return next((node for node in self.nodes if node.name == name), unknown)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An event with its place in the journal."""

    number: int
    time: float
    "Wall clock, seconds since 1970 in UTC: for people, never for decisions."
    node: str
    level: Level
    origin: str
    message: str


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """What came after a number, or before one: `GET /api/v1/events`."""

    node: str
    missed: int
    "Entries after that number which are no longer held."
    next: int
    "The number to ask with next; it passes over entries that are not wanted."
    previous: int = 0
    "The number before which to ask for older ones; 0 when there are none, or newer ones were asked for."
    lacking: str = ""
    "Why older events, which the store may have, are not here."
    events: tuple[Entry, ...]


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What a follower is told beside the events."""

    node: str
    notice: str
    missed: int = 0
    "Events that were overwritten before this follower took them."


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the daemon's log with `--log-json`."""

    time: str = ""
    "UTC, as 2026-11-28T03:40:01.123Z."
    node: str = ""
    level: Level
    origin: str
    message: str


class CommandResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a command, at once: that it has begun, not that it is done."""

    ok: bool
    text: str
    "One sentence; when not ok, the reason."
    warnings: tuple[str, ...] = ()


class RestartBudgetReport(msgspec.Struct, frozen=True, kw_only=True):
    """Restarts after failures: how many count now, and how many there may be. `GET /api/v1/budget`."""

    used: int
    most: int
    reached: bool
    "True when the next failure stops the application."


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a check says now: `GET /api/v1/reports/NAME`."""

    name: str
    value: Literal["up", "down", "init"]
    "init: it has said nothing yet."


class CheckState(msgspec.Struct, frozen=True, kw_only=True):
    """One check of a node and its latest result."""

    name: str
    value: Literal["up", "down", "init"]
    "init: it has no result yet."
    pre: bool = False
    "It checks a need of the application, and not the application itself."
    action: str = "none"
    "What happens when it fails: restart, stopstart, wait, stop or none."
    complaint: str = ""
    "Why it fails."


class ChecksReport(msgspec.Struct, frozen=True, kw_only=True):
    """All checks of a node, in the order of the farm file: `GET /api/v1/checks`."""

    node: str
    checks: tuple[CheckState, ...]


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the console needs to know of a node and its farm: `GET /api/v1/facts`."""

    farm: str
    node: str
    version: str
    nodes: tuple[str, ...]
    "All nodes of the farm file, in its order."
    keep_ready: int
    "[farm] keep_ready: how many nodes are to stay Ready."
    lame_duck: float
    "[health] lame_duck: seconds that a drain may take."
    shares: tuple[str, ...] = ()
    "The share groups; empty without [l2]."


class NodeSeries(msgspec.Struct, frozen=True, kw_only=True):
    """The last hour of a node, in columns of samples, the oldest first: `GET /api/v1/series`.

    All columns have the same length. null stands where there is no sample.
    """

    node: str
    interval: float
    "Seconds between two samples."
    ends_at: float
    "Wall clock of the newest sample, seconds since 1970 in UTC."
    ready: tuple[int | None, ...]
    "1 while the health URL answers 200, else 0."
    health: tuple[float | None, ...]
    "Requests of the health URL per second, since the sample before."
    connections: tuple[float | None, ...] | None = None
    "New connections and datagrams to the virtual IPs that the node takes, per second; None without [l2]."
    share: dict[str, tuple[float | None, ...]] = {}
    "Its part of each share in percent; empty without [l2]."


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a script."""

    name: str
    script: str
    started: float
    "Seconds since 1970."
    size: int
    "Bytes of output that are kept."


class Runs(msgspec.Struct, frozen=True, kw_only=True):
    """The newest runs of a node, oldest first: `GET /api/v1/runs`."""

    node: str
    runs: tuple[Run, ...]


class RunOutput(msgspec.Struct, frozen=True, kw_only=True):
    """A part of what a run has said: `GET /api/v1/runs/NAME`."""

    node: str
    name: str
    text: str
    next: str
    "The place to ask with for what follows."
    missed: bool = False
    "What was at the place that was asked for is gone; this is the oldest that is kept."
    more: bool = False
    "There is more already."


class Refusal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to a request that is not served."""

    reason: str
    "In plain words."
    starting: bool = False
    "The daemon is still starting, and the reason is what it waits for."
    challenge: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{32}\Z")] | None = None
    "The one to quote, where the request was signed for another."
