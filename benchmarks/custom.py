"""The clients of `customer.py` at the VIP of a site, and what they have met."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from benchmarks.figures import CannotMeasureError
from benchmarks.site import CLIENTS, PORT, VIP, Site

LASTING, FRESH = 16, 8
"Clients that keep a connection, and clients that open one for each request."
PAUSE, PATIENCE = 0.02, 10.0
"Seconds from an answer to the client's next request, and what it gives to each."


class Met(NamedTuple):
    """What clients met during a change."""

    requests: int
    failed: int
    "On new connections."
    broken: int
    "Requests on kept connections that failed, and with each of them the connection."
    longest: float
    "Seconds that the slowest request took."


class Customers:
    """The clients, from this side of the pipe."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        if process.stdout is None or process.stdout.readline() != "begun\n":
            raise CannotMeasureError("the clients do not begin")

    def finish(self) -> Met:
        """Let the clients ask no more; give what they met."""
        said, _ = self._process.communicate(timeout=PATIENCE + 10.0)
        requests = json.loads(said)
        failed = [kept for _, kept, _, complaint in requests if complaint is not None]
        return Met(len(requests), failed.count(False), failed.count(True), max(took for _, _, took, _ in requests))


@contextmanager
def customers(site: Site) -> Iterator[Customers]:
    """Have clients ask for the page of the VIP; the block begins when all connections to be kept are open."""
    with subprocess.Popen(
        site.client.command(
            *("setpriv", "--pdeathsig=KILL", "--", sys.executable, "-m", "benchmarks.customer"),
            *("--to", str(VIP), "--port", str(PORT), "--lasting", str(LASTING), "--fresh", str(FRESH)),
            *("--pause", str(PAUSE), "--patience", str(PATIENCE), *CLIENTS),
        ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Customers(process)
        finally:
            process.kill()
