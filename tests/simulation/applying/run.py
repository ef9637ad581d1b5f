"""Replay one history and tell its story: `PYTHONPATH=tests python -m simulation.applying.run --seed N`."""

import argparse
import sys

from simulation.applying.histories import KINDS, draw
from simulation.applying.world import FarmWorld
from simulation.story import TAIL


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--kind", choices=tuple(KINDS), help="instead of the one that the seed chooses")
    parser.add_argument("--tail", type=int, default=TAIL, help="lines of the story to print")
    options = parser.parse_args()
    world = FarmWorld(draw(options.seed, kind=options.kind)).run()
    print(account(world, tail=options.tail))  # noqa: T201 - what the command is for
    sys.exit(1 if world.observer.violations else 0)


def account(world, *, tail=TAIL):
    """Say how a history went, for the reader of a failure."""
    drawn = world.scenario
    replay = f"PYTHONPATH=tests python -m simulation.applying.run --seed {drawn.seed} --kind '{drawn.kind}'"
    lines = [
        f"history {drawn.seed} ({drawn.kind}): {drawn.size} nodes, preset {drawn.preset}, {drawn.weather}",
        f"replay: {replay}",
        *world.story.tail(tail),
        *(f"BROKEN at {broken.at:.4f}: {broken.promise}: {broken.what}" for broken in world.observer.violations),
        f"digest {world.story.digest()}",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
