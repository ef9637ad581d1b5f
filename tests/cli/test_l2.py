"""`hcsidecar l2-check` and `hcsidecar status --packets`: whom they ask, what they print, and how they end."""

import asyncio
import json

import pytest
from cli_farm import cli_farm

L2 = """
[l2]
[[l2.vip]]
address = "192.0.2.50"
[[l2.share]]
name = "WEB"
ports = [80, 443]
"""
TWO = {"web1": "127.0.0.1", "web2": "203.0.113.2"}
MACS = {"web1": "02:00:00:00:00:01", "web2": "02:00:00:00:00:02"}
TC = {"name": "tc", "why": "eth0 is a veth", "warnings": []}
FALL_BACK = (
    "the filter is nfqueue in place of tc (Linux 6.1 refuses the packet filter): each packet goes through Python"
)
QUEUE = {"name": "nfqueue", "why": "it needs no BPF", "degraded": True, "fall_back": FALL_BACK, "remedy": "grant BPF"}
NO_L2 = "this farm has no [l2] table: no virtual IP, and no share that a client could belong to\n"


def count(name, number, *, persists=False):
    action, text = {"new": ("take", "new, and the bucket is mine"), "no_mac": ("drop", "the MAC is not known")}.get(
        name, ("drop", "its headers are truncated or invalid")
    )
    odd = name != "new"
    return {"name": name, "action": action, "text": text, "odd": odd, "persists": persists, "count": number}


def layer_two_document(name, *, mine):
    return {
        "farm": "apache",
        "node": name,
        "view": ["web1", "web2"],
        "filter": TC,
        "interface": "eth0",
        "macs": MACS,
        "delivery": "directed",
        "lease_open": True,
        "vips": [{"address": "192.0.2.50", "director": "web1", "mac": MACS["web1"]}],
        "shares": [{"name": "WEB", "mine": mine, "pending": 0}],
        "packets": [],
    }


def check_document(name, *, mine):
    return layer_two_document(name, mine=mine) | {
        "findings": [{"level": "warning", "message": "rp_filter = 1", "remedy": "sysctl -w x=2"}],
        "answers": {"192.0.2.50": [] if name == "web1" else [{"mac": MACS["web1"], "source_mac": MACS["web1"]}]},
    }


def commanded(*arguments, running=("web1", "web2"), prepare=lambda nodes: None, tail=L2):
    async def story(farm):
        async with farm.running(list(running), remote=["web2"]) as nodes:
            for node in nodes.values():
                node.control.vips = ("192.0.2.50",)
            prepare(nodes)
            return await farm.give(*arguments)

    with cli_farm(addresses=TWO) as farm:
        farm.config.write_text(farm.config.read_text() + tail)
        return asyncio.run(story(farm))


def sound(nodes):
    for name, node in nodes.items():
        node.control.check_document = check_document(name, mine=2048)


def without_a_taker(nodes):
    sound(nodes)
    nodes["web2"].control.check_document = check_document("web2", mine=2000)


def test_every_node_is_asked_and_a_farm_that_works_ends_with_0():
    done = commanded("l2-check", prepare=sound)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "ok       web1: the filter is tc on eth0, directed delivery: eth0 is a veth",
        "warning  web1: rp_filter = 1",
        "         -> sysctl -w x=2",
        "ok       web2: the filter is tc on eth0, directed delivery: eth0 is a veth",
        "warning  web2: rp_filter = 1",
        "         -> sysctl -w x=2",
        "ok       192.0.2.50: answered by web1 to web2, and by nobody else",
        "ok       WEB: every one of the 4096 buckets has its taker: web1 2048, web2 2048",
    ]


def test_a_problem_ends_with_1_and_is_there_for_programs():
    done = commanded("l2-check", "--json", prepare=without_a_taker)
    told = json.loads(done.stdout)
    assert (done.exit_code, told["ok"]) == (1, False)
    [problem] = [line for line in told["lines"] if line["level"] == "problem"]
    assert problem["text"] == "WEB: 48 buckets have no taker: web1 2048, web2 2000"
    assert problem["remedy"]
    assert told["nodes"] == {
        "web1": check_document("web1", mine=2048),
        "web2": check_document("web2", mine=2000),
    }


def test_a_node_that_cannot_be_asked_is_a_problem_by_itself():
    async def story(farm):
        async with farm.running(["web1", "web2"], remote=["web2"]) as nodes:
            for node in nodes.values():
                node.control.vips = ("192.0.2.50",)
            sound(nodes)
            await nodes["web2"].stop_tcp()
            return await farm.give("l2-check")

    with cli_farm(addresses=TWO) as farm:
        farm.config.write_text(farm.config.read_text() + L2)
        done = asyncio.run(story(farm))
    assert done.exit_code == 1
    [problem] = [line for line in done.stdout.splitlines() if line.startswith("problem")]
    assert problem.startswith("problem  web2 could not be asked: ")


