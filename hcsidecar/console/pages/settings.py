"""The Settings pages: what is in force on each node, the revisions, going back, and the progress of a change."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web

from hcsidecar.api.requests import ApiError
from hcsidecar.console.pages.page import Page, PageRequest
from hcsidecar.console.pages.parts import LiveQuery, follow
from hcsidecar.console.pages.settings_parts import draft_here, kept_draft, own_report, planned
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.console import documents as d
from hcsidecar.core.console.documents import FarmOverview
from hcsidecar.core.console.node_details import NodeDetails
from hcsidecar.core.console.probe_settings import likely_application_port, probe_settings
from hcsidecar.core.console.proposal_view import node_rows, restart_action, shown_proposal, waiting_keys
from hcsidecar.core.console.queries import DifferencesQuery
from hcsidecar.core.console.settings_draft import farm_in
from hcsidecar.core.documents import CommandResult
from hcsidecar.core.membership.heartbeat import NodeName
from hcsidecar.core.settings.documents import DifferencesReport, SettingsReport, Without
from hcsidecar.core.settings.revision import Digest, Number


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
    """Show what is in force on each node, the revisions, and how far a proposal is."""
    return request.render("settings.html", **await _shown(request))


async def part(request: PageRequest) -> web.StreamResponse:
    """Show the same again, within the page that is shown: it asks when something of it has changed."""
    return request.render("settings_part.html", **await _shown(request))


async def _shown(request: PageRequest) -> dict[str, Any]:
    found: d.NodeAnswers[SettingsReport] = await request.api("settings")
    own = await own_report(request, found)
    proposal = shown_proposal(found.nodes)
    return {
        "found": found.nodes,
        "own": own,
        "proposal": proposal,
        "rows": () if proposal is None else node_rows(proposal, found.nodes),
        "draft": kept_draft(request, own) if request.may(AccessRole.ADMIN) else None,
        "waiting": waiting_keys(found.nodes),
        "restart": restart_action(await request.api("farm")),
        "may_act": request.may(AccessRole.CONTROL),
        "is_admin": request.may(AccessRole.ADMIN),
    }


class SettingsNews:
    """Tells an open page that something of the settings has changed. What has, it asks for by itself.

    So one message is for all: the page has forms, and each visitor has a secret of his own in them.
    """

    key = "settings"
    has_details = True

    def write(self, _kind: str, document: object) -> Sequence[tuple[str, bytes]]:
        """Return the message for a piece of news, none if it is about something else."""
        return (("settings", b"changed"),) if isinstance(document, NodeDetails | FarmOverview) else ()


async def live(request: PageRequest) -> web.StreamResponse:
    """Keep the page up to date."""
    return await follow(request, SettingsNews(), request.query.after)


async def changes(request: PageRequest) -> web.StreamResponse:
    """Show what a revision has changed, or what of the files on the disk is not applied."""
    number = request.query.revision
    found: DifferencesReport = await request.api("differences", query=DifferencesQuery(revision=number))
    return request.render("settings_changes.html", found=found, number=number)


async def balancers(request: PageRequest) -> web.StreamResponse:
    """Show what to type into a load balancer so that it probes the nodes of this farm, or of the draft."""
    draft = await draft_here(request)
    farm = farm_in(draft.files)
    if farm is None:
        raise ApiError(HTTPStatus.CONFLICT, "the draft is not a right farm file yet: mend it in the editor first")
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


PAGES: Final = (
    Page(name="settings_page", method="GET", path="/settings", role=AccessRole.MONITOR, serve=show),
    Page(name="settings_part", method="GET", path="/settings/part", role=AccessRole.MONITOR, serve=part),
    Page(
        name="settings_live",
        method="GET",
        path="/live/settings",
        role=AccessRole.MONITOR,
        serve=live,
        query=LiveQuery,
    ),
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
