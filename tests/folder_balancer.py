"""A kind of balancer for tests, as another package would add it: a directory in which registered nodes are files."""

import os
import time
from pathlib import Path
from typing import Literal

from hcsidecar.core.farmfile.target_tables import Target
from hcsidecar.core.targets.registration import Observation, Presence
from hcsidecar.targets.calls import Calls


class FolderTable(Target):
    """The farm file's table of this kind."""

    type: Literal["folder"]
    folder: str
    first: bool = False

    @property
    def deregisters_first(self) -> bool:
        return self.first

    @property
    def call_limit(self) -> float:
        return 0.5


class Folder:
    """`NODE` is registered, `NODE.draining` drains; a file `fault` says what goes wrong: hang, garbage or loop."""

    def __init__(self, table, here):
        table = table if isinstance(table, FolderTable) else FolderTable.model_validate(table.model_dump())
        self._folder = Path(table.folder)
        self._node = here.node
        self._calls = Calls()

    async def observe(self):
        return await self._calls.run(self._observe)

    async def register(self):
        await self._calls.run(lambda: self._change("register", "", to=self._node))

    async def deregister(self):
        await self._calls.run(lambda: self._change("deregister", self._node, to=f"{self._node}.draining"))

    async def retire(self):
        """There is never a former identity."""

    async def close(self):
        """There is nothing to close."""

    def _observe(self):
        (self._folder / f"{self._node}.caller").write_text(str(os.getpid()))
        self._stumble()
        if (self._folder / self._node).exists():
            return Observation(presence=Presence.HEALTHY)
        draining = (self._folder / f"{self._node}.draining").exists()
        return Observation(presence=Presence.DRAINING if draining else Presence.ABSENT)

    def _change(self, call, was, *, to):
        self._stumble()
        with (self._folder / "calls").open("a") as file:
            file.write(f"{self._node} {call}\n")
        if was:
            (self._folder / was).unlink(missing_ok=True)
        (self._folder / f"{self._node}.draining").unlink(missing_ok=True)
        (self._folder / to).touch()

    def _stumble(self):
        fault = self._folder / "fault"
        match fault.read_text() if fault.exists() else "":
            case "hang":
                time.sleep(3600)
            case "garbage":
                raise KeyError("RegisterTargetsResult")


class FolderKind:
    """What the entry point names."""

    table = FolderTable
    open = Folder


KIND = FolderKind()


def install(directory: Path) -> None:
    """Make this kind an installed package of a directory that is on the path."""
    info = directory / "folder_balancer-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: folder-balancer\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[hcsidecar.targets]\nfolder = folder_balancer:KIND\n")
    (directory / "folder_balancer.py").write_text(Path(__file__).read_text())
