"""Who is let in to the console, and what a role may not do."""

import asyncio
import time

import aiohttp
import msgspec
import pytest
from console_nodes import PASSWORD, USERS, console_here, cookie_in, eventually

from hcsidecar.core.access.credentials import (
    RENEW_AFTER,
    SESSION_IDLE,
    SESSION_LIFE,
    new_session,
    read_session,
    renewed_session,
)
from hcsidecar.core.access.record import AccessRecord, ChangeStamp
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.console.openapi import BACKGROUND_HEADER, COOKIE, CSRF_HEADER
from hcsidecar.core.console.routes import PREFIX, ROUTES

DIGEST = "a" * 64
PARAMETERS = {
    "node": "web1",
    "action": "drain",
    "run": "last",
    "id": "0" * 16,
    "digest": DIGEST,
    "sha256": DIGEST,
    "user": "eve",
    "token": "x",
}


def told(tmp_path, story, **more):
    async def run():
        async with console_here(tmp_path, names=("web1", "web2"), **more) as console:
            return await story(console)

    return asyncio.run(run())


def target(route):
    return PREFIX + route.path.format(**PARAMETERS)


def test_each_route_takes_its_role_and_no_lower_one(tmp_path):
    async def story(console):
        wrong = []
        for route in (each for each in ROUTES if each.role is not None and each.name != "stream"):
            for role in (None, *AccessRole):
                # A body that is not right: so nothing is done where the role is right.
                raw = b"{" if route.body is not None else None
                status, _, _ = await console.ask(route.method, target(route), role=role, raw=raw)
                allowed = role is not None and role.includes(route.role)
                refused = 401 if role is None else 403
                if (status == refused) == allowed or (not allowed and status != refused):
                    wrong.append((route.name, role, status))
        assert wrong == []

    told(tmp_path, story)


def test_a_person_signs_in_and_is_known_by_the_cookie(tmp_path):
    async def story(console):
        async with console.signed_in(AccessRole.CONTROL) as (browser, _):
            cookie = cookie_in(browser)
            assert cookie["httponly"]
            assert cookie["samesite"] == "Strict"
            status, _, answer = await console.ask_with(browser, "GET", "/api/v1/session")
            assert (status, answer["name"], answer["role"], answer["via"]) == (200, "bob", "control", "console")

    told(tmp_path, story)


@pytest.mark.parametrize(
    ("name", "password", "status", "reason"),
    [
        ("alice", "wrong", 401, "name or password is wrong"),
        ("nobody", PASSWORD, 401, "name or password is wrong"),
        ("", PASSWORD, 400, "name"),
        ("alice", "x" * 1025, 400, "password"),
    ],
)
def test_a_wrong_password_and_an_unknown_name_are_told_alike(tmp_path, name, password, status, reason):
    async def story(console):
        body = {"name": name, "password": password}
        answer = await console.ask("POST", "/api/v1/session", body, role=None)
        assert answer[0] == status
        assert reason in answer[2]["reason"]
        assert "Set-Cookie" not in answer[1]

    told(tmp_path, story)


def test_who_guesses_passwords_must_wait(tmp_path):
    async def story(console):
        body = {"name": "alice", "password": "wrong"}
        statuses = [(await console.ask("POST", "/api/v1/session", body, role=None))[0] for _ in range(8)]
        assert statuses[0] == 401
        assert 429 in statuses

    told(tmp_path, story)


def test_what_a_browser_changes_needs_the_csrf_value_of_its_session(tmp_path):
    async def story(console):
        async with console.signed_in() as (browser, proof):
            path, body = "/api/v1/actions/drain", {"nodes": ["web2"]}
            for headers in ({}, {CSRF_HEADER: "0" * 64}, {**proof, "Origin": "https://evil.example"}):
                status, _, _ = await console.ask_with(browser, "POST", path, body, headers=headers)
                assert status == 403
            assert console.nodes["web2"].control.acts == []
            status, _, answer = await console.ask_with(browser, "POST", path, body, headers=proof)
            assert (status, answer["ok"]) == (200, True)
            [(_, _, by)] = console.nodes["web2"].control.acts
            assert by == "alice@web1 (console, 127.0.0.1)"

    told(tmp_path, story)


def test_signing_out_removes_the_cookie(tmp_path):
    async def story(console):
        async with console.signed_in() as (browser, proof):
            status, _, _ = await console.ask_with(browser, "DELETE", "/api/v1/session", headers=proof)
            assert (status, cookie_in(browser)) == (200, None)
            status, _, _ = await console.ask_with(browser, "GET", "/api/v1/farm")
            assert status == 401

    told(tmp_path, story)


