"""Service, farm, lans, nodes, user and scripts of an imported module."""

import pytest
from safekit_modules import NODES, SCRIPTS, VIP, good, imported, refused, xml

from hcsidecar.core.safekit.conversion import Imported
from hcsidecar.core.safekit.notes import Coverage

TAKEN, DIFFERENT, NOT = Coverage.TAKEN, Coverage.DIFFERENT, Coverage.NOT


def verdict_of(notes, subject):
    return notes[subject].verdict


@pytest.mark.parametrize(
    ("attribute", "verdict", "text"),
    [
        ('mode="farm"', TAKEN, "a farm"),
        ('boot="on"', DIFFERENT, "unless `hcsidecar stop` was the operator's last word"),
        ('boot="auto"', TAKEN, "remembers"),
        ('boot="off"', DIFFERENT, "systemctl disable hcsidecar"),
        ('boot="ignore"', DIFFERENT, "systemctl enable or disable hcsidecar"),
        ('boot_delay="0"', TAKEN, "no delay"),
        ('boot_delay="10"', NOT, "ExecStartPre"),
        ('maxloop="5"', TAKEN, "max_restarts = 5"),
        ('loop_interval="24"', TAKEN, 'restart_window = "1d"'),
        ('loop_interval="90m"', TAKEN, 'restart_window = "90m"'),
        ('loop_interval="9999999"', DIFFERENT, "365d: the most there is here"),
        ('automatic_reboot="on"', NOT, "never reboots"),
        ('automatic_reboot="off"', TAKEN, "no reboot"),
        ('failover="on"', NOT, "mirror"),
        ('defaultprim="alone"', NOT, "mirror"),
        ('weather="fine"', NOT, "does not know"),
    ],
)
def test_each_attribute_of_the_service_is_spoken_of(attribute, verdict, text):
    written = attribute if not attribute.startswith("mode") else ""
    _, notes = good(xml(service=written))
    assert (notes[f"service {attribute}"].verdict, text in notes[f"service {attribute}"].text) == (verdict, True)


@pytest.mark.parametrize(
    ("attributes", "restarts", "window"),
    [
        ("", 3, "1d"),
        ("maxloop='0' loop_interval='0'", 0, "0s"),
        ("maxloop='10' loop_interval='2'", 10, "2h"),
        ("loop_interval='30 m'", 3, "30m"),
        ("loop_interval='1.5'", 3, "90m"),
        ("loop_interval='250ms'", 3, "250ms"),
    ],
)
def test_the_restart_budget_is_that_of_the_module(attributes, restarts, window):
    farm, _ = good(xml(service=attributes))
    assert (farm["application"]["max_restarts"], farm["application"]["restart_window"]) == (restarts, window)


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ("maxloop='three'", 'service maxloop: is "three" (a whole number from 0 to 1000)'),
        ("maxloop='-1'", "a whole number from 0 to 1000"),
        ("maxloop='1001'", "a whole number from 0 to 1000"),
        ("maxloop='²'", "a whole number"),
        ("loop_interval='soon'", 'is no duration: "soon" (a number, in h unless'),
        ("loop_interval='1e9'", "is no duration"),
        ("loop_interval='-1'", "is no duration"),
        ("loop_interval='٣'", "is no duration"),
        ("boot='sometimes'", 'service boot: is "sometimes" (one of on, auto, off, ignore)'),
        ("automatic_reboot='maybe'", "service automatic_reboot"),
    ],
)
def test_a_value_that_says_nothing_is_refused_with_its_line(attributes, told):
    [problem] = refused("\n\n" + xml(service=attributes))
    assert problem.startswith("line 3: service ")
    assert told in problem


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        ("mode='mirror'", "is a mirror module"),
        ("mode='light'", "is a light module"),
        ("mode='round'", 'has the mode "round"'),
        ("", "has no mode"),
    ],
)
def test_only_a_farm_module_can_be_imported_and_nothing_else_is_said_of_others(mode, told):
    [problem] = refused(f"<safe><macro name='A' value='B_TO_BE_DEFINED'/><service {mode}><heart/>%X%</service></safe>")
    assert told in problem
    assert 'only modules with mode="farm" can be imported' in problem


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("<service mode='farm'/>", "begins with <safe>"),
        ("<safe/>", "has 0 <service>"),
        ("<safe><service mode='farm'/><service mode='farm'/></safe>", "has 2 <service>"),
        (xml("<user/>"), "user: stands there twice"),
        (xml(farm=""), "has no <lan>"),
        (xml(farm="<farm/>"), "has no <lan>"),
        (xml(farm="<farm><lan/></farm>"), "lan name: is missing"),
        (xml(farm="<farm><lan name='a'><node name='b'/></lan></farm>"), "node addr: is missing"),
        (xml(user="<user><var value='a'/></user>"), "var name: is missing"),
        (xml(farm="<farm pulse='x'><lan name='a'/></farm>"), "farm pulse"),
    ],
)
def test_a_module_that_cannot_be_is_refused(text, told):
    assert any(told in problem for problem in refused(text, nodes=() if "<node" in text else NODES))


