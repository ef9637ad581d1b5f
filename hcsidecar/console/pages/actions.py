"""Actions on nodes: each says first what it does to clients, then does it, and then says what became of it."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

import msgspec
from aiohttp import web

from hcsidecar.api.requests import ApiError
from hcsidecar.console.pages.page import NoFields, Page, PageRequest
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.console.action_effects import FarmAction, action_effect
from hcsidecar.core.console.documents import (
    FarmActionBody,
    FarmOverview,
    FarmPowerBody,
    FarmResults,
    RollingBody,
    RollingReport,
)
from hcsidecar.core.membership.heartbeat import Power

_ROLLING: Final[Mapping[FarmAction, Literal["restart", "restart-daemon"]]] = {
    FarmAction.ROLLING_RESTART: "restart",
    FarmAction.ROLLING_RESTART_DAEMON: "restart-daemon",
}
_Names = Annotated[str, msgspec.Meta(max_length=4096)]


class ActionQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An action that is asked about."""

    action: FarmAction
    node: _Names = ""
    "The node; none: all of them."
    power: Power | None = None
    "For FarmAction.POWER."


class ActionForm(ActionQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An action that is to be done."""

    force: bool = False
    "Also where fewer nodes stay Ready than are to be."


async def ask(request: PageRequest) -> web.StreamResponse:
    """Say what an action does, with the button that does it."""
    query: ActionQuery = request.query
    overview: FarmOverview = await request.api("farm")
    nodes = _nodes(query.node, overview)
    status = next((node.status for node in overview.nodes if node.name == query.node), None)
    return _dialog(
        request,
        "action_ask.html",
        effect=action_effect(overview, query.action, nodes, power=query.power),
        node=query.node,
        power=query.power if query.power is not None else (status.power if status is not None else 1),
        asks_power=query.action is FarmAction.POWER,
        has_shares=bool(overview.shares),
    )


async def do(request: PageRequest) -> web.StreamResponse:
    """Do an action, and say what each node has answered."""
    form: ActionForm = request.form
    overview: FarmOverview = await request.api("farm")
    nodes = tuple(_nodes(form.node, overview))
    effect = action_effect(overview, form.action, nodes, power=form.power)
    if (effect.breaks_keep_ready or effect.leaves_nobody) and not form.force:
        # The farm has changed since the page asked, or the box was not ticked.
        return _dialog(
            request,
            "action_ask.html",
            effect=effect,
            node=form.node,
            power=form.power if form.power is not None else 1,
            asks_power=form.action is FarmAction.POWER,
            has_shares=bool(overview.shares),
        )
    if form.action.is_rolling:
        report: RollingReport = await request.api("begin_rolling", body=RollingBody(action=_ROLLING[form.action]))
        return _dialog(request, "action_done.html", effect=effect, results=None, rolling=report)
    if form.action is FarmAction.POWER:
        results: FarmResults = await request.api("set_power", body=FarmPowerBody(power=form.power, nodes=nodes))
    else:
        body = FarmActionBody(nodes=nodes, force=form.force)
        results = await request.api("act", action=form.action.value, body=body)
    return _dialog(request, "action_done.html", effect=effect, results=results, rolling=None)


async def cancel(request: PageRequest) -> web.StreamResponse:
    """Begin no further node of a rolling command."""
    report: RollingReport = await request.api("cancel_rolling", id=request.parameters["id"])
    if not request.is_part:
        return request.go_to("/")
    return request.render("rolling_part.html", reports=(report,), role=AccessRole.CONTROL, csrf="")


def _nodes(name: str, overview: FarmOverview) -> Sequence[str]:
    names = [node.name for node in overview.nodes]
    if name and name not in names:
        raise ApiError(HTTPStatus.NOT_FOUND, f"no node {name[:64]!r} in the farm; there are {', '.join(names)}")
    return (name,) if name else ()


def _dialog(request: PageRequest, part: str, **context: Any) -> web.Response:
    """Show a part as a dialog over the page that asks for it, or else as a page of its own."""
    return request.render(part if request.is_part else "dialog_page.html", part=part, **context)


PAGES: Final = (
    Page(name="action_ask", method="GET", path="/farm/act", role=AccessRole.CONTROL, serve=ask, query=ActionQuery),
    Page(name="action_do", method="POST", path="/farm/act", role=AccessRole.CONTROL, serve=do, form=ActionForm),
    Page(
        name="rolling_cancel",
        method="POST",
        path="/farm/rolling/{id}/cancel",
        role=AccessRole.CONTROL,
        serve=cancel,
        form=NoFields,
    ),
)
