"""Checkers, processes and services of an imported module."""

import re

import pytest
from safekit_modules import SCRIPTS, VIP, good, refused, xml

from hcsidecar.core.safekit.notes import Coverage

TAKEN, DIFFERENT, NOT = Coverage.TAKEN, Coverage.DIFFERENT, Coverage.NOT


def checked(inside, **more):
    """Import checkers; gives the checks and the notes."""
    document, notes = good(xml(f"{VIP}<check>{inside}</check>"), **more)
    return document.get("check", []), notes


TIMES = {"interval": "10s", "timeout": "5s"}
TCP = {"type": "tcp", "name": "a", "when": "both", "action": "restart", "address": "127.0.0.1", "port": 80, **TIMES}
PING = {"type": "ping", "name": "a", "when": "pre", "action": "wait", "address": "192.0.2.1", **TIMES}
IFACE = {"type": "interface", "name": "a", "when": "pre", "action": "wait"}
IP = {"type": "interface", "name": "a", "when": "both", "action": "stopstart", "address": "192.0.2.77"}
READY = "/var/modules/m/ready.txt"
MODULE = {
    "type": "http",
    "name": "a",
    "when": "pre",
    "action": "wait",
    "address": "127.0.0.1",
    "port": 9010,
    "path": READY,
}
MODULE |= {"status": [200], **TIMES}
CUSTOM = {"type": "custom", "name": "a", "when": "both", "action": "none"}
CUSTOM |= {"command": ["bin/watch", "web_farm", "custom.a"]}


@pytest.mark.parametrize(
    ("checker", "check"),
    [
        ("<tcp ident='a'><to addr='127.0.0.1' port='80'/></tcp>", TCP),
        ("<tcp ident='a' when='both'><to addr='192.0.2.50' port='80'/></tcp>", TCP | {"address": "192.0.2.50"}),
        ("<tcp ident='a'><to addr='localhost' port='80'/></tcp>", TCP),
        ("<tcp ident='a'><to addr='[::1]' port='80'/></tcp>", TCP | {"address": "::1"}),
        ("<tcp ident='a' action='stopstart'><to addr='127.0.0.1' port='80'/></tcp>", TCP | {"action": "stopstart"}),
        ("<tcp ident='a' action='stop'><to addr='127.0.0.1' port='80'/></tcp>", TCP | {"action": "stop"}),
        ("<tcp ident='a' action='noaction'><to addr='127.0.0.1' port='80'/></tcp>", TCP | {"action": "none"}),
        ("<tcp ident='a' action='wait'><to addr='127.0.0.1' port='80'/></tcp>", TCP | {"action": "stopstart"}),
        (
            "<tcp ident='a' action='wait'><to addr='192.0.2.1' port='80'/></tcp>",
            TCP | {"when": "pre", "action": "wait", "address": "192.0.2.1"},
        ),
        (
            "<tcp ident='a' when='pre' action='wait'><to addr='192.0.2.1' port='80'/></tcp>",
            TCP | {"when": "pre", "action": "wait", "address": "192.0.2.1"},
        ),
        (
            "<tcp ident='a' when='pre'><to addr='192.0.2.1' port='80'/></tcp>",
            TCP | {"when": "pre", "action": "wait", "address": "192.0.2.1"},
        ),
        (
            "<tcp ident='a'><to addr='127.0.0.1' port='80' interval='30' timeout='500ms'/></tcp>",
            TCP | {"interval": "30s", "timeout": "500ms"},
        ),
        ("<tcp ident='a'><to addr='127.0.0.1' port='80' interval='2h'/></tcp>", TCP | {"interval": "1h"}),
        ("<ping ident='a'><to addr='192.0.2.1'/></ping>", PING),
        ("<ping ident='a' when='both' action='wait'><to addr='192.0.2.1'/></ping>", PING),
        (
            "<ping ident='a' when='both' action='stopstart'><to addr='192.0.2.1' interval='3'/></ping>",
            PING | {"when": "both", "action": "stopstart", "interval": "3s"},
        ),
        ("<ping ident='a' action='restart'><to addr='192.0.2.1'/></ping>", PING),
        ("<ping ident='a' action='stop'><to addr='192.0.2.1'/></ping>", PING | {"action": "stop"}),
        ("<intf ident='a'><to local_addr='192.0.2.11'/></intf>", IFACE),
        ("<intf ident='a' when='pre'><to local_addr='10.0.0.1'/></intf>", IFACE | {"address": "10.0.0.1"}),
        ("<ip ident='a'><to addr='192.0.2.77'/></ip>", IP),
        ("<ip ident='a' when='both' action='restart'><to addr='192.0.2.77'/></ip>", IP | {"action": "restart"}),
        ("<module ident='a' name='m'/>", MODULE),
        ("<module ident='a' name='m'><to/></module>", MODULE),
        ("<module name='m'/>", MODULE | {"name": "m_127.0.0.1"}),
        (
            "<module ident='a' name='m'><to addr='192.0.2.1' port='80' interval='5' timeout='1'/></module>",
            MODULE | {"address": "192.0.2.1", "port": 80, "interval": "5s", "timeout": "1s"},
        ),
        (
            "<module ident='a' name='m'><to addr='192.0.2.1' secure='on'/></module>",
            MODULE | {"address": "192.0.2.1", "port": 9453, "tls": "unverified"},
        ),
        ("<custom ident='a' exec='watch'/>", CUSTOM),
        ("<custom ident='a' exec='./watch' arg=''/>", CUSTOM),
        (
            "<custom ident='a' exec='watch' arg='-v \"two words\" x' action='restart'/>",
            CUSTOM | {"action": "restart", "command": [*CUSTOM["command"], "-v", "two words", "x"]},
        ),
        (
            "<custom ident='a' exec='watch' arg=\"it's\" when='pre' action='wait'/>",
            CUSTOM | {"when": "pre", "action": "wait", "command": [*CUSTOM["command"], "it's"]},
        ),
        ("<custom ident='a' exec='watch' action='wait'/>", CUSTOM | {"action": "stopstart"}),
        (
            "<custom ident='a' exec='/usr/bin/watch'/>",
            CUSTOM | {"command": ["/usr/bin/watch", "web_farm", "custom.a"]},
        ),
    ],
)
def test_each_checker_becomes_a_check(checker, check):
    checks, _ = checked(checker, scripts=SCRIPTS | {"watch": b"#!/bin/sh\n"})
    assert checks == [check | ({"status": [200]} if "status" in check else {})]


