"""The console's socket: who is served there, and that a role may not do what is not its own."""

import asyncio
import json
import os
import stat
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from api_nodes import running

from hcsidecar.api.certificates import ON_THIS_MACHINE
from hcsidecar.api.console import THE_CONSOLE, AdmitConsole, why_not_served
from hcsidecar.api.local import local_app
from hcsidecar.api.routes import Api
from hcsidecar.api.servers import serve_unix
from hcsidecar.core.access.identity import ACTOR_HEADER, Actor, Identity, Via, encode_actor
from hcsidecar.core.access.record import AccessRecord, ChangeStamp, UserEntry, removed_user
from hcsidecar.core.access.roles import PERMISSIONS, AccessRole

CONSOLE_UID = 65534
NOW = 946_684_800
"Seconds since 1970."
STAMP = ChangeStamp(1, NOW, "web1")


def user(role):
    return UserEntry(born=STAMP, role=role, role_set=STAMP, password_set=STAMP)


RECORD = AccessRecord(
    users={
        "alice": user(AccessRole.ADMIN),
        "bob": user(AccessRole.ADMIN),
        "carol": user(AccessRole.MONITOR),
        "dave": removed_user(STAMP, STAMP),
    },
)


def actor(role, *, name="alice", via=Via.CONSOLE):
    return encode_actor(Actor(identity=Identity(name=name, role=role, via=via), address="192.0.2.7"))


@asynccontextmanager
async def served(directory, *, group=None):
    async with running(["web1", "web2"], directory) as nodes:
        path = directory / "console.sock"
        app = local_app(
            Api(nodes["web1"].control),
            nodes["web1"].relay,
            admit=AdmitConsole(console=CONSOLE_UID, record=lambda: RECORD),
        )
        async with serve_unix(app, path, group=group):
            yield nodes, path


async def ask(path, method, target, *, header=None, body=None):
    session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path)))
    headers = {} if header is None else {ACTOR_HEADER: header}
    async with session, session.request(method, f"http://node{target}", data=body, headers=headers) as response:
        return response.status, await response.json()


@pytest.mark.parametrize(("prefix", "node", "told"), [("", "web1", ""), ("/nodes/web2", "web2", "@web1")])
def test_an_action_is_given_in_the_name_of_the_person_and_not_of_the_console(tmp_path, prefix, node, told):
    async def story():
        async with served(tmp_path) as (nodes, path):
            status, _ = await ask(path, "POST", f"/api/v1{prefix}/actions/drain", header=actor(AccessRole.CONTROL))
            assert status == 200
            [(action, _, by)] = nodes[node].control.acts
            assert (action, by) == ("drain", f"alice{told} (console, 192.0.2.7)")

    asyncio.run(story())


@pytest.mark.parametrize("prefix", ["", "/nodes/web2"])
def test_the_daemon_refuses_what_a_role_may_not_do_whatever_the_console_lets_pass(tmp_path, prefix):
    async def story():
        async with served(tmp_path) as (nodes, path):
            monitor = actor(AccessRole.MONITOR)
            status, refusal = await ask(path, "POST", f"/api/v1{prefix}/actions/drain", header=monitor)
            assert status == 403
            assert refusal == {"reason": "the role monitor may not do this: it takes control or admin"}
            assert [node.control.acts for node in nodes.values()] == [[], []]

    asyncio.run(story())


