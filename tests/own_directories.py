"""Farms whose nodes have each a directory of their own, as on separate machines, for tests of settings."""

import json
import shutil
from contextlib import contextmanager

from daemons import RealFarm, ended, wait_for


class SeparateFarm(RealFarm):
    """A farm of daemons on this machine's loopback, each with its own copy of farm file, key file and scripts."""

    def __init__(self, directory, **more):
        super().__init__(directory, **more)
        self._common = self.config
        for name in self.names:
            self.copy(name)

    def copy(self, name):
        """Give a node its copy of the farm's files."""
        own = self.directory / "own" / name
        own.mkdir(parents=True, exist_ok=True)
        for path in self.directory.iterdir():
            if path.is_file() and path.suffix != ".log":
                shutil.copy2(path, own)
        return own

    def own(self, name):
        """Give the directory of a node's farm file."""
        return self.directory / "own" / name

    def farm_file(self, name):
        return self.own(name) / "farm.toml"

    def edit(self, name, before, after):
        """Edit the farm file of a node."""
        text = self.farm_file(name).read_text()
        assert before in text
        self.farm_file(name).write_text(text.replace(before, after))

    def start(self, *names, named=True, options=()):
        for name in names or self.names:
            self.config = self.farm_file(name)
            super().start(name, named=named, options=options)
        self.config = self._common
        return self

    def command(self, name, *arguments, timeout=60):
        """Give a command as on the machine of a node."""
        self.config = self.farm_file(name)
        try:
            return self.cli(*arguments, node=name, timeout=timeout)
        finally:
            self.config = self._common

    def apply(self, name, *arguments):
        return self.command(name, "apply", "--yes", *arguments)

    def history(self, name):
        """Give the revisions of a node as a list, the newest first."""
        return json.loads(self.command(name, "history", "--json").stdout)

    def number(self, name):
        """Give the number of the newest settled revision, 0 without any."""
        return next((entry["number"] for entry in self.history(name)), 0)

    def all_at(self, number):
        wait_for(lambda: all(self.number(name) == number for name in self.daemons), limit=30, what=f"revision {number}")
        return self


@contextmanager
def separate_farm(directory, **more):
    """Make a farm; end all its daemons at the end, and show their logs when the test failed."""
    with ended(SeparateFarm(directory, **more)) as farm:
        yield farm
