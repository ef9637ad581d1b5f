"""The documents of the console's API that are about the whole farm, and the bodies that it takes.

What one node says of itself has the same documents as in the API of the daemon (`core.documents` and its siblings).
"""

from typing import Annotated, Generic, Literal, TypeVar

import msgspec

from hcsidecar.core.access.identity import Via
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.documents import CommandResult, Entry, NodeStatus
from hcsidecar.core.joining.messages import LONGEST_VALID
from hcsidecar.core.membership.heartbeat import NodeName, Power
from hcsidecar.core.metric_catalogue import Family
from hcsidecar.core.remarks import LONGEST_ORIGIN, LONGEST_TEXT, OPERATOR, RemarkLevel
from hcsidecar.core.settings.documents import DEFAULT_CONFIRM, Without
from hcsidecar.core.settings.messages import LONGEST_CONFIRM
from hcsidecar.core.settings.revision import MAX_FILES, Digest, Number

T = TypeVar("T")

Nodes = Annotated[tuple[NodeName, ...], msgspec.Meta(max_length=64)]


class NodeAnswer(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """What one node has answered, or why it has not."""

    node: str
    answers: bool
    problem: str = ""
    "Why there is no answer, in plain words."
    document: T | None = None


class NodeAnswers(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """What each node has answered, in the order of the farm file."""

    nodes: tuple[NodeAnswer[T], ...]


class NodeOverview(msgspec.Struct, frozen=True, kw_only=True):
    """One node as the console knows it."""

    name: str
    answers: bool
    "It has answered the console just now."
    problem: str = ""
    "Why it has not, in plain words."
    age: float | None = None
    "Seconds since it last told `status`; None if it has not, since the console was started."
    status: NodeStatus | None = None
    "What it last told of itself."
    seen: NodeStatus | None = None
    "What the console's own node sees of it; None while that one does not answer."


class FarmOverview(msgspec.Struct, frozen=True, kw_only=True):
    """The whole farm: `GET /api/v1/farm`."""

    farm: str
    node: str
    "The console's own node, through which it asks the others."
    version: str
    keep_ready: int
    "How many nodes are to stay Ready."
    lame_duck: float
    "Seconds that a drain may take."
    shares: tuple[str, ...] = ()
    view: tuple[str, ...] = ()
    "The nodes that take shares together, as the console's own node sees it."
    nodes: tuple[NodeOverview, ...] = ()


class Counters(msgspec.Struct, frozen=True, kw_only=True):
    """The metrics of one node."""

    families: tuple[Family, ...]


class FarmEvents(msgspec.Struct, frozen=True, kw_only=True):
    """Events of all nodes, the oldest first: `GET /api/v1/events`."""

    events: tuple[Entry, ...]
    before: str
    "Where to go on with older ones, as the parameter `before`; empty if there are none."
    problems: dict[str, str] = {}
    "By node: why some or all of its events are not here."


class SignInBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Name and password of a user: `POST /api/v1/session`."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    password: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]

    def __repr__(self) -> str:
        return f"SignInBody(name={self.name!r})"


class SessionReport(msgspec.Struct, frozen=True, kw_only=True):
    """Who is signed in: `GET /api/v1/session`."""

    name: str
    role: AccessRole
    via: Via
    csrf: str
    "To be sent in the header X-Hcsidecar-CSRF with whatever changes something; empty for a program with a token."


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """It is done, and there is nothing more to say."""

    ok: bool = True


class FarmActionBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command to one, several or all nodes: `POST /api/v1/actions/ACTION`."""

    nodes: Nodes = ()
    "None: all nodes of the farm."
    force: bool = False


class FarmPowerBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another weight of nodes: `POST /api/v1/power`."""

    power: Power | None
    "None: back to the farm file's."
    share: Annotated[str, msgspec.Meta(max_length=63)] | None = None
    "The share group; None: all of them."
    nodes: Nodes = ()
    "None: all nodes of the farm."


class FarmLogBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event for the log of nodes: `POST /api/v1/log`."""

    level: RemarkLevel
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_TEXT)]
    origin: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_ORIGIN)] = OPERATOR
    nodes: Nodes = ()
    "None: all nodes of the farm."


class FarmResults(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a command on each node, at once: that it has begun, not that it is done."""

    ok: bool
    "All nodes have accepted it."
    nodes: tuple[NodeAnswer[CommandResult], ...]


class RollingBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command to all nodes, one after the other: `POST /api/v1/rolling`."""

    action: Literal["restart", "restart-daemon"]
    limit: Annotated[float, msgspec.Meta(ge=1, le=86_400)] = 300.0
    "Seconds that a node may take to become Ready again; then the command gives up."


class RollingReport(msgspec.Struct, frozen=True, kw_only=True):
    """A rolling command, and how far it is: `GET /api/v1/rolling/ID`."""

    id: str
    action: str
    by: str
    "Who has begun it."
    started_at: float
    "Seconds since 1970."
    state: Literal["running", "done", "failed", "cancelled"]
    node: str = ""
    "The node that it is at."
    lines: tuple[str, ...] = ()
    "What has happened, the oldest first."
    outcome: str = ""
    "How it ended."


class RollingReports(msgspec.Struct, frozen=True, kw_only=True):
    """The latest rolling commands of this console, the newest first: `GET /api/v1/rolling`."""

    rolling: tuple[RollingReport, ...]


class UploadedFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of a bundle."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
    "Its path below the directory of the farm file, which is farm.toml itself."
    content: bytes
    "In base64."
    executable: bool = False


class PlanBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to become the farm's settings: `POST /api/v1/settings/candidates`; at most one of the first three.

    Without any of them it is the farm file of the console's own node, with the files that it names.
    """

    files: Annotated[tuple[UploadedFile, ...], msgspec.Meta(min_length=1, max_length=MAX_FILES)] | None = None
    number: Number | None = None
    "A former revision, to go back to its content."
    take: NodeName | None = None
    "The node whose revision is to be that of all, after a conflict."
    message: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    without: Without = ()
    "Nodes that need not agree: dead ones."


class DraftBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files that are to become settings, to be checked without a node: `POST /api/v1/settings/checks`."""

    files: Annotated[tuple[UploadedFile, ...], msgspec.Meta(min_length=1, max_length=MAX_FILES)]


class SafekitBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A SafeKit module that is to become files of a draft: `POST /api/v1/settings/safekit`."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    "What its file is called: `web.safe` or `userconfig.xml`."
    content: bytes
    "The file, in base64."
    farm_file: bytes
    "The farm file that its tables are put into, in base64."
    macros: Annotated[dict[str, str], msgspec.Meta(max_length=200)] = {}
    "Macros that are set, over their values in the module."


class JoinLineBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a join line is to be good for: `POST /api/v1/joining/tokens`."""

    node: NodeName | None = None
    "Only for a new node of this name; None: any."
    valid: Annotated[float, msgspec.Meta(ge=1, le=LONGEST_VALID)] = 900.0
    "Seconds."


class JoinLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line to paste on a new server. Whoever has it can become a node, once and while it is good."""

    command: str
    valid: float
    "Seconds."

    def __repr__(self) -> str:
        return f"JoinLine(valid={self.valid!r})"


class ApplyBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A candidate to apply: `POST /api/v1/settings/proposals`."""

    digest: Digest
    confirm: Annotated[float, msgspec.Meta(ge=1, le=LONGEST_CONFIRM)] = DEFAULT_CONFIRM
    "Seconds within which all nodes must hear each other with the new settings."
