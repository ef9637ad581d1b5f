"""What a client, and an operator, would see of a farm that changes its settings while it serves."""

from simulation.observer import Observer

from hcsidecar.core.settings.agreement import AgreementPhase


class FarmObserver(Observer):
    """Judges filters as in all histories, among nodes that are in each other's farm files."""

    __slots__ = ("_served",)

    def __init__(self, world, *, hearing_time):
        super().__init__(world, hearing_time=hearing_time)
        self._served = {}
        "By machine: the boot of its daemon that has taken a bucket."

    def filter_changed(self, machine, before):
        super().filter_changed(machine, before)
        if not machine.open_now():
            return
        part = machine.settings_part
        if machine.running and self._served.get(machine.index) != part.boot:
            self._served[machine.index] = part.boot
            self._judge_first_share(machine)
        if self._world.scenario.divided:
            for other in self._world.machines:
                if other is not machine and (overlap := other.open_now() & machine.open_now()):
                    what = f"{machine.label} and {other.label} both take {overlap.bit_count()} buckets"
                    self.breach("one part serves", f"{what}, and a majority is needed")

    def _judge_first_share(self, machine):
        """Judge that a daemon that starts takes nothing by settings that the others have left before it started."""
        active = machine.settings_part.active
        for other in self._world.machines:
            if other is machine or not other.running or not self._know_each_other(machine, other):
                continue
            theirs = other.settings_part.record.settled if other.settings_part.record is not None else None
            ahead = theirs is not None and active in (*self._world.revisions.origins[theirs].ancestors, None)
            since = max(self.link_whole_since(machine, other), other.up_since)
            if ahead and active != theirs and self._settled_before(theirs, machine) and since < machine.up_since:
                self.breach(
                    "first follow, then serve", f"{machine.label} serves by {active}, {other.label} by {theirs}"
                )

    def _settled_before(self, revision, machine):
        return self._world.revisions.observer.settled[revision] < machine.up_since - self._hearing_time

    def _know_each_other(self, one, other):
        return one.name in other.names and other.name in one.names and not self._is_out(one) and not self._is_out(other)

    @staticmethod
    def _is_out(machine):
        return machine.settings_part.is_out

    def link_whole_since(self, one, other):
        """Give since when two machines can be expected to agree: those that do not know each other by way of others."""
        since = super().link_whole_since(one, other)
        if one.name in other.names and other.name in one.names:
            return since
        rest = [machine for machine in self._world.machines if machine.running]
        return max(
            [
                super(FarmObserver, self).link_whole_since(here, there)
                for here in rest
                for there in rest
                if here != there
            ]
            + [since]
        )

    # -- after quiet ----------------------------------------------------------------------------------------------

    def judge_quiet(self):
        super().judge_quiet()
        for machine in self._world.machines:
            if not machine.running:
                continue
            if self._is_out(machine):
                if machine.open_now():
                    self.breach("the removed take nothing", f"{machine.label} takes {machine.open_now():x}")
            elif machine.settings_part.agreement.phase is AgreementPhase.IDLE:
                self._judge_whole(machine)

    def _judge_whole(self, machine):
        """Judge that all parts of a daemon go by one revision."""
        world, part, membership = self._world, machine.settings_part, machine.node.membership
        content = world.revisions.contents[part.active]
        wanted = (content.settings, content.partition, world.revisions.members_of(part.active), ())
        names = frozenset(membership.peers.names)
        found = (membership.settings_digest, machine.partition, names, tuple(membership._selector.electorates))
        if found != wanted:
            self.breach("nothing by halves", f"{machine.label} goes by {part.active}, {wanted}, and its share {found}")
        ports = world.ports_by(content.settings)
        if membership.powers != tuple(content.powers[machine.index][port] for port in ports):
            self.breach("nothing by halves", f"{machine.label} goes by {part.active}, with powers {membership.powers}")

    def _judge_part(self, part):
        lists = {machine.names for machine in part}
        if len(lists) == 1:
            super()._judge_part(part)
        else:
            self._judge_torn_part(part)

    def _parts(self):
        return [part for part in super()._parts() if not all(map(self._is_out, part))]

    def _reaches(self, source, target):
        return super()._reaches(source, target) and self._know_each_other(source, target)
