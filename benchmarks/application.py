"""Figure: how soon a dead or hung Apache is noticed, and serves again; beside it keepalived's track_script."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from benchmarks.apache import ADDRESS, PORT, Apache
from benchmarks.checked_node import (
    NOT_FOUND,
    OK,
    POLL,
    CheckedNode,
    Tempo,
    application_table,
    check_table,
    default_tempo,
    status,
)
from benchmarks.figures import Aim, CannotMeasureError, Figure, Row, Table
from benchmarks.progress import say
from benchmarks.tracker import Tracker
from benchmarks.wire import Namespace, namespaces

TIGHT: Final = Tempo(interval=0.2, timeout=0.2)
AS_KEEPALIVED: Final = Tempo(interval=1.0, timeout=1.0)
WANDER: Final = 1.1
"An attempt may come this much later than the interval says, so that checks do not fall into step."
SLACK: Final = 0.1
"Seconds that two busy cores may cost beside what is promised."
LIMIT: Final = 60.0
"Seconds that Apache may take to come back."


class Return(NamedTuple):
    """What became of one death or hang, in seconds since then."""

    noticed: float
    "The health URL answers NOT FOUND, and the share is released in that instant."
    answered: float | None
    "Apache gives the first good answer; None where nobody asked, so as not to be in its way."
    ready: float
    "The health URL answers OK again."


def measure(*, quick: bool) -> Figure:
    """Kill Apache and have it hang, watched by our checks and then by keepalived's."""
    default = default_tempo()
    plans = {TIGHT: (2, 2)} if quick else {default: (10, 5), AS_KEEPALIVED: (20, 10), TIGHT: (30, 10)}
    tables = [
        _ours(tempo, "default check" if tempo == default else "check", deaths=deaths, hangs=hangs)
        for tempo, (deaths, hangs) in plans.items()
    ]
    notes: tuple[str, ...] = ()
    try:
        tables.append(_keepalived(deaths=2, hangs=1) if quick else _keepalived(deaths=20, hangs=10))
    except CannotMeasureError as error:
        notes = (f"No peer in this run: {error}.",)
    return Figure(
        title="A dead or hung application: noticed, and back in service",
        method="A farm of one real daemon and one Apache in a network namespace, started by the scripts of its "
        "[application]; one http check with the action restart. All processes of Apache get SIGKILL, or SIGSTOP, at a "
        "random moment between two attempts. Noticed: /health, asked every "
        f"{POLL * 1000:g} ms, turns NOT FOUND; in layer-2 mode the share is given up in the same instant. "
        "Answered: Apache, asked as often, gives the first good answer. Ready: /health is OK again, which takes the "
        "stop script (SIGKILL to all processes), the start script and a check that passes. After a hang it takes the "
        "2 s before that connections to what is broken may last: the kernel holds some for Apache, the checks' own "
        "too, which it could still answer. restart_window is 0s, so that every run is like a first failure: further "
        "ones within an hour would begin with a pause. Limits: an attempt comes "
        f"at most 10% later than the interval says, a hang costs the timeout more, and {SLACK * 1000:g} ms are for "
        "two busy cores. Peer: a keepalived with one track_script (interval 1, timeout 1, fall 1), a bash script that "
        "asks for the same page, and the same Apache without a daemon: from death or hang to the address given up; "
        "it restarts nothing.",
        tables=tuple(tables),
        notes=notes,
    )


def noticed_aim(tempo: Tempo, *, hung: bool) -> Aim:
    """Give the limit for noticing, in milliseconds."""
    return Aim(limit=(tempo.interval * WANDER + (tempo.timeout if hung else 0.0) + SLACK) * 1000)


