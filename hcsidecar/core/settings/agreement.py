"""How the nodes of a farm agree on a revision of the settings: all of them take it, or none does.

Theory of operation
-------------------
Each node goes by a *settled* revision. A revision names its parents, so that a node knows which revisions were before
its own: its *ancestors*. There is no leader: the node that is asked to apply a revision is its *coordinator*.

1. *Prepare.* The coordinator sends the proposal to every node that must agree, itself included. Each obtains the
   revision, checks it on its machine, stores it, and promises to agree to nothing else for a while. If one refuses,
   or does not answer, the coordinator aborts with all reasons. Nothing has happened then.
2. *Trial.* When all have promised, the coordinator begins to go by the revision, and its heartbeats say so. A node that
   has promised and hears that another goes by the revision begins as well. In a trial nothing is written that survives
   a restart of the daemon: who restarts has gone back. A node that the revision removes begins first, at the
   coordinator's word: it drains, and takes no traffic from then on. Once the others have begun they do not speak to it
   any more, and it must be out by then.
3. *Settle.* In the trial each node waits until it hears from all whom it heard before that they go by the revision, and
   says so. When the coordinator hears that from all, it settles: it saves the revision as the one that it goes by. A
   node on trial that hears that another has settled settles too.
4. *Go back.* If that does not come about within the confirm time, or one node cannot take the revision after all, each
   node goes back to the settled revision by itself. One that hears that another has gone back does so at once.

A node that hears of a settled revision that it does not know asks for its lineage. If its own revision is among the
ancestors, it was away when the farm went on: it obtains the revision and follows. If the other's revision is among its
own ancestors, the other will follow. If neither is true, two parts of a cut farm have gone different ways. Nobody
chooses silently: both go on as they are, and say so, until a revision with all of them as its parents is applied.

A node that hears nobody asks the others whether the farm has removed it, by a way that is open to removed nodes too: on
trial it may be left alone because all have settled its removal, and it may have been away when that was done. A proof
that a descendant of its own revision has removed it ends the daemon, which is not started again.

Two proposals with the same parent cannot both be settled in one connected part. Each needs every node of the farm in
its trial, its coordinator among them, and a node that has settled one refuses to promise the other.

The class decides and does nothing itself. All methods return effects, which the caller carries out in order; those
that take long report back (`obtained`, `activated`, `saved`). `now` is in seconds of a monotonic clock.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, assert_never

import msgspec

from hcsidecar.core.events import Event, Level
from hcsidecar.core.farmfile.values import format_duration
from hcsidecar.core.membership.effects import Tell
from hcsidecar.core.membership.revision_state import NO_REVISION, RevisionMark, RevisionState, TrialStage
from hcsidecar.core.plain_text import shortened
from hcsidecar.core.settings.messages import (
    LONGEST_REASON,
    MAX_ANCESTORS,
    MOST_REASONS,
    Abort,
    AgreementMessage,
    Ancestors,
    AskLineage,
    Begin,
    Lineage,
    Prepare,
    Prepared,
    Proposal,
    Refused,
)
from hcsidecar.core.settings.revision import RevisionId

PROMISE: Final = 60.0
"Seconds for which a promise holds."
ANSWER_LIMIT: Final = 20.0
"Seconds within which all must have answered a proposal; less than PROMISE, so that no promise ends before the trial."
RESEND: Final = 1.0
"Seconds between two questions to a node that has not answered."
RETRY: Final = 10.0
"Seconds before a revision is tried again that could not be obtained or taken."
MARGIN: Final = 5.0
"Seconds that others wait longer than the coordinator: its word may still come."
LINEAGE_LIMIT: Final = 30.0
"Seconds after which a node that has just started goes on by what it has, where nobody answers its questions."
ASK_AGAIN: Final = 1.0
"Seconds between two rounds of questions whether this node is removed."
LATE: Final = 1.0
"Seconds: a tick that comes later than that was not this node's choice, and its deadlines move by as much."


class AgreementPhase(StrEnum):
    """What a node does about revisions just now. `candidate` is the revision that it is about."""

    IDLE = "idle"
    CHECKING = "checking"
    "It obtains a proposed revision, and checks it."
    PROMISED = "promised"
    STARTING = "starting"
    "The daemon takes the revision, for the trial."
    TRIAL = "trial"
    SETTLING = "settling"
    "The revision is being saved as the settled one."
    UNDOING = "undoing"
    "The daemon goes back to the settled revision."
    FETCHING = "fetching"
    "It obtains a revision that others have settled."
    FOLLOWING = "following"
    "The daemon takes that revision."
    REMOVED = "removed"
    "The farm goes on without this node: its daemon ends."


class SettingsRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a node keeps on its disk."""

    settled: RevisionId | None = None
    "None while the farm file on the disk is no revision yet."
    ancestors: Ancestors = ()
    "What was before it, sorted; the latest MAX_ANCESTORS."
    highest: int = 0
    "The highest number of a revision seen."
    removed_by: RevisionId | None = None
    "The revision of the others that has removed this node: it must not start again."

    def alone_with(self, revision: RevisionId) -> "SettingsRecord":
        """Return the record of a node that its operator lets go by a revision of its own.

        It follows nothing, so that no node with a revision follows it, and it follows none: that is a conflict, which
        the operator ends.
        """
        return SettingsRecord(settled=revision, highest=max(self.highest, revision.number))


