"""The heartbeat path: sockets and one timer on one side, the node's machine on the other, nothing decided here."""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from hcsidecar.core.events import Event, Level
from hcsidecar.core.farmfile.farm_file import FarmFile, NodeTable
from hcsidecar.core.membership.heartbeat import decode, encode
from hcsidecar.core.membership.node import Node, NodeOutput, Share, Timing
from hcsidecar.core.membership.peers import KnownPeer
from hcsidecar.core.membership.revision_state import RevisionState
from hcsidecar.core.metrics import HeartbeatFigures
from hcsidecar.net.datagrams import Datagrams
from hcsidecar.net.keyring import Keyring
from hcsidecar.net.sealing import DatagramOpener, DatagramSealer, OpenFailure

NO_HEARTBEAT = "not a heartbeat"
DOUBLE_TONGUED = "says one thing under the seal and another on it"
LAG_REMARK_DISTANCE = 10.0
"Seconds between two remarks that the loop stood still: one is news, a hundred are noise."


class Heartbeats:
    """Drives one `Node` from the network and the clock of the running loop.

    `powers` has one per share group; `next_boot` gives a boot number above the one given and all before, `tell` takes
    events. `known` is what an earlier daemon knew of the other nodes, `remember` takes what the next one must know.
    `hear_revisions` takes what all nodes that count say of their revisions of the settings, whenever that changes. A
    datagram that is not a heartbeat of this farm is counted in `refused` by reason and otherwise ignored.
    """

    def __init__(
        self,
        *,
        farm: FarmFile,
        me: NodeTable,
        keyring: Keyring,
        share: Share,
        powers: tuple[int, ...],
        next_boot: Callable[[int], int],
        known: Mapping[str, KnownPeer],
        remember: Callable[[Mapping[str, KnownPeer]], None],
        tell: Callable[[Event], None],
        hear_revisions: Callable[[Mapping[str, RevisionState]], None] = lambda _heard: None,
    ) -> None:
        self._farm = farm
        self._me = me
        self._share = share
        self._powers = powers
        self._keyring = keyring
        self._next_boot = next_boot
        self._known = known
        self._remember = remember
        self._tell = tell
        self._hear_revisions = hear_revisions
        self._timing = Timing(pulse=farm.heartbeat.pulse, lost_after=farm.heartbeat.lost_after)
        self._opener = DatagramOpener(keyring=keyring, farm=farm.farm.name, known_nodes=_names(farm))
        self._datagrams = Datagrams(
            own=me.addresses,
            others=_others(farm, me),
            port=farm.heartbeat.port,
            receive=self._receive,
        )
        self._electorates: Sequence[Collection[str]] = ()
        self._timer: asyncio.TimerHandle | None = None
        self._farewell = asyncio.Event()
        self._lag_told_at = float("-inf")
        self.refused = dict.fromkeys((*(refusal.value for refusal in OpenFailure), NO_HEARTBEAT, DOUBLE_TONGUED), 0)
        self.longest_lag = 0.0
        "Seconds; how late the timer came at the worst."

    async def open(self) -> None:
        """Bind the sockets, close what an earlier boot left open, and begin to listen. Raises ListenError."""
        self._loop = asyncio.get_running_loop()
        self._failed: asyncio.Future[None] = self._loop.create_future()
        await self._datagrams.open()
        self.node = self._be_born()
        self._arm()

    def figures(self) -> HeartbeatFigures:
        """Give what has been sent and received since `open`."""
        return HeartbeatFigures(
            sent=self._datagrams.sent,
            received=self._datagrams.received,
            unsent=self._datagrams.failures,
            dropped={**self.refused, **self.node.membership.refused},
        )

    @property
    def strangers(self) -> Collection[str]:
        """In whose names datagrams have come with keys that are not in the key file."""
        return self._opener.strangers

    async def run(self) -> None:
        """Wait until cancelled; raises what went wrong in a callback, where asyncio would only log it."""
        await self._failed

    def close(self) -> None:
        """Stop; safe to repeat. Says no last words: see `leave`."""
        if self._timer is not None:
            self._timer.cancel()
        self._datagrams.close()

    async def leave(self) -> None:
        """Close the share and say the last words, within a few pulses."""
        self.carry_out(self.node.leave(now=self._loop.time()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(4 * self._timing.pulse):
                await self._farewell.wait()

    def say_application(
        self, *, role: str, status: str, draining: bool, reason: str, unmet: tuple[str, ...] = (), wants: bool
    ) -> None:
        """Tell the others of this node's application, and whether it would take a share."""
        now = self._loop.time()
        self.carry_out(
            self.node.set_application(
                role=role, status=status, draining=draining, reason=reason[:200], unmet=unmet[:64], now=now
            )
        )
        self.carry_out(self.node.set_wants(wants, now=now))

    def say_powers(self, powers: tuple[int, ...]) -> None:
        """Take part with these powers from now on, one per share group."""
        self._powers = powers
        self.carry_out(self.node.set_powers(powers, now=self._loop.time()))

    def reconfigure(
        self, farm: FarmFile, powers: tuple[int, ...], *, electorates: Sequence[Collection[str]] = ()
    ) -> None:
        """Go by a changed farm file of the same name, with the same timing and own addresses.

        A node that is gone is sent nothing more. For `electorates` see `Membership.set_nodes`.
        """
        former, self._farm = self._farm, farm
        now = self._loop.time()
        self._opener.set_known_nodes(_names(farm))
        self._datagrams.set_others(_others(farm, self._me))
        # The share has gone over to other groups: membership must hear of that before anything else.
        if former.settings_digest() != farm.settings_digest():
            self._powers = powers
            self.carry_out(self.node.set_layer_two(settings_digest=farm.settings_digest(), powers=powers, now=now))
        elif powers != self._powers:
            self.say_powers(powers)
        if set(_names(former)) != set(_names(farm)) or self._electorates != electorates:
            self._electorates = electorates
            self.carry_out(self.node.set_nodes(_names(farm), electorates=electorates, now=now))
        if former.farm.partition != farm.farm.partition:
            self.carry_out(self.node.set_partition(farm.farm.partition, now=now))

    def say_layer_two(self, mac: bytes) -> None:
        """Tell the others where this node's interface is, and whether it is dirty, as the share says."""
        now = self._loop.time()
        self.carry_out(self.node.set_mac(mac, now=now))
        self.carry_out(self.node.set_dirty(now=now))

    def say_revisions(self, revisions: RevisionState) -> None:
        """Tell the others which revisions of the settings this node goes by and tries."""
        self.carry_out(self.node.set_revisions(revisions, now=self._loop.time()))

    def say_counters(self, counters: tuple[int, ...]) -> None:
        """Let the next heartbeats carry these counts; nobody waits for them."""
        self.node.membership.set_counters(counters)

    def follow_keys(self) -> None:
        """Seal and open with the keys that the keyring has now."""
        self._opener.follow_keys()
        self._sealer.follow_keys()

    def carry_out(self, output: NodeOutput) -> None:
        """Do what the node's machine wants done."""
        for send in output.sends:
            datagram = self._sealer.seal(send.heartbeat.seq, encode(send.heartbeat))
            for name in send.to:
                self._datagrams.send(name, datagram)
        for event in output.events:
            self._tell(event)
        if output.known_peers is not None:
            self._remember(output.known_peers)
        if output.reborn_above is not None:
            self._datagrams.discard()
            self.node = self._be_born(output.reborn_above)
            self._hear_revisions({})
        if self.node.membership.said_farewell:
            self._farewell.set()
        self._arm()
        if output.heard_revisions is not None:
            self._hear_revisions(output.heard_revisions)

    def _be_born(self, above: int = -1) -> Node:
        old = self.node.membership if hasattr(self, "node") else None
        boot = self._next_boot(above)
        self._sealer = DatagramSealer(keyring=self._keyring, farm=self._farm.farm.name, node=self._me.name, boot=boot)
        node = Node(
            name=self._me.name,
            boot=boot,
            nodes=_names(self._farm),
            farm=self._farm.farm.name,
            timing=self._timing,
            settings_digest=self._farm.settings_digest(),
            powers=self._powers,
            share=self._share,
            partition=self._farm.farm.partition,
            known=self._known if old is None else old.peers.known(),
            now=self._loop.time(),
        )
        if old is not None:
            node.membership.inherit(old)
        return node

    def _receive(self, datagram: bytes) -> None:
        opened = self._opener.open(datagram)
        if isinstance(opened, OpenFailure):
            self._refuse(opened.value)
            return
        heartbeat = decode(opened.plaintext)
        if heartbeat is None:
            self._refuse(NO_HEARTBEAT)
            return
        if (heartbeat.node, heartbeat.boot, heartbeat.seq) != (opened.node, opened.boot, opened.seq):
            self._refuse(DOUBLE_TONGUED)
            return
        with self._end_on_bug():
            self.carry_out(self.node.receive(heartbeat, now=self._loop.time()))

    def _refuse(self, reason: str) -> None:
        self.refused[reason] += 1

    def _on_timer(self) -> None:
        now = self._loop.time()
        assert self._timer is not None  # noqa: S101 - it has just fired
        self._watch_lag(now - self._timer.when(), now)
        self._timer = None
        with self._end_on_bug():
            self.carry_out(self.node.tick(now=now))

    @contextlib.contextmanager
    def _end_on_bug(self) -> Iterator[None]:
        """Hand an exception to `run`, which ends the daemon: a node whose heartbeats are broken must not go on."""
        try:
            yield
        except Exception as error:  # our own bug, whatever it is
            if self._failed.done():
                raise
            self._failed.set_exception(error)

    def _watch_lag(self, lag: float, now: float) -> None:
        self.longest_lag = max(self.longest_lag, lag)
        if lag > self._timing.lost_after / 2 and now >= self._lag_told_at + LAG_REMARK_DISTANCE:
            self._lag_told_at = now
            self._tell(
                Event(
                    level=Level.WARNING,
                    origin="daemon",
                    message=f"stood still for {lag:.3g} s: the machine is overloaded or was paused",
                )
            )

    def _arm(self) -> None:
        """Never later than promised before: the machine measures by it how late it was woken."""
        due = self.node.next_tick_at()
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._on_timer)


def _names(farm: FarmFile) -> tuple[str, ...]:
    return tuple(node.name for node in farm.node)


def _others(farm: FarmFile, me: NodeTable) -> dict[str, Mapping[str, str]]:
    """Return the addresses of each other node, by network."""
    return {node.name: node.addresses for node in farm.node if node.name != me.name}
