"""Kinds of histories of settings, each drawn from a seed: `draw(seed)` gives a scenario, of a kind the seed chooses."""

from random import Random

from simulation.faults import Draft
from simulation.network import Weather
from simulation.settings.scenario import QUIET, Scenario

CALM = Weather(delay=0.005, jitter=0.01)
FIRST = 8.0
"Seconds until all have heard each other."


def draw(seed, *, kind=None):
    """Draw a history; without a kind the seed chooses it."""
    if kind is None:
        (kind,) = Random(seed).choices(tuple(WEIGHTS), tuple(WEIGHTS.values()))
    random = Random(f"settings {kind} {seed}")
    size = random.choice((2, 3, 3, 3, 4, 4, 5, 6)) if kind != "crowd" else random.choice((12, 16))
    draft = Draft(random, size)
    for index in range(size):
        draft.add(random.uniform(0, 2.0), "start", index)
    rest = KINDS[kind](draft)
    return Scenario(
        kind=kind,
        seed=seed,
        size=size,
        steps=draft.steps(),
        **{"until": draft.last + QUIET, "confirm": random.choice((5.0, 10.0, 30.0)), **rest},
    )


def peace(draft):
    """One change after the other while datagrams get lost, come twice and late: each must be settled."""
    random = draft.random
    at = FIRST
    for _ in range(random.randint(1, 4)):
        _apply(draft, at, draft.someone())
        at += 25.0
    weather = Weather(
        loss=random.choice((0.0, 0.1)),
        delay=0.005,
        jitter=random.choice((0.01, 0.3)),
        duplicates=random.choice((0.0, 0.2)),
    )
    return {
        "weather": weather,
        "drift": random.choice((0.0, 0.005)),
        "has_revision": random.random() < 0.7,
        "peaceful": True,
        "steady": True,
    }


def rivals(draft):
    """Several operators apply at once on several nodes, try again, and some leave others out by name."""
    random = draft.random
    at = FIRST
    for _ in range(random.randint(1, 4)):
        for index in random.sample(range(draft.size), 2):
            without = random.choice(("", "", "", "careless"))
            _apply(draft, at + random.random() * random.choice((0.05, 1.0)), index, without=without, again=3)
        at += random.uniform(1.0, 30.0)
    return {"weather": _weather(random), "steady": True, "has_revision": random.random() < 0.8}


def refusals(draft):
    """Some cannot take a revision: their machines are not fit, their disks are full, their daemons cannot go by it."""
    random = draft.random
    at = FIRST
    for _ in range(random.randint(1, 5)):
        for _ in range(random.choice((1, 1, 2))):
            index = draft.someone()
            trouble = random.choice(("obtain", "activate", "go back", "full", "full late"))
            if trouble.startswith("full"):
                begin = at + (random.uniform(0.0, 3.0) if trouble == "full late" else -0.5)
                draft.add(begin, "fill_disk", index)
                draft.add(begin + random.uniform(1.0, 40.0), "free_disk", index)
            else:
                draft.add(at - 0.5, "spoil", index, trouble, random.choice((1, 1, 2)))
        _apply(draft, at, draft.someone(), again=2)
        at += random.uniform(2.0, 40.0)
    draft.add(draft.last + 1.0, "recover")
    return {"weather": _weather(random), "slow": random.choice((0.3, 5.0)), "steady": True}


def deaths(draft):
    """Nodes die and start again at any time, the coordinator most of all; some are away for long."""
    random = draft.random
    at = FIRST
    for _ in range(random.randint(2, 6)):
        coordinator = draft.someone()
        _apply(draft, at, coordinator, without=random.choice(("", "unheard")), again=2)
        for _ in range(random.choice((1, 1, 2, 3))):
            victim = coordinator if random.random() < 0.5 else draft.someone()
            dies = at + random.random() * random.choice((0.3, 3.0, 20.0))
            draft.add(dies, "crash", victim)
            draft.add(dies + random.random() * random.choice((1.0, 10.0, 60.0)), "start", victim)
        at += random.uniform(1.0, 40.0)
    draft.add(draft.last + 1.0, "recover")
    return {"weather": _weather(random), "slow": random.choice((0.3, 3.0)), "has_revision": random.random() < 0.8}


