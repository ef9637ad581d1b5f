"""The farm file as one frozen model. `read` reports all mistakes of a document at once, each with its path."""

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Self, TypeVar

from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from hcsidecar.core.farmfile.application_table import ApplicationTable
from hcsidecar.core.farmfile.check_tables import (
    CHECKS,
    AnyCheck,
    Check,
    CommandCheck,
    CustomCheck,
    FailureAction,
    HttpCheck,
    InterfaceCheck,
    PingCheck,
    PortCheck,
    ProcessCheck,
    TcpCheck,
)
from hcsidecar.core.farmfile.cross_checks import api_endpoint, relation_problems
from hcsidecar.core.farmfile.error_messages import problem_of
from hcsidecar.core.farmfile.notify_tables import (
    MAX_RECEIVERS,
    RECEIVERS,
    AnyReceiver,
    MailReceiver,
    Receiver,
    WebhookReceiver,
)
from hcsidecar.core.farmfile.problems import Problem
from hcsidecar.core.farmfile.raw_tables import RawTables
from hcsidecar.core.farmfile.tables import (
    MAX_VIPS,
    PRESETS,
    FarmTable,
    HealthTable,
    HeartbeatTable,
    L2Table,
    LogTable,
    NodeTable,
    Preset,
    ShareTable,
    Table,
    TlsTable,
    VipTable,
    WebTable,
)
from hcsidecar.core.farmfile.target_tables import (
    TARGETS,
    AnyTarget,
    AwsTarget,
    CommandTarget,
    HaproxyTarget,
    OtherTarget,
    Target,
)
from hcsidecar.core.farmfile.values import FROM_FILE, HostPort, StatusRange, format_duration, parse_duration
from hcsidecar.core.membership.heartbeat import MAX_NODES, MAX_SHARES, PROTOCOL_VERSION

__all__ = [
    "PRESETS",
    "AnyCheck",
    "AnyTarget",
    "ApplicationTable",
    "AwsTarget",
    "Check",
    "CommandCheck",
    "CommandTarget",
    "CustomCheck",
    "FailureAction",
    "FarmFile",
    "FarmTable",
    "HaproxyTarget",
    "HealthTable",
    "HeartbeatTable",
    "HostPort",
    "HttpCheck",
    "InterfaceCheck",
    "L2Table",
    "LogTable",
    "MailReceiver",
    "NodeTable",
    "OtherTarget",
    "PingCheck",
    "PortCheck",
    "Preset",
    "Problem",
    "ProcessCheck",
    "Receiver",
    "ShareTable",
    "StatusRange",
    "Target",
    "TcpCheck",
    "TlsTable",
    "VipTable",
    "WebTable",
    "WebhookReceiver",
    "format_duration",
    "parse_duration",
    "read",
    "right_parts",
]

_Model = TypeVar("_Model", bound=Table)


class FarmFile(Table):
    """The whole farm file."""

    farm: FarmTable
    node: tuple[NodeTable, ...] = Field(min_length=1, max_length=MAX_NODES)
    heartbeat: HeartbeatTable = HeartbeatTable()
    web: WebTable = WebTable()
    health: HealthTable = HealthTable()
    log: LogTable = LogTable()
    l2: L2Table | None = None
    application: ApplicationTable | None = None
    check: tuple[AnyCheck, ...] = ()
    target: tuple[AnyTarget, ...] = Field(default=(), max_length=16)
    notify: tuple[AnyReceiver, ...] = Field(default=(), max_length=MAX_RECEIVERS)

    @model_validator(mode="after")
    def _hold_the_relations(self) -> Self:
        problems = relation_problems(self.parts)
        if problems:
            raise PydanticCustomError("relations", "{problems}", {"problems": "; ".join(map(str, problems))})
        return self

    @property
    def parts(self) -> RawTables:
        """The tables, for the checks between them."""
        return RawTables(
            farm=self.farm,
            node=self.node,
            web=self.web,
            health=self.health,
            heartbeat=self.heartbeat,
            has_application=self.application is not None,
            application=self.application,
            check=self.check,
            target=self.target,
            notify=self.notify,
            vip=self.l2.vip if self.l2 else (),
            share=self.l2.share if self.l2 else (),
        )

    @property
    def share_names(self) -> tuple[str, ...]:
        """The names of the share groups, in the order of the file; a farm without [l2] has one, named like the farm."""
        return tuple(share.name for share in self.l2.share) if self.l2 else (self.farm.name,)

    def node_named(self, name: str) -> NodeTable:
        """Return the node of this name. Raise KeyError, with the names of all nodes, if there is none."""
        for node in self.node:
            if node.name == name:
                return node
        raise KeyError(f"no node {name} in farm {self.farm.name}: {', '.join(node.name for node in self.node)}")

    def powers_of(self, node_name: str) -> tuple[int, ...]:
        """Return the power of a node in each share group."""
        node = self.node_named(node_name)
        if self.l2 is None:
            return (node.power,)
        return tuple(share.power.get(node.name, node.power) for share in self.l2.share)

    def action_of(self, check: Check) -> FailureAction:
        """Return the action that follows when a check fails."""
        if check.action is not None:
            return check.action
        if check.when == "pre":
            return "wait"
        return "restart" if self.application is not None else "none"

    def settings_digest(self) -> bytes:
        """Return a digest, of 16 bytes, of what must be equal on nodes that share buckets: [l2] and the protocol.

        It does not cover timing and powers, because heartbeats carry them, nor what may be changed node by node.
        """
        what = [
            PROTOCOL_VERSION,
            sorted(vip.address for vip in self.l2.vip) if self.l2 else [],
            self.l2.delivery if self.l2 else None,
            [
                (share.name, share.protocol, sorted(share.ports), share.vip, share.by)
                for share in (self.l2.share if self.l2 else ())
            ],
        ]
        return blake2b(json.dumps(what).encode(), digest_size=16).digest()

    def web_listen(self, node: NodeTable) -> tuple[HostPort, ...]:
        """Return the addresses and ports on which the web listener of a node listens."""
        return node.listen or self.web.listen

    def api_address(self, node: NodeTable) -> HostPort:
        """Return the address and port at which the other nodes reach the API of a node."""
        found = api_endpoint(node, self.web_listen(node))
        if found is None:
            raise AssertionError("the relations of the file have been checked")  # pragma: no cover
        return found