class ProposalProgress(StrEnum):
    """How far a proposal is, as its coordinator sees it."""

    PREPARING = "preparing"
    TRIAL = "trial"
    SETTLED = "settled"
    ABORTED = "aborted"
    "Nobody has gone by it."
    UNDONE = "undone"
    "All go back from it."


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalStatus:
    """A proposal and what has become of it, for the operator who follows."""

    proposal: Proposal
    progress: ProposalProgress
    prepared: frozenset[str]
    "The nodes that have promised."
    refusals: Mapping[str, tuple[str, ...]]
    "By node: why it does not take the revision."
    outcome: str = ""
    "Why it was aborted or undone."
    leaving: frozenset[str] = frozenset()
    "The nodes that it removes, and that are not out yet."


@dataclass(frozen=True, slots=True)
class SendMessage:
    """Send a message to a node; it may get lost."""

    to: str
    message: AgreementMessage


@dataclass(frozen=True, slots=True)
class Obtain:
    """Obtain a revision from a node unless it is stored, check it on this machine, store it; then call `obtained`."""

    revision: RevisionId
    source: str


@dataclass(frozen=True, slots=True)
class Activate:
    """Let the daemon go by a stored revision, None: by the farm file on the disk; then call `activated`."""

    revision: RevisionId | None


@dataclass(frozen=True, slots=True)
class Save:
    """Keep the record on the disk, in place of the one before; then call `saved`."""

    record: SettingsRecord


@dataclass(frozen=True, slots=True)
class Settled:
    """The revision is settled here: bring the operator's files up to it."""

    revision: RevisionId


@dataclass(frozen=True, slots=True)
class Discard:
    """Throw away a stored revision that was not taken."""

    revision: RevisionId


@dataclass(frozen=True, slots=True)
class RestartDaemon:
    """The daemon goes neither by the one nor by the other revision: it must start anew, by the settled one."""

    reason: str


@dataclass(frozen=True, slots=True)
class AskWhetherRemoved:
    """Ask all other nodes whether the farm has removed this one; then call `told_of_removal` once."""


@dataclass(frozen=True, slots=True)
class EndRemoved:
    """The farm has removed this node: end the daemon for good."""

    revision: RevisionId


AgreementEffect = (
    SendMessage | Obtain | Activate | Save | Settled | Discard | RestartDaemon | AskWhetherRemoved | EndRemoved | Tell
)


class NotProposedError(Exception):
    """A revision cannot be proposed now: every reason, as a sentence."""

    def __init__(self, *reasons: str) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


@dataclass(slots=True, kw_only=True)
class _Coordination:
    """The part of the coordinator."""

    proposal: Proposal
    prepared: set[str] = field(default_factory=set)
    refusals: dict[str, tuple[str, ...]] = field(default_factory=dict)
    progress: ProposalProgress = ProposalProgress.PREPARING
    outcome: str = ""
    asked_at: float = float("-inf")
    answer_by: float = 0.0
    "When all must have answered, or, after that, when those to be removed must be out."

    @property
    def unanswered(self) -> list[str]:
        return [name for name in self.proposal.participants if name not in self.prepared and name not in self.refusals]


