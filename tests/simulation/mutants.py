"""The protocol broken on purpose, one rule at a time: the simulation must notice each.

Each breaks what its docstring says. `reach.part_of` knows whose place it takes.
"""

from simulation.machine import KernelShare

from hcsidecar.core.membership.boot_dispute import BootDispute, DisputeOutcome
from hcsidecar.core.membership.connectivity import Connectivity
from hcsidecar.core.membership.listening import Listening
from hcsidecar.core.membership.membership import Membership
from hcsidecar.core.membership.peers import Peer
from hcsidecar.core.membership.view_selection import ViewSelector


class ViewIsProof(Membership):
    """A member that announces the same view has let go, whatever it has heard of this epoch (ABA)."""

    def _proven(self, peer, now):
        return not peer.view or peer.view == self.view


class HearingIsProof(Membership):
    """A member that has heard of this epoch has let go, whatever view it announces."""

    def _proven(self, peer, now):
        return peer.acked >= self._epoch


class MembersAreEverybody(Membership):
    """Only members of the view are asked for a proof, not all that are heard."""

    def _proven(self, peer, now):
        return peer.name not in {name for name, _ in self.view} or super()._proven(peer, now)


class ForcedClaim(Membership):
    """A claim that has waited for T / 2 is made without proof."""

    def _must_wait(self, now):
        return now < self._pending_since + self.timing.lost_after / 2 and super()._must_wait(now)


class EndlessPatience(Membership):
    """One that is heard and does not list this node is waited for without end."""

    def _proven(self, peer, now):
        return peer.listed_me >= 0 and super()._proven(peer, now)


class LeaseCountsSends(Membership):
    """The lease is counted from what was sent, not from what was heard."""

    def _lease(self, now, alive):
        return now + self.timing.lost_after + self.timing.guard


class CountsRecordings(Membership):
    """Whoever is heard counts, whether or not it has heard this node since its start."""

    def _greet(self, peer, now):
        super()._greet(peer, now)
        peer.acknowledged = True


class BelievesOldLists(Membership):
    """Who lists something that this node said long ago lives."""

    def _is_fresh(self, peer, seq, now):
        return 0 < seq <= self._seq


class KeepsItsLowBoot(Membership):
    """A node whose boot is refused stays with it."""

    def _hear_refusal(self, peer, heartbeat, boot, now, effects):
        pass


class TellsNobodyOfItsRefusal(Membership):
    """Whose boot went back is refused without a word."""

    def _note_went_back(self, peer, heartbeat, now, effects):
        pass


class _Chaser(BootDispute):
    def hear(self, *, peer, boot, lives, lost_after, now):
        return super().hear(peer=peer, boot=boot, lives=lives and boot == self._boot, lost_after=lost_after, now=now)


class ChasesItsNamesake(Membership):
    """Who is refused goes above the other boot also while somebody runs with it."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self._dispute = _Chaser(name=self.name, boot=self.boot)


class _Mute(BootDispute):
    def _tell(self):
        return DisputeOutcome.STAY_OUT


class SaysNothingOfItsNamesake(Membership):
    """That another process runs under a node's name is told to nobody."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self._dispute = _Mute(name=self.name, boot=self.boot)


class _Present(BootDispute):
    def why_out(self, *, now):
        return None


class StaysInThoughRefused(Membership):
    """Whose boot is refused goes on wanting a share."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self._dispute = _Present(name=self.name, boot=self.boot)


class GoesOnAfterASnapshot(Membership):
    """A node that was resumed from a snapshot goes on with sequences that others have processed."""

    def _was_sent_by_a_copy(self, seq):
        return False


class GoesByItsOwnTiming(Membership):
    """Others are buried, and their lease is guarded, by this node's own timing."""

    def _note_timing(self, peer, heartbeat, effects):
        super()._note_timing(peer, heartbeat, effects)
        peer.timing = self.timing


class _Impatient(Listening):
    def is_over(self, slowest_known, *, now):
        return super().is_over(self._slowest_told, now=now)

    def hear(self, slowest, *, now):
        super().hear(self._slowest_told, now=now)


class ListensByItsOwnTiming(Membership):
    """A new node listens for its own lost_after, whatever timing others have."""

    listening = _Impatient


class LeaseOfMembersOnly(Membership):
    """The lease does not count who is out of the view: one that has just started may take over."""

    def _lease(self, now, alive):
        members = {name for name, _ in self.view}
        return super()._lease(now, [peer for peer in alive if peer.name in members])


class LeaseOfWhoWasJustHeard(Membership):
    """The lease counts only who was heard within a pulse: two lost beats, and it is too long."""

    def _lease(self, now, alive):
        return super()._lease(now, [peer for peer in alive if peer.heard_at >= now - self.timing.pulse])


