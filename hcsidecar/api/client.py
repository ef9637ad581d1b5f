"""What the command line asks of daemons: over the unix socket of a node that runs here, and other nodes through it."""

import errno
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
from yarl import URL

from hcsidecar.api.control import NodeCommand
from hcsidecar.api.routes import PREFIX
from hcsidecar.core.documents import (
    CommandResult,
    Entry,
    EventPage,
    FarmStatus,
    NodeStatus,
    Notice,
    Refusal,
    RunOutput,
    Runs,
)
from hcsidecar.core.farmfile.settings import FarmFile, NodeTable
from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.core.l2_documents import LayerTwoCheck
from hcsidecar.core.metric_catalogue import Family
from hcsidecar.core.targets.documents import TargetsReport
from hcsidecar.events.journal import EventQuery
from hcsidecar.farmfile.dirs import control_socket, starting_socket
from hcsidecar.farmfile.loading import FarmFileError, NoNodeHereError, find_node
from l2mode.core.documents import ClientExplanation, LayerTwoReport

T = TypeVar("T")

TIMEOUT = 15.0
"Seconds for an answer; more than the daemon itself waits for another node, so that it can say what is wrong there."
_LONGEST_SAYING = 65_536
"Bytes that are read of what a starting daemon waits for."


class ClientFailure(Enum):
    """Why there is no answer, as far as a program may want to tell them apart."""

    NOT_RUNNING = auto()
    "No daemon on this machine to ask."
    STARTING = auto()
    "The daemon here runs, and waits for what it cannot start without."
    NOT_ALLOWED = auto()
    UNREACHABLE = auto()
    "The daemon here could not reach the node that was meant."
    NOT_SERVED = auto()
    "The daemon answered something else than was asked for."


class ClientError(Exception):
    """There is no answer: why, in plain words, and what may help."""

    def __init__(self, failure: ClientFailure, message: str, hint: str = "") -> None:
        super().__init__(f"{message}\n{hint}" if hint else message)
        self.failure = failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Told(Generic[T]):
    """A document that a node has told."""

    document: T
    raw: bytes
    "The JSON that came: a newer version may say what this one does not know."


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalNode:
    """A node whose control socket is on this machine."""

    name: str
    socket: Path

    def why_not_running(self) -> ClientError | None:
        """Say why nobody can be asked there, or None if a daemon listens."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(TIMEOUT)
            try:
                probe.connect(os.fspath(self.socket))
            except OSError as error:
                return self.explain(error)
        return None

    @property
    def is_running(self) -> bool:
        """True when a daemon listens there, or somebody may who lets us not in."""
        if not _exists(self.socket):
            return False
        why = self.why_not_running()
        return why is None or why.failure is not ClientFailure.NOT_RUNNING

    def explain(self, error: OSError) -> ClientError:
        """Say what it means that the socket cannot be connected."""
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
    """Asks one node: itself over its socket, or through a daemon of this machine."""

    def __init__(self, node: str, via: LocalNode, *, timeout: float = TIMEOUT) -> None:
        """Ask `node` through the daemon of `via`, which may be its own, and wait for an answer so many seconds."""
        self.node = node
        self.via = via
        self._timeout = timeout
        self._base = PREFIX if node == via.name else f"{PREFIX}/nodes/{node}"

    async def status(self) -> Told[FarmStatus]:
        """Return the status document: the farm as this node sees it."""
        return await self._document("/status", FarmStatus)

    async def node_status(self) -> NodeStatus:
        """Return what this node says about itself."""
        return (await self.status()).document.of(self.node)

    async def targets(self) -> Told[TargetsReport]:
        """Return what this node is at its load balancers."""
        return await self._document("/targets", TargetsReport)

    async def metrics(self) -> list[Family]:
        """Give the metrics of this node."""
        return read(await self._ask("GET", "/metrics"), list[Family])

    async def layer_two(self) -> Told[LayerTwoReport]:
        """Return what layer-2 mode does on this node; NOT_SERVED if its farm file has no [l2] table."""
        return await self._document("/layer-two", LayerTwoReport)

    async def act(self, action: NodeCommand, *, force: bool = False) -> CommandResult:
        """Ask for an action; the answer may be a refusal."""
        body = msgspec.json.encode({"force": force})
        return read(await self._ask("POST", f"/actions/{action}", body), CommandResult)

    async def set_power(self, power: int | None, *, share: str | None) -> CommandResult:
        """Ask for another power, or (None) for the farm file's; the answer may be a refusal."""
        body = msgspec.json.encode({"power": power, "share": share and as_text(share)})
        return read(await self._ask("POST", "/power", body), CommandResult)

    async def report(self, check: str, value: str) -> CommandResult:
        """Say what a custom check says from now on, up or down; the answer may be a refusal."""
        body = msgspec.json.encode({"value": value})
        return read(await self._ask("POST", f"/reports/{quote(as_text(check), safe='')}", body), CommandResult)

    async def explain(self, address: str, *, port: int | None, vip: str | None) -> Told[ClientExplanation]:
        """Return who takes a client."""
        query = {"address": address} | ({"port": str(port)} if port else {}) | ({"vip": vip} if vip else {})
        return await self._document(f"/layer-two/explain?{urlencode(query)}", ClientExplanation)

    async def l2_check(self) -> Told[LayerTwoCheck]:
        """Let this node look at its machine and ask its network, and return what it found."""
        return await self._document("/layer-two/check", LayerTwoCheck)

    async def events(self, *, last: int, before: int | None = None, wanted: EventQuery) -> EventPage:
        """Give the last events, before a number if there is one."""
        query = {"last": str(last), "level": wanted.level.value}
        query |= {"before": str(before)} if before is not None else {}
        # Whoever wants to leave out what is older by a fraction of a second looks at the time again.
        query |= {"since": str(int(wanted.since))} if wanted.since else {}
        query |= {"grep": wanted.text} if wanted.text else {}
        return read(await self._ask("GET", f"/events?{urlencode(query)}"), EventPage)

    async def log(self, level: str, text: str, *, origin: str) -> CommandResult:
        """Write an event into the node's log."""
        body = msgspec.json.encode({"level": level, "text": as_text(text), "origin": as_text(origin)})
        return read(await self._ask("POST", "/log", body), CommandResult)

    async def runs(self, *, last: int | None = None) -> Runs:
        """Give the newest runs of the application's scripts."""
        return read(await self._ask("GET", "/runs" + (f"?last={last}" if last is not None else "")), Runs)

    async def output(self, name: str, *, after: str | None = None, last: int = 0) -> RunOutput:
        """Give what a run has said from a place on, or its last lines."""
        query = {"after": after} if after is not None else {"last": str(last)}
        return read(await self._ask("GET", f"/runs/{quote(as_text(name), safe='')}?{urlencode(query)}"), RunOutput)

    async def follow(self, *, after: int, level: str) -> AsyncGenerator[Entry | Notice, None]:
        """Give events as they come, from a number on; ends when the daemon on this machine does."""
        query = urlencode({"follow": 1, "after": after, "level": level})
        limits = aiohttp.ClientTimeout(sock_connect=self._timeout)
        async with self._request("GET", f"/events?{query}", b"", limits) as response:
            if response.status != HTTPStatus.OK:
                raise self._not_served(response.status, await response.read())
            async for line in response.content:
                yield read_line(line)

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
        """Send a request, and put into words what goes wrong on the way."""
        connector = aiohttp.UnixConnector(os.fspath(self.via.socket))
        session = aiohttp.ClientSession(connector=connector, trust_env=False, timeout=limits)
        url = URL(f"http://node{self._base}{path}", encoded=True)
        try:
            async with session, session.request(method, url, data=body) as response:
                yield response
        except TimeoutError as error:
            message = f"the daemon of {self.via.name} took the question, but did not answer within {self._timeout:g} s"
            hint = "what was asked may still be done when it goes on; its log may say more"
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


def as_text(argument: str) -> str:
    """Give an argument of a command as a daemon may be told it: UTF-8, and what is none as escapes."""
    return argument.encode(errors="surrogateescape").decode(errors="backslashreplace")


def local_nodes(farm: FarmFile) -> tuple[LocalNode, ...]:
    """Give all nodes of the farm with the place of their sockets, whether they run or not."""
    return tuple(_local(farm, node) for node in farm.node)


def client_for(farm: FarmFile, name: str | None) -> NodeClient:
    """Say how to ask the node of this name, or the one that this machine is.

    FarmFileError when there is no such node, or no name and not exactly one node here; ClientError when nobody can be
    asked.
    """
    try:
        node = find_node(farm, name)
    except NoNodeHereError:
        # A machine that has lost its address may yet have a daemon, and then most needs to be asked.
        running = [each for each in local_nodes(farm) if each.is_running]
        if len(running) != 1:
            _ask_the_nameless(farm)
            raise
        node = farm.node_named(running[0].name)
    own = _local(farm, node)
    # One whose socket is here has its daemon here, be it dead: another could only say that it is unreachable.
    if name is None or _exists(own.socket):
        return NodeClient(node.name, own)
    for other in local_nodes(farm):
        if _exists(other.socket) and other.why_not_running() is None:
            return NodeClient(node.name, other)
    _ask_the_nameless(farm)
    message = f"no daemon of farm {farm.farm.name} is running here that could ask {node.name}"
    raise ClientError(ClientFailure.NOT_RUNNING, message, "start one: systemctl start hcsidecar, or hcsidecar run")


def _ask_the_nameless(farm: FarmFile) -> None:
    """Raise ClientError with what a daemon waits for that does not know yet which node it is, if one runs here."""
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
    """Tell whether a daemon of one of the farm's nodes listens on this machine, be it one that we may not ask."""
    try:
        return any(node.is_running for node in local_nodes(farm))
    except FarmFileError:
        return False


def read_line(line: bytes) -> Entry | Notice:
    """Read a line of a followed journal; ClientError if it is none."""
    either = read(line, dict[str, object])
    return read(line, Notice) if "notice" in either else read(line, Entry)


def _local(farm: FarmFile, node: NodeTable) -> LocalNode:
    return LocalNode(name=node.name, socket=control_socket(farm, node))


def _exists(path: Path) -> bool:
    """Tell whether there is something, or something that may not be looked at."""
    try:
        path.lstat()
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def read(answer: bytes, kind: type[T]) -> T:
    """Read a document; ClientError if it is none of this kind."""
    try:
        return read_json(answer, kind)
    except JsonError as error:
        message = f"the daemon's answer is not in a form that this version understands: {error}"
        raise ClientError(ClientFailure.NOT_SERVED, message, "is the daemon of another version?") from None
