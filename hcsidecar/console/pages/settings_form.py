"""The draft's farm file as a form beside the editor: power, virtual IPs and shares, checks, limits."""

import asyncio
from dataclasses import replace
from hashlib import sha256
from http import HTTPStatus
from typing import Final

from aiohttp import web

from hcsidecar.api.requests import ApiError
from hcsidecar.console.pages.page import Page, PageRequest
from hcsidecar.console.pages.settings_parts import MAX_DRAFT_FORM, checked, draft_here, keep_draft, kept_draft
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.console.farm_form import ADDABLE, FarmForm, NotEditedError, fields_of, with_form
from hcsidecar.core.console.kept_drafts import SettingsDraft
from hcsidecar.core.settings.revision import FARM_FILE


async def show(request: PageRequest) -> web.StreamResponse:
    """Show the form of the draft's farm file, else of the one in force."""
    draft = await draft_here(request)
    content = draft.contents.get(FARM_FILE, b"")
    try:
        fields = await asyncio.to_thread(fields_of, content)
    except NotEditedError as error:
        raise ApiError(HTTPStatus.CONFLICT, str(error)) from None
    return request.render(
        "settings_form.html",
        fields=fields,
        digest=sha256(content).hexdigest(),
        is_kept=kept_draft(request, None) is not None,
        check=await checked(request, draft),
        addable=ADDABLE,
    )


async def change(request: PageRequest) -> web.StreamResponse:
    """Put what somebody has typed into the draft. While he types, only say what would be wrong with it."""
    form: FarmForm = request.form
    draft = await draft_here(request)
    content = draft.contents.get(FARM_FILE, b"")
    if form.digest != sha256(content).hexdigest():
        raise ApiError(HTTPStatus.CONFLICT, "the draft has changed since this form was shown: load the page again")
    try:
        text = await asyncio.to_thread(with_form, content, form)
    except NotEditedError as error:
        raise ApiError(HTTPStatus.CONFLICT, str(error)) from None
    changed = _with_farm_file(draft, text)
    if request.is_part:
        return request.render("settings_problems.html", check=await checked(request, changed))
    keep_draft(request, changed)
    return request.go_to("/settings/form")


def _with_farm_file(draft: SettingsDraft, text: str) -> SettingsDraft:
    files = [replace(file, text=text) if file.name == FARM_FILE else file for file in draft.files]
    return replace(draft, files=files)


PAGES: Final = (
    Page(name="settings_form", method="GET", path="/settings/form", role=AccessRole.ADMIN, serve=show),
    Page(
        name="settings_form_change",
        method="POST",
        path="/settings/form",
        role=AccessRole.ADMIN,
        serve=change,
        form=FarmForm,
        max_form=MAX_DRAFT_FORM,
    ),
)
