"""Where the process of a node begins: `python -m hcsidecar.start`, which `hcsidecar run` becomes."""

import argparse
import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

# Before all others of ours, which bring aiohttp along.
import hcsidecar.slim  # noqa: F401
from hcsidecar import __version__
from hcsidecar.app.memory import Memory
from hcsidecar.core.events import Event, Level
from hcsidecar.core.losses import Losses
from hcsidecar.core.settings import NodeTable
from hcsidecar.daemon import KERNEL_RECORD, Daemon
from hcsidecar.dirs import control_socket, make_private, state_dir
from hcsidecar.event_store import kept_journal
from hcsidecar.farmfile import FarmFileError, LoadedFarm, NoNodeHereError, find_config, find_node, load
from hcsidecar.journal import Journal
from hcsidecar.logs import configure, log_entry
from hcsidecar.process import CannotRunError
from hcsidecar.signals import Signals, hold_still
from hcsidecar.threads import NoThreadError, Workers, means_no_thread

WORKERS = 2
"Threads for what may block, which are there from the start: one may hang with a disk."


async def _put_back_layer_two(directory: Path, tell: Callable[[Event], None]) -> None:
    """Put back what layer-2 mode left when it was killed, where the farm file has no [l2] table any more."""
    if not (directory / KERNEL_RECORD).exists():
        return
    from l2mode.kernel.errors import FilterError  # noqa: PLC0415 - see `_make_layer_two`
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


async def _run(loaded: LoadedFarm, me: NodeTable) -> int:
    asyncio.get_running_loop().set_default_executor(Workers(kept=WORKERS, name="worker"))
    directory = make_private(state_dir(loaded.farm, me))
    losses = Losses()
    kept = kept_journal(directory, loaded.farm.log, node=me.name, log=log_entry, lost=losses.note)
    async with kept as journal:
        return await _run_with(journal, loaded, me, losses)


async def _run_with(journal: Journal, loaded: LoadedFarm, me: NodeTable, losses: Losses) -> int:
    def complain(event: Event) -> None:
        journal.write(event)

    signals = Signals(tell=complain)
    memory = Memory(state_dir(loaded.farm, me), tell=complain, lost=losses.note)
    complain(
        Event(
            level=Level.INFO, origin="daemon", message=f"hcsidecar {__version__} of farm {loaded.farm.farm.name} starts"
        )
    )
    socket_path = control_socket(loaded.farm, me)
    make_private(socket_path.parent)
    if loaded.farm.l2 is None:
        await _put_back_layer_two(state_dir(loaded.farm, me), complain)
    try:
        await Daemon(loaded, me, journal, memory, losses, signals=signals).run(socket_path)
    except CannotRunError as error:
        complain(Event(level=Level.ERROR, origin="daemon", message=str(error)))
        return 1
    complain(Event(level=Level.INFO, origin="daemon", message="ended"))
    return 0


def main() -> int:
    """Run the daemon; `hcsidecar run` comes here with its options as they are."""
    parser = argparse.ArgumentParser(prog="hcsidecar run", add_help=False)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--node")
    parser.add_argument("--log-json", action="store_true")
    options = parser.parse_args()
    hold_still()
    try:
        loaded = load(find_config(options.config))
        me = find_node(loaded.farm, options.node)
        control_socket(loaded.farm, me)
    except FarmFileError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)  # noqa: T201 - there is no log yet, and no farm to have one
        # The unit is not started again after a 2, and a network may still come up.
        return 1 if isinstance(error, NoNodeHereError) else 2
    try:
        writer = configure(node=me.name, as_json=options.log_json)
    except NoThreadError as error:
        print(error.strerror, file=sys.stderr)  # noqa: T201 - as above
        return 1
    status = 1
    try:
        # The selector loop everywhere: heartbeats are read from sockets of our own.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            status = runner.run(_run(loaded, me))
    except FarmFileError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)  # noqa: T201
    except NoThreadError as error:
        print(error.strerror, file=sys.stderr)  # noqa: T201
    except RuntimeError as error:
        # asyncio ends its threads from another one, when everything else has ended.
        if not means_no_thread(error):
            raise
    finally:
        writer.close()
    return status


if __name__ == "__main__":
    sys.exit(main())
