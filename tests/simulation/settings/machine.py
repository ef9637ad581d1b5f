"""One simulated server: a clock of its own, a disk, and a daemon that carries out what the real `Agreement` decides."""

from collections import deque

from simulation.settings.scenario import LISTENS, LOST_AFTER, PULSE

from hcsidecar.core.membership.effects import Tell
from hcsidecar.core.membership.revision_state import RevisionState
from hcsidecar.core.settings.agreement import (
    Activate,
    AskWhetherRemoved,
    Discard,
    EndRemoved,
    Obtain,
    RestartDaemon,
    Save,
    SendMessage,
    Settled,
)

RESTART = 1.0
"Seconds from the end of a daemon that wants to start anew to its start."
BACKLOG = 5000
"What is kept for a daemon that stands still."
RECENT = 1000
"Sequences of which a daemon knows when it has sent them."


class Peer:
    """What a node knows of another one from its heartbeats."""

    __slots__ = ("acknowledges", "boot", "heard_at", "seq", "state")

    def __init__(self):
        self.boot = self.seq = 0
        self.heard_at = float("-inf")
        self.state = RevisionState()
        self.acknowledges = False


class SettingsPart:
    """What a server's daemon does about revisions; `record` and `stored` are its disk, all else ends with the daemon.

    Whoever extends it has heartbeats and a clock: `clock`, `awake`, `_later`, and `_say` for what the others are told.
    """

    def __init__(self, *, world, index, name, rate):
        self.world, self.index, self.name = world, index, name
        self.rate = rate
        "Seconds of its clock in one second."
        self.record, self.stored = None, set()
        self.full = False
        "The disk takes nothing more."
        self.bad = {"obtain": 0, "activate": 0, "go back": 0}
        "How many of the next ones fail."
        self.boot, self.running, self.frozen = 0, False, False
        self.agreement = None
        self.active = None
        "What the daemon goes by."
        self.stood = 0.0
        "Seconds for which it has stood still since it began."
        self.was_paused = False
        "Its clock has stood still, of which it knows nothing."
        self.started = self.listens = 0.0
        "The first by its awake time; the second in seconds."
        self.told = []

    # -- the daemon -----------------------------------------------------------------------------------------------

    def begin(self, *, listens, others=()):
        """Begin as a daemon that has just been started, and hears all others that live within so many seconds."""
        self.boot += 1
        self.running, self.frozen = True, False
        settled = self.record.settled if self.record is not None else None
        self.active = settled
        self.stored &= {settled, *(self.record.ancestors if self.record is not None else ())}
        self._queue, self._working = deque(), False
        self._ticks = deque(maxlen=100)
        self._said = None
        self.told = []
        self.started, self.listens = self.awake(), listens
        now = self.clock()
        self.agreement = self.world.agreement_of(self)(
            name=self.name, record=self.record, listens_until=now + listens, others=others, now=now
        )
        self.world.observer.started(self)

    def call(self, method, *args, **named):
        """Call the agreement, and have done what it decides."""
        effects = getattr(self.agreement, method)(*args, now=self.clock(), **named)
        self._queue.extend(effects)
        self.world.observer.look(self)
        self._work()
        if self.running and self.agreement.state != self._said:
            self._said = self.agreement.state
            self._say()

    def _tick(self):
        if len(self._ticks) == self._ticks.maxlen and self.world.now < self._ticks[0] + 1.0:
            self.world.observer.breach("time goes on", f"{self.name} ticks without end")
        self._ticks.append(self.world.now)
        self.call("tick")
        now = self.clock()
        self._later((self.agreement.next_tick_at(now=now) - now) / self.rate + 1e-4, self._tick)

    def take_message(self, sender, message):
        self.call("receive", message, sender=sender)

    # -- effects --------------------------------------------------------------------------------------------------

    def _work(self):
        while self._queue and not self._working and self.running:
            effect = self._queue.popleft()
            self.world.carries_out(self, effect)
            if self.running:
                self._carry_out(effect)

    def _carry_out(self, effect):
        match effect:
            case SendMessage(to=to, message=message):
                self.world.send(self, to, message)
            case Obtain(revision=revision, source=source):
                self._later(self.world.duration(), self._obtained, revision, source)
            case Activate(revision=revision):
                drains = self.world.drain_of(self, revision)
                self._begin(self._activated, revision, longer=drains)
            case Save(record=record):
                early = self.world.random.random() < 0.5
                full = self.full
                if early and not full:
                    self._write(record)
                self._begin(self._saved, record, early, full)
            case Discard(revision=revision):
                self.world.observer.discards(self, revision)
                self.stored.discard(revision)
            case Tell(event=event):
                self.told.append(event.message)
                self.world.tell(self.name, event.message)
            case AskWhetherRemoved():
                self._later(self.world.duration() + 0.01, self._ask_whether_removed)
            case EndRemoved(revision=revision):
                self.world.observer.ends(self, revision)
                self._end_for_good()
            case RestartDaemon(reason=reason):
                self.world.tell(self.name, f"starts anew: {reason}")
                self._start_anew()
            case Settled(revision=revision):
                self.world.tell(self.name, f"has settled {revision}")

    def _begin(self, call, *args, longer=0.0):
        self._working = True
        self._later(self.world.duration() + longer, self._end, call, args)

    def _end(self, call, args):
        self._working = False
        call(*args)
        if self.running:
            self._work()

    def _ask_whether_removed(self):
        told = self.world.removals_of(self)
        self.call("told_of_removal", max(told, key=lambda lineage: lineage.settled) if told else None)

    def _obtained(self, revision, source):
        problems = ()
        if revision not in self.stored:
            if self._fails("obtain"):
                problems = ("l2.interface: eth7 is not there",)
            elif self.full:
                problems = ("no space left on device",)
            elif not self.world.can_fetch(self, source, revision):
                problems = (f"{source} does not send it",)
            else:
                self.stored.add(revision)
        self.call("obtained", revision, problems)

    def _activated(self, revision):
        goes_back = revision == self.agreement.record.settled
        problem = "port 80 is in use" if self._fails("go back" if goes_back else "activate") else None
        if problem is None:
            self.world.observer.activates(self, revision)
            self.active = revision
            self._go_by(revision)
        self.call("activated", revision, problem)

    def _saved(self, record, early, full):
        if not full and not early:
            self._write(record)
        self.call("saved", record, "no space left on device" if full else None)

    def _write(self, record):
        self.record = record
        self.world.observer.written(self, record)

    def _fails(self, what):
        if self.bad[what]:
            self.bad[what] -= 1
            return True
        return False


