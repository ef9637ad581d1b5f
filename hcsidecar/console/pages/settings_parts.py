"""What the pages about settings share: the files in force, the draft of who asks, and the page with a plan."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Final

from aiohttp import web

from hcsidecar.api.requests import ApiError
from hcsidecar.console.pages.page import PageRequest
from hcsidecar.core.console import documents as d
from hcsidecar.core.console.draft_check import DraftCheck
from hcsidecar.core.console.kept_drafts import SettingsDraft
from hcsidecar.core.console.settings_draft import DraftFile, in_order, text_of, uploaded
from hcsidecar.core.documents import Refusal
from hcsidecar.core.json_reading import read_json
from hcsidecar.core.settings.documents import CandidateReport, SettingsReport
from hcsidecar.core.settings.revision import Manifest

MAX_DRAFT_FORM: Final = 6 * 1024 * 1024
"Bytes of a form with all files of a bundle."
NO_REVISION: Final = "the farm has no revision yet: its first one is made on the page `Set up`, or by `hcsidecar apply`"


async def own_report(request: PageRequest, found: d.NodeAnswers[SettingsReport]) -> SettingsReport | None:
    """Return what the console's own node says of its settings, None if it does not answer."""
    await request.services.observer.node_names()
    own = request.services.observer.own_name
    return next((each.document for each in found.nodes if each.node == own), None)


async def in_force(request: PageRequest) -> tuple[Sequence[DraftFile], Mapping[str, bytes]]:
    """Return the files of the settled revision of the console's own node, and their contents; none if there is none."""
    own = await own_report(request, await request.api("settings"))
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


def kept_draft(request: PageRequest, own: SettingsReport | None) -> SettingsDraft | None:
    """Return the draft of who asks, None if there is none. One that has come into force is forgotten."""
    drafts, person = request.services.drafts, request.visitor.actor.identity.name
    draft = drafts.of(person, now=asyncio.get_running_loop().time())
    if draft is None or own is None or own.settled is None or own.settled.digest != draft.planned:
        return draft
    drafts.drop(person)
    return None


def keep_draft(request: PageRequest, draft: SettingsDraft) -> None:
    """Keep the draft of who asks."""
    now = asyncio.get_running_loop().time()
    request.services.drafts.keep(request.visitor.actor.identity.name, draft, now=now)


def drop_draft(request: PageRequest) -> None:
    """Forget the draft of who asks."""
    request.services.drafts.drop(request.visitor.actor.identity.name)


async def draft_here(request: PageRequest) -> SettingsDraft:
    """Return the draft of who asks; where there is none, one of what is in force, which is not kept yet.

    Raise ApiError if there is nothing to begin with.
    """
    own = await own_report(request, await request.api("settings"))
    if (draft := kept_draft(request, own)) is not None:
        return draft
    files, contents = await in_force(request)
    if own is None or own.settled is None or not files:
        raise ApiError(HTTPStatus.CONFLICT, NO_REVISION)
    return SettingsDraft(files=files, binary=binary_of(files, contents), base=own.settled.digest)


def binary_of(files: Sequence[DraftFile], contents: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Return the contents of those files that are no text. Raise ApiError for one that is not there any more."""
    names = [file.name for file in files if file.text is None]
    if missing := [name for name in names if name not in contents]:
        raise ApiError(HTTPStatus.CONFLICT, f"{missing[0]} is not in force any more: edit again what is")
    return {name: contents[name] for name in names}


async def checked(request: PageRequest, draft: SettingsDraft) -> DraftCheck:
    """Return the problems of a draft that can be told without a node."""
    found: DraftCheck = await request.api("check_draft", body=d.DraftBody(files=uploaded(draft.files, draft.binary)))
    return found


async def planned(
    request: PageRequest,
    body: d.PlanBody,
    *,
    draft: SettingsDraft | None = None,
    again: str = "/settings/plan",
    is_stale: bool = False,
) -> web.Response:
    """Show the plan. `again` is where the same is asked for once more, without nodes that do not answer."""
    status = HTTPStatus.OK
    try:
        report: CandidateReport = await request.api("plan", body=body)
    except ApiError as error:
        report = CandidateReport(problems=(read_json(error.reply.body, Refusal).reason,))
        status = HTTPStatus(error.reply.status)
    if draft is not None and report.revision is not None:
        keep_draft(request, replace(draft, planned=report.revision.digest))
    overview: d.FarmOverview = await request.api("farm")
    return request.render(
        "settings_plan.html",
        status=status,
        report=report,
        draft=() if draft is None else draft.files,
        again=again,
        body=body,
        base="" if draft is None else draft.base,
        is_stale=is_stale,
        silent=[node.name for node in overview.nodes if not node.answers],
    )
