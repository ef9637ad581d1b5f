"""What a page is, and what it has to do with: the request, who asks, the API, the templates."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import hdrs, web

from hcsidecar.api.requests import ApiError, Reply
from hcsidecar.console.daemon_client import reason_of
from hcsidecar.console.doorkeeper import Visitor
from hcsidecar.console.handlers import CheckedRequest, Handlers
from hcsidecar.console.pages.rendering import Localized
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.console import documents as d
from hcsidecar.core.console.queries import NoQuery
from hcsidecar.core.console.routes import ROUTES, Route, why_not_parameter
from hcsidecar.core.json_reading import read_json

if TYPE_CHECKING:
    from hcsidecar.console.pages.services import Services

_ROUTES: Final[Mapping[str, Route]] = {route.name: route for route in ROUTES}
MAX_FORM: Final = 65_536
"Bytes of the body of a form."


class NoFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A form with nothing in it but its button."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One row of the table of pages."""

    name: str
    method: str
    path: str
    "Parts in braces are those of the API's paths (`core.console.routes.PATH_PARAMETERS`)."
    role: AccessRole | None
    "The lowest that may see or do it; None: nobody need be signed in."
    serve: "Callable[[PageRequest], Awaitable[web.StreamResponse]]"
    query: type[msgspec.Struct] = NoQuery
    form: type[msgspec.Struct] | None = None
    "The fields of its form; None where it has none. The field `csrf` is taken out before."
    max_form: int = MAX_FORM
    "Bytes of the form."
    has_file: bool = False
    "The form has a file in it, and is sent as multipart/form-data."


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """A request for a page that has been checked by the table."""

    page: Page
    parameters: Mapping[str, str]
    query: Any
    "Of the page's type."
    form: Any
    "Of the page's type; None if it has none."
    caller: Visitor | None
    "None if the page needs nobody, and nobody is signed in."
    http: web.Request
    services: "Services"
    localized: Localized

    @property
    def visitor(self) -> Visitor:
        """Who asks; a page that needs somebody has one."""
        assert self.caller is not None  # noqa: S101 - the table says so
        return self.caller

    @property
    def is_part(self) -> bool:
        """Whether a part of a page is wanted, to be put into the page that is shown."""
        return "HX-Request" in self.http.headers

    def may(self, role: AccessRole) -> bool:
        """Return whether who asks may do what takes this role."""
        return self.caller is not None and self.caller.actor.identity.role.includes(role)

    async def api(
        self, name: str, *, query: msgspec.Struct | None = None, body: object = None, **parameters: str
    ) -> Any:
        """Return the document of a route of the API, as if who asks had asked for it. Raise ApiError, NoAnswerError."""
        return await call_api(
            self.services.handlers, name, visitor=self.visitor, http=self.http, query=query, body=body, **parameters
        )

    def render(self, template: str, *, status: HTTPStatus = HTTPStatus.OK, **context: object) -> web.Response:
        """Return the answer with a template, in the visitor's language."""
        text = self.localized.render(template, request=self, navigation=self.services.navigation, **context)
        return html_response(text, status=status)

    def go_to(self, path: str) -> web.Response:
        """Return the answer that leads the browser to another page, which it gets with GET."""
        if self.is_part:
            return web.Response(headers={"HX-Redirect": path})
        return web.Response(status=HTTPStatus.SEE_OTHER, headers={hdrs.LOCATION: path})


def html_response(text: str, *, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """Return the answer with HTML, compressed where the browser takes that."""
    response = web.Response(status=status, text=text, content_type="text/html", charset="utf-8")
    response.enable_compression()
    return response


async def call_api(
    handlers: Handlers,
    name: str,
    *,
    visitor: Visitor,
    http: web.Request,
    query: msgspec.Struct | None = None,
    body: object = None,
    **parameters: str,
) -> Any:
    """Return the document of the route `name`, of the route's type. Raise ApiError or NoAnswerError."""
    route = _ROUTES[name]
    identity = visitor.actor.identity
    if route.role is not None and not identity.role.includes(route.role):
        raise ApiError(
            HTTPStatus.FORBIDDEN, f"this takes the role {route.role}, and {identity.name} has the role {identity.role}"
        )
    for part, value in parameters.items():
        if why := why_not_parameter(part, value):
            raise ApiError(HTTPStatus.NOT_FOUND, why)
    answer = await handlers.of(route)(
        CheckedRequest(
            route=route,
            parameters=parameters,
            query=route.query() if query is None else query,
            body=body,
            caller=visitor,
            http=http,
        )
    )
    match answer:
        case Reply():
            if answer.status >= HTTPStatus.BAD_REQUEST:
                raise ApiError(HTTPStatus(answer.status), reason_of(answer))
            return read_json(answer.body, route.answer)
        case d.NodeAnswers():
            # The documents of the nodes are as they came, and are checked here.
            return msgspec.json.decode(msgspec.json.encode(answer), type=route.answer)
        case web.Response() if route.answer is bytes:
            return answer.body
        case _:
            return answer
