"""The Settings pages: what is in force on each node, the files in an editor, the plan of a change, and its progress."""

import tomllib
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web

from hcsidecar.api.requests import ApiError
from hcsidecar.console.pages.page import Page, PageRequest
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.console import documents as d
from hcsidecar.core.console.probe_settings import likely_application_port, probe_settings
from hcsidecar.core.console.queries import DifferencesQuery
from hcsidecar.core.console.settings_draft import DraftFile, DraftForm, draft_of, in_order, text_of, uploaded
from hcsidecar.core.documents import CommandResult, Refusal
from hcsidecar.core.farmfile.farm_file import FarmFile, read
from hcsidecar.core.json_reading import read_json
from hcsidecar.core.membership.heartbeat import NodeName
from hcsidecar.core.settings.agreement import ProposalProgress
from hcsidecar.core.settings.documents import CandidateReport, DifferencesReport, SettingsReport, Without
from hcsidecar.core.settings.revision import FARM_FILE, Digest, Manifest, Number

_MAX_FORM: Final = 6 * 1024 * 1024
"Bytes of a form with all files of a bundle."
NO_REVISION: Final = "the farm has no revision yet: `hcsidecar apply` on a node makes the first one of its files"
_IN_PROGRESS: Final = (ProposalProgress.PREPARING, ProposalProgress.TRIAL)


class BalancersQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The port on which the nodes serve their clients."""

    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] | None = None


class BackForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asks for the plan of going back to a former revision, or of ending a conflict."""

    number: Number | None = None
    take: NodeName | None = None
    without: Without = ()
    "Nodes that need not agree: dead ones."


class UnappliedForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asks for the plan of applying the files on the disk of the console's node."""

    without: Without = ()
    "Nodes that need not agree: dead ones."


class ApplyForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A candidate that is to be applied."""

    digest: Digest
    confirm: Annotated[float, msgspec.Meta(ge=1, le=3600)] = 30.0


class RevisionQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is compared: a revision with the one before, or the files on the disk with what is in force."""

    revision: Number | None = None


async def show(request: PageRequest) -> web.StreamResponse:
    """Show what is in force on each node, and the revisions."""
    found: d.NodeAnswers[SettingsReport] = await request.api("settings")
    own = await _own_report(request, found)
    return request.render(
        "settings.html",
        found=found.nodes,
        own=own,
        running=_in_progress(own),
        proposal=None if own is None else own.proposal,
        is_admin=request.may(AccessRole.ADMIN),
    )


async def progress(request: PageRequest) -> web.StreamResponse:
    """Show how far a proposal is; the page asks again while it is in progress."""
    found: d.NodeAnswers[SettingsReport] = await request.api("settings")
    own = await _own_report(request, found)
    return request.render(
        "settings_progress.html", own=own, running=_in_progress(own), proposal=None if own is None else own.proposal
    )


async def changes(request: PageRequest) -> web.StreamResponse:
    """Show what a revision has changed, or what of the files on the disk is not applied."""
    number = request.query.revision
    found: DifferencesReport = await request.api("differences", query=DifferencesQuery(revision=number))
    return request.render("settings_changes.html", found=found, number=number)


async def balancers(request: PageRequest) -> web.StreamResponse:
    """Show what to type into a load balancer so that it probes the nodes of this farm."""
    files, contents = await _in_force(request)
    if not files:
        raise ApiError(HTTPStatus.CONFLICT, NO_REVISION)
    farm = read(tomllib.loads(contents[FARM_FILE].decode()))
    if not isinstance(farm, FarmFile):
        raise ApiError(HTTPStatus.CONFLICT, f"the farm file in force is not of this version: {farm[0]}")
    port = request.query.port or likely_application_port(farm)
    return request.render("settings_balancers.html", found=probe_settings(farm, application_port=port), port=port)


async def edit(request: PageRequest) -> web.StreamResponse:
    """Show the files that are in force in an editor."""
    files, _ = await _in_force(request)
    if not files:
        raise ApiError(HTTPStatus.CONFLICT, NO_REVISION)
    return _editor(request, files, message="", without=(), base=await _settled_digest(request))


async def edit_again(request: PageRequest) -> web.StreamResponse:
    """Show a draft in the editor again, with a file more or less."""
    draft = draft_of(request.form)
    if isinstance(draft, str):
        raise ApiError(HTTPStatus.BAD_REQUEST, draft)
    form: DraftForm = request.form
    return _editor(request, draft, message=form.message, without=form.without, base=form.base)


async def plan(request: PageRequest) -> web.StreamResponse:
    """Let every node check a draft, and show what it would do to whom. Nothing changes."""
    form: DraftForm = request.form
    draft = draft_of(form)
    if isinstance(draft, str):
        raise ApiError(HTTPStatus.BAD_REQUEST, draft)
    kept: Mapping[str, bytes] = {}
    if any(file.text is None for file in draft):
        _, kept = await _in_force(request)
    if missing := [file.name for file in draft if file.text is None and file.name not in kept]:
        raise ApiError(HTTPStatus.CONFLICT, f"{missing[0]} is not in force any more: edit again what is")
    body = d.PlanBody(files=uploaded(draft, kept), message=form.message, without=form.without)
    own = await _own_report(request, await request.api("settings"))
    is_stale = bool(form.base) and own is not None and own.settled is not None and own.settled.digest != form.base
    return await _planned(request, body, draft=draft, base=form.base, is_stale=is_stale)