def _ours(tempo: Tempo, what: str, *, deaths: int, hangs: int) -> Table:
    random = Random(str(tempo))
    with _bench() as (directory, namespace, stack):
        application = Apache(directory, namespace)
        stack.callback(application.stop)
        tables = application_table(application) + check_table("http", "WEB", tempo, action="restart")
        node = CheckedNode(directory / "node", namespace, name="bench", address=ADDRESS, tables=tables)
        # First of all the daemon, lest it start Apache again.
        stack.callback(node.stop)
        with namespace.entered():
            died: list[Return] = []
            hung: list[Return] = []
            for found, name, number, harm in (
                (died, "death", deaths, application.kill),
                (hung, "hang", hangs, application.hang),
            ):
                for run in range(number):
                    say(f"{what}, {tempo}: {name} {run + 1} of {number}")
                    node.await_health(OK)
                    time.sleep(random.random() * tempo.interval)
                    # Whoever asks one that hangs stays in its queue.
                    found.append(_watch(node, harm, ask=found is died))
    rows = [
        _row("death to noticed", [run.noticed for run in died], noticed_aim(tempo, hung=False)),
        _row("death to first good answer", [run.answered for run in died if run.answered is not None]),
        _row("death to Ready", [run.ready for run in died]),
        _row("hang to noticed", [run.noticed for run in hung], noticed_aim(tempo, hung=True)),
        _row("hang to Ready", [run.ready for run in hung]),
        _row("noticed to Ready, after a death", [run.ready - run.noticed for run in died]),
        _row("noticed to Ready, after a hang", [run.ready - run.noticed for run in hung]),
    ]
    return Table(title=f"{what}, {tempo}", rows=tuple(rows))


def _watch(node: CheckedNode, harm: Callable[[], None], *, ask: bool) -> Return:
    """Harm Apache, and look what becomes of it; `ask` for its page too."""
    began = time.monotonic()
    harm()
    silent = False
    noticed = answered = None
    while (took := time.monotonic() - began) < LIMIT:
        health = node.health()
        if noticed is None:
            noticed = time.monotonic() - began if health == NOT_FOUND else None
        if ask and answered is None:
            good = status(ADDRESS, PORT, "/") == OK
            # A last answer may be under way.
            answered = time.monotonic() - began if good and silent else None
            silent = silent or not good
        if noticed is not None and health == OK and (answered is not None or not ask):
            return Return(noticed=noticed, answered=answered, ready=took)
        time.sleep(POLL)
    raise CannotMeasureError(f"Apache has not come back within {LIMIT:g} s")


def _keepalived(*, deaths: int, hangs: int) -> Table:
    random = Random("keepalived")
    with _bench() as (directory, namespace, stack):
        application = Apache(directory, namespace)
        stack.callback(application.stop)
        application.start()
        tracker = Tracker(directory / "keepalived", namespace, kinds=("http",))
        stack.callback(tracker.stop)
        found: dict[str, list[float]] = {}
        with namespace.entered():
            for what, number, harm in (("death", deaths, application.kill), ("hang", hangs, application.hang)):
                for run in range(number):
                    say(f"keepalived: {what} {run + 1} of {number}")
                    tracker.await_address()
                    time.sleep(random.random() * AS_KEEPALIVED.interval)
                    began = time.monotonic()
                    harm()
                    found.setdefault(what, []).append(tracker.await_release() - began)
                    application.stop()
                    application.start()
    return Table(
        title="peer: keepalived, track_script, interval 1 s, timeout 1 s",
        rows=tuple(_row(f"{what} to noticed (address given up)", times) for what, times in found.items()),
    )


def _row(what: str, seconds: list[float], aim: Aim | None = None) -> Row:
    return Row(what=what, unit="ms", runs=tuple(each * 1000 for each in seconds), aim=aim)


@contextmanager
def _bench() -> Iterator[tuple[Path, Namespace, ExitStack]]:
    """Give a directory, a namespace, and a stack for what must end before these do."""
    with (
        tempfile.TemporaryDirectory(prefix="hcsidecar-bench-") as directory,
        namespaces("application") as (namespace,),
        ExitStack() as stack,
    ):
        yield Path(directory), namespace, stack
