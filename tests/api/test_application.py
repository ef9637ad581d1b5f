"""What the application tells its node: requests, reports of custom checks, the restart budget."""

import asyncio
import json
import os
import sys

import pytest
from api_nodes import FakeControl, told
from cli_farm import cli_farm
from hypothesis import given
from hypothesis import strategies as st

from hcsidecar.api.routes import Api, Reply
from hcsidecar.core.documents import CommandResult

WHO = "root" if os.geteuid() == 0 else f"user {os.geteuid()}"
IDENTITY = b'{"identity":"start_both"}'


@pytest.mark.parametrize("action", ["restart", "stopstart", "stop", "wait"])
def test_a_request_says_which_part_of_the_application_asks(tmp_path, action):
    answers, nodes = told(tmp_path, ("POST", f"/api/v1/requests/{action}", IDENTITY))
    assert answers == [(200, {"ok": True, "text": "restarts", "warnings": []})]
    assert nodes["web1"].control.requests == [(action, "start_both")]


def test_a_refused_request_comes_with_its_reason(tmp_path):
    def prepare(nodes):
        nodes["web1"].control.request_answer = CommandResult(ok=False, text="the application is stopped")

    answers, _ = told(tmp_path, ("POST", "/api/v1/requests/stop", IDENTITY), prepare=prepare)
    assert answers == [(409, {"ok": False, "text": "the application is stopped", "warnings": []})]


def test_a_report_stands_until_the_next_one(tmp_path):
    path = "/api/v1/reports/QUEUE"
    answers, _ = told(
        tmp_path,
        ("GET", path),
        ("POST", path, b'{"value":"down"}'),
        ("GET", path),
        ("POST", path, b'{"value":"up"}'),
        ("GET", path),
        prepare=lambda nodes: nodes["web1"].control.checks_said.update(QUEUE="init"),
    )
    assert [document["value"] for _, document in answers[::2]] == ["init", "down", "up"]
    assert [document["text"] for _, document in answers[1::2]] == ["QUEUE is down", "QUEUE is up"]


def test_a_budget_is_counted_until_it_is_spent_and_begun_anew(tmp_path):
    count, look = ("POST", "/api/v1/budget/count", IDENTITY), ("GET", "/api/v1/budget")
    answers, nodes = told(tmp_path, count, look, count, count, look, count, ("POST", "/api/v1/budget/reset"), look)
    assert [status for status, _ in answers] == [200, 200, 200, 200, 200, 409, 200, 200]
    assert answers[1][1] == {"used": 1, "most": 3, "reached": False}
    assert answers[4][1] == {"used": 3, "most": 3, "reached": True}
    assert answers[7][1] == {"used": 0, "most": 3, "reached": False}
    assert nodes["web1"].control.counted == ["start_both"] * 3 + [f"reset by {WHO}"]


def test_another_nodes_budget_and_checks_can_be_looked_at(tmp_path):
    answers, _ = told(
        tmp_path,
        ("GET", "/api/v1/nodes/web2/budget"),
        ("GET", "/api/v1/nodes/web2/reports/QUEUE"),
        prepare=lambda nodes: nodes["web2"].control.checks_said.update(QUEUE="up"),
    )
    assert answers == [
        (200, {"used": 0, "most": 3, "reached": False}),
        (200, {"name": "QUEUE", "value": "up"}),
    ]


@pytest.mark.parametrize("path", ["requests/stop", "reports/QUEUE", "budget/count", "budget/reset"])
def test_an_application_speaks_for_its_own_node_only(tmp_path, path):
    [(status, document)], nodes = told(tmp_path, ("POST", f"/api/v1/nodes/web2/{path}", IDENTITY))
    assert status == 400
    assert document["reason"] == "the application of a node speaks for that node only, and there"
    assert nodes["web2"].control.requests == []


