"""The Settings pages: what is in force on each node, the revisions, going back, and the progress of a change."""

import tomllib
from http import HTTPStatus
from typing import Annotated, Final

import msgspec
from aiohttp import web

from hcsidecar.api.requests import ApiError
from hcsidecar.console.pages.page import Page, PageRequest
from hcsidecar.console.pages.settings_parts import NO_REVISION, in_force, kept_draft, own_report, planned
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.console import documents as d
from hcsidecar.core.console.probe_settings import likely_application_port, probe_settings
from hcsidecar.core.console.queries import DifferencesQuery
from hcsidecar.core.documents import CommandResult
from hcsidecar.core.farmfile.farm_file import FarmFile, read
from hcsidecar.core.membership.heartbeat import NodeName
from hcsidecar.core.settings.agreement import ProposalProgress
from hcsidecar.core.settings.documents import DifferencesReport, SettingsReport, Without
from hcsidecar.core.settings.revision import FARM_FILE, Digest, Number

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
    own = await own_report(request, found)
    return request.render(
        "settings.html",
        found=found.nodes,
        own=own,
        running=_in_progress(own),
        proposal=None if own is None else own.proposal,
        draft=kept_draft(request, own),
        is_admin=request.may(AccessRole.ADMIN),
    )


async def progress(request: PageRequest) -> web.StreamResponse:
    """Show how far a proposal is; the page asks again while it is in progress."""
    found: d.NodeAnswers[SettingsReport] = await request.api("settings")
    own = await own_report(request, found)
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
    files, contents = await in_force(request)
    if not files:
        raise ApiError(HTTPStatus.CONFLICT, NO_REVISION)
    farm = read(tomllib.loads(contents[FARM_FILE].decode()))
    if not isinstance(farm, FarmFile):
        raise ApiError(HTTPStatus.CONFLICT, f"the farm file in force is not of this version: {farm[0]}")
    port = request.query.port or likely_application_port(farm)
    return request.render("settings_balancers.html", found=probe_settings(farm, application_port=port), port=port)


async def plan_back(request: PageRequest) -> web.StreamResponse:
    """Show what going back to a former revision, or taking the settings of one node, would do."""
    form: BackForm = request.form
    message = f"back to revision {form.number}" if form.number is not None else f"the settings of {form.take} for all"
    body = d.PlanBody(number=form.number, take=form.take, message=message, without=form.without)
    return await planned(request, body, again="/settings/back")


async def plan_unapplied(request: PageRequest) -> web.StreamResponse:
    """Show what applying the files on the disk of the console's node would do."""
    return await planned(request, d.PlanBody(without=request.form.without), again="/settings/unapplied")


async def apply(request: PageRequest) -> web.StreamResponse:
    """Apply a candidate; the settings page shows how that goes on."""
    form: ApplyForm = request.form
    result: CommandResult = await request.api("apply", body=d.ApplyBody(digest=form.digest, confirm=form.confirm))
    if not result.ok:
        raise ApiError(HTTPStatus.CONFLICT, result.text)
    return request.go_to("/settings")


def _in_progress(report: SettingsReport | None) -> bool:
    return report is not None and report.proposal is not None and report.proposal.progress in _IN_PROGRESS


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
