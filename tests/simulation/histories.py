"""Kinds of histories, each drawn from a seed: `draw(seed)` gives a scenario, of a kind that the seed chooses.

Most are storms of small farms; others look for one thing, such as planned moves or long tangles of who hears whom.
"""

import itertools
from random import Random

from simulation import faults
from simulation.faults import Draft
from simulation.network import Weather
from simulation.scenario import (
    ARRIVAL,
    DEATH,
    DEATH_SEEN_BY_A_SLEEPER,
    LAST_TO_LET_GO,
    LOSSY_FAREWELL,
    LOST_WORDS,
    NO_MOVE,
    PLANNED,
    PRESETS,
    QUIET,
    RESHAPED,
    RESTART,
    Scenario,
)

DRIFT = 200e-6
LOSSLESS = 3.0
"For how long before the end nothing gets lost, in T."


def draw(seed, *, kind=None, preset=None):
    """Draw a history; without a kind the seed chooses it."""
    if kind is None:
        (kind,) = Random(seed).choices(tuple(WEIGHTS), tuple(WEIGHTS.values()))
    random = Random(f"{kind} {seed}")
    chosen = random.choice(tuple(PRESETS))
    draft = Draft(random, _SIZES[kind](random))
    rest = {"powers": ((1,),) * draft.size, "weather": Weather(delay=0.001, jitter=0.002), **KINDS[kind](draft)}
    rest.setdefault("until", draft.last + QUIET)
    if rest["weather"].loss:
        # The end is judged at one moment, and while datagrams get lost a lease may have run out just then.
        draft.add(max(draft.last, rest["until"] - LOSSLESS), "calm", 0.0)
    return Scenario(
        kind=kind,
        seed=seed,
        size=draft.size,
        steps=draft.steps(),
        **{"preset": preset or chosen, **rest},
    )


