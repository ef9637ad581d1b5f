"""Real daemons in the test's own process and loop, on this machine's loopback addresses."""

import asyncio
import contextlib
import gc
from datetime import UTC, datetime
from pathlib import Path

from daemons import free_network
from waiting import until

from hcsidecar.core.lost_files import Losses
from hcsidecar.core.settings.agreement import SettingsRecord
from hcsidecar.daemon.daemon import Daemon
from hcsidecar.daemon.memory import StateFile
from hcsidecar.daemon.start_conditions import StartConditions
from hcsidecar.events.store import kept_journal
from hcsidecar.farmfile.dirs import control_socket, state_dir
from hcsidecar.farmfile.loading import load
from hcsidecar.net.keyring import Keyring
from hcsidecar.system.process import ServiceManager


class NoSignals:
    """Signals that nobody sends to this process."""

    def __init__(self):
        self.ended = asyncio.Event()

    def lead_to(self, *, end, reread):
        self.end, self.reread = end, reread


class DaemonHere:
    """One daemon, with what it has told."""

    def __init__(self, config, name):
        self.config, self.name = config, name
        self.told = []
        self.signals = NoSignals()

    async def run(self):
        loaded = load(self.config)
        me = loaded.farm.node_named(self.name)
        directory = state_dir(loaded.farm, me)
        socket = control_socket(loaded.farm, me)
        for each in (directory, socket.parent):
            await asyncio.to_thread(each.mkdir, parents=True, exist_ok=True, mode=0o700)
        losses, service = Losses(), ServiceManager({})
        kept = kept_journal(
            directory, loaded.farm.log, node=self.name, log=lambda entry: self.told.append(entry.message)
        )
        async with kept as journal:
            memory = StateFile(directory, tell=journal.write, lost=losses.note)
            conditions = StartConditions(signals=self.signals, service=service, tell=journal.write)
            self.daemon = Daemon(
                loaded,
                me,
                journal,
                memory,
                losses,
                signals=self.signals,
                service=service,
                conditions=conditions,
                settings=SettingsRecord(),
            )
            await self.daemon.run(socket)

    @property
    def control(self):
        return self.daemon._control

    def status(self):
        return self.control.status()

    def view(self):
        return [name for name, _ in self.daemon._heartbeats.node.membership.view]

    def end(self):
        for _ in range(2):
            self.signals.end("the test")


class FarmHere:
    """A farm file in a directory, and its daemons in this loop."""

    def __init__(self, directory: Path, *, names=("web1", "web2"), extra=""):
        self.directory = directory
        self.prefix = free_network()
        self.config = directory / "farm.toml"
        self.names = names
        self.extra = extra
        self.daemons = {}
        self.write(self.config, self.text())
        Keyring.create(directory / "farm.key", now=datetime.now(UTC)).write(replace=False)

    def address(self, name):
        return f"{self.prefix}{name.removeprefix('web')}"

    def node(self, name, **keys):
        address = keys.pop("address", self.address(name))
        keys = {"listen": f'["{address}:9010"]'} | keys
        more = "".join(f"{key} = {value}\n" for key, value in keys.items())
        return f'[[node]]\nname = "{name}"\naddress = "{address}"\n{more}'

    def text(self, *, names=None, farm="", nodes=None, extra=None, heartbeat=""):
        tables = "".join(self.node(name, **(nodes or {}).get(name, {})) for name in names or self.names)
        return (
            f'[farm]\nname = "apache"\nstate_dir = "{self.directory}/s"\n{farm}\n{tables}'
            f'[heartbeat]\npreset = "lan"\nrealtime = false\n{heartbeat}\n{self.extra if extra is None else extra}'
        )

    @staticmethod
    def write(path, text):
        path.write_text(text)

    def changed(self, **changes):
        """Give the farm that a changed text loads, as a revision beside the operator's file has it."""
        revision = self.directory / "revision" / "farm.toml"
        revision.parent.mkdir(exist_ok=True)
        revision.write_text(self.text(**changes))
        bundle = self.directory / "bin"
        if bundle.exists() and not (revision.parent / "bin").exists():
            (revision.parent / "bin").symlink_to(bundle)
        return load(revision, working_copy=self.config)

    async def take(self, *names, **changes):
        """Let daemons take a changed text; all of them, unless some are named."""
        loaded = self.changed(**changes)
        return [await self.daemons[name].daemon.take(loaded) for name in names or self.daemons]

    @contextlib.asynccontextmanager
    async def running(self, *names):
        async with asyncio.TaskGroup() as group:
            self._group = group
            for name in names or self.names:
                self.start(name)
            await until(lambda: self.agree(*(names or self.names)), limit=20, what="one view")
            yield self
            for daemon in self.daemons.values():
                daemon.end()
        gc.unfreeze()

    def start(self, name, config=None):
        self.daemons[name] = daemon = DaemonHere(config or self.config, name)
        self._group.create_task(daemon.run())
        return daemon

    def agree(self, *names):
        """Tell whether these daemons run and have one view of exactly these nodes."""
        with contextlib.suppress(AttributeError):
            return all(self.daemons[name].view() == sorted(names) for name in names)
        return False

    async def health(self, name, path="/health"):
        return await self.get(self.address(name), 9010, path)

    @staticmethod
    async def get(host, port, path="/"):
        """Give the status of a new connection's one request; 0 if there is none."""
        try:
            async with asyncio.timeout(10):
                reader, writer = await asyncio.open_connection(host, port)
                try:
                    writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
                    answer = await reader.read()
                finally:
                    writer.close()
        except OSError:
            return 0
        return int(answer.split()[1]) if answer else 0
