"""Carries out what the API asks of a node: `api.control.Control`, implemented with the daemon's parts."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hcsidecar import __version__
from hcsidecar.api.access import AccessControl
from hcsidecar.api.certificates import CertificatesControl
from hcsidecar.api.control import ApiAddress, ApplicationRequest, NodeCommand
from hcsidecar.api.joining import Joining
from hcsidecar.api.keys import KeysControl
from hcsidecar.api.settings import SettingsControl
from hcsidecar.application.application import Application
from hcsidecar.application.service import Command
from hcsidecar.core.application import commands
from hcsidecar.core.application.outcome import Outcome
from hcsidecar.core.application.states import Status
from hcsidecar.core.documents import (
    ChecksReport,
    CheckState,
    CommandResult,
    FarmStatus,
    NodeFacts,
    NodeSeries,
    RestartBudgetReport,
)
from hcsidecar.core.events import Event, Level
from hcsidecar.core.farmfile.farm_file import FarmFile
from hcsidecar.core.health import HealthFace
from hcsidecar.core.key_change import KeyChange
from hcsidecar.core.l2_documents import LayerTwoCheck
from hcsidecar.core.membership.heartbeat import View
from hcsidecar.core.membership.own_addresses import OwnAddresses
from hcsidecar.core.metric_catalogue import Family
from hcsidecar.core.metrics import Facts, ProcessFigures, SettingsFigures, metric_families
from hcsidecar.core.node_samples import NodeSample, SampleRing
from hcsidecar.core.notify.documents import HandOverAnswer, ReceiverStatus
from hcsidecar.core.powers import why_nobody_takes
from hcsidecar.core.request_bodies import NotificationsBody
from hcsidecar.core.rolling import why_not_drain
from hcsidecar.core.settings.plan import NodeCondition
from hcsidecar.core.snapshot_contents import PackedParts
from hcsidecar.core.status import ModuleState, status_document
from hcsidecar.core.targets.documents import TargetStatus
from hcsidecar.daemon.memory import StateFile
from hcsidecar.daemon.own_notifications import OwnNotifications
from hcsidecar.daemon.own_targets import OwnTargets
from hcsidecar.daemon.reconfiguration import SettingsInForce
from hcsidecar.events.journal import Journal
from hcsidecar.farmfile.dirs import state_dir
from hcsidecar.net.heartbeats import Heartbeats
from hcsidecar.snapshot.launch import SnapshotProcess
from hcsidecar.system.process import resident_bytes
from hcsidecar.web.listener import HealthServer
from hcsidecar.web.refusals import ConnectionRefusal
from l2mode.core.buckets import BUCKETS, masks
from l2mode.core.documents import ClientExplanation, LayerTwoReport
from l2mode.core.reasons import Reason

if TYPE_CHECKING:
    from hcsidecar.daemon.layer_two import LayerTwoMode


class NodeControl:
    """One node as the API needs it; implements `hcsidecar.api.control.Control`. `clock` is monotonic."""

    access: AccessControl
    settings: SettingsControl
    joining: Joining
    keys: KeysControl
    certificates: CertificatesControl
    restart_daemon: Callable[[str], None]
    "Takes who asked. All of these are set by the daemon before the API is open."

    def __init__(
        self,
        *,
        settings: SettingsInForce,
        journal: Journal,
        memory: StateFile,
        face: HealthFace,
        server: HealthServer,
        layer_two: "LayerTwoMode | None",
        targets: OwnTargets,
        notifications: OwnNotifications,
        heartbeats: Heartbeats,
        application: Application,
        own_addresses: OwnAddresses,
        key_change: KeyChange,
        config: Path,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self.journal = journal
        self._memory = memory
        self._face = face
        self._server = server
        self._layer_two = layer_two
        self._targets = targets
        self._notifications = notifications
        self._heartbeats = heartbeats
        self._application = application
        self._own_addresses = own_addresses
        self._key_change = key_change
        self._snapshots = SnapshotProcess(config, settings.me.name)
        self._clock = clock
        self._started_at = time.time()
        self._samples = SampleRing()
        self.settings_complaint: Callable[[], str] = lambda: ""
        "Returns what is out of order with the settings, for `status`."
        self.settings_figures: Callable[[], SettingsFigures | None] = lambda: None

    @property
    def _farm(self) -> FarmFile:
        return self._settings.farm

    @property
    def farm(self) -> str:
        """The farm's name."""
        return self._farm.farm.name

    @property
    def node(self) -> str:
        """This node's name."""
        return self._settings.me.name

    @property
    def nodes(self) -> Mapping[str, ApiAddress]:
        """The address of each node's API."""
        present, to_come = _api_addresses(self._farm), _api_addresses(self._settings.to_come)
        return {
            name: where if to_come.get(name, where) == where else replace(where, later=to_come[name])
            for name, where in present.items()
        }

    @property
    def runs_directory(self) -> Path:
        """The directory with a file of output for each run of a script."""
        return state_dir(self._farm, self._settings.me) / "application"

    def status(self) -> FarmStatus:
        """Return the status document."""
        return status_document(
            membership=self._heartbeats.node.membership,
            module=self._own_state(),
            addresses={node.name: node.address for node in self._farm.node},
            file_powers={node.name: self._farm.powers_of(node.name) for node in self._farm.node},
            shares=self._farm.share_names,
            groups=self._farm.share_names if self._farm.l2 else (),
            fractions=self._fractions,
            now=self._clock(),
        )

    def node_conditions(self, new: FarmFile) -> Sequence[NodeCondition]:
        """Return what is known of each node, those of a new farm file included."""
        status = self.status()
        names = dict.fromkeys([*(node.name for node in status.nodes), *(node.name for node in new.node)])
        return [
            NodeCondition(
                name=name,
                alive=status.of(name).alive,
                ready=status.of(name).status == Status.READY and not status.of(name).draining,
            )
            for name in names
        ]

    def metrics(self) -> tuple[Family, ...]:
        """Return this node's metrics."""
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
            module=self._application.service.look().state,
            checks=self._application.service.state.check_results,
            ready=self._face.answer.ok,
            health_answers={"200": self._face.told_ok, "404": self._face.told_not_found},
            refused_connections={
                reason.value: self._server.connections.refusals[reason] for reason in ConnectionRefusal
            },
            membership=membership,
            powers=dict(zip(self._farm.share_names, membership.powers, strict=True)),
            share=dict(zip(groups, self._fractions(membership.view, self.node), strict=True)),
            heartbeats=self._heartbeats.figures(),
            targets=self.targets(),
            receivers=self.notifications(),
            settings=self.settings_figures(),
            joining=self.joining.figures(),
            layer_two=self.layer_two(),
        )
        return metric_families(facts)

    def facts(self) -> NodeFacts:
        """Return what the console needs to know."""
        farm = self._farm
        return NodeFacts(
            farm=farm.farm.name,
            node=self.node,
            version=__version__,
            nodes=tuple(node.name for node in farm.node),
            keep_ready=farm.farm.keep_ready,
            lame_duck=farm.health.lame_duck,
            shares=farm.share_names if farm.l2 else (),
        )

    def checks(self) -> ChecksReport:
        """Return all checks of this node and their latest results."""
        board = self._application.service.state.board
        states = []
        for rule in board.rules:
            value = board.says(rule.name)
            complaint = board.complaint(rule.name) if value == "down" else None
            states.append(
                CheckState(
                    name=rule.name, value=value or "init", pre=rule.pre, action=rule.action, complaint=complaint or ""
                )
            )
        return ChecksReport(node=self.node, checks=tuple(states))

    def take_sample(self) -> None:
        """Keep a sample of this node, if one is due."""
        now = self._clock()
        if not self._samples.is_due(now=now):
            return
        groups = self._farm.share_names if self._farm.l2 else ()
        packets = None if self._layer_two is None else self._layer_two.share.packets()
        sample = NodeSample(
            ready=self._face.answer.ok,
            share=dict(zip(groups, self._fractions(self._heartbeats.node.membership.view, self.node), strict=True)),
            health_answers=self._face.told_ok + self._face.told_not_found,
            opened=None if packets is None else packets.get(Reason.NEW, 0) + packets.get(Reason.HANDED_NEW, 0),
        )
        self._samples.take(sample, now=now)

    def series(self) -> NodeSeries:
        """Return the samples of the last hour."""
        return self._samples.series(self.node, now=self._clock(), wall=time.time())

    async def act(self, action: NodeCommand, *, force: bool, by: str) -> CommandResult:
        """Begin a command, or refuse it with a reason."""
        refusal = None
        if action is not NodeCommand.START and action is not NodeCommand.RESUME:
            refusal = why_not_drain(self.status(), self.node, keep_ready=self._farm.farm.keep_ready)
        if action is NodeCommand.DRAIN and refusal is not None and not force:
            return CommandResult(ok=False, text=f"{refusal}; --force drains all the same")
        warnings = (refusal,) if refusal is not None else ()
        if action is NodeCommand.RESTART_DAEMON:
            self.restart_daemon(by)
            return CommandResult(ok=True, text="the daemon drains, ends and starts again", warnings=warnings)
        command = _command(action, by, tells_first=self._targets.tells_first)
        result = self._carry_out(command)
        if action is NodeCommand.STOP and force and result.ok and self._application.service.look().state.draining:
            result = self._carry_out(command)
        return CommandResult(ok=result.ok, text=result.text, warnings=warnings if result.ok else ())

    def set_power(self, power: int | None, *, share: str | None, by: str) -> CommandResult:
        """Set this node's power, and remember it."""
        own = self._settings.powers
        change = own.change(self._memory.powers, power, share)
        if isinstance(change, str):
            return CommandResult(ok=False, text=change)
        powers = own.effective(change.powers)
        view = self._heartbeats.node.membership.view
        warnings = why_nobody_takes(own.names, view, self.node, powers) if own.layer_two else []
        self._memory.remember_powers(change.powers)
        self.journal.write(Event(level=Level.INFO, origin="daemon", message=f"this node {change.text}: set by {by}"))
        self._heartbeats.say_powers(powers)
        return CommandResult(ok=True, text=change.text, warnings=tuple(warnings))

    async def request(self, action: ApplicationRequest, *, identity: str) -> CommandResult:
        """Begin what the application requests, or refuse it with a reason."""
        why = f"{identity} asks for it"
        return self._carry_out(lambda lifecycle, now: lifecycle.request(action, why, now=now))

    def reported(self, name: str) -> Literal["up", "down", "init"] | None:
        """Return the state of a check; see `Control`."""
        return self._application.service.state.board.says(name)

    def report(self, name: str, value: Literal["up", "down"]) -> CommandResult:
        """Take a report for a custom check, or refuse it with a reason."""
        refusal = self._application.take_report(name, value)
        return CommandResult(ok=refusal is None, text=refusal or f"{name} is {value}")

    def budget(self) -> RestartBudgetReport:
        """Return the restart budget."""
        budget, now = self._application.service.state.budget, self._clock()
        return RestartBudgetReport(used=budget.used(now=now), most=budget.most, reached=budget.is_reached(now=now))

    def count_restart(self, *, identity: str) -> CommandResult:
        """Count a restart that the application did by itself."""
        why = f"{identity} has restarted something"
        return self._carry_out(lambda lifecycle, now: lifecycle.count_failure(why, now=now))

    def reset_budget(self, *, by: str) -> CommandResult:
        """Set the count of restarts to 0."""
        return self._carry_out(lambda lifecycle, _now: commands.reset_budget(lifecycle, by=by))

    def _carry_out(self, command: Command) -> CommandResult:
        outcome = self._application.service.carry_out(command)
        return CommandResult(ok=outcome.accepted, text=outcome.text)

    @property
    def vips(self) -> tuple[str, ...]:
        """The farm's virtual IPs."""
        return () if self._farm.l2 is None else tuple(vip.address for vip in self._farm.l2.vip)

    def targets(self) -> Sequence[TargetStatus]:
        """Return, for each load balancer, what this node is to be there and what it is."""
        return self._targets.status()

    def notifications(self) -> Sequence[ReceiverStatus]:
        """Return the state of each receiver of notifications on this node."""
        return self._notifications.status()

    def take_notifications(self, body: NotificationsBody) -> HandOverAnswer | None:
        """Take what another node hands over; None if this node has no such receiver."""
        return self._notifications.take(body)

    def layer_two(self) -> LayerTwoReport | None:
        """Return the state of layer-2 mode on this node; None without it."""
        return None if self._layer_two is None else self._layer_two.document()

    def explain(self, address: str, *, port: int | None, vip: str | None) -> ClientExplanation | None:
        """Return which node takes a client; None without layer-2 mode."""
        return None if self._layer_two is None else self._layer_two.explain(address, port=port, vip=vip)

    async def snapshot(self, *, since: int, room: int) -> PackedParts:
        """Let a process of its own make the support snapshot of this node. Raise NoSnapshotError."""
        return await self._snapshots.make(since=since, room=room)

    async def l2_check(self) -> LayerTwoCheck | None:
        """Check this machine and query its network; None without layer-2 mode."""
        return None if self._layer_two is None else await self._layer_two.check()

    def _own_state(self) -> ModuleState:
        """Return the state of this node's application, with what a `leave` must still do at balancers."""
        state = self._application.service.look().state
        complaint = self._own_addresses.complaint or self._key_change.complaint or self.settings_complaint()
        state = replace(state, reason=state.reason or complaint)
        return state if state.parting else replace(state, waits_for=(*state.waits_for, *self._targets.unfinished))

    def _fractions(self, view: View, name: str) -> tuple[float, ...]:
        groups = len(self._farm.share_names) if self._farm.l2 else 0
        return tuple(_parts(view, group).get(name, 0.0) for group in range(groups))


def _api_addresses(farm: FarmFile | None) -> Mapping[str, ApiAddress]:
    if farm is None:
        return {}
    tls = farm.web.tls is not None
    return {node.name: ApiAddress(address=farm.api_address(node), tls=tls) for node in farm.node}


@lru_cache(maxsize=16)
def _parts(view: View, group: int) -> Mapping[str, float]:
    """Return each member's fraction of the buckets of a share group."""
    owned = masks({member: powers[group] for member, powers in view if group < len(powers)})
    return {member: mask.bit_count() / BUCKETS for member, mask in owned.items()}


def _command(action: NodeCommand, by: str, *, tells_first: bool) -> Command:
    command_of: Mapping[NodeCommand, Callable[..., Outcome]] = {
        NodeCommand.START: commands.start,
        NodeCommand.STOP: commands.stop,
        NodeCommand.LEAVE: partial(commands.leave, tells_first=tells_first),
        NodeCommand.RESTART: commands.restart,
        NodeCommand.DRAIN: commands.drain,
        NodeCommand.RESUME: commands.resume,
    }
    return lambda lifecycle, now: command_of[action](lifecycle, now=now, by=by)
