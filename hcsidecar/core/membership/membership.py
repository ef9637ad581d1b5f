"""Membership: which nodes are in the farm, which view they share, and when this node may take what the view gives it.

Theory of operation
-------------------
Every node sends a heartbeat to every other node each *pulse* (P). A node that is not heard for *lost_after* (T) is
dead. Two nodes have an *edge* if each lists the other's current boot in its heartbeats. The *view* is the largest group
of nodes that want a share and in which every two nodes have an edge. The owner of every bucket is a pure function of
the view.

No node takes a bucket before its former owner has released it, and this does not depend on comparing clocks. When the
view changes, a node first releases what the view takes from it. It then begins a new *epoch*, which starts with the
next sequence that it sends. The node claims what the view gives it once every node that it hears has sent a heartbeat
that lists a sequence of this epoch *and* announces the same view (or is out). Two nodes cannot both prove a claim to
one bucket: each proof would need a heartbeat that was sent before the other's.

A node that drains or lowers its own power releases last: when all others announce the view without what it gives up, or
after P / 2.

A node that is frozen, killed or unheard cannot release anything, so its kernel filter runs on a *lease*. The lease ends
before the others take over: they must first miss the node for T and then wait for the *guard* (G = 2 P).

The class decides and does nothing itself. `receive` and `tick` return effects, which the caller carries out in order;
`compose` returns the heartbeat for a `Broadcast` or an `Answer`. `now` is in seconds of a monotonic clock.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import ClassVar

from hcsidecar.core.membership.boot_dispute import BootDispute, DisputeOutcome
from hcsidecar.core.membership.effects import (
    Adopt,
    Answer,
    Broadcast,
    Claim,
    Effect,
    Reincarnate,
    Release,
    Remember,
    alarm,
    inform,
    warn,
)
from hcsidecar.core.membership.heartbeat import Heartbeat, View, is_within
from hcsidecar.core.membership.listening import Listening
from hcsidecar.core.membership.peers import KnownPeer, Peer, Peers, would_share
from hcsidecar.core.membership.revision_state import RevisionState
from hcsidecar.core.membership.send_times import SendTimes
from hcsidecar.core.membership.timing import Timing
from hcsidecar.core.membership.view_selection import Own, ViewSelector
from l2mode.core.heard_share import HeardShare

ANSWER_DISTANCE = 0.008
"Seconds between two answers to the same node."
ANSWERS_AT_ONCE = 16
"Most answers to single nodes in that time: a claim waits for the slowest. The next broadcast answers the rest."


class Membership:
    """The state machine of one node; the module's docstring has the theory of operation.

    `nodes` has the names of the whole farm. `settings_digest` is that of what must be equal on all members of a view.
    `powers` has one weight per share group, and `partition` is "serve" or "majority". `known` is the content of the
    latest `Remember` of an earlier boot.
    """

    selector: ClassVar[type[ViewSelector]] = ViewSelector
    listening: ClassVar[type[Listening]] = Listening

    def __init__(
        self,
        *,
        name: str,
        boot: int,
        farm: str,
        nodes: Iterable[str],
        timing: Timing,
        settings_digest: bytes,
        powers: tuple[int, ...],
        partition: str = "serve",
        known: Mapping[str, KnownPeer] | None = None,
        now: float,
    ) -> None:
        self.name, self.boot, self.farm, self.timing = name, boot, farm, timing
        self.settings_digest, self.powers = settings_digest, powers
        self.peers = Peers(me=name, boot=boot, names=nodes, timing=timing, known=known)
        self.others = tuple(self.peers.by_name)
        self._selector = self.selector(self.peers, timing, partition=partition)

        self.wants = False
        """The application of this node is Ready and not draining. A heartbeat announces this only once the node has
        listened."""
        self.role, self.status, self.draining, self.reason = "STOP", "NotReady", False, ""
        self.unmet: tuple[str, ...] = ()
        self.counters: tuple[int, ...] = ()
        self.mac, self.dirty, self.dirty_buckets, self.revisions = b"", False, b"", RevisionState()
        self.holding = False
        "This node takes some bucket, as the caller said last."
        self.view: View = ()
        self.out_reason: str | None = "this node has just started"
        "Why this node is not in a view; None while it is."
        self.claimed = False
        "The node has claimed what the view gives it."
        self.lease = now
        "When the filter stops taking packets unless the lease is renewed."
        self.leaving = False
        self.ended = False
        "This boot has ended (a Reincarnate was issued): discard this object."
        self.refused = {"old boot": 0, "old sequence": 0, "after leave": 0, "own name": 0}
        "Authentic heartbeats that were not processed, by reason."

        self._pending_since = now
        self._listening = self.listening(timing, started_at=now)
        self._neighbours_changed = True
        "An acknowledged node announces something else than at the last call of `take_neighbours`."
        self._told_waiting = self._yields = self._known_changed = self._regrouped = False
        """The last two: what must be known of the others after a restart has changed; the view is by share groups of
        former settings."""
        self._seq, self._epoch = 0, 1
        "The latest sequence sent, and the first sequence of this epoch."
        self._heard_changed_at = 1
        "The first sequence that carries the present list of heard nodes."
        self._sent = SendTimes(distance=timing.pulse / 8)
        self._guard_until: float | None = None
        self._stays_until: float | None = None
        """The time at which this node, which wants less, releases at the latest; the others adopt the view before it
        does."""
        self._waits_for: Peer | None = None
        self._broadcast_at = self._view_changed_at = now - timing.pulse
        self._next_send = self._burst_until = self._answering_since = now
        self._answers = self._farewells_left = 0
        self._undecided = True
        "Something has happened that affects the view."
        self._time_decides = False
        "The view may change by the mere passing of time."
        self._expected = self._woken_at = now
        "When the next tick was due, as last computed; and before which time lateness has been dealt with."
        self._dispute = BootDispute(name=name, boot=boot)

    # -- called from outside -------------------------------------------------------------------------------------

    def receive(self, heartbeat: Heartbeat, *, now: float) -> list[Effect]:
        """Take in an authentic heartbeat. Return the effects to carry out."""
        effects = self._wake(now)
        if self.ended:
            return effects
        peer = self.peers.by_name.get(heartbeat.node)
        if peer is None:
            self.refused["own name"] += heartbeat.node == self.name
            return effects
        reason = peer.why_refuse(heartbeat)
        if reason is not None:
            self.refused[reason] += 1
            self._note_went_back(peer, heartbeat, now, effects)
            return effects
        self._take_in(peer, heartbeat, now, effects)
        if self.ended:
            return effects
        self._go_on(now, effects)
        # The answer comes last: what this heartbeat takes from this node is released before the answer announces it.
        if heartbeat.ask and peer.alive:
            self._answer(peer, now, effects)
        return effects

    def tick(self, *, now: float) -> list[Effect]:
        """Do what is due by now. Return the effects to carry out.

        Call it at `next_tick_at()`, or as soon as possible after that.
        """
        effects = self._wake(now)
        if self.ended:
            return effects
        for peer in self.peers.alive():
            if now >= peer.heard_at + peer.timing.lost_after:
                self._bury(peer, now, effects)
            elif not peer.acknowledged:
                self._tell_deaf(peer, now, effects)
        if self._time_decides:
            self._undecided = True
        self._go_on(now, effects)
        if now >= self._next_send:
            effects.append(Broadcast())
            self._schedule(now)
        self._expected = self.next_tick_at()
        return effects

    def next_tick_at(self) -> float:
        """Return when `tick` is due if nothing is received until then."""
        due = self._next_send
        for peer in self.peers.by_name.values():
            if peer.alive:
                due = min(due, peer.heard_at + peer.timing.lost_after)
        if self.holding:
            due = min(due, self.lease)
        if self._guard_until is not None:
            due = min(due, self._guard_until)
        if self._stays_until is not None:
            due = min(due, self._stays_until)
        return due

    def set_wants(self, wants: bool, *, now: float) -> list[Effect]:
        """Set whether this node's application would take a share."""
        return self._change(now, wants=wants)

    def set_powers(self, powers: tuple[int, ...], *, now: float) -> list[Effect]:
        """Set this node's weights, one per share group."""
        return self._change(now, powers=powers)

    def set_layer_two(self, *, settings_digest: bytes, powers: tuple[int, ...], now: float) -> list[Effect]:
        """Set the digest of this node's farm file, and this node's weights, one per share group of that file.

        The share has gone over to these groups just before. Views and proofs of other settings do not count any more: a
        new epoch begins, and the view is adopted anew even if it is the same by name.
        """
        if settings_digest == self.settings_digest:
            return self.set_powers(powers, now=now)
        effects = self._wake(now)
        self.settings_digest, self.powers = settings_digest, powers
        if self.ended:
            return effects
        self._begin_epoch(now)
        self._undecided = self._neighbours_changed = self._regrouped = True
        self._hurry(now)
        self._go_on(now, effects)
        return effects

    def set_nodes(
        self, nodes: Collection[str], *, electorates: Sequence[Collection[str]] = (), now: float
    ) -> list[Effect]:
        """Set the names of the whole farm, this node's among them.

        A new node is unknown until it is heard. One that is gone is refused from now on. If it may still hold buckets,
        nobody takes them before its lease has run out, as after a death. With partition "majority", a majority of each
        of the `electorates` must be reached, of all `nodes` unless there are any.
        """
        effects = self._wake(now)
        if self.ended:
            return effects
        for peer in self.peers.by_name.values():
            if peer.alive and peer.name not in nodes:
                may_hold = peer.heartbeat is not None and (peer.heartbeat.holding or bool(peer.view))
                self.peers.forget(peer)
                if may_hold:
                    released = now + peer.timing.lost_after + peer.timing.guard
                    self._guard_until = max(self._guard_until or now, released)
        added = sorted(set(nodes) - set(self.peers.names))
        removed = [peer.name for peer in self.peers.set_names(nodes)]
        self._selector.set_electorates(electorates)
        self.others = tuple(self.peers.by_name)
        self._waits_for = None
        self._known_changed = self._undecided = self._neighbours_changed = True
        self._heard_changed_at = self._seq + 1
        for names, what in ((added, "is in the farm now"), (removed, "is no longer in the farm")):
            effects += [inform(f"{name} {what}") for name in names]
        self._hurry(now)
        self._go_on(now, effects)
        return effects

    def set_partition(self, partition: str, *, now: float) -> list[Effect]:
        """Set "serve" or "majority": whether a node that reaches no majority serves."""
        effects = self._wake(now)
        if self.ended:
            return effects
        self._selector.set_partition(partition)
        self._undecided = True
        self._hurry(now)
        self._go_on(now, effects)
        return effects

    def set_application(
        self, *, role: str, status: str, draining: bool, reason: str, unmet: tuple[str, ...] = (), now: float
    ) -> list[Effect]:
        """Set what this node announces of its application."""
        return self._change(now, role=role, status=status, draining=draining, reason=reason, unmet=unmet)

    def set_dirty(self, dirty: bool, buckets: bytes = b"", *, now: float) -> list[Effect]:
        """Set whether this node holds connections in buckets that are not its own, and in which at most."""
        if dirty == self.dirty and is_within(buckets, self.dirty_buckets):
            # Some of the connections have ended, which is not urgent for anybody.
            self.dirty_buckets = buckets
            return []
        return self._change(now, dirty=dirty, dirty_buckets=buckets)

    def set_mac(self, mac: bytes, *, now: float) -> list[Effect]:
        """Set the MAC of this node's interface in the virtual IPs' network."""
        return self._change(now, mac=mac)

    def set_revisions(self, revisions: RevisionState, *, now: float) -> list[Effect]:
        """Set what this node announces of the revisions of its settings."""
        return self._change(now, revisions=revisions)

    def set_counters(self, counters: tuple[int, ...]) -> None:
        """Set the counts that the next heartbeats carry; this sends no heartbeat by itself."""
        self.counters = counters

    def see_holding(self, holding: bool) -> None:
        """Note whether this node takes any bucket."""
        self.holding = holding

    def see_share(self, *, holding: bool, dirty: bool, dirty_buckets: bytes) -> None:
        """Note the state of the share. Call it after each Adopt, Claim and Release, before the next `compose`."""
        self.holding, self.dirty, self.dirty_buckets = holding, dirty, dirty_buckets

    def inherit(self, former: "Membership") -> None:
        """Take over from the previous boot what it was told of the application, and its counts."""
        self.wants, self.powers, self.settings_digest = former.wants, former.powers, former.settings_digest
        self.role, self.status, self.draining = former.role, former.status, former.draining
        self.reason, self.unmet, self.mac = former.reason, former.unmet, former.mac
        self.revisions = former.revisions
        self._selector.set_electorates(former._selector.electorates)  # noqa: SLF001 - its own class
        if former.leaving:
            self.leaving, self._farewells_left = True, self._farewells()
        self.refused = former.refused

    def leave(self, *, now: float) -> list[Effect]:
        """Close the filter, then announce it three times: one heartbeat may get lost, and a death costs T + G."""
        effects = self._wake(now)
        if self.leaving:
            return effects
        self.leaving = True
        self._farewells_left = self._farewells()
        if self.ended:
            return effects
        effects.append(inform("this node leaves"))
        self._let_go(now, effects)
        self._undecided = True
        self._go_on(now, effects)
        return effects

    @property
    def said_farewell(self) -> bool:
        """True when all announcements of a leave have been sent."""
        return self.leaving and self._farewells_left == 0

    def compose(self, *, now: float, to_all: bool = True) -> Heartbeat:
        """Return the next heartbeat, with a sequence of its own. A heartbeat to all nodes renews the lease."""
        self._seq += 1
        self._sent.add(self._seq, now=now, to_all=to_all)
        alive = self.peers.alive()
        if to_all:
            self._broadcast_at = now
            self.lease = self._lease(now, alive)
            self._farewells_left = max(0, self._farewells_left - 1)
        return Heartbeat(
            farm=self.farm,
            node=self.name,
            boot=self.boot,
            seq=self._seq,
            role=self.role,
            status=self.status,
            draining=self.draining,
            reason=self.reason,
            wants=self._would_share(now),
            powers=self.powers,
            settings_digest=self.settings_digest,
            view=self.view,
            holding=self.holding,
            dirty=self.dirty,
            dirty_buckets=self.dirty_buckets,
            ask=bool(self.view) and not self.claimed,
            leave=self.leaving,
            mac=self.mac,
            counters=self.counters,
            heard_boots=tuple([(peer.name, peer.boot) for peer in alive]),
            heard_seqs=tuple([peer.seq for peer in alive]),
            unmet=self.unmet,
            timing=self.timing.microseconds,
            slowest=self.peers.slowest().microseconds,
            guarding=self._guard_until is not None and now < self._guard_until,
            refuses=self._refuses(now),
            revisions=self.revisions,
        )

    def _would_share(self, now: float) -> bool:
        """Return whether others may count on this node.

        If they counted on a node that stays out, nobody would take its buckets.
        """
        stays_out = (
            self.leaving
            or self._yields
            or self._dispute.why_out(now=now) is not None
            or self._selector.why_too_few() is not None
        )
        return self.wants and not stays_out and self._has_listened(now)

    def why_not_claimed(self, *, now: float) -> str | None:
        """Return what the claim of this node's share waits for, or None if it waits for nothing."""
        if not self.view or self.claimed:
            return None
        if self._guard_until is not None:
            return "a member died, and its lease must have run out first"
        if now >= self.lease:
            return "the lease of this node is not open"
        waits = sorted(peer.name for peer in self.peers.alive() if not self._proven(peer, now))
        return f"no proof yet from {', '.join(waits)}" if waits else None

    def take_neighbours(self) -> list[HeardShare] | None:
        """Return what the acknowledged nodes announce, or None if nothing has changed since the last call."""
        if not self._neighbours_changed:
            return None
        self._neighbours_changed = False
        heard = ((peer.name, peer.heartbeat) for peer in self.peers.acknowledged())
        return [
            HeardShare(
                name=name,
                mac=said.mac,
                dirty=said.dirty,
                dirty_buckets=said.dirty_buckets,
                view=said.view,
                claimed=not said.ask,
                settings=said.settings_digest,
                would_take=said.wants and any(said.powers),
            )
            for name, said in heard
            if said is not None
        ]

    def heard_revisions(self) -> dict[str, RevisionState]:
        """Return what the acknowledged nodes announce of their revisions, by node."""
        return {peer.name: peer.heartbeat.revisions for peer in self.peers.acknowledged() if peer.heartbeat is not None}

    # -- hearing ------------------------------------------------------------------------------------------------

    def _take_in(self, peer: Peer, heartbeat: Heartbeat, now: float, effects: list[Effect]) -> None:
        if heartbeat.boot != peer.boot:
            if peer.alive and peer.acknowledged:
                # The new boot closed the old boot's filter before it sent anything, so no guard is needed.
                effects.append(inform(f"{peer.name} has started anew"))
            self.peers.note_boot(peer, heartbeat.boot, now=now)
            self._heard_changed_at = self._seq + 1
            self._known_changed = True
        before = peer.heartbeat if peer.alive else None
        if before is None or _looks_different(before, heartbeat):
            self._neighbours_changed = True
        peer.seq, peer.heartbeat, peer.heard_at = heartbeat.seq, heartbeat, now
        if heartbeat.leave:
            peer.left = True
            if peer.acknowledged:
                effects.append(inform(f"{peer.name} has left"))
            self._forget(peer)
            return
        if before is None:
            self._greet(peer, now)
        if not self._listening.over:
            self._listening.hear(Timing.of_microseconds(*heartbeat.slowest), now=now)
        if before is None or before.timing != heartbeat.timing:
            self._note_timing(peer, heartbeat, effects)
        if before is None or before.view != heartbeat.view:
            peer.view_mask = self.peers.mask(heartbeat.view)
        self._note_hearing(peer, before, now, effects)
        if self.ended:
            return
        for name, boot in heartbeat.refuses:
            if name == self.name:
                self._hear_refusal(peer, heartbeat, boot, now, effects)
        if before is None or _bears_on_the_view(before, heartbeat):
            self._undecided = True
            if not would_share(heartbeat):
                peer.candidate_since = None
            elif peer.candidate_since is None:
                peer.candidate_since = now

    def _greet(self, peer: Peer, now: float) -> None:
        self.peers.greet(peer, now=now)
        self._heard_changed_at = self._seq + 1
        self._known_changed = True
        self._hurry(now)

    def _note_timing(self, peer: Peer, heartbeat: Heartbeat, effects: list[Effect]) -> None:
        peer.own_timing = Timing.of_microseconds(*heartbeat.timing)
        peer.timing = self.timing.slower(peer.own_timing)
        self._known_changed = True
        if heartbeat.timing not in (self.timing.microseconds, (0, 0)):
            text = f"{peer.name} has another [heartbeat] ({peer.own_timing}) than this node ({self.timing})"
            effects.append(warn(f"{text}: between the two the slower counts until both are the same"))

    def _note_hearing(self, peer: Peer, before: Heartbeat | None, now: float, effects: list[Effect]) -> None:
        """Note which nodes a peer hears, and what follows from its hearing or not hearing this node."""
        heartbeat = peer.heartbeat
        assert heartbeat is not None  # noqa: S101 - it was just taken in
        other_list = before is None or before.heard_boots != heartbeat.heard_boots
        if other_list:
            peer.place = self.peers.place_in(heartbeat)
        seq = heartbeat.heard_seqs[peer.place] if peer.place >= 0 else -1
        if self._was_sent_by_a_copy(seq):
            self._take_new_boot(f"{peer.name} has heard more of this boot than it has said", -1, effects)
            return
        listed_before, acknowledged_before = peer.listed_me >= 0, peer.acknowledged
        listed = seq >= 0 and self._is_fresh(peer, seq, now)
        if other_list or listed != listed_before:
            self.peers.note_hearing(peer, fresh=listed)
            self._undecided = True
        if peer.acknowledged != acknowledged_before:
            self._neighbours_changed = True
            if peer.acknowledged:
                effects.append(inform(f"{peer.name} is heard"))
        if listed_before and not listed:
            peer.acked, peer.unlisted_since = -1, now
            if not self.leaving:
                effects.append(warn(f"{peer.name} does not hear this node any more"))
        if listed:
            if peer.acked < self._heard_changed_at <= seq:
                # The peer now knows which nodes this node hears, and still serves without it: see _why_yield.
                self._undecided = True
            peer.acked = max(peer.acked, seq)

    def _forget(self, peer: Peer) -> None:
        self.peers.forget(peer)
        self._known_changed = True
        self._heard_changed_at = self._seq + 1
        self._undecided = self._neighbours_changed = True

    def _bury(self, peer: Peer, now: float, effects: list[Effect]) -> None:
        was_in, was_told = bool(peer.view), peer.acknowledged or peer.told_deaf
        self._forget(peer)
        if was_told:
            effects.append(warn(f"{peer.name} is dead: silent for {now - peer.heard_at:.3g} s"))
        if was_in:
            self._guard_until = max(self._guard_until or now, now + self._guard_time(peer))

    def _answer(self, peer: Peer, now: float, effects: list[Effect]) -> None:
        if now >= self._answering_since + ANSWER_DISTANCE:
            self._answering_since, self._answers = now, 0
        if self._answers < ANSWERS_AT_ONCE and now >= peer.answered_at + ANSWER_DISTANCE:
            self._answers += 1
            peer.answered_at = now
            effects.append(Answer(peer.name))
        else:
            self._next_send = min(self._next_send, self._answering_since + ANSWER_DISTANCE)

    # -- recordings, and boots that went back -------------------------------------------------------------------

    def _was_sent_by_a_copy(self, seq: int) -> bool:
        """Return whether a copy of this boot has sent this sequence: the machine was resumed from a snapshot."""
        return seq > self._seq

    def _is_fresh(self, peer: Peer, seq: int, now: float) -> bool:
        """Return whether a sequence of this boot was sent so recently that a heartbeat listing it is no recording."""
        return now <= self._sent.sent_at(seq) + 2 * peer.timing.lost_after

    def _note_went_back(self, peer: Peer, heartbeat: Heartbeat, now: float, effects: list[Effect]) -> None:
        """Note a refused heartbeat that is live, not a replay: its node went back in boot or sequence and must be told.

        A heartbeat is of the present if it lists a sequence that this node sent after it had heard the higher boot or
        sequence; otherwise it is a heartbeat of the past.
        """
        place = self.peers.place_in(heartbeat)
        sent_at = self._sent.sent_at(heartbeat.heard_seqs[place]) if place >= 0 else float("-inf")
        since = peer.heard_at if heartbeat.boot == peer.boot else peer.boot_since
        if heartbeat.leave or sent_at <= since or now > sent_at + 2 * peer.timing.lost_after:
            return
        if now >= peer.refused_at + 2 * peer.timing.lost_after:
            text = f"{peer.name} went back to boot {heartbeat.boot}, after its boot {peer.boot} was heard"
            effects.append(warn(f"{text}: refused until it takes a higher one, as it is told"))
            self._hurry(now)
        peer.refused_at = now

    def _refuses(self, now: float) -> tuple[tuple[str, int], ...]:
        """Return the nodes refused for an older boot, each with the higher boot that this node has heard of it."""
        return tuple(
            [
                (peer.name, peer.boot)
                for peer in self.peers.by_name.values()
                if now < peer.refused_at + peer.timing.lost_after
            ]
        )

    def _hear_refusal(self, peer: Peer, heartbeat: Heartbeat, boot: int, now: float, effects: list[Effect]) -> None:
        verdict = self._dispute.hear(
            peer=peer.name,
            boot=boot,
            lives=(self.name, boot) in heartbeat.heard_boots,
            lost_after=peer.timing.lost_after,
            now=now,
        )
        self._undecided = True
        if verdict is DisputeOutcome.GO_ABOVE:
            self._take_new_boot(f"{peer.name} has heard a higher boot of this node ({boot})", boot, effects)
        elif verdict is DisputeOutcome.TELL:
            how = (
                f"{peer.name} hears boots {boot} and {self.boot}"
                if boot != self.boot
                else f"{peer.name} hears an older boot"
            )
            effects.append(alarm(f"another process runs as {self.name} ({how}): stop one of the two"))

    def _tell_deaf(self, peer: Peer, now: float, effects: list[Effect]) -> None:
        """Report once that a peer is heard but does not count."""
        if not peer.told_deaf and now >= peer.unlisted_since + 2 * peer.timing.lost_after:
            peer.told_deaf = True
            text = "does not hear this node, or what is heard is a recording"
            effects.append(warn(f"{peer.name} is heard, but {text}: it does not count"))

    # -- deciding -----------------------------------------------------------------------------------------------

    def _go_on(self, now: float, effects: list[Effect]) -> None:
        """Choose the view again if something affects it, then claim what is proven."""
        if self._guard_until is not None and now >= self._guard_until:
            self._guard_until = None
        if self._undecided:
            self._undecided = False
            choice = self._selector.choose(self._own(now), now=now)
            self.out_reason, self._yields, self._time_decides = choice.out_reason, choice.yields, choice.time_decides
            if choice.view == self.view and not self._regrouped:
                self._stays_until = None
            elif self._lets_others_go_first(choice.view, now, effects):
                self._time_decides = True
            else:
                self._change_view(choice.view, now, effects)
        if self.view and not self.claimed:
            self._try_to_claim(now, effects)
        if self._known_changed:
            self._known_changed = False
            effects.append(Remember(self.peers.known()))
        if self._expected != self._next_send:
            self._expected = self.next_tick_at()

    def _own(self, now: float) -> Own:
        return Own(
            view=self.view,
            wants=self.wants,
            reason=self.reason,
            powers=self.powers,
            settings_digest=self.settings_digest,
            leaving=self.leaving,
            refused=self._dispute.why_out(now=now),
            listened=self._has_listened(now),
            heard_changed_at=self._heard_changed_at,
            view_changed_at=self._view_changed_at,
        )

    def _has_listened(self, now: float) -> bool:
        if not self._listening.over and self._listening.is_over(self.peers.slowest(), now=now):
            self.peers.forget_unheard()
        return self._listening.over

    def _lets_others_go_first(self, view: View, now: float, effects: list[Effect]) -> bool:
        """Return whether this node, which gives buckets up by its own wish, keeps them for a moment to release last.

        In that moment the others prove to each other what they can, so that they can claim as soon as this node
        announces the release. Otherwise its buckets would have no taker until then.
        """
        if not self.claimed or self.leaving or not self._only_gives(view):
            self._stays_until = None
            return False
        if self._stays_until is None:
            self._stays_until = now + self.timing.pulse / 2
            effects.append(Broadcast())
            self._hurry(now, just_sent=True)
        views = [peer.view for peer in self.peers.acknowledged() if peer.view]
        are_up = all(other == view if view else all(name != self.name for name, _ in other) for other in views)
        return not are_up and now < self._stays_until

    def _only_gives(self, view: View) -> bool:
        """Return whether a view differs from the present one only in what this node gives up by its own wish."""
        if not view:
            return not self.wants or not any(self.powers)
        before, after = dict(self.view), dict(view)
        own_before, own_after = before.pop(self.name, ()), after.pop(self.name, ())
        return before == after and all(ours <= former for ours, former in zip(own_after, own_before, strict=True))

    def _change_view(self, view: View, now: float, effects: list[Effect]) -> None:
        before, self.view = self.view, view
        self._stays_until, self._regrouped = None, False
        self._view_changed_at = now
        self._begin_epoch(now)
        effects += [Adopt(view), inform(_describe_change(before, view, self.out_reason)), Broadcast()]
        self._hurry(now, just_sent=True)

    def _begin_epoch(self, now: float) -> None:
        self._epoch = self._seq + 1
        self.claimed = self._told_waiting = False
        self._pending_since = now

    # -- claiming -----------------------------------------------------------------------------------------------

    def _try_to_claim(self, now: float, effects: list[Effect]) -> None:
        if not self._must_wait(now):
            self.claimed = True
            effects += [Claim(), Broadcast()]
            self._hurry(now, just_sent=True)
        elif not self._told_waiting and now >= self._pending_since + 2 * self.timing.lost_after:
            self._told_waiting = True
            reason = self.why_not_claimed(now=now)
            effects.append(warn(f"the claim of this node's share still waits: {reason}"))

    def _must_wait(self, now: float) -> bool:
        """Return whether `why_not_claimed` has a reason; called with every heartbeat, so it looks for one reason only.

        With 64 waiting nodes, going through all peers each time would take more than a core.
        """
        if self._guard_until is not None or now >= self.lease:
            return True
        if self._waits_for is None or not self._waits_for.alive or self._proven(self._waits_for, now):
            self._waits_for = next((peer for peer in self.peers.alive() if not self._proven(peer, now)), None)
        return self._waits_for is not None

    def _proven(self, peer: Peer, now: float) -> bool:
        """Return whether a heard node is proven not to hold what the view gives this node.

        The proof is that it has released: its latest heartbeat lists a sequence of this epoch and announces the same
        view, or none. A peer that does not even list this node is waited for, then ignored: it could stay deaf for
        ever.
        """
        if peer.listed_me < 0:
            return now >= peer.unlisted_since + 2 * peer.timing.lost_after
        has_let_go = peer.acked >= self._epoch and (not peer.view or peer.view == self.view)
        return has_let_go and not self._is_guarded(peer)

    def _is_guarded(self, peer: Peer) -> bool:
        """Return whether a peer waits for the lease of a dead node to run out, which this node may never have heard."""
        return peer.heartbeat is not None and peer.heartbeat.guarding

    def _lease(self, now: float, alive: Iterable[Peer]) -> float:
        """Return the time until which the filter may take packets: before any other node could have taken over.

        A node that lists sequence s of this node has heard it no earlier than s was sent. So it cannot declare this
        node dead before T after that, nor claim before another G. 0.6 P are kept for differences between the clocks.
        Nodes that are out of the view count as well: one that has just started may take over as soon as it has
        listened.
        """
        until = now + self.timing.lost_after
        for peer in alive:
            timing = peer.timing
            if peer.listed_me >= 0 and peer.heard_at >= now - 3 * timing.pulse:
                sent_at = self._sent.sent_at(peer.acked)
                until = min(until, sent_at + timing.lost_after + timing.guard - 0.6 * timing.pulse)
        return until

    def _guard_time(self, peer: Peer) -> float:
        return peer.timing.guard

    def _farewells(self) -> int:
        return 3

    # -- time ---------------------------------------------------------------------------------------------------

    def _wake(self, now: float) -> list[Effect]:
        """Find out first of all whether this node slept, and whether its lease has run out."""
        effects: list[Effect] = []
        if self.ended:
            return effects
        # Queued heartbeats are received before the tick that makes up for the sleep: the time slept counts once, not
        # with each.
        late = now - max(self._expected, self._woken_at)
        if late > self.timing.pulse / 2:
            self._woken_at = now
            self._wake_late(late, now, effects)
        if self.holding and now >= self.lease:
            self._lapse(now, effects)
        return effects

    def _wake_late(self, late: float, now: float, effects: list[Effect]) -> None:
        """Do not count the time slept as silence of the others; start again if they may count this node as dead."""
        if late >= self.timing.lost_after:
            self._take_new_boot(f"this node stood still for {late:.3g} s", -1, effects)
            return
        for peer in self.peers.alive():
            peer.heard_at = min(now, peer.heard_at + late)

    def _take_new_boot(self, reason: str, above: int, effects: list[Effect]) -> None:
        """End this boot: release everything, and start again with a boot number above `above`."""
        self.ended = True
        self.holding = False
        effects += [Release(), warn(f"{reason}: starts again"), Reincarnate(reason, above)]

    def _lapse(self, now: float, effects: list[Effect]) -> None:
        effects.append(warn("the lease ran out: this node's heartbeats were not heard in time"))
        self._let_go(now, effects)

    def _let_go(self, now: float, effects: list[Effect]) -> None:
        """Release everything; all proofs are void."""
        effects.append(Release())
        self.holding = False
        self._begin_epoch(now)
        self._hurry(now)

    def _hurry(self, now: float, *, just_sent: bool = False) -> None:
        """Send at once, then often for two pulses: a change must not wait for the next pulse."""
        self._burst_until = now + 2 * self.timing.pulse
        if just_sent:
            self._next_send = now + self.timing.burst_pulse
        else:
            # Not right after the last one: when 64 nodes start at once, each hears 63 newcomers.
            self._next_send = min(self._next_send, max(now, self._broadcast_at + self.timing.pulse / 8))

    def _schedule(self, now: float) -> None:
        waits = bool(self.view) and not self.claimed and now < self._pending_since + 4 * self.timing.lost_after
        often = waits or now < self._burst_until or self._farewells_left > 0
        distance = self.timing.burst_pulse if often else self.timing.pulse
        # Counted from the time due, so that the lateness of each heartbeat does not add up; but never so that they pile
        # up.
        self._next_send = max(self._next_send + distance, now + distance / 2)

    def _change(self, now: float, **changes: object) -> list[Effect]:
        effects = self._wake(now)
        changed = any(getattr(self, name) != value for name, value in changes.items())
        # This also applies if this node has just found that it slept: the next boot inherits what was said of the
        # application.
        for name, value in changes.items():
            setattr(self, name, value)
        if self.ended or not changed:
            return effects
        self._undecided = True
        self._hurry(now)
        self._go_on(now, effects)
        return effects


def _bears_on_the_view(before: Heartbeat, after: Heartbeat) -> bool:
    return (
        before.wants != after.wants
        or before.view != after.view
        or before.powers != after.powers
        or before.settings_digest != after.settings_digest
    )


def _looks_different(before: Heartbeat, after: Heartbeat) -> bool:
    return (
        before.dirty != after.dirty
        or before.dirty_buckets != after.dirty_buckets
        or before.mac != after.mac
        or before.view != after.view
        or before.ask != after.ask
        or before.settings_digest != after.settings_digest
        or (before.wants, before.powers) != (after.wants, after.powers)
        or before.revisions != after.revisions
    )


def _describe_change(before: View, view: View, out_reason: str | None) -> str:
    if not view:
        return f"out of the view: {out_reason}"
    names = [name for name, _ in view]
    changed = "; powers changed" if names == [name for name, _ in before] else ""
    changed = "; share groups changed" if view == before else changed
    return f"view: {', '.join(names)}{changed}"
