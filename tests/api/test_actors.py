"""For whom a trusted process asks: events name him, and he may do what his role may."""

import asyncio
import json

import aiohttp
import pytest
from api_nodes import running

from hcsidecar.core.access.identity import ACTOR_HEADER, Actor, Identity, Via, encode_actor, sudo_actor
from hcsidecar.core.access.roles import AccessRole

MONITOR, CONTROL, ADMIN = AccessRole.MONITOR, AccessRole.CONTROL, AccessRole.ADMIN


def actor(role, name="alice", via=Via.CONSOLE):
    return encode_actor(Actor(identity=Identity(name=name, role=role, via=via), address="192.0.2.7"))


def asked(tmp_path, method, path, header):
    """Ask web1 of two nodes for somebody; give status, answer, the two nodes and the events of web1."""

    async def story():
        async with running(["web1", "web2"], tmp_path) as nodes:
            session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(nodes["web1"].socket)))
            headers = {} if header is None else {ACTOR_HEADER: header}
            async with session, session.request(method, f"http://node{path}", data=b"{}", headers=headers) as response:
                answer = json.loads(await response.read())
            events = [entry.message for entry in nodes["web1"].control.journal.after(0).events]
            return response.status, answer, nodes["web1"].control, nodes["web2"].control, events

    return asyncio.run(story())


def test_an_action_is_done_in_the_name_of_the_person(tmp_path):
    status, _, web1, _, events = asked(tmp_path, "POST", "/api/v1/actions/stop", actor(CONTROL))
    assert status == 200
    assert web1.acts == [("stop", False, "alice (console, 192.0.2.7)")]
    assert events == []


def test_an_action_on_another_node_names_the_person_there_and_is_told_where_it_was_asked_for(tmp_path):
    path = "/api/v1/nodes/web2/actions/stop"
    status, _, web1, web2, events = asked(tmp_path, "POST", path, actor(CONTROL, "ci", Via.API_TOKEN))
    assert status == 200
    assert (web1.acts, web2.acts) == ([], [("stop", False, "ci@web1 (API token, 192.0.2.7)")])
    assert events == ["passed on to web2: stop, asked for by ci (API token, 192.0.2.7)"]


def test_without_a_name_it_is_the_user_of_the_machine(tmp_path):
    status, _, _, web2, events = asked(tmp_path, "POST", "/api/v1/nodes/web2/actions/stop", None)
    assert status == 200
    ((_, _, by),) = web2.acts
    assert by.endswith("@web1")
    assert events == [f"passed on to web2: stop, asked for by {by.removesuffix('@web1')}"]


@pytest.mark.parametrize("path", ["/api/v1/actions/stop", "/api/v1/nodes/web2/actions/stop", "/api/v1/power"])
def test_what_the_role_may_not_do_is_not_done_on_any_node(tmp_path, path):
    status, answer, web1, web2, events = asked(tmp_path, "POST", path, actor(MONITOR))
    assert (status, answer["reason"]) == (403, "the role monitor may not do this: it takes control or admin")
    assert (web1.acts, web2.acts, web1.powers_set, events) == ([], [], [], [])


@pytest.mark.parametrize(
    ("method", "path", "role", "status"),
    [
        ("GET", "/api/v1/status", MONITOR, 200),
        ("GET", "/api/v1/nodes/web2/status", MONITOR, 200),
        ("GET", "/api/v1/access/verification", ADMIN, 403),
        ("POST", "/api/v1/requests/restart", ADMIN, 403),
        ("POST", "/api/v1/nodes/web1/access/uses", ADMIN, 403),
        ("GET", "/api/v1/access", CONTROL, 403),
        ("GET", "//api/v1/status", ADMIN, 403),
        ("GET", "/api/v1", ADMIN, 403),
    ],
)
def test_the_table_of_roles_holds_on_the_socket(tmp_path, method, path, role, status):
    assert asked(tmp_path, method, path, actor(role))[0] == status


def test_who_has_become_root_by_sudo_may_what_root_may_and_is_named(tmp_path):
    status, *_ = asked(tmp_path, "POST", "/api/v1/budget/count", actor(MONITOR, via=Via.COMMAND_LINE))
    assert status == 400  # of the body, not of the role
    _, _, web1, _, _ = asked(tmp_path, "POST", "/api/v1/actions/stop", encode_actor(sudo_actor("alice")))
    assert web1.acts == [("stop", False, "alice (command line)")]


@pytest.mark.parametrize("header", ["", "alice", "{}", actor(ADMIN).replace("admin", "king")])
def test_a_header_that_names_nobody_is_refused(tmp_path, header):
    status, answer, web1, _, _ = asked(tmp_path, "POST", "/api/v1/actions/stop", header)
    assert (status, answer["reason"]) == (400, "the header X-Farm-Actor does not name anybody")
    assert web1.acts == []
