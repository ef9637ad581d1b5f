"""What can befall a farm: each fault draws its own details and adds steps to a draft."""

from simulation.scenario import Step


class Draft:
    """The steps of a history as they are drawn."""

    def __init__(self, random, size):
        self.random, self.size = random, size
        self.last = 0.0
        "When the last of them is over."
        self._steps = []

    def add(self, at, what, *args):
        self._steps.append(Step(at, what, args))
        self.last = max(self.last, at)

    def steps(self):
        return tuple(sorted(self._steps, key=lambda step: step.at))

    def someone(self):
        return self.random.randrange(self.size)

    def sometime(self, *longest):
        """Draw a duration: first its scale, then a part of it."""
        return self.random.choice(longest) * self.random.random()

    def start_all(self, *, at_once=True):
        spread = 0.02 if at_once else 2.0
        for index in range(self.size):
            self.add(self.random.uniform(0, spread), "start", index)

    def strike(self, at):
        """Let some fault happen."""
        self.random.choice(FAULTS)(self, at)


def crash_and_restart(draft, at):
    index = draft.someone()
    draft.add(at, "crash", index, draft.random.random() < 0.3)
    if draft.random.random() < 0.85:
        draft.add(at + draft.sometime(0.02, 0.5, 3.0), "start", index)


def freeze(draft, at):
    length = draft.random.choice((1.0, 1.5, 4.0)) * draft.random.uniform(0.5, 1.1)
    draft.add(at, "stick", draft.someone(), length)
    draft.last = max(draft.last, at + length)


def stall(draft, at):
    """A slow loop: once, or again and again."""
    index, length = draft.someone(), draft.random.uniform(0.02, 0.9)
    for number in range(draft.random.choice((1, 1, 5))):
        draft.add(at + number * length * 2.2, "stick", index, length)
    draft.last += length


def cut(draft, at):
    """One link, one way or both, for a while or for good."""
    one, other = draft.random.sample(range(draft.size), 2)
    ways = [(one, other)] if draft.random.random() < 0.6 else [(one, other), (other, one)]
    end = at + draft.sometime(0.2, 1.0, 3.0) if draft.random.random() < 0.7 else None
    for way in ways:
        draft.add(at, "cut", *way)
        if end is not None:
            draft.add(end, "heal", *way)


def deafen(draft, at):
    """One is heard but hears nobody, or hears and is not heard."""
    index, end = draft.someone(), at + draft.sometime(0.3, 1.5, 3.0)
    incoming = draft.random.random() < 0.5
    for other in range(draft.size):
        if other != index:
            way = (other, index) if incoming else (index, other)
            draft.add(at, "cut", *way)
            draft.add(end, "heal", *way)


def split(draft, at):
    """Two sides, for a while or for good."""
    draft.add(at, "split", tuple(index for index in range(draft.size) if draft.random.random() < 0.5))
    if draft.random.random() < 0.8:
        draft.add(at + draft.sometime(0.3, 1.0, 3.0), "heal_all")


def black_out(draft, at):
    """For a moment nothing arrives, or nothing of what one says."""
    length = draft.sometime(0.1, 0.5, 1.1)
    if draft.random.random() < 0.5:
        draft.add(at, "black_out", length)
        draft.last = max(draft.last, at + length)
        return
    one = draft.someone()
    for other in range(draft.size):
        if other != one:
            draft.add(at, "cut", one, other)
            draft.add(at + length, "heal", one, other)


def drain(draft, at):
    index = draft.someone()
    draft.add(at, "drain", index)
    if draft.random.random() < 0.9:
        draft.add(at + draft.sometime(0.1, 2.0), "come_back", index)


def leave(draft, at):
    index = draft.someone()
    draft.add(at, "leave", index)
    if draft.random.random() < 0.8:
        draft.add(at + draft.sometime(0.5, 3.0), "come_back", index)


def change_power(draft, at):
    """Once, or back and forth within a few delays."""
    index = draft.someone()
    for number in range(draft.random.choice((1, 1, 2, 6))):
        powers = tuple(draft.random.choice((0, 1, 2, 3, 7)) for _ in range(2))
        draft.add(at + number * draft.sometime(0.01, 0.05, 0.2), "set_powers", index, powers)


def change_settings(draft, at):
    """A new farm file is rolled out, or reaches some only."""
    digest = draft.random.choice((b"digest", b"other"))
    everywhere = draft.random.random() < 0.6
    for index in range(draft.size):
        if everywhere or draft.random.random() < 0.4:
            draft.add(at + draft.random.random(), "set_settings", index, digest)


FAULTS = (
    crash_and_restart,
    crash_and_restart,
    freeze,
    freeze,
    stall,
    stall,
    cut,
    cut,
    deafen,
    split,
    split,
    drain,
    leave,
    change_power,
    change_power,
    change_settings,
    black_out,
)
