"""What a client would see of the farm, and the promises that it must find kept.

Who *takes* a bucket depends on the delivery. In flooded delivery it is whose filter has claimed it, and two of these
must not be open at once. Nor must they in directed delivery; but there both the former and the next owner also take
what reaches them while a bucket moves, for a frame reaches one machine only. So a bucket has a taker when a new
connection finds one by whatever way the tables send it, from the machine that clients aim at.

The observer knows filters (mask and end of lease, as the kernel has them), links, and who is running: never what a
node believes. It is told of every change of a filter and of a link, and judges at that moment; overlaps that begin
while two machines cannot have heard each other are looked at again when they can.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A promise broken."""

    promise: str
    at: float
    what: str


class Observer:
    """Watches one world. `hearing_time` is the time in which two machines with a whole link must have agreed."""

    __slots__ = ("_hearing_time", "_uncovered_since", "_world", "gaps", "lost_bits", "violations", "worst_gap")

    def __init__(self, world, *, hearing_time):
        self._world = world
        self._hearing_time = hearing_time
        self.violations = []
        self._uncovered_since = None
        self.gaps = False
        "Measure how long buckets are without a taker (costs time)."
        self.worst_gap = 0.0
        self.lost_bits = {}
        "By machine: buckets that its filter dropped since measuring began."

    # -- no two take the same -----------------------------------------------------------------------------------

    def filter_changed(self, machine, before):
        """Judge the overlaps of a filter whose mask was changed, or that was opened anew."""
        if before & ~machine.open_mask:
            self.lost_bits[machine.index] = self.lost_bits.get(machine.index, 0) | before & ~machine.open_mask
        self.look_at_gaps()
        mine = machine.open_now()
        if not mine:
            return
        for other in self._world.machines:
            if other is not machine and mine & other.open_now():
                self._judge_overlap(machine, other)

    def look_again(self, pair):
        """Judge a pair of machines whose link has been whole for the hearing time."""
        one, other = pair
        if one.open_now() & other.open_now():
            self._judge_overlap(one, other)

    def link_whole(self, one, other):
        """Take note that two machines may hear each other from now on."""
        self._world.schedule(self._world.now + self._hearing_time * 1.000001, self.look_again, (one, other))

    def _judge_overlap(self, one, other):
        # Whether they run does not matter: the lease must have stopped the filter of one that is frozen or killed,
        # and a new boot closes what the old one left open before it says a word.
        since = self.link_whole_since(one, other)
        if self._world.now - since > self._hearing_time:
            overlap = one.open_now() & other.open_now()
            self.breach(
                "one taker",
                f"{one.label} and {other.label} both take {overlap.bit_count()} buckets ({overlap:x}); "
                f"their link is whole for {self._world.now - since:.4f} s",
            )

    def link_whole_since(self, one, other):
        """Give since when the link between two machines is whole both ways; NEVER if it is not."""
        if one.name == other.name:
            # Two that run under one name say nothing to each other: they learn of it by way of the others.
            rest = [machine for machine in self._world.machines if machine.name != one.name]
            return min(max(self.link_whole_since(one, by), self.link_whole_since(by, other)) for by in rest)
        whole = self._world.network.whole
        return max(whole[one.index][other.index], whole[other.index][one.index])

    def hear_each_other_since(self, one, other):
        """Give since when two machines run as well; NEVER if they do not."""
        return max(self.link_whole_since(one, other), one.up_since, other.up_since)

    # -- planned moves ------------------------------------------------------------------------------------------

    def look_at_gaps(self, _=None):
        """Measure, for all buckets at once, the longest time that some bucket was without a taker."""
        if not self.gaps:
            return
        world = self._world
        if world.directed:
            covered = not world.flows.untaken()
        else:
            taken = 0
            for machine in world.machines:
                taken |= machine.open_now()
            covered = not world.all_buckets & ~taken
        if covered and self._uncovered_since is not None:
            self.worst_gap = max(self.worst_gap, world.now - self._uncovered_since)
            self._uncovered_since = None
        elif not covered and self._uncovered_since is None:
            self._uncovered_since = world.now

    def silenced(self, machine):
        """Take note that nobody renews a machine's lease for now: look when it ends."""
        self._world.schedule(machine.open_until * 1.000001, self.look_at_gaps, None)

    def start_measuring(self):
        self.gaps, self.worst_gap, self._uncovered_since = True, 0.0, None
        self.lost_bits = {}
        self.look_at_gaps()

    def stop_measuring(self):
        self.look_at_gaps()
        if self._uncovered_since is not None:
            self.worst_gap = max(self.worst_gap, self._world.now - self._uncovered_since)
        self.gaps = False
        return self.worst_gap

    # -- after quiet --------------------------------------------------------------------------------------------

    def judge_quiet(self):
        """Check that in each connected part every bucket has exactly one taker, and views agree."""
        self._judge_twins()
        for part in self._parts():
            if self._is_clique(part):
                self._judge_part(part)
            else:
                self._judge_torn_part(part)

    def _judge_twins(self):
        """Of two that run under one name the one with the lower boot stays out, and both raise an alarm."""
        refused = self._refused_twin()
        if refused is None:
            return
        if refused.said.view or refused.said.wants or refused.open_now():
            self.breach("a name serves once", f"{refused.label} is refused, and takes {refused.open_now():x}")
        for twin in self._world.twins:
            if not self._world.story.tells(twin.label, "another process runs as", since=twin.up_since):
                self.breach("both alarm", f"{twin.label} runs under a name that is doubled, and says nothing of it")

    def _refused_twin(self):
        twins = self._world.twins
        if not twins or not all(twin.running and twin.said for twin in twins):
            return None
        return min(twins, key=lambda twin: twin.said.boot)

    def _judge_part(self, part):
        world = self._world
        wanted = world.rightful_views(part)
        said = {machine.said.view if machine.said is not None else None for machine in part if self._is_in(machine)}
        names = ", ".join(machine.name for machine in part)
        if len(said) > 1 or not said <= wanted:
            views = "; ".join(f"{machine.name}: {_names(machine.said)}" for machine in part)
            self.breach("views agree", f"part {names}: {views}; expected one of {sorted(map(_short, wanted))}")
            return
        view = said.pop() if said else ()
        if view not in wanted:
            self.breach("views agree", f"part {names}: nobody is in, expected {sorted(map(_short, wanted))}")
            return
        shares = world.shares_of(view)
        for machine in part:
            if machine.share.moving:
                self.breach("moves end", f"{machine.name} takes what is not its own, as if buckets still moved")
            if machine.open_now() != shares.get(machine.name, 0):
                self.breach(
                    "one taker after quiet",
                    f"{machine.label} takes {machine.open_now():x}, its share is {shares.get(machine.name, 0):x}",
                )

    def _judge_torn_part(self, part):
        """Where some hear each other only one way or by way of others, at least every bucket must have a taker."""
        taken = 0
        for machine in part:
            taken |= machine.open_now()
        takeable = self._world.takeable_by(part)
        if takeable & ~taken:
            names = ", ".join(machine.name for machine in part)
            self.breach("a taker after quiet", f"part {names}: nobody takes {takeable & ~taken:x}")

    @staticmethod
    def _is_in(machine):
        return machine.said is None or machine.said.view != ()

    def _parts(self):
        """List the connected parts: machines that run, joined by links that are whole one way or both."""
        refused = self._refused_twin()
        rest = [machine for machine in self._world.machines if machine.running and machine is not refused]
        parts = []
        while rest:
            part, edge = [], [rest.pop(0)]
            while edge:
                machine = edge.pop()
                part.append(machine)
                near = [other for other in rest if self._reaches(machine, other) or self._reaches(other, machine)]
                edge += near
                rest = [other for other in rest if other not in near]
            parts.append(sorted(part, key=lambda machine: machine.index))
        return parts

    def _is_clique(self, part):
        """True when everybody of the part reaches everybody else of it."""
        return all(self._reaches(one, other) for one in part for other in part if one is not other)

    def _reaches(self, source, target):
        return self._world.network.carries(source.index, target.index)

    def breach(self, promise, what):
        """Note that a promise was broken; the history ends with it."""
        self._world.story.add(self._world.now, "CLIENT", f"promise broken, {promise}: {what}")
        self.violations.append(Violation(promise=promise, at=self._world.now, what=what))


def _short(view):
    return ",".join(name for name, _ in view) or "nobody"


def _names(heartbeat):
    return "silent" if heartbeat is None else _short(heartbeat.view)
