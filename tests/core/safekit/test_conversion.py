"""Macros, the written farm file and the report; and that no configuration breaks the importer."""

import json
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safekit_modules import NODES, SCRIPTS, VIP, good, imported, refused, xml

from hcsidecar.core.farmfile.farm_file import FarmFile, read
from hcsidecar.core.farmfile.problems import Problem
from hcsidecar.core.farmfile.toml_values import toml_value
from hcsidecar.core.safekit.conversion import Imported, import_module
from hcsidecar.core.safekit.macros import DEEPEST, LONGEST
from hcsidecar.core.safekit.notes import Coverage
from hcsidecar.core.safekit.report import report_document, report_text
from hcsidecar.core.safekit.source import Element, ImportOptions, SafekitModule
from hcsidecar.safekit.xml import read_xml


def macro(name, value):
    return f"<macro name='{name}' value='{value}'/>"


SITE = "<user><var name='SITE' value='a %SITE% b'/></user>"


def site(**more):
    return good(xml(user=SITE, before=more.pop("before", "")), **more)[0]["application"]["environment"]["SITE"]


def test_a_macro_stands_wherever_it_is_named():
    assert site(before=macro("SITE", "shop")) == "a shop b"


def test_a_macro_that_is_given_wins():
    assert site(before=macro("SITE", "shop"), macros={"SITE": "%mine%"}) == "a %mine% b"


def test_a_variable_of_the_environment_counts_only_as_a_macro_that_is_given():
    assert site(macros={"SITE": "shop"}) == "a shop b"
    [problem] = refused(xml(user=SITE))
    assert problem == "line 1: %SITE%: is a macro without a value (--macro SITE=VALUE)"


def test_macros_may_be_made_of_macros():
    assert site(before=macro("SITE", "%A%-%A%") + macro("A", "%B%") + macro("B", "x")) == "a x-x b"


@pytest.mark.parametrize("value", ["SITE_TO_BE_DEFINED", "to be filled in", "TCP_PORT_TO_BE_SET", "ToBeDefined"])
def test_a_macro_that_is_not_filled_in_is_refused_once_and_by_name(value):
    text = xml(user=SITE + "", before=macro("SITE", value)).replace("a %SITE% b", "%SITE% %SITE%")
    [problem] = refused(text)
    assert problem == f'line 1: macro SITE: has still to be filled in: "{value}" (--macro SITE=VALUE)'


def test_what_a_macro_would_fill_in_is_not_complained_of_as_well():
    text = VIP.replace("192.0.2.50", "%IP%").replace("'80'", "'%PORT%'")
    checks = "<check><tcp ident='%ID%'><to addr='%IP%' port='%PORT%' interval='%EVERY%'/></tcp></check>"
    problems = refused(xml(text + checks, before=macro("PORT", "PORT_TO_BE_DEFINED")))
    hints = [problem[problem.index("(") :] for problem in problems]
    assert sorted(hints) == [f"(--macro {name}=VALUE)" for name in ("EVERY", "ID", "IP", "PORT")]


def test_a_macro_that_nobody_uses_may_be_unfilled():
    _, notes = good(xml(before=macro("A", "A_TO_BE_DEFINED")))
    assert notes['macro name="A" value="A_TO_BE_DEFINED"'].verdict is Coverage.TAKEN


def test_a_given_macro_that_is_nowhere_is_a_mistake():
    [problem] = refused(xml(user=SITE, before=macro("SITE", "x")), macros={"SIET": "y"})
    assert problem == "--macro SIET: is used nowhere in the module: there is no %SIET% (its macros are SITE)"


@pytest.mark.parametrize(
    "macros",
    [
        macro("SITE", "%SITE%"),
        macro("SITE", "%A%") + macro("A", "%SITE%"),
        "".join(macro(f"M{n}", f"%M{n + 1}%") for n in range(DEEPEST + 2)) + macro("SITE", "%M0%"),
    ],
)
def test_macros_without_an_end_are_refused(macros):
    assert any("without an end" in problem for problem in refused(xml(user=SITE, before=macros)))


def test_macros_that_explode_are_refused():
    doubling = "".join(macro(f"M{n}", f"%M{n + 1}%" * 10) for n in range(12)) + macro("M12", "x" * 100)
    problems = refused(xml(user=SITE, before=doubling + macro("SITE", "%M0%")))
    assert any(f"is longer than {LONGEST} characters" in problem for problem in problems)


