"""Commands through the console: to one, several or all nodes, and rolling ones with their progress."""

import asyncio

import pytest
from console_nodes import console_here, eventually

from hcsidecar.api.control import NodeCommand
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.console.routes import ACTIONS
from hcsidecar.core.documents import CommandResult

BY = "control-token{} (API token, 127.0.0.1)"


def told(tmp_path, story, **more):
    async def run():
        async with console_here(tmp_path, **more) as console:
            return await story(console)

    return asyncio.run(run())


def test_the_console_has_every_command_of_a_node():
    assert set(ACTIONS) == set(NodeCommand)


@pytest.mark.parametrize(("nodes", "reached"), [([], ["web1", "web2", "web3"]), (["web2"], ["web2"])])
def test_a_command_reaches_the_nodes_that_are_named_or_all(tmp_path, nodes, reached):
    async def story(console):
        status, _, answer = await console.ask(
            "POST", "/api/v1/actions/drain", {"nodes": nodes, "force": True}, role=AccessRole.CONTROL
        )
        assert (status, answer["ok"], [each["node"] for each in answer["nodes"]]) == (200, True, reached)
        acts = {name: node.control.acts for name, node in console.nodes.items() if node.control.acts}
        assert acts == {name: [("drain", True, BY.format("" if name == "web1" else "@web1"))] for name in reached}

    told(tmp_path, story)


def test_a_refusal_and_a_silence_are_told_for_each_node(tmp_path):
    async def story(console):
        refusal = CommandResult(ok=False, text="only web1 would be left")
        console.nodes["web2"].control.answers[NodeCommand.DRAIN] = refusal
        await console.nodes["web3"].stop_tcp()
        status, _, answer = await console.ask("POST", "/api/v1/actions/drain", {})
        assert (status, answer["ok"]) == (200, False)
        by_node = {each["node"]: each for each in answer["nodes"]}
        assert by_node["web1"]["document"]["ok"]
        assert by_node["web2"]["document"]["text"] == "only web1 would be left"
        assert not by_node["web3"]["answers"]
        assert "does not answer" in by_node["web3"]["problem"]

    told(tmp_path, story)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("actions/explode", {}, 404),
        ("actions/drain", {"nodes": ["web9"]}, 404),
        ("actions/drain", {"nodes": ["../x"]}, 404),
        ("actions/drain", {"farce": True}, 400),
        ("power", {"power": -1}, 400),
        ("power", {}, 400),
        ("log", {"level": "info", "text": ""}, 400),
        ("rolling", {"action": "stop"}, 400),
    ],
)
def test_a_command_that_is_not_right_is_given_to_nobody(tmp_path, path, body, status):
    async def story(console):
        answer = await console.ask("POST", f"/api/v1/{path}", body)
        assert answer[0] == status
        assert answer[2]["reason"]
        assert all(node.control.acts == [] for node in console.nodes.values())

    told(tmp_path, story)


def test_power_and_log_name_who_has_asked(tmp_path):
    async def story(console):
        await console.ask("POST", "/api/v1/power", {"power": 3, "nodes": ["web1"]}, role=AccessRole.CONTROL)
        assert console.nodes["web1"].control.powers_set == [(3, None, BY.format(""))]
        body = {"level": "warning", "text": "the backup begins", "nodes": ["web1"]}
        await console.ask("POST", "/api/v1/log", body, role=AccessRole.CONTROL)
        page = console.nodes["web1"].control.journal.after(0)
        assert page.events[-1].message == f"the backup begins ({BY.format('')})"

    told(tmp_path, story)


def returning(console):
    """Let each node that is restarted be Ready again, after a look at it that finds it is not."""
    for name, node in console.nodes.items():

        def restart(action, name=name):
            for each in console.nodes.values():
                each.control.row(name, status="NotReady")
            loop = asyncio.get_running_loop()
            loop.call_later(0.7, lambda: [each.control.row(name, status="Ready") for each in console.nodes.values()])

        node.control.on_act = restart
        for other in console.nodes:
            node.control.row(other)


def test_a_rolling_restart_takes_one_node_after_the_other_and_tells_how_far_it_is(tmp_path):
    async def story(console):
        returning(console)
        status, _, begun = await console.ask("POST", "/api/v1/rolling", {"action": "restart"})
        assert (status, begun["state"], begun["by"]) == (202, "running", "admin-token (API token, 127.0.0.1)")
        status, _, refusal = await console.ask("POST", "/api/v1/rolling", {"action": "restart"})
        assert status == 409
        assert "is in progress" in refusal["reason"]

        async def ended():
            _, _, report = await console.ask("GET", f"/api/v1/rolling/{begun['id']}")
            return report if report["state"] != "running" else None

        report = await eventually(ended, limit=60)
        assert (report["state"], report["outcome"]) == ("done", "restart done: web1, web2, web3")
        assert [line for line in report["lines"] if line.endswith(": restart")] == [
            f"{name}: restart" for name in ("web1", "web2", "web3")
        ]
        assert [len(node.control.acts) for node in console.nodes.values()] == [1, 1, 1]

    told(tmp_path, story)


def test_a_cancelled_rolling_command_begins_no_further_node(tmp_path):
    async def story(console):
        for node in console.nodes.values():
            for other in console.nodes:
                node.control.row(other)
        console.nodes["web1"].control.on_act = lambda action: console.nodes["web1"].control.row(
            "web1", status="NotReady"
        )
        _, _, begun = await console.ask("POST", "/api/v1/rolling", {"action": "restart"})

        async def taken():
            return console.nodes["web1"].control.acts

        await eventually(taken)
        status, _, report = await console.ask("DELETE", f"/api/v1/rolling/{begun['id']}", role=AccessRole.CONTROL)
        assert (status, report["state"]) == (200, "cancelled")
        assert report["outcome"].startswith("cancelled by control-token (API token, 127.0.0.1)")
        _, _, again = await console.ask("DELETE", f"/api/v1/rolling/{begun['id']}")
        assert again["outcome"] == report["outcome"]
        assert [len(node.control.acts) for node in console.nodes.values()] == [1, 0, 0]

    told(tmp_path, story)


def test_a_rolling_command_that_is_refused_tells_why(tmp_path):
    async def story(console):
        console.nodes["web1"].control.row("web3", status="NotReady", reason="check HTTP: refused")
        _, _, begun = await console.ask("POST", "/api/v1/rolling", {"action": "restart-daemon"})

        async def ended():
            _, _, reports = await console.ask("GET", "/api/v1/rolling")
            [report] = reports["rolling"]
            return report if report["state"] != "running" else None

        report = await eventually(ended)
        assert (report["id"], report["state"]) == (begun["id"], "failed")
        assert "check HTTP: refused" in report["outcome"]

    told(tmp_path, story)
