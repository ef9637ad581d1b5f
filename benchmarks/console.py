"""Figure: what the console costs whom: its first page, a death until it is seen, 50 browsers beside a busy farm."""

import json
import queue
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import pairwise
from statistics import quantiles
from typing import Final, NamedTuple

from benchmarks.checked_node import OK, status_in
from benchmarks.console_process import LIMIT, Console, console_of
from benchmarks.delays import real_time
from benchmarks.figures import Aim, CannotMeasureError, Figure, Judged, Row, Table
from benchmarks.first_page import Shown, chromium
from benchmarks.processes import memory, shares_of_a_core
from benchmarks.progress import say
from benchmarks.real_farm import WEB_PORT, RealFarm, real_farm
from benchmarks.saturated import LAN
from hcsidecar.core.console.stream_format import HEARTBEAT

SIZE: Final = 3
BROWSERS: Final = 50
PAGE_WEIGHT, PAGE_TIME = 150.0, 300.0
"kB, and milliseconds."
DEAD_PAGE_TIME: Final = 1000.0
"Milliseconds of the page at the very moment of a death: a node that does not answer is shown as such within a second."
SEEN_AFTER: Final = LAN.lost_after + 0.3
"Seconds from a death until the card of the dead one says so."
MEMORY_AIM: Final = 70.0
"MiB of a console that nobody looks at."
REST_AIM: Final = 0.1
"Percent of a core: what is less rounds to nothing."
DELAY_AIM: Final = 1.5
"A delay with browsers to that without, in the median of the windows, as for targets and checks."
LATE: Final = 2 * LAN.pulse
"Seconds of silence that are one heartbeat too many."
_PROBE_EVERY: Final = 0.02
_LEVEL: Final = re.compile(rb'<div class="card (\w+)">')
_GOOD, _BAD = "good", "bad"


class Window(NamedTuple):
    """What was seen of the daemon beside the console, while so many had it open."""

    heartbeat: float
    "Milliseconds: the longest silence, less a pulse."
    late: int
    "Silences of two pulses and more."
    p99: float
    "Milliseconds of the health answers."


def measure(*, quick: bool) -> Figure:
    """Open the console of one node of three again and again, and kill another node."""
    pages, deaths, windows, seconds = (2, 2, 1, 4.0) if quick else (15, 12, 10, 15.0)
    notes: list[str] = []
    tables: list[Table] = []
    with ExitStack() as stack:
        farm = stack.enter_context(real_farm(size=SIZE))
        farm.await_settled(since=farm.start())
        console = stack.enter_context(console_of(farm, farm.names[0]))
        costs = _Costs(console, seconds=seconds)
        costs.take("nobody has looked yet")
        console.sign_in()
        try:
            tables.append(_first_page(console, runs=pages))
        except CannotMeasureError as error:
            notes.append(f"No first page in this run: {error}.")
        tables += [_deaths(console, how, runs=deaths) for how in (_KILLED, _CUT)]
        found: dict[str, list[Window]] = {each: [] for each in _BESIDE}
        for window in range(windows):
            say(f"{BROWSERS} browsers and none: window {window + 1} of {windows}")
            _windows(console, found, seconds=seconds)
        tables.append(delays_table(found))
        for browsers in (1, BROWSERS):
            with _open_consoles(console, browsers) as wait:
                wait()
                costs.take(f"{browsers} browser{'s' if browsers > 1 else ''}, one change a second")
        # A stream that nobody reads any more is noticed with the next message, or the next sign of life.
        time.sleep(HEARTBEAT + 2.0)
        costs.take("all have gone")
        tables += costs.tables()
    return Figure(
        title=f"The console: first page, a death until it is seen, {BROWSERS} browsers",
        method=f"A farm of {SIZE} real daemons in network namespaces on a Linux bridge (preset lan, real-time "
        "priority, layer-2 mode with the filter tc), and the console of the first node, over TLS. First page: the Farm "
        "page in Chromium with all that it loads, in a namespace on the same bridge; a newcomer has nothing but a "
        "session, and then opens the page once more. Bytes are as they came over the wire, compressed, with heads. "
        "Death: from just before the SIGKILL of another node's daemon, or before its cable is cut, until its card in "
        "the stream of the Farm page has another level than good, and until it has that of a node that nobody hears; "
        f"both by the wall clock of this machine. Browsers: a window of {seconds:g} s with none, the time in which "
        f"{BROWSERS} come at once, and a window with {BROWSERS}, each of which has got the page, follows its stream, "
        "and asks for the last hour every 10 s; in all of them an operator gives a node another power once a second. "
        "All of them are one process at the lowest priority: they stand for other machines. Heartbeats of the "
        "node with the console: what the longest silence was longer than a pulse, by the kernel's time stamps. Health: "
        "of the same node, from the beginning of the connection to the answer, asked 50 times a second by a process at "
        "a higher real-time priority than the daemon's. Ratios are those of neighbouring windows. Processor: time on a "
        "core of all threads by /proc/PID/task/*/schedstat; memory by /proc/PID/status.",
        tables=tuple(tables),
        notes=tuple(notes),
    )


