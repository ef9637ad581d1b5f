"""The Support page: the snapshot of all nodes, the check of machines and network, users and API tokens."""

import asyncio
import time
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

import msgspec
from aiohttp import hdrs, web

from hcsidecar.api.requests import ApiError
from hcsidecar.console.daemon_client import NoAnswerError
from hcsidecar.console.pages.page import NoFields, Page, PageRequest
from hcsidecar.core.access.documents import AccessReport, AccessResult
from hcsidecar.core.access.record import TokenName, UserName
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.console import access_bodies as a
from hcsidecar.core.console.documents import FarmOverview, NodeAnswer
from hcsidecar.core.documents import Refusal
from hcsidecar.core.json_reading import read_json
from hcsidecar.core.l2_documents import LayerTwoCheck

_DAY: Final = 86_400
_Password = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class NewUserForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user to add."""

    name: UserName
    role: AccessRole
    password: _Password

    def __repr__(self) -> str:
        return f"NewUserForm(name={self.name!r})"


class PasswordForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another password of a user."""

    password: _Password

    def __repr__(self) -> str:
        return "PasswordForm()"


class RoleForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another role of a user."""

    role: AccessRole


class NewTokenForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An API token to make."""

    name: TokenName
    role: AccessRole
    days: Literal["1", "30", "90", "365", "never"] = "90"


async def show(request: PageRequest) -> web.StreamResponse:
    """Show the page."""
    return await _page(request)


async def snapshot(request: PageRequest) -> web.StreamResponse:
    """Send the snapshot of all nodes."""
    overview: FarmOverview = await request.api("farm")
    content: bytes = await request.api("snapshot")
    name = f"{overview.farm}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.zip"
    return web.Response(
        body=content,
        content_type="application/zip",
        headers={hdrs.CONTENT_DISPOSITION: f'attachment; filename="{name}"'},
    )


async def check(request: PageRequest) -> web.StreamResponse:
    """Let every node check its machine and network, and show what they have found."""
    overview: FarmOverview = await request.api("farm")

    async def ask(node: str) -> NodeAnswer[LayerTwoCheck]:
        try:
            return NodeAnswer(node=node, answers=True, document=await request.api("layer_two_check", node=node))
        except NoAnswerError as error:
            return NodeAnswer(node=node, answers=False, problem=str(error))
        except ApiError as error:
            return NodeAnswer(node=node, answers=True, problem=read_json(error.reply.body, Refusal).reason)

    found = await asyncio.gather(*(ask(node.name) for node in overview.nodes))
    return request.render("check_part.html" if request.is_part else "check.html", found=found)


async def add_user(request: PageRequest) -> web.StreamResponse:
    """Add a user."""
    form: NewUserForm = request.form
    return await _changed(
        request, "add_user", body=a.NewUserBody(name=form.name, role=form.role, password=form.password)
    )


async def set_password(request: PageRequest) -> web.StreamResponse:
    """Give a user another password. Whoever has given himself one signs in again."""
    body = a.NewPasswordBody(password=request.form.password)
    return await _changed(request, "set_password", body=body, user=request.parameters["user"])


async def set_role(request: PageRequest) -> web.StreamResponse:
    """Give a user another role."""
    body = a.NewRoleBody(role=request.form.role)
    return await _changed(request, "set_role", body=body, user=request.parameters["user"])


async def remove_user(request: PageRequest) -> web.StreamResponse:
    """Remove a user."""
    return await _changed(request, "remove_user", user=request.parameters["user"])


async def add_token(request: PageRequest) -> web.StreamResponse:
    """Make an API token, and show it this once."""
    form: NewTokenForm = request.form
    lasts = None if form.days == "never" else int(form.days) * _DAY
    try:
        made: a.NewToken = await request.api(
            "add_token", body=a.NewTokenBody(name=form.name, role=form.role, lasts=lasts)
        )
    except ApiError as error:
        return await _page(request, error=error)
    return await _page(request, token=made.token, said=made.text)


async def revoke_token(request: PageRequest) -> web.StreamResponse:
    """Revoke an API token."""
    return await _changed(request, "revoke_token", token=request.parameters["token"])


async def _changed(
    request: PageRequest, name: str, *, body: msgspec.Struct | None = None, **parameters: Any
) -> web.StreamResponse:
    """Change users or tokens, and show the page with what has become of it."""
    try:
        result: AccessResult = await request.api(name, body=body, **parameters)
    except ApiError as error:
        return await _page(request, error=error)
    if not result.ok:
        return await _page(request, refused=result.text)
    lacking = f" ({', '.join(result.lacking)})" if result.lacking else ""
    return await _page(request, said=result.text + lacking)


async def _page(
    request: PageRequest, *, said: str = "", refused: str = "", token: str = "", error: ApiError | None = None
) -> web.Response:
    access: AccessReport | None = None
    if request.may(AccessRole.ADMIN):
        access = await request.api("access")
    status = HTTPStatus.OK
    if error is not None:
        refused, status = read_json(error.reply.body, Refusal).reason, HTTPStatus(error.reply.status)
    return request.render(
        "support.html",
        status=status,
        overview=await request.api("farm"),
        access=access,
        said=said,
        refused=refused,
        token=token,
        roles=list(AccessRole),
        may_control=request.may(AccessRole.CONTROL),
    )


PAGES: Final = (
    Page(name="support_page", method="GET", path="/support", role=AccessRole.MONITOR, serve=show),
    Page(name="support_snapshot", method="GET", path="/support/snapshot", role=AccessRole.CONTROL, serve=snapshot),
    Page(name="support_check", method="GET", path="/support/check", role=AccessRole.MONITOR, serve=check),
    Page(
        name="user_add", method="POST", path="/support/users", role=AccessRole.ADMIN, serve=add_user, form=NewUserForm
    ),
    Page(
        name="user_password",
        method="POST",
        path="/support/users/{user}/password",
        role=AccessRole.MONITOR,
        serve=set_password,
        form=PasswordForm,
    ),
    Page(
        name="user_role",
        method="POST",
        path="/support/users/{user}/role",
        role=AccessRole.ADMIN,
        serve=set_role,
        form=RoleForm,
    ),
    Page(
        name="user_remove",
        method="POST",
        path="/support/users/{user}/remove",
        role=AccessRole.ADMIN,
        serve=remove_user,
        form=NoFields,
    ),
    Page(
        name="token_add",
        method="POST",
        path="/support/tokens",
        role=AccessRole.ADMIN,
        serve=add_token,
        form=NewTokenForm,
    ),
    Page(
        name="token_revoke",
        method="POST",
        path="/support/tokens/{token}/revoke",
        role=AccessRole.ADMIN,
        serve=revoke_token,
        form=NoFields,
    ),
)
