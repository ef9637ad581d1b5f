"""What a node tells a monitoring system of itself, as plain data; `web.exposition` writes it as text.

Each section gives the families of one part with their values, in the order of the catalogue. A family without values is
left out, so a farm without virtual IPs has nothing of layer-2 mode, and an application without scripts no budget.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from hcsidecar.core import metric_catalogue as catalogue
from hcsidecar.core.application.states import Role, Status
from hcsidecar.core.membership.membership import Membership
from hcsidecar.core.metric_catalogue import Family, Metric, MetricValues
from hcsidecar.core.notify.documents import ReceiverStatus
from hcsidecar.core.status import ModuleState
from hcsidecar.core.targets.documents import TargetStatus
from hcsidecar.core.targets.registration import Presence
from l2mode.core.documents import LayerTwoReport
from l2mode.core.filter_kinds import FilterKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessFigures:
    """What the daemon takes of its machine."""

    started_at: float
    "Seconds since 1970."
    cpu_seconds: float
    resident_bytes: int | None
    "None where the system does not tell."
    longest_stall: float
    "Seconds."


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatFigures:
    """Datagrams since the start of the daemon."""

    sent: int
    received: int
    unsent: Mapping[str, int]
    "By the name of the kernel's error."
    dropped: Mapping[str, int]
    "By reason."


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsFigures:
    """The settings of a node that has a revision."""

    revision: int
    unapplied: int
    "Files."
    waiting: int
    "Keys."
    conflicts: int
    "Other nodes."
    blocked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JoiningFigures:
    """The tokens for new servers that a node has made."""

    waiting: int
    "Those that can be used."
    refused: Mapping[str, int]
    "Requests since the start of the daemon, by what was wrong with their token."


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the daemon knows of its node."""

    version: str
    process: ProcessFigures
    events: Mapping[str, int]
    "By level."
    module: ModuleState
    checks: Mapping[str, bool]
    "By name, those that have a result: True when it passes."
    ready: bool
    "The health URL answers 200."
    health_answers: Mapping[str, int]
    "By status code."
    refused_connections: Mapping[str, int]
    "By reason."
    membership: Membership
    powers: Mapping[str, int]
    "This node's, by share."
    share: Mapping[str, float]
    "Its part of each share, 0 to 1; empty without [l2]."
    heartbeats: HeartbeatFigures
    targets: Sequence[TargetStatus]
    receivers: Sequence[ReceiverStatus]
    settings: SettingsFigures | None
    "None without a revision."
    joining: JoiningFigures
    layer_two: LayerTwoReport | None
    "None without [l2]."


Section = Iterator[tuple[Metric, MetricValues]]


def metric_families(facts: Facts) -> tuple[Family, ...]:
    """Give all families that have a value. Every sample has the labels `farm` and `node`, of who tells it.

    They are needed where the samples of several nodes come together in one place, such as a directory of text files.
    """
    common = {"farm": facts.membership.farm, "node": facts.membership.name}
    sections = (
        _daemon(facts),
        _module(facts),
        _farm(facts),
        _heartbeats(facts.heartbeats),
        _targets(facts.targets),
        _receivers(facts.receivers),
        _settings(facts.settings),
        _joining(facts.joining),
        _layer_two(facts.layer_two),
    )
    return tuple(metric.family(values, common) for section in sections for metric, values in section if values)


def _daemon(facts: Facts) -> Section:
    process = facts.process
    yield catalogue.BUILD, {(facts.version,): 1}
    yield catalogue.START_TIME, _one(process.started_at)
    yield catalogue.CPU, _one(process.cpu_seconds)
    yield catalogue.MEMORY, _one(process.resident_bytes)
    yield catalogue.STALL, _one(process.longest_stall)
    yield catalogue.EVENTS, _each(facts.events)


def _module(facts: Facts) -> Section:
    module = facts.module
    yield catalogue.READY, _one(facts.ready)
    yield catalogue.ROLE, _which(Role, module.role)
    yield catalogue.STATUS, _which(Status, module.status)
    yield catalogue.DRAINING, _one(module.draining)
    used, most = module.restarts or (None, None)
    yield catalogue.RESTARTS_USED, _one(used)
    yield catalogue.RESTARTS_LIMIT, _one(most)
    yield catalogue.CHECK, _each(facts.checks)
    yield catalogue.HEALTH_ANSWERS, _each(facts.health_answers)
    yield catalogue.REFUSED_CONNECTIONS, _each(facts.refused_connections)


