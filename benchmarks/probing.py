"""Clients in the client's namespace that connect to the VIP at a steady pace, and what they have met."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import NamedTuple

from benchmarks.figures import CannotMeasureError
from benchmarks.site import PORT, VIP, Site


class Attempt(NamedTuple):
    """A connection that a client tried to open."""

    began: float
    took: float | None
    "None: the client gave up."


class Prober:
    """The clients, from this side of the pipe."""

    def __init__(self, process: subprocess.Popen[str], *, patience: float) -> None:
        self._process = process
        self._limit = patience + 10.0
        if process.stdout is None or process.stdout.readline() != "begun\n":
            raise CannotMeasureError("the clients do not begin")

    def finish(self) -> list[Attempt]:
        """Let the clients begin no more; give all that they tried."""
        said, _ = self._process.communicate(timeout=self._limit)
        return [Attempt(began, took) for began, took in json.loads(said)]


@contextmanager
def probing(site: Site, clients: tuple[str, ...], *, every: float, patience: float) -> Iterator[Prober]:
    """Have clients connect to the VIP, one every so many seconds; the block begins when they have begun."""
    with subprocess.Popen(
        site.client.command(
            *("setpriv", "--pdeathsig=KILL", "--", sys.executable, "-m", "benchmarks.prober"),
            *("--to", str(VIP), "--port", str(PORT), "--every", str(every), "--patience", str(patience), *clients),
        ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Prober(process, patience=patience)
        finally:
            process.kill()


def longest_gap(attempts: list[Attempt]) -> float:
    """Give the seconds between the beginnings of two answered connections without another one between them."""
    answered = [attempt.began for attempt in attempts if attempt.took is not None]
    return max((later - earlier for earlier, later in pairwise(answered)), default=float("inf"))