class Machine(SettingsPart):
    """A server of the farm, with heartbeats that say no more than the agreement needs, and a clock of its own."""

    def __init__(self, *, offset, **more):
        super().__init__(**more)
        self._offset = offset

    # -- time -----------------------------------------------------------------------------------------------------

    def clock(self):
        return self._offset + self.rate * self.world.now

    def awake(self):
        """Return the seconds for which this machine has not stood still, by its own clock."""
        return self.rate * (self.world.now - self.stood)

    def _later(self, seconds, call, *args, is_timer=True):
        self.world.schedule(self.world.now + seconds, self._run, (self.boot, is_timer, call, args))

    def _run(self, job):
        boot, _, call, args = job
        if not self.running or boot != self.boot:
            return
        if self.frozen:
            if len(self._backlog) < BACKLOG:
                self._backlog.append(job)
            return
        call(*args)

    def freeze(self, length, *, clock_stops=False):
        """Stand still for so many seconds; the clock of a paused virtual machine stands still as well."""
        if not self.running or self.frozen:
            return
        self.frozen = True
        self.world.schedule(self.world.now + length, self._thaw, (self.boot, self.world.now, clock_stops))

    def _thaw(self, slept):
        boot, since, clock_stops = slept
        if boot != self.boot or not self.frozen:
            return
        length = self.world.now - since
        self.frozen = False
        self.stood += length
        if clock_stops:
            self._offset -= self.rate * length
            self.was_paused = True
        elif self.world.scenario.forgives_sleep:
            for peer in self._peers.values():
                peer.heard_at += self.rate * length
        jobs, self._backlog = self._backlog, []
        if self.world.random.random() < 0.5:
            jobs.sort(key=lambda job: not job[1])
        for job in jobs:
            self._run(job)

    # -- the daemon -----------------------------------------------------------------------------------------------

    def start(self):
        if self.running:
            return
        if self.record is not None and self.record.removed_by is not None:
            if not self.world.is_taken_in_again(self):
                return
            # Its operator has thrown away what was left of the former membership.
            self.record, self.stored = None, set()
        self._backlog = []
        self._peers = {name: Peer() for name in self.world.names if name != self.name}
        self._seq, self._heard = 0, {}
        self._sent = deque(maxlen=RECENT)
        settled = self.record.settled if self.record is not None else None
        self.begin(listens=LISTENS, others=sorted(self.world.members_of(settled) - {self.name}))
        self._later(0.0, self._pulse)
        self._later(0.0, self._tick)

    def kill(self):
        if self.running:
            self.running = self.frozen = False

    def _end_for_good(self):
        self.kill()

    def _start_anew(self):
        self.kill()
        self.world.schedule(self.world.now + RESTART, lambda _: self.start(), None)

    def _go_by(self, revision):
        self.agreement.set_others(self.world.members_of(revision) - {self.name})
        self._hear()

    # -- heartbeats -----------------------------------------------------------------------------------------------

    def _pulse(self):
        self._hear()
        self._speak()
        self._later(PULSE, self._pulse)

    def _speak(self):
        now = self.clock()
        self._seq += 1
        self._said = self.agreement.state
        self._sent.append((self._seq, now))
        lists = {name: (peer.boot, peer.seq) for name, peer in self._peers.items() if now - peer.heard_at <= LOST_AFTER}
        letter = (self.name, self.boot, self._seq, self._said, lists)
        self.world.observer.says(self._said)
        members = self.world.members_of(self.active)
        others = [(other.index, other.arrive) for other in self.world.machines if other.name in members]
        self.world.network.carry(
            self.index, [pair for pair in others if pair[0] != self.index], letter, now=self.world.now
        )

    def arrive(self, letter):
        self._run((self.boot, False, self._take_heartbeat, (letter,)))

    def _take_heartbeat(self, letter):
        name, boot, seq, state, lists = letter
        if name not in self.world.members_of(self.active):
            return
        peer = self._peers[name]
        if (boot, seq) <= (peer.boot, peer.seq):
            return
        news = boot != peer.boot or state != peer.state or name not in self._heard
        peer.boot, peer.seq, peer.state, peer.heard_at = boot, seq, state, self.clock()
        acknowledges = self._is_fresh(*lists.get(self.name, (0, 0)))
        news = news or acknowledges != peer.acknowledges
        peer.acknowledges = acknowledges
        if news:
            self._hear()

    def _is_fresh(self, boot, seq):
        """Return whether a heartbeat that lists this boot and sequence is of the present, as the membership does."""
        sent_at = next((at for number, at in self._sent if number == seq), float("-inf"))
        return boot == self.boot and self.clock() <= sent_at + 2 * LOST_AFTER

    def _hear(self):
        now, members = self.clock(), self.world.members_of(self.active)
        heard = {
            name: peer.state
            for name, peer in self._peers.items()
            if peer.acknowledges and now - peer.heard_at <= LOST_AFTER and name in members
        }
        if heard != self._heard:
            self._heard = heard
            self.call("hear", heard)

    def _say(self):
        self._speak()

    # -- messages -------------------------------------------------------------------------------------------------

    def deliver(self, letter):
        self._run((self.boot, False, self.take_message, letter))