class Agreement:
    """One node's part; the module's docstring has the theory of operation, docs/design.md all moves in a table.

    `record` is what the latest `Save` of an earlier run kept. `listens_until` is when this node has heard all others
    that live; earlier, if it hears all `others` of the farm.
    """

    def __init__(
        self,
        *,
        name: str,
        record: SettingsRecord | None = None,
        listens_until: float,
        others: Collection[str] = (),
        now: float,
    ) -> None:
        self.name = name
        self.record = record or SettingsRecord()
        self._listens_until = listens_until
        self._others = frozenset(others)
        self.phase = AgreementPhase.IDLE
        self.candidate: RevisionId | None = None
        self.proposal: Proposal | None = None
        "The one that the candidate is of; None where this node follows others."
        self.heard: Mapping[str, RevisionState] = {}
        "By node: what it says of its revisions; those only that are alive and have acknowledged this node."
        self.conflicts: dict[str, RevisionId] = {}
        "By node: a settled revision that has gone another way than this node's."
        self._told_conflicts: dict[str, RevisionId] = {}
        "Those that this node has raised an alarm of, and that are not known to be over."
        self.blocked: str | None = None
        "Why this node does not take the revision that the others have settled."
        self._coordination: _Coordination | None = None
        self._required: set[str] = set()
        "Whom this node must hear in the trial."
        self._deadline = 0.0
        "When the promise, or the trial, ends."
        self._undone: RevisionMark = NO_REVISION
        "The trial from which this node has gone back last."
        self._heard_settled = False
        "The candidate is settled somewhere: there is no way back from it."
        self._lineages: dict[RevisionMark, Lineage] = {}
        "Of the settled revisions of others that this node does not know."
        self._asked: dict[str, float] = {}
        "By node: when it was asked for its lineage."
        self._retry_at = 0.0
        self._save_again_at: float | None = None
        "When what is settled is saved again; None while nothing has failed."
        self._answer_again_at = 0.0
        self._ask_removed_at = float("-inf")
        "When the others are asked whether this node is removed; inf while they are."
        self._asked_removed = False
        "They have been asked since this node started, and no proof of it came."
        self._told_removal: RevisionId | None = None
        "A removal that this node does not follow, of which it has raised an alarm."
        self._resolved = False
        "This node has found out, since it started, whether the farm has gone on without it."
        self._expected = now

    # -- what others are told -------------------------------------------------------------------------------------

    @property
    def state(self) -> RevisionState:
        """What the heartbeats say."""
        trial, stage = self._undone, TrialStage.UNDONE if self._undone != NO_REVISION else TrialStage.NONE
        tries = self.phase in (AgreementPhase.TRIAL, AgreementPhase.SETTLING) and self.proposal is not None
        if tries and self.candidate is not None:
            trial = self.candidate.mark
            stage = TrialStage.HEARS_ALL if self._hears_all() else TrialStage.RUNNING
        return RevisionState(settled=self._mark, trial=trial, stage=stage, highest=self.record.highest)

    @property
    def status(self) -> ProposalStatus | None:
        """What has become of the proposal that this node coordinates, or coordinated last."""
        found = self._coordination
        if found is None:
            return None
        return ProposalStatus(
            proposal=found.proposal,
            progress=found.progress,
            prepared=frozenset(found.prepared),
            refusals=dict(found.refusals),
            outcome=found.outcome,
            leaving=frozenset(self._not_out(found.proposal) if self._waits_for_leavers(found) else ()),
        )

    def why_no_traffic(self) -> str | None:
        """Return why this node must take no traffic yet, or None.

        A node that has just started first takes what was settled while it was away. One that already serves goes on
        while it does so.
        """
        if (leaving := self.why_leaving()) is not None:
            return leaving
        if self._resolved:
            return None
        if self.blocked is not None:
            return self.blocked
        if self.phase in (AgreementPhase.FETCHING, AgreementPhase.FOLLOWING, AgreementPhase.SETTLING):
            return f"takes {self.candidate} of the settings, which the others have"
        return "asks the others for their settings"

    def conflict_in_words(self) -> str:
        """Return who goes by other settings than this node and how that ends, empty if nobody does."""
        if not self.conflicts:
            return ""
        names = sorted(self.conflicts)
        return (
            f"the settings have gone two ways: {_listed(names)} {'goes' if len(names) == 1 else 'go'} by others"
            " (hcsidecar apply --take NODE)"
        )

    def why_leaving(self) -> str | None:
        """Return why this node, which the farm removes or has removed, takes no traffic; None if it is not removed."""
        if self.phase is AgreementPhase.REMOVED:
            return f"removed from the farm by {self.record.removed_by} of the settings"
        return f"leaves the farm: {self.candidate} of the settings removes it" if self._leaves() else None

    def _leaves(self) -> bool:
        """Return whether this node goes by its own removal, for a trial."""
        goes = (AgreementPhase.STARTING, AgreementPhase.TRIAL, AgreementPhase.UNDOING)
        return self.proposal is not None and self.name in self.proposal.removed and self.phase in goes

    # -- the coordinator ------------------------------------------------------------------------------------------

    def propose(self, proposal: Proposal, *, now: float) -> list[AgreementEffect]:
        """Begin to coordinate a proposal; the revision is stored and checked here already.

        Raise NotProposedError if it cannot be proposed.
        """
        reasons = self._why_refuse(proposal)
        reasons += [
            f"{name} does not answer heartbeats: leave it out by name (--without {name}), or wait for it"
            for name in proposal.participants
            if name != self.name and name not in self.heard
        ]
        if self.name in proposal.removed:
            reasons.append(f"{self.name} cannot remove itself: do it on another node")
        if now < self._listens_until and not self._others <= {self.name, *proposal.participants}:
            reasons.append(
                f"{self.name} has just started, and may not have heard yet who lives: nobody can be left out yet,"
                " try again in a moment"
            )
        if reasons:
            raise NotProposedError(*reasons)
        self._coordination = _Coordination(proposal=proposal, answer_by=now + ANSWER_LIMIT)
        effects: list[AgreementEffect] = []
        self._begin(AgreementPhase.PROMISED, proposal.revision, proposal, now)
        self._coordination.prepared.add(self.name)
        self._coordinate(effects, now)
        return effects

    def next_number(self) -> int:
        """Return the number of the next revision: above all that this node has seen or heard of."""
        return 1 + max([self.record.highest, *(state.highest for state in self.heard.values())])

    def ancestors_of_next(self, taken: Iterable[RevisionId] = ()) -> Ancestors:
        """Return what is before a revision that follows this node's.

        `taken` are its other parents, where it ends a conflict: what others go by, all of `conflicts`.
        """
        before = set(self.record.ancestors)
        if self.record.settled is not None:
            before.add(self.record.settled)
        for revision in taken:
            before |= {revision, *self._lineages[revision.mark].ancestors}
        return _latest(before)

    def _take_answer(self, answer: Prepared | Refused, sender: str, effects: list[AgreementEffect], now: float) -> None:
        mine = self._coordination
        over = (ProposalProgress.ABORTED, ProposalProgress.UNDONE)
        if mine is None or answer.token != mine.proposal.token or mine.progress in over:
            # The word that it is over got lost, or came before this promise.
            effects.append(SendMessage(sender, Abort(token=answer.token)))
        elif sender in mine.unanswered:
            if isinstance(answer, Refused):
                mine.refusals[sender] = answer.reasons
            else:
                mine.prepared.add(sender)
            self._coordinate(effects, now)

    def _coordinate(self, effects: list[AgreementEffect], now: float) -> None:
        """Do what the coordinator must do before it begins itself."""
        mine = self._coordination
        if mine is None or self.proposal is not mine.proposal or self.phase is not AgreementPhase.PROMISED:
            return
        for name in mine.proposal.participants:
            state = self.heard.get(name)
            if name != self.name and (state is None or _has_gone_back(state, mine.proposal.revision)):
                mine.prepared.discard(name)
                mine.refusals[name] = ("is not heard any more" if state is None else "went back",)
        waits_for = mine.unanswered or self._not_out(mine.proposal)
        if now >= mine.answer_by:
            # Nobody's promise is counted on for longer, also where this node stood still meanwhile.
            leaves = bool(waits_for) and not mine.unanswered
            late = f"has not answered within {format_duration(ANSWER_LIMIT)}"
            late = "is not out of the farm in time" if leaves else late
            mine.refusals |= dict.fromkeys(waits_for or [self.name], (late,))
            self._give_up(mine, effects)
        elif mine.refusals and not mine.unanswered:
            self._give_up(mine, effects)
        elif not waits_for:
            mine.progress = ProposalProgress.TRIAL
            self._start_trial(effects)
        else:
            if not mine.unanswered and mine.progress is ProposalProgress.PREPARING:
                mine.progress, mine.asked_at = ProposalProgress.TRIAL, float("-inf")
                mine.answer_by = now + ANSWER_LIMIT + mine.proposal.drain
            if now >= mine.asked_at + RESEND:
                mine.asked_at = now
                token = mine.proposal.token
                question = Prepare(proposal=mine.proposal) if mine.unanswered else Begin(token=token)
                effects += [SendMessage(name, question) for name in waits_for]

    def _waits_for_leavers(self, mine: _Coordination) -> bool:
        return mine.progress is ProposalProgress.TRIAL and self.phase is AgreementPhase.PROMISED

    def _not_out(self, proposal: Proposal) -> list[str]:
        """Return who is to be removed and does not go by the revision yet."""
        return [
            name
            for name in proposal.removed
            if name in proposal.participants and not _goes_by(self.heard.get(name), proposal.revision)
        ]

    def _give_up(self, mine: _Coordination, effects: list[AgreementEffect]) -> None:
        """Let go of a proposal that this node has not begun to go by."""
        proposal = mine.proposal
        mine.outcome = "; ".join(_told(mine.refusals))
        if mine.progress is ProposalProgress.TRIAL:
            # Those to be removed may go by it already: they go back when they hear that this node has.
            mine.progress, self._undone = ProposalProgress.UNDONE, proposal.revision.mark
            self._use_up(proposal.revision.number, effects)
        else:
            mine.progress = ProposalProgress.ABORTED
        others = [name for name in proposal.participants if name != self.name]
        effects += [SendMessage(name, Abort(token=proposal.token)) for name in others]
        effects.append(_warn(f"{proposal.revision} is not applied, and nothing has changed: {mine.outcome}"))
        self._drop(effects)

    # -- called from outside --------------------------------------------------------------------------------------

    def set_others(self, others: Collection[str]) -> None:
        """Note which other nodes are in the farm file by which the daemon goes. Call it before `activated`."""
        self._others = frozenset(others)

    def receive(self, message: AgreementMessage, *, sender: str, now: float) -> list[AgreementEffect]:
        """Take in a message. Return the effects to carry out."""
        effects: list[AgreementEffect] = []
        self._wake(now)
        match message:
            case Prepare(proposal=proposal):
                self._consider(proposal, sender, effects, now)
            case Prepared() | Refused():
                self._take_answer(message, sender, effects, now)
            case Abort(token=token):
                mine, early = self.proposal, self.phase in (AgreementPhase.CHECKING, AgreementPhase.PROMISED)
                if early and mine is not None and (mine.token, mine.coordinator) == (token, sender):
                    self._drop(effects)
                    self._go_on(effects, now)
            case Begin(token=token):
                mine, promised = self.proposal, self.phase is AgreementPhase.PROMISED
                if promised and mine is not None and (mine.token, mine.coordinator) == (token, sender):
                    self._start_trial(effects)
            case AskLineage():
                if self.record.settled is not None:
                    answer = Lineage(settled=self.record.settled, ancestors=self.record.ancestors)
                    effects.append(SendMessage(sender, answer))
            case Lineage():
                self._learn(message, sender)
                self._look_at_others(effects, now)
            case _:
                assert_never(message)
        return effects

    def hear(self, heard: Mapping[str, RevisionState], *, now: float) -> list[AgreementEffect]:
        """Take in what the living nodes say in their heartbeats, all of them that have acknowledged this node.

        Call it whenever that changes.
        """
        effects: list[AgreementEffect] = []
        self._wake(now)
        self.heard = dict(heard)
        self._go_on(effects, now)
        return effects

    def tick(self, *, now: float) -> list[AgreementEffect]:
        """Do what is due by now. Call it at `next_tick_at()`, or as soon as possible after that."""
        effects: list[AgreementEffect] = []
        self._wake(now)
        self._go_on(effects, now)
        self._expected = self.next_tick_at(now=now)
        return effects

    def next_tick_at(self, *, now: float) -> float:
        """Return when `tick` is due if nothing is heard until then."""
        waits = self.phase in (AgreementPhase.PROMISED, AgreementPhase.TRIAL)
        return min(now + RESEND, self._deadline) if waits and self._deadline > now else now + RESEND

    def obtained(self, revision: RevisionId, problems: tuple[str, ...], *, now: float) -> list[AgreementEffect]:
        """Take in that a revision is stored and right on this machine, or why not."""
        effects: list[AgreementEffect] = []
        self._wake(now)
        if revision != self.candidate or self.phase not in (AgreementPhase.CHECKING, AgreementPhase.FETCHING):
            # Nobody waits for it any more. It must not be thrown away if it has been asked for anew, or is in use.
            if revision not in (self.candidate, self.record.settled, *self.record.ancestors):
                effects.append(Discard(revision))
            return effects
        if self.phase is AgreementPhase.FETCHING:
            if problems:
                self._note_block(f"cannot take {revision} of the settings: {'; '.join(problems)}", effects, now)
                self._rest()
            else:
                self.phase = AgreementPhase.FOLLOWING
                effects.append(Activate(revision))
            return effects
        proposal = self.proposal
        if proposal is None:  # pragma: no cover - whoever checks has one
            return effects
        if problems:
            effects.append(SendMessage(proposal.coordinator, Refused(token=proposal.token, reasons=_limited(problems))))
            self._drop(effects)
            return effects
        self._begin(AgreementPhase.PROMISED, revision, proposal, now)
        effects.append(SendMessage(proposal.coordinator, Prepared(token=proposal.token)))
        self._go_on(effects, now)
        return effects

    def activated(self, revision: RevisionId | None, problem: str | None, *, now: float) -> list[AgreementEffect]:
        """Take in that the daemon goes by a revision, or why it cannot."""
        effects: list[AgreementEffect] = []
        self._wake(now)
        if self.phase is AgreementPhase.UNDOING:
            if revision != self.record.settled:
                return effects
            if problem is not None:
                effects.append(RestartDaemon(f"the daemon cannot go back to the settings before: {problem}"))
                return effects
            self._drop(effects)
            self._go_on(effects, now)
            return effects
        if revision is None or revision != self.candidate:
            return effects
        if self.phase is AgreementPhase.STARTING and self.proposal is not None:
            if problem is not None:
                self._undo(f"{self.name} cannot take it: {problem}", effects)
                return effects
            self.phase = AgreementPhase.TRIAL
            is_coordinator = self.proposal.coordinator == self.name
            self._deadline = now + self.proposal.confirm + (0.0 if is_coordinator else MARGIN)
            self._go_on(effects, now)
        elif self.phase is AgreementPhase.FOLLOWING:
            if problem is not None:
                self._note_block(f"cannot take {revision} of the settings: {problem}", effects, now)
                self.phase = AgreementPhase.UNDOING
                effects.append(Activate(self.record.settled))
            else:
                self._heard_settled = True
                self._settle(effects)
        return effects

    def saved(self, record: SettingsRecord, problem: str | None, *, now: float) -> list[AgreementEffect]:
        """Take in that a record is kept, or why not."""
        effects: list[AgreementEffect] = []
        self._wake(now)
        revision = self.candidate
        if self.phase is not AgreementPhase.SETTLING or revision is None or record.settled != revision:
            return effects
        if problem is not None:
            if not self._heard_settled:
                # Nobody has heard of it: the way back is open.
                self._undo(f"{self.name} cannot save it: {problem}", effects)
                return effects
            if self._save_again_at is None:
                effects.append(_alarm(f"{revision} of the settings cannot be saved, and is tried again: {problem}"))
            self._save_again_at = now + RETRY
            self._serve_unsaved(now)
            return effects
        self.record = record
        mine = self._coordination
        if mine is not None and self.proposal is mine.proposal:
            mine.progress = ProposalProgress.SETTLED
        if self.proposal is not None:
            effects.append(_inform(f"{revision} of the settings is in force on all nodes that had to agree"))
        else:
            effects.append(_inform(f"this node has taken {revision} of the settings from the others"))
        effects.append(Settled(revision))
        self._undone = NO_REVISION
        self.blocked = None
        self._rest()
        self._go_on(effects, now)
        return effects

    # -- the participant ------------------------------------------------------------------------------------------

    def _consider(self, proposal: Proposal, sender: str, effects: list[AgreementEffect], now: float) -> None:
        """Begin to check a proposal, or refuse it; answer again where this node has promised already."""
        if sender != proposal.coordinator or self.name not in proposal.participants or sender == self.name:
            return
        if self.proposal is not None and self.proposal.token == proposal.token:
            if self.phase is AgreementPhase.PROMISED:
                effects.append(SendMessage(sender, Prepared(token=proposal.token)))
            return
        reasons = self._why_refuse(proposal)
        if reasons:
            effects.append(SendMessage(sender, Refused(token=proposal.token, reasons=_limited(reasons))))
            return
        self._begin(AgreementPhase.CHECKING, proposal.revision, proposal, now)
        effects.append(Obtain(proposal.revision, sender))

    def _why_refuse(self, proposal: Proposal) -> list[str]:
        """Return why this node cannot agree to a proposal, whatever is in it."""
        settled = self.record.settled
        reasons = []
        if self.phase is AgreementPhase.REMOVED:
            reasons.append(f"{self.name} is no longer in the farm, by {self.record.removed_by}")
        elif self.phase is not AgreementPhase.IDLE:
            by = f", which {self.proposal.coordinator} proposes" if self.proposal is not None else ""
            reasons.append(f"{self.name} is busy with {self.candidate}{by}: try again in a moment")
        if settled is None and proposal.parents:
            reasons.append(f"{self.name} has no revision yet, and takes that of the others first")
        elif settled is not None and settled.digest not in proposal.parents:
            reasons.append(f"{self.name} goes by {settled}, which the proposed one does not follow")
        if proposal.revision.number <= self.record.highest:
            highest = self.record.highest
            reasons.append(f"{self.name} has seen a revision {highest} already, and the proposed one is not above it")
        return reasons

    def _start_trial(self, effects: list[AgreementEffect]) -> None:
        if self.candidate is None:  # pragma: no cover - whoever has promised has one
            return
        self.phase = AgreementPhase.STARTING
        self._use_up(self.candidate.number, effects)
        self._undone = NO_REVISION
        effects.append(Activate(self.candidate))

    def _use_up(self, number: int, effects: list[AgreementEffect]) -> None:
        """Note that a number was in use: it is not given again, even if the disk is full."""
        self.record = msgspec.structs.replace(self.record, highest=max(self.record.highest, number))
        effects.append(Save(self.record))

    def _go_on(self, effects: list[AgreementEffect], now: float) -> None:
        """Do what follows from what is heard, and from the time."""
        self._coordinate(effects, now)
        match self.phase:
            case AgreementPhase.IDLE:
                self._look_at_others(effects, now)
                self._ask_whether_removed(effects, now)
            case AgreementPhase.PROMISED:
                self._keep_promise(effects, now)
            case AgreementPhase.TRIAL:
                self._watch_trial(effects, now)
            case AgreementPhase.SETTLING:
                if self._save_again_at is not None and now >= self._save_again_at:
                    self._save_again_at = float("inf")
                    self._settle(effects)
                self._serve_unsaved(now)
            case _:  # the daemon has not reported back yet
                pass

    def _keep_promise(self, effects: list[AgreementEffect], now: float) -> None:
        proposal, candidate = self.proposal, self.candidate
        if proposal is None or candidate is None or proposal.coordinator == self.name:
            return  # a coordinator begins by its own decision only
        if self._who(lambda state: _has_gone_back(state, candidate)) or now >= self._deadline:
            self._drop(effects)
            self._look_at_others(effects, now)
        elif any(_goes_by(state, candidate) for name, state in self.heard.items() if name not in proposal.removed):
            self._start_trial(effects)
        elif now >= self._answer_again_at:
            # If the coordinator has given up, or forgotten it by a restart, it says so.
            self._answer_again_at = now + RESEND
            effects.append(SendMessage(proposal.coordinator, Prepared(token=proposal.token)))

    def _watch_trial(self, effects: list[AgreementEffect], now: float) -> None:
        proposal, candidate = self.proposal, self.candidate
        if proposal is None or candidate is None:  # pragma: no cover - a trial has both
            return
        gone_back = self._who(lambda state: _has_gone_back(state, candidate))
        if self._leaves() and not gone_back:
            self._ask_whether_removed(effects, now)
        if self._who(lambda state: state.settled == candidate.mark) and not self._leaves():
            self._heard_settled = True
            self._settle(effects)
        elif gone_back:
            self._undo(f"{_listed(gone_back)} went back", effects)
        elif proposal.coordinator == self.name and not self._deaf(proposal, candidate) and self._hears_all():
            self._settle(effects)
        elif now >= self._deadline and (self.name not in proposal.removed or self._others_without(candidate)):
            # Those who go by the revision do not speak to one that it removes. Unless it hears others that do not go
            # by it, it stays out: alone it must not go back to a share.
            self._undo(self._why_not_confirmed(proposal, candidate), effects)

    def _others_without(self, candidate: RevisionId) -> list[str]:
        return self._who(lambda state: not _goes_by(state, candidate))

    def _why_not_confirmed(self, proposal: Proposal, candidate: RevisionId) -> str:
        limit = format_duration(proposal.confirm)
        unheard = sorted(name for name in self._required if not _goes_by(self.heard.get(name), candidate))
        if unheard:
            return f"{_listed(unheard)} was not heard with it within {limit}"
        if proposal.coordinator != self.name:
            return f"{proposal.coordinator} has not confirmed it within {limit}"
        return f"{_listed(self._deaf(proposal, candidate))} did not hear all others with it within {limit}"

    def _deaf(self, proposal: Proposal, candidate: RevisionId) -> list[str]:
        """Return who has not said yet that it hears all others with the revision."""
        others = sorted(set(proposal.participants) - set(proposal.removed) - {self.name})
        return [name for name in others if not _hears_all(self.heard.get(name), candidate)]

    def _settle(self, effects: list[AgreementEffect]) -> None:
        if self.candidate is None:  # pragma: no cover - whoever settles has one
            return
        self.phase = AgreementPhase.SETTLING
        effects.append(Save(self._record_of(self.candidate)))

    def _record_of(self, revision: RevisionId) -> SettingsRecord:
        source = self.proposal or self._lineages[revision.mark]
        highest = max(self.record.highest, revision.number)
        return SettingsRecord(settled=revision, ancestors=source.ancestors, highest=highest)

    def _undo(self, why: str, effects: list[AgreementEffect]) -> None:
        """Go back from a trial."""
        candidate, mine = self.candidate, self._coordination
        if candidate is None:  # pragma: no cover - whoever tries has one
            return
        self.phase = AgreementPhase.UNDOING
        self._undone = candidate.mark
        if mine is not None and self.proposal is mine.proposal:
            mine.progress, mine.outcome = ProposalProgress.UNDONE, why
        back = self.record.settled or "the farm file as it was"
        effects.append(_warn(f"this node goes back from {candidate} of the settings to {back}: {why}"))
        effects.append(Activate(self.record.settled))

    def _drop(self, effects: list[AgreementEffect]) -> None:
        """Forget a revision that is not taken."""
        if self.candidate is None:  # pragma: no cover - whoever drops something has it
            return
        effects.append(Discard(self.candidate))
        self._rest()

    # -- those who were away --------------------------------------------------------------------------------------

    def _look_at_others(self, effects: list[AgreementEffect], now: float) -> None:
        """Ask about settled revisions that this node does not know, and follow one that descends from its own."""
        if self.phase is not AgreementPhase.IDLE:
            return
        known = {revision.mark for revision in self.record.ancestors} | {self._mark, NO_REVISION}
        unknown = {name: state.settled for name, state in self.heard.items() if state.settled not in known}
        self._lineages = {mark: told for mark, told in self._lineages.items() if mark in unknown.values()}
        self._tell_conflicts(unknown, effects)
        ahead = [
            (lineage.settled, name)
            for name, mark in sorted(unknown.items())
            if (lineage := self._lineages.get(mark)) is not None and self._descends(lineage)
        ]
        unasked = sorted(name for name, mark in unknown.items() if mark not in self._lineages)
        if ahead and now >= self._retry_at:
            revision, source = max(ahead)
            self._begin(AgreementPhase.FETCHING, revision, None, now)
            effects.append(Obtain(revision, source))
            return
        for name in unasked:
            if now >= self._asked.get(name, float("-inf")) + RESEND:
                self._asked[name] = now
                effects.append(SendMessage(name, AskLineage()))
        if not ahead:
            self.blocked = None
            if self._has_heard_enough(now) and (not unasked or now >= self._listens_until + LINEAGE_LIMIT):
                self._find_out(unasked, effects)

    def _serve_unsaved(self, now: float) -> None:
        """Let a node that follows others take traffic though it cannot save what it goes by: they have settled it."""
        if self._save_again_at is not None and self.proposal is None and self._has_heard_enough(now):
            self._resolved = True

    def _has_heard_enough(self, now: float) -> bool:
        """Return whether whoever lives has been heard since this node started."""
        hears_all = bool(self._others) and self._others <= self.heard.keys()
        return hears_all or (now >= self._listens_until and self._is_answered(now))

    def _find_out(self, unasked: list[str], effects: list[AgreementEffect]) -> None:
        if not self._resolved and unasked:
            effects.append(
                _alarm(
                    f"{_listed(unasked)} has other settings, and does not answer on its API which: this node goes on"
                    f" by {self.record.settled or 'its farm file'}"
                )
            )
        self._resolved = True

    def _is_answered(self, now: float) -> bool:
        """Return whether this node is not the only one that it hears, or has asked the others whether it is removed."""
        return bool(self.heard) or self._asked_removed or now >= self._listens_until + LINEAGE_LIMIT

    def _ask_whether_removed(self, effects: list[AgreementEffect], now: float) -> None:
        if not self.heard and now >= max(self._ask_removed_at, self._listens_until):
            self._ask_removed_at = float("inf")
            effects.append(AskWhetherRemoved())

    def told_of_removal(self, lineage: Lineage | None, *, now: float) -> list[AgreementEffect]:
        """Take in that another node has proved that it goes by settings without this one, or (None) that none has."""
        effects: list[AgreementEffect] = []
        self._wake(now)
        self._ask_removed_at, self._asked_removed = now + ASK_AGAIN, True
        waits = self.phase is AgreementPhase.IDLE or (self.phase is AgreementPhase.TRIAL and self._leaves())
        if lineage is not None and waits and not self.heard:
            if self._descends(lineage):
                self.record = msgspec.structs.replace(self.record, removed_by=lineage.settled)
                self.phase = AgreementPhase.REMOVED
                effects.append(
                    _alarm(f"the farm has removed this node: {lineage.settled} of the settings is without it")
                )
                effects += [Save(self.record), EndRemoved(lineage.settled)]
                return effects
            if lineage.settled != self._told_removal:
                self._told_removal = lineage.settled
                effects.append(
                    _alarm(
                        f"other nodes go by {lineage.settled} of the settings, which is without this node and does not"
                        f" follow {self.record.settled}: this node goes on; to end it, stop this daemon"
                    )
                )
        self._go_on(effects, now)
        return effects

    def _descends(self, lineage: Lineage) -> bool:
        """Return whether the other's settled revision comes after this node's."""
        return self.record.settled is None or self.record.settled in lineage.ancestors

    def _learn(self, lineage: Lineage, sender: str) -> None:
        """Note what was before another's settled revision."""
        state = self.heard.get(sender)
        if state is not None and state.settled == lineage.settled.mark:
            self._lineages[lineage.settled.mark] = lineage

    def _tell_conflicts(self, unknown: Mapping[str, RevisionMark], effects: list[AgreementEffect]) -> None:
        self.conflicts = {
            name: lineage.settled
            for name, mark in unknown.items()
            if (lineage := self._lineages.get(mark)) is not None and not self._descends(lineage)
        }
        for revision in sorted(set(self.conflicts.values()) - set(self._told_conflicts.values())):
            names = sorted(name for name, theirs in self.conflicts.items() if theirs == revision)
            effects.append(
                _alarm(
                    f"the settings have gone two ways: this node goes by {self.record.settled},"
                    f" {_listed(names)} by {revision}, and neither follows the other. Both go on as they are until"
                    f" one is chosen: hcsidecar apply --take {self.name}, or --take {names[0]}"
                )
            )
        told = self._told_conflicts | self.conflicts
        # Of one that is not heard nobody knows that it has come round.
        self._told_conflicts = {
            name: revision
            for name, revision in told.items()
            if revision not in self.record.ancestors and (name in unknown or name not in self.heard)
        }
        if told and not self._told_conflicts:
            effects.append(_inform("the settings of all nodes have gone the same way again"))

    def _note_block(self, why: str, effects: list[AgreementEffect], now: float) -> None:
        """Note that a revision that others have settled cannot be taken here; it is tried again later."""
        if why != self.blocked:
            effects.append(_alarm(f"this node {why}"))
        self.blocked = why
        self._retry_at = now + RETRY

    # -- what all parts use ---------------------------------------------------------------------------------------

    @property
    def _mark(self) -> RevisionMark:
        return NO_REVISION if self.record.settled is None else self.record.settled.mark

    def _begin(self, phase: AgreementPhase, revision: RevisionId, proposal: Proposal | None, now: float) -> None:
        self.candidate, self.proposal, self.phase = revision, proposal, phase
        self._heard_settled, self._save_again_at = False, None
        if phase is AgreementPhase.PROMISED and proposal is not None:
            self._deadline, self._answer_again_at = now + PROMISE + proposal.drain, now + RESEND
            self._required = (set(self.heard) & set(proposal.participants)) - set(proposal.removed)

    def _rest(self) -> None:
        self.phase, self.candidate, self.proposal = AgreementPhase.IDLE, None, None
        self._save_again_at = None

    def _hears_all(self) -> bool:
        """Return whether all whom this node heard before are heard with the candidate."""
        candidate = self.candidate
        return candidate is not None and all(_goes_by(self.heard.get(name), candidate) for name in self._required)

    def _who(self, says: Callable[[RevisionState], bool]) -> list[str]:
        return sorted(name for name, state in self.heard.items() if says(state))

    def _wake(self, now: float) -> None:
        """Move the deadlines when this node was asleep: what others said meanwhile has not been heard yet."""
        late = now - self._expected
        if late > LATE:
            self._deadline += late
            self._listens_until += late
        self._expected = max(self._expected, now)


