"""The API's client for the command line: asks a daemon of this machine over its unix socket, others through it."""

import errno
import os
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from math import ceil
from pathlib import Path
from typing import Generic, Literal, TypeVar
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
from yarl import URL

from hcsidecar.api.control import NodeCommand
from hcsidecar.api.routes import PREFIX
from hcsidecar.core.access.documents import AccessReport, AccessResult, LinkAnswer, LinkBody
from hcsidecar.core.access.identity import ACTOR_HEADER, encode_actor, sudo_actor
from hcsidecar.core.documents import (
    CommandResult,
    Entry,
    EventPage,
    FarmStatus,
    Notice,
    Refusal,
    RunOutput,
    Runs,
)
from hcsidecar.core.farmfile.farm_file import FarmFile, NodeTable
from hcsidecar.core.joining.messages import JoinTokenAnswer, JoinTokenBody
from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.core.key_messages import RotateBody
from hcsidecar.core.l2_documents import LayerTwoCheck
from hcsidecar.core.metric_catalogue import Family
from hcsidecar.core.notify.documents import NotificationsReport
from hcsidecar.core.remarks import RemarkLevel
from hcsidecar.core.request_bodies import ActionBody, Body, LogBody, PowerBody, ReportBody
from hcsidecar.core.settings.documents import (
    CandidateBody,
    CandidateReport,
    DifferencesReport,
    ProposalBody,
    SettingsReport,
)
from hcsidecar.core.snapshot_contents import PackedParts
from hcsidecar.core.targets.documents import TargetsReport
from hcsidecar.events.journal import EventQuery
from hcsidecar.farmfile.dirs import control_socket, starting_socket
from hcsidecar.farmfile.loading import FarmFileError, NoNodeHereError, find_node
from l2mode.core.documents import ClientExplanation, LayerTwoReport

T = TypeVar("T")

TIMEOUT = 15.0
"Seconds for an answer: more than the daemon waits for another node, so that it can report what is wrong there."
_LONGEST_SAYING = 65_536
"Bytes read of the text in which a starting daemon says what it waits for."


class ClientFailure(Enum):
    """Why there is no answer, for callers that treat the cases differently."""

    NOT_RUNNING = auto()
    "No daemon runs on this machine that could be asked."
    STARTING = auto()
    "The daemon here runs, and waits for a condition of its start."
    NOT_ALLOWED = auto()
    UNREACHABLE = auto()
    "The daemon here could not reach the node that was asked for."
    NOT_SERVED = auto()
    "The daemon answered, but not with what was asked for."


