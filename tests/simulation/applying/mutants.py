"""Settings that are applied while a farm serves, broken on purpose, one rule at a time: the simulation must notice.

Each breaks what its docstring says. `reach.part_of` knows whose place it takes.
"""

from simulation.applying.server import ServersSettings
from simulation.machine import KernelShare

from hcsidecar.core.membership.membership import Membership
from hcsidecar.core.settings.agreement import Agreement, AgreementPhase, ProposalProgress


class BeginsBeforeAllHavePromised(Agreement):
    """The coordinator goes by a revision as soon as one other has promised to take it."""

    def _coordinate(self, effects, now):
        mine = self._coordination
        if mine is not None and mine.progress is ProposalProgress.PREPARING and len(mine.prepared) > 1:
            mine.prepared |= set(mine.proposal.participants)
        super()._coordinate(effects, now)


class ServesBeforeItHasAsked(ServersSettings):
    """A daemon that was away wants a share before it knows what the others have settled meanwhile."""

    @property
    def may_serve(self):
        return not self.is_out


class TheRemovedServesOn(ServersSettings):
    """A node that goes by its own removal goes on taking traffic."""

    @property
    def may_serve(self):
        return not self._waits

    def open(self, settled):
        super().open(settled)
        self.server.wants = True

    def _go_by(self, revision):
        super()._go_by(revision)
        if self.is_out:
            self.server.set_wants(True)


class CountsTheNewMajorityOnly(Membership):
    """In a trial a majority of the nodes of the new revision is enough."""

    def set_nodes(self, nodes, *, electorates=(), now):
        return super().set_nodes(nodes, electorates=electorates[1:], now=now)


class KeepsBothMajorities(ServersSettings):
    """After the trial a majority of the former nodes is still needed."""

    def _carry_out(self, effect):
        electorates, self.electorates = self.electorates, ()
        super()._carry_out(effect)
        self.electorates = electorates


class KeepsAGroupAsClean(KernelShare):
    """A node that goes over to other share groups knows at once that it holds no connection in buckets of others."""

    def go_over(self, ports, settings):
        super().go_over(ports, settings)
        self.foreign = 0


class KeepsItsFormerNodes(ServersSettings):
    """A node that goes back from a trial goes on with the nodes of the trial."""

    def _go_by(self, revision):
        members = self.world.members_of(revision)
        if self.agreement.phase is AgreementPhase.UNDOING and set(self.server.names) != members:
            return
        super()._go_by(revision)


class GoesOverByHalves(ServersSettings):
    """A node that takes a revision takes its share groups, and its nodes only when it starts again."""

    def _go_by(self, revision):
        before = self.world.members_of
        names = frozenset(self.server.names)
        self.world.members_of = lambda of: names if of == revision and self.name in before(of) else before(of)
        try:
            super()._go_by(revision)
        finally:
            del self.world.members_of
