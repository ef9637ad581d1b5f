"""The description of the API: it is a valid OpenAPI document, and what is served is as it says."""

import asyncio
import threading
from contextlib import contextmanager

import msgspec
import pytest
import schemathesis
from console_nodes import console_here, token_of
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from hcsidecar.console.handlers import Handlers
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.console.openapi import openapi_document
from hcsidecar.core.console.routes import PATH_PARAMETERS, PREFIX, ROUTES

DOCUMENT = openapi_document("1.0")
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def operations():
    """Give all operations but the stream, which does not end by itself, and sign-in, which is slowed down."""
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    found = [result.ok() for result in schema.get_all_operations()]
    return {operation.definition.raw["operationId"]: operation for operation in found}


OPERATIONS = operations()
TRIED = sorted(OPERATIONS.keys() - {"stream", "sign_in"})


@contextmanager
def in_a_thread(directory):
    """Run a console in a thread, for clients that block."""
    up, over, urls = threading.Event(), threading.Event(), []

    async def run():
        async with console_here(directory, names=("web1", "web2")) as console:
            urls.append(console.url(""))
            up.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        assert up.wait(30)
        yield urls[0]
    finally:
        over.set()
        thread.join(30)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with in_a_thread(tmp_path_factory.mktemp("console")) as url:
        yield url


def try_operation(operation, url, examples):
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def run(case):
        headers = {"Authorization": f"Bearer {token_of(AccessRole.ADMIN)}"}
        case.call_and_validate(base_url=url, headers=headers, checks=CHECKS, timeout=30)

    run()


@pytest.mark.parametrize("name", TRIED)
def test_whatever_is_sent_the_answer_is_one_that_the_document_has(url, name):
    try_operation(OPERATIONS[name], url, 8)


@pytest.mark.soak
@pytest.mark.parametrize("name", TRIED)
def test_whatever_is_sent_for_long_the_answer_is_one_that_the_document_has(url, name):
    try_operation(OPERATIONS[name], url, 500)


def test_each_route_is_described_and_has_a_handler():
    described = {
        operation["operationId"] for operations in DOCUMENT["paths"].values() for operation in operations.values()
    }
    assert described == {route.name for route in ROUTES}
    assert len(described) == len(ROUTES)
    assert [route.name for route in ROUTES if not callable(getattr(Handlers, route.name, None))] == []


def test_each_route_has_a_place_of_its_own():
    places = [(route.method, route.path) for route in ROUTES]
    assert len(set(places)) == len(places)


def test_what_stands_in_braces_is_described():
    names = {part.strip("{}") for route in ROUTES for part in route.path.split("/") if part.startswith("{")}
    assert names == set(PATH_PARAMETERS)


def test_every_schema_that_is_named_is_there_and_every_one_that_is_there_is_named():
    text = msgspec.json.encode(DOCUMENT).decode()
    schemas = DOCUMENT["components"]["schemas"]
    assert [name for name in schemas if f'"#/components/schemas/{name}"' not in text] == []
    named = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert named == set(schemas)
    assert all(schema.get("description") for schema in schemas.values())


def test_every_operation_says_what_it_does_and_who_may():
    for path, methods in DOCUMENT["paths"].items():
        assert path.startswith(PREFIX)
        for operation in methods.values():
            assert operation["summary"].endswith(".")
            assert operation["description"]
            assert "400" in operation["responses"]