@pytest.mark.parametrize(
    ("checker", "subject", "verdict"),
    [
        ("<tcp ident='a'><to addr='192.0.2.50' port='80'/></tcp>", 'to addr="192.0.2.50"', TAKEN),
        ("<tcp ident='a'><to addr='localhost' port='80'/></tcp>", 'to addr="localhost"', DIFFERENT),
        ("<tcp ident='a' x='1'><to addr='127.0.0.1' port='80' y='2'/><z/></tcp>", 'tcp x="1"', NOT),
        ("<tcp ident='a'><to addr='127.0.0.1' port='80' y='2'/></tcp>", 'to y="2"', NOT),
        ("<tcp ident='a'><to addr='127.0.0.1' port='80'/><z/></tcp>", "<z>", NOT),
        ("<tcp ident='a b'><to addr='127.0.0.1' port='80'/></tcp>", 'tcp ident="a b"', DIFFERENT),
        ("<tcp ident='a' when='pre'><to addr='127.0.0.1' port='80'/></tcp>", 'tcp when="pre"', TAKEN),
        ("<tcp ident='a' when='prim'><to addr='127.0.0.1' port='80'/></tcp>", 'tcp when="prim"', NOT),
        ("<tcp ident='a' action='wait'><to addr='127.0.0.1' port='80'/></tcp>", 'tcp action="wait"', DIFFERENT),
        ("<tcp ident='a' when='both' action='wait'><to addr='9.9.9.9' port='80'/></tcp>", 'tcp when="both"', DIFFERENT),
        ("<ping ident='a' action='restart'><to addr='192.0.2.1'/></ping>", 'ping action="restart"', DIFFERENT),
        ("<ping ident='a'><to addr='192.0.2.1' timeout='1h'/></ping>", 'to timeout="1h"', DIFFERENT),
        ("<intf ident='a'><to local_addr='192.0.2.11'/></intf>", 'to local_addr="192.0.2.11"', DIFFERENT),
        ("<ip ident='a'><to addr='192.0.2.50' interval='5'/></ip>", "<ip>", DIFFERENT),
        ("<ip ident='a'><to addr='192.0.2.77' interval='5'/></ip>", 'to interval="5"', DIFFERENT),
        ("<module ident='a' name='m'/>", 'module name="m"', DIFFERENT),
        ("<module ident='a' name='m'><to secure='off'/></module>", 'to secure="off"', TAKEN),
        ("<custom ident='a' exec='gone'/>", 'custom exec="gone"', DIFFERENT),
        ("<custom ident='a' exec='watch'/>", 'custom exec="watch"', TAKEN),
        ("<custom ident='a' exec='watch.ps1'/>", 'custom exec="watch.ps1"', NOT),
        ("<custom ident='a' exec='watch' second='x'/>", 'custom second="x"', NOT),
        ("<splitbrain ident='a' exec='ping' arg='w1 w2'/>", 'splitbrain arg="w1 w2"', NOT),
        ("<weather ident='a'/>", "<weather>", NOT),
    ],
)
def test_what_becomes_of_a_checkers_parts_is_told(checker, subject, verdict):
    _, notes = checked(checker, scripts=SCRIPTS | {"watch": b"#!/bin/sh\n"})
    assert notes[subject].verdict is verdict


