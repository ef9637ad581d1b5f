"""Serves pages: finds the page of a request, who asks, and checks what is sent; what goes wrong becomes a page too."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, quote

import msgspec
from aiohttp import hdrs, web

from hcsidecar.api.requests import ApiError
from hcsidecar.console.daemon_client import NoAnswerError
from hcsidecar.console.doorkeeper import Visitor
from hcsidecar.console.pages.multipart import MULTIPART, read_multipart
from hcsidecar.console.pages.page import MAX_FORM, Page, PageRequest, html_response
from hcsidecar.console.pages.rendering import LANGUAGE_COOKIE, Localized
from hcsidecar.console.pages.services import Services
from hcsidecar.console.pages.serving_headers import PAGE_HEADERS
from hcsidecar.console.pages.session_cookie import set_session
from hcsidecar.console.pages.static_files import PATH as STATIC
from hcsidecar.console.pages.table import PAGES
from hcsidecar.console.request_reading import BODY_TIMEOUT, UPLOAD_TIMEOUT, UPLOADS, checked_query, read_body
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.console.openapi import BACKGROUND_HEADER, COOKIE, CSRF_HEADER
from hcsidecar.core.console.paths import path_parameters
from hcsidecar.core.documents import Refusal
from hcsidecar.core.json_reading import read_json

CSRF_FIELD: Final = "csrf"
_FORM: Final = "application/x-www-form-urlencoded"
_MOST_FIELDS: Final = 1000
"Three for each file of a bundle, and some more."


class PageServer:
    """Serves all pages and the files that they load."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._uploads = asyncio.Semaphore(UPLOADS)

    async def serve(self, http: web.Request, path: str) -> web.StreamResponse:
        """Serve a request for any path that is not of the API; `path` is decoded."""
        response = await self._answer(http, path)
        if not response.prepared:
            for name, value in PAGE_HEADERS.items():
                response.headers.setdefault(name, value)
            if http.can_read_body and not http.content.is_eof():
                # What is left of a refused body is not worth reading.
                response.force_close()
        return response

    async def _answer(self, http: web.Request, path: str) -> web.StreamResponse:
        if path.startswith(STATIC) and http.method in (hdrs.METH_GET, hdrs.METH_HEAD):
            return self._services.static.serve(http, path.removeprefix(STATIC))
        localized = self._services.rendering.in_language(
            http.cookies.get(LANGUAGE_COOKIE), http.headers.get(hdrs.ACCEPT_LANGUAGE, "")[:1000]
        )
        caller: Visitor | None = None
        try:
            page, parameters = _find(http.method, path)
            caller = await self._caller(http, page)
            request = PageRequest(
                page=page,
                parameters=parameters,
                query=checked_query(http, page.query),
                form=await self._form(http, page, caller),
                caller=caller,
                http=http,
                services=self._services,
                localized=localized,
            )
            response = await page.serve(request)
        except ApiError as error:
            status, reason = HTTPStatus(error.reply.status), read_json(error.reply.body, Refusal).reason
            return self._problem(http, localized, caller, status, reason)
        except NoAnswerError as error:
            status = HTTPStatus.SERVICE_UNAVAILABLE if error.own else HTTPStatus.BAD_GATEWAY
            return self._problem(http, localized, caller, status, str(error))
        if caller is not None and caller.renewed and not response.prepared:
            set_session(response, caller.renewed, secure=self._services.secure)
        return response

    async def _caller(self, http: web.Request, page: Page) -> Visitor | None:
        if page.role is not None:
            return await self._services.doorkeeper.identify_reader(http, page.role)
        if COOKIE not in http.cookies:
            return None
        try:
            return await self._services.doorkeeper.identify_reader(http, AccessRole.MONITOR)
        except ApiError:
            # The page needs nobody; a session that is over does no harm.
            return None

    async def _form(self, http: web.Request, page: Page, caller: Visitor | None) -> Any:
        if page.method == hdrs.METH_GET:
            return None
        self._services.doorkeeper.refuse_other_site(http)
        fields: dict[str, Any] = {}
        if page.form is not None and page.has_file:
            if http.content_type != MULTIPART:
                raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"a form with a file is sent as {MULTIPART}")
            async with self._uploads:
                fields = _by_name(await read_multipart(http, page.max_form))
        elif page.form is not None:
            if http.content_type != _FORM:
                raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"a form is sent as {_FORM}")
            is_large = page.max_form > MAX_FORM
            async with self._uploads if is_large else nullcontext():
                body = await read_body(http, page.max_form, UPLOAD_TIMEOUT if is_large else BODY_TIMEOUT)
            fields = _fields(body)
        shown = fields.pop(CSRF_FIELD, None) or http.headers.get(CSRF_HEADER, "")
        if page.role is not None and caller is not None:
            self._services.doorkeeper.refuse_forged(http, caller, str(shown))
        if page.form is None:
            return None
        try:
            return msgspec.convert(fields, page.form, strict=False)
        except msgspec.ValidationError as error:
            raise ApiError(HTTPStatus.BAD_REQUEST, f"the form is not right: {error}") from None

    def _problem(
        self, http: web.Request, localized: Localized, caller: Visitor | None, status: HTTPStatus, reason: str
    ) -> web.Response:
        is_part = "HX-Request" in http.headers
        if BACKGROUND_HEADER in http.headers:
            # Nobody has asked for it, so nobody is told, or taken away from what is being written.
            return web.Response(status=status)
        if status == HTTPStatus.UNAUTHORIZED:
            shown = http.headers.get("HX-Current-URL", "") if is_part else ""
            path = "/" + shown.partition("://")[2].partition("/")[2] if shown else http.path_qs
            where = f"/sign-in?next={quote(path, safe='')}" if http.method == hdrs.METH_GET else "/sign-in"
            if is_part:
                return web.Response(headers={"HX-Redirect": where})
            return web.Response(status=HTTPStatus.SEE_OTHER, headers={hdrs.LOCATION: where})
        template = "problem_part.html" if is_part else "problem.html"
        text = localized.render(
            template,
            request=None,
            navigation=self._services.navigation,
            visitor=caller,
            status=status,
            reason=reason,
        )
        response = html_response(text, status=status)
        if is_part:
            # Wherever the answer was to go: what went wrong is shown in its own place.
            response.headers["HX-Retarget"], response.headers["HX-Reswap"] = "#messages", "beforeend"
        return response