def test_all_problems_are_told_at_once():
    text = xml(VIP.replace("'80'", "'*'"), service="maxloop='x'", user="<user nicestoptimeout='x'/>")
    assert len(refused(text, nodes=())) == 4


@pytest.mark.parametrize(
    ("farm", "heartbeat", "verdicts"),
    [
        ("<farm>", None, {}),
        ("<farm pulse='200'>", {"pulse": "200ms", "lost_after": "2s"}, {'farm pulse="200"': TAKEN}),
        ("<farm pulse='1s'>", {"pulse": "1s", "lost_after": "10s"}, {'farm pulse="1s"': TAKEN}),
        ("<farm slost_count='40'>", {"pulse": "100ms", "lost_after": "4s"}, {'farm slost_count="40"': TAKEN}),
        ("<farm slost_count='5'>", {"pulse": "100ms", "lost_after": "1s"}, {'farm slost_count="5"': DIFFERENT}),
        ("<farm mlost_count='80'>", None, {'farm mlost_count="80"': NOT}),
        ("<farm port='4806'>", {"port": 4806}, {'farm port="4806"': DIFFERENT}),
        ("<farm crypto='on'>", None, {'farm crypto="on"': NOT}),
    ],
)
def test_the_timing_of_the_farm_becomes_that_of_the_heartbeats(farm, heartbeat, verdicts):
    document, notes = good(xml(farm=f"{farm}<lan name='default'/></farm>"))
    assert document.get("heartbeat") == heartbeat
    assert {subject: notes[subject].verdict for subject in verdicts} == verdicts


def test_the_timing_that_a_module_does_not_set_is_told_of():
    _, notes = good(xml())
    assert notes['farm pulse (unset: "100ms")'].verdict is DIFFERENT
    assert "dead after 0.5 s" in notes['farm slost_count (unset: "10")'].text


def test_nodes_come_from_the_command_and_have_an_address_on_each_lan_they_are_given():
    farm = "<farm><lan name='front'/><lan name='back end'/><lan name='third'/></farm>"
    more = (*NODES, ("web1", "198.51.100.11"), ("web2", "198.51.100.12"))
    document, notes = good(xml(farm=farm), nodes=more)
    assert document["node"] == [
        {"name": "web1", "addresses": {"front": "192.0.2.11", "back-end": "198.51.100.11"}},
        {"name": "web2", "addresses": {"front": "192.0.2.12", "back-end": "198.51.100.12"}},
    ]
    assert notes['lan name="third"'].verdict is NOT
    document, notes = good(xml(farm=farm))
    assert document["node"][0] == {"name": "web1", "address": "192.0.2.11"}
    assert notes['lan name="back end"'].verdict is NOT


def test_a_farm_without_nodes_says_how_to_name_them():
    [problem] = refused(xml(), nodes=())
    assert "--node NAME=ADDRESS, once for each server" in problem


def test_more_addresses_than_lans_are_refused():
    assert any("lans: 1" in problem for problem in refused(xml(), nodes=(*NODES, ("web1", "198.51.100.11"))))


OLD = (
    "<farm><lan name='default'><node name='a' addr='192.0.2.1'/><node name='b' addr='[2001:db8::2]' laddr='x'/></lan>"
    "</farm>"
)


def test_nodes_of_an_old_module_are_taken_from_it():
    farm = OLD.replace("[2001:db8::2]", "192.0.2.2")
    document, notes = good(xml(farm=farm), nodes=())
    assert document["node"] == [{"name": "a", "address": "192.0.2.1"}, {"name": "b", "address": "192.0.2.2"}]
    assert notes['node addr="192.0.2.1"'].verdict is TAKEN
    assert notes['node laddr="x"'].verdict is NOT


def test_nodes_of_the_command_are_used_instead_of_those_of_an_old_module():
    document, notes = good(xml(farm=OLD))
    assert [node["name"] for node in document["node"]] == ["web1", "web2"]
    assert notes['node addr="192.0.2.1"'].verdict is DIFFERENT


def test_a_name_in_place_of_an_address_is_refused():
    [problem] = refused(xml(farm=OLD.replace("[2001:db8::2]", "b.example.com")), nodes=())
    assert 'node addr: is no IP address: "b.example.com"' in problem