def cuts(draft):
    """Ways are cut, one way and both, and operators leave out whom they do not hear; some conflicts are ended."""
    random = draft.random
    at = FIRST
    for _ in range(random.randint(2, 6)):
        for _ in range(random.choice((1, 1, 2, 4))):
            one, other = random.sample(range(draft.size), 2)
            begin = at + random.uniform(-4.0, 2.0)
            draft.add(begin, "cut", one, other)
            if random.random() < 0.6:
                draft.add(begin, "cut", other, one)
        if random.random() < 0.5:
            draft.add(at - 3.0, "split", tuple(index for index in range(draft.size) if random.random() < 0.5))
        for _ in range(random.choice((1, 2))):
            _apply(draft, at, draft.someone(), without=random.choice(("", "unheard", "unheard")), again=2)
        at += random.uniform(3.0, 40.0)
        if random.random() < 0.7:
            draft.add(at - 1.0, "heal_all")
    return {"weather": _weather(random), **_end(draft)}


def conflicts(draft):
    """Two parts go different ways while they are cut off from each other, and operators take one, or both."""
    random = draft.random
    at = FIRST
    for _ in range(random.randint(1, 3)):
        side = set(random.sample(range(draft.size), random.randint(1, draft.size - 1)))
        draft.add(at, "split", tuple(sorted(side)))
        for part in (side, set(range(draft.size)) - side):
            for number in range(random.choice((0, 1, 1, 2))):
                _apply(draft, at + 5.0 + 12 * number, random.choice(sorted(part)), without="unheard", again=1)
        at += random.uniform(30.0, 50.0)
        draft.add(at, "heal_all")
        for _ in range(random.choice((0, 1, 2))):
            at += random.uniform(6.0, 12.0)
            _apply(draft, at, draft.someone(), take=True, again=2)
        at += random.uniform(0.0, 30.0)
    return {"weather": _weather(random), "slow": random.choice((0.3, 2.0))}


def own_file(draft):
    """Nodes are started by the files on their disks, alone or together, amid changes, and operators take one side."""
    random = draft.random
    at = FIRST
    for _ in range(random.randint(1, 3)):
        if random.random() < 0.7:
            _apply(draft, at, draft.someone(), without=random.choice(("", "unheard")), again=1)
        begin = at + random.random() * random.choice((0.3, 3.0, 20.0))
        file = random.choice("ab")
        for index in random.sample(range(draft.size), random.choice((1, 1, 1, 2, draft.size))):
            draft.add(begin, "crash", index)
            draft.add(begin + random.choice((0.0, random.uniform(0.0, 10.0))), "take_file", index, file)
            # Where it has no revision, or no room, it starts as always.
            draft.add(begin + 10.0, "start", index)
        at = draft.last + random.uniform(1.0, 20.0)
        _apply(draft, at, draft.someone(), again=1)
        for _ in range(random.choice((0, 1, 2))):
            at += random.uniform(6.0, 12.0)
            _apply(draft, at, draft.someone(), take=True, again=2)
        at += random.uniform(6.0, 30.0)
    draft.add(draft.last + 1.0, "recover")
    return {"weather": _weather(random), "slow": random.choice((0.3, 2.0)), "has_revision": random.random() < 0.9}


def sleepers(draft):
    """Nodes stand still for seconds or minutes at any time, or whole virtual machines are paused."""
    random = draft.random
    at = FIRST
    for _ in range(random.randint(2, 5)):
        coordinator = draft.someone()
        _apply(draft, at, coordinator, without=random.choice(("", "unheard")), again=2)
        for _ in range(random.choice((1, 1, 2))):
            victim = coordinator if random.random() < 0.4 else draft.someone()
            begin = at + random.random() * random.choice((0.3, 3.0, 20.0))
            length = random.random() * random.choice((3.0, 30.0, 300.0))
            draft.add(begin, random.choice(("freeze", "freeze", "pause")), victim, length)
            draft.last = max(draft.last, begin + length)
        if random.random() < 0.3:
            # It sleeps for longer than promises hold, after some have answered.
            begin, length = at + random.uniform(0.05, 1.5), random.uniform(61.0, 100.0)
            draft.add(begin, "freeze", coordinator, length)
            draft.last = max(draft.last, begin + length)
        at += random.uniform(1.0, 40.0)
    return {
        "weather": _weather(random),
        "slow": random.choice((0.3, 3.0)),
        "forgives_sleep": random.random() < 0.5,
        "steady": True,
    }


