"""The pages: what a browser is told with each, who gets in, and that nothing of strangers becomes a part of a page."""

import asyncio
import gzip
import re

import aiohttp
import pytest
from console_nodes import PASSWORD, console_here, cookie_in
from pages import browser, csrf_in, until_part

from hcsidecar.console.pages.rendering import choose_language
from hcsidecar.console.pages.signing_in import own_path
from hcsidecar.console.pages.table import PAGES
from hcsidecar.core.access.documents import LinkBody
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.console.openapi import COOKIE
from hcsidecar.core.events import Event, Level

SLOW = ("/support/snapshot",)
"They make something of all nodes, and are no HTML."
QUERIES = {"/farm/act": "?action=stop"}
"Of the pages that need one."
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def told(tmp_path, story, **more):
    async def run():
        async with console_here(tmp_path, names=("web1", "web2"), **more) as console:
            return await story(console)

    return asyncio.run(run())


def test_every_page_forbids_scripts_in_it_other_hosts_and_frames(tmp_path):
    async def story(console):
        async with browser(console, AccessRole.ADMIN) as ask:
            for path in ("/", "/sign-in", "/nothing", "/static/console.css"):
                _, headers, _ = await ask("GET", path)
                policy = headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy
                assert "script-src 'self';" in policy
                assert "frame-ancestors 'none'" in policy
                assert "unsafe" not in policy
                assert headers["X-Content-Type-Options"] == "nosniff"
                assert "Server" not in headers

    told(tmp_path, story)


def test_no_page_has_a_script_a_style_or_a_link_to_elsewhere_in_it(tmp_path):
    async def story(console):
        async with browser(console, AccessRole.ADMIN) as ask:
            for page in (page for page in PAGES if page.method == "GET" and "{" not in page.path):
                if page.path.startswith(("/live/", "/events/export", "/ca.pem", *SLOW)):
                    continue
                status, _, text = await ask("GET", page.path + QUERIES.get(page.path, ""))
                assert status == 200, page.path
                assert not re.search(r"<script(?![^>]* src=\"/static/)", text), page.path
                assert not re.search(r"<style|\sstyle=|\son[a-z]+=|hx-on|javascript:", text), page.path
                assert not re.search(r"(?:src|href|action)=\"(?!/|#)", text), page.path

    told(tmp_path, story)


def test_each_page_takes_its_role_and_no_lower_one(tmp_path):
    fill = {
        "user": "eve",
        "token": "x",
        "node": "web1",
        "id": "0" * 16,
        "run": "last",
        "digest": "a" * 64,
        "sha256": "a" * 64,
    }

    async def story(console):
        for role in (None, *AccessRole):
            async with browser(console, role) as ask:
                for page in (page for page in PAGES if page.role is not None and not page.path.startswith("/live/")):
                    # A form without the browser's secret: so nothing is done where the role is right.
                    form = {} if page.form else None
                    if page.has_file:
                        form = aiohttp.FormData({"x": ""}, default_to_multipart=True)
                    status, headers, text = await ask(page.method, page.path.format(**fill), form)
                    if role is None:
                        assert (status, headers["Location"][:8]) == (303, "/sign-in"), page.name
                    elif not role.includes(page.role):
                        assert (status, "this takes the role" in text) == (403, True), page.name
                    else:
                        assert "this takes the role" not in text, page.name
                        assert page.method == "GET" or status == 403, page.name

    told(tmp_path, story)


def test_who_is_not_signed_in_signs_in_and_comes_back_to_the_page(tmp_path):
    async def story(console):
        async with browser(console) as ask:
            status, headers, _ = await ask("GET", "/?x=1")
            assert (status, headers["Location"]) == (303, "/sign-in?next=%2F%3Fx%3D1")
            _, _, page = await ask("GET", headers["Location"])
            assert 'name="next" value="/?x=1"' in page
            form = {"name": "alice", "password": PASSWORD, "next": "/sign-in?next=x"}
            status, headers, _ = await ask("POST", "/sign-in", form)
            assert (status, headers["Location"]) == (303, "/sign-in?next=x")
            status, _, page = await ask("GET", "/")
            assert status == 200
            assert "alice" in page

    told(tmp_path, story)