class ClientError(Exception):
    """Raised if there is no answer; the text is the reason and, on a second line, what may help."""

    def __init__(self, failure: ClientFailure, message: str, hint: str = "") -> None:
        super().__init__(f"{message}\n{hint}" if hint else message)
        self.failure = failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Told(Generic[T]):
    """A document that a node returned."""

    document: T
    raw: bytes
    "The JSON as received: that of a newer version may have keys that this version does not know."


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalNode:
    """A node whose control socket is on this machine."""

    name: str
    socket: Path

    def why_not_running(self) -> ClientError | None:
        """Return why no daemon can be asked there, or None if one listens."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(TIMEOUT)
            try:
                probe.connect(os.fspath(self.socket))
            except OSError as error:
                return self.explain(error)
        return None

    @property
    def is_running(self) -> bool:
        """True if a daemon listens there, or may: the socket may be out of reach for this user."""
        if not _exists(self.socket):
            return False
        why = self.why_not_running()
        return why is None or why.failure is not ClientFailure.NOT_RUNNING

    def explain(self, error: OSError) -> ClientError:
        """Return what an error of connecting to the socket means."""
        if error.errno in {errno.EACCES, errno.EPERM}:
            return ClientError(
                ClientFailure.NOT_ALLOWED,
                f"{self.socket}: permission denied",
                "only root and the daemon's user may control a node: try it with sudo",
            )
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ECONNREFUSED}:
            return ClientError(
                ClientFailure.NOT_RUNNING,
                f"no daemon of node {self.name} is running here: nobody listens on {self.socket}",
                f"start it: systemctl start hcsidecar, or hcsidecar run --node {self.name}",
            )
        return ClientError(ClientFailure.NOT_SERVED, f"{self.socket}: {error.strerror or 'no answer'}")


class NodeClient:
    """Asks one node, over its own socket or through another daemon of this machine."""

    def __init__(self, node: str, via: LocalNode, *, timeout: float = TIMEOUT) -> None:
        """Ask `node` through the daemon of `via`, which may be its own; wait `timeout` seconds for an answer."""
        self.node = node
        self.via = via
        self._timeout = timeout
        self._base = PREFIX if node == via.name else f"{PREFIX}/nodes/{node}"

    async def status(self) -> Told[FarmStatus]:
        """Return the status document: the farm as this node sees it."""
        return await self._document("/status", FarmStatus)

    async def targets(self) -> Told[TargetsReport]:
        """Return the state of this node at its load balancers."""
        return await self._document("/targets", TargetsReport)

    async def notifications(self) -> Told[NotificationsReport]:
        """Return the receivers of notifications of this node, and how sending to them goes."""
        return await self._document("/notifications", NotificationsReport)

    async def metrics(self) -> list[Family]:
        """Return the metrics of this node."""
        return read(await self._ask("GET", "/metrics"), list[Family])

    async def settings(self) -> Told[SettingsReport]:
        """Return the revisions of the node's settings, and how its latest proposal goes on."""
        return await self._document("/settings", SettingsReport)

    async def differences(self, number: int | None) -> Told[DifferencesReport]:
        """Return what a revision has changed, or (None) what of the operator's files is not applied."""
        path = "/settings/differences" + ("" if number is None else f"/{number}")
        return await self._document(path, DifferencesReport)

    async def make_candidate(self, body: CandidateBody) -> Told[CandidateReport]:
        """Let the node make a candidate, and have it checked by all nodes."""
        raw = await self._ask("POST", "/settings/candidates", msgspec.json.encode(body))
        return Told(document=read(raw, CandidateReport), raw=raw)

    async def propose(self, body: ProposalBody) -> CommandResult:
        """Let the node propose its latest candidate; the answer may be a refusal."""
        return await self._command("/settings/proposals", body)

    async def rotate_keys(self, body: RotateBody) -> CommandResult:
        """Let the node change the keys of all nodes; answers when that has ended."""
        return await self._command("/keys/rotation", body)

    async def make_token(self, body: JoinTokenBody) -> JoinTokenAnswer:
        """Let the node make a token for a new server; the answer may be a refusal."""
        return read(await self._ask("POST", "/joining/tokens", msgspec.json.encode(body)), JoinTokenAnswer)

    async def access(self) -> Told[AccessReport]:
        """Return the users and API tokens of the farm."""
        return await self._document("/access", AccessReport)

    async def change_access(self, path: str, body: Body) -> AccessResult:
        """Ask for a change of users or tokens: `path` is below /access. The answer may be a refusal."""
        quoted = "/".join(quote(as_text(part), safe="") for part in path.split("/"))
        return read(await self._ask("POST", f"/access/{quoted}", msgspec.json.encode(body)), AccessResult)

    async def make_sign_in_link(self, body: LinkBody) -> LinkAnswer:
        """Let the node make a link that signs a user in once; the answer may be a refusal."""
        return read(await self._ask("POST", "/access/links", msgspec.json.encode(body)), LinkAnswer)

    async def layer_two(self) -> Told[LayerTwoReport]:
        """Return the state of layer-2 mode on this node. The failure is NOT_SERVED if it has no [l2] table."""
        return await self._document("/layer-two", LayerTwoReport)

    async def act(self, action: NodeCommand, *, force: bool = False) -> CommandResult:
        """Ask for an action; the answer may be a refusal."""
        return await self._command(f"/actions/{action}", ActionBody(force=force))

    async def set_power(self, power: int | None, *, share: str | None) -> CommandResult:
        """Ask for another power, or (None) for the farm file's; the answer may be a refusal."""
        return await self._command("/power", PowerBody(power=power, share=share and as_text(share)))

    async def report(self, check: str, value: Literal["up", "down"]) -> CommandResult:
        """Say what a custom check says from now on, up or down; the answer may be a refusal."""
        return await self._command(f"/reports/{quote(as_text(check), safe='')}", ReportBody(value=value))

    async def explain(self, address: str, *, port: int | None, vip: str | None) -> Told[ClientExplanation]:
        """Return which node takes a client."""
        query = {"address": address} | ({"port": str(port)} if port else {}) | ({"vip": vip} if vip else {})
        return await self._document(f"/layer-two/explain?{urlencode(query)}", ClientExplanation)

    async def l2_check(self) -> Told[LayerTwoCheck]:
        """Let this node check its machine and query its network, and return the findings."""
        return await self._document("/layer-two/check", LayerTwoCheck)

    async def snapshot(self, *, since: float, room: int) -> PackedParts:
        """Let this node make its support snapshot, and return it."""
        return read(await self._ask("GET", f"/snapshot?since={int(since)}&room={room}"), PackedParts)

    async def events(self, *, last: int, before: int | None = None, wanted: EventQuery) -> EventPage:
        """Return the last events, before the number `before` if it is given."""
        query = {"last": str(last), "level": wanted.level.value}
        query |= {"before": str(before)} if before is not None else {}
        # Whole seconds only: a caller that needs fractions compares the times of the events itself.
        query |= {"since": str(int(wanted.since))} if wanted.since else {}
        query |= {"until": str(ceil(wanted.until))} if wanted.until is not None else {}
        query |= {"grep": wanted.text} if wanted.text else {}
        return read(await self._ask("GET", f"/events?{urlencode(query)}"), EventPage)

    async def log(self, level: RemarkLevel, text: str, *, origin: str) -> CommandResult:
        """Write an event into the node's log."""
        return await self._command("/log", LogBody(level=level, text=as_text(text), origin=as_text(origin)))

    async def runs(self, *, last: int | None = None) -> Runs:
        """Return the newest runs of the application's scripts."""
        return read(await self._ask("GET", "/runs" + (f"?last={last}" if last is not None else "")), Runs)

    async def output(self, name: str, *, after: str | None = None, last: int = 0) -> RunOutput:
        """Return the output of a run after a place, or its last lines."""
        query = {"after": after} if after is not None else {"last": str(last)}
        return read(await self._ask("GET", f"/runs/{quote(as_text(name), safe='')}?{urlencode(query)}"), RunOutput)

    async def follow(self, *, after: int, level: str) -> AsyncGenerator[Entry | Notice, None]:
        """Yield events after a number as they come, until the daemon on this machine ends."""
        query = urlencode({"follow": 1, "after": after, "level": level})
        limits = aiohttp.ClientTimeout(sock_connect=self._timeout)
        async with self._request("GET", f"/events?{query}", b"", limits) as response:
            if response.status != HTTPStatus.OK:
                raise self._not_served(response.status, await response.read())
            async for line in response.content:
                yield read_line(line)

    async def _command(self, path: str, body: Body) -> CommandResult:
        return read(await self._ask("POST", path, msgspec.json.encode(body)), CommandResult)

    async def _document(self, path: str, kind: type[T]) -> Told[T]:
        raw = await self._ask("GET", path)
        return Told(document=read(raw, kind), raw=raw)

    async def _ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        async with self._request(method, path, body, aiohttp.ClientTimeout(total=self._timeout)) as response:
            answer = await response.read()
        # A refused action is an answer like any other.
        if response.status == HTTPStatus.OK or (response.status == HTTPStatus.CONFLICT and method == "POST"):
            return answer
        raise self._not_served(response.status, answer)

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, body: bytes, limits: aiohttp.ClientTimeout
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """Send a request and yield the response; turn errors into ClientError."""
        connector = aiohttp.UnixConnector(os.fspath(self.via.socket))
        session = aiohttp.ClientSession(connector=connector, trust_env=False, timeout=limits)
        url = URL(f"http://node{self._base}{path}", encoded=True)
        try:
            async with session, session.request(method, url, data=body, headers=_for_whom()) as response:
                yield response
        except TimeoutError as error:
            message = (
                f"the daemon of {self.via.name} accepted the request, but did not answer within {self._timeout:g} s"
            )
            hint = "the request may still be carried out; the log of that node may say more"
            raise ClientError(ClientFailure.NOT_SERVED, message, hint) from error
        except aiohttp.ClientConnectorError as error:
            raise self.via.explain(error.os_error) from error
        except (aiohttp.ClientError, ConnectionError) as error:
            message = f"the daemon of {self.via.name} ended before it had answered"
            raise ClientError(ClientFailure.NOT_RUNNING, message) from error

    def _not_served(self, status: int, answer: bytes) -> ClientError:
        try:
            told = read_json(answer, Refusal)
        except JsonError:
            told = Refusal(reason="without a reason; its log may say more")
        reason = told.reason
        if told.starting:
            return ClientError(ClientFailure.STARTING, reason)
        match status:
            case HTTPStatus.BAD_GATEWAY:
                return ClientError(ClientFailure.UNREACHABLE, reason)
            case HTTPStatus.FORBIDDEN:
                return ClientError(ClientFailure.NOT_ALLOWED, reason, "try it with sudo")
            case _:
                return ClientError(
                    ClientFailure.NOT_SERVED, f"the daemon of {self.via.name} answers {status}: {reason}"
                )