# -- first page ---------------------------------------------------------------------------------------------------


def _first_page(console: Console, *, runs: int) -> Table:
    cold: list[Shown] = []
    warm: list[Shown] = []
    with chromium(console) as browser:
        for run in range(runs + 1):
            say(f"first page {run} of {runs}")
            with browser.newcomer() as page:
                cold.append(browser.visit(page))
                warm.append(browser.visit(page))
    # The first of all is the first one for the console, and for Chromium, too.
    (very_first, *cold), (_, *warm) = cold, warm
    return Table(
        title="the Farm page in Chromium",
        rows=(
            Row(
                what="newcomer: all that came over the wire",
                unit="kB",
                runs=tuple(each.carried / 1000 for each in cold),
                aim=Aim(limit=PAGE_WEIGHT),
            ),
            Row(
                what="newcomer: load event",
                unit="ms",
                runs=tuple(each.loaded for each in cold),
                aim=Aim(limit=PAGE_TIME, judged=Judged.MEDIAN),
            ),
            Row(what="newcomer: first contentful paint", unit="ms", runs=tuple(each.seen for each in cold)),
            Row(what="newcomer: requests", unit="", runs=tuple(each.asked for each in cold)),
            Row(what="again: all that came over the wire", unit="kB", runs=tuple(one.carried / 1000 for one in warm)),
            Row(what="again: load event", unit="ms", runs=tuple(each.loaded for each in warm)),
            Row(what="again: requests", unit="", runs=tuple(each.asked for each in warm)),
            Row(what="the first page of the console's and Chromium's life", unit="ms", runs=(very_first.loaded,)),
        ),
    )


# -- deaths -------------------------------------------------------------------------------------------------------


class _Cards:
    """Follows the stream of the Farm page, and notes the level of a node's card and when it came."""

    def __init__(self, console: Console, node: str) -> None:
        self._own, self._all = f"event: card-{node}\n".encode(), b"event: nodes\n"
        self._article = f'<article id="card-{node}"'.encode()
        self._came: queue.Queue[tuple[float, str]] = queue.Queue()
        self._connection = console.connection(patience=LIMIT)
        self._connection.request("GET", "/live/farm", headers=console.cookie)
        self._stream = self._connection.getresponse()
        if self._stream.status != OK:
            raise CannotMeasureError(f"the stream of the Farm page: {self._stream.status}")
        self._reader = threading.Thread(target=self._read, name="stream", daemon=True)
        self._reader.start()

    def close(self) -> None:
        """Follow no more."""
        with suppress(OSError):
            self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._connection.close()

    def await_level(self, wanted: Callable[[str], bool], *, what: str) -> tuple[float, str]:
        """Wait until the card has a level; give when that came, in seconds of the wall clock, and the level."""
        until = time.monotonic() + LIMIT
        with suppress(queue.Empty):
            while (left := until - time.monotonic()) > 0:
                at, level = self._came.get(timeout=left)
                if wanted(level):
                    return at, level
        raise CannotMeasureError(f"within {LIMIT:g} s the card did not show {what}")

    def _read(self) -> None:
        is_all = is_card = False
        with suppress(OSError, ValueError):
            while line := self._stream.readline():
                now = time.time()
                if line.startswith(b"event: "):
                    # Its own card alone, or those of all nodes: it is one of several articles then.
                    is_card, is_all = line == self._own, line == self._all
                elif is_all and b"<article " in line:
                    is_card = self._article in line
                elif is_card and (found := _LEVEL.search(line)):
                    self._came.put((now, found[1].decode()))


class _Death(NamedTuple):
    """A way to lose a node."""

    what: str
    lose: Callable[[RealFarm, str], float]
    "Returns when, in seconds of the wall clock."
    bring_back: Callable[[RealFarm, str], object]