def test_what_a_page_asks_by_itself_takes_nobody_away_from_it(tmp_path):
    async def story(console):
        async with browser(console) as ask:
            status, headers, text = await ask("GET", "/farm/level", HX_Request="true", X_Hcsidecar_Background="1")
            assert (status, text) == (401, "")
            assert not {"HX-Redirect", "HX-Retarget", "Location"} & set(headers)
        async with browser(console, AccessRole.MONITOR) as ask:
            status, _, text = await ask("GET", "/farm/level", HX_Request="true", X_Hcsidecar_Background="1")
            assert status == 200
            assert 'data-level="' in text

    told(tmp_path, story)


@pytest.mark.parametrize(
    "path", ["//evil.example", "/\\evil.example", "https://evil.example", "evil", "", "/\nx", "/a\\b", "javascript:x"]
)
def test_signing_in_leads_to_a_page_of_this_console_only(path):
    assert own_path(path) == "/"


@pytest.mark.parametrize("path", ["/", "/events?node=web1", "/settings/history"])
def test_signing_in_leads_back(path):
    assert own_path(path) == path


def test_a_wrong_password_is_told_without_saying_whether_the_user_exists(tmp_path):
    async def story(console):
        async with browser(console) as ask:
            answers = set()
            for name in ("alice", "nobody"):
                status, _, text = await ask("POST", "/sign-in", {"name": name, "password": "wrong"})
                answers.add((status, text.replace(name, "NAME")))
            assert len(answers) == 1
            ((status, text),) = answers
            assert status == 401
            assert "name or password is wrong" in text
            assert cookie_in(ask.session) is None

    told(tmp_path, story)


def test_a_session_that_somebody_has_planted_is_not_taken_over_at_sign_in(tmp_path):
    async def story(console):
        async with browser(console) as ask:
            ask.session.cookie_jar.update_cookies({COOKIE: "planted"}, aiohttp.client.URL(console.url("/")))
            await ask("POST", "/sign-in", {"name": "alice", "password": PASSWORD})
            assert cookie_in(ask.session).value != "planted"

    told(tmp_path, story)


@pytest.mark.parametrize(
    ("headers", "csrf"),
    [
        ({"Origin": "https://evil.example"}, True),
        ({"Origin": "null"}, True),
        ({"Sec_Fetch_Site": "cross-site"}, True),
        ({"Sec_Fetch_Site": "same-site"}, True),
        ({}, False),
    ],
    ids=["another origin", "no origin", "cross-site", "same-site", "without the secret"],
)
def test_a_form_of_another_site_is_refused(tmp_path, headers, csrf):
    async def story(console):
        async with browser(console, AccessRole.ADMIN) as ask:
            _, _, page = await ask("GET", "/")
            form = {"csrf": csrf_in(page)} if csrf else {"csrf": "0" * 64}
            status, _, _ = await ask("POST", "/sign-out", form, **headers)
            assert status == 403
            assert cookie_in(ask.session) is not None

    told(tmp_path, story)


def test_another_site_cannot_sign_anybody_in(tmp_path):
    async def story(console):
        async with browser(console) as ask:
            form = {"name": "alice", "password": PASSWORD}
            status, _, _ = await ask("POST", "/sign-in", form, Origin="https://evil.example")
            assert status == 403
            assert cookie_in(ask.session) is None

    told(tmp_path, story)


def test_a_link_signs_in_once_and_only_looking_at_it_does_not(tmp_path):
    async def story(console):
        secret = console.nodes["web1"].control.access.make_link(LinkBody(user="alice"), by="root").secret
        async with browser(console) as ask:
            for _ in range(2):
                _, _, page = await ask("GET", f"/sign-in?link={secret}")
                assert f'name="link" value="{secret}"' in page
            status, headers, _ = await ask("POST", "/sign-in/link", {"link": secret})
            assert (status, headers["Location"]) == (303, "/")
            _, _, page = await ask("GET", "/")
            assert "alice" in page
        async with browser(console) as ask:
            status, _, page = await ask("POST", "/sign-in/link", {"link": secret})
            assert status == 401
            assert "this link is used" in page
            assert cookie_in(ask.session) is None

    told(tmp_path, story)