def _for_whom() -> Mapping[str, str]:
    """Return the header that names who has become root by sudo, so that events name him."""
    actor = sudo_actor(os.environ.get("SUDO_USER")) if os.geteuid() == 0 else None
    return {} if actor is None else {ACTOR_HEADER: encode_actor(actor)}


def as_text(argument: str) -> str:
    """Return a command's argument as valid UTF-8, with escapes in place of other bytes."""
    return argument.encode(errors="surrogateescape").decode(errors="backslashreplace")


def local_nodes(farm: FarmFile) -> tuple[LocalNode, ...]:
    """Return all nodes of the farm with the paths of their sockets, whether they run or not."""
    return tuple(_local(farm, node) for node in farm.node)


def client_for(farm: FarmFile, name: str | None) -> NodeClient:
    """Return the client for the node of this name, or without a name for the node of this machine.

    Raise FarmFileError if there is no such node, or if there is no name and this machine is not exactly one node. Raise
    ClientError if no daemon can be asked.
    """
    try:
        node = find_node(farm, name)
    except NoNodeHereError:
        # A machine that has lost its address may still run a daemon, and it is then that an operator asks it.
        running = [each for each in local_nodes(farm) if each.is_running]
        if len(running) != 1:
            _raise_if_one_starts(farm)
            raise
        node = farm.node_named(running[0].name)
    own = _local(farm, node)
    # A node whose socket is here has its daemon here, even a dead one. Another daemon could only call it unreachable.
    if name is None and not _exists(own.socket):
        _raise_if_one_starts(farm)
    if name is None or _exists(own.socket):
        return NodeClient(node.name, own)
    for other in local_nodes(farm):
        if _exists(other.socket) and other.why_not_running() is None:
            return NodeClient(node.name, other)
    _raise_if_one_starts(farm)
    message = f"no daemon of farm {farm.farm.name} is running here that could ask {node.name}"
    raise ClientError(ClientFailure.NOT_RUNNING, message, "start one: systemctl start hcsidecar, or hcsidecar run")


