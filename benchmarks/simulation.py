"""Figure: from a death to an agreed view and to claimed buckets, and buckets without a taker on planned moves.

All of it on a virtual clock, so that it measures the protocol and not this machine.
"""

import time
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from functools import partial
from multiprocessing import get_context
from random import Random

from benchmarks.figures import Aim, Figure, Row, Table
from benchmarks.progress import say
from benchmarks.virtual_farm import DELAY, Machine, VirtualFarm
from hcsidecar.core.farmfile.farm_file import PRESETS
from hcsidecar.core.membership.node import Timing

A_FEW_MS = 5.0
"What the design allows a planned move without loss."
MOVES = ("drain", "resume", "power 1→2", "power 2→1", "leave", "join", "crash")


def measure(*, quick: bool) -> Figure:
    """Run the simulations."""
    deaths = {3: 2, 16: 1} if quick else {3: 100, 16: 20, 64: 5}
    rounds = {3: 2} if quick else {3: 40, 16: 10}
    losses = (0.0,) if quick else (0.0, 0.05, 0.2)
    tables = [_deaths(preset, deaths) for preset in PRESETS]
    tables += [_moves(size, loss, runs) for size, runs in rounds.items() for loss in losses]
    least, most = (delay * 1000 for delay in DELAY)
    return Figure(
        title="Simulated farm: death to agreed view and to claimed buckets; planned moves",
        method=f"Real `Node` and `Handover` (4096 buckets) of every server on a virtual clock; each datagram takes "
        f"{least:g}-{most:g} ms, and no time passes while a node thinks. Seeded: every run of the benchmark gives the "
        "same figures. A death is a power cut at a random moment of a settled farm; the limits are lost_after + 2 "
        "pulses for the view and 2 pulses more for the buckets. For a move, the filters alone are looked at: how long "
        "some bucket had no taker. A crash stands beside the planned moves for contrast. The processor time of each "
        "survivor is what deciding costs on this machine (network and sealing not counted), until the last bucket.",
        tables=tuple(tables),
    )


def _deaths(preset: str, runs: dict[int, int]) -> Table:
    timing = Timing(pulse=PRESETS[preset].pulse, lost_after=PRESETS[preset].lost_after)
    rows = []
    for size, count in runs.items():
        say(f"{count} deaths in a simulated farm of {size}, {preset}")
        farm = _settled_farm(size, timing, seed=f"{preset} {size}")
        seeds = [f"{preset} {size} {run}" for run in range(count)]
        # To settle takes 64 nodes far longer than to bury one, so each death befalls a copy of the settled farm.
        with ProcessPoolExecutor(mp_context=get_context("fork"), initializer=_inherit, initargs=(farm,)) as copies:
            found = list(copies.map(_death, seeds))
        for index, (what, pulses) in enumerate((("agreed view", 2), ("claimed buckets", 4))):
            limit = timing.lost_after + pulses * timing.pulse
            rows.append(
                Row(
                    what=f"death to {what}, {size} nodes",
                    unit="ms",
                    runs=tuple(times[index] * 1000 for times in found),
                    aim=Aim(limit=limit * 1000),
                )
            )
        spent = tuple(times[2] * 1000 for times in found)
        rows.append(Row(what=f"processor time of each survivor from the death on, {size} nodes", unit="ms", runs=spent))
    pulse, lost_after = timing.pulse * 1000, timing.lost_after * 1000
    return Table(title=f"preset {preset} (pulse {pulse:g} ms, lost_after {lost_after:g} ms)", rows=tuple(rows))


_settled: VirtualFarm | None = None
"In a process that takes deaths: the farm that each of them befalls a copy of."


def _inherit(farm: VirtualFarm) -> None:
    global _settled  # noqa: PLW0603 - how a pool hands something large to its processes
    _settled = farm


