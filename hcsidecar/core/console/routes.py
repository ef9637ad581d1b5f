"""The table of the console's API: by it requests are checked and served, and from it comes the OpenAPI document.

A handler in `hcsidecar.console` has the name of its route. Each route names the lowest role that may use it; the daemon
checks the role once more, by its own table (`core.access.roles`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec

from hcsidecar.core.access.documents import AccessReport, AccessResult
from hcsidecar.core.access.record import TokenName, UserName
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.console import access_bodies as a
from hcsidecar.core.console import documents as d
from hcsidecar.core.console import queries as q
from hcsidecar.core.console.draft_check import DraftCheck
from hcsidecar.core.console.paths import path_parameters
from hcsidecar.core.console.safekit_upload import SafekitReport
from hcsidecar.core.documents import ChecksReport, CommandResult, EventPage, FarmStatus, NodeSeries, RunOutput, Runs
from hcsidecar.core.l2_documents import LayerTwoCheck
from hcsidecar.core.membership.heartbeat import NodeName
from hcsidecar.core.notify.documents import NotificationsReport
from hcsidecar.core.settings.documents import CandidateReport, DifferencesReport, SettingsReport
from hcsidecar.core.settings.revision import Digest, Manifest
from hcsidecar.core.targets.documents import TargetsReport
from l2mode.core.documents import ClientExplanation, LayerTwoReport

PREFIX: Final = "/api/v1"
MAX_BODY: Final = 65_536
"Bytes of a request's body."
MAX_UPLOAD: Final = 6 * 1024 * 1024
"Bytes of a bundle: 4 MiB, a third more in base64, and its names."

ACTIONS: Final = ("start", "stop", "restart", "drain", "resume", "leave", "restart-daemon")

PATH_PARAMETERS: Final[Mapping[str, tuple[Any, str]]] = {
    "node": (NodeName, "the name of a node"),
    "action": (Annotated[str, msgspec.Meta(pattern="^[a-z-]{1,32}$")], f"one of {', '.join(ACTIONS)}"),
    "run": (Annotated[str, msgspec.Meta(min_length=1, max_length=200)], "the name of a run; `last` is the newest"),
    "id": (Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")], "the id of a rolling command"),
    "user": (UserName, "the name of a user"),
    "token": (TokenName, "the name or id of an API token"),
    "digest": (Digest, "the digest of a revision"),
    "sha256": (Digest, "the SHA-256 of a file"),
}
"The parts of paths in braces: type and meaning."


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row of the table."""

    name: str
    "Of the operation and its handler."
    method: str
    path: str
    "Below PREFIX."
    summary: str
    "What it does, as a sentence."
    answer: Any
    "The type of the document that it answers with; bytes for a file, None for a stream of events."
    role: AccessRole | None
    "The lowest that may use it; None: nobody need be signed in."
    query: type[msgspec.Struct] = q.NoQuery
    body: type[msgspec.Struct] | None = None
    status: HTTPStatus = HTTPStatus.OK
    max_body: int = MAX_BODY
    problems: tuple[HTTPStatus, ...] = ()
    "Statuses of refusals beyond those that every route has."


def _read(name: str, path: str, summary: str, answer: Any, query: type[msgspec.Struct] = q.NoQuery) -> Route:
    return Route(
        name=name, method="GET", path=path, summary=summary, answer=answer, query=query, role=AccessRole.MONITOR
    )


_REFUSED = (HTTPStatus.CONFLICT,)

