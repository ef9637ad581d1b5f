"""Reads single keys from the terminal without echo, and restores its mode whatever happens."""

import asyncio
import os
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def keys(on_key: Callable[[str], None]) -> Iterator[None]:
    """Call `on_key` with every key pressed while the block runs. Ctrl-C stays a signal."""
    terminal = sys.stdin.fileno()
    loop = asyncio.get_running_loop()
    before = termios.tcgetattr(terminal)

    def readable() -> None:
        pressed = os.read(terminal, 64)
        if not pressed:
            loop.remove_reader(terminal)
        for key in pressed.decode(errors="ignore"):
            on_key(key)

    try:
        tty.setcbreak(terminal)
        loop.add_reader(terminal, readable)
        yield
    finally:
        loop.remove_reader(terminal)
        with suppress(termios.error):  # the terminal has gone
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)
