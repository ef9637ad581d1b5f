"""What the console shows of the farm: all nodes at once, and within a second who does not answer."""

import asyncio

import pytest
from console_nodes import ConsoleHere, console_here, eventually
from waiting import until

from hcsidecar.console.start import console as serve
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.events import Event, Level


def told(tmp_path, story, **more):
    async def run():
        async with console_here(tmp_path, **more) as console:
            return await story(console)

    return asyncio.run(run())


def test_the_farm_is_shown_with_what_each_node_says_of_itself(tmp_path):
    async def story(console):
        console.nodes["web2"].control.row("web2", waits_for=["3 connections"], draining=True)
        status, _, farm = await console.ask("GET", "/api/v1/farm", role=AccessRole.MONITOR)
        assert status == 200
        assert (farm["farm"], farm["node"], farm["keep_ready"]) == ("apache", "web1", 1)
        assert [(node["name"], node["answers"], node["problem"]) for node in farm["nodes"]] == [
            ("web1", True, ""),
            ("web2", True, ""),
            ("web3", True, ""),
        ]
        assert farm["nodes"][1]["status"]["waits_for"] == ["3 connections"]
        assert farm["nodes"][1]["seen"]["waits_for"] == []

    told(tmp_path, story)


def test_a_node_that_does_not_answer_is_shown_with_what_it_said_last(tmp_path):
    async def story(console):
        await console.ask("GET", "/api/v1/farm")
        await console.nodes["web3"].stop_tcp()

        async def silent():
            _, _, farm = await console.ask("GET", "/api/v1/farm")
            return farm["nodes"][2] if not farm["nodes"][2]["answers"] else None

        node = await eventually(silent)
        assert "web3" in node["problem"]
        assert "does not answer" in node["problem"]
        assert node["status"]["name"] == "web3"
        assert node["age"] >= 0

    told(tmp_path, story)


@pytest.mark.parametrize("path", ["checks", "targets", "notifications", "runs", "counters", "series"])
def test_every_node_answers_for_itself_or_is_shown_as_not_answering(tmp_path, path):
    async def story(console):
        await console.nodes["web2"].stop_tcp()
        status, _, answers = await console.ask("GET", f"/api/v1/{path}")
        assert status == 200
        assert [(each["node"], each["answers"]) for each in answers["nodes"]] == [
            ("web1", True),
            ("web2", False),
            ("web3", True),
        ]
        assert "does not answer" in answers["nodes"][1]["problem"]

    told(tmp_path, story)


def test_events_of_all_nodes_come_in_the_order_of_time_and_page_after_page(tmp_path):
    async def story(console):
        for number in range(6):
            journal = console.nodes[f"web{number % 3 + 1}"].control.journal
            journal.write(Event(level=Level.INFO, origin="test", message=f"event {number}"))
            await asyncio.sleep(0.002)
        _, _, newest = await console.ask("GET", "/api/v1/events?last=4")
        assert [event["message"] for event in newest["events"]] == [f"event {number}" for number in (2, 3, 4, 5)]
        _, _, older = await console.ask("GET", f"/api/v1/events?last=4&before={newest['before']}")
        assert [event["message"] for event in older["events"]] == ["event 0", "event 1"]
        assert older["before"] == ""
        _, _, some = await console.ask("GET", "/api/v1/events?node=web2&grep=4")
        assert [event["message"] for event in some["events"]] == ["event 4"]

    told(tmp_path, story)


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/api/v1/nothing", 404, "the API has no such path"),
        ("/api", 404, "the API has no such path"),
        ("/api/v1/nodes/web9/status", 404, "no node 'web9' in the farm; there are web1, web2, web3"),
        ("/api/v1/nodes/web1%2F..%2Fweb2/status", 404, "no such path"),
        ("/api/v1/nodes/%ff/status", 404, "not UTF-8"),
        ("/api/v1/nodes/web1/runs/last%0d%0aX", 404, "no such path"),
        ("/api/v1/shares", 200, ""),
        ("/api/v1/explain?address=192.0.2.7", 404, "no [l2] table"),
        ("/api/v1/explain", 400, "address"),
        ("/api/v1/events?last=many", 400, "the parameters are not right"),
        ("/api/v1/events?last=1&last=2", 400, "twice"),
        ("/api/v1/events?colour=red", 400, "colour"),
        ("/api/v1/events?before=web1", 400, "`before` is what an earlier answer has"),
        ("/api/v1/events?node=web7", 404, "no node 'web7'"),
        ("/api/v1/nodes/web1/runs/nothing", 404, "no run"),
        ("/api/v1/rolling/0123456789abcdef", 404, "no such rolling command"),
        ("/api/v1/rolling/x", 404, "in the path is not right"),
    ],
)
def test_what_is_wrong_is_told_in_a_document(tmp_path, path, status, reason):
    async def story(console):
        answer = await console.ask("GET", path)
        assert answer[0] == status
        assert reason in answer[2].get("reason", "")

    told(tmp_path, story)


def busy():
    """Give the tasks of this loop, but for those of idle connections."""
    return {task for task in asyncio.all_tasks() if "RequestHandler" not in task.get_coro().__qualname__}


def test_without_anybody_who_looks_nobody_is_asked(tmp_path):
    async def story(console):
        before = busy()
        await console.ask("GET", "/api/v1/farm")
        await until(lambda: busy() <= before, what="the end of all that a request has begun")

    told(tmp_path, story)


def test_a_console_whose_daemon_is_gone_says_so_at_once(tmp_path):
    async def story():
        async with serve(tmp_path / "none.sock", "127.0.0.1", 0, tls=None) as address:
            here = ConsoleHere(nodes={}, address=address, record=[])
            status, _, answer = await here.ask("GET", "/api/v1/farm")
            assert status == 503
            assert "nobody listens on" in answer["reason"]
            status, _, description = await here.ask("GET", "/api/v1/openapi.json", role=None)
            assert (status, description["openapi"]) == (200, "3.1.0")

    asyncio.run(story())
