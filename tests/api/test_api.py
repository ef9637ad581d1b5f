"""The API: what it answers, and with which reason it does not."""

import asyncio
import json
import os

import msgspec
import pytest
from api_nodes import FakeControl, told
from hypothesis import given
from hypothesis import strategies as st

from hcsidecar.api.control import NodeCommand
from hcsidecar.api.requests import Reply
from hcsidecar.api.routes import Api
from hcsidecar.core.documents import CommandResult, FarmStatus


@pytest.mark.parametrize("prefix", ["/api/v1", "/api/v1/nodes/web1"])
def test_status_is_the_document_of_the_daemon(tmp_path, prefix):
    answers, nodes = told(tmp_path, ("GET", f"{prefix}/status"))
    [(status, document)] = answers
    assert (status, msgspec.convert(document, FarmStatus)) == (200, nodes["web1"].control.status())


def test_another_nodes_status_comes_through_the_relay(tmp_path):
    answers, nodes = told(tmp_path, ("GET", "/api/v1/nodes/web2/status"))
    [(status, document)] = answers
    assert (status, msgspec.convert(document, FarmStatus)) == (200, nodes["web2"].control.status())


def test_an_action_says_who_asked(tmp_path):
    path = "/api/v1/actions/drain"
    answers, nodes = told(tmp_path, ("POST", path), ("POST", path, b'{"force":true}'))
    assert answers[0] == (200, {"ok": True, "text": "the application does drain", "warnings": []})
    who = "root" if os.geteuid() == 0 else f"user {os.geteuid()}"
    assert nodes["web1"].control.acts == [("drain", False, who), ("drain", True, who)]


def test_nobody_passes_for_another_by_what_he_says(tmp_path):
    path, claim = "actions/stop", b'{"by":"the console"}'
    _, nodes = told(tmp_path, ("POST", f"/api/v1/{path}", claim), ("POST", f"/api/v1/nodes/web2/{path}", claim))
    who = "root" if os.geteuid() == 0 else f"user {os.geteuid()}"
    assert nodes["web1"].control.acts == [("stop", False, who)]
    assert nodes["web2"].control.acts == [("stop", False, f"{who}@web1")]


@pytest.mark.parametrize("prefix", ["/api/v1", "/api/v1/nodes/web2"])
def test_a_refused_action_comes_with_its_reason(tmp_path, prefix):
    answer = CommandResult(ok=False, text="only web1 would be left", warnings=("web3 is silent",))

    def prepare(nodes):
        for node in nodes.values():
            node.control.answers[NodeCommand.DRAIN] = answer

    answers, _ = told(tmp_path, ("POST", f"{prefix}/actions/drain"), prepare=prepare)
    assert answers == [(409, {"ok": False, "text": answer.text, "warnings": ["web3 is silent"]})]