@pytest.mark.parametrize(
    ("question", "status", "reason"),
    [
        (("GET", "/requests/stop", None), 405, "this path takes POST"),
        (("POST", "/requests/start", IDENTITY), 404, "no request 'start'; there are restart, stopstart, stop, wait"),
        (("POST", "/requests/stop", None), 400, "the body is not right"),
        (("POST", "/requests/stop", b"{}"), 400, "identity"),
        (("POST", "/requests/stop", b'{"identity":""}'), 400, "the body is not right"),
        (("POST", "/requests/stop", b'{"identity":"a\\nb"}'), 400, "not printable"),
        (("POST", "/requests/stop", b'{"identity":"%s"}' % (b"x" * 201)), 400, "the body is not right"),
        (("POST", "/requests", IDENTITY), 404, "no such path"),
        (("GET", "/reports/NONE", None), 404, "no check 'NONE' in this farm"),
        (("DELETE", "/reports/NONE", None), 405, "this path takes GET and POST"),
        (("POST", "/reports/QUEUE", b'{"value":"init"}'), 400, "the body is not right"),
        (("POST", "/reports/QUEUE", b'{"value":"up","more":1}'), 400, "the body is not right"),
        (("GET", "/reports", None), 404, "no such path"),
        (("POST", "/budget", IDENTITY), 405, "this path takes GET"),
        (("GET", "/budget/count", None), 405, "this path takes POST"),
        (("POST", "/budget/count", b"{}"), 400, "identity"),
        (("POST", "/budget/reset", b'{"identity":"x"}'), 400, "the body is not right"),
        (("GET", "/budget/more", None), 404, "no such path"),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_reason(tmp_path, question, status, reason):
    method, path, body = question
    [(got, document)], nodes = told(tmp_path, (method, f"/api/v1{path}", body))
    assert got == status
    assert reason in document["reason"]
    assert nodes["web1"].control.requests == []


@given(
    method=st.sampled_from(["GET", "POST", "PUT"]),
    path=st.lists(st.sampled_from(["requests", "reports", "budget", "stop", "count", ""]) | st.text(), min_size=1),
    body=st.binary() | st.sampled_from([IDENTITY, b'{"value":"up"}']),
)
def test_whatever_is_asked_there_is_an_answer(method, path, body):
    control = FakeControl(node="web1", nodes={})
    reply = asyncio.run(Api(control).answer(method, "/api/v1/" + "/".join(path), {}, body, by=str))
    assert isinstance(reply, Reply)
    assert isinstance(json.loads(reply.body), dict)


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("QUEUE", "down"), 0, "web1: QUEUE is down"),
        (("NONE", "up"), 1, "web1: no custom check NONE"),
        (("a/../b", "up"), 1, "no such path"),
        (("QUEUE", "sideways"), 2, "up or down"),
    ],
)
def test_the_command_reports_for_the_node_that_this_machine_is(arguments, status, told):
    async def story(farm):
        async with farm.running(["web1"]) as nodes:
            nodes["web1"].control.checks_said["QUEUE"] = "up"
            return await farm.give("report", *arguments)

    with cli_farm() as farm:
        result = asyncio.run(story(farm))
    assert result.exit_code == status
    assert told in result.output


def test_in_a_script_the_command_reports_for_the_node_that_runs_the_script(tmp_path):
    async def story(farm):
        async with farm.running(["web1", "web3"], remote=["web3"]) as nodes:
            nodes["web3"].control.checks_said["QUEUE"] = "init"
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "hcsidecar", "report", "QUEUE", "up"),
                env={**os.environ, "HCSIDECAR_NODE": "web3", "HCSIDECAR_SOCKET": str(nodes["web3"].socket)},
                stdout=asyncio.subprocess.PIPE,
            )
            out, _ = await asyncio.wait_for(process.communicate(), 30)
            assert (process.returncode, out) == (0, b"web3: QUEUE is up\n")
            assert nodes["web3"].control.checks_said == {"QUEUE": "up"}

    with cli_farm() as farm:
        asyncio.run(story(farm))


def test_without_a_daemon_the_command_says_so():
    with cli_farm() as farm:
        result = farm.give_now("report", "QUEUE", "up")
    assert result.exit_code == 1
    assert "no daemon of node web1 is running here" in result.output