def _cut(farm: RealFarm, name: str) -> float:
    at = time.time()
    farm.observer.ip("link", "set", name, "down")
    return at


def _mend(farm: RealFarm, name: str) -> None:
    farm.observer.ip("link", "set", name, "up")


_KILLED: Final = _Death("SIGKILL", RealFarm.kill, RealFarm.start)
_CUT: Final = _Death("cable cut", _cut, _mend)


def _deaths(console: Console, how: _Death, *, runs: int) -> Table:
    farm, victim = console.farm, console.farm.names[-1]
    changed: list[float] = []
    told: list[float] = []
    shown: list[float] = []
    for run in range(runs):
        say(f"{how.what} {run + 1} of {runs}")
        cards = _Cards(console, victim)
        try:
            # Where in the console's looks at the farm a death falls is different each time.
            time.sleep(2.0 + run * 0.137 % 1.0)
            at = how.lose(farm, victim)
            came, level = cards.await_level(lambda level: level != _GOOD, what="that anything is wrong")
            changed.append(came - at)
            if level != _BAD:
                came, _ = cards.await_level(lambda level: level == _BAD, what="that nobody hears it")
            told.append(came - at)
            shown.append(_time_of_page(console))
            how.bring_back(farm, victim)
            cards.await_level(lambda level: level == _GOOD, what="that it is back")
        finally:
            cards.close()
    return Table(
        title=f"{how.what} of another node, lost_after {1000 * LAN.lost_after:g} ms",
        rows=(
            Row(what="until its card changes", unit="ms", runs=tuple(1000 * each for each in changed)),
            Row(
                what="until its card says that nobody hears it",
                unit="ms",
                runs=tuple(1000 * each for each in told),
                aim=Aim(limit=1000 * SEEN_AFTER),
            ),
            Row(
                what="the Farm page for somebody who comes then",
                unit="ms",
                runs=tuple(1000 * each for each in shown),
                aim=Aim(limit=DEAD_PAGE_TIME),
            ),
        ),
    )


def _time_of_page(console: Console) -> float:
    """Return the seconds that the Farm page takes alone, without the files that it loads."""
    began = time.monotonic()
    with closing(console.connection()) as connection:
        connection.request("GET", "/", headers=console.cookie)
        answer = connection.getresponse()
        answer.read()
        if answer.status != OK:
            raise CannotMeasureError(f"the Farm page: {answer.status}")
    return time.monotonic() - began


# -- many browsers ------------------------------------------------------------------------------------------------

_NONE, _COMING, _OPEN = "0 browsers", f"{BROWSERS} come at once", f"{BROWSERS} browsers"
_BESIDE: Final = (_NONE, _COMING, _OPEN)


