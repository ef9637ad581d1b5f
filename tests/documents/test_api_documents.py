"""The documents of the API, to the byte: programs read them, and daemons and commands of other versions."""

from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from random import Random

import msgspec
import pytest
from small_farm import Farm

from hcsidecar.api.requests import document, not_yet, refused
from hcsidecar.core.documents import (
    CheckReport,
    ChecksReport,
    CheckState,
    CommandResult,
    Entry,
    EventPage,
    FarmStatus,
    NodeFacts,
    NodeSeries,
    Notice,
    Refusal,
    RestartBudgetReport,
    Run,
    RunOutput,
    Runs,
)
from hcsidecar.core.events import Level
from hcsidecar.core.l2_documents import CheckFinding, CheckLevel, LayerTwoCheck, VipAnswer, checked
from hcsidecar.core.metric_catalogue import BUILD, NODES, Family
from hcsidecar.core.notify.documents import NotificationsReport
from hcsidecar.core.notify.outbox import Outbox
from hcsidecar.core.status import ModuleState, status_document
from hcsidecar.core.targets.backoff import Backoff
from hcsidecar.core.targets.documents import TargetsReport
from hcsidecar.core.targets.reconcile import Reconciler
from hcsidecar.core.targets.registration import Call, Observation, Presence, Trouble
from l2mode.core.conflicts import Conflict
from l2mode.core.documents import ClientExplanation, LayerTwoReport
from l2mode.core.explain import Client, explain
from l2mode.core.filter_kinds import FilterKind
from l2mode.core.filters import FilterChoice, PassedOver
from l2mode.core.handover import Handover
from l2mode.core.heard_share import HeardShare
from l2mode.core.reasons import Reason
from l2mode.core.report import FilterReport, layer_two_document
from l2mode.core.settings import By, LayerTwoSettings, Protocol, ShareGroup

SAMPLES = Path(__file__).parent / "api_documents"


def golden(name):
    """Give the bytes that a document must have."""
    return (SAMPLES / f"{name}.json").read_bytes().removesuffix(b"\n")


def status():
    farm = Farm("web1", "web2", farm_names=("web1", "web2", "web3")).run(until=1)
    module = ModuleState(
        role="UP", status="Ready", draining=True, reason="drained by x", waits_for=("2 connections",), restarts=(1, 3)
    )
    return status_document(
        membership=farm.nodes["web1"].membership,
        module=module,
        addresses={"web1": "192.0.2.11", "web2": "192.0.2.12", "web3": "192.0.2.13"},
        file_powers=dict.fromkeys(("web1", "web2", "web3"), (2,)),
        shares=("WEB",),
        groups=("WEB",),
        fractions=lambda view, name: (1 / 3 if name in dict(view) else 0.0,),
        now=1.0,
    )


WEB = ShareGroup(name="WEB", protocol=Protocol.TCP, ports=(80, 443))
DNS = ShareGroup(name="DNS", protocol=Protocol.UDP, ports=(53,), by=By.DATAGRAM)
VIP = ip_address("192.0.2.50")
SETTINGS = LayerTwoSettings(
    farm="apache", me="web1", nodes=("web1", "web2"), vips=(VIP,), groups=(WEB, DNS), seed=bytes(16)
)


def handover():
    machine = Handover(name="web1", groups=2)
    machine.meet(
        [
            HeardShare(
                name="web2", mac=bytes.fromhex("020000000002"), dirty=True, dirty_buckets=b"", view=(), claimed=True
            )
        ]
    )
    machine.adopt((("web1", (1, 0)), ("web2", (1, 1))))
    machine.claim()
    machine.renew(10)
    return machine


def layer_two():
    passed_over = PassedOver(kind=FilterKind.TC, problem="it is refused", remedy="grant BPF")
    used = FilterReport(
        choice=FilterChoice(kind=FilterKind.NFQUEUE, why="it needs no BPF", passed_over=(passed_over,)),
        warnings=("another program runs first",),
        interface="eth0",
        mac=bytes.fromhex("020000000001"),
        packets={Reason.NEW: 2, Reason.NOT_MINE: 5},
    )
    return layer_two_document(
        handover(),
        SETTINGS,
        used,
        virtual_mac=None,
        cut_off={"web2"},
        lasting={Reason.NOT_MINE},
        conflicts=(Conflict(vip=VIP, mac=bytes.fromhex("0600000000ba")),),
        now=1,
    )


