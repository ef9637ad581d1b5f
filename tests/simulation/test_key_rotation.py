"""Rotations of keys, attacked: coordinators die at any step, two are at it at once, orders get lost, nodes are away.

At each moment every node opens what every other one seals. Mutants show that the simulation would notice.
"""

from random import Random

import pytest

from hcsidecar.core.key_rotation import (
    KeyFacts,
    KeyHolder,
    KeyRotation,
    OrderStep,
    RotationId,
    RotationOver,
    RotationStep,
    takes_by_itself,
    why_not_step,
)

SEEDS = 300
FIRST_KEY = 1


class Node:
    """The keys of one node, which outlive its daemon, and the rotation that it coordinates, which does not."""

    def __init__(self, name):
        self.name = name
        self.keys, self.active, self.rotation, self.new = {FIRST_KEY}, FIRST_KEY, None, None
        self.authority = self.kept = None
        self.unfinished = None
        "The rotation that it coordinated when its daemon was killed, with its key."
        self.up, self.coordinates = True, None

    def holder(self):
        return KeyHolder(rotation=self.rotation, new=self.new, keys=self.keys, active=self.active)

    def take(self, step, rotation, key, members, rule):
        """Do a step, or give why not."""
        why = rule(step, rotation, self.holder(), sender=rotation.coordinator, members=members)
        if why is not None:
            return why
        match step:
            case RotationStep.ADD:
                self.keys.add(key)
                self.rotation, self.new, self.kept = rotation, key, key
                self.unfinished = (rotation, key) if rotation.coordinator == self.name else None
            case RotationStep.USE:
                self.active = key
            case RotationStep.DROP:
                self.keys = {key}
            case RotationStep.CERTIFY:
                self.authority = key
        return None


class Farm:
    """Nodes, and what is under way between them."""

    def __init__(self, seed, *, machine=KeyRotation, rule=why_not_step, takes=takes_by_itself, loss=0.2):
        self.random, self.loss = Random(f"keys {seed}"), loss
        self.machine, self.rule, self.takes = machine, rule, takes
        self.names = [f"n{index}" for index in range(self.random.randint(1, 5))]
        self.nodes = {name: Node(name) for name in self.names}
        self.now, self.last_key, self.letters, self.outcomes = 0.0, FIRST_KEY, [], []
        self.broken, self.is_mended, self.certified_early = None, False, False

    def begin(self, name):
        """Let an operator begin a rotation on a node that hears all others."""
        if not all(node.up for node in self.nodes.values()):
            return
        node = self.nodes[name]
        known = [other.rotation.number for other in self.nodes.values() if other.rotation]
        rotation = RotationId(1 + max(known, default=0), name, f"{self.last_key:032x}")
        self.last_key += 1
        node.coordinates = rotation, self.last_key, self.machine(members=frozenset(self.names))
        self.carry_out(node, node.coordinates[2].tick(members=self.names, now=self.now))

    def carry_out(self, node, effects):
        rotation, key, _ = node.coordinates
        for effect in effects:
            match effect:
                case OrderStep(node=to, step=step):
                    if self.random.random() >= self.loss:
                        self.letters.append((self.later(), "order", to, (step, rotation, key)))
                case RotationOver(ok=ok):
                    self.outcomes.append(ok)
                    node.unfinished = None

    def later(self):
        return self.now + self.random.random() ** 3 * self.random.choice((0.1, 3.0))

    def run(self, seconds, *, deaths=0.0):
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            due = sorted(letter for letter in self.letters if letter[0] <= self.now)
            self.letters = [letter for letter in self.letters if letter[0] > self.now]
            for _, kind, to, content in due:
                self.deliver(kind, self.nodes[to], content)
            for node in self.nodes.values():
                if self.random.random() < deaths:
                    node.up, node.coordinates = not node.up, None
                if node.up and node.rotation:
                    self.look_around(node)
                if node.up and node.coordinates and not node.coordinates[2].over:
                    self.carry_out(node, node.coordinates[2].tick(members=self.names, now=self.now))

    def look_around(self, node):
        """Let a node ask another one, and its coordinator go on with what it was killed at."""
        other = self.nodes[self.random.choice(self.names)]
        if other.up:
            theirs = KeyFacts(rotation=other.rotation, authority=str(other.authority), certificate="", recorded={})
            if self.takes(node.holder(), str(node.kept), theirs):
                self.certified_early |= any(each.keys != {node.new} for each in self.nodes.values())
                node.authority = node.kept
        if node.unfinished and not node.coordinates and all(each.up for each in self.nodes.values()):
            rotation, key = node.unfinished
            node.coordinates = rotation, key, self.machine(members=frozenset(self.names))

    def are_of_one_authority(self):
        return len({node.authority for node in self.nodes.values()}) == 1

    def deliver(self, kind, node, content):
        if not node.up:
            return
        if kind == "order":
            step, rotation, key = content
            why = node.take(step, rotation, key, self.names, self.rule)
            self.judge(f"{node.name} {step} of {rotation}")
            if self.random.random() >= self.loss:
                answer = (rotation, node.name, step, why)
                self.letters.append((self.later(), "answer", rotation.coordinator, answer))
        elif node.coordinates and node.coordinates[0] == content[0]:
            _, name, step, why = content
            machine = node.coordinates[2]
            self.carry_out(node, machine.answered(name, step, why, members=self.names, now=self.now))

    def judge(self, what):
        """Every node opens what every other one seals, whether or not its daemon runs just now."""
        for one in self.nodes.values():
            deaf = [other.name for other in self.nodes.values() if one.active not in other.keys]
            if deaf and self.broken is None:
                self.broken = f"{what}: {deaf} cannot open what {one.name} seals"

    def is_done(self):
        states = {(frozenset(node.keys), node.active, node.authority) for node in self.nodes.values()}
        ((keys, active, authority),) = states if len(states) == 1 else [(frozenset(), 0, 0)]
        return keys == {active} == {authority} and active != FIRST_KEY