def storm(draft):
    """Anything, often in bursts, in any weather; at the end the farm is whole, split, torn, or as it happens to be."""
    random = draft.random
    draft.start_all(at_once=random.random() < 0.5)
    weather = _any_weather(random)
    small = draft.size <= 5
    length, most = (14.0, 14) if small else (6.0, 8)
    for _ in range(random.randint(most // 3, most)):
        at = random.uniform(0.5, length)
        draft.strike(at)
        while random.random() < 0.25:
            # The second comes within a few pulses of the first.
            at += random.expovariate(10)
            draft.strike(at)
    end = max(length, draft.last) + 0.1
    if random.random() < 0.9:
        draft.add(end, "heal_all")
        at_last = random.random()
        if at_last < 0.25:
            draft.add(end, "split", tuple(index for index in range(draft.size) if random.random() < 0.5))
        elif at_last < 0.4:
            draft.add(end, "cut", *random.sample(range(draft.size), 2))
    draft.add(end, "calm", random.choice((0.0, min(weather.loss, 0.08))))
    return {
        "weather": weather,
        "powers": _any_powers(random, draft.size),
        "drift": random.choice((0.0, DRIFT)),
        "lateness": random.choice((0.0, 0.05, 0.4, 1.0)),
        "partition": random.choice(("serve",) * 6 + ("majority",)),
        "delivery": random.choice(("flooded", "directed")),
        "connections": random.choice((0, 0, 8)),
        "strays": 0.05,
    }


def planned(draft):
    """Planned moves, one at a time, without loss: buckets change hands within a few delays, connections live on."""
    random = draft.random
    draft.start_all()
    at, out = 4.0, set()
    for _ in range(random.randint(2, 5)):
        index = draft.someone()
        draft.add(at, "measure")
        limit = PLANNED
        if index in out:
            draft.add(at, "come_back", index)
            out.discard(index)
        elif random.random() < 0.5 or len(out) == draft.size - 1:
            draft.add(at, "set_powers", index, (random.randint(1, 5), random.randint(1, 3)))
        else:
            going = random.choice(("drain", "leave"))
            draft.add(at, going, index)
            out.add(index)
            limit = LAST_TO_LET_GO if going == "drain" else PLANNED
        at += 4.0
        draft.add(at - 0.01, "measured", limit, index)
    delay = random.choice((0.002, 0.02))
    return {
        "until": at + 4.0,
        "weather": Weather(delay=delay / 10, jitter=delay),
        "powers": tuple((random.randint(1, 3), 1) for _ in range(draft.size)),
        "drift": DRIFT,
        "delivery": random.choice(("flooded", "directed")),
        "connections": 16,
        "peaceful": True,
    }


def death(draft):
    """One dies: the others' own buckets are never interrupted, and its own are taken over in time."""
    random, victim = draft.random, draft.someone()
    draft.start_all()
    draft.add(4.0, "measure")
    draft.add(4.0, "crash", victim, random.random() < 0.5)
    draft.add(7.0, "measured", DEATH, victim)
    draft.add(7.0 + random.random(), "start", victim)
    return {
        "weather": Weather(delay=0.001, jitter=0.01),
        "powers": tuple((random.randint(1, 3),) for _ in range(draft.size)),
        "drift": DRIFT,
        "delivery": random.choice(("flooded", "directed")),
        "connections": 16,
    }


def restart(draft):
    """A daemon is killed and soon started again: its first word hands its buckets over, no lease is waited for."""
    random = draft.random
    draft.start_all()
    at = 4.0
    for _ in range(random.randint(2, 4)):
        index = draft.someone()
        draft.add(at, "crash", index, False)  # noqa: FBT003 - an argument of the step
        # While its filter is open: until then nobody misses it.
        at += random.uniform(0.02, 0.8)
        draft.add(at, "measure")
        draft.add(at, "start", index)
        draft.add(at + 0.9, "measured", RESTART, index)
        at += 5.0
    delay = random.choice((0.002, 0.02))
    return {
        "weather": Weather(delay=delay / 10, jitter=delay),
        "powers": tuple((random.randint(1, 3),) for _ in range(draft.size)),
        "drift": DRIFT,
        "delivery": random.choice(("flooded", "directed")),
        "connections": 8,
    }


def flicker(draft):
    """Powers change back and forth within the delay of a heartbeat (ABA), and so does who wants a share."""
    random = draft.random
    draft.start_all()
    at = 3.0
    for _ in range(random.randint(3, 6)):
        index, drains = draft.someone(), random.random() < 0.3
        for number in range(random.choice((2, 3, 4, 6))):
            if drains:
                draft.add(at, "come_back" if number % 2 else "drain", index)
            else:
                draft.add(at, "set_powers", index, ((1,), (4,))[number % 2])
            at += draft.sometime(0.01, 0.1, 0.3)
        draft.add(at, "come_back", index)
        at += random.uniform(0.2, 1.5)
    return {"weather": Weather(delay=0.005, jitter=random.choice((0.1, 0.29)), loss=random.choice((0.0, 0.1)))}


def tangle(draft):
    """Who hears whom changes for a long time, while members come and go."""
    random = draft.random
    draft.start_all()
    at = 2.5
    for _ in range(random.randint(3, 8)):
        for _ in range(random.choice((1, 1, 2, 3))):
            one, other = random.sample(range(draft.size), 2)
            draft.add(at, "cut", one, other)
            if random.random() < 0.8:
                draft.add(at + random.uniform(0.5, 6.0), "heal", one, other)
        at += random.uniform(0.1, 2.0)
        random.choice((faults.drain, faults.change_power, faults.crash_and_restart, faults.leave))(draft, at)
        at += random.uniform(0.1, 2.0)
    if random.random() < 0.5:
        draft.add(draft.last + 0.1, "heal_all")
    return {"weather": Weather(delay=0.005, jitter=random.choice((0.01, 0.2)), loss=random.choice((0.0, 0.1)))}


def patchwork(draft):
    """Who hears whom is any graph, and stays so long enough to agree; the last one stays for good."""
    random = draft.random
    draft.start_all()
    at = 3.0
    for _ in range(random.randint(1, 4)):
        draft.add(at, "heal_all")
        density, one_way = random.choice((0.4, 0.6, 0.8)), random.random() < 0.5
        for one, other in itertools.combinations(range(draft.size), 2):
            if random.random() > density:
                kept = random.choice((None, one, other)) if one_way else None
                for way in ((one, other), (other, one)):
                    if way[0] != kept:
                        draft.add(at, "cut", *way)
        at += random.uniform(2.0, 6.0)
    return {"weather": Weather(delay=0.002, jitter=random.choice((0.01, 0.2)), loss=random.choice((0.0, 0.1)))}


def one_way(draft):
    """Any two hear each other one way only, or not at all; perhaps one node reaches all others both ways."""
    random = draft.random
    draft.start_all()
    at = 3.0
    for _ in range(random.randint(3, 6)):
        draft.add(at, "heal_all")
        center = random.choice((None, draft.someone()))
        for one, other in itertools.combinations([node for node in range(draft.size) if node != center], 2):
            kept = random.choice((one, other, one, other, None))
            for way in ((one, other), (other, one)):
                if way[0] != kept:
                    draft.add(at, "cut", *way)
        at += random.uniform(2.0, 4.0)
    return {"weather": Weather(delay=0.002, jitter=random.choice((0.01, 0.2)), loss=random.choice((0.0, 0.1)))}


def echo(draft):
    """Every third datagram comes again, up to 3 T later, while members come, go and change."""
    random = draft.random
    draft.start_all()
    at = 3.0
    for _ in range(random.randint(3, 8)):
        random.choice((faults.drain, faults.change_power, faults.crash_and_restart, faults.leave))(draft, at)
        at += random.uniform(0.1, 2.0)
    draft.add(draft.last + 0.1, "calm", 0.0)
    return {"weather": Weather(delay=0.002, jitter=random.choice((0.01, 0.2)), echoes=0.3), "drift": DRIFT}


def rollout(draft):
    """A new farm file reaches one after the other, some never, some forth and back, while members come and go."""
    random = draft.random
    draft.start_all()
    at = 3.0
    for _ in range(random.randint(2, 5)):
        for index in random.sample(range(draft.size), random.randint(1, draft.size)):
            draft.add(at, "set_settings", index, random.choice((b"digest", b"other")))
            at += draft.sometime(0.05, 0.5, 2.0)
        if random.random() < 0.5:
            random.choice((faults.drain, faults.leave, faults.change_power))(draft, at)
    return {"weather": Weather(delay=0.001, jitter=random.choice((0.002, 0.2))), "connections": 8}


def reshaping(draft):
    """Share groups come, go and change their places, and nodes join and leave, node after node, while clients go on."""
    random = draft.random
    ports = range(3)
    layouts = [(b"digest", (0, 1))]
    for digest in (b"other", b"third"):
        places = random.sample(ports, random.randint(1, 3))
        layouts.append((digest, tuple(places if 0 in places else [*places, 0])))
    joiner = draft.size - 1
    peaceful = random.random() < 0.7
    members = {index for index in range(draft.size) if index != joiner}
    for index in sorted(members):
        draft.add(random.uniform(0, 0.02), "start", index)
    at = 4.0
    for _ in range(random.randint(2, 5)):
        going = members - {index for index in members if not peaceful and random.random() < 0.2}
        movers, spread = tuple(range(draft.size)), random.choice((0.0, 0.02, 0.5))
        begins = at + 0.2
        if random.random() < 0.6:
            digest = random.choice(layouts)[0]
            for index in sorted(going):
                draft.add(begins + spread * random.random(), "set_settings", index, digest)
        else:
            out = joiner in members
            if not peaceful:
                at += 3.0  # whatever has befallen them, all have taken the last change of the nodes
                begins = at + 0.2
            members ^= {joiner}
            if out:
                draft.add(at, "leave", joiner)
            for index in sorted(members - {joiner}):
                draft.add(begins + spread * random.random(), "set_names", index, tuple(sorted(members)))
            if not out:
                draft.add(begins, "set_names", joiner, tuple(sorted(members)))
                # Who starts before all others know it serves alone.
                draft.add(begins + (spread if peaceful else 2.0), "start", joiner)
        if peaceful:
            draft.add(begins, "measure")
        if not peaceful:
            draft.size -= 1  # not to the one that may be in no farm file
            random.choice((faults.drain, faults.change_power, faults.stall, faults.cut))(draft, at + 0.05)
            draft.size += 1
            at += draft.sometime(0.1, 1.0, 3.0)
        else:
            at += 4.0
            draft.add(at - 0.01, "measured", RESHAPED, *movers)
    end = max(draft.last, at) + 0.1
    draft.add(end, "heal_all")
    digest = random.choice(layouts)[0]
    for index in range(draft.size):
        draft.add(end + random.choice((0.0, 0.01, 0.5)) * random.random(), "set_settings", index, digest)
    delay = random.choice((0.002, 0.02))
    return {
        "weather": Weather(delay=delay / 10, jitter=delay),
        "powers": tuple(tuple(random.randint(1, 3) for _ in ports) for _ in range(draft.size)),
        "drift": DRIFT,
        "layouts": tuple(layouts),
        "joining": (joiner,),
        "delivery": random.choice(("flooded", "directed")),
        "connections": 16,
    }


def retiming(draft):
    """Presets differ, and are rolled out node by node, while the latest ones die, stand still or are changed."""
    random = draft.random
    slow, quick = random.choice((("wan", "lan"), ("wan", "fast"), ("lan", "fast"), ("lan", "fast")))
    presets = [random.choice((slow, slow, quick)) for _ in range(draft.size)]
    draft.start_all()
    at = 2.5
    for index in random.sample(range(draft.size), draft.size):
        draft.add(at, "set_preset", index, random.choice((slow, quick, quick)))
        draft.add(at, *random.choice((("leave", index), ("crash", index, False))))
        at += draft.sometime(0.05, 0.3)
        draft.add(at, "come_back", index)
        if random.random() < 0.7:
            victim, soon = draft.someone(), at + random.uniform(-0.02, 0.2)
            what = random.choice(("crash", "stick", "drain"))
            draft.add(soon, what, victim, *{"crash": (False,), "stick": (random.uniform(0.3, 1.6),), "drain": ()}[what])
            draft.add(soon + random.uniform(0.1, 2.5), "come_back", victim)
        at += random.choice((0.1, 0.5, 2.0)) * random.random()
    return {
        "preset": slow,
        "presets": tuple(presets),
        # In units of the slowest T: a network that is good enough for the quickest preset.
        "weather": Weather(
            delay=0.0005,
            jitter=random.choice((0.0002, 0.001) if slow == "wan" else (0.001, 0.01)),
            loss=random.choice((0.0, 0.0, 0.05)),
        ),
        "drift": DRIFT,
    }


def replay(draft):
    """Somebody without the key records, holds back, reorders and repeats what nodes say, until the end of time."""
    random = draft.random
    draft.start_all()
    at = 3.0
    for _ in range(random.randint(1, 4)):
        one, other = random.sample(range(draft.size), 2)
        if random.random() < 0.4:
            draft.add(at, "hold", one, other)
            if random.random() < 0.5:
                draft.add(at, "hold", other, one)
                draft.add(at + 3.0, "let_go", other, one, random.choice((0.0, 0.3)))
            draft.add(at + random.choice((0.3, 1.5, 3.0)), "let_go", one, other, random.choice((0.0, 0.05, 0.4)))
        at += draft.sometime(0.1, 0.5)
        victim = draft.someone()
        draft.add(at, *random.choice((("crash", victim, False), ("leave", victim), ("drain", victim))))
        draft.add(at + draft.sometime(0.1, 0.5), "crash", other, False)  # noqa: FBT003 - an argument of the step
        draft.add(at + random.uniform(0.5, 2.0), "come_back", other)
        for _ in range(random.randint(1, 4)):
            played = random.choice((victim, victim, draft.someone()))
            hears = random.choice((other, other, draft.someone()))
            every = random.choice((0.01, 0.1, 0.6))
            draft.add(at + random.uniform(0.0, 4.0), "play", played, hears, (every, random.choice((5, 40, 200))))
        at += random.uniform(0.5, 4.0)
    if random.random() < 0.4:
        # Dead for good, and its last words arrive one by one until the end.
        one, other = random.sample(range(draft.size), 2)
        draft.add(at, "hold", one, other)
        draft.add(at + 2.0, "crash", one, False)  # noqa: FBT003 - an argument of the step
        draft.add(at + 2.0 + draft.sometime(0.1, 1.0), "let_go", one, other, 0.6)
    for _ in range(3):
        end = draft.last + 0.1
        draft.add(end, "play", draft.someone(), draft.someone(), (0.6, 40))
    return {
        "weather": Weather(delay=0.001, jitter=random.choice((0.002, 0.1)), loss=random.choice((0.0, 0.0, 0.1))),
        "recorded": True,
    }


def rebirth(draft):
    """Virtual machines are paused, and resumed from snapshots; disks are lost while clocks are behind."""
    random = draft.random
    draft.start_all()
    at = 3.0
    for _ in range(random.randint(2, 5)):
        index = draft.someone()
        what = random.random()
        if what < 0.35:
            draft.add(at, "pause", index, random.choice((0.3, 1.2, 3.0)) * random.uniform(0.8, 1.2))
        elif what < 0.7:
            draft.add(at, "snapshot", index)
            for _ in range(random.choice((1, 1, 2))):
                at += random.choice((0.2, 1.0, 3.0)) * random.random()
                random.choice((faults.change_power, faults.drain, faults.stall, faults.cut))(draft, at)
                draft.add(at + draft.sometime(0.5, 2.0), "rewind", index)
        else:
            draft.add(at, "crash", index, random.random() < 0.5)
            draft.add(at, "lose_state", index)
            draft.add(at + draft.sometime(0.05, 0.5, 2.0), "start", index)
        at += random.uniform(0.2, 4.0)
    draft.add(draft.last + 3.0, "heal_all")
    return {
        "weather": Weather(delay=0.001, jitter=random.choice((0.002, 0.1)), loss=random.choice((0.0, 0.0, 0.1))),
        "drift": DRIFT,
    }


def deluge(draft):
    """So much is lost that living members are buried; when it is over all must find together again."""
    random = draft.random
    draft.start_all()
    draft.add(3.0, "deluge", random.uniform(0.5, 0.75))
    for _ in range(random.randint(0, 4)):
        random.choice((faults.stall, faults.change_power, faults.drain))(draft, random.uniform(3.0, 14.0))
    draft.add(max(draft.last, 15.0), "calm", 0.0)
    return {"weather": Weather(delay=0.001, jitter=random.choice((0.002, 0.1, 0.29))), "drift": DRIFT}


def doze(draft):
    """Daemons stand still for about T, and then their first word takes its time."""
    random = draft.random
    draft.start_all()
    at = 3.0
    for _ in range(random.randint(3, 7)):
        length = random.choice((0.7, 0.95, 1.0, 1.9)) * random.uniform(0.9, 1.1)
        draft.add(at, "stick", draft.someone(), length)
        at += random.uniform(0.3, 4.0)
    return {
        "until": at + QUIET,
        "weather": Weather(delay=0.001, jitter=random.choice((0.1, 0.29)), loss=random.choice((0.0, 0.2))),
        "drift": DRIFT,
        "connections": random.choice((0, 8)),
    }


def bad_luck(draft):
    """All that one says is lost for about T, to one or to all, and others hear of it late; yet the link is there."""
    random = draft.random
    draft.start_all()
    at = 3.0
    for _ in range(random.randint(2, 5)):
        index, end = draft.someone(), at + random.uniform(0.9, 1.6)
        others = [other for other in range(draft.size) if other != index]
        for other in others if random.random() < 0.5 else random.sample(others, 1):
            draft.add(at, "swallow", index, other)
            draft.add(end, "heal", index, other)
        at = end + random.uniform(1.0, 5.0)
    return {"weather": Weather(delay=0.001, jitter=random.choice((0.002, 0.1, 0.29))), "drift": DRIFT}


def awakening(draft):
    """Some start while all that they say, or all that is said to them, is lost for up to two T; the links are there."""
    random = draft.random
    late = random.sample(range(draft.size), random.randint(1, draft.size))
    for index in range(draft.size):
        if index not in late:
            draft.add(random.uniform(0, 0.02), "start", index)
    at = 3.5
    for index in late:
        heard = at + random.uniform(1.1, 1.85)
        ways = [(index, other) for other in range(draft.size) if other != index]
        if len(late) == draft.size or random.random() < 0.5:
            ways += [way[::-1] for way in ways]
        for way in ways:
            draft.add(at - 0.01, "swallow", *way)
            draft.add(heard, "heal", *way)
        draft.add(at + random.uniform(0, 0.05), "start", index)
    return {"weather": Weather(delay=0.001, jitter=random.choice((0.002, 0.02))), "drift": DRIFT}


def misfortune(draft):
    """One stands still or dies just after its last beats were lost, while another has just started."""
    random = draft.random
    victim, joiner = random.sample(range(draft.size), 2)
    for index in range(draft.size):
        if index != joiner:
            draft.add(random.uniform(0, 0.02), "start", index)
    joins = 3.5
    draft.add(joins, "start", joiner)
    at = joins + random.choice((random.uniform(0.02, 0.3), random.uniform(0.7, 1.3), 4.0))
    # With the beat before it, less than three pulses: for so long the lease counts who was heard.
    silent = at - random.uniform(0.1, 0.18)
    both = random.random() < 0.7
    for other in range(draft.size):
        if other != victim:
            draft.add(silent, "swallow", victim, other)
            draft.add(at + 0.01, "heal", victim, other)
            if both:
                draft.add(silent, "swallow", other, victim)
                draft.add(at + 0.01, "heal", other, victim)
    if random.random() < 0.5:
        draft.add(at, "crash", victim, False)  # noqa: FBT003 - an argument of the step
        draft.add(at + 4.0, "start", victim)
    else:
        draft.add(at, "stick", victim, random.uniform(1.5, 3.0))
    return {"weather": Weather(delay=0.0005, jitter=0.001), "drift": random.choice((0.0, DRIFT, 0.01))}


def farewell(draft):
    """Members leave, one at a time, while every seventh datagram is lost."""
    draft.start_all()
    for number, index in enumerate(draft.random.sample(range(draft.size), draft.size)):
        at = 4.0 + 6.0 * number
        draft.add(at, "measure")
        draft.add(at, "leave", index)
        draft.add(at + 2.0, "measured", LOSSY_FAREWELL, index)
        draft.add(at + 2.1, "come_back", index)
    return {"weather": Weather(loss=0.15, delay=0.001, jitter=0.002)}


def struggle(draft):
    """One dies while another stands still for almost half of the time."""
    sleeper, victim = draft.random.sample(range(draft.size), 2)
    draft.start_all()
    for number in range(16):
        draft.add(3.0 + 0.9 * number + draft.random.uniform(0, 0.05), "stick", sleeper, 0.42)
    draft.add(5.0, "measure")
    draft.add(5.0, "crash", victim, True)  # noqa: FBT003 - an argument of the step
    draft.add(15.0, "measured", DEATH_SEEN_BY_A_SLEEPER, victim)
    return {"until": 18.0 + QUIET}


def crowd(draft):
    """A farm of 64 starts at once, two things happen, and peace: short, since each T is 40,000 datagrams."""
    random = draft.random
    draft.start_all()
    happen = {
        "crash": (draft.someone(), False),
        "drain": (draft.someone(),),
        "leave": (draft.someone(),),
        "set_powers": (draft.someone(), (3,)),
        "stick": (draft.someone(), 1.2),
        "split": (tuple(random.sample(range(draft.size), 20)),),
    }
    for what in random.sample(sorted(happen), 2):
        draft.add(random.uniform(1.5, 2.0), what, *happen[what])
    weather = Weather(loss=random.choice((0.0, 0.02)), delay=0.001, jitter=random.choice((0.004, 0.05)))
    return {"until": 5.0, "weather": weather, "drift": DRIFT}


def labour(draft):
    """On busy machines closing, sending and looking take their time, and hold up what else the daemon does.

    At the most as long as that they can still say what they have to: a fifth of a pulse for a heartbeat.
    """
    random = draft.random
    draft.start_all(at_once=random.random() < 0.5)
    for _ in range(random.randint(4, 10)):
        at = random.uniform(2.5, 12.0)
        draft.strike(at)
        draft.add(at + draft.sometime(0.02, 0.2), "set_powers", draft.someone(), (random.randint(1, 5), 1))
    end = max(draft.last, 12.0) + 0.1
    draft.add(end, "heal_all")
    draft.add(end, "calm", 0.0)
    return {
        "weather": Weather(delay=0.001, jitter=random.choice((0.002, 0.05)), loss=random.choice((0.0, 0.0, 0.1))),
        "powers": _any_powers(random, draft.size),
        "drift": DRIFT,
        "labour": random.choice((0.01, 0.05, 0.1)),
        "delivery": random.choice(("flooded", "directed")),
        "connections": 8,
    }


def double(draft):
    """A copied machine runs under the name of another, hears what that one hears, and one of the two may end again."""
    random = draft.random
    draft.start_all()
    doubled, copy = draft.someone(), draft.size
    at = draft.last + 3.0
    if random.random() < 0.6:
        draft.add(at, "copy_state", doubled, copy)
    draft.add(at + draft.sometime(0.1, 1.0), "start", copy)
    for _ in range(random.randint(0, 4)):
        at = draft.last + random.uniform(0.1, 3.0)
        index = random.choice((doubled, copy, draft.someone()))
        what = random.choice(("crash", "stick", "cut", "drain", "power"))
        if what == "crash":
            draft.add(at, "crash", index, False)  # noqa: FBT003 - an argument of the step
            draft.add(at + draft.sometime(0.1, 2.0), "start", index)
        elif what == "stick":
            draft.add(at, "stick", index, random.uniform(0.2, 1.6))
        elif what == "cut":
            other = random.choice([other for other in range(draft.size) if other not in (index, doubled)])
            draft.add(at, "cut", *random.choice(((index, other), (other, index))))
        elif what == "drain":
            faults.drain(draft, at)
        else:
            faults.change_power(draft, at)
    draft.add(draft.last + 1.7, "heal_all")
    if random.random() < 0.3:
        draft.add(draft.last + 3.0, "crash", random.choice((doubled, copy)), False)  # noqa: FBT003 - as above
    return {
        "weather": Weather(delay=0.001, jitter=random.choice((0.002, 0.05)), loss=random.choice((0.0, 0.0, 0.05))),
        "drift": DRIFT,
        "doubled": doubled,
        "until": draft.last + QUIET + 3.0,
    }


def arrival(draft):
    """Several join a farm that serves, at about the same time: only what they are to have moves."""
    random = draft.random
    joiners = random.sample(range(draft.size), random.randint(1, draft.size - 1))
    for index in range(draft.size):
        if index not in joiners:
            draft.add(random.uniform(0, 0.02), "start", index)
    draft.add(4.0, "measure")
    at = 4.0
    for index in joiners:
        draft.add(at, "start", index)
        at += draft.sometime(0.0, 0.01, 0.2)
    draft.add(at + 4.0, "measured", ARRIVAL, *joiners)
    return {"weather": Weather(delay=0.001, jitter=random.choice((0.002, 0.02, 0.05))), "drift": DRIFT}


def mosaic(draft):
    """Who hears whom is a thin graph from the beginning, on a network so even that nobody is ever first by chance."""
    random = draft.random
    density, one_way = random.choice((0.2, 0.3, 0.4, 0.6)), random.random() < 0.3
    for one, other in itertools.combinations(range(draft.size), 2):
        if random.random() > density:
            kept = random.choice((None, one, other)) if one_way else None
            for way in ((one, other), (other, one)):
                if way[0] != kept:
                    draft.add(0.0, "cut", *way)
    if random.random() < 0.5:
        for index in range(draft.size):
            draft.add(0.0, "start", index)
    else:
        draft.start_all(at_once=random.random() < 0.5)
    for _ in range(random.choice((0, 0, 1))):
        faults.drain(draft, 5.0)
    return {
        "until": 14.0,
        "weather": Weather(delay=random.choice((0.001, 0.01)), jitter=random.choice((0.0, 0.0, 0.01))),
    }


def rush(draft):
    """Many start at once: they find together in a few views, not one for each that joins."""
    draft.start_all()
    draft.add(2.0, "few_views")
    return {"until": 2.1, "weather": Weather(delay=0.001, jitter=draft.random.choice((0.004, 0.05))), "drift": DRIFT}


def intruder(draft):
    """One joins that has no mutual link to one who serves: whoever serves goes on as if it were not there."""
    random = draft.random
    joiner, stranger = random.sample(range(draft.size), 2)
    ways = [(joiner, stranger), (stranger, joiner)]
    for way in random.choice((ways, ways[:1], ways[1:])):
        draft.add(0.0, "cut", *way)
    for index in range(draft.size):
        if index != joiner:
            draft.add(random.uniform(0, 0.02), "start", index)
    draft.add(4.0, "measure")
    draft.add(4.1, "start", joiner)
    draft.add(11.0, "measured", NO_MOVE)
    return {
        "weather": Weather(delay=0.001, jitter=random.choice((0.002, 0.02))),
        "drift": DRIFT,
        "delivery": random.choice(("flooded", "directed")),
        "connections": 8,
    }


def introduction(draft):
    """One joins, and what it and some members say to each other is lost at first: the others wait till all have met."""
    random = draft.random
    joiner, *others = random.sample(range(draft.size), draft.size)
    strangers = others[: random.randint(1, len(others) - 1)]
    for index in others:
        draft.add(random.uniform(0, 0.02), "start", index)
    draft.add(4.0, "measure")
    draft.add(4.0, "start", joiner)
    for stranger in strangers:
        # It wants a share after T, and then the others have patience for 2 T.
        meet = 4.0 + random.uniform(1.05, 1.85)
        ways = [(joiner, stranger), (stranger, joiner)]
        for way in random.choice((ways, ways[:1], ways[1:])):
            draft.add(4.0, "swallow", *way)
            draft.add(meet, "heal", *way)
    draft.add(9.0, "measured", ARRIVAL, joiner)
    return {"weather": Weather(delay=0.001, jitter=random.choice((0.002, 0.02))), "drift": DRIFT}


def relapse(draft):
    """What one says is lost for T, and then also the word that it is buried: it may not go on by what it knew before.

    That is lost for two or three pulses, for as long as the lease counts who was heard.
    """
    random = draft.random
    draft.start_all()
    at = 3.0
    for _ in range(random.randint(2, 4)):
        index = draft.someone()
        end = at + random.uniform(1.25, 1.6)
        deaf = at + random.uniform(0.9, 1.1)
        for other in range(draft.size):
            if other != index:
                draft.add(at, "swallow", index, other)
                draft.add(end, "heal", index, other)
                draft.add(deaf, "swallow", other, index)
                draft.add(deaf + random.uniform(0.2, 0.32), "heal", other, index)
        at = end + random.uniform(1.0, 4.0)
    return {"weather": Weather(delay=0.001, jitter=random.choice((0.002, 0.01))), "drift": DRIFT}


def stutter(draft):
    """The first words of one that is drained, or comes back, are lost to some of the others."""
    random = draft.random
    draft.start_all()
    at = 4.0
    for _ in range(random.randint(2, 4)):
        index = draft.someone()
        others = [other for other in range(draft.size) if other != index]
        draft.add(at, "measure")
        for other in random.sample(others, random.randint(1, len(others))):
            draft.add(at, "swallow", index, other)
            draft.add(at + random.uniform(0.052, 0.07), "heal", index, other)
        draft.add(at, "drain", index)
        draft.add(at + 2.0, "measured", LOST_WORDS, index)
        draft.add(at + 2.1, "come_back", index)
        at += 4.0
    return {"weather": Weather(delay=0.0005, jitter=0.002), "drift": DRIFT}


def nap(draft):
    """One stands still for less than T after the last beats to it were lost: nobody loses anything.

    It has heard nobody for about T then, which the leases of the others bear.
    """
    random = draft.random
    draft.start_all()
    at = 4.0
    for _ in range(random.randint(2, 4)):
        index = draft.someone()
        lost = random.uniform(0.35, 0.5)
        draft.add(at - lost - 0.01, "measure")
        for other in range(draft.size):
            if other != index:
                draft.add(at - lost, "swallow", other, index)
                draft.add(at, "heal", other, index)
        draft.add(at, "stick", index, 0.935 - lost)
        draft.add(at + 2.0, "measured", NO_MOVE)
        at += 3.0
    return {"weather": Weather(delay=0.0005, jitter=0.002), "drift": DRIFT}


KINDS = {
    "storm": storm,
    "large storm": storm,
    "planned": planned,
    "death": death,
    "restart": restart,
    "flicker": flicker,
    "tangle": tangle,
    "patchwork": patchwork,
    "one way": one_way,
    "echo": echo,
    "rollout": rollout,
    "reshaping": reshaping,
    "retiming": retiming,
    "replay": replay,
    "rebirth": rebirth,
    "deluge": deluge,
    "doze": doze,
    "bad luck": bad_luck,
    "awakening": awakening,
    "misfortune": misfortune,
    "farewell": farewell,
    "labour": labour,
    "double": double,
    "arrival": arrival,
    "mosaic": mosaic,
    "rush": rush,
    "intruder": intruder,
    "introduction": introduction,
    "relapse": relapse,
    "stutter": stutter,
    "nap": nap,
    "struggle": struggle,
    "crowd": crowd,
}

WEIGHTS = {
    "storm": 31,
    "large storm": 4,
    "planned": 10,
    "death": 4,
    "flicker": 4,
    "tangle": 5,
    "patchwork": 5,
    "echo": 3,
    "rollout": 3,
    "reshaping": 5,
    "retiming": 5,
    "replay": 5,
    "rebirth": 5,
    "deluge": 2,
    "doze": 5,
    "bad luck": 4,
    "awakening": 3,
    "misfortune": 4,
    "labour": 5,
    "double": 4,
    "mosaic": 3,
    "arrival": 2,
    "intruder": 2,
    "stutter": 2,
    "nap": 2,
}
"How often a seed chooses each."


def _few(random):
    return random.choice((2, 3, 3, 4))


_SIZES = {
    "storm": lambda random: random.choice((2, 2, 3, 3, 3, 3, 4, 4, 5)),
    "large storm": lambda random: random.randint(6, 16),
    "planned": lambda random: random.choice((2, 3, 3, 4, 5, 8)),
    "death": lambda random: random.choice((2, 3, 3, 4, 5, 8)),
    "restart": _few,
    "flicker": _few,
    "tangle": lambda random: random.choice((3, 3, 4, 5)),
    "patchwork": lambda random: random.choice((3, 4, 4, 5, 6)),
    "one way": lambda random: random.choice((3, 4, 5, 6)),
    "echo": _few,
    "rollout": lambda random: random.choice((2, 3, 4, 5)),
    "reshaping": lambda random: random.choice((3, 3, 4, 5)),
    "retiming": lambda random: random.choice((2, 3, 3, 4)),
    "replay": lambda random: random.choice((2, 3, 3, 4)),
    "rebirth": lambda random: random.choice((2, 3, 3, 4)),
    "deluge": _few,
    "doze": _few,
    "bad luck": _few,
    "awakening": _few,
    "misfortune": _few,
    "farewell": lambda random: 3,
    "labour": _few,
    "double": lambda random: random.choice((3, 3, 4)),
    "arrival": lambda random: random.choice((2, 3, 4, 5, 6)),
    "mosaic": lambda random: random.randint(4, 9),
    "rush": lambda random: random.choice((12, 16, 20)),
    "intruder": lambda random: random.choice((3, 3, 4, 5)),
    "introduction": lambda random: random.choice((3, 3, 4, 5)),
    "relapse": _few,
    "stutter": lambda random: random.choice((3, 3, 4)),
    "nap": lambda random: random.choice((2, 3, 4)),
    "struggle": lambda random: 3,
    "crowd": lambda random: 64,
}


def _any_weather(random):
    if random.random() < 0.25:
        return Weather(delay=0.001, jitter=0.003)
    return Weather(
        loss=random.choice((0.0, 0.02, 0.05, 0.1, 0.2, 0.3)),
        delay=random.choice((0.001, 0.01, 0.05)),
        jitter=random.choice((0.0, 0.002, 0.05, 0.25)),
        duplicates=random.choice((0.0, 0.0, 0.2)),
        echoes=random.choice((0.0, 0.0, 0.02)),
    )


def _any_powers(random, size):
    groups = random.choice((1, 1, 2))
    if random.random() < 0.5:
        return ((1,) * groups,) * size
    return tuple(tuple(random.choice((0, 1, 1, 1, 2, 5)) for _ in range(groups)) for _ in range(size))
