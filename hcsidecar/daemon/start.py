"""The entry point of the daemon: `python -m hcsidecar.daemon.start`, which `hcsidecar run` executes."""

import hcsidecar.daemon.resting_collector  # isort: skip
import hcsidecar.daemon.slim  # noqa: F401  # isort: skip

import asyncio
import gc
import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hcsidecar import __version__
from hcsidecar.api.servers import saying
from hcsidecar.core.documents import Entry
from hcsidecar.core.events import Event, Level
from hcsidecar.core.farmfile.farm_file import NodeTable
from hcsidecar.core.lost_files import Losses
from hcsidecar.daemon.daemon import Daemon
from hcsidecar.daemon.launch import daemon_options
from hcsidecar.daemon.memory import StateFile
from hcsidecar.daemon.settled_settings import settled_farm, start_settings, why_not_in_the_farm
from hcsidecar.daemon.start_conditions import STILL, StartConditions, StoppedError
from hcsidecar.events.journal import Journal
from hcsidecar.events.log_output import configure, log_entry
from hcsidecar.events.store import kept_journal
from hcsidecar.farmfile.dirs import SETTINGS, control_socket, make_private, starting_socket, state_dir
from hcsidecar.farmfile.loading import (
    FarmFileError,
    LoadedFarm,
    LoadResult,
    NoNodeHereError,
    find_config,
    find_node,
    see,
)
from hcsidecar.system.inherited_children import InheritedChildren
from hcsidecar.system.memory import keep_tls_buffers_small
from hcsidecar.system.process import CannotRunError, ServiceManager, start_programs_without_waiting
from hcsidecar.system.signals import Signals, hold_still
from hcsidecar.system.threads import NoThreadError, Workers, means_no_thread
from l2mode import KERNEL_RECORD

WORKERS = 2
"Threads for what may block, started at the beginning; two, because one may hang with a disk."


async def _put_back_layer_two(directory: Path, tell: Callable[[Event], None]) -> None:
    """Put back what a killed daemon's layer-2 mode changed, if the farm file has no [l2] table any more."""
    if not (directory / KERNEL_RECORD).exists():
        return
    from l2mode.kernel.errors import FilterError  # noqa: PLC0415 - loaded only where it is needed
    from l2mode.kernel.restore import open_record  # noqa: PLC0415

    loop = asyncio.get_running_loop()

    def tell_from_thread(level: str, message: str) -> None:
        loop.call_soon_threadsafe(tell, Event(level=Level(level), origin="layer 2", message=message))

    def put_back() -> None:
        record = open_record(directory, tell=tell_from_thread)
        record.hold()
        record.restore()

    try:
        await asyncio.to_thread(put_back)
    except FilterError as error:
        tell(Event(level=Level.WARNING, origin="layer 2", message=f"what is left of layer-2 mode stays: {error}"))


REMOVED = 2
"The exit status of the daemon of a node that the farm has removed; systemd does not restart it."
_RESTART = -1
"Instead of an exit status: the daemon is to start again."


