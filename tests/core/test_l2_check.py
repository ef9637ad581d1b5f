"""What is made of what the nodes say in `hcsidecar l2-check`: table by table, one thing wrong at a time."""

import msgspec
import pytest

from hcsidecar.core.l2_check import judge
from hcsidecar.core.l2_documents import CheckFinding, CheckLevel, LayerTwoCheck, VipAnswer, checked
from l2mode.core.documents import LayerTwoReport

MACS = {f"web{number}": f"02:00:00:00:00:0{number}" for number in (1, 2, 3)}
VIRTUAL = "0a:11:22:33:44:55"
VIP = "192.0.2.50"
SHARES = {"web1": 1400, "web2": 1300, "web3": 1396}


def heard(name, mac=None):
    return {"mac": mac or MACS[name], "source_mac": MACS[name]}


def directed(name, **changes):
    """Give what a node of a sound farm says whose director is web1."""
    document = {
        "farm": "apache",
        "node": name,
        "view": ["web1", "web2", "web3"],
        "filter": {"name": "tc", "why": "eth0 is a veth", "warnings": []},
        "interface": "eth0",
        "macs": MACS,
        "delivery": "directed",
        "lease_open": True,
        "vips": [{"address": VIP, "director": "web1", "mac": MACS["web1"]}],
        "shares": [{"name": "WEB", "mine": SHARES[name], "pending": 0}],
        "packets": [
            {
                "name": "not_mine",
                "action": "drop",
                "text": "the bucket is not mine",
                "count": 3,
                "odd": True,
                "persists": False,
            }
        ],
        "findings": [{"level": "ok", "message": f"{VIP} is on lo", "remedy": ""}],
        "answers": {VIP: [] if name == "web1" else [heard("web1")]},
    }
    return {**document, **changes}


def flooded(name, **changes):
    """Give what a node of a sound farm says where everybody answers."""
    others = [heard(other, VIRTUAL) for other in MACS if other != name]
    vips = [{"address": VIP, "director": None, "mac": VIRTUAL}]
    return directed(name, **{"delivery": "flooded", "vips": vips, "answers": {VIP: others}, **changes})


def lines_of(document, silent=(), **changed):
    """Judge a sound farm in which some nodes say something else; give the lines that are not ok."""
    nodes = {name: document(name, **changed.get(name, {})) for name in MACS if name not in silent}
    checks = {name: msgspec.convert(said, LayerTwoCheck) for name, said in nodes.items()}
    return [line for line in judge(checks, dict.fromkeys(silent, "no answer")) if line.level is not CheckLevel.OK]


@pytest.mark.parametrize("document", [directed, flooded])
def test_a_sound_farm_has_nothing_but_ok(document):
    assert lines_of(document) == []


def test_what_is_right_is_told_too():
    checks = {name: msgspec.convert(directed(name), LayerTwoCheck) for name in MACS}
    told = [line.text for line in judge(checks, {})]
    assert "web1: the filter is tc on eth0, directed delivery: eth0 is a veth" in told
    assert f"web2: {VIP} is on lo" in told
    assert f"{VIP}: answered by web1 to web2; web1 to web3, and by nobody else" in told
    assert "WEB: every one of the 4096 buckets has its taker: web1 1400, web2 1300, web3 1396" in told