@pytest.mark.parametrize("before", ["<macro/>", "<macro name='a b' value='1'/>", "<macro name='' value='1'/>"])
def test_a_macro_without_a_usable_name_is_refused(before):
    [problem] = refused(xml(before=before))
    assert "macro name: is not usable" in problem


def test_other_parts_of_a_macro_are_told_of():
    _, notes = good(xml(user=SITE, before="<macro name='SITE' value='x' y='z'><w/></macro>"))
    assert notes["macro y"].verdict is notes["<w>"].verdict is Coverage.NOT


@pytest.mark.parametrize("text", ["100%", "%", "%%", "%a b%", "50% of 60%", "%d %s"])
def test_percent_signs_that_are_no_macro_stay(text):
    assert site(before=macro("SITE", "x"), macros={"SITE": text}) == f"a {text} b"
    environment = good(xml(user=f"<user><var name='A' value='{text}'/></user>"))[0]["application"]["environment"]
    assert environment == {"A": text}


def test_the_report_has_every_note_with_what_needs_a_look_first():
    result = imported(xml(VIP, service="boot='on' weather='fine'"))
    report = report_text(result, module="web_farm")
    headings = ("Not supported", "Taken over with a difference", "Taken over")
    order = [report.index(f"\n{heading} (") for heading in headings]
    assert order == sorted(order)
    for note in result.notes:
        assert f"{note.subject}\n" in report
    assert 'line 1: service weather="fine"\n    hcsidecar does not know this attribute\n' in report


def test_the_report_is_there_for_programs_too():
    result = imported(xml(VIP))
    document = json.loads(json.dumps(report_document(result, module="web_farm")))
    assert document["ok"] is True
    assert {"line": 1, "subject": "<safe>", "verdict": "taken over", "text": "the farm"} in document["notes"]
    document = report_document([Problem(path="line 1: x", message="is wrong", hint="y")], module="web_farm")
    assert document["problems"] == [{"path": "line 1: x", "message": "is wrong", "hint": "y"}]


def test_a_report_cannot_steer_the_terminal():
    result = imported(xml("<x y='&#x9b;31m&#x202e;&#10;line 1: forged'/>"))
    report = report_text(result, module="web_farm")
    assert all(line.isprintable() for line in report.splitlines())
    assert "\nline 1: forged" not in report
    assert all(line.isprintable() for line in result.text.splitlines())


values = st.recursive(
    st.text(st.characters(blacklist_categories=["Cs"])) | st.booleans() | st.integers(-(2**53), 2**53),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(blacklist_categories=["Cs"])), inner),
    max_leaves=10,
)


@given(values)
def test_every_value_reads_back_as_it_was_written(value):
    assert tomllib.loads(f"x = {toml_value(value)}") == {"x": value}


TAGS = ["macro", "service", "farm", "lan", "node", "vip", "interface_list", "interface", "virtual_interface"]
TAGS += ["virtual_addr", "loadbalancing_list", "group", "cluster", "host", "rule", "user", "var", "errd", "proc"]
TAGS += ["check", "tcp", "ping", "intf", "ip", "custom", "module", "splitbrain", "to", "failover", "vhost", "safe", "x"]
CHILDREN = {
    "safe": ["macro", "service"],
    "service": ["farm", "vip", "user", "errd", "check", "failover", "vhost"],
    "farm": ["lan"],
    "lan": ["node"],
    "vip": ["interface_list", "loadbalancing_list"],
    "interface_list": ["interface"],
    "interface": ["virtual_interface"],
    "virtual_interface": ["virtual_addr"],
    "loadbalancing_list": ["group"],
    "group": ["rule", "cluster"],
    "cluster": ["host"],
    "user": ["var"],
    "errd": ["proc"],
    "check": ["tcp", "ping", "intf", "ip", "custom", "module", "splitbrain"],
} | {key: ["to"] for key in ["tcp", "ping", "intf", "ip", "module"]}
NAMES = ["mode", "name", "addr", "port", "proto", "filter", "virtual_addr", "power", "pulse", "slost_count", "type"]
NAMES += [
    "where",
    "check",
    "ident",
    "when",
    "action",
    "interval",
    "timeout",
    "exec",
    "arg",
    "class",
    "atleast",
    "atmax",
]
NAMES += ["service", "nameregex", "argregex", "value", "maxloop", "loop_interval", "boot", "start_after", "local_addr"]
NAMES += ["secure", "nicestoptimeout", "userlogsize", "logging", "polltimer", "tcpreset", "connections", "z"]
WORDS = ["farm", "80", "10", "0", "-1", "1h", "tcp", "udp", "arp", "on_addr", "on_port", "on_ipid", "192.0.2.50", "::1"]
WORDS += [
    "192.0.2.11",
    "web1",
    "on",
    "off",
    "yes",
    "both",
    "pre",
    "restart",
    "wait",
    "stop",
    "watch",
    "%A%",
    "*",
    "127.0.0.1",
]
WORDS += [
    "vmac_directed",
    "vmac_invisible",
    "alias",
    "2001:db8::5",
    "^a|b$",
    "(",
    "a b",
    "",
    "A_TO_BE_DEFINED",
    "9" * 30,
]
USUAL = {
    "service": {"mode": "farm"},
    "lan": {"name": "default"},
    "macro": {"name": "A", "value": "80"},
    "rule": {"port": "80", "proto": "tcp", "filter": "on_addr"},
    "virtual_addr": {"addr": "192.0.2.50"},
    "to": {"addr": "127.0.0.1", "port": "80"},
    "custom": {"ident": "c", "exec": "watch"},
    "proc": {"name": "p"},
    "module": {"name": "m"},
    "var": {"name": "V", "value": "v"},
} | {key: {"ident": "i"} for key in ["tcp", "ping", "intf", "ip"]}


