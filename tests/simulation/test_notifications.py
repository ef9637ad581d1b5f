"""A seeded farm of outboxes on a virtual clock: nodes die while they hold notifications, the network is cut, receivers
are out of reach. Nothing that another node could have heard of is ever lost, and little is sent twice."""

from collections import Counter
from random import Random

import pytest

from hcsidecar.core.events import Level
from hcsidecar.core.notify.outbox import Outbox

STEP = 0.5
QUIET = 900.0
"Longer than the longest pause between two attempts, and the time in which all is handed over."


class SimulatedNode:
    def __init__(self, name, life, now, *, group):
        self.name = name
        self.started_at = now
        self.outbox = Outbox(receiver="chat", kind="webhook", me=name, life=life, group=group, lost_after=0.5)
        self.flying = None
        "When the message that is being sent arrives, and what it tells."


class NotifyingFarm:
    """Nodes, a network with parts, and one receiver that remembers what it was told."""

    def __init__(self, seed, *, size):
        self.random = Random(seed)
        self.names = [f"web{number}" for number in range(1, size + 1)]
        self.group = self.random.choice([0.0, 10.0, 60.0])
        self.now = 0.0
        self.life = 0
        self.part = dict.fromkeys(self.names, 0)
        self.reaches = dict.fromkeys(self.names, True)
        self.loss = 0.0
        self.nodes = {}
        self.noticed = {}
        "When each was noticed."
        self.told = Counter()
        self.tellers = set()
        self.faults = []
        for name in self.names:
            self.boot(name)

    def boot(self, name):
        self.life += 1
        self.nodes[name] = SimulatedNode(name, self.life, self.now, group=self.group)

    def kill(self, name):
        node = self.nodes.pop(name)
        self.faults.append(self.now)
        # What was on its way may have arrived, and nobody hears of it.
        if node.flying is not None and self.random.random() < 0.5:
            self.arrive(name, node.flying[1])

    def notice(self, name):
        outbox = self.nodes[name].outbox
        outbox.add(level=Level.ERROR, node=name, text="error", time=self.now, now=self.now)
        self.noticed[name, outbox.life, outbox._number] = self.now

    def arrive(self, name, message):
        self.tellers.add(name)
        self.told.update((each.origin, each.life, each.number) for each in message.told)

    def others(self, name):
        return [other for other in self.nodes if other != name and self.part[other] == self.part[name]]

    def step(self):
        self.now += STEP
        for node in self.random.sample(list(self.nodes.values()), len(self.nodes)):
            outbox = node.outbox
            outbox.see_others(self.others(node.name), now=self.now)
            for each in outbox.hand_overs(now=self.now):
                if each.to not in self.others(node.name) or self.random.random() < self.loss:
                    outbox.unanswered(each.to, now=self.now)
                    continue
                answer = self.nodes[each.to].outbox.take(each.held, each.done, now=self.now)
                if self.random.random() < self.loss:
                    outbox.unanswered(each.to, now=self.now)
                else:
                    outbox.answered(each.to, answer, now=self.now)
            if node.flying is not None and self.now >= node.flying[0]:
                if self.reaches[node.name]:
                    self.arrive(node.name, node.flying[1])
                    outbox.sent(now=self.now)
                else:
                    outbox.failed("no route", now=self.now)
                node.flying = None
            if (message := outbox.due(now=self.now)) is not None:
                node.flying = (self.now + self.random.uniform(0, 5), message)

    def run(self, seconds):
        end = self.now + seconds
        while self.now < end:
            self.step()

    def calm_down(self):
        self.part = dict.fromkeys(self.names, 0)
        self.reaches = dict.fromkeys(self.names, True)
        self.loss = 0.0
        self.run(QUIET)

    def check_rest(self):
        """When all is quiet, nothing is held, and nothing was told more often than faults explain."""
        assert all(node.outbox.status(now=self.now).held == 0 for node in self.nodes.values())
        for key, count in self.told.items():
            later = sum(fault >= self.noticed[key] for fault in self.faults)
            assert count <= 1 + later, (key, count)


def farm_of(seed):
    return NotifyingFarm(seed, size=2 + seed % 4)


@pytest.mark.parametrize("seed", range(30))
def test_without_faults_the_first_node_tells_everything_once(seed):
    farm = farm_of(seed)
    for _ in range(30):
        farm.notice(farm.random.choice(farm.names))
        farm.run(farm.random.uniform(0, 40))
    farm.calm_down()
    farm.check_rest()
    assert farm.told == Counter(farm.noticed.keys())
    assert farm.tellers == {"web1"}


@pytest.mark.parametrize("seed", range(100))
def test_nothing_is_lost_if_one_node_dies_at_a_time_and_had_a_moment_to_hand_over(seed):
    farm = farm_of(seed)
    dead = None
    for _ in range(20):
        for _ in range(farm.random.randrange(4)):
            farm.notice(farm.random.choice(list(farm.nodes)))
        farm.run(farm.random.choice([1, 2, 8, 30, 70]))
        if dead is not None:
            farm.boot(dead)
            dead = None
            # The one that is back holds what the others hold before another one dies.
            farm.run(11)
        elif farm.random.random() < 0.6:
            dead = farm.random.choice(["web1", "web1", farm.random.choice(farm.names)])
            farm.kill(dead)
    farm.calm_down()
    farm.check_rest()
    assert set(farm.told) == set(farm.noticed)


@pytest.mark.parametrize("seed", range(100))
def test_whatever_happens_nothing_is_lost_that_a_living_node_has_noticed(seed):
    farm = farm_of(seed)
    for _ in range(30):
        match farm.random.randrange(7):
            case 0 if len(farm.nodes) > 1:
                farm.kill(farm.random.choice(list(farm.nodes)))
            case 1:
                for name in farm.names:
                    if name not in farm.nodes:
                        farm.boot(name)
            case 2:
                farm.part = {name: farm.random.randrange(2) for name in farm.names}
                farm.faults.append(farm.now)
            case 3:
                farm.part = dict.fromkeys(farm.names, 0)
                farm.faults.append(farm.now)
            case 4:
                farm.reaches = {name: farm.random.random() < 0.5 for name in farm.names}
                farm.faults.append(farm.now)
            case 5:
                farm.loss = farm.random.choice([0.0, 0.2, 0.9])
                farm.faults.append(farm.now)
            case _:
                pass
        for _ in range(farm.random.randrange(4)):
            farm.notice(farm.random.choice(list(farm.nodes)))
        farm.run(farm.random.choice([1, 5, 30, 100]))
    lives = {(name, node.outbox.life) for name, node in farm.nodes.items()}
    farm.calm_down()
    assert all(node.outbox.status(now=farm.now).held == 0 for node in farm.nodes.values())
    assert {key for key in farm.noticed if key[:2] in lives} <= set(farm.told)
