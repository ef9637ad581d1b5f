"""Signing in and out, and the language of the pages."""

from http import HTTPStatus
from typing import Annotated, Final, Literal

import msgspec
from aiohttp import web

from hcsidecar.api.requests import ApiError
from hcsidecar.console.pages.page import NoFields, Page, PageRequest
from hcsidecar.console.pages.rendering import LANGUAGE_COOKIE
from hcsidecar.console.pages.session_cookie import set_session
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.console.documents import SignInBody
from hcsidecar.core.documents import Refusal
from hcsidecar.core.json_reading import read_json

_A_YEAR: Final = 31_536_000
_Next = Annotated[str, msgspec.Meta(max_length=2048)]


class SignInQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to go after signing in."""

    next: _Next = "/"
    link: Annotated[str, msgspec.Meta(max_length=64)] = ""
    "The secret of a link that signs in."


class SignInForm(SignInBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Name and password of a user."""

    next: _Next = "/"


class LinkForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The secret of a link that signs in."""

    link: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_-]{22}\Z")]


class LanguageForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The language of the pages."""

    language: Literal["en", "fr"]
    next: _Next = "/"


def own_path(path: str) -> str:
    """Return a path of this console, `/` for what leads elsewhere.

    Browsers take what begins with two slashes for a host, and a backslash for a slash.
    """
    is_own = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and "\\" not in path
    return path if is_own else "/"


async def ask(request: PageRequest) -> web.StreamResponse:
    """Ask for name and password."""
    return request.render(
        "sign_in.html", next=own_path(request.query.next), link=request.query.link, reason="", name=""
    )


async def sign_in_by_link(request: PageRequest) -> web.StreamResponse:
    """Let in who has a link: by a form, so that what only looks at the link does not use it up."""
    try:
        session = await request.services.doorkeeper.sign_in_by_link(request.form.link, request.http.remote or "")
    except ApiError as error:
        reason, status = read_json(error.reply.body, Refusal).reason, HTTPStatus(error.reply.status)
        return request.render("sign_in.html", status=status, next="/", link="", reason=reason, name="")
    response = request.go_to("/")
    set_session(response, session, secure=request.services.secure)
    return response


async def sign_in(request: PageRequest) -> web.StreamResponse:
    """Let a person in."""
    form: SignInForm = request.form
    body = SignInBody(name=form.name, password=form.password)
    try:
        _visitor, session = await request.services.doorkeeper.sign_in(body, request.http.remote or "")
    except ApiError as error:
        reason = read_json(error.reply.body, Refusal).reason
        status = HTTPStatus(error.reply.status)
        return request.render(
            "sign_in.html", status=status, next=own_path(form.next), link="", reason=reason, name=form.name
        )
    response = request.go_to(own_path(form.next))
    set_session(response, session, secure=request.services.secure)
    return response


async def sign_out(request: PageRequest) -> web.StreamResponse:
    """Forget the session in the browser."""
    response = request.go_to("/sign-in")
    set_session(response, "", secure=request.services.secure)
    return response


async def choose_language(request: PageRequest) -> web.StreamResponse:
    """Remember the language in the browser."""
    form: LanguageForm = request.form
    response = request.go_to(own_path(form.next))
    response.set_cookie(
        LANGUAGE_COOKIE,
        form.language,
        path="/",
        max_age=_A_YEAR,
        secure=request.services.secure,
        httponly=True,
        samesite="Strict",
    )
    return response


PAGES: Final = (
    Page(name="sign_in_page", method="GET", path="/sign-in", role=None, serve=ask, query=SignInQuery),
    Page(name="sign_in_form", method="POST", path="/sign-in", role=None, serve=sign_in, form=SignInForm),
    Page(name="link_form", method="POST", path="/sign-in/link", role=None, serve=sign_in_by_link, form=LinkForm),
    Page(
        name="sign_out_form",
        method="POST",
        path="/sign-out",
        role=AccessRole.MONITOR,
        serve=sign_out,
        form=NoFields,
    ),
    Page(name="language_form", method="POST", path="/language", role=None, serve=choose_language, form=LanguageForm),
)
