"""Kinds of histories of farms that change their settings while they serve: `draw(seed)` gives a scenario."""

from random import Random

from simulation import faults
from simulation.applying.scenario import ApplyingScenario
from simulation.faults import Draft
from simulation.network import Weather
from simulation.scenario import PRESETS, QUIET, RESHAPED

PORTS = range(3)
FIRST = 4.0
"T until the farm is one."


def draw(seed, *, kind=None):
    """Draw a history; without a kind the seed chooses it."""
    if kind is None:
        (kind,) = Random(seed).choices(tuple(WEIGHTS), tuple(WEIGHTS.values()))
    random = Random(f"applying {kind} {seed}")
    # Each pulse costs time, and whatever takes seconds takes many pulses of the preset lan.
    preset = random.choice(("lan", *("wan",) * 5)) if kind != "retiming" else "wan"
    draft = Farm(random, random.choice((2, 3, 3, 3, 4, 4, 5)) if kind != "divided" else 5, preset)
    joining = (draft.size - 1,) if kind == "members" else ()
    for index in range(draft.size - len(joining)):
        draft.add(random.uniform(0, 0.02), "start", index)
    rest = KINDS[kind](draft)
    draft.add(draft.last + draft.seconds(1.0), "recover")
    slow, confirm = rest.get("slow", 0.3), rest.get("confirm", random.choice((3.0, 5.0, 10.0)))
    # Until whatever was begun is over: a proposal that waits for answers, its trial, and another try of who is behind.
    settling = draft.seconds(20.0 + confirm + 5.0 + 12.0 + 4 * slow)
    return ApplyingScenario(
        kind=kind,
        seed=seed,
        size=draft.size,
        preset=preset,
        steps=draft.steps(),
        powers=tuple(tuple(random.randint(1, 3) for _ in PORTS) for _ in range(draft.size)),
        layouts=draft.layouts,
        joining=joining,
        **{
            "until": draft.last + settling + QUIET,
            "weather": Weather(delay=0.0005, jitter=0.002),
            "drift": 200e-6,
            "delivery": random.choice(("flooded", "directed")),
            "connections": 12,
            "slow": slow,
            "confirm": confirm,
            **rest,
        },
    )


class Farm(Draft):
    """The steps of such a history as they are drawn; its times are in T, whatever is in seconds is converted."""

    def __init__(self, random, size, preset):
        super().__init__(random, size)
        self.machines, self.t = size, PRESETS[preset][1]
        self.partition = "serve"
        layouts = [(b"digest", (0, 1))]
        for digest in (b"other", b"third"):
            places = random.sample(PORTS, random.randint(1, 3))
            layouts.append((digest, tuple(places if 0 in places else [*places, 0])))
        self.layouts = tuple(layouts)
        "Port 0 has a share group in all of them: its clients see each change."

    def seconds(self, seconds):
        """Return seconds in T."""
        return seconds / self.t

    def change(self, at, index=None, *, what=None, preset=None, **how):
        """Let an operator change something: share groups, powers or what a cut farm does, and what `propose` takes."""
        random = self.random
        what = what or random.choice(("groups", "groups", "groups", "powers", "partition", "nothing"))
        edits = {} if preset is None else {"preset": preset}
        if what == "groups":
            edits["settings"] = random.choice(self.layouts)[0]
        elif what == "powers":
            edits["powers"] = tuple(tuple(random.randint(1, 3) for _ in PORTS) for _ in range(self.machines))
        elif what == "partition":
            edits["partition"] = random.choice(("serve", "majority"))
        how["edits"] = tuple(edits.items())
        self.add(at, "change", self.someone() if index is None else index, tuple(sorted(how.items())))

    def dies(self, at, index):
        """Let one die, or its daemon, or stand still, and go on some time later."""
        random = self.random
        what = random.choice(("crash", "crash", "stick"))
        length = random.random() * random.choice((0.3, 2.0, 4.0))
        if what == "stick":
            self.add(at, "stick", index, length)
            self.last = max(self.last, at + length)
        else:
            self.add(at, "crash", index, random.random() < 0.3)
            self.add(at + length, "start", index)

    def during(self, at):
        """Return a time at which a change that begins at a time may be anywhere."""
        return at + self.seconds(self.random.random() * self.random.choice((0.2, 1.0, 6.0)))