@pytest.mark.parametrize("prefix", ["", "/nodes/web2"])
def test_a_console_that_lies_about_a_role_gets_no_more_than_the_role_of_the_person(tmp_path, prefix):
    async def story():
        async with served(tmp_path) as (nodes, path):
            lie = actor(AccessRole.ADMIN, name="carol")
            status, refusal = await ask(path, "POST", f"/api/v1{prefix}/actions/drain", header=lie)
            assert (status, refusal["reason"]) == (403, "the role monitor may not do this: it takes control or admin")
            stranger = actor(AccessRole.ADMIN, name="dave")
            status, refusal = await ask(path, "GET", f"/api/v1{prefix}/status", header=stranger)
            assert status == 403
            assert refusal["reason"].startswith("dave is no user or API token that this node knows of")
            assert [node.control.acts for node in nodes.values()] == [[], []]

    asyncio.run(story())


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_console_has_its_certificate_from_its_own_node_and_from_no_other(tmp_path, method):
    body = None if method == "GET" else json.dumps({"nonce": "0" * 32, "request": "-----"})

    async def story():
        async with served(tmp_path) as (_, path):
            for own in ("", "/nodes/web1"):
                status, told = await ask(path, method, f"/api/v1{own}/certificates/console", body=body)
                assert (status, told["problem"]) == (200, "this farm has no certificate authority")
            status, refusal = await ask(path, method, "/api/v1/nodes/web2/certificates/console", body=body)
            assert (status, refusal["reason"]) == (400, ON_THIS_MACHINE)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "console", b"", 405),
        ("GET", "node", b"", 404),
        ("POST", "console", b"", 400),
        ("POST", "console", b"[" * 9000, 400),
        ("POST", "console", b'{"nonce":"%s","request":"%s"}' % (b"0" * 32, b"x" * 4097), 400),
        ("POST", "console", b'{"nonce":"short","request":"x"}', 400),
    ],
)
def test_what_is_no_request_for_a_certificate_is_refused(tmp_path, method, path, body, status):
    async def story():
        async with served(tmp_path) as (_, socket):
            answered, refusal = await ask(socket, method, f"/api/v1/certificates/{path}", body=body)
            assert answered in (status, 403)
            assert refusal["reason"]

    asyncio.run(story())


@pytest.mark.parametrize("permission", PERMISSIONS, ids=lambda each: f"{each.method} {each.path}")
@pytest.mark.parametrize("role", AccessRole)
def test_each_verb_takes_the_role_of_the_table(permission, role):
    path = f"/api/v1/{permission.path.replace('*', 'x')}"
    _, why = why_not_served(actor(role, name="bob"), permission.method, path, record=RECORD, now=NOW)
    assert (why is None) == role.includes(permission.role)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "requests/restart"),
        ("POST", "reports/QUEUE"),
        ("POST", "settings/checks"),
        ("POST", "settings/messages"),
        ("POST", "notifications"),
        ("GET", "certificates/console"),
        ("POST", "certificates/console"),
        ("DELETE", "status"),
    ],
)
def test_what_nodes_and_applications_say_nobody_says_through_the_console(method, path):
    _, why = why_not_served(actor(AccessRole.ADMIN), method, f"/api/v1/{path}", record=RECORD, now=NOW)
    assert why is not None


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "status", True),
        ("GET", "access", False),
        ("GET", "access/verification", True),
        ("POST", "access/uses", True),
        ("GET", "certificates/console", True),
        ("POST", "certificates/console", True),
        ("GET", "certificates/node", False),
        ("POST", "access/users", False),
        ("GET", "settings/revisions/x", False),
        ("POST", "actions/drain", False),
        ("POST", "power", False),
    ],
)
def test_without_a_person_the_console_only_reads(method, path, allowed):
    by, why = why_not_served(None, method, f"/api/v1/{path}", record=RECORD, now=NOW)
    assert by == THE_CONSOLE
    assert (why is None) == allowed


@pytest.mark.parametrize("header", ["", "alice", "{}", "[" * 9000, '{"identity":{"name":"a\\nb","role":"admin"}}'])
def test_a_header_that_names_nobody_is_refused(header):
    _, why = why_not_served(header, "GET", "/api/v1/status", record=RECORD, now=NOW)
    assert why == f"{ACTOR_HEADER} names no person or program"


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes other users")
@pytest.mark.parametrize(
    ("uid", "answer"), [(CONSOLE_UID, b"HTTP/1.0 200"), (65533, b"user 65533 is not the console of this node")]
)
def test_only_the_consoles_user_is_served(uid, answer):
    asker = (
        "import os, socket, sys; os.setgroups([]); os.setgid(65534); os.setuid(int(sys.argv[2]));"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        "s.sendall(b'GET /api/v1/status HTTP/1.0\\r\\n\\r\\n'); print(s.makefile().read())"
    )

    async def story(directory):
        async with served(directory, group=65534) as (_, path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", asker, str(path), str(uid), stdout=asyncio.subprocess.PIPE
            )
            text, _ = await asyncio.wait_for(process.communicate(), 30)
            assert answer in text

    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        asyncio.run(story(Path(directory)))


def test_nobody_of_the_command_line_comes_through_the_console():
    claimed = actor(AccessRole.ADMIN, via=Via.COMMAND_LINE)
    who, why = why_not_served(claimed, "POST", "/api/v1/actions/drain", record=RECORD, now=NOW)
    assert (who, why) == (THE_CONSOLE, f"{ACTOR_HEADER} names no person or program")