class LeaseWithoutMargin(Membership):
    """The lease keeps nothing for clocks that run at different speeds."""

    def _lease(self, now, alive):
        until = now + self.timing.lost_after
        for peer in alive:
            if peer.listed_me >= 0 and peer.heard_at >= now - 3 * peer.timing.pulse:
                until = min(until, self._sent.sent_at(peer.acked) + peer.timing.lost_after + peer.timing.guard)
        return until


class ForgetsTheGuardOfOthers(Membership):
    """A node claims while another one still guards against a node that this one has never heard."""

    def _is_guarded(self, peer):
        return False


class IgnoresWhoDoesNotListIt(Membership):
    """One that is heard and does not list this node is not waited for at all."""

    def _proven(self, peer, now):
        return peer.listed_me < 0 or super()._proven(peer, now)


class _Hasty(Listening):
    def _length(self, slowest_known):
        return self._slowest_told.slower(slowest_known).lost_after


class ListensOnlyOnceAlone(Membership):
    """A node that hears nobody listens no longer than one that hears others."""

    listening = _Hasty


class _Deaf(Listening):
    def is_over(self, slowest_known, *, now):
        self.over = True
        return True


class DoesNotListen(Membership):
    """A node that starts wants a share at once."""

    listening = _Deaf


class _Small(ViewSelector):
    def why_too_few(self):
        return None


class MinoritiesServe(Membership):
    """A node that reaches no majority serves where only a majority may."""

    selector = _Small


class NoLease(Membership):
    """The filter takes packets until told otherwise."""

    def _lease(self, now, alive):
        return now + 1000 * self.timing.lost_after


class NoGuard(Membership):
    """After a death others claim at once."""

    def _guard_time(self, peer):
        return 0.0


class GuardsEachNewBoot(Membership):
    """A new boot of a node that serves is guarded like its death, though it has closed the old boot's filter."""

    def _take_in(self, peer, heartbeat, now, effects):
        if heartbeat.boot != peer.boot and peer.view:
            self._guard_until = peer.heard_at + peer.timing.lost_after + peer.timing.guard
        super()._take_in(peer, heartbeat, now, effects)


class WakesAsIfNothingHappened(Membership):
    """A node that slept goes on: its first heartbeat renews its lease, and it buries whom it did not hear."""

    def _wake(self, now):
        if now >= self.lease:
            self.lease = now + self.timing.lost_after
        return []


class JudgesNobodyWhileLate(Membership):
    """Whoever wakes late takes all others for just heard."""

    def _wake_late(self, late, now, effects):
        super()._wake_late(late, now, effects)
        for peer in self.peers.alive():
            peer.heard_at = now


class WantsBeforeListening(Membership):
    """A node that still listens is counted by the others, which release for it early."""

    def compose(self, *, now, to_all=True):
        heartbeat = super().compose(now=now, to_all=to_all)
        return type(heartbeat)(**{**_fields(heartbeat), "wants": self.wants and not self.leaving})


class OneFarewell(Membership):
    """The last word is said once."""

    def _farewells(self):
        return 1


class OneEarOfTwo(Membership):
    """Whom this node hears is a neighbour, whether or not it hears this node."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.peers.hearing = _OneEar(len(self.peers.names))


class _OneEar(Connectivity):
    def edges(self, node):
        return self._hears[node]


class _Stubborn(ViewSelector):
    def _why_yield(self, own):
        return None


class NeverYields(Membership):
    """A node stays in although another serves with somebody whom it cannot reach."""

    selector = _Stubborn


class _Headstrong(ViewSelector):
    def _right_digest(self, own):
        return own.settings_digest


class _Restless(ViewSelector):
    def _out_for_others(self, own, now):
        return self._why_yield(own)


class ComesBackAtOnce(Membership):
    """Who has yielded again and again comes back as soon as it may."""

    selector = _Restless


class OwnFarmFileCounts(Membership):
    """Each node goes by its own farm file instead of the majority's."""

    selector = _Headstrong


class TellsWithTheNextBeat(Membership):
    """A change of the view is not told at once."""

    def _change_view(self, view, now, effects):
        super()._change_view(view, now, effects)
        effects.pop()
        self._next_send = now + self.timing.pulse


class SaysItEachPulse(Membership):
    """After a change of what a node wants it speaks no more often than else."""

    def _hurry(self, now, *, just_sent=False):
        super()._hurry(now, just_sent=just_sent)
        self._burst_until = now
        if just_sent:
            self._next_send = now + self.timing.pulse


class SaysBeforeClosing(Membership):
    """A change of the view is told before the filter has closed what it takes."""

    def _change_view(self, view, now, effects):
        super()._change_view(view, now, effects)
        adopt, *between, say = effects[-3:]
        effects[-3:] = [say, *between, adopt]