@pytest.mark.parametrize(
    ("changed", "level", "text"),
    [
        (
            {"findings": [{"level": "problem", "message": "lo is down", "remedy": "ip link set lo up"}]},
            "problem",
            "web2: lo is down",
        ),
        (
            {"filter": {"name": "tc", "why": "", "warnings": ["tc filter x runs before"]}},
            "warning",
            "web2: tc filter x runs before",
        ),
        (
            {
                "packets": [
                    {
                        "name": "no_mac",
                        "action": "drop",
                        "text": "the MAC is not known yet",
                        "count": 9,
                        "odd": True,
                        "persists": True,
                    }
                ]
            },
            "warning",
            "web2 drops packets again and again, 9 by now: the MAC is not known yet",
        ),
        (
            {"answers": {VIP: [{"mac": "02:00:00:00:00:99", "source_mac": "02:00:00:00:00:99"}, heard("web1")]}},
            "problem",
            f"{VIP}: the machine 02:00:00:00:00:99, which is no node, tells web2 that it has the address",
        ),
        (
            {"answers": {VIP: [{"mac": MACS["web1"], "source_mac": "02:00:00:00:00:99"}, heard("web1")]}},
            "problem",
            f"{VIP}: the machine 02:00:00:00:00:99, which is no node, tells web2 that it has the address",
        ),
        (
            {"answers": {VIP: [heard("web1"), heard("web3")]}},
            "problem",
            f"{VIP}: web3 tells web2 that it is at {MACS['web3']}, but it is at {MACS['web1']}",
        ),
        ({"answers": {VIP: []}}, "problem", f"{VIP}: nobody answers when web2 asks, but web1 should"),
        (
            {"shares": [{"name": "WEB", "mine": 1200, "pending": 100}]},
            "problem",
            "WEB: 100 buckets have no taker: web1 1400, web2 1200, web3 1396",
        ),
        (
            {"shares": [{"name": "WEB", "mine": 1310, "pending": 0}]},
            "problem",
            "WEB: 10 buckets are taken twice: web1 1400, web2 1310, web3 1396",
        ),
    ],
)
def test_one_thing_that_is_wrong_is_one_line_with_a_remedy(changed, level, text):
    [line] = lines_of(directed, web2=changed)
    assert (line.level, line.text) == (level, text)
    assert line.remedy


def test_a_virtual_ip_that_another_machine_uses_is_a_problem_with_a_remedy():
    text = f"{VIP} is also claimed by 06:00:00:00:ba:d0: another machine or another farm uses this address"
    (line,) = lines_of(directed, web2={"conflicts": [{"vip": VIP, "mac": "06:00:00:00:ba:d0", "text": text}]})
    assert (line.level, line.text) == (CheckLevel.PROBLEM, f"web2: {text}")
    assert line.remedy.startswith("find it by its MAC at the switch")


def test_a_packet_that_went_astray_once_is_no_news():
    packets = [
        {
            "name": "not_mine",
            "action": "drop",
            "text": "the bucket is not mine",
            "count": 3,
            "odd": True,
            "persists": False,
        }
    ]
    assert lines_of(directed, web2={"packets": packets}) == []


def test_a_lease_that_is_over_leaves_its_buckets_without_a_taker():
    told = [(line.level, line.text) for line in lines_of(directed, web3={"lease_open": False})]
    assert told == [
        ("problem", "web3: the lease is over, so its filter takes nothing"),
        ("problem", "WEB: 1396 buckets have no taker: web1 1400, web2 1300"),
    ]


def test_a_node_that_was_stopped_is_a_warning_and_no_problem():
    pair = {"view": ["web1", "web2"]}
    stopped = {
        "view": [],
        "lease_open": False,
        "vips": [{"address": VIP, "director": None, "mac": None}],
        "shares": [{"name": "WEB", "mine": 0, "pending": 0}],
    }
    more = {"shares": [{"name": "WEB", "mine": 2796, "pending": 0}]}
    [line] = lines_of(directed, web1=pair | more, web2=pair, web3=stopped)
    assert (line.level, line.text) == ("warning", "web3 is in no view and takes nothing")


def test_a_split_farm_is_told_with_its_views():
    alone = {
        "view": ["web3"],
        "vips": [{"address": VIP, "director": "web3", "mac": MACS["web3"]}],
        "answers": {VIP: []},
    }
    pair = {"view": ["web1", "web2"]}
    told = [line.text for line in lines_of(directed, web1=pair, web2=pair, web3=alone)]
    assert told == ["there are 2 views: web1, web2; web3"]


