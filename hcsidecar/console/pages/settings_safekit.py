"""Uploads a SafeKit module into the draft, and shows what became of each part of it."""

from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Final

import msgspec
from aiohttp import web

from hcsidecar.console.pages.page import Page, PageRequest
from hcsidecar.console.pages.settings_parts import draft_here, keep_draft
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.console import documents as d
from hcsidecar.core.console.safekit_upload import SafekitReport, merged, read_macros
from hcsidecar.core.console.settings_draft import draft_files
from hcsidecar.core.safekit.notes import Coverage
from hcsidecar.core.settings.revision import FARM_FILE
from hcsidecar.safekit.module import UPLOADED

_MAX_FORM: Final = UPLOADED.archive + 65_536
"Bytes of a form with a module and some macros."


class SafekitForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A module that is uploaded."""

    module: bytes
    module_name: Annotated[str, msgspec.Meta(max_length=255)] = ""
    macros: Annotated[str, msgspec.Meta(max_length=20_000)] = ""
    "One NAME=VALUE a line."


async def show(request: PageRequest) -> web.StreamResponse:
    """Show the form."""
    return _page(request)


async def upload(request: PageRequest) -> web.StreamResponse:
    """Convert a module, put it into the draft, and show the report. Nothing of it is in force."""
    form: SafekitForm = request.form
    if not form.module:
        return _page(request, macros=form.macros, problem="choose a file first: a .safe archive or a userconfig.xml")
    macros = read_macros(form.macros)
    if isinstance(macros, str):
        return _page(request, macros=form.macros, problem=macros)
    draft = await draft_here(request)
    body = d.SafekitBody(
        name=form.module_name or "module",
        content=form.module,
        farm_file=draft.contents.get(FARM_FILE, b""),
        macros=dict(macros),
    )
    report: SafekitReport = await request.api("import_safekit", body=body)
    if report.problems:
        return _page(request, macros=form.macros, report=report)
    executable = {file.name: file.executable for file in draft.files}
    files = merged({name: (content, executable[name]) for name, content in draft.contents.items()}, report)
    texts, binary = draft_files(files)
    message = draft.message or f"the SafeKit module {report.module}"
    keep_draft(request, replace(draft, files=texts, binary=binary, message=message))
    return _page(request, macros=form.macros, report=report)


def _page(
    request: PageRequest, *, macros: str = "", problem: str = "", report: SafekitReport | None = None
) -> web.Response:
    wrong = bool(problem or (report is not None and report.problems))
    return request.render(
        "settings_safekit.html",
        status=HTTPStatus.BAD_REQUEST if wrong else HTTPStatus.OK,
        macros=macros,
        problem=problem,
        report=report,
        verdicts=(Coverage.NOT, Coverage.DIFFERENT, Coverage.TAKEN),
    )


PAGES: Final = (
    Page(name="settings_safekit", method="GET", path="/settings/safekit", role=AccessRole.ADMIN, serve=show),
    Page(
        name="settings_safekit_upload",
        method="POST",
        path="/settings/safekit",
        role=AccessRole.ADMIN,
        serve=upload,
        form=SafekitForm,
        max_form=_MAX_FORM,
        has_file=True,
    ),
)
