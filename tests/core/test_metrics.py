"""What a node tells a monitoring system: every family, its values, and the manual's list of them."""

import re
from ipaddress import ip_address
from pathlib import Path

import msgspec
import pytest

from hcsidecar.core.membership.heartbeat import Heartbeat
from hcsidecar.core.membership.membership import Membership
from hcsidecar.core.membership.timing import Timing
from hcsidecar.core.metric_catalogue import CATALOGUE, Family, MetricKind
from hcsidecar.core.metrics import (
    Facts,
    HeartbeatFigures,
    JoiningFigures,
    ProcessFigures,
    SettingsFigures,
    metric_families,
)
from hcsidecar.core.notify.documents import ReceiverStatus
from hcsidecar.core.status import ModuleState
from hcsidecar.core.targets.documents import TargetFailure, TargetStatus
from l2mode.core.conflicts import Conflict
from l2mode.core.filter_kinds import FilterKind
from l2mode.core.filters import FilterChoice, PassedOver
from l2mode.core.handover import Handover
from l2mode.core.reasons import Reason
from l2mode.core.report import FilterReport, layer_two_document
from l2mode.core.settings import By, LayerTwoSettings, Protocol, ShareGroup
from l2mode.core.verdict import Delivery

MANUAL = Path(__file__).parents[2] / "docs" / "manual"


def membership():
    """Give web1 of three nodes, which hears web2 and is in no view."""
    machine = Membership(
        name="web1",
        boot=1,
        farm="apache",
        nodes=("web1", "web2", "web3"),
        timing=Timing(pulse=0.05, lost_after=0.5),
        settings_digest=b"",
        powers=(3,),
        now=0,
    )
    machine.compose(now=0.0)
    heard = {"heard_boots": (("web1", 1),), "heard_seqs": (1,)}
    machine.receive(Heartbeat(farm="apache", node="web2", boot=1, seq=1, **heard), now=0.1)
    return machine


TC = FilterChoice(kind=FilterKind.TC, why="eth0 is a veth")


def layer_two(delivery=Delivery.DIRECTED, *, cut_off=(), conflicts=(), choice=TC):
    """Give the document of web1, which is alone and has claimed all of WEB."""
    web = ShareGroup(name="WEB", protocol=Protocol.TCP, ports=(80,), by=By.ADDRESS)
    settings = LayerTwoSettings(
        farm="apache",
        me="web1",
        nodes=("web1", "web2"),
        vips=(ip_address("192.0.2.50"),),
        groups=(web,),
        seed=bytes(16),
        delivery=delivery,
    )
    machine = Handover(name="web1", groups=1)
    machine.adopt((("web1", (1,)),))
    machine.claim()
    machine.renew(10)
    used = FilterReport(
        choice=choice,
        warnings=(),
        interface="eth0",
        mac=bytes.fromhex("020000000001"),
        packets={Reason.NEW: 2, Reason.NOT_MINE: 5},
    )
    virtual = bytes.fromhex("020000000050") if delivery is Delivery.FLOODED else None
    odd = {"cut_off": cut_off, "lasting": (), "conflicts": conflicts}
    return layer_two_document(machine, settings, used, virtual_mac=virtual, **odd, now=1)


def target(**changes):
    """Give what a node says of a target that has been looked at and answers."""
    usual = {
        "name": "blue",
        "type": "aws",
        "policy": "member",
        "desired": "registered",
        "why": "this node is in the view",
        "observed": "healthy",
        "last_success_age": 12.5,
        "calls": {"observe": 7, "register": 1},
        "failures": {"throttle": 2},
    }
    return TargetStatus(**{**usual, **changes})


def facts(**changes):
    usual = {
        "version": "1.2.3",
        "process": ProcessFigures(started_at=1e9, cpu_seconds=1.5, resident_bytes=60_000_000, longest_stall=0.25),
        "events": {"info": 4, "error": 1},
        "module": ModuleState(role="UP", status="Ready", draining=False, reason="", waits_for=(), restarts=(1, 3)),
        "checks": {"APACHE": True, "DISK": False},
        "ready": True,
        "health_answers": {"200": 10, "404": 2},
        "refused_connections": {"crowded out": 7},
        "membership": membership(),
        "powers": {"WEB": 3},
        "share": {"WEB": 0.75},
        "heartbeats": HeartbeatFigures(sent=9, received=8, unsent={"ENETUNREACH": 6}, dropped={"bad seal": 5}),
        "targets": [target()],
        "receivers": [
            ReceiverStatus(
                name="chat", type="webhook", sends=True, held=2, sent=7, failed=3, thrown_away=1, last_sent_age=4.5
            )
        ],
        "settings": SettingsFigures(revision=8, unapplied=2, waiting=1, conflicts=3, blocked=True),
        "joining": JoiningFigures(waiting=2, refused={"wrong token": 4, "late token": 0}),
        "layer_two": layer_two(),
    }
    return Facts(**{**usual, **changes})


