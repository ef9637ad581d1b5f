"""The Events page, the output of scripts, and who serves a client."""

import asyncio
import csv
import io
import json
import re

import aiohttp
import pytest
from console_nodes import console_here
from pages import browser, until_part
from yarl import URL

from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.events import Event, Level


def told(tmp_path, story, **more):
    async def run():
        async with console_here(tmp_path, **more) as console, browser(console, AccessRole.MONITOR) as ask:
            return await story(console, ask)

    return asyncio.run(run())


def write(console, node, text, *, level=Level.INFO, origin="test"):
    console.nodes[node].control.journal.write(Event(level=level, origin=origin, message=text))


def messages(page):
    rows = re.findall(r'<td class="text"><span class="origin">[^<]*</span> ([^<]*)</td>', page)
    return [row.strip() for row in rows]


def test_the_events_of_all_nodes_are_shown_with_the_newest_first(tmp_path):
    async def story(console, ask):
        for number, node in enumerate(["web2", "web1", "web3"]):
            write(console, node, f"event {number}")
        _, _, page = await ask("GET", "/events")
        assert messages(page) == ["event 2", "event 1", "event 0"]

    told(tmp_path, story)


def test_a_filter_is_in_the_address_and_can_be_shared(tmp_path):
    async def story(console, ask):
        write(console, "web1", "one", level=Level.ERROR)
        write(console, "web1", "two")
        write(console, "web2", "three", level=Level.ERROR, origin="other")
        _, _, page = await ask("GET", "/events?node=web1&level=error")
        assert messages(page) == ["one"]
        assert 'href="/events?node=web1&amp;level=error"' in page
        _, _, page = await ask("GET", "/events?origin=other")
        assert messages(page) == ["three"]
        _, _, page = await ask("GET", "/events?text=TWO")
        assert messages(page) == ["two"]
        _, _, page = await ask("GET", "/events?until=2020-01-01T00:00")
        assert messages(page) == []
        assert "sse-connect" not in page

    told(tmp_path, story)


def test_older_events_are_a_button_away_and_none_is_missed(tmp_path):
    async def story(console, ask):
        for number in range(250):
            write(console, f"web{number % 3 + 1}", f"event {number}")
        _, _, page = await ask("GET", "/events")
        found = messages(page)
        for _ in range(10):
            older = re.search(r'hx-get="(/events\?[^"]*before=[^"]*)"', page)
            if older is None:
                break
            _, _, page = await ask("GET", older[1].replace("&amp;", "&"), HX_Request="true")
            assert "<html" not in page
            found += messages(page)
        assert found == [f"event {number}" for number in reversed(range(250))]

    told(tmp_path, story)


def test_a_node_whose_events_are_missing_is_named(tmp_path):
    async def story(console, ask):
        await ask("GET", "/")
        await console.nodes["web3"].stop_tcp()
        _, _, page = await ask("GET", "/events")
        assert "Events of web3 are missing here" in page

    told(tmp_path, story)


def test_events_come_as_they_happen_if_they_pass_the_filter(tmp_path):
    async def story(console, ask):
        _, _, page = await ask("GET", "/events?level=warning")
        path = re.search(r'sse-connect="([^"]+)"', page)[1].replace("&amp;", "&")
        async with ask.session.get(console.url(path), timeout=aiohttp.ClientTimeout(total=None)) as stream:
            await stream.content.readline()
            write(console, "web2", "not this one")
            write(console, "web2", "but <this>", level=Level.WARNING)
            part = await until_part(stream, "events", "")
            assert "but &lt;this&gt;" in part

    told(tmp_path, story)


def test_events_are_exported_with_the_same_filter(tmp_path):
    async def story(console, ask):
        write(console, "web1", "=HYPERLINK(1)")
        write(console, "web2", 'a "quoted", one')
        write(console, "web2", "left out", origin="other")
        _, headers, text = await ask("GET", "/events/export?origin=test&format=csv")
        assert headers["Content-Disposition"] == 'attachment; filename="events.csv"'
        rows = list(csv.reader(io.StringIO(text)))
        assert rows[0] == ["time", "node", "level", "origin", "message"]
        assert [row[1:] for row in rows[1:]] == [
            ["web1", "info", "test", "'=HYPERLINK(1)"],
            ["web2", "info", "test", 'a "quoted", one'],
        ]
        _, _, text = await ask("GET", "/events/export?origin=test&format=jsonl")
        assert [json.loads(line)["message"] for line in text.splitlines()] == ["=HYPERLINK(1)", 'a "quoted", one']

    told(tmp_path, story)