ROUTES: Final[tuple[Route, ...]] = (
    Route(
        name="openapi",
        method="GET",
        path="/openapi.json",
        summary="Return this description of the API.",
        answer=dict[str, Any],
        role=None,
    ),
    Route(
        name="sign_in",
        method="POST",
        path="/session",
        summary="Sign in with name and password; the answer sets a cookie.",
        answer=d.SessionReport,
        body=d.SignInBody,
        role=None,
        problems=(HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS),
    ),
    _read("session", "/session", "Return who is signed in.", d.SessionReport),
    Route(
        name="sign_out",
        method="DELETE",
        path="/session",
        summary="Sign out of this browser: the answer removes the cookie.",
        answer=d.Done,
        role=AccessRole.MONITOR,
    ),
    _read(
        "farm",
        "/farm",
        "Return the whole farm: each node, whether it answers, and its last known state.",
        d.FarmOverview,
    ),
    _read("status", "/nodes/{node}/status", "Return the farm as one node sees it.", FarmStatus),
    _read("events", "/events", "Return events of all nodes, in the order of time.", d.FarmEvents, q.FarmEventsQuery),
    _read("node_events", "/nodes/{node}/events", "Return events of one node.", EventPage, q.NodeEventsQuery),
    _read("runs", "/runs", "Return the newest runs of scripts on each node.", d.NodeAnswers[Runs], q.RunsQuery),
    _read("node_runs", "/nodes/{node}/runs", "Return the newest runs of scripts on one node.", Runs, q.RunsQuery),
    _read("output", "/nodes/{node}/runs/{run}", "Return the output of a run.", RunOutput, q.OutputQuery),
    _read("checks", "/checks", "Return the checks of each node and their latest results.", d.NodeAnswers[ChecksReport]),
    _read(
        "shares",
        "/shares",
        "Return the layer-2 mode of each node: shares, virtual IPs, packets.",
        d.NodeAnswers[LayerTwoReport],
    ),
    _read(
        "layer_two_check",
        "/nodes/{node}/layer-two/check",
        "Let a node check what it needs of its machine and network.",
        LayerTwoCheck,
    ),
    _read("explain", "/explain", "Return which node serves a client, and why.", ClientExplanation, q.ClientQuery),
    _read("counters", "/counters", "Return the metrics of each node.", d.NodeAnswers[d.Counters]),
    _read(
        "series",
        "/series",
        "Return the last hour of each node: Ready, shares and rates, one sample each 10 s.",
        d.NodeAnswers[NodeSeries],
    ),
    _read("targets", "/targets", "Return what each node is at its load balancers.", d.NodeAnswers[TargetsReport]),
    _read(
        "notifications",
        "/notifications",
        "Return the receivers of notifications of each node.",
        d.NodeAnswers[NotificationsReport],
    ),
    _read(
        "settings",
        "/settings",
        "Return the revisions of each node's settings, and how a proposal goes on.",
        d.NodeAnswers[SettingsReport],
    ),
    Route(
        name="differences",
        method="GET",
        path="/settings/differences",
        summary="Return what a revision has changed, or what of the operator's files is not applied.",
        answer=DifferencesReport,
        query=q.DifferencesQuery,
        role=AccessRole.ADMIN,
    ),
    Route(
        name="manifest",
        method="GET",
        path="/settings/revisions/{digest}",
        summary="Return the manifest of a revision: its files, its author and why it was made.",
        answer=Manifest,
        role=AccessRole.ADMIN,
    ),
    Route(
        name="file",
        method="GET",
        path="/settings/revisions/{digest}/files/{sha256}",
        summary="Return the content of a file of a revision.",
        answer=bytes,
        role=AccessRole.ADMIN,
    ),
    Route(
        name="check_draft",
        method="POST",
        path="/settings/checks",
        summary="Check files as new settings without asking a node: every problem, with its key and line.",
        answer=DraftCheck,
        body=d.DraftBody,
        role=AccessRole.ADMIN,
        max_body=MAX_UPLOAD,
    ),
    Route(
        name="import_safekit",
        method="POST",
        path="/settings/safekit",
        summary="Make files of a draft from a SafeKit module, and say what became of each part. Nothing changes.",
        answer=SafekitReport,
        body=d.SafekitBody,
        role=AccessRole.ADMIN,
        max_body=MAX_UPLOAD,
    ),
    Route(
        name="join_line",
        method="POST",
        path="/joining/tokens",
        summary="Make the line that is pasted on a new server so that it joins; it is good once.",
        answer=d.JoinLine,
        body=d.JoinLineBody,
        role=AccessRole.ADMIN,
        problems=_REFUSED,
    ),
    Route(
        name="plan",
        method="POST",
        path="/settings/candidates",
        summary="Check new settings on every node, and return what they do to whom. Nothing changes.",
        answer=CandidateReport,
        body=d.PlanBody,
        role=AccessRole.ADMIN,
        max_body=MAX_UPLOAD,
        problems=_REFUSED,
    ),
    Route(
        name="apply",
        method="POST",
        path="/settings/proposals",
        summary="Apply the latest candidate; `GET /settings` tells how that goes on.",
        answer=CommandResult,
        body=d.ApplyBody,
        role=AccessRole.ADMIN,
        problems=_REFUSED,
    ),
    Route(
        name="act",
        method="POST",
        path="/actions/{action}",
        summary="Give a command to one, several or all nodes.",
        answer=d.FarmResults,
        body=d.FarmActionBody,
        role=AccessRole.CONTROL,
    ),
    Route(
        name="set_power",
        method="POST",
        path="/power",
        summary="Give nodes another weight.",
        answer=d.FarmResults,
        body=d.FarmPowerBody,
        role=AccessRole.CONTROL,
    ),
    Route(
        name="log",
        method="POST",
        path="/log",
        summary="Write an event into the log of nodes.",
        answer=d.FarmResults,
        body=d.FarmLogBody,
        role=AccessRole.CONTROL,
    ),
    _read("rolling", "/rolling", "Return the latest rolling commands of this console.", d.RollingReports),
    _read("rolling_one", "/rolling/{id}", "Return how far a rolling command is.", d.RollingReport),
    Route(
        name="begin_rolling",
        method="POST",
        path="/rolling",
        summary="Give a command to all nodes, one after the other, each when the one before is Ready again.",
        answer=d.RollingReport,
        body=d.RollingBody,
        role=AccessRole.CONTROL,
        status=HTTPStatus.ACCEPTED,
        problems=_REFUSED,
    ),
    Route(
        name="cancel_rolling",
        method="DELETE",
        path="/rolling/{id}",
        summary="Begin no further node; the farm stays in its present state.",
        answer=d.RollingReport,
        role=AccessRole.CONTROL,
    ),
    Route(
        name="snapshot",
        method="GET",
        path="/snapshot",
        summary="Make a support snapshot of nodes, without secrets: a zip archive. It takes up to a minute.",
        answer=bytes,
        query=q.SnapshotQuery,
        role=AccessRole.CONTROL,
    ),
    Route(
        name="access",
        method="GET",
        path="/access",
        summary="Return the users and API tokens.",
        answer=AccessReport,
        role=AccessRole.ADMIN,
    ),
    Route(
        name="add_user",
        method="POST",
        path="/access/users",
        summary="Add a user.",
        answer=AccessResult,
        body=a.NewUserBody,
        role=AccessRole.ADMIN,
        problems=_REFUSED,
    ),
    Route(
        name="set_password",
        method="POST",
        path="/access/users/{user}/password",
        summary="Give a user another password; his sessions end. Everybody may do so for himself.",
        answer=AccessResult,
        body=a.NewPasswordBody,
        role=AccessRole.MONITOR,
        problems=_REFUSED,
    ),
    Route(
        name="set_role",
        method="POST",
        path="/access/users/{user}/role",
        summary="Give a user another role; his sessions end.",
        answer=AccessResult,
        body=a.NewRoleBody,
        role=AccessRole.ADMIN,
        problems=_REFUSED,
    ),
    Route(
        name="remove_user",
        method="DELETE",
        path="/access/users/{user}",
        summary="Remove a user; his sessions end.",
        answer=AccessResult,
        query=a.ForceQuery,
        role=AccessRole.ADMIN,
        problems=_REFUSED,
    ),
    Route(
        name="add_token",
        method="POST",
        path="/access/tokens",
        summary="Make an API token; it is shown this once.",
        answer=a.NewToken,
        body=a.NewTokenBody,
        role=AccessRole.ADMIN,
        problems=_REFUSED,
    ),
    Route(
        name="revoke_token",
        method="DELETE",
        path="/access/tokens/{token}",
        summary="Revoke an API token, by its name or id.",
        answer=AccessResult,
        role=AccessRole.ADMIN,
        problems=_REFUSED,
    ),
    Route(
        name="stream",
        method="GET",
        path="/stream",
        summary="Follow the farm by server-sent events: states of nodes, events, rolling commands.",
        answer=None,
        role=AccessRole.MONITOR,
        problems=(HTTPStatus.TOO_MANY_REQUESTS,),
    ),
)
"""All of it, in the order of the document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A route that serves a path, and what stands for the parts in braces."""

    route: Route
    parameters: Mapping[str, str]


def find_route(method: str, path: str) -> Match | tuple[str, ...]:
    """Return the route of a request, or which methods its path has: none if there is no such path.

    `path` is percent-decoded part by part and begins with PREFIX.
    """
    parts = path.split("/")
    methods = []
    for route in ROUTES:
        parameters = path_parameters(f"{PREFIX}{route.path}".split("/"), parts)
        if parameters is None:
            continue
        if route.method == method:
            return Match(route=route, parameters=parameters)
        methods.append(route.method)
    return tuple(dict.fromkeys(methods))


def why_not_parameter(name: str, value: str) -> str | None:
    """Return why a part of a path cannot be what it stands for, or None."""
    kind, meaning = PATH_PARAMETERS[name]
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return f"{value[:64]!r} in the path is not right: {meaning} is wanted"
    return None
