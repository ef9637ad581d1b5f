"""Figure: what targets whose API is slow, and 50 checks, delay on saturated cores: heartbeats and health answers."""

import json
import os
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from benchmarks.checked_node import OK, WEB_PORT, CheckedNode, status_in
from benchmarks.figures import Aim, CannotMeasureError, Figure, Judged, Row, Table
from benchmarks.processes import end, start
from benchmarks.progress import say
from benchmarks.real_farm import FARM, WITNESS, Witness
from benchmarks.saturated import COUNTED, LAN, LOOPS_PER_CORE, busy_loops
from benchmarks.targets import ENVIRONMENT
from benchmarks.wire import Namespace, namespaces
from hcsidecar.net.keyring import Keyring

AIM: Final = 1.5
"A delay with targets or checks to that without, in the median of the windows."
MEMBERS, DELAY = 2000, 0.3
"Targets in a big answer, and seconds until it begins."
CHECKS: Final = 50
NONE: Final = "nothing beside"
ONE_HANGS, HANG, BIG, CHECKED = (
    "1 target that hangs",
    "16 targets that hang",
    "16 targets with big answers",
    f"{CHECKS} checks",
)
_GROUP: Final = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/bench{}/0123456789abcdef"
_PROBE_EVERY: Final = 0.02
_PROBE_LIMIT: Final = 20.0
_PRIORITY: Final = 2
"Real-time priority of who measures: above the daemons', so that it sees their delays and not its own."


class Subject:
    """A daemon with something beside its heartbeats, who hears it, and who asks for its health."""

    def __init__(self, what: str, number: int, tables: str, directory: Path, here: Namespace) -> None:
        self.what = what
        self.address, heard_at = f"127.0.1.{number}", f"127.0.2.{number}"
        witness = f'[[node]]\nname = "{WITNESS}"\naddress = "{heard_at}"\n'
        place = directory / str(number)
        self.node = CheckedNode(place, here, name=FARM, address=self.address, tables=witness + tables)
        self.log = place / "log"
        self.witness = Witness(here, heard_at, Keyring.load(place / "farm.key"), ("web1", WITNESS))
        self._here = here
        self._heard_at: float | None = None
        self._slowest = 0.0
        self._asking = True
        self._prober = threading.Thread(target=self._probe, name=f"prober of {what}", daemon=True)

    def begin(self) -> None:
        """Begin to ask for its health, all the time."""
        self._prober.start()

    def close(self) -> None:
        """Ask no more, and end it."""
        self._asking = False
        self.node.stop()
        self.witness.close()

    def window(self) -> tuple[float, float]:
        """Give the longest delay of a heartbeat and of a health answer since the last window, in ms."""
        silence = 0.0
        while (heard := self.witness.hear(0)) is not None:
            if self._heard_at is not None:
                silence = max(silence, heard.at - self._heard_at)
            self._heard_at = heard.at
        slowest, self._slowest = self._slowest, 0.0
        return 1000 * (silence - LAN.pulse), 1000 * slowest

    def count(self, text: str) -> int:
        """Count the lines of its log that say something."""
        return self.log.read_text().count(text)

    def _probe(self) -> None:
        with self._here.entered(), real_time():
            while self._asking:
                began = time.monotonic()
                with suppress(OSError):
                    self._ask()
                self._slowest = max(self._slowest, time.monotonic() - began)
                time.sleep(_PROBE_EVERY)

    def _ask(self) -> None:
        with socket.create_connection((self.address, WEB_PORT), timeout=_PROBE_LIMIT) as connection:
            connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            if status_in(connection.recv(4096)) != OK:
                raise CannotMeasureError(f"{self.what}: not OK")


