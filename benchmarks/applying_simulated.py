"""The same on simulated farms: from a proposal to active and to settled everywhere, on a virtual clock."""

import importlib
import sys
from pathlib import Path
from typing import Any

from benchmarks.figures import CannotMeasureError, Row, Table
from benchmarks.progress import say

SIZES = (3, 16, 64)
PRESET, T = "lan", 0.5
APPLIED_AT = 1.5
"Seconds until the farm has become one."
DISK = 0.02
"Seconds that fetching, activating and saving take at most; most take far less."
_TESTS = Path(__file__).parents[1] / "tests"


def table(*, quick: bool) -> Table:
    """Apply one change to farms of several sizes, again and again."""
    rows: list[Row] = []
    for size in SIZES[:2] if quick else SIZES:
        runs = 2 if quick else (20 if size < SIZES[-1] else 2)
        found = []
        for seed in range(runs):
            say(f"simulated farm of {size}, run {seed + 1} of {runs}")
            found.append(_applied(size, seed))
        rows += [
            Row(
                what=f"{size} nodes, yes to {what} everywhere",
                unit="ms",
                runs=tuple(1000 * one[index] for one in found),
            )
            for index, what in enumerate(("active", "settled"))
        ]
    return Table(title=f"simulated farms, preset {PRESET}: power", rows=tuple(rows))


def _applied(size: int, seed: int) -> tuple[float, float]:
    """Give the seconds from a proposal until the last node goes by it, and until the last one has settled it."""
    scenario, simulated = _simulation()
    powers = ((1,),) * size
    step = scenario("simulation.scenario").Step
    world = simulated(
        scenario("simulation.applying.scenario").ApplyingScenario(
            kind="benchmark",
            seed=seed,
            size=size,
            preset=PRESET,
            steps=(
                *(step(0.01 * index / size, "start", (index,)) for index in range(size)),
                step(APPLIED_AT / T, "change", (0, (("edits", (("powers", ((2,), *powers[1:])),)),))),
            ),
            until=(APPLIED_AT + 1.0) / T,
            weather=scenario("simulation.network").Weather(delay=0.0001 / T, jitter=0.0009 / T),
            powers=powers,
            connections=1,
            slow=DISK,
        )
    ).run()
    if world.observer.violations:
        raise CannotMeasureError(f"the simulated farm broke a promise: {world.observer.violations[0]}")
    active = world.story.times("goes by revision 2")
    settled = world.story.times("has settled revision 2")
    if len(active) != size or len(settled) != size:
        raise CannotMeasureError(f"the change was settled on {len(settled)} of {size} simulated nodes")
    return max(active) - APPLIED_AT, max(settled) - APPLIED_AT


def _simulation() -> tuple[Any, Any]:
    """Give the simulation of the tests, which are no package of this project."""
    if str(_TESTS) not in sys.path:
        sys.path.append(str(_TESTS))
    return importlib.import_module, importlib.import_module("simulation.applying.world").FarmWorld
