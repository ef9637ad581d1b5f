"""What one node knows of the others: their latest heartbeats, their boots, and which hears which."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hcsidecar.core.membership.connectivity import Connectivity, bits
from hcsidecar.core.membership.heartbeat import Heartbeat, View
from hcsidecar.core.membership.timing import Timing


@dataclass(frozen=True, slots=True)
class KnownPeer:
    """What must be known of another node after a restart of this one."""

    boot: int
    "The highest boot ever heard."
    timing: Timing | None = None
    "Its own timing, if it was heard at the end; None if it had left or was dead, in which case it holds nothing."


class Peer:
    """What this node knows of another one."""

    __slots__ = (
        "acked",
        "acknowledged",
        "alive",
        "answered_at",
        "boot",
        "boot_since",
        "candidate_since",
        "heard_at",
        "heartbeat",
        "index",
        "left",
        "listed_me",
        "name",
        "own_timing",
        "place",
        "refused_at",
        "seq",
        "timing",
        "told_deaf",
        "unlisted_since",
        "view_mask",
    )

    def __init__(self, name: str, index: int, timing: Timing) -> None:
        self.name = name
        self.index = index
        self.own_timing: Timing | None = None
        "The timing that it announces; None before it is heard, and if it had left or died before this node started."
        self.timing = timing
        "The slower of its own timing and this node's: the two judge each other by this."
        self.boot = -1
        "The highest boot ever heard."
        self.seq = -1
        "The highest sequence processed of that boot."
        self.heartbeat: Heartbeat | None = None
        "The latest heartbeat processed."
        self.boot_since = float("-inf")
        "When this node first heard that boot."
        self.alive = False
        "Heard within lost_after. That alone proves little: the heartbeats could be a recording."
        self.acknowledged = False
        """Since it is heard, it has listed a fresh sequence of this node's boot. That proves that it lives; else it
        does not count."""
        self.left = False
        "This boot has announced that it leaves."
        self.heard_at = 0.0
        self.place = -1
        "The index of this node in its list, if it lists this node's current boot; else -1."
        self.listed_me = -1
        "The same index if it lists a fresh sequence of this node there; else -1."
        self.acked = -1
        "The highest of this node's sequences that it lists; -1 while it does not list this node."
        self.answered_at = float("-inf")
        "When it was last answered at once."
        self.unlisted_since = 0.0
        "When it began to be heard without listing this node."
        self.told_deaf = False
        "The operator was told that it is heard and does not acknowledge this node."
        self.refused_at = float("-inf")
        "When it was last refused for an older boot although it lives."
        self.candidate_since: float | None = None
        "When it began to be alive and to want a share."
        self.view_mask: int | None = 0
        "The members of the view that it announces, as a mask; None if one of them is not in this node's farm file."

    def why_refuse(self, heartbeat: Heartbeat) -> str | None:
        """Return why a heartbeat is of the past, or None. Replayed or late bytes must change nothing."""
        if heartbeat.boot < self.boot:
            return "old boot"
        if heartbeat.boot > self.boot:
            return None
        if heartbeat.seq <= self.seq:
            return "old sequence"
        return "after leave" if self.left else None

    def would_share(self) -> bool:
        """True when its latest heartbeat wants a share and has a power above 0."""
        return self.alive and self.acknowledged and self.heartbeat is not None and would_share(self.heartbeat)

    @property
    def view(self) -> View:
        """The view that it announces; () if it is out or not alive."""
        return self.heartbeat.view if self.alive and self.heartbeat is not None else ()


class Peers:
    """The other nodes of the farm, and the graph of who hears whom. In masks, bit i stands for the i-th name."""

    def __init__(
        self,
        *,
        me: str,
        boot: int,
        names: Iterable[str],
        timing: Timing,
        known: Mapping[str, KnownPeer] | None = None,
    ) -> None:
        self.names = tuple(sorted(names))
        self.index = {name: index for index, name in enumerate(self.names)}
        self.me = self.index[me]
        self.hearing = Connectivity(len(self.names))
        self.by_name = {name: Peer(name, index, timing) for name, index in self.index.items() if name != me}
        for name, before in (known or {}).items():
            if name in self.by_name:
                self.by_name[name].boot, self.by_name[name].own_timing = before.boot, before.timing
        self._timing = timing
        self._my_name = me
        self._boot = boot

    def set_names(self, names: Iterable[str]) -> list[Peer]:
        """Take other names for those of the whole farm, this node's among them. Return the peers that are gone.

        What is known of the others stays. A new peer is one that was never heard.
        """
        before = self.by_name
        self.names = tuple(sorted(names))
        self.index = {name: index for index, name in enumerate(self.names)}
        self.me = self.index[self._my_name]
        self.by_name = {
            name: before.get(name) or Peer(name, index, self._timing)
            for name, index in self.index.items()
            if name != self._my_name
        }
        self.hearing = Connectivity(len(self.names))
        for peer in self.by_name.values():
            peer.index = self.index[peer.name]
            peer.view_mask = self.mask(peer.view)
        for peer in self.alive():
            self.hearing.set_heard(self.me, self.hearing.hears(self.me) | 1 << peer.index)
            self._note_whom_it_hears(peer)
        return [peer for name, peer in before.items() if name not in self.by_name]

    def alive(self) -> list[Peer]:
        """Return the peers heard within lost_after."""
        return [peer for peer in self.by_name.values() if peer.alive]

    def acknowledged(self) -> list[Peer]:
        """Return the peers that count: those that have acknowledged this node's present boot, as no recording can."""
        return [peer for peer in self.by_name.values() if peer.alive and peer.acknowledged]

    def known(self) -> dict[str, KnownPeer]:
        """Return what must be known of the others after a restart."""
        return {peer.name: KnownPeer(peer.boot, peer.own_timing) for peer in self.by_name.values() if peer.boot >= 0}

    def slowest(self) -> Timing:
        """Return the slowest timing of this node, of the nodes heard, and of those heard when this node started."""
        slowest = self._timing
        for peer in self.by_name.values():
            if peer.own_timing is not None:
                slowest = slowest.slower(peer.own_timing)
        return slowest

    def forget_unheard(self) -> None:
        """Note that the nodes known from before the start and not heard since hold nothing any more."""
        for peer in self.by_name.values():
            if not peer.alive:
                peer.own_timing = None

    def greet(self, peer: Peer, *, now: float) -> None:
        """Note that a peer is heard from now on."""
        peer.alive, peer.acknowledged, peer.told_deaf = True, False, False
        peer.unlisted_since = now
        peer.acked, peer.place, peer.listed_me, peer.candidate_since = -1, -1, -1, None
        self.hearing.set_heard(self.me, self.hearing.hears(self.me) | 1 << peer.index)

    def forget(self, peer: Peer) -> None:
        """Note that a peer is not heard any more."""
        peer.alive, peer.acknowledged, peer.view_mask, peer.own_timing = False, False, 0, None
        peer.acked, peer.place, peer.listed_me, peer.candidate_since = -1, -1, -1, None
        self.hearing.set_heard(peer.index, 0)
        self.hearing.set_heard(self.me, self.hearing.hears(self.me) & ~(1 << peer.index))

    def note_boot(self, peer: Peer, boot: int, *, now: float) -> None:
        """Note a peer's new boot: nodes that list the old boot do not hear the new one yet."""
        peer.boot, peer.boot_since, peer.left = boot, now, False
        peer.refused_at = float("-inf")
        self.forget(peer)
        for other in self.alive():
            self._note_whom_it_hears(other)

    def place_in(self, heartbeat: Heartbeat) -> int:
        """Return the index of this node's current boot in a heartbeat's list; -1 if it is not there."""
        me = (self._my_name, self._boot)
        return heartbeat.heard_boots.index(me) if me in heartbeat.heard_boots else -1

    def note_hearing(self, peer: Peer, *, fresh: bool) -> None:
        """Note which nodes a peer hears by its latest heartbeat; `fresh` means that it has just heard this node."""
        peer.listed_me = peer.place if fresh else -1
        # A heartbeat that lists an old sequence was delayed on the way; one that lists none may come from a deaf node.
        peer.acknowledged = fresh or (peer.acknowledged and peer.place < 0)
        self._note_whom_it_hears(peer)

    def _note_whom_it_hears(self, peer: Peer) -> None:
        mask = 0
        for name, boot in peer.heartbeat.heard_boots if peer.heartbeat is not None else ():
            other = self.by_name.get(name)
            if other is None and peer.listed_me < 0:
                continue
            if boot == (self._boot if name == self._my_name else other.boot if other is not None else None):
                mask |= 1 << self.index[name]
        self.hearing.set_heard(peer.index, mask)

    def edges(self) -> int:
        """Return the mask of the nodes that hear this one and are heard by it."""
        return self.hearing.edges(self.me)

    def mask(self, view: View) -> int | None:
        """Return a view's members as a mask; None if it names a node that this farm does not have."""
        mask = 0
        for name, _ in view:
            index = self.index.get(name)
            if index is None:
                return None
            mask |= 1 << index
        return mask

    def named(self, mask: int) -> str:
        """Return the names of the nodes of a mask, for a sentence."""
        return ", ".join(self.names[index] for index in bits(mask))


def would_share(heartbeat: Heartbeat) -> bool:
    """Return whether a heartbeat wants a share and has a power above 0."""
    return heartbeat.wants and any(heartbeat.powers)