def _farm(facts: Facts) -> Section:
    membership = facts.membership
    peers = membership.peers.by_name
    yield catalogue.NODES, _one(len(peers) + 1)
    yield catalogue.NODES_HEARD, _one(len(membership.peers.acknowledged()) + 1)
    yield catalogue.PEER_HEARD, _each({name: peer.alive and peer.acknowledged for name, peer in peers.items()})
    yield catalogue.VIEW, _one(len(membership.view))
    yield catalogue.CLAIMED, _one(bool(membership.view) and membership.claimed)
    yield catalogue.POWER, _each(facts.powers)
    yield catalogue.SHARE, _each(facts.share)


def _heartbeats(figures: HeartbeatFigures) -> Section:
    yield catalogue.SENT, _one(figures.sent)
    yield catalogue.UNSENT, _each(figures.unsent)
    yield catalogue.RECEIVED, _one(figures.received)
    yield catalogue.DROPPED, _each(figures.dropped)


def _targets(targets: Sequence[TargetStatus]) -> Section:
    looked = [target for target in targets if target.observed is not None]
    ages = {target.name: target.last_success_age for target in targets}
    yield (
        catalogue.TARGET_PRESENCE,
        {(target.name, seen.value): float(target.observed == seen) for target in looked for seen in Presence},
    )
    yield catalogue.TARGET_AS_WISHED, _each({target.name: target.why_not_as_wished() is None for target in targets})
    yield catalogue.TARGET_CONTESTED, _each({target.name: target.contested for target in targets})
    yield catalogue.TARGET_AGE, _each({name: age for name, age in ages.items() if age is not None})
    yield catalogue.TARGET_CALLS, _pairs({target.name: target.calls for target in targets})
    yield catalogue.TARGET_FAILURES, _pairs({target.name: target.failures for target in targets})


def _receivers(receivers: Sequence[ReceiverStatus]) -> Section:
    ages = {each.name: each.last_sent_age for each in receivers}
    yield catalogue.NOTIFY_HELD, _each({each.name: each.held for each in receivers})
    yield catalogue.NOTIFY_SENT, _each({each.name: each.sent for each in receivers})
    yield catalogue.NOTIFY_FAILED, _each({each.name: each.failed for each in receivers})
    yield catalogue.NOTIFY_LOST, _each({each.name: each.thrown_away for each in receivers})
    yield catalogue.NOTIFY_AGE, _each({name: age for name, age in ages.items() if age is not None})


def _settings(figures: SettingsFigures | None) -> Section:
    if figures is None:
        return
    yield catalogue.SETTINGS_REVISION, _one(figures.revision)
    yield catalogue.SETTINGS_UNAPPLIED, _one(figures.unapplied)
    yield catalogue.SETTINGS_WAITING, _one(figures.waiting)
    yield catalogue.SETTINGS_CONFLICTS, _one(figures.conflicts)
    yield catalogue.SETTINGS_BLOCKED, _one(figures.blocked)


def _joining(figures: JoiningFigures) -> Section:
    yield catalogue.JOIN_TOKENS, _one(figures.waiting)
    yield catalogue.JOIN_REFUSED, _each(figures.refused)


def _layer_two(told: LayerTwoReport | None) -> Section:
    if told is None:
        return
    directed = told.delivery == "directed"
    yield catalogue.LEASE_OPEN, _one(told.lease_open)
    yield catalogue.DIRTY, _one(told.dirty)
    yield catalogue.BUCKETS, _pairs({each.name: {"mine": each.mine, "pending": each.pending} for each in told.shares})
    yield catalogue.DIRECTOR, _each({vip.address: vip.director == told.node for vip in told.vips} if directed else {})
    yield catalogue.FILTER, {(kind.value,): float(kind.value == told.filter.name) for kind in FilterKind}
    yield catalogue.FILTER_DEGRADED, _one(told.filter.degraded)
    yield catalogue.CUT_OFF, _one(None if directed else len(told.cut_off))
    yield catalogue.CONFLICTS, _one(len(told.conflicts))
    yield catalogue.PACKETS, {(packets.action, packets.name): packets.count for packets in told.packets}


def _one(value: float | None) -> MetricValues:
    return {} if value is None else {(): float(value)}


def _each(values: Mapping[str, float]) -> MetricValues:
    return {(name,): float(value) for name, value in values.items()}


def _pairs(values: Mapping[str, Mapping[str, float]]) -> MetricValues:
    return {(one, other): float(value) for one, others in values.items() for other, value in others.items()}


def _which(known: Iterable[StrEnum], current: str) -> MetricValues:
    """Give 1 for the state that is, and 0 for each other one: so a graph shows when it changed."""
    return {(state.value,): float(state.value == current) for state in known}