@st.composite
def elements(draw, tag="safe", depth=0):
    """Draw a configuration that is right in most places."""
    attributes = dict(USUAL.get(tag, {}))
    word = st.sampled_from(WORDS) | st.text(max_size=6)
    attributes |= draw(st.dictionaries(st.sampled_from(NAMES), word, max_size=2))
    children = []
    if depth < 8:
        tags = CHILDREN.get(tag, [])
        wanted = draw(st.lists(st.sampled_from(tags), max_size=3)) if tags else []
        wanted += ["service"] * (tag == "safe") + ["farm"] * (tag == "service") + ["lan"] * (tag == "farm")
        wanted += draw(st.lists(st.sampled_from(TAGS), max_size=1)) if draw(st.integers(0, 9)) == 0 else []
        children = [draw(elements(child, depth + 1)) for child in wanted]
    if tag == "service" and draw(st.booleans()):
        children.append(read_xml(VIP.encode(), "vip"))
    text = draw(st.text(max_size=20)) if tag == "failover" else ""
    line = draw(st.integers(1, 99))
    return Element(tag=tag, line=line, attributes=attributes, children=tuple(children), text=text)


@settings(max_examples=150, deadline=None)
@given(elements())
def test_whatever_a_configuration_says_it_is_imported_in_full_or_refused(root):
    module = SafekitModule(name="web_farm", root=root, scripts=SCRIPTS)
    result = import_module(module, ImportOptions(nodes=NODES))
    if not isinstance(result, Imported):
        assert result
        assert all(isinstance(problem, Problem) and str(problem).isprintable() for problem in result)
        return
    assert tomllib.loads(result.text) == result.document
    assert isinstance(read(result.document), FarmFile)
    noted = {(note.line, note.subject.partition(" ")[0].strip("<>")) for note in result.notes}
    assert {(each.line, each.tag) for each in root.walk()} <= noted
    report_text(result, module="web_farm")


REAL = """<macro name='SERVICES' value=''/><macro name='VIRTUAL_IP' value=''/><macro name='APACHE_PORT'/>"""
"As the modules of SafeKit 8.2 come, to be filled in by its console."
APACHE = VIP.replace("192.0.2.50", "%VIRTUAL_IP%").replace("'80'", "'%APACHE_PORT%'") + (
    "<check><tcp ident='HTTP_APACHE' when='both'><to addr='%VIRTUAL_IP%' port='%APACHE_PORT%'/></tcp></check>"
)
SERVICES = "<user><var name='SERVICES' value='%SERVICES%'/></user>"


def test_an_empty_macro_is_an_empty_text():
    document, _ = good(xml(user=SERVICES, before="<macro name='SERVICES' value=''/>"))
    assert document["application"]["environment"] == {"SERVICES": ""}


def test_a_value_that_an_empty_macro_leaves_out_is_refused_with_the_option_that_gives_it():
    problems = refused(xml(APACHE, user=SERVICES, before=REAL))
    assert {problem.rpartition(" (")[2] for problem in problems} == {
        "--macro VIRTUAL_IP=VALUE)",
        "--macro APACHE_PORT=VALUE)",
    }
    assert "line 1: virtual_addr addr: is empty (--macro VIRTUAL_IP=VALUE)" in problems
    assert "line 1: rule port: is empty (--macro APACHE_PORT=VALUE)" in problems