@pytest.mark.parametrize("prefix", ["/api/v1", "/api/v1/nodes/web2"])
@pytest.mark.parametrize(
    ("question", "status", "reason"),
    [
        (("GET", "/nonsense", None), 404, "the API has no such path"),
        (("GET", "/", None), 404, "the API has no such path"),
        (("GET", "/status/", None), 404, "the API has no such path"),
        (("GET", "/ä%20%00", None), 404, "the API has no such path"),
        (("POST", "/status", None), 405, "this path takes GET"),
        (("DELETE", "/events", None), 405, "this path takes GET"),
        (("GET", "/actions/stop", None), 405, "this path takes POST"),
        (("POST", "/actions/explode", None), 404, "no action 'explode'; there are start, stop, restart"),
        (("POST", "/actions/stop", b"{"), 400, "the body is not right"),
        (("POST", "/actions/stop", b"\xff"), 400, "the body is not right"),
        (("POST", "/actions/stop", b"[" * 60_000), 400, "the body is not right"),
        (("POST", "/actions/stop", b'{"farce":true}'), 400, "the body is not right"),
        (("POST", "/actions/stop", b'{"force":"yes"}'), 400, "the body is not right"),
        (("POST", "/actions/stop", b'{"by":"a\\nb"}'), 400, "not a name"),
        (("POST", "/actions/stop", b" " * 65_537), 413, "more than 65536 bytes"),
        (("GET", "/power", None), 405, "this path takes POST"),
        (("POST", "/power", b""), 400, "the body is not right"),
        (("POST", "/power", b"{}"), 400, "the body is not right"),
        (("POST", "/power", b'{"power":-1}'), 400, "the body is not right"),
        (("POST", "/power", b'{"power":1000001}'), 400, "the body is not right"),
        (("POST", "/power", b'{"power":1.5}'), 400, "the body is not right"),
        (("POST", "/power", b'{"power":true}'), 400, "the body is not right"),
        (("POST", "/power", b'{"power":1,"share":7}'), 400, "the body is not right"),
        (("POST", "/power", b'{"power":1,"by":"a\\nb"}'), 400, "not a name"),
        (("GET", "/snapshot?room=9999999999", None), 400, "room is a whole number, at most"),
        (("GET", "/snapshot?last=1", None), 400, "unknown parameter: last"),
        (("POST", "/snapshot", b"{}"), 405, "this path takes GET"),
        (("POST", "/layer-two", b"{}"), 405, "this path takes GET"),
        (("POST", "/layer-two/check", b"{}"), 405, "this path takes GET"),
        (("GET", "/layer-two/explain/more", None), 404, "the API has no such path"),
        (("GET", "/events?after=x", None), 400, "after is a whole number"),
        (("GET", "/events?after=-1", None), 400, "after is a whole number"),
        (("GET", f"/events?after={10**4000}", None), 400, "after is a whole number"),
        (("GET", "/events?last=²", None), 400, "last is a whole number"),
        (("GET", "/events?after=1&last=1", None), 400, "exclude each other"),
        (("GET", "/events?wait=1", None), 400, "wait needs after"),
        (("GET", "/events?after=1&wait=21", None), 400, "wait is a whole number, at most 20"),
        (("GET", "/events?level=loud", None), 400, "level is one of debug, info, warning, error"),
        (("GET", "/events?levle=info", None), 400, "unknown parameter: levle"),
        (("GET", "/events?follow=yes", None), 400, "follow is 1"),
        (("GET", "/events?follow=1&after=1&wait=1", None), 400, "waits by itself"),
        (("GET", "/events?follow=1&after=x", None), 400, "after is a whole number"),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_reason(tmp_path, prefix, question, status, reason):
    method, path, body = question
    [(got, document)], nodes = told(tmp_path, (method, prefix + path, body))
    assert got == status
    assert reason in document["reason"]
    assert not nodes["web1"].control.acts
    assert not nodes["web2"].control.acts


WHO = "root" if os.geteuid() == 0 else f"user {os.geteuid()}"


@pytest.mark.parametrize(
    ("body", "power", "share"),
    [
        (b'{"power":3}', 3, None),
        (b'{"power":0,"share":"APACHE"}', 0, "APACHE"),
        (b'{"power":null,"by":"somebody else"}', None, None),
    ],
)
def test_a_power_is_set_here_and_elsewhere_and_says_who_asked(tmp_path, body, power, share):
    here, there = "/api/v1/power", "/api/v1/nodes/web2/power"
    answers, nodes = told(tmp_path, ("POST", here, body), ("POST", there, body))
    assert answers == [(200, {"ok": True, "text": "has power 3 (farm file: 1)", "warnings": []})] * 2
    assert nodes["web1"].control.powers_set == [(power, share, WHO)]
    assert nodes["web2"].control.powers_set == [(power, share, f"{WHO}@web1")]


@pytest.mark.parametrize("prefix", ["/api/v1", "/api/v1/nodes/web2"])
def test_a_refused_power_comes_with_its_reason(tmp_path, prefix):
    def prepare(nodes):
        for node in nodes.values():
            node.control.power_answer = CommandResult(ok=False, text="no share 'MAIL'; there are APACHE")

    answers, _ = told(tmp_path, ("POST", f"{prefix}/power", b'{"power":1,"share":"MAIL"}'), prepare=prepare)
    assert answers == [(409, {"ok": False, "text": "no share 'MAIL'; there are APACHE", "warnings": []})]


def with_layer_two(nodes):
    for name, node in nodes.items():
        control = node.control
        control.vips = ("192.0.2.50", "2001:db8::50")
        control.layer_two_document = {"node": name}
        control.explanation = {"node": name, "shares": []}
        control.check_document = {"node": name, "findings": []}


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("", {}),
        ("/explain?address=203.0.113.7", {"shares": []}),
        ("/check", {"findings": []}),
    ],
)
def test_layer_two_is_told_of_this_node_and_of_others(tmp_path, path, document):
    questions = [("GET", f"/api/v1{node}/layer-two{path}") for node in ("", "/nodes/web2")]
    answers, _ = told(tmp_path, *questions, prepare=with_layer_two)
    assert answers == [(200, {"node": "web1", **document}), (200, {"node": "web2", **document})]


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("address=203.0.113.7", ("203.0.113.7", None, None)),
        ("address=203.0.113.7&port=4711&vip=192.0.2.50", ("203.0.113.7", 4711, "192.0.2.50")),
        ("address=2001:DB8:0::7&vip=2001:db8:0::50", ("2001:db8::7", None, "2001:db8::50")),
    ],
)
def test_whom_an_explanation_is_about_is_read_into_the_usual_form(tmp_path, query, asked):
    _, nodes = told(tmp_path, ("GET", f"/api/v1/layer-two/explain?{query}"), prepare=with_layer_two)
    assert nodes["web1"].control.explained == [asked]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("", "address is missing"),
        ("address=web1", "address is not an IP address"),
        ("address=203.0.113.7%3A80", "address is not an IP address"),
        ("address=fe80::1%25eth0", "address contains the name of an interface"),
        ("address=203.0.113.7&port=0", "port is the client's own, from 1 on"),
        ("address=203.0.113.7&port=65536", "port is a whole number, at most 65535"),
        ("address=203.0.113.7&vip=192.0.2.99", "192.0.2.99 is no VIP of this farm; there are 192.0.2.50, 2001:db8::50"),
        ("address=203.0.113.7&vip=2001:db8::50", "203.0.113.7 is IPv4, unlike every VIP that is meant"),
        ("address=203.0.113.7&bucket=1", "unknown parameter: bucket"),
    ],
)
def test_an_explanation_that_cannot_be_given_is_refused_with_the_reason(tmp_path, query, reason):
    [(status, document)], nodes = told(tmp_path, ("GET", f"/api/v1/layer-two/explain?{query}"), prepare=with_layer_two)
    assert status == 400
    assert reason in document["reason"]
    assert nodes["web1"].control.explained == []


