"""Prints tables, as lists in a terminal that is too narrow for them."""

import os
from typing import Literal

from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from hcsidecar.core.terminals import takes_colours

WIDTH_OF_FILES = 240
"Characters in a line of a table that goes to a file or a pipe, where nothing should be wrapped."
_ENDLESS = 100_000
"Characters in a line with room for every table."


def console() -> Console:
    """Return the console for standard output, a terminal or not."""
    colours: Literal["auto"] | None = "auto" if takes_colours(os.environ) else None
    terminal = Console(highlight=False, color_system=colours)
    return terminal if terminal.is_terminal else Console(highlight=False, width=WIDTH_OF_FILES, color_system=colours)


def show_table(table: Table) -> None:
    """Print a table."""
    terminal = console()
    terminal.print(fitting(table, terminal))


def fitting(table: Table, console: Console) -> RenderableType:
    """Return the table, or a list if its columns would be narrower than the words in them."""
    least = Measurement.get(console, console.options.update(width=_ENDLESS), table).minimum
    return table if least <= console.width else _as_list(table)


def _as_list(table: Table) -> Group:
    """Return each row as lines of heading and value, the first one as its title; leave out empty values."""
    title = table.title if isinstance(table.title, Text) else Text(table.title or "")
    lines: list[RenderableType] = [title] if title else []
    cells = [list(column.cells) for column in table.columns]
    for index, row in enumerate(table.rows):
        for at, column in enumerate(table.columns):
            value = cells[at][index]
            if at == 0 or str(value):
                line = Text.assemble(f"{column.header} ", value if isinstance(value, Text) else str(value))
                lines.append(Padding(line, (0, 0, 0, 2 if at else 0), style=row.style or "", expand=False))
    return Group(*lines)