def _raise_if_one_starts(farm: FarmFile) -> None:
    """Raise ClientError with what it waits for, if a daemon runs here that does not serve commands.

    It does not know yet which node it is, or stays for a node that the farm has removed.
    """
    said = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(TIMEOUT)
            connection.connect(os.fspath(starting_socket(farm)))
            while len(said) < _LONGEST_SAYING and (piece := connection.recv(4096)):
                said += piece
    except OSError:
        return
    raise ClientError(ClientFailure.STARTING, said.decode(errors="replace"))


def is_running_here(farm: FarmFile) -> bool:
    """Return whether a daemon of the farm listens on this machine, even one that this user may not ask."""
    try:
        return any(node.is_running for node in local_nodes(farm))
    except FarmFileError:
        return False


def read_line(line: bytes) -> Entry | Notice:
    """Parse a line of a followed journal. Raise ClientError if it is not one."""
    either = read(line, dict[str, object])
    return read(line, Notice) if "notice" in either else read(line, Entry)


def _local(farm: FarmFile, node: NodeTable) -> LocalNode:
    return LocalNode(name=node.name, socket=control_socket(farm, node))


def _exists(path: Path) -> bool:
    """Return whether the path exists, or this user may not find out."""
    try:
        path.lstat()
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def read(answer: bytes, kind: type[T]) -> T:
    """Parse a document. Raise ClientError if it is not of this kind."""
    try:
        return read_json(answer, kind)
    except JsonError as error:
        message = f"the daemon's answer is not in a form that this version understands: {error}"
        raise ClientError(ClientFailure.NOT_SERVED, message, "is the daemon of another version?") from None