def layer_two_check():
    findings = [CheckFinding(level=CheckLevel.WARNING, message="rp_filter = 1", remedy="sysctl -w x=2")]
    answers = {"192.0.2.50": [VipAnswer(mac="02:00:00:00:00:02", source_mac="02:00:00:00:00:02")]}
    return checked(layer_two(), findings=findings, answers=answers)


def explanation():
    return explain(handover(), SETTINGS, Client(address=ip_address("203.0.113.7"), port=4711, vip=VIP), now=1)


def targets():
    def loop(name):
        return Reconciler(name=name, kind="haproxy", policy="member", backoff=Backoff(), chance=Random(1), now=0.0)

    fresh, seen = loop("front"), loop("back")
    seen.observed(Observation(presence=Presence.UNHEALTHY, reason="L4CON", former=("192.0.2.7:80",)), now=20.0)
    seen.failed(Call.OBSERVE, Trouble.AUTH, "no rights", now=30.0)
    return TargetsReport(node="web1", targets=tuple(each.status(now=31.25) for each in (fresh, seen)))


def notifications():
    box = Outbox(receiver="chat", kind="webhook", me="web1", life=1, group=60, lost_after=0.5)
    box.see_others(["web2"], now=0)
    box.add(level=Level.ERROR, node="web1", text="reports: the disk is full", time=1795395612.345, now=0)
    assert box.due(now=60) is not None
    box.failed("connection refused", now=61)
    return NotificationsReport(node="web1", receivers=(box.status(now=63.25),))


def metrics():
    common = {"farm": "apache", "node": "web1"}
    return (BUILD.family({("1.2.3",): 1}, common), NODES.family({(): 3.0}, common))


ENTRY = Entry(
    number=7, time=1795395612.345, node="web1", level=Level.INFO, origin="membership", message="web2 is heard"
)
RUN = "20261128T034001.123Z_start"

DOCUMENTS = {
    "status": (FarmStatus, status),
    "layer_two": (LayerTwoReport, layer_two),
    "check": (LayerTwoCheck, layer_two_check),
    "explain": (ClientExplanation, explanation),
    "targets": (TargetsReport, targets),
    "notifications": (NotificationsReport, notifications),
    "metrics": (tuple[Family, ...], metrics),
    "events": (EventPage, lambda: EventPage(node="web1", missed=0, next=7, events=(ENTRY,))),
    "notice": (Notice, lambda: Notice(node="web1", notice="2 events are missing here", missed=2)),
    "runs": (
        Runs,
        lambda: Runs(node="web1", runs=(Run(name=RUN, script="start", started=1795837201.123, size=9),)),
    ),
    "output": (RunOutput, lambda: RunOutput(node="web1", name=RUN, text="starting\n", next="1179-9")),
    "budget": (RestartBudgetReport, lambda: RestartBudgetReport(used=1, most=3, reached=False)),
    "report": (CheckReport, lambda: CheckReport(name="QUEUE", value="down")),
    "result": (CommandResult, lambda: CommandResult(ok=True, text="the application stops")),
    "checks": (
        ChecksReport,
        lambda: ChecksReport(
            node="web1", checks=(CheckState(name="QUEUE", value="down", action="restart", complaint="no worker"),)
        ),
    ),
    "facts": (
        NodeFacts,
        lambda: NodeFacts(
            farm="apache", node="web1", version="1.0", nodes=("web1", "web2"), keep_ready=1, lame_duck=10.0
        ),
    ),
    "series": (
        NodeSeries,
        lambda: NodeSeries(
            node="web1",
            interval=10.0,
            ends_at=1795395612.345,
            ready=(0, None, 1),
            health=(None, None, 0.5),
            connections=(None, None, 12.25),
            share={"WEB": (0.0, None, 33.33)},
        ),
    ),
    "refusal": (Refusal, lambda: Refusal(reason="no run")),
}
"The type of each, and one as the daemon makes it."


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_the_same_to_the_byte(name):
    _, made = DOCUMENTS[name]
    assert document(made()).body == golden(name)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_read_by_the_type_that_made_it(name):
    kind, made = DOCUMENTS[name]
    assert msgspec.json.decode(golden(name), type=kind) == made()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_a_newer_version_adds_to_a_document_is_passed_over(name):
    kind, made = DOCUMENTS[name]
    newer = msgspec.json.encode(with_more(msgspec.json.decode(golden(name))))
    assert msgspec.json.decode(newer, type=kind) == made()


