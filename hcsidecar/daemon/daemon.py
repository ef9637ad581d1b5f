"""The daemon: builds the parts of one node, starts and ends them in order, and owns them in one TaskGroup.

The start: keys and memory, heartbeats (which first close what an earlier boot left open), listeners, the application.
The end: the application drains and stops while the health listener answers NOT FOUND, the last heartbeats are sent, and
only then the listeners close.
"""

import asyncio
import contextlib
import gc
import secrets
import ssl
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcsidecar.access.store import AccessStore
from hcsidecar.api.auth import Signer, Verifier
from hcsidecar.api.farm import farm_app
from hcsidecar.api.joining import JoiningDoor
from hcsidecar.api.keys import KeysDoor
from hcsidecar.api.local import local_app
from hcsidecar.api.relay import Relay
from hcsidecar.api.routes import Api
from hcsidecar.api.servers import SocketInUseError, serve_unix, tcp_protocols
from hcsidecar.application.application import Application
from hcsidecar.application.connections import ConnectionCounter
from hcsidecar.application.service import EVIDENCE_INTERVAL, Published
from hcsidecar.core.application import commands
from hcsidecar.core.application.draining import Drain
from hcsidecar.core.application.last_stays import NOBODY_HEARD, OtherNode, Outlook, look_around
from hcsidecar.core.application.states import Role, Status
from hcsidecar.core.events import Event, Level
from hcsidecar.core.exhaustion import explained
from hcsidecar.core.farmfile.farm_file import FarmFile, HostPort, NodeTable, TlsTable
from hcsidecar.core.health import HealthAnswer, HealthFace
from hcsidecar.core.key_change import KeyChange
from hcsidecar.core.lost_files import Losses
from hcsidecar.core.membership.node import NoShare
from hcsidecar.core.membership.own_addresses import OwnAddresses
from hcsidecar.core.membership.revision_state import RevisionState
from hcsidecar.core.settings.agreement import SettingsRecord
from hcsidecar.core.settings.leaving import leave_limit
from hcsidecar.core.settings.revision import RevisionId
from hcsidecar.core.targets.desired_state import Situation
from hcsidecar.daemon.access_service import PURPOSE as ACCESS_PURPOSE
from hcsidecar.daemon.access_service import AccessService
from hcsidecar.daemon.candidates import Candidates
from hcsidecar.daemon.console_certificates import ConsoleCertificates
from hcsidecar.daemon.console_socket import serve_console
from hcsidecar.daemon.drain_evidence import NodeDrainEvidence
from hcsidecar.daemon.joining_service import JoiningService
from hcsidecar.daemon.key_service import KeyService
from hcsidecar.daemon.memory import StateFile
from hcsidecar.daemon.node_control import NodeControl
from hcsidecar.daemon.own_notifications import OwnNotifications
from hcsidecar.daemon.own_targets import OwnTargets
from hcsidecar.daemon.reconfiguration import (
    Parts,
    Reconfiguration,
    ReconfigurationError,
    SettingsInForce,
    Taken,
)
from hcsidecar.daemon.reload import CertificateError, Certificates, reread_farm_file
from hcsidecar.daemon.settings_service import SettingsService
from hcsidecar.daemon.settled_settings import load_stored
from hcsidecar.daemon.start_conditions import STILL, StartConditions
from hcsidecar.daemon.upkeep import Upkeep
from hcsidecar.events.journal import Journal
from hcsidecar.farmfile.copy import NAME as COPY
from hcsidecar.farmfile.copy import content_of_copy
from hcsidecar.farmfile.dirs import CONSOLE_SOCKET, SETTINGS, control_socket, state_dir
from hcsidecar.farmfile.loading import LoadedFarm
from hcsidecar.joining.node_tls import NodeTls
from hcsidecar.net.datagrams import HeartbeatSocketError as HeartbeatListenError
from hcsidecar.net.heartbeats import Heartbeats
from hcsidecar.net.keyring import KeyFileError, Keyring
from hcsidecar.net.sealed_messages import MessageSealer
from hcsidecar.settings.farm_directory import FarmDirectory
from hcsidecar.system.machine_addresses import is_lost
from hcsidecar.system.private_file import KeptFile
from hcsidecar.system.process import CannotRunError, ServiceManager, take_descriptors, take_realtime_priority
from hcsidecar.system.signals import Signals
from hcsidecar.web.accepting import ACCEPT_COMPLAINT, Admission
from hcsidecar.web.aiohttp_bridge import counting_logger, health_middleware
from hcsidecar.web.connections import Limits
from hcsidecar.web.listener import HealthServer, ListenError
from hcsidecar.web.metrics_page import MetricsPage
from hcsidecar.web.removals_page import RemovalsPage
from l2mode.core.buckets import prepare

