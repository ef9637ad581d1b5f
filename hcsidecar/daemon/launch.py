"""Replaces the process of `hcsidecar run` by the daemon. Imports next to nothing, to start quickly.

The daemon begins in `start.py`.
"""

import os
import sys
from collections.abc import Sequence

_WITH_VALUE = ("--config", "-c", "--node")
_ALONE = ("--log-json", "--take-file")


def daemon_arguments(words: Sequence[str]) -> list[str] | None:
    """Return the daemon's options if the words are well-formed options of `hcsidecar run`.

    Return None if the command line must print something: its help, or what is wrong.
    """
    rest, given = list(words), []
    while rest:
        word = rest.pop(0)
        name, joined, _ = word.partition("=")
        if word in _ALONE or (joined and name in _WITH_VALUE and name.startswith("--")):
            given.append(word)
        elif word in _WITH_VALUE and rest and not rest[0].startswith("-"):
            given += [word, rest.pop(0)]
        else:
            return None
    return given


def become_the_daemon(arguments: Sequence[str]) -> None:
    """Execute the daemon in this process, and never return. A new program, because the daemon must not load typer."""
    # -P: a file in the working directory that has the name of a module must not be imported.
    # no_debug_ranges: tracebacks name the line but not the column, which would take memory for every line of code.
    python = [sys.executable, "-P", "-X", "no_debug_ranges", "-m", "hcsidecar.daemon.start"]
    sys.stdout.flush()
    os.execv(sys.executable, [*python, *arguments])  # noqa: S606 - our own interpreter and module