def _goes_by(state: RevisionState | None, revision: RevisionId) -> bool:
    if state is None:
        return False
    on_trial = state.trial == revision.mark and state.stage in (TrialStage.RUNNING, TrialStage.HEARS_ALL)
    return on_trial or state.settled == revision.mark


def _hears_all(state: RevisionState | None, revision: RevisionId) -> bool:
    if state is None:
        return False
    on_trial = state.trial == revision.mark and state.stage is TrialStage.HEARS_ALL
    return on_trial or state.settled == revision.mark


def _has_gone_back(state: RevisionState, revision: RevisionId) -> bool:
    return state.trial == revision.mark and state.stage is TrialStage.UNDONE


def _told(refusals: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for name, reasons in sorted(refusals.items()):
        for reason in reasons:
            yield reason if reason.startswith(f"{name} ") else f"{name} {reason}"


def _limited(reasons: Iterable[str]) -> tuple[str, ...]:
    """Return reasons within the limits of a message."""
    return tuple(shortened(reason, LONGEST_REASON) for reason in reasons)[:MOST_REASONS]


def _latest(revisions: Iterable[RevisionId]) -> Ancestors:
    return tuple(sorted(revisions)[-MAX_ANCESTORS:])


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def _inform(message: str) -> Tell:
    return Tell(Event(level=Level.INFO, origin="settings", message=message))


def _warn(message: str) -> Tell:
    return Tell(Event(level=Level.WARNING, origin="settings", message=message))


def _alarm(message: str) -> Tell:
    return Tell(Event(level=Level.ERROR, origin="settings", message=message))
