"""From `hcsidecar run` to the daemon, in the same process: what both ways there share, and imports next to nothing.

The daemon begins in `start.py`.
"""

import os
import sys
from collections.abc import Sequence

_WITH_VALUE = ("--config", "-c", "--node")
_ALONE = ("--log-json",)


def daemon_arguments(words: Sequence[str]) -> list[str] | None:
    """Give the daemon's options when these are all well-formed options of `hcsidecar run`.

    None when the command line has to say something: help, or what is wrong.
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
    """Go on as the daemon, and never return: it runs for years on little memory, without typer and rich."""
    # -P: a file named like a module of ours or of Python's in the working directory must not become part of the daemon.
    # no_debug_ranges: tracebacks name the line and not the column, which costs memory for every line of every library.
    python = [sys.executable, "-P", "-X", "no_debug_ranges", "-m", "hcsidecar.daemon.start"]
    sys.stdout.flush()
    os.execv(sys.executable, [*python, *arguments])  # noqa: S606 - our own interpreter and module
