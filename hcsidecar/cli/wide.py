"""Where tables are printed."""

from rich.console import Console

WIDTH_OF_FILES = 240
"Columns of a table that goes to a file or a pipe, where nothing is to be wrapped."


def console() -> Console:
    """Give the terminal, or what stands in for one."""
    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=WIDTH_OF_FILES)
