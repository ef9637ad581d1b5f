"""`python -m benchmarks [NAME ...] [--quick]`: takes the figures and writes them down."""

import argparse
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import (
    application,
    applying,
    bulk,
    checks,
    connections,
    console,
    deaths,
    delays,
    failover_clients,
    gentle_stop,
    handover,
    health,
    joining,
    machine,
    packet_filter,
    packet_queue,
    planned_moves,
    quiet,
    saturated,
    simulation,
    starting,
    targets,
)
from benchmarks.figures import CannotMeasureError, Figure
from benchmarks.progress import say
from benchmarks.results import HERE, Measured, load, page, save

Measure = Callable[..., Figure]

FIGURES: dict[str, Measure] = {
    "simulation": simulation.measure,
    "deaths": deaths.measure,
    "quiet": quiet.measure,
    "starting": starting.measure,
    "joining": joining.measure,
    "saturated": saturated.measure,
    "delays": delays.measure,
    "gentle_stop": gentle_stop.measure,
    "health": health.measure,
    "filter": packet_filter.measure,
    "nfqueue": packet_queue.measure,
    "connections": connections.measure,
    "bulk": bulk.measure,
    "handover": handover.measure,
    "failover_clients": failover_clients.measure,
    "planned_moves": planned_moves.measure,
    "applying": applying.measure,
    "application": application.measure,
    "checks": checks.measure,
    "targets": targets.measure,
    "console": console.measure,
}


def main() -> int:
    """Take the figures that are asked for, all by default; give the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure what the design promises. Exit status: 0 every aim reached, 1 some missed, "
        "2 some figure could not be taken.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(FIGURES)}")
    parser.add_argument(
        "--quick", action="store_true", help="few and short runs, to see that it works; written only with --output"
    )
    parser.add_argument("--output", type=Path, help="directory for results.json and RESULTS.md; default: benchmarks/")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in FIGURES]
    if unknown:
        parser.error(f"no figure {', '.join(unknown)}; there are {', '.join(FIGURES)}")
    # As Ctrl-C does, so that network namespaces and directories are cleaned up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    output = options.output or (None if options.quick else HERE)
    taken = []
    for name in options.names or FIGURES:
        measured = _take(name, quick=options.quick)
        taken.append(measured)
        print(page(measured), flush=True)
        if output is not None:
            # After each: what comes next may fail, or be interrupted.
            known = load(output) | {name: measured}
            # Those of the virtual machines are taken by another program.
            save((known[each] for each in dict.fromkeys([*FIGURES, *known]) if each in known), output)
    if any(measured.figure is None for measured in taken):
        return 2
    return int(any(measured.figure.missed for measured in taken if measured.figure is not None))


def _take(name: str, *, quick: bool) -> Measured:
    before, began = machine.load(), time.monotonic()
    date = datetime.now(UTC)
    figure, reason = None, ""
    say(f"{name}{', quickly' if quick else ''}")
    try:
        figure = FIGURES[name](quick=quick)
    except CannotMeasureError as error:
        reason = str(error)
    return Measured(
        name=name,
        command=f"python -m benchmarks {name}{' --quick' if quick else ''}",
        date=f"{date:%Y-%m-%d %H:%M}",
        seconds=time.monotonic() - began,
        machine=machine.describe(),
        load=before,
        commit=machine.commit(),
        figure=figure,
        reason=reason,
    )


if __name__ == "__main__":
    sys.exit(main())
