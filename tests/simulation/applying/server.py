"""A simulated server whose daemon takes revisions while it serves: real membership, driven by the real agreement.

What `daemon/settings_service.py`, `daemon/reconfiguration.py` and `net/heartbeats.py` do is done here in the same
order.
"""

from simulation.machine import Machine
from simulation.settings.machine import RESTART, SettingsPart
from simulation.world import timing_of

from hcsidecar.core.settings.agreement import AgreementPhase, Settled


class Server(Machine):
    """A server of the farm; `settings_part` is what its daemon does about revisions."""

    def __init__(self, **more):
        super().__init__(**more)
        self.settings_part = None

    @property
    def rate(self):
        """Seconds of its clock in one second."""
        return self._clock_rate

    # -- what befalls it ------------------------------------------------------------------------------------------

    def start(self):
        if self.running:
            return
        part = self.settings_part
        if part.record is not None and part.record.removed_by is not None:
            if not part.world.is_taken_in_again(part):
                return
            # Its operator has thrown away what was left of the former membership.
            part.record, part.stored = None, set()
        record = part.record
        settled = record.settled if record is not None else None
        self._read(part.world.contents[settled], part.world.members_of(settled))
        part.open(settled)
        super().start()
        part.go_on()

    def kill(self, *, power_off):
        super().kill(power_off=power_off)
        self.settings_part.close()

    def stick(self, seconds):
        super().stick(seconds)
        self.settings_part.stand_still()

    def _come_free(self, started_at):
        part = self.settings_part
        if self.up_since == started_at and self.stuck_until is not None and self._world.now >= self.stuck_until:
            part.wake()
        super()._come_free(started_at)

    # -- the daemon -----------------------------------------------------------------------------------------------

    def ask(self, errand):
        """Have the daemon do it as soon as it is free."""
        self._ask(errand)

    def say_wants(self):
        self._say_wants()

    def _say_wants(self):
        self._carry_out(self.node.set_wants(self.wants and self.settings_part.may_serve, now=self.clock()))

    def say_revisions(self, state):
        self._carry_out(self.node.set_revisions(state, now=self.clock()))

    def _carry_out(self, output):
        super()._carry_out(output)
        if output.reborn_above is not None:
            self.settings_part.hear({})
        if output.heard_revisions is not None and self.running:
            self.settings_part.hear(output.heard_revisions)

    # -- other settings -------------------------------------------------------------------------------------------

    def replace_filter(self, settings):
        """Have the kernel take the filter of other share groups, before this node goes over to them."""
        self.share.replace_filter(self._world.ports_by(settings))

    def go_over(self, content, members, electorates):
        """Go by other settings from now on, in one turn, as far as that needs no restart."""
        world, former, former_names = self._world, self._content_in_force(), self.names
        timing, electorates_before = self.timing, self.node.membership._selector.electorates
        self._read(content, members)
        self.timing = timing
        ports = world.ports_by(self.settings)
        powers = tuple(self.powers[port] for port in ports)
        if former[0] != self.settings:
            self.share.go_over(ports, self.settings)
            self._carry_out(self.node.set_layer_two(settings_digest=self.settings, powers=powers, now=self.clock()))
        elif former[1] != self.powers:
            self._carry_out(self.node.set_powers(powers, now=self.clock()))
        if self.running and (set(former_names) != set(self.names) or tuple(electorates_before) != tuple(electorates)):
            self._carry_out(self.node.set_nodes(self.names, electorates=electorates, now=self.clock()))
        if self.running and former[2] != self.partition:
            self._carry_out(self.node.set_partition(self.partition, now=self.clock()))

    def _content_in_force(self):
        return self.settings, self.powers, self.partition

    def _read(self, content, members):
        self.settings, self.powers = content.settings, content.powers[self.index]
        self.partition, self.timing = content.partition, timing_of(content.preset)
        self.names = tuple(sorted(members))


