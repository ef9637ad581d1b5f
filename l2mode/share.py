"""Layer-2 mode of one node: the handover, the filter in the kernel, the ARP announcer and the scan of sockets together.

A decision of the membership core (`adopt`, `claim`, `release`, `renew`, `meet`) is in the filter's tables when the call
returns, because writing them takes plain stores only. Threads do everything that asks the kernel, beside the event
loop.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Final

from l2mode.announcer import Announcer
from l2mode.core.conditions import Hold
from l2mode.core.documents import ClientExplanation, LayerTwoReport
from l2mode.core.explain import Client, explain
from l2mode.core.filter_kinds import FilterKind
from l2mode.core.frames import virtual_mac
from l2mode.core.handover import Handover, director_of
from l2mode.core.heard_share import HeardShare
from l2mode.core.interface import Obstacle
from l2mode.core.reasons import REASONS, Reason
from l2mode.core.regrouping import Regrouping, regrouping
from l2mode.core.report import FilterReport, layer_two_document
from l2mode.core.settings import LayerTwoSettings
from l2mode.core.speaker import Speaker
from l2mode.core.table_writer import TableWriter
from l2mode.core.transit import View
from l2mode.core.verdict import Delivery
from l2mode.host_setup import HostSetup, Replacement
from l2mode.kernel.errors import FilterError
from l2mode.kernel.raw_frames import RawFrames
from l2mode.kernel.record import TellOperator
from l2mode.kernel.sockets import held_buckets
from l2mode.kernel.watch import NetworkWatch

SETTLING: Final = 0.02
"Seconds from a change of the filter to the scan of sockets: by then whatever the filter let in before has a socket."
LOOK_INTERVAL: Final = 1.0
"Seconds between two scans of the sockets of a dirty node."
IDLE_LOOK_INTERVAL: Final = 10.0
"The same for a clean node: only a member that slept through a change of the view could have made it dirty."
LOOK_SHARE: Final = 0.05
"The fraction of time that scans may take: a server with 100,000 connections is scanned less often."
REPAIR_INTERVAL: Final = 2.0
"Seconds between two looks at the machine while the kernel reports no change; it never reports changes of sysctls."
REPAIR_SHARE: Final = 0.1
"The fraction of time that these looks may take."

_NANOSECONDS: Final = 1e9


class LayerTwo:
    """Layer-2 mode of one node; satisfies `Share` of the daemon's membership core.

    `interface` None means the interface that holds `address`; `own_addresses` has all the node's addresses in the farm
    file. `directory` is the node's state directory. `changed` is called when this node has become dirty or clean, or
    has another MAC. `obstructed` is called with an obstacle when something has come into the way of its share, and with
    None when nothing is in the way any more.
    """

    def __init__(
        self,
        settings: LayerTwoSettings,
        *,
        interface: str | None,
        address: str,
        own_addresses: Iterable[str],
        wanted_filter: str,
        directory: Path,
        tell: TellOperator,
        changed: Callable[[], None],
        obstructed: Callable[[Obstacle | None], None],
    ) -> None:
        self.settings = settings
        directed = settings.delivery is Delivery.DIRECTED
        self.handover = Handover(
            name=settings.me, groups=len(settings.groups), directed=directed, settings=settings.digest
        )
        self._writers: list[TableWriter] = []
        "One for each filter that may have the packets: two while one takes the place of the other."
        self._counted_before = dict.fromkeys((reason for reason in REASONS if reason.counted), 0)
        "What former filters have counted."
        self._changing = asyncio.Lock()
        self._tell = tell
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._host_setup = HostSetup(
            settings,
            interface=interface,
            address=address,
            own_addresses=own_addresses,
            wanted_filter=wanted_filter,
            directory=directory,
            tell=self._tell_from_thread,
        )
        self._obstructed = obstructed
        self._hold = Hold()
        self._others: View = ()
        "The view by which this node forwards what still reaches it while it is in no view."
        self._look_soon = asyncio.Event()
        self._repair_soon = asyncio.Event()

    # -- life ---------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Close the filter that an earlier process left open, and set up the machine. Raise FilterError if refused.

        Nothing is taken before the first lease and claim.
        """
        self._writers = [TableWriter(await asyncio.to_thread(self._host_setup.set_up), self.settings)]
        try:
            wire = RawFrames(self.interface, self.settings.vips, tell=self._tell, virtual_mac=self.virtual_mac)
        except FilterError:
            await asyncio.to_thread(self._host_setup.take_down)
            raise
        self._voice = Announcer(Speaker(self.settings), wire, loop=self._loop, tell=self._tell)
        self._write()

    async def run(self) -> None:
        """Scan the sockets and keep the setup of the machine until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_looking(), name="look at the sockets")
            tasks.create_task(self._keep_repairing(), name="repair")

    async def close(self) -> None:
        """Stop taking packets, and put the machine back as it was found; safe to repeat."""
        for writer in self._writers:
            writer.tables.set_lease(0)
        if hasattr(self, "_voice"):
            self._voice.close()
        await asyncio.to_thread(self._host_setup.take_down)

    async def reconfigure(self, settings: LayerTwoSettings) -> None:
        """Go by other settings, without a gap for the clients of what stays the same.

        Interface, kind of filter, delivery, seed and the name of the node stay. Raise FilterError, with everything as
        before, if the kernel refuses something.

        A second filter, by the new settings, is loaded and put in the place of the first one in one step. Until this
        method returns the node has its buckets by the former settings, and both filters are written. Nothing that could
        fail or wait comes after that: on return, and before anything else happens on the loop, the caller must tell
        membership of the digest and the powers (`Node.set_layer_two`), and then of the nodes.
        """
        async with self._changing:
            if settings == self.settings:
                return
            new = await asyncio.to_thread(self._host_setup.prepare, settings)
            changes = regrouping(self.settings, settings)
            writer = TableWriter(new.tables, settings, changes)
            writer.tables.set_lease(_nanoseconds(self.handover.lease))
            self._writers.append(writer)
            self._write_macs()
            self._write()
            try:
                former = await asyncio.to_thread(self._host_setup.replace, new)
                await self._change_vips(settings, former)
            except FilterError:
                self._writers.remove(writer)
                self._host_setup.retire_soon(new)
                self._repair_soon.set()
                raise
            self._host_setup.retire_soon(former)
            self._repair_soon.set()
            self._go_over(writer, changes, settings)

    async def _change_vips(self, settings: LayerTwoSettings, former: Replacement) -> None:
        """Speak for the new virtual IPs. If that is refused, put the former filter back and raise FilterError."""
        if settings.vips == self.settings.vips:
            return
        try:
            self._voice.change_vips(settings.vips)
        except FilterError:
            await asyncio.to_thread(self._host_setup.replace, former)
            raise

    def _go_over(self, writer: TableWriter, changes: Regrouping, settings: LayerTwoSettings) -> None:
        for reason, count in self._writers[0].tables.counters().items():
            self._counted_before[reason] += count
        self._writers = [writer]
        if settings.digest != self.settings.digest or settings.groups != self.settings.groups:
            self.handover.regroup(changes.groups, settings=settings.digest)
        self.settings = settings
        writer.go_over()
        self._write()

    # -- called by membership ---------------------------------------------------------------------------------------

    @property
    def holding(self) -> bool:
        """True while this node takes any bucket."""
        return self.handover.holding

    @property
    def dirty(self) -> bool:
        """True while this node may hold connections in buckets that are not its own."""
        return self.handover.dirty

    @property
    def dirty_buckets(self) -> bytes:
        """The dirty buckets, as a heartbeat has them."""
        return self.handover.dirty_buckets

    def adopt(self, view: View) -> None:
        """Adopt a view: drop the buckets that it takes away, and mark as pending those that it newly gives."""
        self.handover.adopt(view)
        self._write()

    def claim(self) -> None:
        """Claim what is pending."""
        self.handover.claim()
        self._write()

    def release(self) -> None:
        """Release every bucket."""
        self.handover.release()
        self._write()

    def renew(self, until: float) -> None:
        """Let the filter take packets until `until`, in seconds of the monotonic clock."""
        self.handover.renew(until)
        for writer in self._writers:
            writer.tables.set_lease(_nanoseconds(until))
        self._voice.renew(until)

    def meet(self, neighbours: Iterable[HeardShare]) -> None:
        """Take in what the heard nodes announce."""
        drops = self.handover.drops
        moves = self.handover.meet(neighbours)
        self._write_macs()
        if moves or self._view_to_pass_on_by() != self._others:
            self._turn()
        else:
            self._write_dirty()
        self._speak_by_the_view()
        if self.handover.drops != drops:
            self._look_soon.set()

    # -- the filter's tables ------------------------------------------------------------------------------------

    def _write(self) -> None:
        self._turn()
        self._look_soon.set()
        self._speak_by_the_view()

    def _turn(self) -> None:
        """Write the handover's decisions into the filter's tables."""
        self._others = self._view_to_pass_on_by()
        for writer in self._writers:
            writer.turn(self.handover, self._others)

    def _view_to_pass_on_by(self) -> View:
        """Return the others' view while this node is in none; (): in flooded delivery, where each has its own copy."""
        if self.handover.view or self.settings.delivery is Delivery.FLOODED:
            return ()
        return self.handover.view_of_others()

    def _write_macs(self) -> None:
        for writer in self._writers:
            writer.write_macs(self.mac, self.handover)

    def _write_dirty(self) -> None:
        for writer in self._writers:
            writer.write_dirty(self.handover)

    def _speak_by_the_view(self) -> None:
        """Tell the announcer of the view; it speaks after the heartbeat that is being composed."""
        view = self.handover.view or self.handover.view_of_others()
        macs = {node.name: node.mac for node in self.handover.neighbours if node.mac} | {self.settings.me: self.mac}
        directors = [director_of(view, vip.packed) for vip in self.settings.vips]
        self._voice.update(view=[name for name, _ in view], directors=directors, macs=macs)

    # -- asked by others --------------------------------------------------------------------------------------------

    @property
    def mac(self) -> bytes:
        """The MAC of the interface."""
        return self._host_setup.mac

    @property
    def interface(self) -> str:
        """Name of the interface in the virtual IPs' network."""
        return self._host_setup.interface

    @property
    def filter(self) -> str:
        """The filter in use, and why it was chosen."""
        return f"{self._host_setup.choice.kind.value}: {self._host_setup.choice.why}"

    @property
    def virtual_mac(self) -> bytes | None:
        """The MAC that the virtual IPs have in flooded delivery."""
        return virtual_mac(self.settings) if self.settings.delivery is Delivery.FLOODED else None

    def packets(self) -> dict[Reason, int]:
        """Return the number of packets to the virtual IPs since the start, by what became of them."""
        counted = self._counted_before.copy()
        for writer in self._writers:
            for reason, count in writer.tables.counters().items():
                counted[reason] += count
        return counted

    def document(self, *, cut_off: Collection[str], lasting: Collection[Reason]) -> LayerTwoReport:
        """Return the document about layer-2 mode on this node."""
        used = FilterReport(
            choice=self._host_setup.choice,
            warnings=self._host_setup.filter.warnings,
            interface=self.interface,
            mac=self.mac,
            packets=self.packets(),
        )
        return layer_two_document(
            self.handover,
            self.settings,
            used,
            virtual_mac=self.virtual_mac,
            cut_off=cut_off,
            lasting=lasting,
            conflicts=self._voice.conflicts,
            now=self._loop.time(),
        )

    def explain(self, client: Client) -> ClientExplanation:
        """Return which node takes a client."""
        return explain(self.handover, self.settings, client, now=self._loop.time())

    # -- beside the loop ----------------------------------------------------------------------------------------

    async def _keep_looking(self) -> None:
        blind = False
        while True:
            began, start = self.handover.drops, self._loop.time()
            try:
                held = await asyncio.to_thread(held_buckets, self.settings)
            except OSError as error:
                # A node that cannot look stays dirty: the others then leave packets that they do not know to it.
                if not blind:
                    self._tell("error", f"cannot look for connections ({error.strerror}): modprobe inet_diag tcp_diag")
                blind = True
            else:
                blind = False
                self._take_look(held, began)
            least = LOOK_INTERVAL if self.handover.dirty else IDLE_LOOK_INTERVAL
            await self._wait_for_change(max(least, (self._loop.time() - start) / LOOK_SHARE))

    def _take_look(self, held: Sequence[int], began: int) -> None:
        before = self.handover.dirty, self.handover.dirty_buckets
        self.handover.scanned(held, drops=began)
        if (self.handover.dirty, self.handover.dirty_buckets) != before:
            self._write_dirty()
            self._changed()

    async def _wait_for_change(self, longest: float) -> None:
        try:
            async with asyncio.timeout(longest):
                await self._look_soon.wait()
        except TimeoutError:
            return
        await asyncio.sleep(SETTLING)
        self._look_soon.clear()

    async def _keep_repairing(self) -> None:
        watch = None
        try:
            while True:
                watch = watch or self._begin_to_watch()
                self._repair_soon.clear()
                began = self._loop.time()
                await self._repair()
                took = self._loop.time() - began
                # Changes may come in a storm, for example on a host whose containers come and go.
                await asyncio.sleep(min(took / REPAIR_SHARE, REPAIR_INTERVAL))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(min(began + REPAIR_INTERVAL, self._hold.next_at())):
                        await self._repair_soon.wait()
        finally:
            if watch is not None:
                watch.close()

    def _begin_to_watch(self) -> NetworkWatch | None:
        """Return a watch on changes in the kernel, or None if descriptors run out.

        Without the watch, the next look finds the changes.
        """
        has_rules = self._host_setup.choice.kind is FilterKind.NFQUEUE
        try:
            return NetworkWatch(self._loop, self._repair_soon.set, rules=has_rules)
        except OSError:
            return None

    async def _repair(self) -> None:
        before = self.mac
        found = await asyncio.to_thread(self._host_setup.repair)
        if self._hold.see(found, now=self._loop.time()):
            self._obstructed(self._hold.obstacle)
        self._voice.repair()
        if self.mac != before:
            self._tell("warning", f"{self.interface} has another MAC now: {self.mac.hex(':')}")
            self._write_macs()
            self._speak_by_the_view()
            self._changed()

    def _tell_from_thread(self, level: str, message: str) -> None:
        self._loop.call_soon_threadsafe(self._tell, level, message)


def _nanoseconds(until: float) -> int:
    """Return a time in seconds as the tables have it; one in the past of all clocks is 0."""
    return int(max(0.0, until) * _NANOSECONDS)
