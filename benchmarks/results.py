"""The results on disk: every run of every figure in `results.json`, and `RESULTS.md` written from it."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from benchmarks.figures import Figure, markdown

HERE = Path(__file__).parent
_PREAMBLE = """\
# Results

Written by `python -m benchmarks`; every single run is in `results.json`. An aim says which of the runs has to keep it.
Figures of one machine, good for comparing with the peer or the limit beside them, not with other machines.
"""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A figure, and the circumstances in which it was taken."""

    name: str
    command: str
    date: str
    "When the measurement began, in UTC."
    seconds: float
    "How long it took."
    machine: str
    load: str
    "Of the machine, just before."
    commit: str
    figure: Figure | None
    "None when it could not be taken."
    reason: str = ""
    "Why not."


def load(directory: Path) -> dict[str, Measured]:
    """Read what has been measured so far."""
    path = directory / "results.json"
    if not path.exists():
        return {}
    return {one.name: one for one in msgspec.json.decode(path.read_bytes(), type=list[Measured])}


def save(measured: Iterable[Measured], directory: Path) -> None:
    """Write the JSON and the page."""
    everything = list(measured)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "results.json").write_bytes(msgspec.json.format(msgspec.json.encode(everything), indent=1) + b"\n")
    (directory / "RESULTS.md").write_text("\n".join([_PREAMBLE, _summary(everything), *map(page, everything)]))


def page(measured: Measured) -> str:
    """Write one figure."""
    figure = measured.figure
    facts = (
        f"`{measured.command}` · {measured.date} UTC, {measured.seconds:.0f} s · load before {measured.load} · "
        f"commit {measured.commit} · {measured.machine}"
    )
    if figure is None:
        return f"## {measured.name}\n\nNot measured: {measured.reason}.\n\n{facts}\n"
    parts = [f"## {figure.title}", facts, figure.method, *map(markdown, figure.tables), *figure.notes]
    return "\n\n".join(parts) + "\n"


def _summary(everything: Iterable[Measured]) -> str:
    lines = ["| figure | aims kept | missed |", "| --- | ---: | --- |"]
    for measured in everything:
        if measured.figure is None:
            lines.append(f"| {measured.name} | | not measured: {measured.reason} |")
            continue
        aims, missed = measured.figure.aims, measured.figure.missed
        lines.append(f"| {measured.name} | {aims - len(missed)} of {aims} | {'; '.join(missed)} |")
    return "\n".join(lines) + "\n"
