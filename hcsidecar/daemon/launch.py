"""Replaces the process of `hcsidecar run` by the daemon. Imports next to nothing, to start quickly.

The daemon begins in `start.py`.
"""

import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

_WITH_VALUE = ("--config", "-c", "--node")
_ALONE = ("--log-json", "--take-file", "--stay-removed")


class DaemonOptions(NamedTuple):
    """The options of `hcsidecar run`."""

    config: str | None
    node: str | None
    log_json: bool
    take_file: bool
    stay_removed: bool


def daemon_options(words: Sequence[str]) -> DaemonOptions | None:
    """Return the options if the words are well-formed options of `hcsidecar run`.

    Return None if the command line must print something: its help, or what is wrong. The daemon reads its options with
    this as well, because `argparse` takes memory.
    """
    rest, values, alone = list(words), dict[str, str](), set[str]()
    while rest:
        word = rest.pop(0)
        name, joined, value = word.partition("=")
        if word in _ALONE:
            alone.add(word)
        elif joined and name in _WITH_VALUE and name.startswith("--"):
            values[name] = value
        elif word in _WITH_VALUE and rest and not rest[0].startswith("-"):
            values["--config" if word == "-c" else word] = rest.pop(0)
        else:
            return None
    return DaemonOptions(
        config=values.get("--config"),
        node=values.get("--node"),
        log_json="--log-json" in alone,
        take_file="--take-file" in alone,
        stay_removed="--stay-removed" in alone,
    )


def become_the_daemon(arguments: Sequence[str]) -> None:
    """Execute the daemon in this process, and never return. A new program, because the daemon must not load typer."""
    # -P: a file in the working directory that has the name of a module must not be imported.
    # no_debug_ranges: tracebacks name the line but not the column, which would take memory for every line of code.
    python = [sys.executable, "-P", "-X", "no_debug_ranges", "-m", "hcsidecar.daemon.start"]
    sys.stdout.flush()
    os.execv(sys.executable, [*python, *arguments])  # noqa: S606 - our own interpreter and module
