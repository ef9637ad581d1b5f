"""Runs the scripts of the application, and finds and ends what they leave running.

Each run has its own keeper (`keeper.py`), a process that outlives the daemon. Under systemd the keeper is the main
process of a unit of its own (`core/application/transient_unit.py`). `core/application/leftover_processes.py` decides
which processes are the application's. Disks and processes are accessed in threads, so that heartbeats do not wait.
"""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hcsidecar.application import processes
from hcsidecar.application.keeper_launch import job
from hcsidecar.application.live_run import LiveRun, RunEnd
from hcsidecar.application.run_files import RunFiles, write_shim
from hcsidecar.application.units import Units
from hcsidecar.core.application.leftover_processes import Process, left_running, living_runs
from hcsidecar.core.application.runs import Place, run_name
from hcsidecar.core.application.runs import environment as script_environment
from hcsidecar.core.events import Event, Level
from hcsidecar.core.exhaustion import explained
from hcsidecar.core.farmfile.application_table import ApplicationTable
from hcsidecar.farmfile.permissions import why_not_run
from hcsidecar.farmfile.places import Places
from hcsidecar.system.machine_start import boot_id

TIDY_INTERVAL: Final = 3600.0
"Seconds between two clean-ups of old logs."
_SHOWN: Final = 5
"Number of processes that a reason names."


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How a run ended."""

    status: int | None
    "Exit status; None if there is none, because the script was ended or could not be started."
    reason: str | None
    "Why the run failed; None if the status is 0."
    last_lines: tuple[str, ...]
    "The end of its output, for an event."
    log: Path
    "The file with its output, as far as that is kept."


def with_home(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with HOME, which that of a daemon may lack."""
    return {"HOME": str(Path.home())} | dict(environment)


