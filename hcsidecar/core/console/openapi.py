"""Makes the OpenAPI 3.1 document of the console's API from the table of routes and the types that it names."""

from http import HTTPStatus
from typing import Any, Final

import msgspec

from hcsidecar.core.console.routes import PATH_PARAMETERS, PREFIX, ROUTES, Route
from hcsidecar.core.documents import Refusal

COOKIE: Final = "hcsidecar-session"
CSRF_HEADER: Final = "X-Hcsidecar-CSRF"
BACKGROUND_HEADER: Final = "X-Hcsidecar-Background"
"Sent with what a page asks by itself, again and again: it does not keep the session from becoming idle."
_SCHEMAS: Final = "#/components/schemas/{name}"
_ALWAYS: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
"How any request may be refused."
_SIGNED_IN: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_ABOUT: Final = (
    "The farm as people and programs see it, served by `hcsidecar console` on each node. Programs send an API token as"
    f" `Authorization: Bearer TOKEN`. People sign in by `POST {PREFIX}/session`; with the cookie that this sets,"
    f" whatever changes something needs the header {CSRF_HEADER}. Every refusal is a JSON document with a `reason`."
)


def openapi_document(version: str) -> dict[str, Any]:
    """Return the document; `version` is that of hcsidecar."""
    kinds = _kinds()
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_SCHEMAS)
    schema_of = dict(zip(map(repr, kinds), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(f"{PREFIX}{route.path}", {})[route.method.lower()] = _operation(route, schema_of, components)
    for query in {route.query.__name__ for route in ROUTES}:
        # Parameters are described one by one.
        del components[query]
    return {
        "openapi": "3.1.0",
        "info": {"title": "hcsidecar", "version": version, "description": _ABOUT},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "an API token"},
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "a signed-in person"},
            },
        },
    }


def _kinds() -> list[Any]:
    """Return all types of the table, each once."""
    found: list[Any] = [Refusal]
    for route in ROUTES:
        found += [kind for kind in (route.answer, route.body) if kind is not None and kind is not bytes]
        found.append(route.query)
    found += [kind for kind, _ in PATH_PARAMETERS.values()]
    return list({repr(kind): kind for kind in found}.values())


def _operation(route: Route, schema_of: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "description": _who(route),
        "parameters": [*_in_path(route, schema_of), *_in_query(route, components)],
        "responses": {
            str(route.status.value): _answer(route, schema_of),
            **{
                str(status.value): {
                    "description": status.phrase,
                    "content": {"application/json": {"schema": schema_of[repr(Refusal)]}},
                }
                for status in sorted({*_ALWAYS, *route.problems, *(() if route.role is None else _SIGNED_IN)})
            },
        },
        "security": [] if route.role is None else [{"token": []}, {"session": []}],
    }
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema_of[repr(route.body)]}},
        }
    return operation


def _who(route: Route) -> str:
    return "Nobody need be signed in." if route.role is None else f"Takes the role {route.role} or a higher one."


def _answer(route: Route, schema_of: dict[str, Any]) -> dict[str, Any]:
    match route.answer:
        case None:
            content: dict[str, Any] = {"text/event-stream": {"schema": {"type": "string"}}}
        case _ if route.answer is bytes:
            content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        case _:
            content = {"application/json": {"schema": schema_of[repr(route.answer)]}}
    return {"description": HTTPStatus(route.status).phrase, "content": content}


def _in_path(route: Route, schema_of: dict[str, Any]) -> list[dict[str, Any]]:
    names = [part.strip("{}") for part in route.path.split("/") if part.startswith("{")]
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": PATH_PARAMETERS[name][1],
            "schema": schema_of[repr(PATH_PARAMETERS[name][0])],
        }
        for name in names
    ]


def _in_query(route: Route, components: dict[str, Any]) -> list[dict[str, Any]]:
    schema = components[route.query.__name__]
    required = schema.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _without_null(described)}
        for name, described in schema["properties"].items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter: one that is not wanted is left out, and not null."""
    others = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    if len(others) != 1:
        return schema
    return dict(others[0])
