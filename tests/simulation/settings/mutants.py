"""The agreement on settings broken on purpose, one rule at a time: the simulation must notice each.

Each class breaks what its docstring says.
"""

import msgspec

from hcsidecar.core.membership.revision_state import RevisionState
from hcsidecar.core.settings.agreement import (
    PROMISE,
    Agreement,
    AgreementPhase,
    Discard,
    ProposalProgress,
    Save,
    SendMessage,
)


class PromisesToEverybody(Agreement):
    """A node that has promised agrees to another proposal as well."""

    def _why_refuse(self, proposal):
        return [reason for reason in super()._why_refuse(proposal) if "busy" not in reason]


class GoesOnWithOneMissing(Agreement):
    """The coordinator begins when those whom it hears have promised, whoever else must."""

    def _coordinate(self, effects, now):
        mine, heard = self._coordination, self.heard
        if mine is not None and mine.progress is ProposalProgress.PREPARING:
            missing = [name for name in mine.proposal.participants if name not in heard]
            mine.prepared |= set(missing)
            self.heard = {**heard, **dict.fromkeys(missing, RevisionState())}
        super()._coordinate(effects, now)
        self.heard = heard


class TakesAnyAnswer(Agreement):
    """An answer to an earlier proposal counts for the present one."""

    def _take_answer(self, answer, sender, effects, now):
        if self._coordination is not None:
            answer = msgspec.structs.replace(answer, token=self._coordination.proposal.token)
        super()._take_answer(answer, sender, effects, now)


class BeginsBeforeTheRemoved(Agreement):
    """The coordinator does not wait until those to be removed are out."""

    def _not_out(self, proposal):
        return []


class SettlesUnheard(Agreement):
    """The coordinator settles as soon as it goes by the revision, whomever it hears."""

    def _deaf(self, proposal, candidate):
        return []

    def _hears_all(self):
        return True


class SettlesAlone(Agreement):
    """A node on trial that hears all settles, whether or not the coordinator has."""

    def _watch_trial(self, effects, now):
        if self.phase is AgreementPhase.TRIAL and self._hears_all():
            self._settle(effects)
        else:
            super()._watch_trial(effects, now)


class KeepsTheTrial(Agreement):
    """What is on trial is written to the disk as settled: a node that starts anew goes by it."""

    def _start_trial(self, effects):
        super()._start_trial(effects)
        effects.append(Save(self._record_of(self.candidate)))


class GoesOnAlone(Agreement):
    """A node on trial goes on although another one has gone back."""

    def _watch_trial(self, effects, now):
        heard, self.heard = self.heard, {name: state for name, state in self.heard.items() if state.stage != 3}
        super()._watch_trial(effects, now)
        self.heard = heard


class PromisesForEver(Agreement):
    """A promise holds until the coordinator takes it back."""

    def _keep_promise(self, effects, now):
        self._deadline = now + 1.0
        super()._keep_promise(effects, now)


class TriesForEver(Agreement):
    """A trial that nobody confirms goes on."""

    def _watch_trial(self, effects, now):
        self._deadline = now + 1.0
        super()._watch_trial(effects, now)


class CountsItsSleep(Agreement):
    """A node that stood still counts that time, and goes back before it hears what the others did."""

    def _wake(self, now):
        pass


class RemovedGoesBackAlone(Agreement):
    """One that is to be removed goes back when it hears nobody."""

    def _others_without(self, candidate):
        return [self.name]


class RemovedStaysOut(Agreement):
    """One that is to be removed stays out, also when it hears that the others have gone back, or never tried."""

    def _others_without(self, candidate):
        return []


class NeverAsksWhetherRemoved(Agreement):
    """One that hears nobody goes on, and does not ask whether the farm has removed it."""

    def _ask_whether_removed(self, effects, now):
        self._asked_removed = True


class ServesBeforeItHasAsked(Agreement):
    """One that starts and hears nobody takes traffic before it knows that it is not removed."""

    def _is_answered(self, now):
        return True


class BelievesAnyRemoval(Agreement):
    """One that has gone another way ends when others have removed it."""

    def _descends(self, lineage):
        return True


class ServesWhileItLeaves(Agreement):
    """One that is removed takes traffic during the trial."""

    def why_leaving(self):
        return None


class DrainsWithinThePromise(Agreement):
    """A promise is not prolonged by the drain of those that are removed."""

    def _begin(self, phase, revision, proposal, now):
        super()._begin(phase, revision, proposal, now)
        if phase is AgreementPhase.PROMISED:
            self._deadline = now + PROMISE


class SettlesItsOwnRemoval(Agreement):
    """One that is removed settles the revision without it when it hears that others have."""

    def _leaves(self):
        return False


class IgnoresAbort(Agreement):
    """A node keeps its promise although the coordinator has aborted."""

    def receive(self, message, *, sender, now):
        return [] if type(message).__name__ == "Abort" else super().receive(message, sender=sender, now=now)


class AnswersOnce(Agreement):
    """A node that has promised says so once: who has lost the word that it is over does not hear it again."""

    def _keep_promise(self, effects, now):
        super()._keep_promise(effects, now)
        effects[:] = [effect for effect in effects if not isinstance(effect, SendMessage)]


class LeavesItThere(Agreement):
    """What is not taken is not thrown away."""

    def _drop(self, effects):
        super()._drop(effects)
        effects[:] = [effect for effect in effects if not isinstance(effect, Discard)]


class ThrowsItAwayTooSoon(Agreement):
    """What is gone back from is thrown away before the daemon goes by the former settings."""

    def _undo(self, why, effects):
        super()._undo(why, effects)
        effects.insert(0, Discard(self.candidate))


class ForgetsItsNumbers(Agreement):
    """The number after the settled one is given, whatever else was tried."""

    def next_number(self):
        return self.record.settled.number if self.record.settled is not None else 1

    def _why_refuse(self, proposal):
        return [reason for reason in super()._why_refuse(proposal) if "above" not in reason]


class FollowsAnybody(Agreement):
    """A node follows any other settled revision with a higher name, whether or not it descends from its own."""

    def _descends(self, lineage):
        return self.record.settled is None or lineage.settled > self.record.settled


class FollowsNobody(Agreement):
    """One that was away goes on with what it has."""

    def _descends(self, lineage):
        return False


class KeepsConflictsToItself(Agreement):
    """That the settings have gone two ways is told to nobody."""

    def _tell_conflicts(self, unknown, effects):
        pass


class ForgetsWhatTheOtherKnew(Agreement):
    """A revision that ends a conflict has only its parents and this node's ancestors before it."""

    def ancestors_of_next(self, taken=()):
        return tuple(sorted({*super().ancestors_of_next(), *taken}))


class ServesAtOnce(Agreement):
    """A node that starts wants a share before it has asked the others for their settings."""

    def why_no_traffic(self):
        return None


class StaysOutForWantOfRoom(Agreement):
    """A node that goes by what the others have, and cannot save it, stays out."""

    def _serve_unsaved(self, now):
        pass


class TicksWithoutEnd(Agreement):
    """A deadline that has passed is due now."""

    def next_tick_at(self, *, now):
        return max(now, min(self._deadline, now + 1.0))