class Scripts:
    """The scripts of one node's farm file. For one event loop."""

    def __init__(
        self,
        table: ApplicationTable,
        *,
        places: Places,
        place: Place,
        tell: Callable[[Event], None],
        environment: Mapping[str, str] = os.environ,
        systemd: bool | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`systemd` says whether to use units; with None that depends on whether systemd started this process."""
        self._table = table
        self._places = places
        self._base = environment
        self._place = place
        self._files = RunFiles(Path(place.state_dir))
        directory = Path(place.socket).parent
        self._units = Units(environment, farm=place.farm, node=place.node, directory=directory, wanted=systemd)
        self._tell = tell
        self._wall_clock = wall_clock
        self._in_progress: set[str] = set()
        self._latest: dict[str, str] = {}
        self._told: set[str] = set()

    def reconfigure(self, table: ApplicationTable, places: Places) -> None:
        """Take another table for the next runs; a run in progress goes on as it began."""
        self._table, self._places = table, places

    async def run(self, key: str, arguments: Sequence[str]) -> RunResult:
        """Run a script of the table to its end; a script that is no longer in the table has nothing to do.

        If this is cancelled, it first ends the process group of the run, or under systemd its whole unit.
        """
        run = self._new_run(key, arguments)
        self._latest[key] = run
        self._in_progress.add(run)
        try:
            end = await self._run(key, arguments, run)
        finally:
            self._in_progress.discard(run)
        last_lines = await asyncio.to_thread(self._files.last_lines, run)
        return RunResult(status=end.status, reason=end.reason, last_lines=last_lines, log=self._files.log(run))

    async def last_lines(self, key: str) -> tuple[str, ...]:
        """Return the last lines of the latest run of a script, even if it still runs or was cancelled."""
        run = self._latest.get(key)
        return () if run is None else await asyncio.to_thread(self._files.last_lines, run)

    async def kill_application(self) -> str | None:
        """End all processes that scripts have left running: SIGTERM, then SIGKILL. Return what survives, or None.

        Leave runs in progress alone.
        """
        try:
            return await self._kill_application()
        except OSError as error:
            return f"the processes of the application cannot be seen: {explained(error.errno) or error}"

    async def _kill_application(self) -> str | None:
        records = await asyncio.to_thread(self._files.read_records)
        in_units = [record for record in records if record.run not in self._in_progress]
        await asyncio.to_thread(self._units.stop, in_units)
        survivors = await processes.end(self._find)
        names = [str(process) for process in survivors]
        pids = {process.pid for process in survivors}
        # In a sandbox the processes of units may be hidden from us.
        names += [str(pid) for pid in await asyncio.to_thread(self._units.processes, in_units) if pid not in pids]
        if not names:
            return None
        return f"{len(names)} processes of the application live still, even after SIGKILL: {', '.join(names[:_SHOWN])}"

    async def keep_tidy(self) -> None:
        """Make the files that scripts need, then remove old logs once an hour, until cancelled."""
        await self._prepare()
        while True:
            await self._tidy()
            await asyncio.sleep(TIDY_INTERVAL)

    def _new_run(self, key: str, arguments: Sequence[str]) -> str:
        """Return a unique name. If two runs begin in the same millisecond, the second takes the next one."""
        wall_clock = self._wall_clock()
        while (run := run_name(key, arguments, wall_clock=wall_clock)) in {*self._in_progress, *self._latest.values()}:
            wall_clock += 0.001
        return run

    async def _run(self, key: str, arguments: Sequence[str], run: str) -> RunEnd:
        table, places = self._table, self._places
        name = table.scripts.get(key)
        if name is None:
            return RunEnd(None, None)
        script = places.program(name)
        refusal = await asyncio.to_thread(why_not_run, script)
        if refusal is not None:
            return RunEnd(None, f"{name} {refusal}")
        await self._prepare()
        live = LiveRun(run=run, units=self._units, warn=self._warn)
        words = [str(script), *arguments]
        try:
            return await live.live(lambda unit: self._job(table, places, words, run, unit))
        except asyncio.CancelledError:
            await _to_its_end(live.end())
            raise
        finally:
            live.close()

    async def _prepare(self) -> None:
        try:
            await asyncio.to_thread(self._files.make_directories)
            if self._table.safekit:
                directories = [Path(each) for each in self._place.safekit_directories]
                await asyncio.to_thread(write_shim, Path(self._place.safe), directories)
        except OSError as error:
            self._warn(f"what scripts need in the state directory cannot be made: {error}")
        await self._tidy()

    def _job(self, table: ApplicationTable, places: Places, words: Sequence[str], run: str, unit: str) -> bytes:
        variables = script_environment(
            table,
            self._place,
            run=run,
            start_directory=str(places.program(table.start).parent),
            base=with_home(self._base),
        )
        return job(
            [
                ("log", self._files.log(run)),
                ("limit", str(table.log_kb * 1024)),
                ("owner", str(os.geteuid())),
                ("record", self._files.record(run)),
                ("unit", unit),
                ("directory", places.working_directory(table.directory or ".")),
                *(("argument", word) for word in words),
                *(("variable", f"{name}={value}") for name, value in variables.items()),
            ]
        )

    def _find(self) -> Mapping[Process, str]:
        """Return the visible processes of the application with their runs, without those of runs in progress."""
        records = self._files.read_records()
        table = processes.read_processes()
        marked = processes.read_marks(table, self._place.run_marked_in)
        found = left_running(table, records, boot=boot_id(), marked=marked, spare={os.getpid()})
        return {process: run for process, run in found.items() if run not in self._in_progress}

    async def _tidy(self) -> None:
        try:
            await asyncio.to_thread(self._remove_old, frozenset(self._in_progress))
        except OSError as error:
            self._warn(f"old logs of scripts cannot be removed: {error}")

    def _remove_old(self, in_progress: frozenset[str]) -> None:
        records = self._files.read_records()
        living = living_runs(processes.read_processes(), records, boot=boot_id()).keys() | in_progress
        self._files.tidy(
            keep=self._table.log_keep,
            wall_clock=self._wall_clock(),
            living=living,
            ended=[record.run for record in records if record.run not in living],
        )

    def _warn(self, message: str) -> None:
        """Log a warning once; it would be the same at each run."""
        if message not in self._told:
            self._told.add(message)
            self._tell(Event(level=Level.WARNING, origin="application", message=message))


async def _to_its_end(work: Coroutine[None, None, None]) -> None:
    """Wait for work that has its own time limit, even if this is cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise
