"""The daemon: everything of one node put together, started in order, ended in order, owned by one TaskGroup.

Start: keys and memory, heartbeats (which close whatever an earlier boot left open before they speak), listeners, the
module. End: the module drains and stops while the health listener answers NOT FOUND, the last words are said, and only
then the listeners close.
"""

import asyncio
import contextlib
import gc
import os
import secrets
import signal
import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hcsidecar import __version__
from hcsidecar.app.application import Application
from hcsidecar.app.connections import Connections
from hcsidecar.app.memory import Memory
from hcsidecar.app.module import Published
from hcsidecar.application_voice import ApplicationVoice
from hcsidecar.core import orders
from hcsidecar.core.events import Event, Level
from hcsidecar.core.health import HealthAnswer, HealthFace
from hcsidecar.core.last_stays import NOBODY_HEARD, Neighbour, Outlook, look_around
from hcsidecar.core.lifecycle import Lifecycle, Outcome
from hcsidecar.core.messages import View
from hcsidecar.core.metric_catalogue import Family
from hcsidecar.core.metrics import Facts, ProcessFigures, metric_families
from hcsidecar.core.node import NoShare
from hcsidecar.core.powers import Powers, why_nobody_takes
from hcsidecar.core.rolling import why_not_drain
from hcsidecar.core.settings import FarmFile, HostPort, NodeTable, TlsTable
from hcsidecar.core.states import Role, Status
from hcsidecar.core.status import ModuleState, status_document
from hcsidecar.core.wishes import Situation
from hcsidecar.dirs import control_socket, state_dir
from hcsidecar.evidence import Evidence
from hcsidecar.farmfile import LoadedFarm
from hcsidecar.journal import Journal
from hcsidecar.net.datagrams import ListenError as HeartbeatListenError
from hcsidecar.net.heartbeats import Heartbeats
from hcsidecar.net.keyring import KeyFileError, Keyring
from hcsidecar.own_targets import own_targets
from hcsidecar.process import CannotRunError, ServiceManager, resident_bytes, take_realtime_priority
from hcsidecar.web.api import Api
from hcsidecar.web.auth import Signer, Verifier
from hcsidecar.web.control import Action, Answer, ApiAddress, Budget, Request
from hcsidecar.web.control_socket import SocketInUseError, serve_unix, tcp_protocols
from hcsidecar.web.farm_api import farm_app
from hcsidecar.web.handed_over import counting_logger, health_routes
from hcsidecar.web.listener import HealthServer, ListenError
from hcsidecar.web.local_api import local_app
from hcsidecar.web.metrics_page import MetricsPage
from hcsidecar.web.refusals import Refusal
from hcsidecar.web.relay import Relay
from l2mode.core.buckets import BUCKETS, masks, prepare

if TYPE_CHECKING:
    from hcsidecar.layer_two import LayerTwoMode

KEYS_INTERVAL = 1.0
"Seconds between two looks at the key file."
HOUSEKEEPING_INTERVAL = 1.0
KERNEL_RECORD = "kernel.json"
"What layer-2 mode writes down in the state directory of what it changes in the kernel."