class BlamesOthersForItsSleep(Membership):
    """Who wakes late counts the time for which it was deaf as the others' silence."""

    def _wake_late(self, late, now, effects):
        heard = [(peer, peer.heard_at) for peer in self.peers.alive()]
        super()._wake_late(late, now, effects)
        for peer, heard_at in heard:
            peer.heard_at = heard_at


class _Eager(ViewSelector):
    def _has_just_changed(self, own, newcomers, now):
        return False


class ProposesEachNewcomerAtOnce(Membership):
    """Members do not wait a moment between two views that they propose."""

    selector = _Eager


class _Independent(ViewSelector):
    def _adopted(self, candidates, clique):
        return clique


class AdoptsNobodysView(Membership):
    """A member goes by the view that it builds itself, though another one announces a larger one."""

    selector = _Independent


class _Humble(ViewSelector):
    def _is_deaf_and_idle(self, peer):
        return False


class StepsBackForWhoDoesNotServe(Membership):
    """A node steps back for one that does not hear it, also if that one serves nobody."""

    selector = _Humble


class _Welcoming(ViewSelector):
    def _newcomer_counts(self, peer, required, now):
        return True


class CountsNewcomersAtOnce(Membership):
    """A newcomer counts before all members have met it."""

    selector = _Welcoming


class ProofsOutliveALapse(Membership):
    """When the lease has run out, proofs from before count on."""

    def _lapse(self, now, effects):
        epoch = self._epoch
        super()._lapse(now, effects)
        self._epoch = epoch


class NoAnswers(Membership):
    """Who asks is not answered."""

    def _answer(self, peer, now, effects):
        pass


class LetsGoFirst(Membership):
    """Who is drained lets go before the others have adopted a view without it."""

    def _only_gives(self, view):
        return False


class BelievesThePast(Membership):
    """Heartbeats of an old boot or sequence count like new ones."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        peers = self.peers.by_name.values()
        self.peers.by_name = {peer.name: _Credulous(peer.name, peer.index, self.timing) for peer in peers}


class _Credulous(Peer):
    __slots__ = ()

    def why_refuse(self, heartbeat):
        return None


class OldFilterStaysOpen(KernelShare):
    """A new boot does not close the filter that an earlier one left open."""

    def release(self):
        if self.view:
            super().release()


class DropsWithTheClaim(KernelShare):
    """What a view takes is given up only when what it gives is claimed."""

    def _narrow(self, allowed):
        if not any(allowed):
            super()._narrow(allowed)


class HidesItsDirt(KernelShare):
    """Connections in buckets of others are not admitted."""

    @property
    def dirty(self):
        return False


class LetsGoAtOnce(KernelShare):
    """In directed delivery the former owner of a bucket takes nothing more from the moment the view takes it."""

    def adopt(self, view):
        super().adopt(view)
        self._transit.outgoing = [0] * len(self._given)
        self._write()


class TakesWithTheClaim(KernelShare):
    """In directed delivery the new owner of a bucket takes nothing before its claim."""

    def adopt(self, view):
        super().adopt(view)
        self._transit.incoming = [0] * len(self._given)
        self._write()


class SendsAtOnce(KernelShare):
    """A member sends to the new owner of a bucket before that one has adopted the view."""

    def cells(self, group, numbers):
        views, self._transit._views = self._transit._views, ()
        try:
            return super().cells(group, numbers)
        finally:
            self._transit._views = views


class OwnClaimIsEnough(KernelShare):
    """The former owner of a bucket lets go when it has claimed the view, though others send by the former one."""

    def claim(self):
        super().claim()
        self._transit.end()
        self._write()


class ResetsWhileBucketsMove(KernelShare):
    """Who takes a bucket that moves answers with a reset what belongs to no connection here."""

    def dirty_members(self):
        return {node.name: node.dirty_buckets for node in self.neighbours if node.dirty}


class BelievesTheDirtOfOtherSettings(KernelShare):
    """What a node with other settings says of its dirty buckets counts like that of any other node."""

    def _dirt(self, said):
        return super()._dirt(said._replace(settings=self._settings))


class TakesGroupsByTheirNumber(KernelShare):
    """Who goes over to other share groups keeps its buckets by the numbers of groups, whatever their traffic."""

    def regroup(self, former, *, settings):
        super().regroup(list(range(len(former))), settings=settings)


def takes_the_very_next_boot(*, last, above, wall_clock, chance):
    """Where its clock is behind, a start takes the number after the highest that it knows."""
    return max(last, above) + 1


def _fields(heartbeat):
    return {name: getattr(heartbeat, name) for name in heartbeat.__struct_fields__}