def peace(draft):
    """One change after the other, and nothing else happens: each is settled, and clients see nothing of it."""
    random, at = draft.random, FIRST
    for _ in range(random.randint(2, 4)):
        draft.add(at, "measure")
        draft.change(at)
        at += 2.0 + draft.seconds(6.0)
        draft.add(at - 0.01, "measured", RESHAPED, *range(draft.size))
    return {"steady": True, "slow": random.choice((0.0, 0.1, 0.3))}


def deaths(draft):
    """Nodes die, stand still and start again while the settings change, the coordinator most of all."""
    random, at = draft.random, FIRST
    for _ in range(random.randint(2, 5)):
        coordinator = draft.someone()
        draft.change(at, coordinator, without=random.choice(("", "", "unheard")))
        for _ in range(random.choice((1, 1, 2))):
            draft.dies(draft.during(at), coordinator if random.random() < 0.4 else draft.someone())
        at += random.random() * random.choice((0.5, 3.0)) + draft.seconds(random.choice((0.5, 6.0)))
    return {"slow": random.choice((0.1, 1.0))}


def cuts(draft):
    """Ways are cut, one way and both, and healed, while the settings change."""
    random, at = draft.random, FIRST
    for _ in range(random.randint(2, 5)):
        draft.change(at, without=random.choice(("", "", "unheard")))
        for _ in range(random.choice((1, 1, 2))):
            one, other = random.sample(range(draft.size), 2)
            begin, both = draft.during(at) - random.choice((0.0, 1.5)), random.random() < 0.6
            length = random.random() * random.choice((0.5, 3.0))
            for way in ((one, other), (other, one)) if both else ((one, other),):
                draft.add(begin, "cut", *way)
                draft.add(begin + length, "heal", *way)
        at += random.random() * random.choice((0.5, 3.0)) + draft.seconds(random.choice((0.5, 6.0)))
    return {"slow": random.choice((0.1, 1.0))}


def refusals(draft):
    """Some cannot take a revision, or cannot go back from it, or have full disks."""
    random, at = draft.random, FIRST
    for _ in range(random.randint(2, 4)):
        index, trouble = draft.someone(), random.choice(("obtain", "activate", "activate", "go back", "full"))
        if trouble == "full":
            draft.add(at, "fill_disk", index)
            draft.add(at + draft.seconds(random.uniform(1.0, 20.0)), "free_disk", index)
        else:
            for _ in range(random.choice((1, 2))):
                draft.add(at, "spoil", index, trouble)
        draft.change(at + 0.01)
        at += 1.0 + draft.seconds(random.choice((0.5, 8.0)))
    return {"slow": random.choice((0.1, 1.0))}


def members(draft):
    """Nodes are added and removed while clients go on, and some die."""
    random, at, joiner = draft.random, FIRST, draft.size - 1
    draft.size -= 1
    inside = list(range(draft.size))
    for _ in range(random.randint(1, 3)):
        coordinator = random.choice(inside)
        if joiner is not None and random.random() < 0.5:
            draft.change(at, coordinator, add=joiner)
            joiner = None
        elif len(inside) > 1:
            gone = random.choice([index for index in inside if index != coordinator])
            inside.remove(gone)
            draft.change(at, coordinator, remove=(gone,))
        if random.random() < 0.4:
            draft.dies(draft.during(at), random.choice(inside))
        at += 4.0 + draft.seconds(random.choice((2.0, 12.0)))
    draft.size += 1
    return {"slow": random.choice((0.1, 1.0))}


