"""One node of a farm without its input and output: membership joined to the share that it governs.

The daemon and the simulation drive exactly this object. What membership wants done is interpreted here and nowhere
else. The order matters: the share has closed what a new view takes before the heartbeat that says so is composed.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, assert_never

from hcsidecar.core.events import Event
from hcsidecar.core.membership.effects import (
    Adopt,
    Answer,
    Broadcast,
    Claim,
    Effect,
    Reincarnate,
    Release,
    Remember,
    Tell,
)
from hcsidecar.core.membership.heartbeat import Heartbeat, View
from hcsidecar.core.membership.membership import Membership
from hcsidecar.core.membership.peers import KnownPeer
from hcsidecar.core.membership.revision_state import RevisionState
from hcsidecar.core.membership.timing import Timing
from l2mode.core.heard_share import HeardShare

__all__ = ["NOTHING", "NoShare", "Node", "NodeOutput", "Send", "Share", "Timing"]


class Share(Protocol):
    """What a node tells the side that holds buckets; each call has taken effect when it returns."""

    @property
    def holding(self) -> bool:
        """True when some bucket is open here."""

    @property
    def dirty(self) -> bool:
        """True when connections in buckets not its own live here."""

    @property
    def dirty_buckets(self) -> bytes:
        """In which ones at most, as a heartbeat has it."""

    def adopt(self, view: View) -> None:
        """Close what the view takes; what it newly gives is pending; the rest goes on uninterrupted."""

    def claim(self) -> None:
        """Open what is pending."""

    def release(self) -> None:
        """Close everything."""

    def renew(self, until: float) -> None:
        """Let the filter take packets until then, in seconds of the monotonic clock."""

    def meet(self, neighbours: Iterable[HeardShare]) -> None:
        """Take in what the nodes that are heard say; it may end what an `adopt` has begun."""


class NoShare:
    """The share of a node that takes no buckets: remote-site mode."""

    holding = False
    dirty = False
    dirty_buckets = b""

    def adopt(self, view: View) -> None:
        """Hold nothing."""

    def claim(self) -> None:
        """Hold nothing."""

    def release(self) -> None:
        """Hold nothing."""

    def renew(self, until: float) -> None:
        """Hold nothing."""

    def meet(self, neighbours: Iterable[HeardShare]) -> None:
        """Hold nothing."""


@dataclass(frozen=True, slots=True)
class Send:
    """Seal a heartbeat and send it to these nodes."""

    to: tuple[str, ...]
    heartbeat: Heartbeat


class NodeOutput(NamedTuple):
    """What whoever drives a node is to do: send, tell and remember in any order, and `reborn_above` after that."""

    sends: Sequence[Send] = ()
    events: Sequence[Event] = ()
    known_peers: Mapping[str, KnownPeer] | None = None
    "What must be known of the others over a restart, in place of all before; None when that is as it was."
    heard_revisions: Mapping[str, RevisionState] | None = None
    "What all nodes that count say of their revisions of the settings; None when that is as it was."
    reborn_above: int | None = None
    "This boot can go on no more: discard queued datagrams, and start again with a boot number above this one."


NOTHING = NodeOutput()


class Node:
    """Membership and share of one node; see `Membership` for the arguments."""

    def __init__(
        self,
        *,
        name: str,
        boot: int,
        nodes: Iterable[str],
        farm: str,
        timing: Timing,
        settings_digest: bytes,
        powers: tuple[int, ...],
        share: Share,
        now: float,
        partition: str = "serve",
        known: Mapping[str, KnownPeer] | None = None,
        membership: type[Membership] = Membership,
    ) -> None:
        self.share = share
        self._heard_revisions: Mapping[str, RevisionState] = {}
        # Whatever an earlier boot left open is closed before this one says its first word.
        share.release()
        self.membership = membership(
            name=name,
            boot=boot,
            farm=farm,
            nodes=nodes,
            timing=timing,
            settings_digest=settings_digest,
            powers=powers,
            partition=partition,
            known=known,
            now=now,
        )
        self._look()

    def receive(self, heartbeat: Heartbeat, *, now: float) -> NodeOutput:
        """Take in an authentic heartbeat."""
        return self._carry_out(self.membership.receive(heartbeat, now=now), now)

    def tick(self, *, now: float) -> NodeOutput:
        """Do what time has brought."""
        return self._carry_out(self.membership.tick(now=now), now)

    def next_tick_at(self) -> float:
        """When `tick` is due."""
        return self.membership.next_tick_at()

    def set_wants(self, wants: bool, *, now: float) -> NodeOutput:
        """Say whether this node's application would take a share."""
        return self._carry_out(self.membership.set_wants(wants, now=now), now)

    def set_application(
        self, *, role: str, status: str, draining: bool, reason: str = "", unmet: tuple[str, ...] = (), now: float
    ) -> NodeOutput:
        """Change what is told of this node's application."""
        effects = self.membership.set_application(
            role=role, status=status, draining=draining, reason=reason, unmet=unmet, now=now
        )
        return self._carry_out(effects, now)

    def set_powers(self, powers: tuple[int, ...], *, now: float) -> NodeOutput:
        """Change this node's weights."""
        return self._carry_out(self.membership.set_powers(powers, now=now), now)

    def set_layer_two(self, *, settings_digest: bytes, powers: tuple[int, ...], now: float) -> NodeOutput:
        """Change the digest of this node's farm file, and its weights, one per share group of that file.

        The share must have gone over to these groups, and nothing else may have happened to this node since.
        """
        return self._carry_out(
            self.membership.set_layer_two(settings_digest=settings_digest, powers=powers, now=now), now
        )

    def set_nodes(
        self, nodes: Collection[str], *, electorates: Sequence[Collection[str]] = (), now: float
    ) -> NodeOutput:
        """Change the names of the whole farm; see `Membership.set_nodes`."""
        return self._carry_out(self.membership.set_nodes(nodes, electorates=electorates, now=now), now)

    def set_partition(self, partition: str, *, now: float) -> NodeOutput:
        """Change what this node does without a majority; see `Membership.set_partition`."""
        return self._carry_out(self.membership.set_partition(partition, now=now), now)

    def set_dirty(self, *, now: float) -> NodeOutput:
        """Tell the others whether connections in buckets not its own live here, as the share says."""
        return self._carry_out(self.membership.set_dirty(self.share.dirty, self.share.dirty_buckets, now=now), now)

    def set_mac(self, mac: bytes, *, now: float) -> NodeOutput:
        """Tell the others the MAC of this node's interface in the virtual IPs' network."""
        return self._carry_out(self.membership.set_mac(mac, now=now), now)

    def set_revisions(self, revisions: RevisionState, *, now: float) -> NodeOutput:
        """Tell the others which revisions of the settings this node goes by and tries."""
        return self._carry_out(self.membership.set_revisions(revisions, now=now), now)

    def leave(self, *, now: float) -> NodeOutput:
        """Close the share and say the last words."""
        return self._carry_out(self.membership.leave(now=now), now)

    def _carry_out(self, effects: list[Effect], now: float) -> NodeOutput:
        membership, share = self.membership, self.share
        # Before a claim: who has let go of buckets has said in the same breath that it keeps their connections.
        neighbours = membership.take_neighbours()
        revisions = None
        if neighbours is not None:
            share.meet(neighbours)
            membership.see_holding(share.holding)
            revisions = self._new_revisions()
        if not effects and revisions is None:
            return NOTHING
        sends: list[Send] = []
        events: list[Event] = []
        known_peers, reborn_above = None, None
        for effect in effects:
            match effect:
                case Broadcast():
                    heartbeat = membership.compose(now=now)
                    share.renew(membership.lease)
                    sends.append(Send(membership.others, heartbeat))
                case Answer(to):
                    sends.append(Send((to,), membership.compose(now=now, to_all=False)))
                case Tell(event):
                    events.append(event)
                case Remember(peers):
                    known_peers = peers
                case Reincarnate(above=above):
                    reborn_above = above
                case Adopt(view):
                    share.adopt(view)
                    self._look()
                case Claim():
                    share.claim()
                    self._look()
                case Release():
                    share.release()
                    self._look()
                case _:
                    assert_never(effect)
        return NodeOutput(sends, events, known_peers, revisions, reborn_above)

    def _new_revisions(self) -> Mapping[str, RevisionState] | None:
        """Return what the others say of their revisions, if it is not what they said before."""
        heard = self.membership.heard_revisions()
        if heard == self._heard_revisions:
            return None
        self._heard_revisions = heard
        return heard

    def _look(self) -> None:
        share = self.share
        self.membership.see_share(holding=share.holding, dirty=share.dirty, dirty_buckets=share.dirty_buckets)