def test_the_output_of_a_script_is_a_click_away_and_is_followed(tmp_path):
    run = "20261128T034001.123Z_start"
    runs = tmp_path / "runs"
    runs.mkdir()
    log = runs / f"{run}.log"
    log.write_text("starting <httpd>\n")

    async def story(console, ask):
        console.nodes["web2"].control.runs_directory = runs
        write(console, "web2", f"the start script failed: see {run}")
        _, _, page = await ask("GET", "/events")
        assert f'<a href="/runs/web2/{run}">{run}</a>' in page
        _, _, page = await ask("GET", "/runs")
        assert f"/runs/web2/{run}" in page
        _, _, page = await ask("GET", f"/runs/web2/{run}")
        assert "starting &lt;httpd&gt;" in page
        after = re.search(r'hx-get="(/runs/[^"]+)"', page)[1].replace("&amp;", "&")
        with log.open("a") as file:
            file.write("it runs\n")
        _, _, piece = await ask("GET", after, HX_Request="true")
        assert "it runs" in piece
        assert "starting" not in piece
        # While nothing comes it is asked for less and less often.
        for delay in (2000, 4000, 8000):
            after = re.search(r'hx-get="(/runs/[^"]+)"', piece)[1].replace("&amp;", "&")
            _, _, piece = await ask("GET", after, HX_Request="true")
            assert f"load delay:{delay}ms" in piece

    told(tmp_path, story)


def test_a_script_in_the_output_of_a_script_is_text_in_the_page_and_in_what_follows(tmp_path):
    run = "20261128T034001.123Z_start"
    hostile = "</pre><script>alert(1)</script><img src=x onerror=alert(2)>"
    runs = tmp_path / "runs"
    runs.mkdir()
    log = runs / f"{run}.log"
    log.write_text(f"{hostile}\n")

    async def story(console, ask):
        console.nodes["web2"].control.runs_directory = runs
        _, _, page = await ask("GET", f"/runs/web2/{run}")
        after = re.search(r'hx-get="(/runs/[^"]+)"', page)[1].replace("&amp;", "&")
        with log.open("a") as file:
            file.write(f"{hostile}\n")
        _, _, piece = await ask("GET", after, HX_Request="true")
        for text in (page, piece):
            assert "&lt;/pre&gt;&lt;script&gt;alert(1)" in text
            assert "<script>alert" not in text
            assert "<img" not in text

    told(tmp_path, story)


@pytest.mark.parametrize(
    "run", ["..%2Fsecret.log", "%2e%2e%2fsecret", "..%2Fsecret", "%2Fetc%2Fpasswd", "..%5Csecret", "secret%00.log", "."]
)
def test_no_name_of_a_run_leads_out_of_the_directory_of_runs(tmp_path, run):
    runs = tmp_path / "runs"
    runs.mkdir()
    for name in ("secret", "secret.log"):
        (tmp_path / name).write_text("the key of the farm")

    async def story(console, ask):
        console.nodes["web2"].control.runs_directory = runs
        for path in (f"/runs/web2/{run}", f"/api/v1/nodes/web2/runs/{run}"):
            # As it stands here: a URL that is made of text would be put in order first.
            exactly = URL(console.url(path), encoded=True)
            async with ask.session.get(exactly, allow_redirects=False) as response:
                assert response.status in (400, 404), path
                assert "the key of the farm" not in await response.text()

    told(tmp_path, story)


@pytest.mark.parametrize("path", ["/events?level=loud", "/events?since=yesterday", "/runs/web9/x"])
def test_what_there_is_not_is_refused_with_a_page(tmp_path, path):
    async def story(console, ask):
        status, headers, _ = await ask("GET", path)
        assert status in (400, 404)
        assert headers["Content-Type"] == "text/html; charset=utf-8"

    told(tmp_path, story)


def test_without_a_virtual_ip_the_page_says_who_decides(tmp_path):
    async def story(console, ask):
        _, _, page = await ask("GET", "/clients")
        assert "a load balancer decides who serves a client" in page

    told(tmp_path, story)


def test_the_timeline_shows_in_which_state_each_node_was(tmp_path):
    async def story(console, ask):
        write(console, "web1", "UP(Ready): every check passes", origin="application")
        write(console, "web2", "STOP(NotReady): stop by <bob>", origin="application")
        write(console, "web2", "the check fails", level=Level.ERROR, origin="check")
        _, _, page = await ask("GET", "/timeline?hours=1")
        assert 'class="state good"' in page
        assert 'class="state stopped"' in page
        assert 'class="mark error"' in page
        assert "stop by &lt;bob&gt;" in page
        status, _, _ = await ask("GET", "/timeline?hours=2")
        assert status == 400

    told(tmp_path, story)


def test_an_old_moment_is_found_behind_many_newer_events(tmp_path):
    async def story(console, ask):
        write(console, "web1", "long ago")
        for number in range(900):
            write(console, "web2", f"event {number}")
        _, _, page = await ask("GET", "/events?text=long+ago&until=2999-01-01T00:00")
        assert messages(page) == ["long ago"]

    told(tmp_path, story)
