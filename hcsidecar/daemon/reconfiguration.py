"""Takes a changed farm file while the daemon runs, without a failed request or a broken connection.

What a running daemon takes is decided in `core/settings/live_change.py`. `Reconfiguration.take` refuses a change before
it has touched anything, or carries it out within one turn of the loop: every part has a `reconfigure` that does not
wait. A setting that is not live stays as it is in the one farm file by which all parts go, until the next start.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hcsidecar.application.application import Application
from hcsidecar.core.events import Event, Level
from hcsidecar.core.farmfile.changes import changed_settings
from hcsidecar.core.farmfile.farm_file import FarmFile, NodeTable
from hcsidecar.core.health import HealthFace
from hcsidecar.core.powers import NodePowers
from hcsidecar.core.settings.differences import SettingChange
from hcsidecar.core.settings.live_change import farm_in_force, waiting_changes
from hcsidecar.daemon.drain_evidence import NodeDrainEvidence
from hcsidecar.daemon.memory import StateFile
from hcsidecar.daemon.own_notifications import OwnNotifications
from hcsidecar.daemon.own_targets import OwnTargets
from hcsidecar.daemon.upkeep import Upkeep
from hcsidecar.events.journal import Journal
from hcsidecar.farmfile.copy import content_of_copy
from hcsidecar.farmfile.loading import LoadedFarm
from hcsidecar.net.heartbeats import Heartbeats
from hcsidecar.system.process import CannotRunError

if TYPE_CHECKING:
    from hcsidecar.api.auth import Verifier
    from hcsidecar.daemon.layer_two import LayerTwoMode

_SHOWN = 8
"Changes that an event names."


class ReconfigurationError(Exception):
    """Raised if a farm file cannot be taken by the running daemon; the text is for the operator."""


@dataclass(slots=True, eq=False)
class SettingsInForce:
    """The farm file by which all parts of one daemon go at this moment."""

    loaded: LoadedFarm
    """The file and what it names. Where the daemon goes by a revision, `loaded.path` is that of the revision; `text`
    is the whole text, with what waits for a restart."""
    me: NodeTable
    waiting: tuple[SettingChange, ...] = ()
    "What the text says and the daemon takes when it starts again."
    to_come: FarmFile | None = None
    "The whole file, where something waits."

    @property
    def farm(self) -> FarmFile:
        """The settings in force."""
        return self.loaded.farm

    @property
    def powers(self) -> NodePowers:
        """The powers of this node."""
        return NodePowers(
            names=self.farm.share_names, file=self.farm.powers_of(self.me.name), layer_two=self.farm.l2 is not None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What has become of a changed farm file."""

    waiting: tuple[SettingChange, ...]
    "What differs from the settings in force, and is taken when the daemon starts again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of a daemon that go by the farm file while they run."""

    heartbeats: Heartbeats
    layer_two: "LayerTwoMode | None"
    application: Application
    evidence: NodeDrainEvidence
    face: HealthFace
    targets: OwnTargets
    notifications: OwnNotifications
    verifier: "Verifier"
    journal: Journal
    upkeep: Upkeep
    memory: StateFile
    limit_connections: Callable[[FarmFile], None]
    "Adjusts the number of connections to the files that checks and targets need."


@dataclass(slots=True, eq=False)
class Reconfiguration:
    """Takes changed farm files, one after the other; `tell` takes events."""

    settings: SettingsInForce
    parts: Parts
    tell: Callable[[Event], None]
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def take(self, loaded: LoadedFarm, *, electorates: Sequence[Collection[str]] = ()) -> Taken:
        """Go by a changed farm file from now on, as far as that needs no restart.

        Raise ReconfigurationError, and leave everything as it was, if this daemon cannot. For `electorates` see
        `Membership.set_nodes`.
        """
        async with self._turn:
            settings = self.settings
            if (why := _why_not(settings, loaded.farm)) is not None:
                raise ReconfigurationError(why)
            await self.parts.targets.prepare(loaded)
            await self.parts.notifications.prepare(loaded)
            farm = farm_in_force(settings.farm, loaded.farm, me=settings.me.name)
            await self._take_layer_two(farm)
            # Nothing may happen between the two: layer-2 mode has gone over, and membership has to be told.
            return self._take(loaded, farm, electorates)

    async def _take_layer_two(self, farm: FarmFile) -> None:
        """Let layer-2 mode go over to what concerns it. Raise ReconfigurationError, with everything as before."""
        layer_two, former = self.parts.layer_two, self.settings.farm
        if layer_two is None or farm.l2 is None or _of_layer_two(former) == _of_layer_two(farm):
            return
        try:
            await layer_two.take(farm, farm.l2)
        except CannotRunError as error:
            raise ReconfigurationError(str(error)) from error

    def _take(self, loaded: LoadedFarm, farm: FarmFile, electorates: Sequence[Collection[str]]) -> Taken:
        settings, parts = self.settings, self.parts
        former = settings.farm
        # The keys are those of the operator's file, which this daemon reads again by itself when it changes.
        settings.loaded = replace(loaded, farm=farm, keyring=settings.loaded.keyring)
        settings.me = farm.node_named(settings.me.name)
        settings.waiting = waiting_changes(farm, loaded.farm)
        settings.to_come = loaded.farm if settings.waiting else None
        parts.verifier.set_nodes(frozenset(node.name for node in farm.node))
        parts.face.set_path(farm.health.path)
        parts.limit_connections(farm)
        parts.evidence.reconfigure(farm)
        parts.heartbeats.reconfigure(farm, settings.powers.effective(parts.memory.powers), electorates=electorates)
        parts.application.reconfigure(settings.loaded, settings.me)
        parts.targets.reconfigure(settings.loaded, settings.me)
        parts.notifications.reconfigure(settings.loaded)
        parts.journal.reconfigure(farm.log)
        parts.upkeep.keep_copy(content_of_copy(settings.loaded, settings.me))
        changed = changed_settings(former, farm)
        if changed or settings.waiting:
            self.tell(_event(changed, settings.waiting))
        return Taken(waiting=settings.waiting)


def _why_not(settings: SettingsInForce, present: FarmFile) -> str | None:
    """Return why this daemon cannot go by a farm file, or None."""
    names = [node.name for node in present.node]
    if settings.me.name not in names:
        return f"it has no node {settings.me.name}, which runs here; it has {', '.join(names)}"
    return None


def _of_layer_two(farm: FarmFile) -> object:
    """Return what layer-2 mode goes by, for a comparison."""
    return farm.l2, [node.name for node in farm.node]


def _event(changed: Sequence[str], waiting: Sequence[SettingChange]) -> Event:
    told = [_named(changed) if changed else "nothing that a running daemon takes"]
    if waiting:
        told.append(f"used after a restart of this daemon: {_named([str(change) for change in waiting])}")
    message = f"goes by changed settings: {'; '.join(told)}"
    return Event(level=Level.WARNING if waiting else Level.INFO, origin="daemon", message=message)


def _named(changes: Sequence[str]) -> str:
    more = f" and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
    return ", ".join(changes[:_SHOWN]) + more