def _death(seed: str) -> tuple[float, float, float]:
    """Give the seconds from a death until the survivors agree, and until every bucket has a taker again.

    And the seconds of this machine's processor that each of them needed.
    """
    farm = deepcopy(_settled)
    assert farm is not None  # noqa: S101 - inherited
    farm.random = random = Random(seed)
    farm.rest((3 + random.random()) * farm.timing.pulse)
    victim = random.choice(farm.names)
    survivors = frozenset(farm.names) - {victim}
    began = time.process_time()
    farm.machines[victim].die()
    limit = 10 * farm.timing.lost_after
    agreed = farm.run(lambda: farm.agreed(survivors), limit=limit)
    claimed = agreed + farm.run(lambda: farm.settled(survivors), limit=limit)
    return agreed, claimed, (time.process_time() - began) / len(survivors)


def _moves(size: int, loss: float, rounds: int) -> Table:
    say(f"{rounds} rounds of planned moves in a simulated farm of {size}, loss {loss:.0%}")
    timing = Timing(pulse=PRESETS["lan"].pulse, lost_after=PRESETS["lan"].lost_after)
    longest: dict[str, list[float]] = {move: [] for move in MOVES}
    mean: dict[str, list[float]] = {move: [] for move in MOVES}
    doubled = 0
    for run in range(rounds):
        farm = _settled_farm(size, timing, seed=f"moves {size} {loss} {run}", loss=loss)
        machine = farm.machines[farm.random.choice(farm.names)]
        share = machine.share
        assert share is not None  # noqa: S101 - it runs
        moved = share.mine(0).bit_count()
        for move in MOVES:
            _do(move, farm, machine)
            longest[move].append(farm.coverage.longest * 1000)
            mean[move].append(farm.coverage.bucket_seconds * 1000 / moved)
            doubled += farm.coverage.doubled
    few = Aim(limit=A_FEW_MS) if loss == 0 else None
    rows = [
        Row(what=f"{move}: longest of any bucket", unit="ms", runs=tuple(longest[move]), aim=few)
        for move in MOVES
        if move != "crash"
    ]
    rows += [Row(what="crash: longest of any bucket", unit="ms", runs=tuple(longest["crash"]))]
    rows += [
        Row(what=f"{move}: bucket-time over the buckets of the node moved", unit="ms", runs=tuple(mean[move]))
        for move in MOVES
    ]
    rows += [Row(what="buckets that ever had two takers", unit="", runs=(doubled,), aim=Aim(limit=0))]
    return Table(title=f"without a taker, {size} nodes, loss {loss:.0%}, preset lan", rows=tuple(rows))


def _do(move: str, farm: VirtualFarm, machine: Machine) -> None:
    """Move one node's buckets, and let the farm come to rest; what was without a taker is in `farm.coverage`."""
    everybody = frozenset(farm.names)
    others = everybody - {machine.name}
    farm.rest(3 * farm.timing.lost_after + farm.random.random() * farm.timing.pulse)
    if move == "join":
        # It has left just before: the daemon has ended and starts anew.
        machine.die()
    farm.coverage.begin(now=farm.now)
    farm.look()
    members = everybody
    match move:
        case "drain" | "resume":
            wants = move == "resume"
            members = everybody if wants else others
            machine.do(lambda node: node.set_wants(wants, now=farm.now))
        case "power 1→2" | "power 2→1":
            power = 2 if move.endswith("2") else 1
            machine.do(lambda node: node.set_powers((power,), now=farm.now))
            wanted = (machine.name, (power,))
            farm.run(partial(_all_know, farm, wanted), limit=10 * farm.timing.lost_after)
        case "leave":
            members = others
            machine.do(lambda node: node.leave(now=farm.now))
        case "join":
            machine.start()
        case _:
            members = others
            machine.die()
    farm.run(lambda: farm.settled(members), limit=30 * farm.timing.lost_after)


def _all_know(farm: VirtualFarm, wanted: tuple[str, tuple[int, ...]]) -> bool:
    return all(wanted in node.membership.view for node in farm.running())


def _settled_farm(size: int, timing: Timing, *, seed: str, loss: float = 0.0) -> VirtualFarm:
    farm = VirtualFarm(size=size, timing=timing, seed=seed, loss=loss)
    everybody = frozenset(farm.names)
    farm.run(
        lambda: len(farm.running()) == size and farm.settled(everybody),
        limit=60 * timing.lost_after,
    )
    return farm
