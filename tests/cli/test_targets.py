"""`hcsidecar targets` and the hint of `hcsidecar status`: whom they ask, what they print, and how they end."""

import asyncio
import json

import pytest
from api_nodes import told
from cli_farm import HEALTHY_TARGET, cli_farm

TARGET = '[[target]]\ntype = "haproxy"\nname = "front"\nbackend = "web"\nsocket = "/s"\nport = 80\n'
TWO = {"web1": "127.0.0.1", "web2": "203.0.113.2"}
ABSENT = HEALTHY_TARGET | {"observed": "absent", "reason": ""}
FAILING = HEALTHY_TARGET | {
    "observed": None,
    "reason": "",
    "observed_age": None,
    "error": {"trouble": "auth", "text": "needs \x1b[2J`level admin`", "age": 12.4},
}


def commanded(*arguments, running=("web1", "web2"), tail=TARGET, **documents):
    async def story(farm):
        async with farm.running(list(running), remote=["web2"]) as nodes:
            for name, node in nodes.items():
                node.control.target_documents = documents.get(name, [HEALTHY_TARGET])
            return await farm.give(*arguments)

    with cli_farm(addresses=TWO) as farm:
        farm.config.write_text(farm.config.read_text() + tail)
        return asyncio.run(story(farm))


def test_a_target_that_is_as_wished_has_one_line():
    result = commanded("targets")
    assert result.exit_code == 0, result.output
    [heading, line] = result.stdout.splitlines()
    assert heading.split() == ["NODE", "TARGET", "TYPE", "POLICY", "WANTED", "SEEN", "LOOKED", "NEXT", "REASON"]
    words = ["web1", "front", "haproxy", "member", "registered", "healthy", "3", "s", "ago", "in", "2", "s", "L7OK/200"]
    assert line.split() == words


def test_what_keeps_a_balancer_from_being_as_wished_is_on_a_second_line():
    result = commanded("targets", web1=[FAILING])
    assert result.exit_code == 1
    [_, line, error] = result.stdout.splitlines()
    assert line.split()[5:10] == ["-", "never", "in", "2", "s"]
    assert error.strip() == "auth: needs \\x1b[2J`level admin`, 12 s ago"


def test_what_is_not_done_yet_is_told_with_the_reason_of_the_wish():
    result = commanded("targets", web1=[ABSENT])
    assert result.exit_code == 1
    assert "Ready and a member" in result.stdout
    assert result.stdout.splitlines()[-1].strip() == "to be registered"


def test_other_nodes_are_asked_through_the_one_that_runs_here():
    result = commanded("targets", "--all", web2=[FAILING])
    assert result.exit_code == 1
    assert [line.split()[0] for line in result.stdout.splitlines()[1:3]] == ["web1", "web2"]
    assert commanded("targets", "--node", "web2").stdout.splitlines()[1].split()[0] == "web2"


def test_a_node_that_cannot_be_asked_is_no_success():
    result = commanded("targets", "--all", running=("web1",))
    assert result.exit_code == 1
    assert "targets of web2: " in result.stderr
    assert result.stdout.splitlines()[1].split()[0] == "web1"


def test_json_is_all_that_the_nodes_have_said():
    result = commanded("targets", "--all", "--json", web2=[ABSENT, FAILING])
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "nodes": {
            "web1": {"node": "web1", "targets": [HEALTHY_TARGET]},
            "web2": {"node": "web2", "targets": [ABSENT, FAILING]},
        }
    }
    lonely = json.loads(commanded("targets", "--all", "--json", running=("web1",)).stdout)
    assert lonely["nodes"]["web1"]["targets"] == [HEALTHY_TARGET]
    assert "web2" in lonely["nodes"]["web2"]["error"]


def test_a_farm_without_targets_is_told_so():
    result = commanded("targets", tail="")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "this farm file has no [[target]]: no load balancer that a node could be registered with\n"


@pytest.mark.parametrize("documents", [[HEALTHY_TARGET], [ABSENT], [HEALTHY_TARGET | {"observed": "unhealthy"}]])
def test_the_status_says_nothing_of_targets_where_nothing_goes_wrong(documents):
    result = commanded("status", web1=documents)
    assert (result.exit_code, result.stderr) == (0, "")


def test_the_status_names_what_goes_wrong_at_balancers_beside_the_table():
    result = commanded("status", web1=[HEALTHY_TARGET, FAILING, HEALTHY_TARGET | {"contested": True, "name": "back"}])
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "web1: target front: auth: needs \\x1b[2J`level admin` (hcsidecar targets says more)",
        "web1: target back: somebody else keeps undoing what this node does (hcsidecar targets says more)",
    ]


def test_the_api_answers_for_targets_by_get_only(tmp_path):
    questions = [("GET", "/api/v1/targets"), ("GET", "/api/v1/nodes/web2/targets"), ("POST", "/api/v1/targets")]
    answers, _ = told(tmp_path, *questions)
    assert answers[:2] == [(200, {"node": "web1", "targets": []}), (200, {"node": "web2", "targets": []})]
    assert answers[2][0] == 405