def told(**changes):
    """Give all samples, by name of the family and values of its own labels."""
    return {
        (family.name.removeprefix("hcsidecar_"), *list(sample.labels.values())[2:]): sample.value
        for family in metric_families(facts(**changes))
        for sample in family.samples
    }


def test_every_sample_says_who_tells_it_and_has_the_labels_of_the_catalogue():
    by_name = {metric.name: metric for metric in CATALOGUE}
    for family in metric_families(facts()):
        assert family.samples
        for sample in family.samples:
            assert tuple(sample.labels) == ("farm", "node", *by_name[family.name].labels)
            assert (sample.labels["farm"], sample.labels["node"]) == ("apache", "web1")


def test_both_deliveries_together_tell_every_family_in_the_order_of_the_catalogue():
    directed = [family.name for family in metric_families(facts())]
    flooded = [family.name for family in metric_families(facts(layer_two=layer_two(Delivery.FLOODED)))]
    names = [metric.name for metric in CATALOGUE]
    assert directed == [name for name in names if name != "hcsidecar_cut_off_nodes"]
    assert flooded == [name for name in names if name != "hcsidecar_director"]


def test_names_follow_the_conventions():
    assert len({metric.name for metric in CATALOGUE}) == len(CATALOGUE)
    for metric in CATALOGUE:
        assert re.fullmatch(r"hcsidecar_[a-z]+(_[a-z]+)*", metric.name)
        assert metric.name.endswith("_total") == (metric.kind is MetricKind.COUNTER)
        assert metric.name.endswith("_info") == (metric.kind is MetricKind.INFO)
        assert metric.help.endswith(".")
        # Those of every sample, and those that Prometheus itself gives.
        assert not {"farm", "node", "instance", "job", "le", "quantile"} & set(metric.labels)


@pytest.mark.parametrize(
    ("sample", "value"),
    [
        (("build_info", "1.2.3"), 1),
        (("process_start_time_seconds",), 1e9),
        (("process_cpu_seconds_total",), 1.5),
        (("process_resident_memory_bytes",), 6e7),
        (("longest_stall_seconds",), 0.25),
        (("events_total", "error"), 1),
        (("ready",), 1),
        (("module_role", "UP"), 1),
        (("module_role", "WAIT"), 0),
        (("module_status", "Ready"), 1),
        (("module_status", "Transient"), 0),
        (("draining",), 0),
        (("restart_budget_used",), 1),
        (("restart_budget_limit",), 3),
        (("check_passing", "APACHE"), 1),
        (("check_passing", "DISK"), 0),
        (("health_answers_total", "404"), 2),
        (("refused_connections_total", "crowded out"), 7),
        (("farm_nodes",), 3),
        (("nodes_heard",), 2),
        (("peer_heard", "web2"), 1),
        (("peer_heard", "web3"), 0),
        (("view_members",), 0),
        (("claimed",), 0),
        (("power", "WEB"), 3),
        (("share_ratio", "WEB"), 0.75),
        (("heartbeats_sent_total",), 9),
        (("heartbeats_unsent_total", "ENETUNREACH"), 6),
        (("heartbeats_received_total",), 8),
        (("heartbeats_dropped_total", "bad seal"), 5),
        (("target_presence", "blue", "healthy"), 1),
        (("target_presence", "blue", "draining"), 0),
        (("target_as_wished", "blue"), 1),
        (("target_contested", "blue"), 0),
        (("target_last_success_age_seconds", "blue"), 12.5),
        (("target_calls_total", "blue", "observe"), 7),
        (("target_failures_total", "blue", "throttle"), 2),
        (("notifications_held", "chat"), 2),
        (("notifications_sent_total", "chat"), 7),
        (("notifications_failed_total", "chat"), 3),
        (("notifications_thrown_away_total", "chat"), 1),
        (("notifications_last_success_age_seconds", "chat"), 4.5),
        (("settings_revision",), 8),
        (("settings_unapplied_files",), 2),
        (("settings_waiting",), 1),
        (("settings_conflicts",), 3),
        (("settings_blocked",), 1),
        (("join_tokens",), 2),
        (("join_refused_total", "wrong token"), 4),
        (("join_refused_total", "late token"), 0),
        (("lease_open",), 1),
        (("dirty",), 1),
        (("buckets", "WEB", "mine"), 4096),
        (("buckets", "WEB", "pending"), 0),
        (("director", "192.0.2.50"), 1),
        (("packets_total", "take", "new"), 2),
        (("packets_total", "drop", "not_mine"), 5),
    ],
)
def test_each_figure_is_where_it_belongs(sample, value):
    assert told()[sample] == value