def _find(method: str, path: str) -> tuple[Page, Mapping[str, str]]:
    parts = path.split("/")
    methods = []
    for page in PAGES:
        parameters = path_parameters(page.path.split("/"), parts)
        if parameters is None:
            continue
        if page.method == method or (method == hdrs.METH_HEAD and page.method == hdrs.METH_GET):
            return page, parameters
        methods.append(page.method)
    if methods:
        raise ApiError(HTTPStatus.METHOD_NOT_ALLOWED, f"this page takes {', '.join(dict.fromkeys(methods))}")
    raise ApiError(HTTPStatus.NOT_FOUND, "there is no such page")


def _fields(body: bytes) -> dict[str, Any]:
    """Return the fields of a form: texts, and for a name that ends in `[]` a list of them under the name without it."""
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except (UnicodeDecodeError, ValueError):
        raise ApiError(HTTPStatus.BAD_REQUEST, "the form is not encoded as forms are, or has too many fields") from None
    return _by_name(pairs)


def _by_name(pairs: Sequence[tuple[str, str | bytes]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if isinstance(value, str) and "\0" in value:
            raise ApiError(HTTPStatus.BAD_REQUEST, "the form has a character that is no text")
        if name.endswith("[]"):
            fields.setdefault(name.removesuffix("[]"), []).append(value)
        elif name in fields:
            raise ApiError(HTTPStatus.BAD_REQUEST, "a field is there twice")
        else:
            fields[name] = value
    return fields