if TYPE_CHECKING:
    from hcsidecar.daemon.layer_two import LayerTwoMode

HOUSEKEEPING_INTERVAL = 1.0
DEREGISTER_LIMIT = 30.0
"Seconds that the balancers may take to let go of a node that the farm has removed."
OWN_DESCRIPTORS = 48
"Open files that the daemon itself needs, with those of layer-2 mode; 20 to 30 were counted."
DESCRIPTORS_EACH = 6
"Open files in addition for each check and each target: the start of a program takes this many."


class Daemon:
    """One node of a farm."""

    def __init__(
        self,
        loaded: LoadedFarm,
        me: NodeTable,
        journal: Journal,
        memory: StateFile,
        losses: Losses,
        *,
        signals: Signals,
        service: ServiceManager,
        conditions: StartConditions,
        settings: SettingsRecord,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._settings = SettingsInForce(loaded, me)
        self._journal = journal
        self._memory = memory
        self._losses = losses
        self._upkeep = Upkeep(memory=memory, losses=losses, tell=self.tell)
        self._signals = signals
        self._node_tls = NodeTls(
            key_file=loaded.key_file,
            state_dir=state_dir(loaded.farm, me),
            identity=lambda: (self._me.name, tuple(self._me.addresses.values())),
            tell=self.tell,
        )
        self._certificates = Certificates(self._settings)
        self._hung_up = asyncio.Event()
        self._started = False
        self._service = service
        self._conditions = conditions
        self.restarts = False
        "It ends to be started again in its place."
        self.removed = False
        "It ends because the farm has removed this node."
        self._settings_record = settings
        self._revisions: SettingsService | None = None
        "None until the heartbeats are open."
        powers = self._settings.powers
        if powers.effective(memory.powers) != powers.file:
            remembered = f"this node {powers.describe(memory.powers)}: set before this start"
            self.tell(Event(level=Level.INFO, origin="daemon", message=remembered))
        self._face = HealthFace(
            farm=self._farm.farm.name,
            path=self._farm.health.path,
            answer=HealthAnswer(ok=False, node=me.name, state="STOP(NotReady)", reason="just started"),
            now=loop.time(),
        )
        self._joining_door = JoiningDoor()
        self._keys_door = KeysDoor()
        self._server = self._make_server()
        self._layer_two = self._make_layer_two()
        self._targets = OwnTargets(loaded, me, tell=self.tell)
        self._notifications = OwnNotifications(
            loaded, me, journal=journal, membership=lambda: self._heartbeats.node.membership
        )
        self._published: Published | None = None
        self._keys_wanted = False
        "The key file has changed, and could not be read for a reason that may pass."
        self._key_change = KeyChange(
            loaded.keyring.print,
            former=memory.known_keys,
            alone=len(self._farm.node) == 1,
            file=str(loaded.keyring.path),
        )
        for event in self._key_change.begin():
            self.tell(event)
        self._own_addresses = OwnAddresses(me.addresses)
        self._heartbeats = Heartbeats(
            farm=self._farm,
            me=me,
            keyring=loaded.keyring,
            share=NoShare() if self._layer_two is None else self._layer_two.share,
            powers=powers.effective(memory.powers),
            next_boot=memory.next_boot,
            known=memory.known_peers,
            remember=memory.remember_peers,
            tell=self.tell,
            hear_revisions=self._hear_revisions,
        )
        self._evidence = NodeDrainEvidence(
            ConnectionCounter(self._farm.check, self._farm.l2),
            self._face,
            self._farm.health.prober_fall,
            self._targets,
            is_sent_clients=self._is_sent_clients,
        )
        self._application = Application(
            loaded,
            me,
            memory=memory,
            socket=control_socket(loaded.farm, me),
            evidence=self._evidence,
            publish=self._publish,
            tell=self.tell,
            outlook=self._outlook,
        )
        self._control = NodeControl(
            settings=self._settings,
            journal=journal,
            memory=memory,
            face=self._face,
            server=self._server,
            layer_two=self._layer_two,
            targets=self._targets,
            notifications=self._notifications,
            heartbeats=self._heartbeats,
            application=self._application,
            own_addresses=self._own_addresses,
            key_change=self._key_change,
            config=loaded.working_copy,
            clock=loop.time,
        )

    @property
    def _farm(self) -> FarmFile:
        return self._settings.farm

    @property
    def _me(self) -> NodeTable:
        return self._settings.me

    async def take(self, loaded: LoadedFarm, *, electorates: Sequence[Collection[str]] = ()) -> Taken:
        """Go by a changed farm file from now on; see `Reconfiguration.take`."""
        if not self._started:
            raise ReconfigurationError(f"{self._why_starting()}: give it the settings again in a moment")
        return await self._reconfiguration.take(loaded, electorates=electorates)

    # -- what the parts tell each other ----------------------------------------------------------------------------

    def tell(self, event: Event) -> None:
        """Write an event into the journal, which writes it into the log."""
        self._journal.write(event)

    def _hear_revisions(self, heard: Mapping[str, RevisionState]) -> None:
        if self._revisions is not None:
            self._revisions.hear(heard)

    def _why_no_traffic(self) -> str | None:
        """Return why this node takes no traffic whatever its application says: others may have newer settings."""
        if self._revisions is not None:
            return self._revisions.why_no_traffic()
        return "just started" if self._settings_record.settled is not None else None

    def _publish_again(self) -> None:
        if self._published is not None:
            self._publish(self._published)

    def _publish(self, published: Published) -> None:
        """Tell probers, members and the service manager of the application's state; the health URL comes first."""
        state = published.state
        waits = self._why_no_traffic()
        self._face.set_answer(
            HealthAnswer(
                ok=published.serving and waits is None,
                node=self._me.name,
                state=published.name,
                reason=state.reason or waits or "",
                draining=state.draining,
            ),
            now=self._loop.time(),
        )
        self._heartbeats.say_application(
            role=state.role,
            status=state.status,
            draining=state.draining,
            reason=state.reason,
            unmet=published.unmet,
            wants=published.wants_share and waits is None,
        )
        self._service.tell(STATUS=f"{published.name} {state.reason}".strip())
        self._published = published
        self._notifications.see_own(published)
        self._follow_targets()

    def _follow_targets(self) -> None:
        """Tell the targets the state of this node, without waiting for them."""
        published, membership = self._published, self._heartbeats.node.membership
        if published is not None:
            in_view = any(name == self._me.name for name, _ in membership.view)
            self._targets.follow(
                Situation(
                    word=published.word, ready=published.serving and self._why_no_traffic() is None, in_view=in_view
                )
            )

    def _outlook(self, unmet: tuple[str, ...]) -> Outlook:
        """Return the state of the other nodes, as it matters to a node with these needs unmet."""
        if not unmet:
            return NOBODY_HEARD
        alive = self._heartbeats.node.membership.peers.acknowledged()
        neighbours = [
            OtherNode(
                name=said.node,
                serves=said.role == Role.UP and said.status == Status.READY and not said.draining,
                unmet=frozenset(said.unmet),
            )
            for said in (peer.heartbeat for peer in alive)
            if said is not None
        ]
        return look_around(self._me.name, unmet, neighbours)

    def _make_server(self) -> HealthServer:
        """Return the listeners, with limits for the number of files that this process may open."""
        self._descriptors = take_descriptors()
        server = HealthServer(self._face, limits=self._limits(self._farm))
        server.admission = self._admission = Admission(
            server.connections.make_room, clock=self._loop.time, tell=self.tell
        )
        return server

    def _limits(self, farm: FarmFile) -> Limits:
        own = OWN_DESCRIPTORS + DESCRIPTORS_EACH * (len(farm.check) + len(farm.target))
        return Limits.within(self._descriptors, own=own)

    def _limit_connections(self, farm: FarmFile) -> None:
        self._server.connections.limits = self._limits(farm)

    def _is_sent_clients(self) -> bool:
        """Return whether new clients of the virtual IPs may still reach this node."""
        return self._layer_two is not None and self._layer_two.share.holding

    def _make_layer_two(self) -> "LayerTwoMode | None":
        if self._farm.l2 is None:
            return None
        # Imported here because a node without an [l2] table needs none of it.
        from hcsidecar.daemon.layer_two import LayerTwoMode  # noqa: PLC0415

        # At the start, because in the heartbeat path it would take long enough to look like a frozen daemon.
        prepare(node.name for node in self._farm.node)
        return LayerTwoMode(
            self._farm,
            self._farm.l2,
            self._me,
            hash_seed=self._settings.loaded.keyring.hash_seed,
            directory=state_dir(self._farm, self._me),
            tell=self.tell,
            changed=self._announce_layer_two,
            obstructed=self._see_machine,
        )

    def _announce_layer_two(self) -> None:
        """Tell the other nodes this node's MAC, and in which buckets it is dirty."""
        if self._layer_two is not None:
            self._heartbeats.say_layer_two(self._layer_two.share.mac)

    def _see_machine(self, obstacle: str | None, remedy: str) -> None:
        """Tell the application what keeps this machine from serving the virtual IPs."""
        self._application.service.see_machine(obstacle, remedy)

    # -- life ---------------------------------------------------------------------------------------------------

    async def run(self, socket_path: Path) -> None:
        """Run until told to end, and wait at the start for conditions that pass by themselves.

        Raise CannotRunError if the node cannot run, StoppedError if it was told to end while it waited.
        """
        server = self._server
        self._loop.set_exception_handler(_complain)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._admission.close)
            api = Api(self._control)
            relay = Relay(self._control, Signer(keys=self._keys, farm=self._farm.farm.name, node=self._me.name))
            await stack.enter_async_context(relay)
            verifier = Verifier(
                keys=self._keys,
                farm=self._farm.farm.name,
                node=self._me.name,
                nodes=frozenset(node.name for node in self._farm.node),
                draw=lambda: secrets.token_hex(16),
            )
            app = farm_app(
                api,
                verifier,
                public=[
                    *MetricsPage(self._control.metrics).routes(),
                    *self._joining_door.routes(),
                    *RemovalsPage(self._removal).routes(),
                    *self._keys_door.routes(),
                ],
                first=[health_middleware(self._face)],
            )
            logger = counting_logger(server.connections.refusals)
            protocols = await stack.enter_async_context(tcp_protocols(app, logger=logger))
            try:
                # Opened first, so that commands can learn what the start waits for, and closed first.
                door = await stack.enter_async_context(contextlib.AsyncExitStack())
                local = local_app(api, relay, starting=self._why_starting)
                served = serve_unix(local, socket_path, logger=logger, admission=self._admission)
                self._socket = await door.enter_async_context(served)
                console = serve_console(
                    api,
                    relay,
                    socket_path.with_name(CONSOLE_SOCKET),
                    starting=self._why_starting,
                    record=lambda: self._access.record,  # until it is open, nobody is served
                    logger=logger,
                    admission=self._admission,
                    tell=self.tell,
                )
                self._console_socket = await door.enter_async_context(console)
                if self._layer_two is not None:
                    stack.push_async_callback(self._layer_two.close)
                    await self._conditions.until(self._layer_two.open)
                await self._conditions.until(self._heartbeats.open)
                stack.callback(self._heartbeats.close)
                self._open_settings(relay)
                await self._key_service.load()
                await self._open_access(relay)
                self._announce_layer_two()
                stack.push_async_callback(server.close)
                await self._listen(server, protocols)
            except (HeartbeatListenError, ListenError, SocketInUseError) as error:
                raise CannotRunError(str(error)) from error
            except OSError as error:
                raise CannotRunError(f"control socket {socket_path}: {error.strerror}") from error
            stack.push_async_callback(door.aclose)
            stack.callback(self._journal.close)
            self._reconfiguration = self._make_reconfiguration(verifier)
            self._started = True
            self._signals.lead_to(end=self._application.service.shutdown, reread=self._hung_up.set)
            self._prioritise_heartbeats()
            await self._live(relay)

    def _open_settings(self, relay: Relay) -> None:
        """Begin to agree with the other nodes on settings."""
        self._revisions = service = SettingsService(
            node=self._me.name,
            directory=state_dir(self._farm, self._me) / SETTINGS,
            record=self._settings_record,
            listens_until=self._loop.time() + self._farm.heartbeat.lost_after,
            farm_directory=FarmDirectory.of(self._settings.loaded),
            initial=self._settings.loaded,
            load_stored=partial(load_stored, working_copy=self._settings.loaded.working_copy),
            in_force=lambda: self._farm,
            relay=relay,
            take=self._take,
            take_errors=(ReconfigurationError,),
            leave=self._drain_to_leave,
            end=self._end_removed,
            keys=self._keys,
            restart=self._restart,
            share_changed=self._publish_again,
            say=self._heartbeats.say_revisions,
            tell=self.tell,
        )
        self._control.settings = candidates = Candidates(service, relay, conditions=self._control.node_conditions)
        self._control.joining = self._joining_door.joining = JoiningService(
            settings=self._settings,
            candidates=candidates,
            tls=self._node_tls,
            alive=lambda: [peer.name for peer in self._heartbeats.node.membership.peers.acknowledged()],
            tell=self.tell,
            clock=self._loop.time,
            wall_clock=time.time,
        )
        self._key_service = KeyService(
            directory=state_dir(self._farm, self._me) / "keys",
            settings=self._settings,
            tls=self._node_tls,
            relay=relay,
            alive=lambda: [peer.name for peer in self._heartbeats.node.membership.peers.acknowledged()],
            known_to_removed=service.keys_of_removed,
            reload=self._reload_keys,
            end_sessions=lambda: self._access.end_sessions(by="the change of the farm's keys"),
            tell=self.tell,
        )
        self._control.keys = self._keys_door.keys = self._key_service
        self._control.certificates = ConsoleCertificates(
            settings=self._settings, tls=self._node_tls, tell=self.tell, clock=self._loop.time
        )
        self._control.restart_daemon = lambda by: self._restart(f"told by {by}")
        self._control.settings_complaint = lambda: service.complaint
        self._control.settings_figures = service.figures
        service.begin()

    async def _open_access(self, relay: Relay) -> None:
        """Read the users and API tokens that this node knows of."""
        sealer = MessageSealer(self._keys, farm=self._farm.farm.name, purpose=ACCESS_PURPOSE)
        self._access = AccessService(
            node=self._me.name,
            store=AccessStore(state_dir(self._farm, self._me)),
            sealer=sealer,
            relay=relay,
            nodes=lambda: self._control.nodes,
            alive=lambda: [peer.name for peer in self._heartbeats.node.membership.peers.acknowledged()],
            tell=self.tell,
            lost=self._losses.note,
        )
        self._control.access = self._access
        await self._access.open()

    async def _take(self, loaded: LoadedFarm, electorates: Sequence[Collection[str]]) -> Sequence[str]:
        taken = await self.take(loaded, electorates=electorates)
        return [str(change) for change in taken.waiting]

    def _removal(self, name: str) -> bytes | None:
        return None if self._revisions is None else self._revisions.removal(name)

    async def _drain_to_leave(self) -> None:
        """Wait until nobody uses this node any more, which takes no new traffic; at most for the drain limit."""
        began = self._loop.time()
        drain = Drain(since=began)
        limit = leave_limit(self._farm)
        while self._loop.time() < began + limit:
            connections = await self._evidence.connections()
            drain.see(connections=connections, probers=self._evidence.probers(now=self._loop.time()))
            if not drain.waits_for:
                break
            await asyncio.sleep(EVIDENCE_INTERVAL)
        left = f", still there: {', '.join(drain.waits_for)}" if drain.waits_for else ", nobody uses it any more"
        message = f"this node has drained to leave the farm, after {self._loop.time() - began:.1f} s{left}"
        self.tell(Event(level=Level.WARNING if drain.waits_for else Level.INFO, origin="settings", message=message))

    async def _end_removed(self, revision: RevisionId) -> None:
        """Stop the application, deregister this node at its balancers, and end this daemon for good."""
        self.removed = True
        by = f"the farm, which has removed this node with {revision}"
        service = self._application.service
        service.carry_out(lambda lifecycle, now: commands.leave(lifecycle, now=now, by=by))
        until = self._loop.time() + DEREGISTER_LIMIT
        while True:
            if not self._targets.unfinished or self._loop.time() >= until:
                break
            await asyncio.sleep(EVIDENCE_INTERVAL)
        service.shutdown(by)

    def _restart(self, why: str) -> None:
        """End this daemon gently; `main` starts it again in its place."""
        self.restarts = True
        self.tell(Event(level=Level.INFO, origin="daemon", message=f"ends to start again: {why}"))
        self._application.service.shutdown(f"restart of the daemon: {why}")

    def _make_reconfiguration(self, verifier: Verifier) -> Reconfiguration:
        parts = Parts(
            heartbeats=self._heartbeats,
            layer_two=self._layer_two,
            application=self._application,
            evidence=self._evidence,
            face=self._face,
            targets=self._targets,
            notifications=self._notifications,
            verifier=verifier,
            journal=self._journal,
            upkeep=self._upkeep,
            memory=self._memory,
            limit_connections=self._limit_connections,
        )
        return Reconfiguration(self._settings, parts, self.tell)

    def _why_starting(self) -> str | None:
        """Return that this node is starting and what it waits for; None after the start."""
        if self._started:
            return None
        waits_for = self._conditions.waits_for
        runs = f"the daemon of {self._me.name} runs"
        return f"{runs}, and {STILL}: {waits_for}" if waits_for else f"{runs}, and is starting"

    async def _keep_files(self) -> None:
        copy = KeptFile(self._socket.path.with_name(COPY))
        self._upkeep.keep_copy(content_of_copy(self._settings.loaded, self._me))
        await self._upkeep.run([self._socket, self._console_socket], copy)

    async def _live(self, relay: Relay) -> None:
        async with asyncio.TaskGroup() as tasks:
            chores = [
                tasks.create_task(self._heartbeats.run(), name="heartbeats"),
                *self._application.begin(tasks),
                *self._targets.begin(tasks),
                *self._notifications.begin(tasks, relay),
                tasks.create_task(self._access.run(), name="access"),
                tasks.create_task(self._keep_house(), name="housekeeping"),
                tasks.create_task(self._keep_files(), name="upkeep"),
                tasks.create_task(self._keep_rereading(), name="files"),
                tasks.create_task(self._node_tls.run(), name="certificate"),
                tasks.create_task(self._key_service.run(), name="keys"),
            ]
            if self._revisions is not None:
                chores.append(tasks.create_task(self._revisions.run(), name="settings"))
            if self._layer_two is not None:
                layer_two = self._layer_two.run(
                    peers=lambda: self._heartbeats.node.membership.peers, say=self._heartbeats.say_counters
                )
                chores.append(tasks.create_task(layer_two, name="layer 2"))
            application = tasks.create_task(self._application.service.run(), name="application")
            self._service.tell_ready()
            await application
            if not self.restarts:
                # systemd would take the process for one that ends, and kill it after a while.
                self._service.tell(STOPPING=1)
            await self._heartbeats.leave()
            for chore in chores:
                chore.cancel()
        # No matter what the other nodes send from now on, the lease is not renewed any more.
        self._heartbeats.close()
        if self._layer_two is not None:
            await self._layer_two.close()
        await self._memory.close()

    async def _listen(self, server: HealthServer, protocols: Callable[[], asyncio.Protocol]) -> None:
        web, health = self._farm.web, self._farm.health
        until = self._conditions.until
        listen, tls = _pairs(self._farm.web_listen(self._me)), self._tls(web.tls)
        await until(partial(server.start, listen, tls=tls, tls_beside=self._farms_tls, api=protocols))
        await until(partial(server.start, _pairs(health.listen), tls=self._tls(health.tls)))
        if health.agent_check is not None:
            await until(partial(server.start_agent, (health.agent_check.host, health.agent_check.port)))

    def _tls(self, table: TlsTable | None) -> ssl.SSLContext | None:
        if table is None:
            return None
        try:
            return self._certificates.context(table)
        except CertificateError as error:
            raise CannotRunError(str(error)) from error

    def _farms_tls(self) -> ssl.SSLContext | None:
        """Return the TLS context with the certificate that this node has of the farm; None while it has none."""
        return self._node_tls.server

    def _prioritise_heartbeats(self) -> None:
        """Get real-time priority, and keep the garbage collector from pausing the heartbeats."""
        if self._farm.heartbeat.realtime:
            reason = take_realtime_priority()
            text = "heartbeats run at real-time priority" if reason is None else f"no real-time priority: {reason}"
            self.tell(Event(level=Level.INFO, origin="daemon", message=text))
        # The objects made at the start stay until the end, so the collector need not examine them again.
        gc.collect()
        gc.freeze()

    async def _keep_house(self) -> None:
        beat = self._service.watchdog_interval
        while True:
            if beat is not None:
                self._service.tell(WATCHDOG=1)
            if self._settings.loaded.keyring.changed() or self._keys_wanted:
                self._reload_keys()
            self._follow_targets()
            self._admission.refill()
            self._look_for_addresses()
            self._look_at_keys()
            self._control.take_sample()
            await asyncio.sleep(min(HOUSEKEEPING_INTERVAL, beat or HOUSEKEEPING_INTERVAL))

    def _look_for_addresses(self) -> None:
        for event in self._own_addresses.see({each for each in self._me.addresses.values() if not is_lost(each)}):
            self.tell(event)

    def _look_at_keys(self) -> None:
        """Check whether the other nodes use this node's keys, and remember those that they use for the next daemon."""
        met = [peer.name for peer in self._heartbeats.node.membership.peers.acknowledged()]
        for event in self._key_change.look(met=met, strangers=self._heartbeats.strangers):
            self.tell(event)
        if self._key_change.confirmed is not None:
            self._memory.remember_keys(self._key_change.confirmed)

    async def _keep_rereading(self) -> None:
        """At each SIGHUP, reload keys and certificates, and log which changes of the farm file are not applied."""
        while True:
            await self._hung_up.wait()
            self._hung_up.clear()
            self._reload_keys()
            try:
                self._certificates.reread()
            except CertificateError as error:
                message = f"{error}: the former certificates stay in use"
                self.tell(Event(level=Level.ERROR, origin="daemon", message=message))
            self.tell(await reread_farm_file(self._settings.loaded))

    def _reload_keys(self) -> None:
        try:
            self._settings.loaded.keyring.reload()
        except KeyFileError as error:
            again = self._keys_wanted
            # If there was no descriptor to read it with, try again: the file will not change another time.
            self._keys_wanted = isinstance(error.__cause__, OSError) and explained(error.__cause__.errno) is not None
            if not (again and self._keys_wanted):
                message = f"the key file has changed and {error}: the former keys stay in use"
                self.tell(Event(level=Level.ERROR, origin="daemon", message=message))
            return
        self._keys_wanted = False
        self._heartbeats.follow_keys()
        self._key_change.reload(self._settings.loaded.keyring.print)
        self.tell(Event(level=Level.INFO, origin="daemon", message="loaded the keys of the key file"))

    def _keys(self) -> Keyring:
        return self._settings.loaded.keyring


def _complain(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what went wrong in a callback, unless an event has reported it already."""
    if context.get("message") != ACCEPT_COMPLAINT:
        loop.default_exception_handler(context)


def _pairs(addresses: Iterable[HostPort]) -> tuple[tuple[str, int], ...]:
    return tuple((address.host, address.port) for address in addresses)
