"""Applications that tests have the scripts of, in a directory of their own."""

import sys
import textwrap
import time
from pathlib import Path

from hcsidecar.application.scripts import Scripts
from hcsidecar.core.application.runs import Place
from hcsidecar.core.farmfile.application_table import ApplicationTable
from hcsidecar.farmfile.places import Places


class Application:
    """A directory with a farm file's scripts, which `write` makes, and the state of a node; or one that is there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "farm.toml"
        self.state = directory / "state"
        self.bin = directory / "bin"
        self.told = []
        self.state.mkdir(mode=0o700, exist_ok=True)
        if not self.bin.exists():
            self.bin.mkdir()
            self.bin.chmod(0o755)
            for key in ("start", "stop", "prestart", "transition"):
                self.write(key, "exit 0")

    def write(self, key, text, *, first="#!/bin/sh\n"):
        """Make a script; `text` may be indented."""
        path = self.bin / key
        path.write_text(first + textwrap.dedent(text))
        path.chmod(0o755)
        return path

    def table(self, **table):
        return ApplicationTable(
            **{"start": "bin/start", "stop": "bin/stop", "prestart": "bin/prestart", "transition": "bin/transition"}
            | table
        )

    def scripts(self, *, environment=None, systemd=False, wall_clock=time.time, **table):
        """The scripts as a daemon has them; of several, each is a daemon of its own."""
        return Scripts(
            self.table(**table),
            places=Places.beside(self.config.absolute()),
            place=Place(
                farm="apache",
                node="web1",
                config=str(self.config),
                socket=str(self.state / "control.sock"),
                python=sys.executable,
                state_dir=str(self.state),
            ),
            tell=self.told.append,
            environment=environment or {"PATH": "/usr/local/bin:/usr/bin:/bin"},
            systemd=systemd,
            wall_clock=wall_clock,
        )

    def output(self, key="start"):
        """All output of the latest run of a script, as far as it is kept."""
        logs = sorted(self.state.glob(f"application/*_{key}.log"))
        return logs[-1].read_text() if logs else ""