@contextmanager
def _open_consoles(console: Console, browsers: int) -> Iterator[Callable[[], None]]:
    """Have so many browsers come; what is yielded waits until all of them are there."""
    farm = console.farm
    with subprocess.Popen(
        farm.observer.command(
            *("setpriv", "--pdeathsig=KILL", "--", sys.executable, "-m", "benchmarks.open_consoles"),
            *("--url", console.url, "--browsers", str(browsers), "--node", farm.names[-1]),
        ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        assert process.stdout is not None  # noqa: S101 - likewise
        said = process.stdout

        def wait() -> None:
            if said.readline() != "open\n":
                raise CannotMeasureError(f"{browsers} browsers cannot open the console")

        try:
            print(console.session, console.token, sep="\n", file=process.stdin, flush=True)
            yield wait
            messages, broken = json.loads(process.communicate(timeout=LIMIT)[0])
            if broken or bool(messages) != bool(browsers):
                raise CannotMeasureError(f"{broken} of {browsers} streams broke; {messages} messages came")
        finally:
            process.kill()


class _Prober:
    """Asks a node for its health all the time."""

    def __init__(self, farm: RealFarm, node: str) -> None:
        self._farm, self._address = farm, farm.addresses[node]
        self._asking = True
        self._took: list[float] = []
        self._thread = threading.Thread(target=self._probe, name="prober", daemon=True)
        self._thread.start()

    def finish(self) -> list[float]:
        """Ask no more; give what each answer took, in milliseconds."""
        self._asking = False
        self._thread.join()
        return self._took

    def _probe(self) -> None:
        with self._farm.observer.entered(), real_time():
            while self._asking:
                began = time.monotonic()
                with suppress(OSError):
                    self._ask()
                self._took.append(1000 * (time.monotonic() - began))
                time.sleep(_PROBE_EVERY)

    def _ask(self) -> None:
        with socket.create_connection((self._address, WEB_PORT), timeout=LIMIT) as connection:
            connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            if status_in(connection.recv(4096)) != OK:
                raise CannotMeasureError(f"{self._address}: not OK")


def _watch(console: Console, while_waiting: Callable[[], None]) -> Window:
    """Hear the console's node, and ask for its health, for as long as something takes."""
    witness = console.farm.witness
    assert witness is not None  # noqa: S101 - the farm has one
    witness.drain()
    prober = _Prober(console.farm, console.node)
    try:
        while_waiting()
    finally:
        took = prober.finish()
    heard = []
    while (each := witness.hear(0)) is not None:
        if each.heartbeat.node == console.node:
            heard.append(each.at)
    silences = [after - before for before, after in pairwise(heard)]
    if not silences or len(took) < 2:
        raise CannotMeasureError(f"{console.node} has said nothing")
    late = sum(silence > LATE for silence in silences)
    return Window(1000 * (max(silences) - LAN.pulse), late, quantiles(took, n=100, method="inclusive")[98])


def _windows(console: Console, found: dict[str, list[Window]], *, seconds: float) -> None:
    """Take one window of each kind."""
    with _open_consoles(console, 0) as wait:
        wait()
        found[_NONE].append(_watch(console, lambda: time.sleep(seconds)))
    with _open_consoles(console, BROWSERS) as wait:
        found[_COMING].append(_watch(console, wait))
        found[_OPEN].append(_watch(console, lambda: time.sleep(seconds)))


def delays_table(found: dict[str, list[Window]]) -> Table:
    """Put together what was seen in each window, by how many had the console open."""
    rows = []
    for what, unit, of in (
        ("heartbeat, longest delay", "ms", lambda window: window.heartbeat),
        ("/health, p99", "ms", lambda window: window.p99),
    ):
        runs = {beside: tuple(map(of, found[beside])) for beside in _BESIDE}
        rows += [Row(what=f"{what}, {beside}", unit=unit, runs=runs[beside]) for beside in _BESIDE]
        rows += [
            Row(
                what=f"{what}, {beside} to {_NONE}",
                unit="ratio",
                runs=tuple(mine / alone for mine, alone in zip(runs[beside], runs[_NONE], strict=True)),
                aim=Aim(limit=DELAY_AIM, judged=Judged.MEDIAN) if beside == _OPEN else None,
            )
            for beside in (_COMING, _OPEN)
        ]
    rows += [
        Row(
            what=f"heartbeats that came {1000 * LATE:g} ms or more after the one before, {beside}",
            unit="",
            runs=tuple(window.late for window in found[beside]),
            aim=None if beside == _NONE else Aim(limit=0),
        )
        for beside in _BESIDE
    ]
    return Table(title="the daemon beside the console", rows=tuple(rows))


# -- costs --------------------------------------------------------------------------------------------------------


class _Costs:
    """Memory and processor time of a console and its daemon."""

    def __init__(self, console: Console, *, seconds: float) -> None:
        self._console, self._seconds = console, seconds
        self._memory: list[Row] = []
        self._processor: list[Row] = []

    def take(self, beside: str) -> None:
        """Watch them for a while."""
        say(f"what the console costs: {beside}")
        time.sleep(3.0)
        pids = {"console": (self._console.pid,), "daemon": (self._console.farm.daemons[self._console.node].pid,)}
        spent = shares_of_a_core(pids, seconds=self._seconds)
        is_idle = "browser" not in beside
        memory_aim = Aim(limit=MEMORY_AIM) if is_idle else None
        self._memory.append(Row(what=beside, unit="MiB", runs=(memory(self._console.pid)[0],), aim=memory_aim))
        rest_aim = Aim(limit=REST_AIM) if is_idle else None
        for name, aim in (("console", rest_aim), ("its daemon", None)):
            share = spent[name.rpartition(" ")[2]]
            self._processor.append(Row(what=f"{name}, {beside}", unit="% of a core", runs=(share,), aim=aim))

    def tables(self) -> list[Table]:
        """Give what was seen."""
        return [
            Table(title="memory of the console (VmRSS)", rows=tuple(self._memory)),
            Table(title="processor", rows=tuple(self._processor)),
        ]
