"""The editor of the settings: the files of a draft, its problems while one types, and its plan."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp import web

from hcsidecar.api.requests import ApiError
from hcsidecar.console.pages.page import NoFields, Page, PageRequest
from hcsidecar.console.pages.settings_parts import (
    MAX_DRAFT_FORM,
    binary_of,
    checked,
    draft_here,
    drop_draft,
    in_force,
    keep_draft,
    kept_draft,
    own_report,
    planned,
)
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.console import documents as d
from hcsidecar.core.console.kept_drafts import SettingsDraft
from hcsidecar.core.console.settings_draft import DraftForm, draft_of, uploaded


async def edit(request: PageRequest) -> web.StreamResponse:
    """Show the draft of who asks in an editor, else the files that are in force."""
    return await _editor(request, await draft_here(request))


async def edit_again(request: PageRequest) -> web.StreamResponse:
    """Keep a draft, and show it in the editor again, with a file more or less or under another name."""
    return await _editor(request, await _received(request))


async def check(request: PageRequest) -> web.StreamResponse:
    """Keep a draft, and tell its problems. A file whose name is still being typed is not added."""
    draft = await _received(request, adds=False)
    return request.render("settings_problems.html", check=await checked(request, draft))


async def discard(request: PageRequest) -> web.StreamResponse:
    """Forget the draft of who asks."""
    drop_draft(request)
    return request.go_to("/settings")


async def plan(request: PageRequest) -> web.StreamResponse:
    """Let every node check a draft, and show what it would do to whom. Nothing changes.

    A form without files is about the draft that is kept.
    """
    form: DraftForm = request.form
    draft = await (_received(request) if form.name or form.kept else draft_here(request))
    files = uploaded(draft.files, draft.binary)
    body = d.PlanBody(files=files, message=draft.message, without=draft.without)
    own = await own_report(request, await request.api("settings"))
    is_stale = bool(draft.base) and own is not None and own.settled is not None and own.settled.digest != draft.base
    return await planned(request, body, draft=draft, is_stale=is_stale)


async def _received(request: PageRequest, *, adds: bool = True) -> SettingsDraft:
    """Return the draft of a form, and keep it. Raise ApiError if the form is not right."""
    form: DraftForm = request.form if adds else msgspec.structs.replace(request.form, new_name="", removed=())
    files = draft_of(form)
    if isinstance(files, str):
        raise ApiError(HTTPStatus.BAD_REQUEST, files)
    binary: Mapping[str, bytes] = {}
    if any(file.text is None for file in files):
        kept = kept_draft(request, await own_report(request, await request.api("settings")))
        binary = binary_of(files, {**(await in_force(request))[1], **(kept.binary if kept is not None else {})})
    draft = SettingsDraft(files=files, binary=binary, message=form.message, without=form.without, base=form.base)
    keep_draft(request, draft)
    return draft


async def _editor(request: PageRequest, draft: SettingsDraft) -> web.Response:
    own = await own_report(request, await request.api("settings"))
    return request.render(
        "settings_edit.html",
        draft=draft,
        is_kept=kept_draft(request, own) is not None,
        check=await checked(request, draft),
    )


PAGES: Final = (
    Page(name="settings_edit", method="GET", path="/settings/edit", role=AccessRole.ADMIN, serve=edit),
    Page(
        name="settings_edit_again",
        method="POST",
        path="/settings/edit",
        role=AccessRole.ADMIN,
        serve=edit_again,
        form=DraftForm,
        max_form=MAX_DRAFT_FORM,
    ),
    Page(
        name="settings_check",
        method="POST",
        path="/settings/check",
        role=AccessRole.ADMIN,
        serve=check,
        form=DraftForm,
        max_form=MAX_DRAFT_FORM,
    ),
    Page(
        name="settings_discard",
        method="POST",
        path="/settings/discard",
        role=AccessRole.ADMIN,
        serve=discard,
        form=NoFields,
    ),
    Page(
        name="settings_plan",
        method="POST",
        path="/settings/plan",
        role=AccessRole.ADMIN,
        serve=plan,
        form=DraftForm,
        max_form=MAX_DRAFT_FORM,
    ),
)
