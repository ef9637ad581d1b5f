"""The revisions of a simulated farm: where each comes from, who proposes it, and what machines ask about them."""

from dataclasses import dataclass, field
from hashlib import sha256

from hcsidecar.core.settings.agreement import Agreement, NotProposedError, ProposalProgress, SettingsRecord
from hcsidecar.core.settings.messages import Lineage, Proposal, decode_message, encode_message
from hcsidecar.core.settings.revision import RevisionId

TRY_AGAIN = 6.0
"Seconds after which an operator looks what has become of a change, and tries again."


@dataclass(slots=True, kw_only=True)
class Origin:
    """Where a revision comes from, as nobody in the farm knows it."""

    parents: tuple[RevisionId, ...]
    members: frozenset[str]
    ancestors: frozenset[RevisionId]


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One proposal, and what the observer has seen of it."""

    proposal: Proposal
    promised: dict[str, int] = field(default_factory=dict)
    "Who has promised, with which boot."
    tried: set[str] = field(default_factory=set)
    "Who has gone by it."
    settled: bool = False
    over: str = ""
    "Aborted or undone, as its coordinator was told."


class Revisions:
    """The revisions of a farm, the operators who propose them, and what the machines ask of the rest of the world.

    `agreement` is the class of each node's part: a mutant can take its place. Whoever extends it has a clock (`now`,
    `schedule`), and `machines` with the `observer` who judges them.
    """

    def __init__(self, scenario, *, random, agreement=Agreement):
        self.scenario = scenario
        self._agreement = agreement
        self.random = random
        self.names = tuple(f"n{index:02}" for index in range(scenario.size))
        self._first_members = frozenset(self.names[: scenario.size - scenario.spare])
        self.origins = {}
        self._own_files = {}
        "By file and number: the revision that a node has made of it at its start."
        self.attempts = {}
        "By token."
        self.left_out = False
        "An operator has left out a node by name, or let one go by its own file."
        self.patience_ends = max((step.at for step in scenario.steps), default=float("inf"))
        "Operators do not try again after that: the quiet would never begin."
        self.moves = {}
        "By phases, from and to: how often a node has moved so."
        self.messages = 0
        self.lost_messages = frozenset()
        "Numbers of messages that get lost, from 0 on."
        self.effects = 0
        self.on_effect = None
        "Called with machine, effect and number of each effect before it is carried out."

    def give_first(self):
        """Give all who are in the farm at first the same revision."""
        first = self._new_revision(1, (), self._first_members)
        self.observer.settled[first] = 0.0
        for machine in self.machines[: self.scenario.size - self.scenario.spare]:
            machine.record, machine.stored = SettingsRecord(settled=first, highest=1), {first}

    def tell(self, who, what):
        self.story.add(self.now, who, what)

    def machine(self, name):
        return self.machines[self.names.index(name)]

    # -- what the machines ask ------------------------------------------------------------------------------------

    def agreement_of(self, machine):
        """Return the class of a machine's agreement, with an observer who sees each move."""
        world = self

        class Watched(world._agreement):  # type: ignore[name-defined]
            @property
            def phase(self):
                return self._phase

            @phase.setter
            def phase(self, to):
                before, self._phase = getattr(self, "_phase", None), to
                if before is not None and before is not to:
                    world.moves[before, to] = world.moves.get((before, to), 0) + 1
                    world.observer.moved(machine, self, before, to)

        return Watched

    def members_of(self, revision):
        """Return the nodes in the farm file of a revision, None: in the one before all revisions."""
        return self._first_members if revision is None else self.origins[revision].members

    def is_taken_in_again(self, machine):
        """Return whether a farm that runs has a node that was removed from it."""
        running = [other for other in self.machines if other.running and other is not machine]
        return any(machine.name in self.members_of(other.active) for other in running)

    def removals_of(self, machine):
        """Return the lineages of the others that are reached and have settled that a machine is in the farm no more."""
        found = []
        for other in self.machines:
            ways = ((machine.index, other.index), (other.index, machine.index))
            if other is machine or not other.running or other.frozen or not all(self.network.carries(*w) for w in ways):
                continue
            record = other.agreement.record
            if record.settled is None or machine.name in self.members_of(record.settled):
                continue
            if any(machine.name in self.members_of(before) for before in (None, *record.ancestors)):
                found.append(Lineage(settled=record.settled, ancestors=record.ancestors))
        return found

    def drain_of(self, machine, revision):
        """Return for how long a machine drains before it goes by a revision: one that is removed does."""
        is_removed = revision is not None and machine.name not in self.members_of(revision)
        return self.random.choice((self.random.random(), 1.0)) * self.scenario.drain if is_removed else 0.0

    def duration(self):
        return self.random.random() ** 3 * self.scenario.slow

    def can_fetch(self, machine, source, revision):
        other = self.machine(source)
        there, back = (machine.index, other.index), (other.index, machine.index)
        whole = self.network.carries(*there) and self.network.carries(*back)
        return whole and other.running and not other.frozen and revision in other.stored

    def carries_out(self, machine, effect):
        if self.on_effect is not None:
            number, self.effects = self.effects, self.effects + 1
            self.on_effect(machine, effect, number)

    def send(self, machine, to, message):
        number, self.messages = self.messages, self.messages + 1
        self.tell(machine.name, f"sends {type(message).__name__} to {to}")
        if number in self.lost_messages:
            return
        other = self.machine(to)
        letter = (machine.name, decode_message(encode_message(message)))
        self.network.carry(machine.index, [(other.index, other.deliver)], letter, now=self.now)

    # -- operators ------------------------------------------------------------------------------------------------

    def apply(self, index, how=()):
        """Let an operator change something on a node, as `propose` says."""
        self.propose(index, **dict(how))

    def propose(self, index, *, again=0, same=None, **how):
        """Propose a change on a node, `again` and again until it is settled; `same` is the revision of the last try."""
        token = self._propose_once(index, same=same, **how)
        if again:
            self.schedule(self.now + TRY_AGAIN, self._look_and_try_again, (index, token, again - 1, how))

    def _look_and_try_again(self, tried):
        index, token, again, how = tried
        if self.now > self.patience_ends:
            return
        machine, attempt = self.machines[index], self.attempts.get(token)
        status = machine.agreement.status if machine.running else None
        same = None
        if attempt is not None and status is not None and status.proposal.token == token:
            if status.progress is ProposalProgress.SETTLED:
                return
            if status.progress in (ProposalProgress.PREPARING, ProposalProgress.TRIAL):
                self.schedule(self.now + TRY_AGAIN, self._look_and_try_again, tried)
                return
        if attempt is not None and self.random.random() < 0.3:
            same = attempt.proposal.revision
        self.propose(index, again=again, same=same, **how)

    def _propose_once(self, index, *, same, without="", remove=(), add=None, take=False):
        """Propose once, if the node runs; give the token. Nobody is left out, `unheard`, or one more (`careless`)."""
        machine = self.machines[index]
        if not machine.running or machine.frozen:
            return None
        agreement = machine.agreement
        settled = agreement.record.settled
        others = sorted(set(agreement.conflicts.values())) if take else []
        parents = tuple(revision for revision in (settled, *others) if revision is not None)
        old = frozenset().union(*(self.members_of(revision) for revision in parents or (None,)))
        members = set(old) | ({self.names[add]} if add is not None else set())
        removed = tuple(self.names[index] for index in remove if self.names[index] in old)
        members -= set(removed)
        left_out = set()
        if without:
            left_out = old - set(agreement.heard) - {machine.name}
            if without == "careless":
                left_out |= {self.random.choice(sorted(old - {machine.name}) or [machine.name])} - {machine.name}
        revision = same
        if revision is None or self.origins[revision].parents != parents:
            revision = self._new_revision(agreement.next_number(), parents, frozenset(members))
        proposal = Proposal(
            token=sha256(f"token {len(self.attempts)}".encode()).hexdigest()[:32],
            coordinator=machine.name,
            revision=revision,
            parents=tuple(parent.digest for parent in parents),
            ancestors=agreement.ancestors_of_next(others),
            participants=tuple(sorted(old - left_out)),
            removed=tuple(name for name in removed if name not in left_out),
            confirm=self.scenario.confirm,
            drain=self.scenario.drain,
        )
        attempt = Attempt(proposal=proposal)
        self.attempts[proposal.token] = attempt
        try:
            machine.stored.add(revision)
            machine.call("propose", proposal)
        except NotProposedError as error:
            if revision not in (agreement.candidate, settled):
                machine.stored.discard(revision)
            attempt.over = str(error)
            self.tell(machine.name, f"does not propose {revision}: {error}")
        else:
            self.left_out = self.left_out or bool(left_out)
            self.tell(machine.name, f"proposes {revision} to {', '.join(proposal.participants)}, removed: {removed}")
        return proposal.token

    def _new_revision(self, number, parents, members):
        digest = sha256(f"{self.scenario.seed} {len(self.origins)}".encode()).hexdigest()
        revision = RevisionId(number, digest)
        ancestors = frozenset(parents).union(*(self.origins[parent].ancestors for parent in parents))
        self.origins[revision] = Origin(parents=parents, members=members, ancestors=ancestors)
        return revision