class ServersSettings(SettingsPart):
    """What a server's daemon does about revisions, with its membership to tell others and to hear them."""

    def __init__(self, *, server, **more):
        super().__init__(**more)
        self.server = server
        self.is_out = False
        "It goes by a revision without itself: it serves nobody, and speaks to those that it knew."
        self._waits = True
        "It has not been free to serve since it started."
        self._stands_since = 0.0
        self.electorates = ()

    # -- time -----------------------------------------------------------------------------------------------------

    def clock(self):
        return self.server.clock()

    def awake(self):
        return self.rate * (self.world.now - self.stood)

    def stand_still(self):
        self.frozen, self._stands_since = True, self.world.now

    def wake(self):
        if self.frozen:
            self.frozen = False
            self.stood += self.world.now - self._stands_since

    def _later(self, seconds, call, *args):
        self.world.schedule(self.world.now + seconds, self._run, (self.boot, call, args))

    def _run(self, job):
        boot, call, args = job

        def errand():
            if self.running and boot == self.boot:
                call(*args)

        if self.running and boot == self.boot:
            self.server.ask(errand)

    # -- the daemon -----------------------------------------------------------------------------------------------

    def open(self, settled):
        """Begin; the membership of this daemon is born next."""
        self.is_out, self.electorates = False, ()
        self._waits = settled is not None
        others = sorted(self.world.members_of(settled) - {self.name})
        self.begin(listens=self.server.timing.lost_after, others=others)

    def go_on(self):
        """Begin to tell the others, who are heard from now on."""
        self._said = self.agreement.state
        self._say()
        self._later(0.0, self._tick)

    def close(self):
        if self.running:
            self.running = self.frozen = False

    def _end_for_good(self):
        self.server.kill(power_off=False)

    def _start_anew(self):
        self.server.kill(power_off=False)
        self.world.schedule(self.world.now + RESTART, lambda _: self.server.start(), None)

    @property
    def may_serve(self):
        """Whether this node may want a share, as far as its settings are concerned."""
        return not self.is_out and not self._waits

    def call(self, method, *args, **named):
        super().call(method, *args, **named)
        if self.running and self._waits and self.agreement.why_no_traffic() is None:
            self._waits = False
            self.server.say_wants()

    def hear(self, heard):
        if self.running:
            self.call("hear", heard)

    def deliver(self, letter):
        sender, message = letter
        if self.running and (sender in self.world.members_of(self.active) or self.is_out):
            self._later(0.0, self.take_message, sender, message)

    def _say(self):
        self.world.observer.says(self._said)
        self.server.say_revisions(self._said)

    # -- effects --------------------------------------------------------------------------------------------------

    def _carry_out(self, effect):
        super()._carry_out(effect)
        if isinstance(effect, Settled) and self.electorates:
            self._go_by(self.active)

    def _activated(self, revision):
        """Go over to a revision when the kernel has the filter for it, if it needs another one."""
        content = self.world.contents[revision]
        fails = any(self.bad[what] for what in ("activate", "go back"))
        if self.name not in self.world.members_of(revision) or content.settings == self.server.settings or fails:
            super()._activated(revision)
            return
        self._working = True
        self.server.replace_filter(content.settings)
        self._later(self.world.random.random() * self.world.replacing, self._filter_is_there, revision)

    def _filter_is_there(self, revision):
        self._working = False
        super()._activated(revision)
        if self.running:
            self._work()

    def _go_by(self, revision):
        members = self.world.members_of(revision)
        self.agreement.set_others(members - {self.name})
        if self.name not in members:
            self.is_out = True
            self.server.say_wants()
            return
        former, starting = self.server.names, self.agreement.phase is AgreementPhase.STARTING
        differ = set(former) != members
        self.electorates = (former, tuple(sorted(members))) if starting and differ else ()
        self.server.go_over(self.world.contents[revision], members, self.electorates)
        if self.running and self.is_out:
            self.is_out = False
            self.server.say_wants()