def test_the_session_of_a_removed_user_ends(tmp_path):
    async def story(console):
        async with console.signed_in() as (browser, _):
            record = console.record[0]
            gone = msgspec.structs.replace(record.users["alice"], removed=ChangeStamp(2, 2, "web1"), password=None)
            console.record[0] = record.merged(AccessRecord(users={"alice": gone}))

            async def is_out():
                return (await console.ask_with(browser, "GET", "/api/v1/farm"))[0] == 401

            await eventually(is_out)

    told(tmp_path, story)


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer x",
        "Basic YWxpY2U6eA==",
        "Bearer hca1.0123456789abcdef." + "A" * 43,
        "Farm key=1",
        "x" * 5000,
    ],
)
def test_what_is_no_token_lets_nobody_in(tmp_path, authorization):
    async def story(console):
        headers = {"Authorization": authorization}
        status, answered, _ = await console.ask("GET", "/api/v1/farm", role=None, headers=headers)
        assert (status, answered["WWW-Authenticate"]) == (401, 'Bearer realm="hcsidecar"')

    told(tmp_path, story)


@pytest.mark.parametrize("cookie", ["", "x", "hcs1.e30." + "0" * 16 + "." + "A" * 43, "é", "x" * 3000])
def test_a_forged_cookie_lets_nobody_in(tmp_path, cookie):
    async def story(console):
        headers = {"Cookie": f"{COOKIE}={cookie}"}
        status, _, _ = await console.ask("GET", "/api/v1/farm", role=None, headers=headers)
        assert status == 401

    told(tmp_path, story)


def test_every_answer_tells_the_browser_to_keep_it_to_itself(tmp_path):
    async def story(console):
        for method, path, role in (
            ("GET", "/api/v1/farm", AccessRole.MONITOR),
            ("GET", "/api/v1/farm", None),
            ("GET", "/nothing", None),
            ("PUT", "/api/v1/farm", None),
            ("OPTIONS", "*", None),
        ):
            _, headers, _ = await console.ask(method, path if path != "*" else "/", role=role)
            assert headers["Cache-Control"] == "no-store"
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
            assert "Server" not in headers
            assert "Access-Control-Allow-Origin" not in headers

    told(tmp_path, story)


def test_what_a_page_asks_by_itself_does_not_keep_a_session_from_becoming_idle(tmp_path):
    async def story(console):
        name = USERS[AccessRole.MONITOR]
        session = new_session(console.record[0], name, now=time.time() - RENEW_AFTER - 1)
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:
            for background in (True, False):
                headers = {"Cookie": f"{COOKIE}={session}"} | ({BACKGROUND_HEADER: "1"} if background else {})
                status, answered, _ = await console.ask_with(client, "GET", "/api/v1/series", headers=headers)
                assert status == 200
                assert ("Set-Cookie" in answered) is not background

    told(tmp_path, story)


def idle_session(record, *, now):
    """Give a session that nobody has used for too long."""
    return new_session(record, USERS[AccessRole.ADMIN], now=now - SESSION_IDLE - 1)


def old_session(record, *, now):
    """Give a session that is in use, and that is too old."""
    began = now - SESSION_LIFE - 1
    session = new_session(record, USERS[AccessRole.ADMIN], now=began)
    for used_at in (began + SESSION_LIFE / 4, began + SESSION_LIFE / 2, began + SESSION_LIFE * 3 / 4):
        session = renewed_session(record, read_session(record, session, now=used_at), now=used_at)
    return session


@pytest.mark.parametrize(
    ("made", "reason"),
    [(idle_session, "has not been used for 8 hours"), (old_session, "is 24 hours old")],
    ids=["idle", "old"],
)
def test_a_cookie_that_has_expired_lets_nobody_in_and_is_not_renewed(tmp_path, made, reason):
    async def story(console):
        session = made(console.record[0], now=time.time())
        headers = {"Cookie": f"{COOKIE}={session}"}
        status, answered, refusal = await console.ask("GET", "/api/v1/farm", role=None, headers=headers)
        assert (status, reason in refusal["reason"]) == (401, True), refusal
        assert "Set-Cookie" not in answered
        status, answered, _ = await console.ask("GET", "/", role=None, headers=headers)
        assert (status, answered["Location"]) == (303, "/sign-in?next=%2F")
        assert "Set-Cookie" not in answered

    told(tmp_path, story)