def measure(*, quick: bool) -> Figure:
    """Saturate the cores, and watch five daemons at the same time."""
    seconds, windows = (4.0, 2) if quick else (15.0, 15)
    os.environ.update(ENVIRONMENT)
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hcsidecar-bench-")))
        (here,) = stack.enter_context(namespaces("delays"))
        api = stack.enter_context(_slow_api(here))
        subjects = []
        for number, (what, tables) in enumerate(_tables(api).items(), start=1):
            subject = Subject(what, number, tables, directory, here)
            stack.callback(subject.close)
            with here.entered():
                subject.node.await_health(OK)
            subjects.append(subject)
        # Nobody begins with a registration: what is measured are the looks.
        time.sleep(2.0 if quick else 20.0)
        before = {subject.what: {what: subject.count(text) for what, text in COUNTED.items()} for subject in subjects}
        with here.entered():
            asked = _asked(api)
        stack.enter_context(real_time())
        for subject in subjects:
            subject.begin()
        loops = (os.cpu_count() or 1) * LOOPS_PER_CORE
        with busy_loops(loops):
            time.sleep(1.0)
            for subject in subjects:
                subject.window()
            for window in range(windows):
                say(f"{loops} busy loops beside {len(subjects)} daemons: window {window + 1} of {windows}")
                time.sleep(seconds)
                for subject in subjects:
                    found[subject.what].append(subject.window())
        with here.entered():
            asked = {how: count - asked.get(how, 0) for how, count in _asked(api).items()}
        counted = {
            subject.what: {what: subject.count(text) - before[subject.what][what] for what, text in COUNTED.items()}
            for subject in subjects
        }
    return Figure(
        title="What slow targets and many checks delay on saturated cores",
        method=f"{loops} endless loops at normal priority on {os.cpu_count()} cores, and beside them, all at the same "
        f"time, {len(found)} real daemons at real-time priority (preset lan, farms of one with a silent node that "
        "hears them), in a network namespace: one with nothing, and four with targets of AWS or checks. The API is a "
        "stand-in on loopback, which never answers, or "
        f"answers after {DELAY:g} s with {MEMBERS} targets; each target has poll 1s. The checks have interval 1s: "
        "tcp, http with a pattern, process and command by turns. A run is the longest delay within a window of "
        f"{seconds:g} s. Heartbeats: what the silence between two was longer than a pulse, by the kernel's time "
        "stamps. Health: from the beginning of the connection to the answer, asked 50 times a second by a process at a "
        "higher real-time priority. Ratios are those of the same window.",
        tables=(table(found, counted),),
        notes=(
            f"The API was asked {', '.join(f'{count} times below /{how}' for how, count in sorted(asked.items()))}.",
        ),
    )


def table(found: Mapping[str, list[tuple[float, float]]], counted: Mapping[str, Mapping[str, int]]) -> Table:
    """Put together the delays of each window (heartbeat and health, in ms), and what the logs say, by who it is."""
    rows = []
    for index, delayed in enumerate(("heartbeat", "health")):
        delays = {what: tuple(each[index] for each in windows) for what, windows in found.items()}
        rows += [Row(what=f"{delayed}, {what}", unit="ms", runs=runs) for what, runs in delays.items()]
        rows += [
            Row(
                what=f"{delayed}, {what} to {NONE}",
                unit="ratio",
                runs=tuple(mine / alone for mine, alone in zip(runs, delays[NONE], strict=True)),
                aim=Aim(limit=AIM, judged=Judged.MEDIAN),
            )
            for what, runs in delays.items()
            if what != NONE
        ]
    rows += [
        Row(what=f"{what}, all daemons", unit="", runs=tuple(each[what] for each in counted.values()), aim=Aim(limit=0))
        for what in COUNTED
    ]
    return Table(title="longest delay in a window", rows=tuple(rows))


def _tables(api: int) -> dict[str, str]:
    """Give what each daemon has beside its heartbeats, as tables of its farm file."""
    return {
        NONE: "",
        ONE_HANGS: targets(1, f"http://127.0.0.1:{api}/hang"),
        HANG: targets(16, f"http://127.0.0.1:{api}/hang"),
        BIG: targets(16, f"http://127.0.0.1:{api}/big"),
        CHECKED: checks(CHECKS, api),
    }


def targets(number: int, url: str) -> str:
    """Write so many targets of AWS, which are only looked at."""
    return "".join(
        f'[[target]]\ntype = "aws"\ngroup = "{_GROUP.format(index)}"\nport = 80\nendpoint_url = "{url}"\npoll = "1s"\n'
        'policy = "observe"\n'
        for index in range(number)
    )


def checks(number: int, port: int) -> str:
    """Write so many checks of four kinds, which lead to nothing when they fail."""
    kinds = (
        f'type = "tcp"\naddress = "127.0.0.1"\nport = {port}',
        f'type = "http"\naddress = "127.0.0.1"\nport = {port}\npath = "/ok"\npattern = "It works"',
        'type = "process"\ncommand_line = "benchmarks.slow_api"',
        'type = "command"\ncommand = ["/bin/true"]',
    )
    return "".join(
        f'[[check]]\n{kinds[index % len(kinds)]}\nname = "CHECK{index}"\ninterval = "1s"\ntimeout = "5s"\n'
        'action = "none"\n'
        for index in range(number)
    )


@contextmanager
def _slow_api(here: Namespace) -> Iterator[int]:
    """Start the stand-in; gives its port."""
    read, write = os.pipe()
    with os.fdopen(read) as said:
        options = ("--members", str(MEMBERS), "--delay", str(DELAY))
        api = start(*here.command(sys.executable, "-m", "benchmarks.slow_api", *options), output=write)
        os.close(write)
        try:
            yield int(said.readline())
        finally:
            end(api)


def _asked(api: int) -> dict[str, int]:
    with urllib.request.urlopen(f"http://127.0.0.1:{api}/asked", timeout=30) as answer:
        counts: dict[str, int] = json.load(answer)
    return counts


@contextmanager
def real_time() -> Iterator[None]:
    """Run this thread before all daemons; what it starts is ordinary."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(_PRIORITY))
    except OSError as error:
        raise CannotMeasureError(f"who measures must run at real-time priority: {error.strerror}") from None
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
