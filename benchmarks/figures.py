"""What a measurement gives: every run behind every figure, as a table for people and as JSON for programs."""

from enum import Enum
from statistics import median

import msgspec


class CannotMeasureError(Exception):
    """A figure cannot be had on this machine; the text says why, and what would help."""


class Judged(Enum):
    """Which of the runs has to keep an aim."""

    EVERY_RUN = "every run"
    MEDIAN = "median"


class Aim(msgspec.Struct, frozen=True, kw_only=True):
    """What a figure should be."""

    limit: float
    at_least: bool = False
    "The limit is a lower one."
    judged: Judged = Judged.EVERY_RUN
    hoped: float | None = None
    "What would be better still; to miss it is no failure."

    def __str__(self) -> str:
        """Say it for a column of a table."""
        hoped = "" if self.hoped is None else f", hoped {number(self.hoped)}"
        return f"{'≥' if self.at_least else '≤'} {number(self.limit)}{hoped} ({self.judged.value})"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One quantity, measured at least once."""

    what: str
    unit: str
    runs: tuple[float, ...]
    aim: Aim | None = None

    @property
    def kept(self) -> bool | None:
        """True when the aim was reached; None when there is none."""
        return None if self.aim is None else self._reaches(self.aim.limit, self.aim)

    @property
    def verdict(self) -> str:
        """What there is to say of the aim, for a column of a table."""
        if self.aim is None:
            return ""
        if not self.kept:
            return "**no**"
        if self.aim.hoped is None:
            return "yes"
        return "yes, and as hoped" if self._reaches(self.aim.hoped, self.aim) else "yes, less than hoped"

    def _reaches(self, limit: float, aim: Aim) -> bool:
        runs = (median(self.runs),) if aim.judged is Judged.MEDIAN else self.runs
        return min(runs) >= limit if aim.at_least else max(runs) <= limit


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that belong together."""

    title: str
    rows: tuple[Row, ...]


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """What one module of the benchmarks has measured."""

    title: str
    method: str
    "What was done to get it, so that a reader can judge what it is worth."
    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()
    "What a reader should know of this run: what was left out and why, what went wrong."

    @property
    def missed(self) -> tuple[str, ...]:
        """The quantities whose aim was missed."""
        rows = ((table, row) for table in self.tables for row in table.rows)
        return tuple(f"{table.title}: {row.what}" for table, row in rows if row.kept is False)

    @property
    def aims(self) -> int:
        """How many quantities have an aim."""
        return sum(row.kept is not None for table in self.tables for row in table.rows)


def number(value: float) -> str:
    """Write a number with three significant digits, and no more than it has."""
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def markdown(table: Table) -> str:
    """Give the table of medians with their extremes."""
    lines = [
        f"| {table.title} | unit | median | min | max | runs | aim | kept |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for row in table.rows:
        figures = " | ".join(number(value) for value in (median(row.runs), min(row.runs), max(row.runs)))
        lines.append(f"| {row.what} | {row.unit} | {figures} | {len(row.runs)} | {row.aim or ''} | {row.verdict} |")
    return "\n".join(lines)