def live_through(seed, **how):
    """Begin rotations while nodes die and orders get lost; then let all be well, and begin a last one anywhere."""
    farm = Farm(seed, **how)
    for _ in range(farm.random.randint(1, 4)):
        farm.begin(farm.random.choice(farm.names))
        if farm.random.random() < 0.4:
            farm.begin(farm.random.choice(farm.names))
        farm.run(
            farm.random.random() * farm.random.choice((2.0, 8.0, 40.0)), deaths=farm.random.choice((0.0, 0.02, 0.004))
        )
    for node in farm.nodes.values():
        node.up, node.coordinates = True, None
    farm.loss = 0.0
    farm.run(60.0)
    farm.is_mended = farm.are_of_one_authority()
    farm.begin(farm.random.choice(farm.names))
    farm.run(40.0)
    return farm


@pytest.mark.parametrize("first", range(0, SEEDS, 50))
def test_every_node_opens_what_the_others_seal_and_the_last_rotation_gets_through_in_histories_from(first):
    for seed in range(first, first + 50):
        farm = live_through(seed)
        assert farm.broken is None, f"seed {seed}: {farm.broken}"
        assert farm.is_mended, f"seed {seed}: the nodes have several authorities"
        assert farm.outcomes[-1], f"seed {seed}"
        assert farm.is_done(), f"seed {seed}"


def test_the_histories_have_rotations_that_get_through_and_such_that_do_not():
    outcomes = {outcome for seed in range(60) for outcome in live_through(seed).outcomes[:-1]}
    assert outcomes == {True, False}


class BeginsEarly(KeyRotation):
    """A step begins when one node is missing."""

    def answered(self, node, step, problem, *, members, now):
        missing = self.members - self._done - {node}
        if len(missing) == 1 and problem is None:
            self._done |= missing
        return super().answered(node, step, problem, members=members, now=now)


class TakesAnyAnswer(KeyRotation):
    """An answer about an earlier step counts for this one."""

    def answered(self, node, step, problem, *, members, now):
        return super().answered(node, self.step, problem, members=members, now=now)


class TakesProblemsForDone(KeyRotation):
    """A node that refuses has done the step."""

    def answered(self, node, step, problem, *, members, now):
        return super().answered(node, step, None, members=members, now=now)


def goes_back(step, rotation, holder, *, sender, members):
    """A node takes part in an earlier rotation again."""
    latest = min(holder.rotation, rotation) if holder.rotation else None
    shown = KeyHolder(rotation=latest, new=holder.new, keys=holder.keys, active=holder.active)
    return why_not_step(step, rotation, shown, sender=sender, members=members)


def uses_what_it_has_not_added(step, rotation, holder, *, sender, members):
    """A node does the later steps of a rotation whose key it has not added last."""
    if step in (RotationStep.USE, RotationStep.DROP):
        return None
    return why_not_step(step, rotation, holder, sender=sender, members=members)


def refuses_for_ever(step, rotation, holder, *, sender, members):
    """A node that has a rotation behind it takes part in no other one."""
    if holder.rotation is not None and holder.rotation != rotation:
        return "has had its rotation"
    return why_not_step(step, rotation, holder, sender=sender, members=members)


@pytest.mark.parametrize("mutant", [BeginsEarly, TakesAnyAnswer, TakesProblemsForDone])
def test_the_simulation_notices_a_coordinator_that(mutant):
    farms = [live_through(seed, machine=mutant) for seed in range(SEEDS)]
    assert any(farm.broken is not None for farm in farms)


@pytest.mark.parametrize("mutant", [goes_back, uses_what_it_has_not_added, refuses_for_ever])
def test_the_simulation_notices_a_node_that(mutant):
    farms = [live_through(seed, rule=mutant) for seed in range(SEEDS)]
    assert any(farm.broken is not None or not farm.is_done() for farm in farms)


def away_at_the_last_step(seed, **how):
    """Let nodes die when others have certified, until their coordinator has given up; then let them live again."""
    farm = Farm(seed, **how)
    coordinator = farm.random.choice(farm.names)
    farm.begin(coordinator)
    while farm.now < 60 and farm.are_of_one_authority():
        farm.run(0.1)
    behind = [node for node in farm.nodes.values() if node.authority is None and node.name != coordinator]
    for node in behind:
        node.up = False
    farm.run(60.0)
    assert not behind or farm.outcomes == [False]
    for node in behind:
        node.up = True
    farm.run(20.0)
    return farm


def test_nodes_that_were_away_at_the_last_step_take_the_authority_of_the_others_without_a_command():
    for seed in range(SEEDS):
        farm = away_at_the_last_step(seed)
        assert farm.are_of_one_authority(), f"seed {seed}"
        assert not farm.certified_early, f"seed {seed}: a node took it before all had dropped their keys"


@pytest.mark.parametrize("takes", [lambda *_: False, lambda holder, *_: holder.rotation is not None])
def test_the_simulation_notices_a_node_that_waits_for_an_order_or_does_not_wait_for_the_others(takes):
    farms = [each(seed, takes=takes) for seed in range(SEEDS) for each in (away_at_the_last_step, live_through)]
    assert any(not farm.are_of_one_authority() or farm.certified_early for farm in farms)
