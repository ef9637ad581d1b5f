"""A simulated farm that changes its settings: machines, network, operators and observer on one virtual clock."""

import heapq
from random import Random

from simulation.network import Network
from simulation.settings.machine import Machine
from simulation.settings.observer import Observer
from simulation.settings.revisions import Revisions
from simulation.story import Story

from hcsidecar.core.settings.agreement import Agreement

ENDLESS = 20_000
"Events at one moment."


class World(Revisions):
    """Runs one scenario."""

    def __init__(self, scenario, *, agreement=Agreement):
        random = Random(f"settings {scenario.kind} {scenario.seed} runs")
        super().__init__(scenario, random=random, agreement=agreement)
        self.now = 0.0
        self.story = Story()
        self._queue, self._order = [], 0
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
            self.give_first()

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
