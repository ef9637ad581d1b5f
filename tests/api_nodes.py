"""Nodes for tests of the API and of what speaks to it: a Control without a daemon, behind real sockets."""

import asyncio
import json
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import msgspec
from keys import FixedKeys

from hcsidecar.api.auth import Signer, Verifier
from hcsidecar.api.control import ApiAddress, NodeCommand, NoSnapshotError
from hcsidecar.api.farm import farm_app
from hcsidecar.api.local import local_app
from hcsidecar.api.relay import Relay
from hcsidecar.api.routes import Api
from hcsidecar.api.servers import serve_unix, tcp_protocols
from hcsidecar.core.documents import (
    ChecksReport,
    CheckState,
    CommandResult,
    FarmStatus,
    NodeFacts,
    NodeSeries,
    RestartBudgetReport,
)
from hcsidecar.core.farmfile.values import HostPort
from hcsidecar.core.joining.console_certificate import ConsoleCertificateAnswer, ConsoleCertificateTerms
from hcsidecar.core.joining.messages import JoinTokenAnswer
from hcsidecar.core.metric_catalogue import Family
from hcsidecar.core.notify.documents import HandOverAnswer, ReceiverStatus
from hcsidecar.core.settings.agreement import AgreementPhase
from hcsidecar.core.settings.documents import CandidateReport, DifferencesReport, SettingsReport
from hcsidecar.core.snapshot_contents import NodeParts, PackedParts, Part, pack
from hcsidecar.core.targets.documents import TargetStatus
from hcsidecar.events.journal import Journal

KEYS = FixedKeys(key1="secret")


class FakeSettings:
    """The settings of a node of a farm without a revision; satisfies hcsidecar.api.settings.SettingsControl in part."""

    def __init__(self, node):
        self.node = node

    async def report(self):
        idle = AgreementPhase.IDLE
        return SettingsReport(
            node=self.node, settled=None, phase=idle, candidate=None, blocked=None, conflicts={}, unapplied=None
        )

    async def differences(self, number):
        return DifferencesReport(before=None, after=None)

    async def make(self, body, *, by):
        return CandidateReport()

    def propose(self, body):
        return CommandResult(ok=True, text="is proposed")


class FakeJoining:
    """A node that makes a token for whoever asks; satisfies hcsidecar.api.joining.Joining in part."""

    def make_token(self, body, *, by):
        return JoinTokenAnswer(token="hcj1.abc", host="192.0.2.11")  # noqa: S106 - none


class FakeCertificates:
    """A node of a farm without a certificate authority; satisfies hcsidecar.api.certificates.CertificatesControl."""

    def __init__(self, node):
        self.node = node

    def terms(self):
        return ConsoleCertificateTerms(node=self.node, farm="apache", problem="this farm has no certificate authority")

    async def certify(self, body):
        return ConsoleCertificateAnswer(problem="this farm has no certificate authority")