def test_links_are_not_guessed_for_long(tmp_path):
    async def story(console):
        async with browser(console) as ask:
            answers = [(await ask("POST", "/sign-in/link", {"link": "x" * 22}))[0] for _ in range(8)]
            assert answers[0] == 401
            assert answers[-1] == 429

    told(tmp_path, story)


def test_signing_out_takes_the_session_away(tmp_path):
    async def story(console):
        async with browser(console, AccessRole.MONITOR) as ask:
            _, _, page = await ask("GET", "/")
            status, headers, _ = await ask("POST", "/sign-out", {"csrf": csrf_in(page)})
            assert (status, headers["Location"]) == (303, "/sign-in")
            assert cookie_in(ask.session) is None

    told(tmp_path, story)


def test_what_strangers_have_written_is_text_in_a_page_and_never_markup(tmp_path):
    async def story(console):
        console.nodes["web2"].control.row("web2", reason=HOSTILE, waits_for=[HOSTILE], status="NotReady", role="WAIT")
        console.nodes["web1"].control.journal.write(Event(level=Level.INFO, origin="test", message=HOSTILE))
        async with browser(console, AccessRole.MONITOR) as ask:
            for path in ("/", "/farm/web2/card"):
                _, _, text = await ask("GET", path)
                assert "&lt;script&gt;alert(1)" in text
                assert "<script>alert" not in text
                assert "<img" not in text
        async with browser(console) as ask:
            _, _, text = await ask("POST", "/sign-in", {"name": HOSTILE, "password": "x"})
            assert "<img" not in text

    told(tmp_path, story)


@pytest.mark.parametrize("harm", ["%0d%0aX-Evil:%201", "%0aSet-Cookie:%20x=y", "\r\nX-Evil: 1"])
def test_no_request_puts_a_header_into_an_answer(tmp_path, harm):
    async def story(console):
        async with browser(console, AccessRole.MONITOR) as ask:
            for path in (
                f"/?x={harm}",
                f"/sign-in?next=/{harm}",
                f"/events/export?node={harm}",
                f"/runs/{harm}/{harm}",
            ):
                _, headers, _ = await ask("GET", path)
                assert "X-Evil" not in headers, path
                assert "x=y" not in headers.get("Set-Cookie", ""), path
            for form in ({"language": f"fr{harm}", "next": "/"}, {"language": "fr", "next": f"/{harm}"}):
                _, headers, _ = await ask("POST", "/language", form)
                assert "X-Evil" not in headers, form
                assert not [each for each in headers.getall("Set-Cookie", ()) if each.startswith("x=")], form

    told(tmp_path, story)


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static//etc/passwd",
        "/static/vendor/../../app.py",
        "/static/.",
        "/static/",
    ],
)
def test_no_path_leads_out_of_the_static_files(tmp_path, path):
    async def story(console):
        reader, writer = await asyncio.open_connection(*console.address)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 404 ")
        assert b"import" not in answer

    told(tmp_path, story)


def test_a_static_file_is_kept_by_the_browser_until_it_changes(tmp_path):
    async def story(console):
        async with browser(console) as ask:
            _, _, page = await ask("GET", "/sign-in")
            url = re.search(r'href="(/static/console.css\?v=[0-9a-f]+)"', page)[1]
            status, headers, text = await ask("GET", url)
            assert (status, headers["Content-Type"]) == (200, "text/css; charset=utf-8")
            assert "immutable" in headers["Cache-Control"]
            assert ":root" in text
            status, headers, _ = await ask("GET", "/static/console.css", If_None_Match=headers["ETag"])
            assert (status, headers["Cache-Control"]) == (304, "no-cache")

    told(tmp_path, story)


def test_what_a_browser_loads_with_the_first_page_is_compressed_and_at_most_150_kb(tmp_path):
    async def story(console):
        async with browser(console, AccessRole.ADMIN) as ask:
            weights = {}
            for path in ("/sign-in", "/"):
                _, headers, page = await ask("GET", path)
                assert headers["Content-Encoding"] in ("gzip", "deflate")
                weights[path] = len(gzip.compress(page.encode()))
                files = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page))
                assert len(files) > 5
                for url in files:
                    _, headers, _ = await ask("GET", url)
                    assert headers["Content-Encoding"] == "gzip"
                    weights[path] += int(headers["Content-Length"])
            assert max(weights.values()) <= 150_000, weights

    told(tmp_path, story)