class Daemon:
    """One node of a farm. Satisfies `hcsidecar.web.control.Control`."""

    def __init__(self, loaded: LoadedFarm, me: NodeTable, journal: Journal, memory: Memory) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._loaded = loaded
        self._farm: FarmFile = loaded.farm
        self._me = me
        self.journal = journal
        self._memory = memory
        self._service = ServiceManager(os.environ)
        self._stopped_by: str | None = None
        self._started_at = time.time()
        self._powers = Powers(
            names=self._farm.share_names, file=self._farm.powers_of(me.name), layer_two=self._farm.l2 is not None
        )
        if self._powers.effective(memory.powers) != self._powers.file:
            remembered = f"this node {self._powers.describe(memory.powers)}: set before this start"
            self.tell(Event(level=Level.INFO, origin="daemon", message=remembered))
        self._face = HealthFace(
            farm=self.farm,
            path=self._farm.health.path,
            answer=HealthAnswer(ok=False, node=me.name, state="STOP(NotReady)", reason="just started"),
            now=loop.time(),
        )
        self._server = HealthServer(self._face)
        self._layer_two = self._make_layer_two()
        self._targets = own_targets(loaded, me, tell=self.tell)
        self._published: Published | None = None
        self._heartbeats = Heartbeats(
            farm=self._farm,
            me=me,
            keyring=loaded.keyring,
            share=NoShare() if self._layer_two is None else self._layer_two.share,
            powers=self._powers.effective(memory.powers),
            next_boot=memory.next_boot,
            tell=self.tell,
        )
        self._application = Application(
            loaded,
            me,
            memory=memory,
            socket=control_socket(loaded.farm, me),
            evidence=Evidence(
                Connections(self._farm.check, self._farm.l2), self._face, self._farm.health.prober_fall, self._targets
            ),
            publish=self._publish,
            tell=self.tell,
            outlook=self._outlook,
        )
        self._module = self._application.module
        self._voice = ApplicationVoice(self._application)

    # -- what the API asks --------------------------------------------------------------------------------------

    @property
    def farm(self) -> str:
        """The farm's name."""
        return self._farm.farm.name

    @property
    def node(self) -> str:
        """This node's name."""
        return self._me.name

    @property
    def nodes(self) -> Mapping[str, ApiAddress]:
        """Where the API of each node is."""
        tls = self._farm.web.tls is not None
        return {node.name: ApiAddress(address=self._farm.api_address(node), tls=tls) for node in self._farm.node}

    @property
    def runs_directory(self) -> Path:
        """Where the output of each run of a script is a file."""
        return state_dir(self._farm, self._me) / "application"

    def status(self) -> Mapping[str, object]:
        """Give the status document."""
        return status_document(
            membership=self._heartbeats.node.membership,
            module=self._own_state(),
            addresses={node.name: node.address for node in self._farm.node},
            file_powers={node.name: self._farm.powers_of(node.name) for node in self._farm.node},
            shares=self._farm.share_names,
            groups=self._farm.share_names if self._farm.l2 else (),
            fractions=self._fractions,
            now=self._loop.time(),
        )

    def metrics(self) -> tuple[Family, ...]:
        """Give this node's metrics."""
        membership = self._heartbeats.node.membership
        groups = self._farm.share_names if self._farm.l2 else ()
        facts = Facts(
            version=__version__,
            process=ProcessFigures(
                started_at=self._started_at,
                cpu_seconds=time.process_time(),
                resident_bytes=resident_bytes(),
                longest_stall=self._heartbeats.longest_lag,
            ),
            events={level.value: count for level, count in self.journal.counts.items()},
            module=self._module.look().state,
            checks=self._module.check_results,
            ready=self._face.answer.ok,
            health_answers={"200": self._face.told_ok, "404": self._face.told_not_found},
            refused_connections={reason.value: self._server.connections.refusals[reason] for reason in Refusal},
            membership=membership,
            powers=dict(zip(self._farm.share_names, membership.powers, strict=True)),
            share=dict(zip(groups, self._fractions(membership.view, self.node), strict=True)),
            heartbeats=self._heartbeats.figures(),
            targets=self.targets(),
            layer_two=self.layer_two(),
        )
        return metric_families(facts)

    async def act(self, action: Action, *, force: bool, by: str) -> Answer:
        """Begin an action or say why not."""
        refusal = None
        if action is not Action.START and action is not Action.RESUME:
            refusal = why_not_drain(self.status(), self.node, keep_ready=self._farm.farm.keep_ready)
        if action is Action.DRAIN and refusal is not None and not force:
            return Answer(ok=False, text=f"{refusal}; --force drains all the same")
        order = _order(action, by, tells_first=self._targets.tells_first)
        outcome = self._module.order(order)
        if action is Action.STOP and force and outcome.accepted and self._module.look().state.draining:
            outcome = self._module.order(order)
        warnings = (refusal,) if refusal is not None and outcome.accepted else ()
        return Answer(ok=outcome.accepted, text=outcome.text, warnings=warnings)

    def set_power(self, power: int | None, *, share: str | None, by: str) -> Answer:
        """Change this node's weight, and remember it."""
        change = self._powers.change(self._memory.powers, power, share)
        if isinstance(change, str):
            return Answer(ok=False, text=change)
        powers = self._powers.effective(change.powers)
        view = self._heartbeats.node.membership.view
        warnings = why_nobody_takes(self._powers.names, view, self.node, powers) if self._powers.layer_two else []
        self._memory.remember_powers(change.powers)
        self.tell(Event(level=Level.INFO, origin="daemon", message=f"this node {change.text}: set by {by}"))
        self._heartbeats.say_powers(powers)
        return Answer(ok=True, text=change.text, warnings=tuple(warnings))

    async def request(self, action: Request, *, identity: str) -> Answer:
        """Begin what the application asks for itself, or say why not."""
        return self._voice.request(action, identity=identity)

    def reported(self, name: str) -> Literal["up", "down", "init"] | None:
        """Give what a check says now."""
        return self._voice.reported(name)

    def report(self, name: str, value: Literal["up", "down"]) -> Answer:
        """Take what the program of a custom check says."""
        return self._voice.report(name, value)

    def budget(self) -> Budget:
        """Give the restart budget."""
        return self._voice.budget()

    def count_restart(self, *, identity: str) -> Answer:
        """Count a restart that the application has done by itself."""
        return self._voice.count_restart(identity=identity)

    def reset_budget(self, *, by: str) -> Answer:
        """Count restarts anew."""
        return self._voice.reset_budget(by=by)

    @property
    def vips(self) -> tuple[str, ...]:
        """The farm's virtual IPs."""
        return () if self._farm.l2 is None else tuple(vip.address for vip in self._farm.l2.vip)

    def targets(self) -> Sequence[Mapping[str, object]]:
        """Say of each load balancer what this node is to be and is there."""
        return self._targets.documents()

    def layer_two(self) -> Mapping[str, object]:
        """Say what this node's filter does."""
        return {} if self._layer_two is None else self._layer_two.document()

    def explain(self, address: str, *, port: int | None, vip: str | None) -> Mapping[str, object]:
        """Say who takes a client."""
        return {} if self._layer_two is None else self._layer_two.explain(address, port=port, vip=vip)

    async def l2_check(self) -> Mapping[str, object]:
        """Look at what this node needs of its machine and network."""
        return {} if self._layer_two is None else await self._layer_two.check()

    # -- what the parts tell each other -------------------------------------------------------------------------

    def tell(self, event: Event) -> None:
        """Write an event into the journal, and so into the log."""
        self.journal.write(event)

    def _publish(self, published: Published) -> None:
        """Let probers, members and the service manager know, in this order: the health URL is the product."""
        state = published.state
        self._face.set_answer(
            HealthAnswer(
                ok=published.serving,
                node=self.node,
                state=published.name,
                reason=state.reason,
                draining=state.draining,
            ),
            now=self._loop.time(),
        )
        self._heartbeats.say_module(
            role=state.role,
            status=state.status,
            draining=state.draining,
            reason=state.reason,
            unmet=published.unmet,
            wants=published.wants_share,
        )
        self._service.tell(STATUS=f"{published.name} {state.reason}".strip())
        self._published = published
        self._follow_targets()

    def _follow_targets(self) -> None:
        """Let the targets know how this node is; they never wait."""
        published, membership = self._published, self._heartbeats.node.membership
        if published is not None:
            in_view = any(name == self.node for name, _ in membership.view)
            self._targets.follow(Situation(word=published.word, ready=published.serving, in_view=in_view))

    def _own_state(self) -> ModuleState:
        """Say how this node's module is, and what of its leaving is still to be done at balancers."""
        state = self._module.look().state
        return state if state.parting else replace(state, waits_for=(*state.waits_for, *self._targets.unfinished))

    def _outlook(self, unmet: tuple[str, ...]) -> Outlook:
        """Say how the other nodes are, for one with these needs unmet."""
        if not unmet:
            return NOBODY_HEARD
        alive = self._heartbeats.node.membership.roster.alive()
        neighbours = [
            Neighbour(
                name=said.node,
                serves=said.role == Role.UP and said.status == Status.READY and not said.draining,
                unmet=frozenset(said.unmet),
            )
            for said in (peer.heartbeat for peer in alive)
            if said is not None
        ]
        return look_around(self.node, unmet, neighbours)

    def _fractions(self, view: View, name: str) -> tuple[float, ...]:
        groups = len(self._farm.share_names) if self._farm.l2 else 0
        return tuple(_parts(view, group).get(name, 0.0) for group in range(groups))

    def _make_layer_two(self) -> "LayerTwoMode | None":
        if self._farm.l2 is None:
            return None
        # Here and not above: a node without an [l2] table needs nothing of what this imports.
        from hcsidecar.layer_two import LayerTwoMode  # noqa: PLC0415

        # Now, while nobody waits: in the heartbeat path it would look like a daemon that stands still.
        prepare(node.name for node in self._farm.node)
        return LayerTwoMode(
            self._farm,
            self._farm.l2,
            self._me,
            hash_seed=self._loaded.keyring.hash_seed,
            directory=state_dir(self._farm, self._me),
            tell=self.tell,
            changed=self._say_layer_two,
        )

    def _say_layer_two(self) -> None:
        """Let the others know this node's MAC, and whether it holds connections in buckets not its own."""
        if self._layer_two is not None:
            self._heartbeats.say_layer_two(self._layer_two.share.mac)

    # -- life ---------------------------------------------------------------------------------------------------

    async def run(self, socket_path: Path) -> None:
        """Run until told to end. Raises CannotRunError."""
        server = self._server
        async with contextlib.AsyncExitStack() as stack:
            api = Api(self)
            relay = Relay(self, Signer(keys=self._keys, farm=self.farm, node=self.node))
            await stack.enter_async_context(relay)
            verifier = Verifier(keys=self._keys, farm=self.farm, node=self.node, draw=lambda: secrets.token_hex(16))
            app = farm_app(api, verifier, public=[*health_routes(self._face), *MetricsPage(self.metrics).routes()])
            logger = counting_logger(server.connections.refusals)
            protocols = await stack.enter_async_context(tcp_protocols(app, logger=logger))
            try:
                if self._layer_two is not None:
                    stack.push_async_callback(self._layer_two.close)
                    await self._layer_two.open()
                await self._heartbeats.open()
                stack.callback(self._heartbeats.close)
                self._say_layer_two()
                stack.push_async_callback(server.close)
                await self._listen(server, protocols)
                await stack.enter_async_context(serve_unix(local_app(api, relay), socket_path))
            except (HeartbeatListenError, ListenError, SocketInUseError) as error:
                raise CannotRunError(str(error)) from error
            except OSError as error:
                raise CannotRunError(f"control socket {socket_path}: {error.strerror}") from error
            stack.callback(self.journal.close)
            self._take_signals()
            self._hurry()
            await self._live()

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            chores = [
                tasks.create_task(self._heartbeats.run(), name="heartbeats"),
                *self._application.begin(tasks),
                *self._targets.begin(tasks),
                tasks.create_task(self._keep_house(), name="housekeeping"),
            ]
            if self._layer_two is not None:
                layer_two = self._layer_two.run(
                    roster=lambda: self._heartbeats.node.membership.roster, say=self._heartbeats.say_counters
                )
                chores.append(tasks.create_task(layer_two, name="layer 2"))
            module = tasks.create_task(self._module.run(), name="module")
            self._service.tell(READY=1, MAINPID=os.getpid())
            await module
            self._service.tell(STOPPING=1)
            await self._heartbeats.leave()
            for chore in chores:
                chore.cancel()
        # Whatever they still say, the lease is renewed no more.
        self._heartbeats.close()
        if self._layer_two is not None:
            await self._layer_two.close()
        await self._memory.close()

    async def _listen(self, server: HealthServer, protocols: Callable[[], asyncio.Protocol]) -> None:
        web, health = self._farm.web, self._farm.health
        await server.start(_pairs(self._farm.web_listen(self._me)), tls=self._tls(web.tls), api=protocols)
        await server.start(_pairs(health.listen), tls=self._tls(health.tls))
        if health.agent_check is not None:
            await server.start_agent((health.agent_check.host, health.agent_check.port))

    def _tls(self, table: TlsTable | None) -> ssl.SSLContext | None:
        if table is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self._loaded.resolve(table.cert), self._loaded.resolve(table.key))
        except (OSError, ssl.SSLError) as error:
            raise CannotRunError(
                f"the certificate {table.cert} and its key {table.key} do not load: {error}"
            ) from error
        return context

    def _take_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):  # on Windows the loop takes no signals
                self._loop.add_signal_handler(number, self._module.shutdown, signal.Signals(number).name)

    def _hurry(self) -> None:
        """Make the heartbeat path quick and free of pauses."""
        if self._farm.heartbeat.realtime:
            reason = take_realtime_priority()
            text = "heartbeats run at real-time priority" if reason is None else f"no real-time priority: {reason}"
            self.tell(Event(level=Level.INFO, origin="daemon", message=text))
        # What start-up has made stays for good: the collector need not look at it ever again.
        gc.collect()
        gc.freeze()

    async def _keep_house(self) -> None:
        beat = self._service.watchdog_interval
        while True:
            if beat is not None:
                self._service.tell(WATCHDOG=1)
            if self._loaded.keyring.changed():
                self._reload_keys()
            self._follow_targets()
            await asyncio.sleep(min(HOUSEKEEPING_INTERVAL, beat or HOUSEKEEPING_INTERVAL))

    def _reload_keys(self) -> None:
        try:
            self._loaded.keyring.reload()
        except KeyFileError as error:
            message = f"the key file has changed and {error}: the former keys stay in use"
            self.tell(Event(level=Level.ERROR, origin="daemon", message=message))
            return
        self._heartbeats.follow_keys()
        self.tell(Event(level=Level.INFO, origin="daemon", message="took the keys of the changed key file"))

    def _keys(self) -> Keyring:
        return self._loaded.keyring


@lru_cache(maxsize=16)
def _parts(view: View, group: int) -> Mapping[str, float]:
    """Give each member's part of the buckets of a share group."""
    owned = masks({member: powers[group] for member, powers in view if group < len(powers)})
    return {member: mask.bit_count() / BUCKETS for member, mask in owned.items()}


def _pairs(addresses: Iterable[HostPort]) -> tuple[tuple[str, int], ...]:
    return tuple((address.host, address.port) for address in addresses)


def _order(action: Action, by: str, *, tells_first: bool) -> Callable[[Lifecycle, float], Outcome]:
    orders_of: Mapping[Action, Callable[..., Outcome]] = {
        Action.START: orders.start,
        Action.STOP: orders.stop,
        Action.LEAVE: partial(orders.leave, tells_first=tells_first),
        Action.RESTART: orders.restart,
        Action.DRAIN: orders.drain,
        Action.RESUME: orders.resume,
    }
    return lambda lifecycle, now: orders_of[action](lifecycle, now=now, by=by)
