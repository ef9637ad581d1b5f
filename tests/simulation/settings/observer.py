"""Judges a farm that changes its settings from outside: it sees disks, what each daemon goes by, and each move."""

from simulation.observer import Violation

from hcsidecar.core.settings.agreement import (
    LATE,
    LINEAGE_LIMIT,
    MARGIN,
    PROMISE,
    AgreementPhase,
    ProposalProgress,
)

SLACK = 2.5
"Seconds: a tick may be due a second later, and come a second late without being called late."
LETS_GO = 15.0
"Seconds within which an aborted proposal lets go of everybody, though every fifth datagram is lost."

HEARD = 4.0
"Seconds after which what one says each pulse has been heard by all whom it reaches."

EARLY = (AgreementPhase.CHECKING, AgreementPhase.PROMISED)


class Observer:
    """Notes what the machines do, and which promise was broken when."""

    def __init__(self, world):
        self._world = world
        self.violations = []
        self.settled = {}
        "Each revision that was ever kept on a disk as settled, and since when."
        self._said = {}
        "By mark: when somebody has first said that it has settled that revision, and when it was last said."
        self._since = {}
        "By machine and phase: its awake time when it came to it."
        self._began = {}
        "When each machine was started last."
        self._served = {}
        "The boot of each machine that has been free to want a share."
        self._removed = {}
        "The boot of each machine that goes by a revision in which it is no more."

    def breach(self, promise, what):
        self._world.tell("OBSERVER", f"promise broken, {promise}: {what}")
        self.violations.append(Violation(promise=promise, at=self._world.now, what=what))

    # -- what the machines tell -----------------------------------------------------------------------------------

    def started(self, machine):
        self._since[machine.name] = machine.awake()
        self._began[machine.name] = self._world.now
        self._world.tell(machine.name, f"starts with {machine.active}")

    def moved(self, machine, agreement, before, to):
        """Take in that a node has moved from phase to phase."""
        world, candidate, proposal = self._world, agreement.candidate, agreement.proposal
        world.tell(machine.name, f"{before} -> {to} {candidate or ''}")
        self._since[machine.name] = machine.awake()
        if to is AgreementPhase.PROMISED and proposal is not None:
            world.attempts[proposal.token].promised[machine.name] = machine.boot
        if to is AgreementPhase.STARTING:
            self._judge_start(machine, agreement)
        if before is AgreementPhase.TRIAL and to is AgreementPhase.UNDOING:
            if machine.name in proposal.removed and candidate in self.settled and not agreement.heard:
                self.breach("the removed stay out", f"{machine.name} goes back from {candidate}, and hears nobody")
            # One that slept for long may hear of what came after it only.
            is_over = any(candidate in world.origins[later].ancestors for later in self.settled)
            # One that falls asleep when it has just settled, or before the others wake, says so too late.
            first, last = self._said.get(candidate.mark, (world.now, world.now))
            is_said = last > first + HEARD and world.now < last + HEARD
            if is_said and not is_over and world.scenario.steady:
                self.breach("no needless way back", f"{machine.name} goes back from {candidate}, which is settled")

    def _judge_start(self, machine, agreement):
        world, proposal = self._world, agreement.proposal
        revision = proposal.revision
        tries = [attempt for attempt in world.attempts.values() if attempt.proposal.revision == revision]
        if revision not in self.settled and not any(self._all_promised(attempt) for attempt in tries):
            self.breach("decided by all", f"{machine.name} begins {revision}, which not all have promised")
        attempt = world.attempts[proposal.token]
        for name in proposal.participants:
            other = world.machine(name)
            lives = other.running and other.boot == attempt.promised.get(name) and other is not machine
            if machine.name == proposal.coordinator and lives and not machine.was_paused:
                theirs = other.agreement.proposal
                if theirs is None or theirs.token != proposal.token:
                    self.breach("promises hold", f"{machine.name} begins {revision}, {name} promises no more")
            waits = machine.name not in proposal.removed and name in proposal.removed
            if waits and not any(name in each.tried for each in tries) and not self._is_given_up(revision, name):
                self.breach("the removed go first", f"{machine.name} begins {revision} before {name}")

    def _is_given_up(self, revision, name):
        """Return whether a removed node was left out by name, when nobody who goes on could reach it."""
        world = self._world
        stay = [world.machine(member) for member in world.members_of(revision)]
        gone = world.machine(name)
        return revision in self.settled and not any(
            self._is_up(machine)
            and world.network.carries(machine.index, gone.index)
            and world.network.carries(gone.index, machine.index)
            for machine in stay
        )

    @staticmethod
    def _all_promised(attempt):
        return set(attempt.proposal.participants) <= set(attempt.promised)

    def activates(self, machine, revision):
        """Take in that a daemon goes by a revision from now on."""
        agreement, world = machine.agreement, self._world
        world.tell(machine.name, f"goes by {revision}")
        if revision is not None and revision not in machine.stored:
            self.breach("stored before use", f"{machine.name} goes by {revision}, which it does not have")
        if agreement.phase is AgreementPhase.STARTING:
            world.attempts[agreement.proposal.token].tried.add(machine.name)
        elif agreement.phase is AgreementPhase.FOLLOWING:
            before = agreement.record.settled
            if revision not in self.settled:
                self.breach("decided by all", f"{machine.name} follows {revision}, which nobody has settled")
            elif before is not None and before not in world.origins[revision].ancestors:
                self.breach("only forward", f"{machine.name} leaves {before} for {revision}, which is no descendant")
        if machine.name not in world.members_of(revision):
            self._removed[machine.name] = machine.boot

    def ends(self, machine, revision):
        """Take in that a daemon ends for good, because others have removed its node."""
        self._world.tell(machine.name, f"ends: {revision} has removed it")
        if revision not in self.settled or machine.name in self._world.members_of(revision):
            self.breach("only the removed end", f"{machine.name} ends, {revision} has not removed it")
        mine = machine.agreement.record.settled
        if mine is not None and mine not in self._world.origins[revision].ancestors:
            self.breach(
                "only forward", f"{machine.name} goes by {mine}, and ends by {revision}, which is no descendant"
            )

    def written(self, machine, record):
        """Take in that a record is on a disk."""
        world, revision = self._world, record.settled
        if revision is None or record.removed_by is not None:
            return
        origin = world.origins[revision]
        world.tell(machine.name, f"keeps {revision}, highest {record.highest}")
        if set(record.ancestors) != origin.ancestors:
            what = f"{sorted(map(str, record.ancestors))}, it is {sorted(map(str, origin.ancestors))}"
            self.breach("lineage is true", f"{machine.name} has before {revision} {what}")
        if any(before.number >= revision.number for before in origin.ancestors) or record.highest < revision.number:
            self.breach("numbers grow", f"{machine.name} keeps {revision} and highest {record.highest}")
        if revision in self.settled:
            return
        self.settled[revision] = world.now
        proposal = machine.agreement.proposal
        attempt = world.attempts.get(proposal.token) if proposal is not None else None
        if attempt is None or proposal.coordinator != machine.name:
            self.breach("decided by all", f"{machine.name} is the first to settle {revision}, and not its coordinator")
            return
        attempt.settled = True
        missing = set(proposal.participants) - attempt.tried
        if missing:
            self.breach("tried by all", f"{revision} is settled, and {', '.join(sorted(missing))} never went by it")
        if attempt.over:
            self.breach("over is over", f"{revision} is settled after its operator was told: {attempt.over}")
        if not world.left_out:
            for other in self.settled:
                if other != revision and other not in origin.ancestors:
                    self.breach("one line", f"{revision} and {other} are settled, and neither follows the other")

    def discards(self, machine, revision):
        kept = machine.record.settled if machine.record is not None else None
        if revision in (machine.active, kept):
            self.breach("stored before use", f"{machine.name} throws away {revision}, which it goes by")

    def look(self, machine):
        """Look at a node after something has happened to it."""
        agreement, world = machine.agreement, self._world
        if agreement.status is not None:
            self._judge_status(machine, agreement.status)
        self._judge_phase(machine, agreement)
        if self._served.get(machine.name) != machine.boot and agreement.why_no_traffic() is None:
            self._served[machine.name] = machine.boot
            self._judge_share(machine, agreement)
        if world.scenario.steady and not any(other.stood or other.frozen for other in world.machines):
            self._judge_over(machine, agreement)

    def says(self, state):
        """Take in what a node says of its revisions."""
        now = self._world.now
        first, _ = self._said.get(state.settled, (now, now))
        self._said[state.settled] = first, now

    def _judge_status(self, machine, status):
        attempt = self._world.attempts[status.proposal.token]
        if status.progress in (ProposalProgress.ABORTED, ProposalProgress.UNDONE):
            if not attempt.over:
                attempt.over = f"{status.progress}: {status.outcome}"
                self._since[status.proposal.token] = self._world.now
                self._world.tell(machine.name, f"tells the operator that {attempt.over}")
            if attempt.settled:
                self.breach("over is over", f"{machine.name} says {status.progress} of a settled revision")
        if status.progress is ProposalProgress.ABORTED and attempt.tried:
            self.breach("over is over", f"{machine.name} says aborted, and {sorted(attempt.tried)} went by it")

    def _judge_phase(self, machine, agreement):
        phase, proposal, candidate = agreement.phase, agreement.proposal, agreement.candidate
        lasts, world = machine.awake() - self._since[machine.name], self._world
        if (
            phase is AgreementPhase.PROMISED
            and lasts > PROMISE + world.scenario.drain + SLACK
            and machine.name not in proposal.removed
        ):
            self.breach("promises end", f"{machine.name} has promised {candidate} for {lasts:.1f} s")
        if phase is not AgreementPhase.TRIAL:
            return
        if machine.name in proposal.removed and agreement.why_no_traffic() is None:
            self.breach("the removed take nothing", f"{machine.name} may want a share, and goes by {candidate}")
        if lasts > proposal.confirm + MARGIN + SLACK and machine.name not in proposal.removed:
            self.breach("trials end", f"{machine.name} has tried {candidate} for {lasts:.1f} s")
        states = agreement.heard.values()
        settled = any(state.settled == candidate.mark for state in states)
        if not settled and any(state.trial == candidate.mark and state.stage == 3 for state in states):
            self.breach("one goes back, all go back", f"{machine.name} tries {candidate}, another has gone back")

    def _judge_share(self, machine, agreement):
        lasts = machine.awake() - machine.started
        others = set(self._world.members_of(machine.active)) - {machine.name}
        if lasts < machine.listens - LATE - 0.1 and set(agreement.heard) != others:
            self.breach("first follow, then serve", f"{machine.name} has listened for {lasts:.2f} s only")
        if lasts > LINEAGE_LIMIT:
            return
        self._judge_share_of_removed(machine, agreement)
        for name, state in agreement.heard.items():
            ahead = next((revision for revision in self.settled if revision.mark == state.settled), None)
            if ahead is None or machine.active == ahead:
                continue
            if machine.active is None or machine.active in self._world.origins[ahead].ancestors:
                self.breach("first follow, then serve", f"{machine.name} is behind {name}, and wants a share")

    def _judge_share_of_removed(self, machine, agreement):
        world = self._world
        began = self._began[machine.name]
        if agreement.heard or any(step.what in ("cut", "split", "freeze", "pause") for step in world.scenario.steps):
            return
        told = [
            lineage
            for lineage in world.removals_of(machine)
            if self.settled[lineage.settled] < began and agreement.record.settled in (None, *lineage.ancestors)
        ]
        if told and all(self._began[other.name] < began for other in world.machines if other is not machine):
            self.breach("first follow, then serve", f"{machine.name} wants a share, {told[0].settled} has removed it")

    def _judge_over(self, machine, agreement):
        """Judge that an aborted proposal lets go, where everybody runs and is reached."""
        proposal = agreement.proposal
        if proposal is None or agreement.phase not in EARLY or not self._world.attempts[proposal.token].over:
            return
        if self._world.now > self._since.get(proposal.token, self._world.now) + LETS_GO:
            self.breach("over is over", f"{machine.name} still waits for {proposal.revision}, which was aborted")

    # -- after quiet ----------------------------------------------------------------------------------------------

    def judge_quiet(self):
        """Judge what must be true after quiet; the scenario has made all well, or cut the farm in two."""
        world = self._world
        running = [machine for machine in world.machines if self._is_up(machine) and not self._is_removed(machine)]
        for machine in world.machines:
            if self._is_up(machine):
                self._judge_removal(machine)
        for machine in running:
            self._judge_rest(machine)
        for one in running:
            for other in running:
                if one.index < other.index and self._meet(one, other):
                    self._judge_pair(one, other)
        for attempt in world.attempts.values():
            self._judge_outcome(attempt)

    def _judge_removal(self, machine):
        """Judge that a node which reaches others that have removed it, and hears nobody, has ended."""
        mine = machine.agreement.record.settled
        for lineage in () if machine.agreement.heard else self._world.removals_of(machine):
            if mine is None or mine in lineage.ancestors:
                self.breach("the removed end", f"{machine.name} runs, and {lineage.settled} has removed it")

    @staticmethod
    def _is_up(machine):
        return machine.running and not machine.frozen

    def _is_removed(self, machine):
        """Return whether a machine is out of the farm for good: it goes by the revision that removes it."""
        world = self._world
        gone = self._removed.get(machine.name) == machine.boot and machine.name not in world.members_of(machine.active)
        if gone and machine.active not in self.settled:
            heard = machine.agreement.heard
            if heard:
                self.breach("all rest", f"{machine.name} stays out by {machine.active}, and hears {sorted(heard)}")
        return gone

    def _judge_rest(self, machine):
        agreement, world = machine.agreement, self._world
        settled = agreement.record.settled
        if agreement.phase is not AgreementPhase.IDLE and not machine.full:
            self.breach("all rest", f"{machine.name} is {agreement.phase} with {agreement.candidate}")
        if (why := agreement.why_no_traffic()) is not None and not agreement.blocked:
            self.breach("nobody stays out", f"{machine.name} {why}")
        if agreement.phase is AgreementPhase.IDLE and machine.active != settled:
            self.breach("all rest", f"{machine.name} goes by {machine.active}, settled is {settled}")
        if agreement.phase is AgreementPhase.IDLE and machine.record is not None and machine.record.settled != settled:
            self.breach("all rest", f"{machine.name} keeps {machine.record.settled}, settled is {settled}")
        if agreement.phase is AgreementPhase.IDLE:
            rest = machine.stored - {settled} - (world.origins[settled].ancestors if settled else set())
            if rest:
                self.breach("nothing is left", f"{machine.name} still has {', '.join(sorted(map(str, rest)))}")

    def _meet(self, one, other):
        world = self._world
        if not (world.network.carries(one.index, other.index) and world.network.carries(other.index, one.index)):
            return False
        return other.name in world.members_of(one.active) and one.name in world.members_of(other.active)

    def _judge_pair(self, one, other):
        mine, theirs = one.agreement.record.settled, other.agreement.record.settled
        if mine == theirs or one.full or other.full:
            return
        if mine is None or theirs is None:
            self.breach("one revision after quiet", f"{one.name}: {mine}, {other.name}: {theirs}")
            return
        origins = self._world.origins
        if mine in origins[theirs].ancestors or theirs in origins[mine].ancestors:
            self.breach("one revision after quiet", f"{one.name}: {mine}, {other.name}: {theirs}")
            return
        for machine, peer, revision in ((one, other, theirs), (other, one, mine)):
            lines = [line for line in machine.told if "two ways" in line or "same way" in line]
            over = max((number for number, line in enumerate(lines) if "same way" in line), default=-1)
            if not any(str(revision) in line for line in lines[over + 1 :]):
                self.breach("conflicts are told", f"{machine.name} does not tell that {peer.name} goes by {revision}")

    def _judge_outcome(self, attempt):
        world, proposal = self._world, attempt.proposal
        revision = proposal.revision
        if not attempt.settled:
            if world.scenario.peaceful:
                self.breach("what can be taken is taken", f"{revision}: {attempt.over or 'nothing has become of it'}")
            return
        for name in proposal.participants:
            machine = world.machine(name)
            if not self._is_up(machine) or name in proposal.removed or machine.full or self._is_removed(machine):
                continue
            has = machine.agreement.record.settled
            told = bool(machine.agreement.conflicts)
            ahead = has is not None and (has == revision or revision in world.origins[has].ancestors)
            if not ahead and not told and world.scenario.steady:
                self.breach("settled means everywhere", f"{revision} is settled, and {name} has {has}")