@pytest.mark.parametrize(
    ("cookie", "accepted", "language"),
    [
        (None, "", "en"),
        (None, "fr-CH, fr;q=0.9, en;q=0.8", "fr"),
        (None, "de, en;q=0.5, fr;q=0.4", "en"),
        (None, "fr;q=0, de", "en"),
        (None, "fr;q=x", "en"),
        (None, "en;q=0.3,fr;q=0.7", "fr"),
        ("fr", "en", "fr"),
        ("xx", "fr", "fr"),
    ],
)
def test_the_language_is_the_chosen_one_else_the_one_that_the_browser_likes_best(cookie, accepted, language):
    assert choose_language(cookie, accepted) == language


def test_a_chosen_language_is_remembered(tmp_path):
    async def story(console):
        async with browser(console) as ask:
            status, headers, _ = await ask("POST", "/language", {"language": "fr", "next": "/sign-in"})
            assert (status, headers["Location"]) == (303, "/sign-in")
            _, _, page = await ask("GET", "/sign-in")
            assert '<html lang="fr">' in page

    told(tmp_path, story)


@pytest.mark.parametrize(
    ("form", "kind", "status"),
    [
        (b"name=alice&name=bob&password=x", "application/x-www-form-urlencoded", 400),
        (b"name=alice", "application/x-www-form-urlencoded", 400),
        (b"name=alice&password=x&more=y", "application/x-www-form-urlencoded", 400),
        (b"name=al%00ice&password=x", "application/x-www-form-urlencoded", 400),
        (b"name=%ff&password=x", "application/x-www-form-urlencoded", 400),
        (b"\xff", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"f%d=x" % number for number in range(300)), "application/x-www-form-urlencoded", 400),
        (b"{}", "application/json", 415),
        (b"x" * 70_000, "application/x-www-form-urlencoded", 413),
    ],
    ids=["twice", "too few", "too many", "NUL", "no UTF-8", "no ASCII", "hundreds", "JSON", "too long"],
)
def test_a_form_that_is_not_right_is_refused_with_a_page(tmp_path, form, kind, status):
    async def story(console):
        async with browser(console) as ask:
            found, headers, text = await ask("POST", "/sign-in", form, Content_Type=kind)
            assert found == status
            assert headers["Content-Type"] == "text/html; charset=utf-8"
            assert "<h1>" in text

    told(tmp_path, story)


def test_the_page_is_kept_up_to_date_by_its_stream(tmp_path):
    async def story(console):
        async with browser(console, AccessRole.MONITOR) as ask:
            _, _, page = await ask("GET", "/")
            path = re.search(r'sse-connect="([^"]+)"', page)[1]
            async with ask.session.get(console.url(path), timeout=aiohttp.ClientTimeout(total=None)) as stream:
                assert stream.content_type == "text/event-stream"

                assert "2 of 2 nodes are Ready" in await until_part(stream, "headline", "Ready")
                console.nodes["web2"].control.row("web2", role="STOP", status="NotReady", reason=HOSTILE)
                assert "web2: stopped" in await until_part(stream, "headline", "1 of 2")
                card = await until_part(stream, "card-web2", "stopped")
                assert "&lt;script&gt;" in card
                assert "<script>" not in card
                console.nodes["web2"].control.journal.write(Event(level=Level.DEBUG, origin="test", message="hidden"))
                console.nodes["web2"].control.journal.write(Event(level=Level.INFO, origin="test", message="seen"))
                assert "hidden" not in await until_part(stream, "events", "seen")

    told(tmp_path, story)


def test_a_part_of_a_page_that_cannot_be_had_says_so_in_its_place(tmp_path):
    async def story(console):
        async with browser(console, AccessRole.MONITOR) as ask:
            status, headers, text = await ask("GET", "/farm/web9/card", HX_Request="true")
            assert (status, headers["HX-Retarget"]) == (404, "#messages")
            assert "<html" not in text
            assert "web9" in text
        async with browser(console) as ask:
            _, headers, _ = await ask("GET", "/farm/web1/card", HX_Request="true", HX_Current_URL=console.url("/?x"))
            assert headers["HX-Redirect"] == "/sign-in?next=%2F%3Fx"

    told(tmp_path, story)