def test_a_target_that_was_never_reached_is_not_as_wished_and_has_no_age():
    error = TargetFailure(trouble="auth", text="no credentials", age=3.0)
    samples = told(targets=[target(observed=None, last_success_age=None, error=error), target(name="green")])
    assert (samples["target_as_wished", "blue"], samples["target_as_wished", "green"]) == (0, 1)
    assert ("target_presence", "blue", "absent") not in samples
    assert ("target_last_success_age_seconds", "blue") not in samples


def test_a_target_that_others_keep_undoing_is_told():
    samples = told(targets=[target(contested=True, observed="absent")])
    assert (samples["target_contested", "blue"], samples["target_as_wished", "blue"]) == (1, 0)


def test_the_filter_in_use_is_told_and_whether_it_is_the_last_resort():
    samples = told()
    assert {name[1]: value for name, value in samples.items() if name[0] == "filter"} == {
        "xdp": 0,
        "xdp generic": 0,
        "tc": 1,
        "nfqueue": 0,
    }
    assert samples["filter_degraded",] == 0
    refused = PassedOver(kind=FilterKind.TC, problem="it is refused", remedy="grant BPF")
    samples = told(layer_two=layer_two(choice=FilterChoice(kind=FilterKind.NFQUEUE, why="", passed_over=(refused,))))
    assert (samples["filter", "nfqueue"], samples["filter_degraded",]) == (1, 1)


def test_in_flooded_delivery_nobody_is_director_and_whom_the_switch_forgets_counts():
    samples = told(layer_two=layer_two(Delivery.FLOODED, cut_off=("web2",)))
    assert samples["cut_off_nodes",] == 1
    assert not any(name == "director" for name, *_ in samples)


def test_virtual_ips_that_others_use_are_counted():
    assert told()["vip_conflicts",] == 0
    conflict = Conflict(vip=ip_address("192.0.2.50"), mac=bytes.fromhex("060000000001"))
    assert told(layer_two=layer_two(conflicts=(conflict,)))["vip_conflicts",] == 1


def test_a_node_that_drains_is_not_ready_and_says_why_not():
    module = ModuleState(role="UP", status="Ready", draining=True, reason="drained", waits_for=())
    samples = told(module=module, ready=False)
    assert (samples["ready",], samples["draining",]) == (0, 1)


def test_what_there_is_not_is_absent():
    module = ModuleState(role="STOP", status="NotReady", draining=False, reason="", waits_for=())
    process = ProcessFigures(started_at=1e9, cpu_seconds=1.5, resident_bytes=None, longest_stall=0.0)
    nothing = {"checks": {}, "share": {}, "targets": [], "receivers": [], "settings": None, "layer_two": None}
    names = {name for name, *_ in told(module=module, process=process, **nothing)}
    absent = {"check_passing", "restart_budget_used", "restart_budget_limit", "process_resident_memory_bytes"}
    absent |= {
        "filter",
        "filter_degraded",
        "share_ratio",
        "lease_open",
        "dirty",
        "buckets",
        "director",
        "packets_total",
        "cut_off_nodes",
        "vip_conflicts",
    }
    assert not names & absent
    assert not [name for name in names if name.startswith(("notifications", "settings"))]
    assert {"ready", "module_role", "farm_nodes", "power"} <= names


def test_it_survives_the_way_through_json():
    families = metric_families(facts())
    assert msgspec.json.decode(msgspec.json.encode(families), type=tuple[Family, ...]) == families


def test_the_manual_lists_every_family_with_kind_labels_and_meaning():
    page = (MANUAL / "metrics.md").read_text()
    shown = re.findall(r"^\| `(hcsidecar_\w+)` \| (\w+) \| (.*?) ?\| (.*) \|$", page, re.MULTILINE)
    assert shown == [
        (metric.name, metric.kind.value, ", ".join(f"`{label}`" for label in metric.labels), metric.help)
        for metric in CATALOGUE
    ]


def test_the_manual_names_no_family_that_there_is_not():
    page = (MANUAL / "metrics.md").read_text()
    named = set(re.findall(r"\bhcsidecar_\w+", page))
    assert named - {metric.name for metric in CATALOGUE} == set()
