"""The part of the API for the application itself: its requests, the reports of custom checks, the restart budget.

    POST /api/v1/requests/ACTION     restart, stopstart, stop, wait, as after a failure: body {"identity": TEXT}
    GET  /api/v1/reports/NAME        the state of a check: {"name": NAME, "value": "up", "down" or "init"}
    POST /api/v1/reports/NAME        sets the state of a custom check: body {"value": "up" or "down"}
    GET  /api/v1/budget              {"used": NUMBER, "most": NUMBER, "reached": BOOL}
    POST /api/v1/budget/count        counts a restart; refused (409) if it is used up: body {"identity": TEXT}
    POST /api/v1/budget/reset        sets the count to 0

A node takes POST requests to these paths from its own machine only, never from another node.
"""

from collections.abc import Callable, Sequence
from http import HTTPStatus

from hcsidecar.api.control import ApplicationRequest, Control
from hcsidecar.api.requests import ApiError, decode_body
from hcsidecar.core.documents import CheckReport
from hcsidecar.core.request_bodies import LONGEST_IDENTITY, Body, IdentityBody, ReportBody

PATHS = ("requests", "reports", "budget")
"What stands after /api/v1/ in the paths that are answered here."


async def answer(control: Control, method: str, parts: Sequence[str], body: bytes, *, who: Callable[[], str]) -> object:
    """Serve one request; `parts` is the path after /api/v1/, and `who` returns the name of the requester.

    Return a CommandResult, or a document. Raise ApiError if the request is not served.
    """
    match (method, *parts):
        case ("POST", "requests", name):
            request = _request(name)
            return await control.request(request, identity=_identity(body))
        case ("GET", "reports", name):
            value = control.reported(name)
            if value is None:
                raise ApiError(HTTPStatus.NOT_FOUND, f"no check {name[:LONGEST_IDENTITY]!r} in this farm")
            return CheckReport(name=name, value=value)
        case ("POST", "reports", name):
            return control.report(name, decode_body(body, ReportBody).value)
        case ("GET", "budget"):
            return control.budget()
        case ("POST", "budget", "count"):
            return control.count_restart(identity=_identity(body))
        case ("POST", "budget", "reset"):
            decode_body(body or b"{}", Body)
            return control.reset_budget(by=who())
        case (_, "requests", _) | (_, "budget", "count" | "reset"):
            raise ApiError(HTTPStatus.METHOD_NOT_ALLOWED, "this path takes POST")
        case (_, "reports", _):
            raise ApiError(HTTPStatus.METHOD_NOT_ALLOWED, "this path takes GET and POST")
        case (_, "budget"):
            raise ApiError(HTTPStatus.METHOD_NOT_ALLOWED, "this path takes GET")
    raise ApiError(HTTPStatus.NOT_FOUND, "the API has no such path")


def _request(name: str) -> ApplicationRequest:
    try:
        return ApplicationRequest(name)
    except ValueError:
        message = f"no request {name[:LONGEST_IDENTITY]!r}; there are {', '.join(ApplicationRequest)}"
        raise ApiError(HTTPStatus.NOT_FOUND, message) from None


def _identity(body: bytes) -> str:
    identity = decode_body(body, IdentityBody).identity
    if not identity.isprintable():
        raise ApiError(HTTPStatus.BAD_REQUEST, "the body's `identity` is not printable")
    return identity