def test_a_checker_of_a_vip_makes_no_check_of_its_address():
    checks, _ = checked("<ip ident='a'><to addr='192.0.2.50'/></ip>")
    assert checks == []


def test_checks_of_one_name_are_told_apart_by_their_class():
    checks, _ = checked(
        "<custom ident='a' exec='watch'/><tcp ident='a'><to addr='127.0.0.1' port='1'/></tcp>"
        "<tcp ident='a'><to addr='127.0.0.1' port='2'/><to addr='127.0.0.1' port='3'/></tcp>"
    )
    assert [check["name"] for check in checks] == ["a", "tcp.a", "tcp.a-2", "tcp.a-3"]


def test_without_scripts_nothing_is_restarted():
    checks, notes = checked("<tcp ident='a'><to addr='127.0.0.1' port='80'/></tcp>", scripts={})
    assert checks[0]["action"] == "none"
    assert notes["<tcp>"].verdict is TAKEN


@pytest.mark.parametrize(
    ("checker", "told"),
    [
        ("<tcp ident='a'/>", "tcp: has no <to>"),
        ("<tcp><to addr='127.0.0.1' port='80'/></tcp>", "tcp ident: is missing"),
        ("<tcp ident='a'><to port='80'/></tcp>", "to addr: is missing"),
        ("<tcp ident='a'><to addr='127.0.0.1'/></tcp>", "to port: is missing"),
        ("<tcp ident='a'><to addr='127.0.0.1' port='65536'/></tcp>", "from 1 to 65535"),
        ("<tcp ident='a'><to addr='db.example.com' port='1'/></tcp>", 'to addr: is no IP address: "db.example.com"'),
        ("<tcp ident='a' when='never'><to addr='127.0.0.1' port='80'/></tcp>", "one of pre, both"),
        ("<tcp ident='a' action='swap'><to addr='127.0.0.1' port='80'/></tcp>", "one of restart, stopstart, wait"),
        ("<tcp ident='a'><to addr='127.0.0.1' port='80' interval='often'/></tcp>", "to interval: is no duration"),
        ("<ping ident='a'><to addr='0.0.0.0'/></ping>", "address"),
        ("<ping ident='a'><to/></ping>", "to addr: is missing"),
        ("<intf ident='a'><to local_addr='eth0'/></intf>", 'to local_addr: is no IP address: "eth0"'),
        ("<ip ident='a'><to addr='vip'/></ip>", 'to addr: is no IP address: "vip"'),
        ("<module/>", "module name: is missing"),
        ("<module name='a b'/>", "is not the path of a page"),
        ("<custom ident='a'/>", "custom exec: is missing"),
        ("<custom exec='watch'/>", "custom ident: is missing"),
        ("<custom ident='a b' exec='watch'/>", "custom ident: is not usable"),
        ("<custom ident='a' exec='../../bin/sh'/>", "leads out of bin/"),
        ("<custom ident='a' exec='..\\x'/>", "leads out of bin/"),
        ("<custom ident='a' exec='watch' arg='a&#x85;b'/>", "check[1].command"),
    ],
)
def test_a_checker_that_cannot_be_is_refused(checker, told):
    problems = refused(xml(f"{VIP}<check>{checker}</check>"))
    assert any(told in problem for problem in problems), problems


def watched(inside, attributes="", **more):
    document, notes = good(xml(f"<errd {attributes}>{inside}</errd>"), **more)
    return document, notes


PROC = {"type": "process", "name": "apache2", "when": "both", "action": "stopstart", "interval": "30s"}
PROC |= {"process": "apache2", "at_least": 1}
UNIT = {key: value for key, value in PROC.items() if key != "process"} | {"unit": "apache2.service"}


@pytest.mark.parametrize(
    ("attributes", "check"),
    [
        ("", PROC),
        ("class='both'", PROC),
        ("class='pre'", PROC | {"when": "pre", "action": "wait"}),
        ("action='restart'", PROC | {"action": "restart"}),
        ("action='stop'", PROC | {"action": "stop"}),
        ("action='noaction'", PROC | {"action": "none"}),
        ("action='/opt/handler'", PROC | {"action": "none"}),
        ("service='no'", PROC),
        ("service='yes'", UNIT),
        ("atleast='2' atmax='10'", PROC | {"at_least": 2, "at_most": 10}),
        ("atleast='-1' atmax='5'", PROC | {"at_least": 0, "at_most": 5}),
        ("atmax='0'", PROC | {"at_least": 0, "at_most": 0}),
        ("argregex='-k start'", PROC | {"command_line": "-k start"}),
        ("argregex='[[:digit:]]+'", PROC | {"command_line": "[0-9]+"}),
    ],
)
def test_each_process_becomes_a_check(attributes, check):
    document, _ = watched(f"<proc name='apache2' {attributes}/>")
    assert {key: document["check"][0].get(key) for key in check} == check