class _Teller:
    """Writes events into the log, and into the journal as soon as there is one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.journal: Journal | None = None

    def tell(self, event: Event) -> None:
        """Write it down."""
        if self.journal is not None:
            self.journal.write(event)
            return
        entry = Entry(
            number=0, time=time.time(), node=self._name, level=event.level, origin=event.origin, message=event.message
        )
        log_entry(entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """The farm whose node is to run."""

    path: Path
    "The farm file on the disk."
    seen: LoadResult
    "What it says, and what is wrong with it."
    loaded: LoadedFarm
    "The settled revision of the node as far as that is known yet, else the farm file."
    node: str | None
    "Its name; None where the addresses of this machine tell which node it is."
    called: str
    "The name of the node, or of the machine if the node is not known yet."
    take_file: bool
    stay_removed: bool


async def _run(found: _Found, teller: _Teller) -> int:
    reaping = asyncio.create_task(InheritedChildren().keep_reaping(), name="children of before")
    try:
        return await _run_node(found, teller)
    finally:
        reaping.cancel()


async def _run_node(found: _Found, teller: _Teller) -> int:
    loaded, name = found.loaded, found.node
    start_programs_without_waiting()
    # For everything that the loop does in threads, such as name resolution.
    asyncio.get_running_loop().set_default_executor(Workers(kept=WORKERS, name="worker"))
    signals, service = Signals(tell=teller.tell), ServiceManager(os.environ)
    conditions = StartConditions(signals=signals, service=service, tell=teller.tell)

    starting = starting_socket(loaded.farm)

    def say() -> str:
        return f"a daemon of farm {loaded.farm.farm.name} runs here, and {STILL}: {conditions.waits_for}"

    async def find() -> tuple[NodeTable, Path, Path]:
        """Find out which node this is, and make its directories."""
        make_private(starting.parent)
        me = find_node(loaded.farm, name)
        socket_path = control_socket(loaded.farm, me)
        make_private(socket_path.parent)
        return me, make_private(state_dir(loaded.farm, me)), socket_path

    async def removed(why: str) -> int:
        """Return the exit status of a node that is removed, at once or, if it is to stay, when it is told to end."""
        if not found.stay_removed:
            return REMOVED
        signals.stop_leading()
        message = "waits for SIGTERM, as --stay-removed says, so that nobody starts this removed node again and again"
        teller.tell(Event(level=Level.INFO, origin="daemon", message=message))
        service.tell(READY=1, STATUS=why)
        async with saying(starting, lambda: f"a daemon runs here for a node that is removed: {why}"):
            await signals.ended.wait()
        return 0

    try:
        me, directory, socket_path = await conditions.until(find, meanwhile=saying(starting, say))
        losses = Losses()
        kept = kept_journal(directory, loaded.farm.log, node=me.name, log=log_entry, lost=losses.note)
        async with kept as teller.journal:
            begins = f"hcsidecar {__version__} of farm {loaded.farm.farm.name} starts"
            teller.tell(Event(level=Level.INFO, origin="daemon", message=begins))
            if loaded.farm.l2 is None:
                await _put_back_layer_two(directory, teller.tell)
            memory = StateFile(directory, tell=teller.tell, lost=losses.note)
            start = await asyncio.to_thread(
                start_settings, found.path, found.seen, directory / SETTINGS, take_file=found.take_file
            )
            for event in start.events:
                teller.tell(event)
            if (why := why_not_in_the_farm(start, me.name)) is not None:
                teller.tell(Event(level=Level.ERROR, origin="settings", message=why))
                return await removed(why)
            daemon = Daemon(
                start.loaded,
                start.loaded.farm.node_named(me.name),
                teller.journal,
                memory,
                losses,
                signals=signals,
                service=service,
                conditions=conditions,
                settings=start.record,
            )
            status = await _run_daemon(daemon, socket_path, teller, service)
            if status == REMOVED and not signals.told_to_end:
                return await removed(f"the farm has removed {me.name}, which serves nobody")
            return status
    except StoppedError:
        teller.tell(Event(level=Level.INFO, origin="daemon", message="ended while it waited"))
        return 0
    finally:
        service.close()


async def _run_daemon(daemon: Daemon, socket_path: Path, teller: _Teller, service: ServiceManager) -> int:
    try:
        await daemon.run(socket_path)
    except CannotRunError as error:
        teller.tell(Event(level=Level.ERROR, origin="daemon", message=str(error)))
        return 1
    teller.tell(Event(level=Level.INFO, origin="daemon", message="ended"))
    if daemon.removed:
        return REMOVED
    if not daemon.restarts:
        return 0
    service.tell_restart()
    return _RESTART


def _read(config: Path | None, name: str | None, *, take_file: bool, stay_removed: bool) -> _Found:
    """Return the farm to run: that of the node's settled revision, or of the farm file where there is none.

    Raise FarmFileError if the file is needed and wrong, or the name is.
    """
    path = find_config(config)
    seen = see(path, kinds_apart=True)
    settled = None if take_file else settled_farm(path, seen, name)
    loaded = settled or seen.loaded_from(path)
    try:
        called = find_node(loaded.farm, name).name
        control_socket(loaded.farm, loaded.farm.node_named(called))
    except NoNodeHereError:
        called = socket.gethostname()
    return _Found(
        path=path,
        seen=seen,
        loaded=loaded,
        node=name,
        called=called,
        take_file=take_file,
        stay_removed=stay_removed,
    )


def main() -> int:
    """Run the daemon, with the options of `hcsidecar run`, and return its exit status."""
    options = daemon_options(sys.argv[1:])
    if options is None:
        print("hcsidecar run --help tells the options", file=sys.stderr)  # noqa: T201 - there is no log yet
        return 2
    hold_still()
    try:
        config = None if options.config is None else Path(options.config)
        found = _read(config, options.node, take_file=options.take_file, stay_removed=options.stay_removed)
    except FarmFileError as error:
        _print(error)
        # systemd does not restart the unit after a 2, because a wrong file does not correct itself.
        return 2
    keep_tls_buffers_small()
    # What is loaded stays until the end. A collection here would take long and free only 2,000 of 97,000 objects.
    gc.freeze()
    gc.enable()
    status, writer = 1, None
    try:
        writer = configure(node=found.called, as_json=options.log_json)
        # The selector loop on every system, because heartbeats are read from sockets with add_reader.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            try:
                status = runner.run(_run(found, _Teller(found.called)))
            except (FarmFileError, NoThreadError) as error:
                _print(error)
    except NoThreadError as error:
        _print(error)
    except RuntimeError as error:
        # At the very end asyncio starts one more thread, to shut down the others.
        if not means_no_thread(error):
            raise
    finally:
        if writer is not None:
            writer.close()
    if status == _RESTART:
        # In its place: whoever runs the daemon, systemd, a container or a shell, sees the same process go on.
        # The file has been taken: what is edited after that waits for an apply.
        words = [word for word in sys.orig_argv[1:] if word != "--take-file"]
        os.execv(sys.executable, [sys.executable, *words])  # noqa: S606 - no shell, and our own arguments
    return status


def _print(error: FarmFileError | NoThreadError) -> None:
    """Print what is wrong to standard error: there is no log yet."""
    problems = error.problems if isinstance(error, FarmFileError) else (error.strerror,)
    for problem in problems:
        print(problem, file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