@pytest.mark.parametrize("path", ["", "/explain?address=203.0.113.7", "/check"])
def test_a_farm_without_layer_two_says_so(tmp_path, path):
    answers, _ = told(tmp_path, ("GET", f"/api/v1/layer-two{path}"))
    assert answers == [
        (404, {"reason": "this farm has no [l2] table: no virtual IP, and no share that a client could belong to"})
    ]


def test_paths_outside_the_api_are_not_there(tmp_path):
    answers, _ = told(tmp_path, ("GET", "/"), ("GET", "/api/v2/status"), ("GET", "/api/v1"))
    assert answers == [(404, {"reason": "the API has no such path"})] * 3


def test_nobody_relays_for_another(tmp_path):
    answers, _ = told(tmp_path, ("GET", "/api/v1/nodes/web2/nodes/web1/status"))
    assert answers == [(404, {"reason": "the API has no such path"})]


def test_an_unknown_node_is_refused_with_those_there_are(tmp_path):
    answers, _ = told(tmp_path, ("GET", "/api/v1/nodes/web9/status"))
    assert answers == [(404, {"reason": "no node 'web9' in farm apache; there are web1, web2"})]


@given(
    method=st.sampled_from(["GET", "POST", "PUT"]),
    path=st.sampled_from(["/api/v1/status", "/api/v1/events", "/api/v1/actions/stop", "/api/v1/"]) | st.text(),
    query=st.dictionaries(st.sampled_from(["after", "last", "level"]) | st.text(), st.text()),
    body=st.binary() | st.sampled_from([b'{"force":true}', b'{"by":"root"}']),
)
def test_whatever_is_asked_there_is_an_answer(method, path, query, body):
    control = FakeControl(node="web1", nodes={})
    reply = asyncio.run(Api(control).answer(method, path, query, body, by=str))
    assert isinstance(reply, Reply)
    assert isinstance(json.loads(reply.body), dict)