def test_a_farm_of_ipv6_listens_on_it():
    document, _ = good(xml(), nodes=(("a", "2001:db8::1"), ("b", "2001:db8::2")))
    assert document["web"] == {"listen": ["[::]:9010"]}


@pytest.mark.parametrize(
    ("user", "key", "value", "subject", "verdict"),
    [
        ("<user/>", "stop_timeout", "5m", None, None),
        ("<user/>", "force_timeout", "5m", None, None),
        ("<user/>", "log_kb", 2048, None, None),
        ("<user/>", "safekit", True, "<user>", DIFFERENT),
        ("<user nicestoptimeout='20'/>", "stop_timeout", "20s", 'user nicestoptimeout="20"', TAKEN),
        ("<user nicestoptimeout='0'/>", "stop_timeout", "100ms", 'user nicestoptimeout="0"', DIFFERENT),
        ("<user nicestoptimeout='2d'/>", "stop_timeout", "1d", 'user nicestoptimeout="2d"', DIFFERENT),
        ("<user forcestoptimeout='1m'/>", "force_timeout", "1m", 'user forcestoptimeout="1m"', TAKEN),
        ("<user userlogsize='100'/>", "log_kb", 100, 'user userlogsize="100"', TAKEN),
        ("<user userlogsize='1'/>", "log_kb", 16, 'user userlogsize="1"', DIFFERENT),
        ("<user logging='userlog'/>", "log_kb", 2048, 'user logging="userlog"', TAKEN),
        ("<user logging='none'/>", "log_kb", 2048, 'user logging="none"', DIFFERENT),
        ("<user x='1'/>", "log_kb", 2048, 'user x="1"', NOT),
        ("<user><var name='A' value='b c'/></user>", "environment", {"A": "b c"}, 'var value="b c"', TAKEN),
        ("<user><var name='A'/></user>", "environment", {"A": ""}, 'var name="A"', TAKEN),
        ("<user><var name='A B' value='c'/></user>", "log_kb", 2048, 'var name="A B"', NOT),
        ("<user><war/></user>", "log_kb", 2048, "<war>", NOT),
    ],
)
def test_the_scripts_settings_become_those_of_the_application(user, key, value, subject, verdict):
    document, notes = good(xml(user=user))
    assert document["application"][key] == value
    if subject:
        assert notes[subject].verdict is verdict


def test_environment_has_any_text():
    text = "<user><var name='A' value='&quot;\\ ä&#9;&#10;'/></user>"
    document, _ = good(xml(user=text))
    assert document["application"]["environment"] == {"A": '"\\ ä\t\n'}


def test_the_scripts_that_hcsidecar_calls_are_named_and_the_others_are_told_of():
    names = ["prestart", "poststop", "transition", "postconfig", "start_prim", "lib/tools.sh"]
    document, notes = good(xml(), scripts=SCRIPTS | dict.fromkeys(names, b"#!/bin/sh\n"))
    called = {key: document["application"][key] for key in ("start", "stop", "prestart", "poststop", "transition")}
    assert called == {
        "start": "bin/start_both",
        "stop": "bin/stop_both",
        "prestart": "bin/prestart",
        "poststop": "bin/poststop",
        "transition": "bin/transition",
    }
    verdicts = {name: notes[f"bin/{name}"].verdict for name in names}
    assert verdicts == dict.fromkeys(names[:3], TAKEN) | {"postconfig": NOT, "start_prim": NOT, "lib/tools.sh": TAKEN}


def test_without_user_no_script_runs():
    document, notes = good(xml(user=""))
    assert "application" not in document
    assert notes["bin/start_both"].verdict is NOT
    assert notes["<user> (unset)"].verdict is NOT


def test_a_script_that_is_missing_is_made_and_does_nothing():
    result = imported(xml(), scripts={"start_both": b"#!/bin/sh\n"})
    assert result.scripts["stop_both"].startswith(b"#!/bin/sh\n")
    assert b"exit 0" in result.scripts["stop_both"]
    assert result.document["application"]["stop"] == "bin/stop_both"


@pytest.mark.parametrize("scripts", [{}, {"prestart": b"#!/bin/sh\n"}, None])
def test_without_start_and_stop_there_is_no_application(scripts):
    document, notes = good(xml(), scripts=scripts)
    assert "application" not in document
    assert notes["bin/"].verdict is NOT


