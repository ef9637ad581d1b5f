"""Joins layer-2 mode to the daemon: translates the farm file into its settings, and its events into the log's.

Imported only if the farm file has an [l2] table, because it imports everything that layer-2 mode needs of the machine.
"""

import asyncio
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from hcsidecar.core.events import Event, Level
from hcsidecar.core.farmfile.farm_file import FarmFile, L2Table, NodeTable
from hcsidecar.core.l2_documents import CheckFinding, CheckLevel, LayerTwoCheck, VipAnswer, checked
from hcsidecar.core.membership.heartbeat import Heartbeat
from hcsidecar.core.membership.peers import Peers
from hcsidecar.system.process import CannotRunError
from l2mode.core.buckets import prepare
from l2mode.core.documents import ClientExplanation, LayerTwoReport
from l2mode.core.explain import Client
from l2mode.core.hashing import SEED_BYTES
from l2mode.core.interface import Obstacle
from l2mode.core.oddities import Oddities
from l2mode.core.report import packets_seen
from l2mode.core.settings import By, LayerTwoSettings, Protocol, ShareGroup, Unmatched
from l2mode.core.verdict import Delivery
from l2mode.core.visibility import SeenPackets, Visibility, VisibilityChange
from l2mode.kernel.errors import FilterError
from l2mode.kernel.probe import who_answers
from l2mode.kernel.survey import survey
from l2mode.share import LayerTwo

LOOK_INTERVAL: Final = 1.0
"Seconds between two looks at the counters of packets."
LISTEN: Final = 1.0
"Seconds to wait for answers to an ARP or neighbour request for a virtual IP."
LISTEN_ALTOGETHER: Final = 5.0
"Seconds for all virtual IPs, which are queried one after the other; less than `api.routes.CHECK_TAKES`."

_MILLISECONDS: Final = 1000
"Per second: heartbeats carry times in milliseconds."

_LEVELS: Final = {
    "info": CheckLevel.OK,
    "warning": CheckLevel.WARNING,
    "error": CheckLevel.PROBLEM,
}
"By the level's name in layer-2 mode."


def settings_of(farm: FarmFile, table: L2Table, *, me: str, hash_seed: bytes) -> LayerTwoSettings:
    """Return the settings of layer-2 mode for a farm file."""
    return LayerTwoSettings(
        farm=farm.farm.name,
        me=me,
        nodes=tuple(sorted(node.name for node in farm.node)),
        vips=tuple(ip_address(vip.address) for vip in table.vip),
        groups=tuple(
            ShareGroup(
                name=share.name,
                protocol=Protocol(share.protocol),
                ports=share.ports,
                vip=None if share.vip is None else ip_address(share.vip),
                by=By(share.by),
            )
            for share in table.share
        ),
        seed=hash_seed[:SEED_BYTES],
        delivery=Delivery(table.delivery),
        unmatched=Unmatched(table.unmatched),
        digest=farm.settings_digest(),
    )


