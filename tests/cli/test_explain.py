"""`hcsidecar explain`: whom it asks about, what it prints, and how it refuses."""

import asyncio
import json

import pytest
from cli_farm import cli_farm

from hcsidecar.cli.explain import parse_client

L2 = """
[l2]
[[l2.vip]]
address = "192.0.2.50"
[[l2.vip]]
address = "192.0.2.51"
[[l2.share]]
name = "WEB"
ports = [80, 443]
"""
TWO = {"web1": "127.0.0.1", "web2": "203.0.113.2"}
WEB = {
    "share": "WEB",
    "protocol": "tcp",
    "ports": [80, 443],
    "vips": ["192.0.2.50"],
    "by": "address",
    "bucket": 1234,
    "owner": "web2",
    "phase": "other",
    "fraction": 0.5012,
    "may_hold": ["web3"],
    "reason": "web2 takes it, by the view of web1, web2",
}
BY_PORT = {
    **WEB,
    "share": "GAME",
    "by": "port",
    "bucket": None,
    "owner": None,
    "phase": None,
    "reason": "name the port",
}


def explanation(node, shares):
    return {
        "farm": "apache",
        "node": node,
        "view": ["web1", "web2"],
        "address": "203.0.113.7",
        "port": None,
        "vip": None,
        "shares": list(shares),
    }


def explained(*arguments, shares=(WEB,), tail=L2):
    """Give the command to a farm whose nodes explain so; gives what came of it and what was asked."""

    async def story(farm):
        async with farm.running(["web1", "web2"], remote=["web2"]) as nodes:
            for name, node in nodes.items():
                node.control.vips = ("192.0.2.50", "192.0.2.51")
                node.control.explanation = explanation(name, shares)
            done = await farm.give("explain", *arguments)
            return done, {name: node.control.explained for name, node in nodes.items()}

    with cli_farm(addresses=TWO) as farm:
        farm.config.write_text(farm.config.read_text() + tail)
        return asyncio.run(story(farm))


@pytest.mark.parametrize(
    ("text", "client"),
    [
        ("203.0.113.7", ("203.0.113.7", None)),
        ("203.0.113.7:4711", ("203.0.113.7", 4711)),
        ("2001:DB8::7", ("2001:db8::7", None)),
        ("[2001:db8::7]", ("2001:db8::7", None)),
        ("[2001:db8::7]:4711", ("2001:db8::7", 4711)),
        ("203.0.113.7:65535", ("203.0.113.7", 65535)),
    ],
)
def test_a_client_is_an_address_and_perhaps_a_port(text, client):
    assert parse_client(text) == client


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("web1", 'is not an IP address: "web1"'),
        ("web1:80", 'is not an IP address: "web1"'),
        ("", "is not an IP address"),
        ("203.0.113.7:", "is not an IP address"),
        ("203.0.113.7:0", "has no port between 1 and 65535"),
        ("203.0.113.7:65536", "has no port between 1 and 65535"),
        ("203.0.113.7:80:80", "is not an IP address"),
        ("[2001:db8::7]:", "is not an IP address"),
        ("fe80::1%eth0", "contains the name of an interface"),
        ("::ffff:203.0.113.7", "is an IPv4 address in IPv6 form"),
        ("224.0.0.1", "is a multicast address"),
    ],
)
def test_what_is_no_client_is_refused(text, reason):
    done, asked = explained(text)
    assert (done.exit_code, done.stdout) == (2, "")
    assert reason in done.stderr
    assert asked == {"web1": [], "web2": []}


def test_each_share_is_explained_in_a_sentence_with_its_bucket():
    done, asked = explained("203.0.113.7:4711", shares=(WEB, BY_PORT))
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "WEB (tcp 80, 443 on 192.0.2.50, by address): web2 takes it, by the view of web1, web2",
        "    bucket 1234, other to web1, web2 has 50.1% of all",
        "GAME (tcp 80, 443 on 192.0.2.50, by port): name the port",
    ]
    assert asked == {"web1": [("203.0.113.7", 4711, None)], "web2": []}


def test_another_node_is_asked_about_one_vip_and_its_document_printed():
    done, asked = explained("203.0.113.7", "--node", "web2", "--vip", "192.0.2.51", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == explanation("web2", [WEB])
    assert asked == {"web1": [], "web2": [("203.0.113.7", None, "192.0.2.51")]}


def test_a_client_that_no_share_is_for_is_told():
    done, _ = explained("203.0.113.7", shares=())
    assert (done.exit_code, done.stdout) == (
        0,
        "no share is for a VIP that this client can use: nobody takes it\n",
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["203.0.113.7", "--vip", "192.0.2.99"], "is no VIP of this farm; there are 192.0.2.50, 192.0.2.51"),
        (["203.0.113.7", "--vip", "here"], "is not an IP address"),
        (["2001:db8::7"], "is IPv6, and 192.0.2.50, 192.0.2.51 is not"),
    ],
)
def test_a_vip_that_cannot_be_meant_is_refused(arguments, reason):
    done, asked = explained(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert reason in done.stderr
    assert asked == {"web1": [], "web2": []}


def test_a_farm_without_layer_two_has_nothing_to_explain():
    done, _ = explained("203.0.113.7", tail="")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "this farm has no [l2] table: no virtual IP, and no share that a client could belong to\n"


def test_without_a_daemon_it_exits_with_1():
    with cli_farm() as farm:
        farm.config.write_text(farm.config.read_text() + L2)
        done = farm.give_now("explain", "203.0.113.7")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "is running here" in done.stderr
