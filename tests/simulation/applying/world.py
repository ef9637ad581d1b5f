"""A simulated farm that changes its settings while it serves: membership and agreement together, on one virtual clock.

It joins the world of `simulation.world`, with its machines, filters, clients and promises, to the revisions, operators
and promises of `simulation.settings`.
"""

import dataclasses

from simulation.applying.observer import FarmObserver
from simulation.applying.scenario import Content
from simulation.applying.server import Server, ServersSettings
from simulation.machine import KernelShare
from simulation.settings.observer import Observer
from simulation.settings.revisions import Revisions
from simulation.settings.scenario import Scenario as SettingsScenario
from simulation.world import World

from hcsidecar.core.membership.membership import Membership
from hcsidecar.core.settings.agreement import Agreement

LOOKS = 1.0
"Seconds between two looks of an operator at what has become of a change."
GIVES_UP = 60.0
"Seconds after which he takes back what he has prepared for it, unless it is settled."


class FarmRevisions(Revisions):
    """The revisions of such a farm, each with its content."""

    def __init__(self, world, *, agreement, servers_settings):
        scenario = world.scenario
        settings_scenario = SettingsScenario(
            kind=scenario.kind,
            seed=scenario.seed,
            size=scenario.size,
            steps=(),
            until=0.0,
            spare=len(scenario.joining),
            slow=scenario.slow,
            confirm=scenario.confirm,
            peaceful=scenario.steady,
            steady=scenario.steady,
        )
        super().__init__(settings_scenario, random=world.random, agreement=agreement)
        self._world = world
        self.story, self.network, self.replacing = world.story, world.network, world.replacing
        self.observer = Observer(self)
        self.observer.violations = world.observer.violations
        self.contents = {None: Content(powers=scenario.powers, partition=scenario.partition, preset=world.first_preset)}
        "By revision: what it says."
        self.edits = {}
        "What the next revision changes."
        self.machines = [
            servers_settings(world=self, index=server.index, name=server.name, rate=server.rate, server=server)
            for server in world.machines
        ]

    @property
    def now(self):
        return self._world.now

    def schedule(self, at, call, argument):
        self._world.schedule(at, call, argument)

    def can_fetch(self, machine, source, revision):
        other = self.machine(source)
        knows = machine.name in self.members_of(other.active) or other.is_out
        return knows and super().can_fetch(machine, source, revision)

    def _new_revision(self, number, parents, members):
        revision = super()._new_revision(number, parents, members)
        before = self.contents[max(parents) if parents else None]
        self.contents[revision] = dataclasses.replace(before, **self.edits)
        return revision


class FarmWorld(World):
    """Runs one scenario; a mutant can take the place of any of the classes."""

    machine_type, observer_type = Server, FarmObserver

    def __init__(
        self,
        scenario,
        *,
        membership=Membership,
        share=KernelShare,
        agreement=Agreement,
        servers_settings=ServersSettings,
    ):
        self.first_preset = (scenario.presets or (scenario.preset,))[0]
        super().__init__(scenario, membership=membership, share=share)
        self.revisions = FarmRevisions(self, agreement=agreement, servers_settings=servers_settings)
        for server, part in zip(self.machines, self.revisions.machines, strict=True):
            server.settings_part = part
        if scenario.has_revision:
            self.revisions.give_first()

    # -- steps of a scenario --------------------------------------------------------------------------------------

    def change(self, index, how):
        """Let an operator change the settings on a node: `edits` of the content, and what `propose` takes.

        Nodes that are to be removed are drained first. One that is added gets what the first node has, and is started,
        when its addition is settled.
        """
        how = dict(how)
        edits, removed = dict(how.pop("edits", ())), how.get("remove", ())
        for gone in removed:
            self.machines[gone].set_wants(False)
        self.schedule(self.now + (1.0 * self.t if removed else 0.0), self._propose, (index, edits, how))

    def _propose(self, proposed):
        index, edits, how = proposed
        revisions = self.revisions
        for gone in how.get("remove", ()):
            self.flows.drained(self.machines[gone])
        revisions.edits = edits
        token = revisions._propose_once(index, same=None, **how)
        revisions.edits = {}
        self._look_after((index, token, how, self.now + GIVES_UP))

    def _look_after(self, looked):
        index, token, how, until = looked
        attempt = self.revisions.attempts.get(token)
        if attempt is not None and attempt.settled:
            if how.get("add") is not None:
                self._join(index, how["add"])
            return
        if attempt is None or attempt.over or self.now > until:
            for kept in how.get("remove", ()):
                self.machines[kept].set_wants(True)
            return
        self.schedule(self.now + LOOKS, self._look_after, looked)

    def _join(self, index, joiner):
        source, part = self.revisions.machines[index], self.revisions.machines[joiner]
        if part.record is None and part.name in self.revisions.members_of(source.record.settled):
            part.record, part.stored = source.record, set(source.stored)
            self.start(joiner)

    def fill_disk(self, index):
        self.revisions.machines[index].full = True

    def free_disk(self, index):
        self.revisions.machines[index].full = False

    def spoil(self, index, what):
        """Let the next one of a kind of effect fail."""
        self.revisions.machines[index].bad[what] += 1

    def recover(self):
        """Let everything be well from now on: all that are in the farm run, reach each other, and have room."""
        self.heal_all()
        for server, part in zip(self.machines, self.revisions.machines, strict=True):
            part.full = False
            part.bad = dict.fromkeys(part.bad, 0)
            if server.name in self.revisions.members_of(part.record.settled if part.record is not None else None):
                server.start()

    # -- what the observer asks -----------------------------------------------------------------------------------

    def may_serve(self, machine):
        return super().may_serve(machine) and machine.settings_part.may_serve