class LayerTwoMode:
    """The layer-2 mode of one node; its `share` is what membership governs.

    `changed` is called with the node's MAC and its dirty buckets. `obstructed` is called with what keeps this machine
    from serving the virtual IPs and what to do about it, and with None when nothing does any more.
    """

    def __init__(
        self,
        farm: FarmFile,
        table: L2Table,
        me: NodeTable,
        *,
        hash_seed: bytes,
        directory: Path,
        tell: Callable[[Event], None],
        changed: Callable[[], None],
        obstructed: Callable[[str | None, str], None],
    ) -> None:
        self._tell = tell
        self._obstructed = obstructed
        self.share = LayerTwo(
            settings_of(farm, table, me=me.name, hash_seed=hash_seed),
            interface=table.interface,
            address=me.address,
            own_addresses=me.addresses.values(),
            wanted_filter=table.filter,
            directory=directory,
            tell=self._tell_plainly,
            changed=changed,
            obstructed=self._tell_obstacle,
        )
        self._visibility = Visibility() if self.share.settings.delivery is Delivery.FLOODED else None
        self._oddities = Oddities(self.share.settings.delivery)

    async def open(self) -> None:
        """Set up the machine. Raise CannotRunError if that fails; if the error is `passing`, call this again."""
        try:
            await self.share.open()
        except FilterError as error:
            raise CannotRunError(f"layer-2 mode: {error}", passing=error.passing) from error
        except OSError as error:
            raise CannotRunError(f"layer-2 mode: {error}") from error
        settings = self.share.settings
        vips = ", ".join(map(str, settings.vips))
        message = f"{vips} on {self.share.interface}, {settings.delivery.value} delivery, filter {self.share.filter}"
        self._tell_plainly("info", message)

    async def take(self, farm: FarmFile, table: L2Table) -> None:
        """Go by another farm file, whose interface, filter and delivery are the same.

        On return the share has gone over, and nothing else has happened since: the caller must tell membership at once,
        first of the digest and the powers (`Node.set_layer_two`), then of the nodes. Raise CannotRunError, with
        everything as before, if the kernel refuses something.
        """
        former = self.share.settings
        settings = settings_of(farm, table, me=former.me, hash_seed=former.seed)
        # On the loop this would take long enough to delay heartbeats.
        await asyncio.to_thread(prepare, settings.nodes)
        try:
            await self.share.reconfigure(settings)
        except FilterError as error:
            raise CannotRunError(f"layer-2 mode: {error}", passing=error.passing) from error
        if settings.vips != former.vips:
            self._tell_plainly("info", f"the virtual IPs are {', '.join(map(str, settings.vips))} now")

    async def run(self, peers: Callable[[], Peers], say: Callable[[tuple[int, ...]], None]) -> None:
        """Keep the machine as it must be, and watch the counters of packets, until cancelled.

        `say` gets the counts that this node's heartbeats must carry, for the others to compare.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.share.run(), name="layer-2 mode")
            tasks.create_task(self._keep_looking(peers, say), name="packets")

    async def close(self) -> None:
        """Put the machine back as it was found; safe to repeat."""
        await self.share.close()

    def document(self) -> LayerTwoReport:
        """Return the state of layer-2 mode on this node."""
        cut_off = () if self._visibility is None else self._visibility.cut_off
        return self.share.document(cut_off=cut_off, lasting=self._oddities.lasting)

    def explain(self, address: str, *, port: int | None, vip: str | None) -> ClientExplanation:
        """Return which node takes a client."""
        wanted = None if vip is None else ip_address(vip)
        return self.share.explain(Client(address=ip_address(address), port=port, vip=wanted))

    async def check(self) -> LayerTwoCheck:
        """Check this machine, query its network for the virtual IPs, and return the findings."""
        findings, answers = await asyncio.to_thread(_look_around, self.share.interface, self.share.settings)
        return checked(self.document(), findings=findings, answers=answers)

    async def _keep_looking(self, peers: Callable[[], Peers], say: Callable[[tuple[int, ...]], None]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            packets = self.share.packets()
            mine = SeenPackets(packets=packets_seen(packets), at=loop.time())
            say((mine.packets, int(mine.at * _MILLISECONDS)))
            for oddity in self._oddities.look(packets, now=loop.time()):
                self._tell_plainly(oddity.level, str(oddity))
            if self._visibility is not None:
                counts = {self.share.settings.me: mine} | _counted_by(peers())
                for sight in self._visibility.look(counts, now=loop.time()):
                    self._tell_plainly("error" if sight.change is VisibilityChange.CUT_OFF else "info", str(sight))
            await asyncio.sleep(LOOK_INTERVAL)

    def _tell_obstacle(self, obstacle: Obstacle | None) -> None:
        if obstacle is None:
            self._obstructed(None, "")
        else:
            self._obstructed(f"layer 2: {obstacle.problem}", obstacle.remedy)

    def _tell_plainly(self, level: str, message: str) -> None:
        self._tell(Event(level=Level(level), origin="layer 2", message=message))


def _counted_by(peers: Peers) -> dict[str, SeenPackets]:
    """Return, for each node that is heard, how many packets to the virtual IPs it has seen, and when."""
    counts = {}
    for peer in peers.acknowledged():
        match peer.heartbeat:
            case Heartbeat(counters=(packets, at, *_)):
                counts[peer.name] = SeenPackets(packets=packets, at=at / _MILLISECONDS)
            case _:  # the node has not counted yet
                pass
    return counts


def _look_around(interface: str, settings: LayerTwoSettings) -> tuple[list[CheckFinding], dict[str, list[VipAnswer]]]:
    """Return the findings on this machine, and the answers for each virtual IP that could be queried; blocks."""
    findings = []
    try:
        for found in survey(interface, settings.vips, settings.delivery):
            remedy = found.remedy or ""
            findings.append(CheckFinding(level=_LEVELS[found.level], message=found.message, remedy=remedy))
    except OSError as error:
        findings.append(_unseen(f"{interface} cannot be looked at: {error.strerror}", "ask again"))
    answers = {}
    for vip in settings.vips:
        try:
            heard = who_answers(interface, vip, min(LISTEN, LISTEN_ALTOGETHER / len(settings.vips)))
        except FilterError as error:
            findings.append(_unseen(f"the network cannot be asked for {vip}: {error.problem}", error.remedy))
            continue
        answers[str(vip)] = [
            VipAnswer(mac=answer.mac.hex(":"), source_mac=answer.source_mac.hex(":")) for answer in heard
        ]
    return findings, answers


def _unseen(message: str, remedy: str) -> CheckFinding:
    return CheckFinding(level=CheckLevel.PROBLEM, message=message, remedy=remedy)
