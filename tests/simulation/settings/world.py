"""A simulated farm that changes its settings: machines, network, operators and observer on one virtual clock."""

import heapq
from dataclasses import dataclass, field
from hashlib import sha256
from random import Random

from simulation.network import Network
from simulation.settings.machine import Machine
from simulation.settings.observer import Observer
from simulation.story import Story

from hcsidecar.core.settings.agreement import Agreement, NotProposedError, ProposalProgress, SettingsRecord
from hcsidecar.core.settings.messages import Proposal, decode_message, encode_message
from hcsidecar.core.settings.revision import RevisionId

TRY_AGAIN = 6.0
"Seconds after which an operator looks what has become of a change, and tries again."
ENDLESS = 20_000
"Events at one moment."


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


class World:
    """Runs one scenario; `agreement` is the class of each node's part: a mutant can take its place."""

    def __init__(self, scenario, *, agreement=Agreement):
        self.scenario = scenario
        self._agreement = agreement
        self.now = 0.0
        self.random = random = Random(f"settings {scenario.kind} {scenario.seed} runs")
        self.story = Story()
        self._queue, self._order = [], 0
        self.names = tuple(f"n{index:02}" for index in range(scenario.size))
        self._first_members = frozenset(self.names[: scenario.size - scenario.spare])
        self.origins = {}
        self._own_files = {}
        "By file and number: the revision that a node has made of it at its start."
        self.attempts = {}
        "By token."
        self.left_out = False
        "An operator has left out a node by name, or let one go by its own file."
        self.moves = {}
        "By phases, from and to: how often a node has moved so."
        self.messages = 0
        self.lost_messages = frozenset()
        "Numbers of messages that get lost, from 0 on."
        self.effects = 0
        self.on_effect = None
        "Called with machine, effect and number of each effect before it is carried out."
        self.network = Network(
            size=scenario.size, weather=scenario.weather, scale=1.0, random=random, schedule=self.schedule
        )
        self.observer = Observer(self)
        self.machines = [
            Machine(
                world=self,
                index=index,
                name=name,
                offset=random.uniform(0, 1e5),
                rate=1 + random.uniform(-1, 1) * scenario.drift,
            )
            for index, name in enumerate(self.names)
        ]
        if scenario.has_revision:
            first = self._new_revision(1, (), self._first_members)
            self.observer.settled[first] = 0.0
            for machine in self.machines[: scenario.size - scenario.spare]:
                machine.record, machine.stored = SettingsRecord(settled=first, highest=1), {first}

    def schedule(self, at, call, argument):
        self._order += 1
        heapq.heappush(self._queue, (at, self._order, call, argument))

    def run(self):
        """Live through the scenario and judge it; gives the world itself."""
        for step in self.scenario.steps:
            self.schedule(step.at, self._take_step, step)
        queue, violations, at_once = self._queue, self.observer.violations, 0
        while queue and not violations and queue[0][0] <= self.scenario.until:
            at, _, call, argument = heapq.heappop(queue)
            if at > self.now:
                self.now, at_once = at, 0
            at_once += 1
            if at_once > ENDLESS:
                self.observer.breach("time goes on", "the farm does things without end at one moment")
            call(argument)
        if not violations:
            self.now = self.scenario.until
            self.observer.judge_quiet()
        self.tell("", "the end")
        return self

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

    # -- steps of a scenario --------------------------------------------------------------------------------------

    def _take_step(self, step):
        self.tell("FATE", f"{step.what} {', '.join(map(str, step.args))}")
        getattr(self, step.what)(*step.args)

    def start(self, index):
        self.machines[index].start()

    def crash(self, index):
        self.machines[index].kill()

    def freeze(self, index, length):
        self.machines[index].freeze(length)

    def pause(self, index, length):
        self.machines[index].freeze(length, clock_stops=True)

    def fill_disk(self, index):
        self.machines[index].full = True

    def free_disk(self, index):
        self.machines[index].full = False

    def spoil(self, index, what, times):
        """Let the next ones of a kind of effect fail."""
        self.machines[index].bad[what] = times

    def take_file(self, index, file):
        """Let a node be started by the file on its disk; the same file on several nodes is one revision."""
        machine = self.machines[index]
        record = machine.record
        if machine.running or machine.full or record is None or record.settled is None:
            return
        number = record.highest + 1
        revision = self._own_files.get((file, number))
        if revision is None:
            revision = self._new_revision(number, (), self.members_of(record.settled))
            self._own_files[file, number] = revision
        machine.record = record.alone_with(revision)
        machine.stored.add(revision)
        self.observer.settled.setdefault(revision, self.now)
        self.left_out = True
        machine.start()

    def cut(self, source, target):
        self.network.cut(source, target)

    def heal(self, source, target):
        self.network.heal(source, target, now=self.now)

    def split(self, side):
        for source in range(len(self.machines)):
            for target in range(len(self.machines)):
                if (source in side) != (target in side):
                    self.network.cut(source, target)

    def heal_all(self):
        for source in range(len(self.machines)):
            for target in range(len(self.machines)):
                self.network.heal(source, target, now=self.now)

    def recover(self):
        """Let everything be well from now on: all run, reach each other, and have room."""
        self.heal_all()
        for machine in self.machines:
            machine.full = False
            machine.bad = dict.fromkeys(machine.bad, 0)
            machine.start()

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

    def _propose_once(self, index, *, same, without="", remove=None, add=None, take=False):
        """Propose once, if the node runs; give the token. Nobody is left out, `unheard`, or one more (`careless`)."""
        machine = self.machines[index]
        if not machine.running or machine.frozen:
            return None
        agreement = machine.agreement
        settled, other = agreement.record.settled, None
        if take and agreement.conflicts:
            other = min(agreement.conflicts.values())
        parents = tuple(revision for revision in (settled, other) if revision is not None)
        old = frozenset().union(*(self.members_of(revision) for revision in parents or (None,)))
        members = set(old) | ({self.names[add]} if add is not None else set())
        removed = () if remove is None or self.names[remove] not in old else (self.names[remove],)
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
            ancestors=agreement.ancestors_of_next(other),
            participants=tuple(sorted(old - left_out)),
            removed=removed,
            confirm=self.scenario.confirm,
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