def away(draft):
    """One is away while the others change their settings, and starts: it follows first, then serves."""
    random, index = draft.random, draft.someone()
    others = [other for other in range(draft.size) if other != index]
    draft.add(FIRST - 1.0, "crash", index, random.random() < 0.3)
    at = FIRST + 0.5
    for _ in range(random.choice((1, 1, 2))):
        draft.change(at, random.choice(others), what="groups", without="unheard")
        at += 3.0 + draft.seconds(8.0)
    draft.add(at, "start", index)
    if random.random() < 0.4:
        draft.add(at - 0.1, "spoil", index, random.choice(("obtain", "activate")))
    if random.random() < 0.3:
        draft.dies(at + random.random(), index)
    return {"slow": random.choice((0.1, 1.0))}


def retiming(draft):
    """Pulse and lost_after change, which each daemon takes when it starts again: one after the other, and some die."""
    random, at = draft.random, FIRST
    first, then = random.choice((("wan", "lan"), ("lan", "wan"), ("lan", "wan")))
    draft.change(at, what="nothing", preset=then)
    at += 2.0 + draft.seconds(6.0)
    for index in random.sample(range(draft.size), draft.size):
        draft.add(at, "leave", index)
        draft.add(at + 0.3, "come_back", index)
        if random.random() < 0.3:
            draft.dies(draft.during(at), draft.someone())
        if random.random() < 0.3:
            draft.change(draft.during(at))
        at += 0.4 + random.random() * random.choice((0.5, 3.0))
    return {"slow": random.choice((0.1, 1.0)), "presets": (first,) * draft.size}


def divided(draft):
    """A majority is needed, two of five are removed, and the farm is cut in two meanwhile: one part serves at most."""
    random = draft.random
    coordinator, one, other = random.sample(range(draft.size), 3)
    draft.change(FIRST, coordinator, what="nothing", remove=(one, other))
    rest = [index for index in range(draft.size) if index not in (coordinator, one, other)]
    side = (coordinator, random.choice(rest))
    at = FIRST + 1.0 + draft.seconds(random.random() * 4.0)
    draft.add(at, "split", tuple(sorted(side)) if random.random() < 0.8 else (random.choice(rest),))
    draft.add(at + draft.seconds(40.0) + 4.0, "heal_all")
    return {
        "partition": "majority",
        "divided": True,
        "slow": random.choice((0.3, 2.0)),
        "confirm": random.choice((10.0, 30.0)),
    }


def storm(draft):
    """Anything, often in bursts, in bad weather."""
    random, length = draft.random, 8.0
    for _ in range(random.randint(2, 5)):
        at = random.uniform(FIRST, FIRST + length)
        coordinator = draft.someone()
        draft.change(at, coordinator, without=random.choice(("", "", "unheard")))
        if random.random() < 0.5:
            draft.dies(draft.during(at), coordinator)
    for _ in range(random.randint(1, 5)):
        draft.random.choice((faults.crash_and_restart, faults.freeze, faults.stall, faults.cut, faults.drain))(
            draft, random.uniform(2.0, FIRST + length)
        )
    draft.add(draft.last + 0.1, "calm", 0.0)
    return {
        "weather": Weather(
            loss=random.choice((0.0, 0.05, 0.2)),
            delay=random.choice((0.0005, 0.01)),
            jitter=random.choice((0.002, 0.1)),
            duplicates=random.choice((0.0, 0.2)),
        ),
        "slow": random.choice((0.1, 1.0, 5.0)),
        "has_revision": random.random() < 0.8,
    }


KINDS = {
    "peace": peace,
    "deaths": deaths,
    "cuts": cuts,
    "refusals": refusals,
    "members": members,
    "away": away,
    "retiming": retiming,
    "divided": divided,
    "storm": storm,
}
WEIGHTS = {kind: 1 if kind in ("retiming", "divided") else 2 for kind in KINDS}
"How often a seed chooses each."
