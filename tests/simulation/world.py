"""One simulated farm: machines, network and observer on one virtual clock, driven by a scenario."""

import dataclasses
import heapq
import itertools
from random import Random

from simulation.flows import Flows
from simulation.machine import KernelShare, Machine
from simulation.network import NEVER, Network
from simulation.observer import Observer
from simulation.scenario import A_FEW, LAST_TO_LET_GO, PLANNED, PRESETS
from simulation.story import Story

from hcsidecar.core.membership.boot_numbers import next_boot
from hcsidecar.core.membership.membership import Membership
from hcsidecar.core.membership.timing import Timing
from l2mode.core import buckets

BUCKETS = 64
"Per share group; the arithmetic is the same as with 4096."

RESTLESS = 200
"Changes of one machine's view: far more than the longest storm brings."

RECORDED_AT_MOST = 2000
"Datagrams of one machine."

LONGEST_LABOUR = 0.005
"Seconds: a system call on a busy machine does not last longer where beats are rarer."

ENDLESS = 500_000
"Events at one moment: a farm of 64 that starts at once, without delay, has a tenth of that."


def timing_of(preset):
    pulse, lost_after = PRESETS[preset]
    return Timing(pulse=pulse, lost_after=lost_after)


class World:
    """Runs one scenario; a mutant can take the place of `membership`, `share` or `next_boot` of each node."""

    machine_type, observer_type = Machine, Observer
    "The classes of its servers and of who judges them."

    def __init__(self, scenario, *, membership=Membership, share=KernelShare, next_boot=next_boot, through_wire=True):
        self.scenario = scenario
        self.membership, self.share, self.next_boot = membership, share, next_boot
        self.through_wire = through_wire
        slowest = timing_of(scenario.preset)
        presets = scenario.presets or (scenario.preset,) * scenario.size
        self.t = slowest.lost_after
        self.hearing_time = 2 * self.t
        "For the preset lan: 1 s."
        self.partition = scenario.partition
        self.directed = scenario.delivery == "directed"
        self.aim = None
        "The machine that clients send to in directed delivery: the last that announced itself as the director."
        self.buckets = BUCKETS
        self.now = 0.0
        self.deliveries = 0
        self.random = random = Random(f"{scenario.kind} {scenario.seed} runs")
        self.story = Story()
        self._queue, self._order, self._at_once = [], 0, 0
        size = scenario.size
        powers = scenario.powers
        self._read_farm_files(scenario)
        runs_as = list(range(size)) + ([] if scenario.doubled is None else [scenario.doubled])
        self.labels = tuple(self.names[node] + "*" * (index >= size) for index, node in enumerate(runs_as))
        "Of each machine: the star is of one that runs under the name of another."
        self.network = Network(
            size=len(self.labels), weather=scenario.weather, scale=self.t, random=random, schedule=self.schedule
        )
        self.observer = self.observer_type(self, hearing_time=self.hearing_time)
        self.machines = [
            self.machine_type(
                world=self,
                index=index,
                name=self.names[node],
                label=self.labels[index],
                powers=powers[node],
                timing=timing_of(presets[node]),
                clock_offset=random.uniform(0, 1e5),
                clock_rate=1 + random.uniform(-1, 1) * scenario.drift,
                lateness=scenario.lateness * timing_of(presets[node]).pulse,
                labour=min(LONGEST_LABOUR, scenario.labour * timing_of(presets[node]).pulse),
            )
            for index, node in enumerate(runs_as)
        ]
        self.twins = () if scenario.doubled is None else (self.machines[scenario.doubled], self.machines[-1])
        "The two that run under one name."
        for machine in self.machines:
            machine.numbers = {name: index for index, name in enumerate(self.names)}
            machine.others = {name: [] for name in self.names if name != machine.name}
            for other in self.machines:
                if other.name != machine.name:
                    machine.others[other.name].append((other.index, other.arrive))
        self.flows = None
        if scenario.connections:
            self.flows = Flows(
                self,
                budget=scenario.connections,
                delivery=scenario.delivery,
                strays=scenario.strays,
                random=random,
            )
        self.recorded = [[] for _ in self.machines] if scenario.recorded else None
        "Of each machine: what it has said, for somebody who plays it again."
        self._view_changes = [0] * len(self.labels)
        "By machine: how often it has announced another view than before."
        self._latest_views = [()] * len(self.labels)
        self._numbers_used = {}
        "By name, boot and sequence: the machine that has sealed a heartbeat with them."
        self.views_said = set()
        "By anybody, with more than one member."
        self.gaps = []
        "Of measured moves: seconds for which some bucket had no taker."

    def _read_farm_files(self, scenario):
        """Take in what the farm files of the machines have: share groups by settings, and nodes."""
        self.groups = len(scenario.powers[0])
        self._layouts = dict(scenario.layouts)
        self.steady = [port for port in range(self.groups) if all(port in ports for _, ports in scenario.layouts)]
        "The ports that have a share group by all settings: their clients must see nothing of a change."
        self.all_buckets = sum(((1 << BUCKETS) - 1) << (port * BUCKETS) for port in self.steady)
        self.replacing = 0.02 * self.t
        "Seconds that the kernel takes for another filter at most."
        self.names = tuple(f"n{index:02}" for index in range(scenario.size))
        "Of all farm files."
        self.names_at_first = tuple(name for index, name in enumerate(self.names) if index not in scenario.joining)

    def schedule(self, at, call, argument):
        self._order += 1
        heapq.heappush(self._queue, (at, self._order, call, argument))

    def run(self):
        """Live through the scenario and judge it; gives the world itself."""
        for step in self.scenario.steps:
            self.schedule(step.at * self.t, self._take_step, step)
        if self.flows is not None:
            self.schedule(0.1 * self.t, self._beat, None)
        queue, pop = self._queue, heapq.heappop
        end = self.scenario.until * self.t
        violations = self.observer.violations
        while queue and not violations:
            at, _, call, argument = pop(queue)
            if at > end:
                break
            if at > self.now:
                self.now, self._at_once = at, 0
            self._at_once += 1
            if self._at_once > ENDLESS:
                self.observer.breach("time goes on", "the farm does things without end at one moment")
            call(argument)
        self.now = max(self.now, end) if not violations else self.now
        if not violations:
            self.observer.judge_quiet()
        self.story.add(self.now, "", f"the end, after {self.deliveries} datagrams")
        return self

    # -- steps of a scenario ------------------------------------------------------------------------------------

    def _take_step(self, step):
        if step.what not in ("measure", "measured"):
            self.story.add(self.now, "FATE", f"{step.what} {', '.join(map(self._named, step.args))}")
        getattr(self, step.what)(*step.args)

    def _named(self, argument):
        return self.labels[argument] if isinstance(argument, int) and not isinstance(argument, bool) else str(argument)

    def start(self, index):
        machine = self.machines[index]
        if not machine.running:
            machine.start()
            if machine in self.twins:
                for twin in self.twins:
                    self.back_again(twin)

    def crash(self, index, power_off):
        machine = self.machines[index]
        machine.kill(power_off=power_off)
        self.observer.silenced(machine)
        if power_off and self.flows is not None:
            self.flows.power_off(machine)

    def stick(self, index, length):
        machine = self.machines[index]
        if machine.running and machine.stuck_until is None:
            machine.stick(length * self.t)
            self.observer.silenced(machine)

    def cut(self, source, target):
        self.network.cut(source, target)

    def heal(self, source, target):
        self.network.heal(source, target, now=self.now)
        self._look_after_hearing_time(self.machines[source], self.machines[target])

    def split(self, side):
        for source in range(len(self.machines)):
            for target in range(len(self.machines)):
                if (source in side) != (target in side):
                    self.network.cut(source, target)

    def heal_all(self):
        for source in range(len(self.machines)):
            for target in range(source):
                self.network.heal(source, target, now=self.now)
                self.heal(target, source)

    def swallow(self, source, target):
        self.network.swallow(source, target)

    def deluge(self, loss):
        self.network.doubt()
        self.network.set_weather(dataclasses.replace(self.scenario.weather, loss=loss))

    def black_out(self, length):
        for source in range(len(self.machines)):
            for target in range(len(self.machines)):
                if source != target:
                    self.network.cut(source, target)
        self.schedule(self.now + length * self.t, lambda _: self.heal_all(), None)

    def calm(self, loss):
        self.network.set_weather(dataclasses.replace(self.scenario.weather, loss=loss, echoes=0.0))
        self.network.trust(now=self.now)
        for machine, other in itertools.combinations(self.machines, 2):
            self._look_after_hearing_time(machine, other)
        for machine in self.machines:
            machine.lateness = min(machine.lateness, 0.4 * machine.timing.pulse)

    def drain(self, index):
        self.machines[index].set_wants(False)

    def come_back(self, index):
        machine = self.machines[index]
        machine.wants = True
        if machine.running:
            machine.set_wants(True)
        else:
            self.start(index)

    def leave(self, index):
        self.machines[index].leave()

    def set_powers(self, index, powers):
        self.machines[index].set_powers((powers * self.groups)[: self.groups])

    # What a virtual machine can be put through.

    def pause(self, index, length):
        machine = self.machines[index]
        if machine.running and machine.stuck_until is None:
            machine.pause(length * self.t)

    def snapshot(self, index):
        self.machines[index].take_snapshot()

    def rewind(self, index):
        machine = self.machines[index]
        self.back_again(machine)
        machine.resume_snapshot()

    def lose_state(self, index):
        self.machines[index].lose_state()

    def copy_state(self, index, copy):
        """Give a copied machine what the other one has on its disk."""
        self.machines[copy].boot, self.machines[copy].known = self.machines[index].boot, self.machines[index].known

    def back_again(self, machine):
        """Count the time for which others could hear a machine anew: its clock stood still, or its name is doubled."""
        for other in self.machines:
            if other is not machine:
                self.network.meet_anew(machine.index, other.index, now=self.now)
                self._look_after_hearing_time(machine, other)
        if machine.open_now():
            self.filter_changed(machine, machine.open_mask)

    # What somebody on the network can do who has no key.

    def record(self, machine, letter):
        """Take note of what a machine says, as somebody on the network could."""
        if machine in self.twins:
            number = (machine.name, letter.boot, letter.seq)
            if self._numbers_used.setdefault(number, machine) is not machine:
                self.observer.breach("no number twice", f"both that run as {machine.name} seal with {number[1:]}")
        if letter.view != self._latest_views[machine.index]:
            self._latest_views[machine.index] = letter.view
            self._view_changes[machine.index] += 1
            if self._view_changes[machine.index] == RESTLESS:
                self.observer.breach("views settle", f"{machine.name} has changed its view {RESTLESS} times")
        if len(letter.view) > 1:
            self.views_said.add(letter.view)
        if self.recorded is not None and len(self.recorded[machine.index]) < RECORDED_AT_MOST:
            self.recorded[machine.index].append(letter)

    def play(self, victim, target, pace):
        """Play a stretch of what one has said to another: T from one datagram to the next, and how many."""
        every, number = pace
        recorded = self.recorded[victim]
        first = self.random.randrange(len(recorded)) if recorded else 0
        for at, letter in enumerate(recorded[first : first + number]):
            self.schedule(self.now + at * every * self.t, self.machines[target].arrive, letter)

    def hold(self, source, target):
        self.network.hold(source, target)

    def let_go(self, source, target, every):
        self.heal(source, target)
        self.network.let_go(source, target, now=self.now, every=every * self.t)

    def set_preset(self, index, preset):
        """Change the timing in a machine's farm file: its next start reads it."""
        self.machines[index].timing = timing_of(preset)

    def set_settings(self, index, digest):
        self.machines[index].set_settings(digest)

    def set_names(self, index, members):
        """Let a machine's farm file have these nodes."""
        self.machines[index].set_names(tuple(self.names[member] for member in members))

    def ports_by(self, settings):
        """Give the ports that have a share group by these settings, in the order of the groups."""
        return self._layouts.get(settings, tuple(range(self.groups)))

    def few_views(self):
        """Judge in how many views the farm has found together."""
        most = A_FEW * len(self.machines)
        if len(self.views_said) > most:
            self.observer.breach("few views", f"{len(self.views_said)} views were announced, more than {most}")

    def measure(self):
        self.observer.start_measuring()

    def measured(self, limit, *movers):
        """Judge a move of machines in peace: nobody waited longer than the limit, and only their buckets moved."""
        most = limit.of_t * self.t + limit.of_delay * self._longest_delay
        gap, moved = self.observer.stop_measuring(), 0
        for index in movers:
            moved |= self.machines[index].open_now()
        self.gaps.append(gap)
        if self.directed and limit in (PLANNED, LAST_TO_LET_GO) and self.machines[movers[0]].running and gap:
            self.observer.breach("no gap", f"new connections had no taker for {gap:.6f} s, though no frame needs two")
        if self.scenario.peaceful and self.flows.worst_silence > most:
            self.observer.breach("no silence", f"a connection was unheard for {self.flows.worst_silence:.4f} s")
        if gap > most:
            self.observer.breach("short moves", f"buckets had no taker for {gap:.4f} s, more than {most:.4f} s")
        for other, lost in self.observer.lost_bits.items():
            if other not in movers and lost & ~moved:
                names = ", ".join(self.labels[index] for index in movers) or "nobody"
                self.observer.breach(
                    "only its buckets move",
                    f"{self.labels[other]} dropped {lost & ~moved:x}, where {names} was to move",
                )

    def _look_after_hearing_time(self, one, other):
        if self.observer.link_whole_since(one, other) != NEVER:
            self.observer.link_whole(one, other)

    # -- clients ------------------------------------------------------------------------------------------------

    def _speak_once(self, _):
        self.flows.beat()

    def _beat(self, _):
        self.flows.beat()
        # Every machine looks at its sockets about once per T, at a time of its own.
        if self.random.random() < 0.2 * len(self.machines):
            machine = self.random.choice(self.machines)
            if machine.running:
                self.flows.scan(machine)
        self.schedule(self.now + 0.2 * self.t * self.random.random(), self._beat, None)

    # -- what the observer asks ---------------------------------------------------------------------------------

    def tables_turned(self, machine):
        if self.directed:
            self.observer.look_at_gaps()
        if self.flows is not None:
            # A change of the tables is followed by a look at the sockets.
            self.schedule(self.now + self.random.random() * 2 * self._longest_delay, self._scan, machine)

    def _scan(self, machine):
        if machine.running:
            self.flows.scan(machine)

    @property
    def _longest_delay(self):
        return (self.scenario.weather.delay + self.scenario.weather.jitter) * self.t

    def filter_changed(self, machine, before):
        self.observer.filter_changed(machine, before)
        if self.flows is not None:
            # Just then the packets are wanted that could go astray.
            self.schedule(self.now + self.random.random() * 2 * self._longest_delay, self._speak_once, None)

    def shares_of(self, view):
        """Give each member's combined mask in a view: what its filter must take."""
        shares = {name: 0 for name, _ in view}
        for group, port in enumerate(self._ports_of(view)):
            for name, mask in buckets.masks({name: powers[group] for name, powers in view}, BUCKETS).items():
                shares[name] |= mask << (port * BUCKETS)
        return shares

    def _powers_of(self, machine):
        """Give a machine's powers by its settings, one per share group."""
        return tuple(machine.powers[port] for port in self.ports_by(machine.settings))

    def _ports_of(self, view):
        """Give the ports that have a share group by the settings of a view's members."""
        return next((self.ports_by(self.machines[self.names.index(name)].settings) for name, _ in view), ())

    def needs_majority(self, part):
        """Return whether a part of machines may serve only if it is more than half of the farm."""
        return any(machine.partition == "majority" for machine in part)

    def may_serve(self, machine):
        """Return whether a machine would take a share."""
        return machine.wants

    def takeable_by(self, part):
        """Mask of the buckets that must have a taker in a torn part, whoever of it serves."""
        if self.needs_majority(part):
            # It depends on who reaches whom whether anybody reaches more than half.
            return 0
        candidates = [machine for view in self.rightful_views(part) for machine in view]
        mask = 0
        for group, port in enumerate(self._ports_of(candidates)):
            if all(powers[group] for _, powers in candidates):
                mask |= ((1 << BUCKETS) - 1) << (port * BUCKETS)
        return mask

    def rightful_views(self, part):
        """Give the views that a part of machines, which all hear each other, may have agreed on."""
        if self.needs_majority(part) and 2 * len(part) <= len(part[0].names):
            return {()}
        candidates = [machine for machine in part if self.may_serve(machine) and any(self._powers_of(machine))]
        votes = {}
        for machine in candidates:
            votes.setdefault(machine.settings, []).append(machine)
        most = max(map(len, votes.values()), default=0)
        return {
            tuple(sorted((machine.name, self._powers_of(machine)) for machine in voters))
            for voters in votes.values()
            if len(voters) == most
        } or {()}
