"""Selects the view for a node from what it and the others announce: the largest group that can serve together.

The view is a clique: all its members want a share, have the same settings, and hear each other. Every node builds one
greedily from the nodes that it hears, and adopts the view of another member if that is larger. After some heartbeats,
all members of a part of the network thus announce the same view. `hcsidecar.core.membership.membership` has the theory.
"""

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from hcsidecar.core.membership.connectivity import bits
from hcsidecar.core.membership.heartbeat import View
from hcsidecar.core.membership.peers import Peer, Peers, would_share
from hcsidecar.core.membership.timing import Timing

OFTEN: Final = 3
"So many yields within twice lost_after are too many."


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What a node knows of itself that affects its view."""

    view: View
    wants: bool
    reason: str
    "Why its application does not want a share."
    powers: tuple[int, ...]
    settings_digest: bytes
    leaving: bool
    refused: str | None
    "Why the others refuse this node's boot; None if they do not."
    listened: bool
    "The node has run long enough to know which other nodes there are."
    heard_changed_at: int
    "The first sequence that carries its present list of heard nodes."
    view_changed_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewChoice:
    """The view that a node should be in; or (), with the reason why it is out."""

    view: View = ()
    out_reason: str | None = None
    yields: bool = False
    "The node is out for another's sake: nobody may count on it."
    time_decides: bool = False
    "The choice may change by the mere passing of time."


class ViewSelector:
    """Chooses the view of one node. `partition` is "serve" or "majority"."""

    def __init__(self, peers: Peers, timing: Timing, *, partition: str) -> None:
        self._peers = peers
        self._timing = timing
        self._partition = partition
        self.electorates: Sequence[Collection[str]] = ()
        "Besides the nodes of the farm: groups of nodes of each of which a majority must be reached too."
        self._time_decides = False
        self._yielding = False
        self._yielded_at: deque[float] = deque(maxlen=OFTEN)
        self._waits_until = float("-inf")
        "Until when a node that yields again and again stays out."

    def set_partition(self, partition: str) -> None:
        """Go by another [farm] partition from the next choice on."""
        self._partition = partition

    def set_electorates(self, electorates: Sequence[Collection[str]]) -> None:
        """Demand, with partition "majority", more than half of each of these groups of nodes instead of all nodes.

        While a farm of five becomes one of three, two nodes would be a majority to those that know, and the other three
        to those that do not yet.
        """
        self.electorates = electorates

    def choose(self, own: Own, *, now: float) -> ViewChoice:
        """Return the view that the node should be in."""
        self._time_decides = False
        reason = self._why_no_candidate(own)
        if reason is not None:
            return ViewChoice(out_reason=reason, time_decides=not own.listened or own.refused is not None)
        candidates, newcomers = self._candidates(own, now)
        seeds = candidates & ~newcomers if self._has_just_changed(own, newcomers, now) else candidates
        clique = self._adopted(candidates, self._peers.hearing.greedy_clique(seeds))
        if not clique >> self._peers.me & 1:
            reason = f"{self._peers.named(clique)} serve, and this node has no mutual link with all of them"
            return ViewChoice(out_reason=reason, time_decides=self._time_decides)
        reason = self._out_for_others(own, now)
        if reason is not None:
            return ViewChoice(out_reason=reason, yields=True, time_decides=self._time_decides)
        view = tuple((self._peers.names[index], self._powers_of(index, own)) for index in bits(clique))
        return ViewChoice(view=view, time_decides=self._time_decides)

    def why_too_few(self) -> str | None:
        """Return why this node must not serve, because it reaches no majority, or None.

        Whoever waited for such a node would wait long.
        """
        if self._partition != "majority":
            return None
        peers = self._peers
        reached = {peers.names[index] for index in bits(peers.edges() | 1 << peers.me)}
        for electorate in self.electorates or (peers.names,):
            count = len(reached & set(electorate))
            if 2 * count <= len(electorate):
                return f"this node reaches {count} of {len(electorate)} nodes, which is not more than half"
        return None

    def _why_no_candidate(self, own: Own) -> str | None:
        if own.leaving:
            return "this node leaves"
        if own.refused is not None:
            return own.refused
        if not own.listened:
            return "this node has just started and listens"
        if not own.wants:
            return own.reason or "the application does not want a share"
        if not any(own.powers):
            return "the power of this node is 0"
        if own.settings_digest != self._right_digest(own):
            return "the farm file of this node differs from the majority's in [l2]"
        return self.why_too_few()

    def _right_digest(self, own: Own) -> bytes:
        """Return the digest that counts: the majority's; on a tie, that of the nodes that serve."""
        votes = {own.settings_digest: [1, int(bool(own.view))]}
        for peer in self._peers.acknowledged():
            if peer.heartbeat is not None and would_share(peer.heartbeat):
                vote = votes.setdefault(peer.heartbeat.settings_digest, [0, 0])
                vote[0] += 1
                vote[1] += bool(peer.heartbeat.view)
        return max(votes, key=lambda digest: (*votes[digest], digest))

    def _candidates(self, own: Own, now: float) -> tuple[int, int]:
        """Return the mask of the nodes that may be in the view, and of those among them that are new to it.

        The candidates are this node and the acknowledged nodes that want a share and have the same settings.
        """
        peers = self._peers
        in_view = peers.mask(own.view) or 0
        required = in_view & (peers.hearing.hears(peers.me) | 1 << peers.me)
        mask = 1 << peers.me
        for peer in peers.acknowledged():
            if (
                not peer.would_share()
                or peer.heartbeat is None
                or peer.heartbeat.settings_digest != own.settings_digest
                or self._is_deaf_and_idle(peer)
            ):
                continue
            if in_view >> peer.index & 1 or self._newcomer_counts(peer, required, now):
                mask |= 1 << peer.index
        return mask, mask & ~in_view if in_view else 0

    def _is_deaf_and_idle(self, peer: Peer) -> bool:
        """Return whether a peer does not hear this node, serves nobody, and comes after this node by name.

        A node steps back for one that does not hear it, which it cannot tell to step back. In a ring of nodes each of
        which hears the next one only, all would step back for the next, and nobody would serve.
        """
        peers = self._peers
        return not peer.view and peer.index > peers.me and not peers.hearing.hears(peer.index) >> peers.me & 1

    def _has_just_changed(self, own: Own, newcomers: int, now: float) -> bool:
        """Return whether newcomers should wait a moment: 64 nodes that start at once must not make 64 views.

        This applies only to proposing them: a view with newcomers that another member proposes is adopted at once.
        """
        if not newcomers or now >= own.view_changed_at + self._timing.pulse / 2:
            return False
        self._time_decides = True
        return True

    def _newcomer_counts(self, peer: Peer, required: int, now: float) -> bool:
        """Return whether the members heard and this node have met the newcomer, or have had the time to."""
        if required & ~self._peers.hearing.edges(peer.index) == 0:
            return True
        if peer.candidate_since is not None and now >= peer.candidate_since + 2 * peer.timing.lost_after:
            return True
        self._time_decides = True
        return False

    def _adopted(self, candidates: int, clique: int) -> int:
        """Return the larger valid view of a member with an edge to this node, or else this node's own clique."""
        peers, best = self._peers, clique
        for index in bits(peers.edges()):
            mask = peers.by_name[peers.names[index]].view_mask
            if mask is None or mask == best or not mask >> peers.me & 1 or mask & ~candidates:
                continue
            larger = (mask.bit_count(), bits(best)) > (best.bit_count(), bits(mask))
            if larger and peers.hearing.is_clique(mask):
                best = mask
        return best

    def _out_for_others(self, own: Own, now: float) -> str | None:
        """Say why this node must be out for another's sake, or None.

        Where two serve with one of two strangers each, both strangers yield, both come back, and so on for as long as
        the network is even. So who does it again and again waits for its turn, the first by name least.
        """
        reason = self._why_yield(own)
        if reason is not None:
            if not self._yielding:
                self._yielded_at.append(now)
        elif self._yielding and self._yields_often(now):
            self._waits_until = now + self._timing.pulse / 2 * (1 + self._peers.me)
        self._yielding = reason is not None
        if reason is None and now < self._waits_until:
            self._time_decides = True
            return "this node has yielded to others again and again, and waits for its turn"
        return reason

    def _yields_often(self, now: float) -> bool:
        return len(self._yielded_at) == OFTEN and now < self._yielded_at[0] + 2 * self._timing.lost_after

    def _why_yield(self, own: Own) -> str | None:
        """Return why this node must be out, or None.

        It must be out if a node that knows which nodes this one hears serves with a node that this one cannot reach.
        """
        peers, edges = self._peers, self._peers.edges()
        for index in bits(edges):
            peer = peers.by_name[peers.names[index]]
            mask = peer.view_mask
            if not mask or mask >> peers.me & 1 or peer.acked < own.heard_changed_at:
                continue
            strangers = mask & ~edges & ~(1 << index)
            if strangers:
                return f"{peer.name} serves with {peers.named(strangers)}, whom this node cannot reach"
        return None

    def _powers_of(self, index: int, own: Own) -> tuple[int, ...]:
        peer = self._peers.by_name.get(self._peers.names[index])
        return own.powers if peer is None or peer.heartbeat is None else peer.heartbeat.powers
