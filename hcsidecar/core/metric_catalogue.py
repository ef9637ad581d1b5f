"""Every family of metrics that this version knows: name, kind, labels and what it says in plain words.

Names follow the conventions of Prometheus: base units, `_total` for what only grows, `_ratio` for parts of one, 1 and 0
for yes and no. Labels take few values: names of the farm file and words of ours, never an address of a client. A new
family is a row here, a line in a function of `metrics`, and a line in docs/manual/metrics.md, which a test compares.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

PREFIX: Final = "hcsidecar_"


class MetricKind(StrEnum):
    """How the value of a family moves."""

    GAUGE = "gauge"
    COUNTER = "counter"
    "Only grows; begins anew with the daemon, or with what is counted."
    INFO = "info"
    "Always 1; what it says is in its labels."


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One value of a family."""

    labels: dict[str, str]
    value: float


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """A family with its values, as plain data: what `GET /api/v1/metrics` gives and what is rendered as text."""

    name: str
    kind: MetricKind
    help: str
    samples: tuple[Sample, ...]


MetricValues = Mapping[tuple[str, ...], float]
"Values by those of the labels, in the order of the catalogue; () is the key where there are no labels."


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A row of the catalogue."""

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()

    def family(self, values: MetricValues, common: Mapping[str, str]) -> Family:
        """Make the family with these values; `common` labels come before its own. ValueError for a label too many."""
        samples = tuple(
            Sample(labels={**common, **dict(zip(self.labels, key, strict=True))}, value=value)
            for key, value in values.items()
        )
        return Family(name=self.name, kind=self.kind, help=self.help, samples=samples)


CATALOGUE: Final[list[Metric]] = []
"All of them, in the order in which they are told."


def _listed(kind: MetricKind, name: str, text: str, *labels: str) -> Metric:
    metric = Metric(name=PREFIX + name, kind=kind, help=text, labels=labels)
    CATALOGUE.append(metric)
    return metric


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return _listed(MetricKind.GAUGE, name, text, *labels)


def _counter(name: str, text: str, *labels: str) -> Metric:
    return _listed(MetricKind.COUNTER, name, text, *labels)


# The daemon itself
BUILD = _listed(MetricKind.INFO, "build_info", "Version of hcsidecar that runs.", "version")
START_TIME = _gauge("process_start_time_seconds", "When the daemon started, in seconds since 1970.")
CPU = _counter("process_cpu_seconds_total", "Processor time that the daemon has taken, in seconds.")
MEMORY = _gauge("process_resident_memory_bytes", "Memory that the daemon has, in bytes.")
STALL = _gauge(
    "longest_stall_seconds", "How late the daemon's timer came at the worst since its start: a busy or paused machine."
)
EVENTS = _counter("events_total", "Events written into the log, by level.", "level")

# The module, its checks, and who asks for it
READY = _gauge("ready", "1 while the health URL answers 200, 0 while it answers 404.")
ROLE = _gauge("module_role", "1 for the role that the application has.", "role")
STATUS = _gauge("module_status", "1 for the status that the application has in its role.", "status")
DRAINING = _gauge("draining", "1 while the application serves on but asks for no new traffic.")
RESTARTS_USED = _gauge("restart_budget_used", "Failures that count on the restart budget now.")
RESTARTS_LIMIT = _gauge(
    "restart_budget_limit", "Failures that the restart budget allows; one more stops the application."
)
CHECK = _gauge(
    "check_passing", "1 while a check passes, 0 while it fails; absent while it is not made or has no result.", "check"
)
HEALTH_ANSWERS = _counter("health_answers_total", "Answers of the health URL, by status code.", "code")
REFUSED_CONNECTIONS = _counter(
    "refused_connections_total", "Connections to the listeners that were turned away, by reason.", "reason"
)

# The farm, as this node sees it
NODES = _gauge("farm_nodes", "Nodes in the farm file.")
NODES_HEARD = _gauge("nodes_heard", "Nodes that are alive, this one included.")
PEER_HEARD = _gauge("peer_heard", "1 while another node is heard, by its name.", "peer")
VIEW = _gauge("view_members", "Members of the view that this node is in; 0 while it is out.")
CLAIMED = _gauge("claimed", "1 when this node is in a view and has claimed what that gives it.")
POWER = _gauge("power", "This node's weight in a share.", "share")
SHARE = _gauge("share_ratio", "Part of a share that the view gives this node, from 0 to 1.", "share")
SENT = _counter("heartbeats_sent_total", "Heartbeats handed to the kernel, one for each receiver and network.")
UNSENT = _counter("heartbeats_unsent_total", "Heartbeats that the kernel would not send, by its error.", "reason")
RECEIVED = _counter("heartbeats_received_total", "Datagrams that came to the heartbeat port, of whatever kind.")
DROPPED = _counter("heartbeats_dropped_total", "Datagrams of these that were not processed, by reason.", "reason")

# The node as a target of load balancers
TARGET_PRESENCE = _gauge(
    "target_presence", "1 for what a balancer says of this node; absent while nobody has looked.", "target", "presence"
)
TARGET_AS_WISHED = _gauge("target_as_wished", "1 while a balancer has this node as it wishes, and answers.", "target")
TARGET_CONTESTED = _gauge("target_contested", "1 while somebody keeps undoing what this node does there.", "target")
TARGET_AGE = _gauge("target_last_success_age_seconds", "Seconds since a call of a balancer last worked.", "target")
TARGET_CALLS = _counter("target_calls_total", "Calls of a balancer, by kind.", "target", "call")
TARGET_FAILURES = _counter(
    "target_failures_total", "Calls of a balancer that failed, by kind of trouble.", "target", "trouble"
)

# Receivers of notifications
NOTIFY_HELD = _gauge("notifications_held", "Notifications that are not sent yet.", "receiver")
NOTIFY_SENT = _counter("notifications_sent_total", "Messages that a receiver has taken from this node.", "receiver")
NOTIFY_FAILED = _counter(
    "notifications_failed_total", "Attempts of this node to send a message that failed.", "receiver"
)
NOTIFY_LOST = _counter(
    "notifications_thrown_away_total", "Notifications that were lost because too many waited.", "receiver"
)
NOTIFY_AGE = _gauge(
    "notifications_last_success_age_seconds", "Seconds since a receiver last took a message.", "receiver"
)

# Settings
SETTINGS_REVISION = _gauge("settings_revision", "Number of the revision of the settings that this node goes by.")
SETTINGS_UNAPPLIED = _gauge("settings_unapplied_files", "Files of this node that were edited and are not applied.")
SETTINGS_WAITING = _gauge("settings_waiting", "Changed keys that this daemon takes when it is started again.")
SETTINGS_CONFLICTS = _gauge("settings_conflicts", "Nodes whose settings have gone another way than this node's.")
SETTINGS_BLOCKED = _gauge("settings_blocked", "1 while this node cannot take the settings that the others have.")

# New servers
JOIN_TOKENS = _gauge("join_tokens", "Tokens for new servers that this node has made and that can still be used.")
JOIN_REFUSED = _counter("join_refused_total", "Requests of new servers that were refused for their token.", "reason")

# Layer-2 mode
LEASE_OPEN = _gauge("lease_open", "1 while the filter may take packets.")
DIRTY = _gauge("dirty", "1 while older connections in buckets of other nodes live here.")
BUCKETS = _gauge(
    "buckets", "Buckets of a share: mine, which this node takes, and pending, to be claimed.", "share", "state"
)
DIRECTOR = _gauge("director", "1 when this node answers for a virtual IP (directed delivery).", "vip")
FILTER = _gauge("filter", "1 for the packet filter in use.", "filter")
FILTER_DEGRADED = _gauge("filter_degraded", "1 when only the packet filter in user space works on this machine.")
CUT_OFF = _gauge("cut_off_nodes", "Nodes that the switch sends no packets to a virtual IP (flooded delivery).")
CONFLICTS = _gauge("vip_conflicts", "Virtual IPs that another machine or another farm uses too.")
PACKETS = _counter("packets_total", "Packets to the virtual IPs, by what became of them and why.", "action", "reason")