def test_what_a_node_says_cannot_steer_the_terminal():
    def hostile(nodes):
        sound(nodes)
        finding = {"level": "problem", "message": "\x1b[2Jgone", "remedy": ""}
        nodes["web2"].control.check_document["findings"] = [finding]

    assert "\x1b" not in commanded("l2-check", prepare=hostile).stdout


def counted(nodes):
    told = {
        "web1": [count("new", 12), count("malformed", 0), count("no_mac", 3, persists=True)],
        "web2": [count("new", 7), count("malformed", 0), count("no_mac", 0)],
    }
    for name, node in nodes.items():
        node.control.layer_two_document = layer_two_document(name, mine=2048) | {"packets": told[name]}


def test_status_shows_the_packets_of_the_node_that_is_meant_by_reason():
    done = commanded("status", "--packets", "--node", "web2", prepare=counted)
    assert done.exit_code == 0
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    start = lines.index("packets to the virtual IPs since each node's filter was attached")
    assert [line.split(maxsplit=2) for line in lines[start + 1 :]] == [
        ["ACTION", "web2", "REASON"],
        ["take", "7", "new, and the bucket is mine"],
    ]


def test_status_shows_the_packets_of_all_side_by_side():
    done = commanded("status", "--packets", "--all", prepare=counted)
    lines = [line.rstrip() for line in done.stdout.rstrip().splitlines()[-3:]]
    assert [line.split(maxsplit=3) for line in lines] == [
        ["ACTION", "web1", "web2", "REASON"],
        ["take", "12", "7", "new, and the bucket is mine"],
        ["drop", "3", "0", "the MAC is not known (goes on at web1, and should not)"],
    ]


def test_status_as_json_has_the_packets_beside_the_nodes():
    done = commanded("status", "--packets", "--all", "--json", prepare=counted)
    told = json.loads(done.stdout)
    assert [node["name"] for node in told["nodes"]] == ["web1", "web2"]
    assert told["packets"]["web1"] == [count("new", 12), count("malformed", 0), count("no_mac", 3, persists=True)]
    assert "packets" not in json.loads(commanded("status", "--json").stdout)


def fallen_back(nodes):
    sound(nodes)
    counted(nodes)
    nodes["web2"].control.layer_two_document |= {"filter": QUEUE}
    nodes["web2"].control.check_document |= {"filter": QUEUE}


def test_a_filter_that_is_only_second_best_is_a_warning_of_the_check_and_no_problem():
    done = commanded("l2-check", prepare=fallen_back)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    at = lines.index(f"warning  web2: {FALL_BACK}")
    assert lines[at + 1] == "         -> grant BPF"


def test_status_says_beside_the_table_which_node_has_no_filter_in_the_kernel():
    done = commanded("status", "--all", prepare=fallen_back)
    assert (done.exit_code, done.stderr) == (0, f"web2: {FALL_BACK} (hcsidecar l2-check says more)\n")
    assert commanded("status", "--node", "web1", prepare=fallen_back).stderr == ""


def test_status_as_json_has_the_filters_of_those_that_are_asked():
    filters = json.loads(commanded("status", "--all", "--json", prepare=fallen_back).stdout)["filters"]
    assert {name: (each["name"], each["degraded"]) for name, each in filters.items()} == {
        "web1": ("tc", False),
        "web2": ("nfqueue", True),
    }
    assert filters["web2"]["fall_back"] == FALL_BACK


def test_a_node_that_does_not_tell_its_packets_is_named():
    def half(nodes):
        counted(nodes)
        nodes["web2"].control.vips = ()

    done = commanded("status", "--packets", "--all", prepare=half)
    assert done.stderr.startswith("packets of web2: ")
    assert done.stdout.rstrip().splitlines()[-2].split() == ["take", "12", "new,", "and", "the", "bucket", "is", "mine"]


@pytest.mark.parametrize("arguments", [["l2-check"], ["status", "--packets"]])
def test_a_farm_without_layer_two_says_so(arguments):
    done = commanded(*arguments, tail="")
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", NO_L2)


def test_watching_packets_is_refused():
    assert commanded("status", "--packets", "--watch").exit_code == 2


def test_without_a_daemon_here_the_check_exits_with_1():
    with cli_farm(addresses=TWO) as farm:
        farm.config.write_text(farm.config.read_text() + L2)
        done = farm.give_now("l2-check")
    assert done.exit_code == 1
    assert "is running here" in done.stdout + done.stderr