@pytest.mark.parametrize(
    ("name", "unit"), [("nginx", "nginx.service"), ("db@1.service", "db@1.service"), ("x.socket", "x.socket")]
)
def test_a_service_is_a_unit(name, unit):
    assert watched(f"<proc name='{name}' service='yes'/>")[0]["check"][0]["unit"] == unit


@pytest.mark.parametrize(
    ("nameregex", "argregex", "finds", "passes_over"),
    [
        ("^ora_.*", "", ["ora_pmon", "/usr/bin/ora_x -a"], ["flora_x", "/ora_/x", "tail ora_x"]),
        ("ora", "", ["ora", "/bin/floral -a"], ["/ora/x", "tail ora"]),
        ("^httpd$", "", ["httpd", "/usr/sbin/httpd -k start"], ["httpd2", "xhttpd", "/httpd/x"]),
        ("^(a|b)$", "", ["a", "/bin/b x"], ["ab", "c"]),
        ("a|b", "", ["a", "xb y"], ["c a"]),
        (
            "^java",
            "org[.]app",
            ["java -cp org.app.Main", "/bin/java\n-x org.app"],
            ["java -x orgXapp", "sh org.app java"],
        ),
        (r"^cost\$", "", ["cost$", "/bin/cost$x"], ["cost"]),
    ],
)
def test_names_and_arguments_by_regular_expression_find_the_same(nameregex, argregex, finds, passes_over):
    document, _ = watched(f"<proc name='x' nameregex='{nameregex}' argregex='{argregex}'/>")
    pattern = re.compile(document["check"][0]["command_line"])
    assert "process" not in document["check"][0]
    assert [line for line in finds if not pattern.search(line)] == []
    assert [line for line in passes_over if pattern.search(line)] == []


@pytest.mark.parametrize(
    ("attributes", "subject", "verdict"),
    [
        ("", "<proc>", TAKEN),
        ("restart_services='yes'", 'proc restart_services="yes"', NOT),
        ("start_after='1'", 'proc start_after="1"', TAKEN),
        ("start_after='2'", 'proc start_after="2"', DIFFERENT),
        ("action='handler'", 'proc action="handler"', NOT),
        ("class='prim'", 'proc class="prim"', NOT),
        ("class='mine'", "<proc>", NOT),
        ("atleast='-1'", "<proc>", NOT),
        ("nameregex='x'", 'proc nameregex="x"', DIFFERENT),
        ("argregex='x'", 'proc argregex="x"', TAKEN),
        ("service='yes'", 'proc service="yes"', TAKEN),
        ("atmax='0'", 'proc atleast (unset: "1")', DIFFERENT),
        ("class='pre'", 'proc class="pre"', TAKEN),
        ("x='1'", 'proc x="1"', NOT),
    ],
)
def test_what_becomes_of_a_processs_parts_is_told(attributes, subject, verdict):
    _, notes = watched(f"<proc name='apache2' {attributes}/>")
    assert notes[subject].verdict is verdict


def test_the_poll_timer_is_the_interval():
    document, notes = watched("<proc name='a'/><x/>", "polltimer='5'")
    assert document["check"][0]["interval"] == "5s"
    assert notes['errd polltimer="5"'].verdict is TAKEN
    assert notes["<x>"].verdict is NOT


def test_a_late_start_gets_the_time_that_it_may_take():
    document, notes = watched("<proc name='a' start_after='11'/><proc name='b' start_after='5'/>")
    assert document["application"]["start_timeout"] == "5m"
    assert "start_timeout = 5m" in notes['proc start_after="11"'].text


@pytest.mark.parametrize(
    ("proc", "told"),
    [
        ("<proc/>", "proc name: is missing"),
        ("<proc name='a' nameregex='('/>", "proc nameregex: is no regular expression here"),
        ("<proc name='a' argregex='*'/>", "proc argregex: is no regular expression here"),
        ("<proc name='a' argregex='[[x]'/>", "proc argregex: is no regular expression here"),
        ("<proc name='a' atleast='-2'/>", "proc atleast"),
        ("<proc name='a' service='perhaps'/>", "proc service"),
    ],
)
def test_a_process_that_cannot_be_is_refused(proc, told):
    problems = refused(xml(f"<errd>{proc}</errd>"))
    assert any(told in problem for problem in problems), problems