def read(document: Mapping[str, object]) -> FarmFile | tuple[Problem, ...]:
    """Return the farm of a parsed TOML document, or all problems in it, by table and in the order of the models.

    Tables that are right by themselves are checked against each other even if other tables are wrong.
    """
    try:
        return FarmFile.model_validate(document, context=FROM_FILE)
    except ValidationError as refused:
        errors = [error for error in refused.errors() if error["type"] != "relations" and not _is_an_echo(error)]
    alone = tuple(dict.fromkeys(problem_of(error, document, FarmFile) for error in errors))
    return alone + tuple(relation_problems(right_parts(document)))


def _is_an_echo(error: ErrorDetails) -> bool:
    """Return whether an error only says "too short" of a list because its entries were refused one by one."""
    return error["type"] == "too_short" and len(error["input"]) >= error["ctx"]["min_length"]


def right_parts(document: Mapping[str, object]) -> RawTables:
    """Return the tables of a document that are right by themselves."""
    l2, checks, targets = document.get("l2"), document.get("check"), document.get("target")
    receivers = document.get("notify")
    l2_tables = l2 if isinstance(l2, dict) else {}
    return RawTables(
        farm=_or_none(FarmTable, document.get("farm")),
        node=_each_or_none(NodeTable, document.get("node"), MAX_NODES),
        web=_or_none(WebTable, document.get("web", {})),
        health=_or_none(HealthTable, document.get("health", {})),
        heartbeat=_or_none(HeartbeatTable, document.get("heartbeat", {})),
        has_application="application" in document,
        application=_or_none(ApplicationTable, document.get("application")),
        check=tuple(_kind_or_none(CHECKS, table) for table in checks) if isinstance(checks, list) else (),
        target=tuple(_kind_or_none(TARGETS, table) for table in targets) if isinstance(targets, list) else (),
        notify=tuple(_kind_or_none(RECEIVERS, table) for table in receivers) if isinstance(receivers, list) else (),
        vip=_each_or_none(VipTable, l2_tables.get("vip"), MAX_VIPS),
        share=_each_or_none(ShareTable, l2_tables.get("share"), MAX_SHARES),
    )


def _or_none(kind: type[_Model], table: object) -> _Model | None:
    try:
        return kind.model_validate(table, context=FROM_FILE)
    except ValidationError:
        return None


def _each_or_none(kind: type[_Model], tables: object, most: int) -> tuple[_Model | None, ...]:
    """Read the first tables of a list. One None at the end stands for those beyond the limit, which are ignored."""
    if not isinstance(tables, list):
        return ()
    rest = (None,) if len(tables) > most else ()
    return (*(_or_none(kind, table) for table in tables[:most]), *rest)


def _kind_or_none(kinds: Mapping[str, type[_Model]], table: object) -> _Model | None:
    kind = kinds.get(table["type"]) if isinstance(table, dict) and isinstance(table.get("type"), str) else None
    return None if kind is None else _or_none(kind, table)
