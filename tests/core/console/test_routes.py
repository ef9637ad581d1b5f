"""The table of routes, and the parameters of queries."""

import pytest

from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.console.access_bodies import NewPasswordBody, NewToken, NewUserBody
from hcsidecar.core.console.documents import SignInBody
from hcsidecar.core.console.openapi import openapi_document
from hcsidecar.core.console.queries import ClientQuery, FarmEventsQuery, OutputQuery, read_query, written
from hcsidecar.core.console.routes import PREFIX, ROUTES, Match, find_route, why_not_parameter
from hcsidecar.core.json_reading import JsonError


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        ("GET", "/api/v1/farm", ("farm", {})),
        ("GET", "/api/v1/nodes/web1/status", ("status", {"node": "web1"})),
        ("DELETE", "/api/v1/session", ("sign_out", {})),
        ("PUT", "/api/v1/session", ("POST", "GET", "DELETE")),
        ("GET", "/api/v1/", ()),
        ("GET", "/api/v1/nodes/web1/status/", ()),
        ("GET", "/farm", ()),
    ],
)
def test_a_request_has_one_route_or_none(method, path, found):
    match = find_route(method, path)
    told = (match.route.name, match.parameters) if isinstance(match, Match) else match
    assert told == found


@pytest.mark.parametrize(("name", "value", "right"), [("id", "0" * 16, True), ("id", "x", False), ("user", "", False)])
def test_a_part_of_a_path_is_checked(name, value, right):
    assert (why_not_parameter(name, value) is None) == right


def test_a_query_is_read_into_its_type():
    query = read_query({"last": "7", "level": "warning"}, FarmEventsQuery)
    assert (query.last, query.level.value) == (7, "warning")
    assert read_query({}, OutputQuery).last is None


@pytest.mark.parametrize("query", [{"last": "x"}, {"last": "0"}, {"level": "loud"}, {"x": "1"}, {"grep": "\x1b"}])
def test_a_wrong_query_says_what_is_wrong(query):
    with pytest.raises(JsonError):
        read_query(query, FarmEventsQuery)


def test_only_what_is_not_at_its_default_is_passed_on():
    assert written(ClientQuery(address="192.0.2.7", port=80)) == {"address": "192.0.2.7", "port": "80"}
    assert written(FarmEventsQuery(level="error")) == {"level": "error"}


def test_passwords_and_tokens_are_in_no_text_of_a_document():
    secret = "correct horse"  # noqa: S105 - of nobody
    shown = [
        NewPasswordBody(password=secret),
        NewUserBody(name="alice", role=AccessRole.ADMIN, password=secret),
        NewToken(token=secret, id="1", text="added"),
        SignInBody(name="alice", password=secret),
    ]
    assert not any(secret in repr(each) for each in shown)
    assert all(repr(each) for each in shown)


def test_the_document_describes_each_route():
    document = openapi_document("1.0")
    assert document["openapi"] == "3.1.0"
    described = {
        (operation["operationId"], method.upper(), path)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert described == {(route.name, route.method, f"{PREFIX}{route.path}") for route in ROUTES}


def test_an_optional_parameter_is_left_out_and_never_null():
    operation = openapi_document("1.0")["paths"]["/api/v1/explain"]["get"]
    port = next(each for each in operation["parameters"] if each["name"] == "port")
    assert (port["required"], port["schema"]["type"]) == (False, "integer")
