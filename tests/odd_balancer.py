"""A kind of balancer for tests, as another package would add it: at each look it does what its table says in Python."""

import os
from pathlib import Path

from hcsidecar.core.farmfile.target_tables import Target
from hcsidecar.core.targets.registration import Observation, Presence


class OddTable(Target):
    """The farm file's table of this kind."""

    deed: str = ""
    "Run at each look; what it puts into `said` is the reason that is seen."


class Odd:
    """It gives its notes back, and counts the looks in them."""

    def __init__(self, table, here):
        self._deed = table.deed
        self.here = here
        self.looks = 0

    @property
    def notes(self):
        return str(self.looks).encode()

    def recall(self, notes):
        self.looks = int(notes)

    async def observe(self):
        self.looks += 1
        names = {"self": self, "said": str(os.getpid())}
        exec(self._deed, names)  # noqa: S102 - the deeds are the tests' own
        return Observation(presence=Presence.HEALTHY, reason=names["said"])

    async def register(self):
        raise KeyError("RegisterTargetsResult")

    async def deregister(self):
        pass

    async def retire(self):
        pass

    async def close(self):
        (self.here.state_dir / "closed").touch()


class OddKind:
    """What the entry point names."""

    table = OddTable
    open = Odd


KIND = OddKind()


def install(directory: Path) -> None:
    """Make this kind an installed package of a directory that is on the path."""
    info = directory / "odd_balancer-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-balancer\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[hcsidecar.targets]\nodd = odd_balancer:KIND\n")
    (directory / "odd_balancer.py").write_text(Path(__file__).read_text())