def newcomers(draft):
    """Nodes are added and removed, by themselves and by others, while some die."""
    random = draft.random
    spare = random.randint(0, draft.size - 2)
    at = FIRST
    for _ in range(random.randint(1, 5)):
        old = draft.size - spare
        how = {"add": random.randrange(draft.size)} if random.random() < 0.4 else {"remove": (random.randrange(old),)}
        index = random.randrange(old)
        _apply(draft, at, index, without=random.choice(("", "", "unheard")), again=2, **how)
        if random.random() < 0.4:
            victim = random.choice((index, draft.someone()))
            dies = at + random.random() * random.choice((0.3, 1.0, 3.0))
            draft.add(dies, "crash", victim)
            draft.add(dies + random.uniform(0.5, 20.0), "start", victim)
        at += random.uniform(3.0, 40.0)
    return {
        "weather": _weather(random),
        "spare": spare,
        "slow": random.choice((0.3, 2.0)),
        "drain": random.choice((0.0, 3.0, 60.0)),
    }


def leavers(draft):
    """Living nodes are removed while they, their coordinators or others die, sleep or are cut off; some come back."""
    random = draft.random
    at = FIRST
    for _ in range(random.randint(1, 3)):
        index, leaver = random.sample(range(draft.size), 2)
        _apply(draft, at, index, remove=(leaver,), without=random.choice(("", "", "", "unheard")), again=2)
        for _ in range(random.choice((0, 1, 1, 2))):
            victim = random.choice((index, leaver, leaver, draft.someone()))
            _strike(draft, at + random.random() * random.choice((0.3, 3.0, 20.0)), victim)
        if random.random() < 0.3:
            # It is away while it is removed, or is cut off from all others by then.
            away = at - random.uniform(0.0, 4.0)
            if random.random() < 0.5:
                draft.add(away, "crash", leaver)
                draft.add(away + random.uniform(1.0, 60.0), "start", leaver)
            else:
                draft.add(away, "split", (leaver,))
                draft.add(away + random.uniform(1.0, 60.0), "heal_all")
        if random.random() < 0.4:
            at = draft.last + random.uniform(1.0, 20.0)
            _apply(draft, at, index, add=leaver, without=random.choice(("", "unheard")), again=1)
            draft.add(at + random.uniform(0.0, 20.0), "start", leaver)
        at = draft.last + random.uniform(1.0, 30.0)
    draft.add(draft.last + 1.0, "recover")
    return {
        "weather": _weather(random),
        "slow": random.choice((0.3, 2.0)),
        "drain": random.choice((0.0, 3.0, 60.0)),
        "until": draft.last + QUIET + 90.0,
    }


def alone(draft):
    """One that was away starts, takes what the others have with trouble, and the others leave it alone."""
    random, away = draft.random, draft.someone()
    others = [index for index in range(draft.size) if index != away]
    draft.add(3.0, "crash", away)
    _apply(draft, FIRST, random.choice(others), without="unheard", again=1)
    if random.random() < 0.5:
        draft.add(random.choice((20.0, random.uniform(24.5, 27.0), random.uniform(24.5, 27.0))), "fill_disk", away)
    if random.random() < 0.3:
        draft.add(20.0, "spoil", away, random.choice(("obtain", "activate")), random.choice((1, 2, 10)))
    draft.add(24.0, "start", away)
    if random.random() < 0.4:
        draft.add(24.0 + random.random(), "freeze", away, random.uniform(2.0, 20.0))
    if random.random() < 0.3:
        draft.add(25.0 + random.uniform(0.0, 20.0), "free_disk", away)
    end = 24.0 + random.random() * random.choice((3.0, 10.0, 40.0))
    for index in others:
        draft.add(end, *random.choice((("crash", index), ("crash", index), ("freeze", index, 1000.0))))
    return {"weather": _weather(random), "slow": random.choice((0.3, 4.0, 4.0))}