@pytest.mark.parametrize("ending", ["cmd", "ps1", "vbs", "bat", "CMD"])
def test_scripts_for_windows_are_copied_to_be_ported_and_fail_until_then(ending):
    scripts = {f"start_both.{ending}": b"@echo off\r\n", f"stop_both.{ending}": b"\r\n"}
    result = imported(xml(), scripts=scripts)
    assert isinstance(result, Imported)
    assert result.scripts[f"start_both.{ending}"] == b"@echo off\r\n"
    assert result.scripts["start_both"].endswith(b"exit 1\n")
    assert b"start_both.%s is for Windows" % ending.encode() in result.scripts["start_both"]
    told = [note.text for note in result.notes if note.subject == f"bin/start_both.{ending}"]
    assert told == ["copied, to be ported: it is for Windows"]


def test_a_module_for_both_systems_runs_the_script_that_runs_here():
    scripts = SCRIPTS | {"start_both.cmd": b"\r\n"}
    assert imported(xml(), scripts=scripts).scripts == scripts


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"#!/bin/sh\r\nexit 0\r\n", "its lines end as on Windows"),
        (b"exit 0\n", "it has no #! line"),
        (b"", "it has no #! line"),
        (b'#!/bin/sh\n\n"$SAFE/safekit" swap\n', "its line 3 calls `safekit swap`"),
        (
            b"#!/bin/sh\n$SAFE/safekit -r saferpc_send vipd SETGROUPS all\n",
            "its line 2 calls `safekit -r saferpc_send`",
        ),
    ],
)
def test_what_will_not_run_in_a_script_is_told(content, told):
    result = imported(xml(), scripts=SCRIPTS | {"start_both": content})
    assert result.scripts["start_both"] == content
    assert any(told in note.text and note.verdict is NOT for note in result.notes)


def test_files_beside_the_scripts_are_told_of():
    _, notes = good(xml(), others=["web/index.html"])
    assert notes["web/index.html"].verdict is NOT


def test_a_name_that_no_farm_can_have_is_refused_with_one_that_it_can():
    [problem] = refused(xml(), name="my farm!")
    assert "--name my-farm-" in problem
    assert good(xml(), name="my farm!", wanted="shop")[0]["farm"] == {"name": "shop"}


@pytest.mark.parametrize("tag", ["heart", "rfs", "vhost", "unheard"])
def test_what_a_farm_has_not_here_is_dropped_with_all_that_is_in_it(tag):
    _, notes = good(xml(f"<{tag} a='1'><b c='2'/></{tag}>"))
    assert {notes[s].verdict for s in (f"<{tag}>", f'{tag} a="1"', "<b>", 'b c="2"')} == {NOT}


def test_every_part_of_a_module_is_noted_unknown_ones_too():
    farm = "<farm><lan name='a' x='1'><y/></lan><z/></farm>"
    _, notes = good(xml(farm=farm, before="<other p='q'/>"))
    for subject in ('lan x="1"', "<y>", "<z>", "<other>", 'other p="q"'):
        assert notes[subject].verdict is NOT


def test_failover_rules_are_not_taken_over_but_for_those_that_are_so_anyway():
    rules = """<failover period='5000' handle_time='15000' extends='yes'><![CDATA[
      interface_failure: if (intf.? == down) then wait();
      c_queue: if (custom.queue == down)
        then stopstart();
      tcp_failure: if (tcp.? == down) then stop();
    ]]></failover>"""
    _, notes = good(xml(rules))
    assert notes["rule interface_failure"].verdict is TAKEN
    assert notes["rule c_queue"].verdict is NOT
    assert "stopstart is not taken over" in notes["rule c_queue"].text
    assert (notes["rule c_queue"].line, notes["rule tcp_failure"].line) == (3, 5)
    assert notes["rule tcp_failure"].verdict is NOT
    for subject in ('failover period="5000"', 'failover handle_time="15000"', 'failover extends="yes"'):
        assert notes[subject].verdict is NOT


@pytest.mark.parametrize(
    "text", ["--Lua Rules\nRules = Rules + {label=if_then('custom.X','down',Action.stopstart)}", "what is this"]
)
def test_rules_that_are_not_understood_are_told_of(text):
    _, notes = good(xml(f"<failover>{text}</failover>"))
    assert any(note.verdict is NOT and note.subject.startswith("rules") for note in notes.values())


def test_many_rules_are_told_of_together():
    rules = "".join(f"r{number}: if (tcp.a == down) then stop();\n" for number in range(250))
    _, notes = good(xml(f"<failover>{rules}</failover>"))
    assert notes["rules"].text.startswith("50 more")


def test_a_call_of_safekit_that_works_here_is_nothing_to_tell_of():
    content = b"#!/bin/sh\n$SAFE/safekit printi started\n"
    _, notes = good(xml(), scripts=SCRIPTS | {"start_both": content})
    assert notes["bin/start_both"].verdict is TAKEN