def test_empty_macros_are_filled_by_what_is_given():
    given = {"VIRTUAL_IP": "192.0.2.50", "APACHE_PORT": "80"}
    document, _ = good(xml(APACHE, user=SERVICES, before=REAL), macros=given)
    assert document["l2"]["vip"] == [{"address": "192.0.2.50"}]
    assert document["check"][0]["port"] == 80


def test_a_macro_that_is_empty_by_another_one_is_named_as_it_stands():
    (problem, *_) = refused(
        xml(APACHE, before="<macro name='VIRTUAL_IP' value='%IP%'/><macro name='IP' value=''/>"),
        macros={"APACHE_PORT": "80"},
    )
    assert problem.endswith("(--macro VIRTUAL_IP=VALUE)")


@pytest.mark.parametrize("name", ["postconfig.ps1", "postconfig.cmd", "confcheck.ps1"])
def test_a_script_of_windows_that_is_never_called_need_not_be_ported(name):
    _, notes = good(xml(), scripts={**SCRIPTS, name: b"exit 0"})
    assert notes[f"bin/{name}"].verdict is Coverage.NOT
    assert notes[f"bin/{name}"].text.startswith("copied, and never called: there is no configuration step")


def test_what_safekit_knows_and_a_farm_here_does_not_is_known_by_name():
    mirror = "<virtual_addr addr='192.0.2.9' where='one_side_alias'/>"
    mirror = f"<interface><real_interface>{mirror}</real_interface></interface>"
    text = xml(
        VIP.replace("<interface_list>", f"<interface_list>{mirror}")
        + "<check><tcp ident='WEB'><to addr='192.0.2.50' port='80' local_addr='192.0.2.11' secure='on'/></tcp>"
        "<ping ident='GW'><to addr='192.0.2.1' local_addr='192.0.2.11'/></ping>"
        "<checkfile ident='F' checkfile='/tmp/x'/></check>",
        farm="<farm><lan name='default' command='on'/></farm>",
    )
    _, notes = good(text)
    told = {subject: (note.verdict, note.text) for subject, note in notes.items()}
    assert not [text for _, text in told.values() if "knows no" in text or "does not know" in text]
    assert told["<real_interface>"] == (
        Coverage.NOT,
        "is for mirror modules: one node has its addresses; here all nodes have the VIPs",
    )
    assert told['to local_addr="192.0.2.11"'][0] is Coverage.NOT
    assert told['to secure="on"'][0] is Coverage.DIFFERENT
    assert told['lan command="on"'][0] is Coverage.TAKEN
    assert "/usr/bin/test" in told["<checkfile>"][1]


@pytest.mark.parametrize(("second", "verdict"), [("on", Coverage.DIFFERENT), ("off", Coverage.TAKEN)])
def test_commands_go_by_the_first_lan(second, verdict):
    nodes = (*NODES, ("web1", "198.51.100.11"), ("web2", "198.51.100.12"))
    lans = f"<farm><lan name='front'/><lan name='back' command='{second}'/></farm>"
    _, notes = good(xml(farm=lans), nodes=nodes)
    assert notes[f'lan command="{second}"'].verdict is verdict


def test_a_tcp_check_without_tls_is_taken_over_as_it_is():
    _, notes = good(xml("<check><tcp ident='W'><to addr='127.0.0.1' port='80' secure='off'/></tcp></check>"))
    assert notes['to secure="off"'].verdict is Coverage.TAKEN


def test_a_value_that_has_still_to_be_filled_in_without_a_macro_is_refused():
    [problem] = refused(xml(VIP.replace("192.0.2.50", "IP_TO_BE_DEFINED")))
    assert problem == ('line 1: virtual_addr addr: has still to be filled in: "IP_TO_BE_DEFINED" (edit the module)')


def test_an_element_below_one_that_has_none_is_told_of():
    _, notes = good(xml("<failover><rule/></failover>"))
    assert notes["<rule>"].text == "hcsidecar knows no <rule> in <failover>"


def test_the_report_speaks_of_the_start_at_boot_only_where_there_is_an_application():
    at_boot = "what starts the application at boot must not"
    assert at_boot in report_text(imported(xml(VIP)), module="web_farm")
    assert at_boot not in report_text(imported(xml(VIP), scripts={}), module="web_farm")