@dataclass
class FakeControl:
    """A node whose module does what the test says; satisfies hcsidecar.api.control.Control."""

    node: str
    nodes: dict[str, ApiAddress]
    farm: str = "apache"
    acts: list[tuple[str, bool, str]] = field(default_factory=list)
    answers: dict[NodeCommand, CommandResult] = field(default_factory=dict)
    rows: dict[str, dict[str, object]] = field(default_factory=dict)
    on_act: Callable[[NodeCommand], None] = lambda action: None
    vips: tuple[str, ...] = ()
    powers_set: list[tuple[int | None, str | None, str]] = field(default_factory=list)
    power_answer: CommandResult = field(
        default_factory=lambda: CommandResult(ok=True, text="has power 3 (farm file: 1)")
    )
    explained: list[tuple[str, int | None, str | None]] = field(default_factory=list)
    explanation: dict[str, object] = field(default_factory=dict)
    layer_two_document: dict[str, object] = field(default_factory=dict)
    check_document: dict[str, object] = field(default_factory=dict)
    target_documents: list[dict[str, object]] = field(default_factory=list)
    receiver_documents: list[dict[str, object]] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    request_answer: CommandResult = field(default_factory=lambda: CommandResult(ok=True, text="restarts"))
    checks_said: dict[str, str] = field(default_factory=dict)
    keep_ready: int = 1
    snapshot_refusal: str = ""
    restarts: int = 0
    counted: list[str] = field(default_factory=list)
    runs_directory: Path = Path("/nonexistent")
    families: tuple[Family, ...] = ()
    series_document: dict[str, object] = field(default_factory=dict)

    def __post_init__(self):
        self.journal = Journal(node=self.node, log=lambda entry: None)
        self.settings = FakeSettings(self.node)
        self.joining = FakeJoining()
        self.certificates = FakeCertificates(self.node)

    def row(self, name, **changes):
        """Change what the status document says about a node."""
        usual = {
            "name": name,
            "address": "127.0.0.1",
            "alive": True,
            "role": "UP",
            "status": "Ready",
            "draining": False,
            "power": 1,
            "share": {},
            "reason": "",
            "waits_for": [],
        }
        self.rows[name] = {**self.rows.get(name, usual), **changes}

    def status(self):
        for name in self.nodes:
            if name not in self.rows:
                self.row(name)
        document = {
            "farm": self.farm,
            "node": self.node,
            "view": [name for name, row in self.rows.items() if row["status"] == "Ready"],
            "nodes": [self.rows[name] for name in self.nodes],
        }
        return msgspec.convert(document, FarmStatus)

    def metrics(self):
        return self.families

    def facts(self):
        return NodeFacts(
            farm=self.farm,
            node=self.node,
            version="1",
            nodes=tuple(self.nodes),
            keep_ready=self.keep_ready,
            lame_duck=10.0,
        )

    def checks(self):
        return ChecksReport(
            node=self.node, checks=tuple(CheckState(name=name, value=value) for name, value in self.checks_said.items())
        )

    def series(self):
        usual = {"node": self.node, "interval": 10.0, "ends_at": time.time(), "ready": [1, 1], "health": [None, 0.5]}
        return msgspec.convert({**usual, **self.series_document}, NodeSeries)

    async def request(self, action, *, identity):
        self.requests.append((action.value, identity))
        return self.request_answer

    def reported(self, name):
        return self.checks_said.get(name)

    def report(self, name, value):
        if name not in self.checks_said:
            return CommandResult(ok=False, text=f"no custom check {name}")
        self.checks_said[name] = value
        return CommandResult(ok=True, text=f"{name} is {value}")

    def budget(self):
        return RestartBudgetReport(used=self.restarts, most=3, reached=self.restarts >= 3)

    def count_restart(self, *, identity):
        if self.restarts >= 3:
            return CommandResult(ok=False, text="the restart budget is used up: 3 restarts within 1d")
        self.restarts += 1
        self.counted.append(identity)
        return CommandResult(ok=True, text=f"{self.restarts} of 3 restarts")

    def reset_budget(self, *, by):
        self.restarts = 0
        self.counted.append(f"reset by {by}")
        return CommandResult(ok=True, text="the restart budget is reset")

    def set_power(self, power, *, share, by):
        self.powers_set.append((power, share, by))
        return self.power_answer

    def targets(self):
        return msgspec.convert(self.target_documents, tuple[TargetStatus, ...])

    def notifications(self):
        return msgspec.convert(self.receiver_documents, tuple[ReceiverStatus, ...])

    def take_notifications(self, body):
        return None if body.receiver == "unknown" else HandOverAnswer(done=body.done)

    def layer_two(self):
        return self.layer_two_document

    def explain(self, address, *, port, vip):
        self.explained.append((address, port, vip))
        return self.explanation

    async def snapshot(self, *, since, room):
        if self.snapshot_refusal:
            raise NoSnapshotError(self.snapshot_refusal)
        parts = (Part(name="asked.txt", about="what was asked for", text=f"{since} {room}\n"),)
        return PackedParts(node=self.node, packed=pack(NodeParts(node=self.node, parts=parts, answered=True)))

    async def l2_check(self):
        return self.check_document

    async def act(self, action, *, force, by):
        self.acts.append((action.value, force, by))
        self.on_act(action)
        return self.answers.get(action, CommandResult(ok=True, text=f"the application does {action}"))


@dataclass
class RunningNode:
    """A node whose API can be reached."""

    control: FakeControl
    socket: Path
    relay: Relay
    server: asyncio.Server

    async def stop_tcp(self):
        """Answer no more on TCP."""
        self.server.close()
        await self.server.wait_closed()


@asynccontextmanager
async def running(names, directory, *, keys=None, clocks=None, limit=2.0, socket_of=None):
    """Run nodes of one farm; `keys` and `clocks` by node name where they differ. Gives the nodes by name."""
    addresses: dict[str, ApiAddress] = {}
    nodes: dict[str, RunningNode] = {}
    async with AsyncExitStack() as stack:
        for name in names:
            secret = (keys or {}).get(name, KEYS)
            clock = (clocks or {}).get(name, time.time)
            control = FakeControl(node=name, nodes=addresses, runs_directory=directory / name)
            api = Api(control)
            verifier = Verifier(
                keys=lambda secret=secret: secret,
                farm="apache",
                node=name,
                nodes=names,
                draw=lambda: secrets.token_hex(16),
            )
            signer = Signer(keys=lambda secret=secret: secret, farm="apache", node=name)
            relay = await stack.enter_async_context(Relay(control, signer, clock=clock, timeout=limit))
            path = socket_of(name) if socket_of else directory / f"{name}.sock"
            await stack.enter_async_context(serve_unix(local_app(api, relay), path))
            protocols = await stack.enter_async_context(tcp_protocols(farm_app(api, verifier, clock=clock)))
            server = await asyncio.get_running_loop().create_server(protocols, "127.0.0.1", 0)
            stack.callback(server.close)
            port = server.sockets[0].getsockname()[1]
            addresses[name] = ApiAddress(address=HostPort("127.0.0.1", port))
            nodes[name] = RunningNode(control=control, socket=path, relay=relay, server=server)
        yield nodes


async def ask(node, method, path, body=None):
    """Ask over a node's unix socket; give the HTTP status and the document."""
    session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(node.socket)))
    async with session, session.request(method, f"http://node{path}", data=body) as response:
        return response.status, json.loads(await response.read())


def told(tmp_path, *questions, prepare=lambda nodes: None, **settings):
    """Run two nodes, ask web1 questions of (method, path, body) and give its answers and the nodes."""

    async def story():
        async with running(["web1", "web2"], tmp_path, **settings) as nodes:
            prepare(nodes)
            return [await ask(nodes["web1"], *question) for question in questions], nodes

    return asyncio.run(story())


def closed_port():
    """Give a TCP port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