def storm(draft):
    """Anything, often in bursts, in any weather; at the end all is well, or the farm is cut in two."""
    random = draft.random
    length = random.choice((30.0, 90.0))
    for _ in range(random.randint(3, 8)):
        at = random.uniform(4.0, length)
        how = {}
        if random.random() < 0.3:
            what, whom = random.choice(("remove", "add")), draft.someone()
            how = {what: (whom,) if what == "remove" else whom}
        without = random.choice(("", "", "unheard", "unheard", "careless"))
        coordinator = draft.someone()
        take = random.random() < 0.3
        _apply(draft, at, coordinator, without=without, again=random.choice((0, 1, 3)), take=take, **how)
        for _ in range(random.choice((0, 1, 2))):
            _strike(draft, at + random.random() * random.choice((0.2, 2.0, 20.0)), coordinator)
    for _ in range(random.randint(0, 6)):
        _strike(draft, random.uniform(2.0, length), draft.someone())
    return {
        "weather": _weather(random),
        "slow": random.choice((0.3, 3.0, 20.0)),
        "drift": random.choice((0.0, 0.005)),
        "has_revision": random.random() < 0.8,
        "forgives_sleep": random.random() < 0.5,
        "drain": random.choice((0.0, 3.0, 60.0)),
        **_end(draft),
    }


def crowd(draft):
    """A large farm that changes its settings, while two things happen: short, for each pulse is 240 datagrams."""
    random = draft.random
    _apply(draft, FIRST, draft.someone(), again=2)
    for _ in range(2):
        _strike(draft, FIRST + random.random() * random.choice((0.3, 3.0)), draft.someone())
    _apply(draft, FIRST + 15.0, draft.someone(), without="unheard", again=2)
    draft.add(draft.last + 1.0, "recover")
    return {"weather": Weather(delay=0.005, jitter=0.05), "confirm": 5.0, "until": draft.last + 100.0}


def _strike(draft, at, index):
    random = draft.random
    what = random.choice(("crash", "crash", "freeze", "pause", "cut", "cut", "full", "spoil"))
    if what == "crash":
        draft.add(at, "crash", index)
        draft.add(at + random.random() * random.choice((0.5, 5.0, 60.0)), "start", index)
    elif what in ("freeze", "pause"):
        length = random.random() * random.choice((3.0, 30.0, 200.0))
        draft.add(at, what, index, length)
        draft.last = max(draft.last, at + length)
    elif what == "cut":
        other = random.choice([number for number in range(draft.size) if number != index])
        both = random.random() < 0.5
        length = random.random() * random.choice((3.0, 60.0))
        for way in ((index, other), (other, index)) if both else ((index, other),):
            draft.add(at, "cut", *way)
            draft.add(at + length, "heal", *way)
    elif what == "full":
        draft.add(at, "fill_disk", index)
        draft.add(at + random.random() * random.choice((3.0, 60.0)), "free_disk", index)
    else:
        draft.add(at, "spoil", index, random.choice(("obtain", "activate", "go back")), 1)


def _apply(draft, at, index, **how):
    draft.add(at, "apply", index, tuple(sorted(how.items())))
    draft.last = max(draft.last, at + 8.0 * how.get("again", 0))


def _weather(random):
    return Weather(
        loss=random.choice((0.0, 0.0, 0.1, 0.2)),
        delay=0.005,
        jitter=random.choice((0.01, 0.3)),
        duplicates=random.choice((0.0, 0.2)),
        echoes=random.choice((0.0, 0.1)),
    )


def _end(draft):
    random = draft.random
    draft.add(draft.last + 1.0, "recover")
    if random.random() < 0.2:
        draft.add(draft.last + 0.1, "split", tuple(index for index in range(draft.size) if random.random() < 0.5))
    return {}


KINDS = {
    "peace": peace,
    "rivals": rivals,
    "refusals": refusals,
    "deaths": deaths,
    "cuts": cuts,
    "conflicts": conflicts,
    "own_file": own_file,
    "sleepers": sleepers,
    "newcomers": newcomers,
    "leavers": leavers,
    "alone": alone,
    "storm": storm,
    "crowd": crowd,
}
WEIGHTS = {kind: {"storm": 6, "crowd": 0}.get(kind, 2) for kind in KINDS}
