"""Replay one history and tell its story: `PYTHONPATH=tests python -m simulation.run --seed N`."""

import argparse
import sys

from simulation.histories import KINDS, draw
from simulation.scenario import PRESETS
from simulation.story import TAIL
from simulation.world import World


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--kind", choices=tuple(KINDS), help="instead of the one that the seed chooses")
    parser.add_argument("--preset", choices=tuple(PRESETS), help="instead of the one that the seed chooses")
    parser.add_argument("--tail", type=int, default=TAIL, help="lines of the story to print")
    options = parser.parse_args()
    world = World(draw(options.seed, kind=options.kind, preset=options.preset)).run()
    print(account(world, tail=options.tail))  # noqa: T201 - what the command is for
    sys.exit(1 if world.observer.violations else 0)


def account(world, *, tail=TAIL):
    """Say how a history went, for the reader of a failure."""
    drawn = world.scenario
    lines = [
        (
            f"history {drawn.seed} ({drawn.kind}): {drawn.size} nodes, preset {drawn.preset}, {drawn.weather}, "
            f"partition {drawn.partition}, {drawn.connections} connections, {drawn.delivery}"
        ),
        (
            f"replay: PYTHONPATH=tests python -m simulation.run "
            f"--seed {drawn.seed} --kind '{drawn.kind}' --preset {drawn.preset}"
        ),
        *world.story.tail(tail),
        *(f"BROKEN at {broken.at:.4f}: {broken.promise}: {broken.what}" for broken in world.observer.violations),
        f"digest {world.story.digest()}",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