async def plan_back(request: PageRequest) -> web.StreamResponse:
    """Show what going back to a former revision, or taking the settings of one node, would do."""
    form: BackForm = request.form
    message = f"back to revision {form.number}" if form.number is not None else f"the settings of {form.take} for all"
    body = d.PlanBody(number=form.number, take=form.take, message=message, without=form.without)
    return await _planned(request, body, again="/settings/back")


async def plan_unapplied(request: PageRequest) -> web.StreamResponse:
    """Show what applying the files on the disk of the console's node would do."""
    return await _planned(request, d.PlanBody(without=request.form.without), again="/settings/unapplied")


async def apply(request: PageRequest) -> web.StreamResponse:
    """Apply a candidate; the settings page shows how that goes on."""
    form: ApplyForm = request.form
    result: CommandResult = await request.api("apply", body=d.ApplyBody(digest=form.digest, confirm=form.confirm))
    if not result.ok:
        raise ApiError(HTTPStatus.CONFLICT, result.text)
    return request.go_to("/settings")


async def _planned(
    request: PageRequest,
    body: d.PlanBody,
    *,
    draft: Sequence[DraftFile] = (),
    again: str = "/settings/plan",
    base: str = "",
    is_stale: bool = False,
) -> web.Response:
    """Show the plan. `again` is where the same is asked for once more, without nodes that do not answer."""
    status = HTTPStatus.OK
    try:
        report: CandidateReport = await request.api("plan", body=body)
    except ApiError as error:
        report = CandidateReport(problems=(read_json(error.reply.body, Refusal).reason,))
        status = HTTPStatus(error.reply.status)
    overview: d.FarmOverview = await request.api("farm")
    return request.render(
        "settings_plan.html",
        status=status,
        report=report,
        draft=draft,
        again=again,
        body=body,
        base=base,
        is_stale=is_stale,
        silent=[node.name for node in overview.nodes if not node.answers],
    )


async def _settled_digest(request: PageRequest) -> str:
    own = await _own_report(request, await request.api("settings"))
    return "" if own is None or own.settled is None else own.settled.digest


async def _in_force(request: PageRequest) -> tuple[Sequence[DraftFile], Mapping[str, bytes]]:
    """Return the files of the settled revision of the console's own node, and their contents."""
    own = await _own_report(request, await request.api("settings"))
    if own is None or own.settled is None:
        return (), {}
    manifest: Manifest = await request.api("manifest", digest=own.settled.digest)
    contents: dict[str, bytes] = {}
    files = []
    for entry in manifest.files:
        content: bytes = await request.api("file", digest=own.settled.digest, sha256=entry.sha256)
        contents[entry.name] = content
        files.append(DraftFile(name=entry.name, text=text_of(content), executable=entry.executable))
    return in_order(files), contents


async def _own_report(request: PageRequest, found: d.NodeAnswers[SettingsReport]) -> SettingsReport | None:
    await request.services.observer.node_names()
    own = request.services.observer.own_name
    return next((each.document for each in found.nodes if each.node == own), None)


def _in_progress(report: SettingsReport | None) -> bool:
    return report is not None and report.proposal is not None and report.proposal.progress in _IN_PROGRESS


def _editor(request: PageRequest, files: Sequence[DraftFile], **context: Any) -> web.Response:
    return request.render("settings_edit.html", files=files, **context)


PAGES: Final = (
    Page(name="settings_page", method="GET", path="/settings", role=AccessRole.MONITOR, serve=show),
    Page(name="settings_progress", method="GET", path="/settings/progress", role=AccessRole.MONITOR, serve=progress),
    Page(
        name="settings_changes",
        method="GET",
        path="/settings/changes",
        role=AccessRole.ADMIN,
        serve=changes,
        query=RevisionQuery,
    ),
    Page(
        name="settings_balancers",
        method="GET",
        path="/settings/balancers",
        role=AccessRole.ADMIN,
        serve=balancers,
        query=BalancersQuery,
    ),
    Page(name="settings_edit", method="GET", path="/settings/edit", role=AccessRole.ADMIN, serve=edit),
    Page(
        name="settings_edit_again",
        method="POST",
        path="/settings/edit",
        role=AccessRole.ADMIN,
        serve=edit_again,
        form=DraftForm,
        max_form=_MAX_FORM,
    ),
    Page(
        name="settings_plan",
        method="POST",
        path="/settings/plan",
        role=AccessRole.ADMIN,
        serve=plan,
        form=DraftForm,
        max_form=_MAX_FORM,
    ),
    Page(
        name="settings_back",
        method="POST",
        path="/settings/back",
        role=AccessRole.ADMIN,
        serve=plan_back,
        form=BackForm,
    ),
    Page(
        name="settings_unapplied",
        method="POST",
        path="/settings/unapplied",
        role=AccessRole.ADMIN,
        serve=plan_unapplied,
        form=UnappliedForm,
    ),
    Page(
        name="settings_apply", method="POST", path="/settings/apply", role=AccessRole.ADMIN, serve=apply, form=ApplyForm
    ),
)
