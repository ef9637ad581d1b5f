"""The page that leads step by step from a new server to a served page."""

from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web

from hcsidecar.api.requests import ApiError
from hcsidecar.console.examples import ExampleName, example
from hcsidecar.console.pages.page import Page, PageRequest
from hcsidecar.console.pages.settings_parts import checked, draft_here, in_force, keep_draft, kept_draft, own_report
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.console import documents as d
from hcsidecar.core.console.farm_view import state_of
from hcsidecar.core.console.proposal_view import restart_action, waiting_keys
from hcsidecar.core.console.settings_draft import draft_files, farm_in
from hcsidecar.core.console.setup_steps import SetupProgress, SetupStep
from hcsidecar.core.farmfile.application_tables import NotReplacedError, with_application
from hcsidecar.core.settings.documents import SettingsReport
from hcsidecar.core.settings.revision import FARM_FILE

_JOIN_LINE_LASTS: Final = 900.0
"Seconds."


class JoinForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asks for a line for a new server."""

    node: Annotated[str, msgspec.Meta(max_length=63, pattern=r"\A[A-Za-z0-9._-]*\Z")] = ""
    "Only for a server of this name; empty: any."


class ExampleForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asks for an application to begin with."""

    example: ExampleName


async def show(request: PageRequest) -> web.StreamResponse:
    """Show the steps."""
    return await _page(request)


async def nodes(request: PageRequest) -> web.StreamResponse:
    """Show the servers that are in the farm now; the page asks again by itself."""
    overview: d.FarmOverview = await request.api("farm")
    return request.render("settings_setup_nodes.html", overview=overview, state_of=state_of)


async def join(request: PageRequest) -> web.StreamResponse:
    """Show a line to paste on a new server."""
    form: JoinForm = request.form
    body = d.JoinLineBody(node=form.node or None, valid=_JOIN_LINE_LASTS)
    line: d.JoinLine = await request.api("join_line", body=body)
    if request.is_part:
        return request.render("settings_join.html", line=line)
    return await _page(request, line=line)


async def begin(request: PageRequest) -> web.StreamResponse:
    """Put an application to begin with into the draft."""
    form: ExampleForm = request.form
    chosen = example(form.example)
    draft = await draft_here(request)
    contents = draft.contents
    try:
        text = with_application(contents.get(FARM_FILE, b"").decode(errors="replace"), chosen.tables)
    except NotReplacedError as error:
        raise ApiError(HTTPStatus.CONFLICT, str(error)) from None
    executable = {file.name: file.executable for file in draft.files}
    former = {name: (content, executable[name]) for name, content in contents.items()}
    files, binary = draft_files({**former, **chosen.files, FARM_FILE: (text.encode(), False)})
    keep_draft(request, replace(draft, files=files, binary=binary))
    return request.go_to("/settings/setup")


async def _page(request: PageRequest, **more: Any) -> web.Response:
    found: d.NodeAnswers[SettingsReport] = await request.api("settings")
    own = await own_report(request, found)
    draft = kept_draft(request, own)
    has_revision = own is not None and own.settled is not None
    files = draft.files if draft is not None else (await in_force(request))[0]
    overview: d.FarmOverview = await request.api("farm")
    progress = SetupProgress(
        overview=overview,
        farm=farm_in(files),
        has_revision=has_revision,
        has_draft=draft is not None,
        files=tuple(file.name for file in files),
        waiting=waiting_keys(found.nodes),
    )
    return request.render(
        "settings_setup.html",
        progress=progress,
        overview=overview,
        restart=restart_action(overview),
        state_of=state_of,
        draft=draft,
        is_kept=draft is not None,
        check=None if draft is None else await checked(request, draft),
        steps=SetupStep,
        examples=ExampleName,
        **{"line": None, **more},
    )


PAGES: Final = (
    Page(name="settings_setup", method="GET", path="/settings/setup", role=AccessRole.ADMIN, serve=show),
    Page(name="settings_setup_nodes", method="GET", path="/settings/setup/nodes", role=AccessRole.ADMIN, serve=nodes),
    Page(
        name="settings_setup_join",
        method="POST",
        path="/settings/setup/join",
        role=AccessRole.ADMIN,
        serve=join,
        form=JoinForm,
    ),
    Page(
        name="settings_setup_begin",
        method="POST",
        path="/settings/setup/application",
        role=AccessRole.ADMIN,
        serve=begin,
        form=ExampleForm,
    ),
)