def test_nodes_with_different_farm_files_are_told():
    [line] = [line for line in lines_of(directed, web3={"delivery": "flooded"}) if "differ" in line.text]
    assert line.text == "the nodes differ in their delivery: web1 directed, web2 directed, web3 flooded"


def test_who_is_silent_is_told_and_its_buckets_are_not_called_nobodys():
    [line] = lines_of(directed, silent=["web3"])
    assert (line.level, line.text) == ("problem", "web3 could not be asked: no answer")


def test_nobody_to_ask_leaves_only_why():
    told = lines_of(directed, silent=list(MACS))
    assert [line.text for line in told] == [f"{name} could not be asked: no answer" for name in MACS]


def test_a_single_member_cannot_be_heard_by_another():
    alone = {"view": ["web1"], "shares": [{"name": "WEB", "mine": 4096, "pending": 0}]}
    checks = {"web1": msgspec.convert(directed("web1", **alone), LayerTwoCheck)}
    told = [line.text for line in judge(checks, {}) if line.level is not CheckLevel.OK]
    assert told == [f"{VIP}: there is no other member that could ask who answers"]


def test_a_vip_that_could_not_be_asked_for_is_not_called_unanswered():
    unasked = {"level": "problem", "message": f"the network cannot be asked for {VIP}", "remedy": "run as root"}
    [line] = lines_of(directed, web2={"answers": {}, "findings": [unasked]})
    assert line.text == f"web2: the network cannot be asked for {VIP}"


def test_in_flooded_delivery_everybody_must_answer():
    answers = {VIP: [heard("web1", VIRTUAL)]}
    [line] = lines_of(flooded, web2={"answers": answers})
    assert (line.level, line.text) == ("warning", f"{VIP}: when web2 asks, web3 should answer too")


def test_in_flooded_delivery_a_node_that_the_switch_cuts_off_is_told_once():
    blind = {"cut_off": ["web3"]}
    [line] = lines_of(flooded, web1=blind, web2=blind)
    assert line.level == "problem"
    assert line.text.startswith("web3 sees under half of the packets that the others see")


def test_what_most_nodes_do_not_say_of_a_node_is_no_verdict_and_never_are_two_nodes_both_blind():
    assert lines_of(flooded, web1={"cut_off": ["web3"]}) == []
    assert lines_of(flooded, ["web3"], web1={"cut_off": ["web2"]}, web2={"cut_off": ["web1"]})[1:] == []


@pytest.mark.parametrize(("degraded", "levels"), [(True, [CheckLevel.WARNING]), (False, [])])
def test_a_filter_in_place_of_a_better_one_is_told_and_is_a_warning_when_it_is_the_last_resort(degraded, levels):
    used = {"name": "nfqueue", "why": "it needs no BPF", "degraded": degraded}
    used |= {"fall_back": "the filter is nfqueue in place of tc (refused)", "remedy": "grant BPF"}
    checks = {"web1": msgspec.convert(directed("web1", filter=used), LayerTwoCheck)}
    [line] = [line for line in judge(checks, {"web2": "off", "web3": "off"}) if "in place of" in line.text]
    assert (line.text, line.remedy) == ("web1: the filter is nfqueue in place of tc (refused)", "grant BPF")
    assert [line.level for line in [line] if line.level is not CheckLevel.OK] == levels


def test_a_node_that_looks_at_its_machine_says_the_same_as_in_its_report_and_more():
    report = msgspec.convert(directed("web2"), LayerTwoReport)
    finding = CheckFinding(level=CheckLevel.PROBLEM, message="rp_filter is on")
    answer = VipAnswer(mac=MACS["web1"], source_mac=MACS["web1"])
    told = checked(report, findings=[finding], answers={VIP: [answer]})
    assert (told.findings, told.answers) == ((finding,), {VIP: (answer,)})
    assert msgspec.convert(msgspec.to_builtins(told), LayerTwoReport) == report
