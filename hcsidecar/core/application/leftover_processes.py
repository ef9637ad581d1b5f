"""Finds the processes of the application: those that runs of its scripts have left, in a table of processes.

Each run has a keeper (`application/keeper.py`) that starts the script. The kernel makes the keeper the parent of every
process below it that loses its own parent. So all descendants of a living keeper belong to its run, including a daemon
that has left its process group and session, and one with an empty environment (Debian's `apache2ctl` and `service`
clear it). If the keeper was killed, the process group of the script, while its leader lives, and the mark in the
environment still show what belongs to the run. A process id alone proves nothing, since another process may have it by
now: the start time of the process and the boot id of the machine must match too.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

_DEAD = frozenset("ZXx")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process in the kernel's table; see proc(5), /proc/PID/stat."""

    pid: int
    parent: int
    group: int
    state: str
    start: int
    "When it started, in clock ticks of the kernel since boot."
    command: str

    def __str__(self) -> str:
        return f"{self.pid} ({self.command}, state {self.state})"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperRecord:
    """What a keeper has recorded of itself and of the script that it has started."""

    run: str
    boot: str
    "The machine's boot id."
    keeper: int
    keeper_start: int
    script: int
    script_start: int
    unit: str
    "The systemd unit that contains both; empty if there is none."


def read_record(run: str, text: str) -> KeeperRecord | None:
    """Parse the record of a keeper. Return None if the text is not one."""
    words = text.split(" ")
    numbers = words[1:5]
    if len(words) != 6 or not all(number.isascii() and number.isdecimal() for number in numbers):  # noqa: PLR2004
        return None
    keeper, keeper_start, script, script_start = map(int, numbers)
    return KeeperRecord(
        run=run,
        boot=words[0],
        keeper=keeper,
        keeper_start=keeper_start,
        script=script,
        script_start=script_start,
        unit=words[5].strip(),
    )


def living_runs(
    processes: Mapping[int, Process], records: Iterable[KeeperRecord], *, boot: str
) -> dict[str, KeeperRecord]:
    """Return the records whose keeper lives, by run."""
    return {
        record.run: record
        for record in records
        if record.boot == boot
        and (keeper := processes.get(record.keeper)) is not None
        and keeper.start == record.keeper_start
        and keeper.state not in _DEAD
    }


def left_running(
    processes: Mapping[int, Process],
    records: Collection[KeeperRecord],
    *,
    boot: str,
    marked: Mapping[int, str],
    spare: Collection[int],
) -> dict[Process, str]:
    """Return every living process of the application, with the run that it belongs to.

    `processes` is the table by process id. `marked` has the runs of marked processes, by process id. `spare` has the
    processes that never belong to the application, such as the daemon.
    """
    living = living_runs(processes, records, boot=boot)
    keepers = {record.keeper for record in living.values()}
    children: dict[int, list[int]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process.pid)

    found = {pid: run for pid, run in marked.items() if pid in processes}
    for record in records:
        if record.run in living:
            found |= dict.fromkeys(_descendants(record.keeper, children, {*spare, *keepers}), record.run)
            continue
        leader = processes.get(record.script)
        if record.boot == boot and leader is not None and leader.start == record.script_start:
            members = (process.pid for process in processes.values() if process.group == record.script)
            found |= dict.fromkeys(members, record.run)
    return {
        processes[pid]: run
        for pid, run in sorted(found.items())
        if processes[pid].state not in _DEAD and pid not in spare and pid not in keepers
    }


def _descendants(pid: int, children: Mapping[int, list[int]], spare: Collection[int]) -> set[int]:
    """Return the descendants of a process, without those in `spare` and their descendants."""
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        below = [child for child in children.get(waiting.pop(), ()) if child not in spare and child not in found]
        found.update(below)
        waiting += below
    return found
