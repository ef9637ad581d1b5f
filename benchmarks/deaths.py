"""Figure: the same death, of a real daemon by SIGKILL on a bridge, heard by a silent node of the farm."""

import time
from random import Random

from benchmarks.figures import Aim, CannotMeasureError, Figure, Row, Table
from benchmarks.keepalived import keepalived_pair
from benchmarks.progress import say
from benchmarks.real_farm import real_farm
from hcsidecar.core.farmfile.farm_file import PRESETS

INTERVALS = (0.1, 1.0)
"Of keepalived's advertisements, in seconds; 1 s is its default."


def measure(*, quick: bool) -> Figure:
    """Kill daemons, and beside them keepaliveds."""
    sizes = {3: 2} if quick else {3: 20, 16: 10}
    tables = [_deaths(size, runs) for size, runs in sizes.items()]
    notes: tuple[str, ...] = ()
    try:
        tables.append(_keepalived(1 if quick else 5))
    except CannotMeasureError as error:
        notes = (f"No peer in this run: {error}.",)
    return Figure(
        title="Real daemons on a bridge: death to agreed view and to claimed buckets",
        method="Daemons of one farm in network namespaces (preset lan, one [l2] share, directed delivery, filter tc), "
        "one killed by SIGKILL at a random moment, and started anew. One more node stands in the farm file and stays "
        "silent; it reads the survivors' heartbeats with the kernel's time stamps. Agreed: "
        "the last survivor announces the view without the dead one. Claimed: the last one also asks for no more "
        "proofs. A view's limit is lost_after + 2 pulses, a claim's 2 pulses more. Peer: a keepalived killed the same "
        "way, until the other one has the address; it has no members to agree with, and no lease to wait for.",
        tables=tuple(tables),
        notes=notes,
    )


def _deaths(size: int, runs: int) -> Table:
    pulse, lost_after = PRESETS["lan"].pulse, PRESETS["lan"].lost_after
    random = Random(size)
    agreed, claimed = [], []
    with real_farm(size=size) as farm:
        farm.await_settled(since=farm.start())
        assert farm.witness is not None  # noqa: S101 - real_farm gives one
        for run in range(runs):
            victim = random.choice(farm.names)
            say(f"death {run + 1} of {runs} in a real farm of {size}: {victim}")
            # Past the burst of heartbeats that follows a change.
            time.sleep(lost_after + random.random() * pulse)
            farm.witness.drain()
            death = farm.kill(victim)
            when_agreed, when_claimed = farm.await_settled(since=death)
            agreed.append((when_agreed - death) * 1000)
            claimed.append((when_claimed - death) * 1000)
            farm.await_settled(since=farm.start(victim))
    view_limit = (lost_after + 2 * pulse) * 1000
    return Table(
        title=f"real farm of {size}, preset lan",
        rows=(
            Row(what="death to agreed view", unit="ms", runs=tuple(agreed), aim=Aim(limit=view_limit)),
            Row(
                what="death to claimed buckets",
                unit="ms",
                runs=tuple(claimed),
                aim=Aim(limit=view_limit + 2 * pulse * 1000),
            ),
        ),
    )


def _keepalived(runs: int) -> Table:
    rows = []
    for interval in INTERVALS:
        say(f"{runs} deaths of keepalived, advert_int {interval:g}")
        with keepalived_pair(interval=interval) as pair:
            times = []
            for _ in range(runs):
                time.sleep(3 * interval)
                times.append(pair.fail_over() * 1000)
        rows.append(Row(what=f"death to address taken, advert_int {interval:g} s", unit="ms", runs=tuple(times)))
    return Table(title="peer: keepalived", rows=tuple(rows))