def with_more(told, *, by_name=False):
    """Add a key to each object of a document, but to those whose keys are names."""
    match told:
        case list():
            return [with_more(each) for each in told]
        case dict():
            more = {} if by_name else {"weather": "fine"}
            return more | {key: with_more(value, by_name=key in BY_NAME) for key, value in told.items()}
    return told


BY_NAME = {"share", "powers", "file_powers", "macs", "answers", "calls", "failures", "labels"}
"Keys of a document whose object is by name of whom or what it is about."


LATER = {
    "status": {"parting", "restarts", "share", "powers", "file_powers"},
    "layer_two": {"dirty_members", "degraded", "fall_back", "remedy", "passed_over", "persists", "odd", "conflicts"},
    "targets": {"calls", "failures", "contested", "leaving", "former"},
    "events": {"previous", "lacking"},
    "output": {"missed", "more"},
    "series": {"connections", "share"},
    "result": {"warnings"},
}
"Keys that came later than others, or that are told only now and then."


@pytest.mark.parametrize("name", LATER)
def test_what_an_older_version_does_not_say_has_a_default(name):
    kind, made = DOCUMENTS[name]
    older = msgspec.json.encode(without(msgspec.json.decode(golden(name)), LATER[name]))
    told = msgspec.json.decode(older, type=kind)
    assert without(told, LATER[name]) == without(made(), LATER[name])


def without(told, keys):
    """Leave keys out of all objects of a document."""
    match told:
        case list() | tuple():
            return [without(each, keys) for each in told]
        case dict():
            return {key: without(value, keys) for key, value in told.items() if key not in keys}
        case msgspec.Struct():
            return without(msgspec.structs.asdict(told), keys)
    return told


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_schema_of_a_document_has_the_keys_of_a_real_one(name):
    kind, _ = DOCUMENTS[name]
    (schema,), components = msgspec.json.schema_components([kind])
    assert list(why_not_described(msgspec.json.decode(golden(name)), schema, components)) == []


def why_not_described(told, schema, components, place="$"):
    """Say what of a document its schema does not describe, or lacks in it."""
    alternatives = [resolved(each, components) for each in schema.get("anyOf", [schema])]
    match told:
        case dict():
            [described] = [each for each in alternatives if each["type"] == "object"]
            properties = described.get("properties", {})
            others = described.get("additionalProperties")
            yield from (f"{place}.{key} is missing" for key in set(described.get("required", ())) - set(told))
            for key, value in told.items():
                if key not in properties and not others:
                    yield f"{place}.{key} is not described"
                else:
                    yield from why_not_described(value, properties.get(key, others), components, f"{place}.{key}")
        case list():
            [described] = [each for each in alternatives if each["type"] == "array"]
            for number, value in enumerate(told):
                yield from why_not_described(value, described["items"], components, f"{place}[{number}]")
        case _:
            kinds = {bool: {"boolean"}, int: {"integer", "number"}, float: {"number"}, type(None): {"null"}}
            allowed = kinds.get(type(told), {"string"})
            if not any(each.get("type") in allowed or told in each.get("enum", ()) for each in alternatives):
                yield f"{place} may not be {told!r}"


def resolved(schema, components):
    """Follow a reference."""
    return components[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def test_every_type_of_a_document_has_a_name_of_its_own_in_the_schema():
    _, components = msgspec.json.schema_components([kind for kind, _ in DOCUMENTS.values()])
    # Where two types have one name, a schema calls both by module and name.
    assert [name for name in components if not name.isalnum()] == []
    assert [name for name, schema in components.items() if not schema.get("description")] == []


def test_a_refusal_says_no_more_than_is_to_be_said():
    assert refused(HTTPStatus.NOT_FOUND, "no run").body == b'{"reason":"no run"}'
    assert not_yet("no address").body == b'{"reason":"no address","starting":true}'
