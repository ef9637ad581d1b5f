"""A farm file on disk and the command line in this process, for tests of commands against nodes of `api_nodes`."""

import asyncio
import contextlib
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import typer
from api_nodes import running
from typer.testing import CliRunner

from hcsidecar.cli import control
from hcsidecar.farmfile.copy import NAME, content_of_copy
from hcsidecar.farmfile.loading import load
from hcsidecar.net.keyring import Keyring
from hcsidecar.system.private_file import replace_private

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
control.register(app)

LOCAL = {"web1": "127.0.0.1", "web2": "203.0.113.2", "web3": "203.0.113.3"}
"web1 is this machine."

HEALTHY_TARGET = {
    "type": "haproxy",
    "name": "front",
    "policy": "member",
    "desired": "registered",
    "why": "Ready and a member",
    "observed": "healthy",
    "reason": "L7OK/200",
    "former": [],
    "observed_age": 3.2,
    "last_success_age": 3.2,
    "error": None,
    "next_try": 1.9,
    "calls": {"observe": 4, "register": 1, "deregister": 0, "retire": 0},
    "failures": {"retry": 0, "throttle": 0, "auth": 0, "config": 0},
    "contested": False,
    "leaving": False,
}
"What a daemon tells of a target at which all is well."


PATH = os.pathsep.join(str(path) for path in (Path(__file__).parent, Path(__file__).parents[1]))
"""Where a command finds this module and the packages: a folder of tests has the name of one of them, and would be found
for it."""


class CliFarm:
    """A farm file, where its nodes' sockets are, and a way to give commands while nodes run."""

    def __init__(self, directory, addresses=None, extra=""):
        self.directory = Path(directory)
        self.config = self.directory / "farm.toml"
        nodes = "".join(
            f'[[node]]\nname = "{name}"\naddress = "{address}"\n' for name, address in (addresses or LOCAL).items()
        )
        self.config.write_text(f'[farm]\nname = "apache"\nstate_dir = "{directory}/s"\n{extra}\n{nodes}')
        Keyring.create(self.directory / "farm.key", now=datetime.now(UTC)).write(replace=False)
        self.loaded = load(self.config)
        self.farm = self.loaded.farm

    def socket(self, name):
        """Give the place of a node's socket, with its directory made."""
        path = self.directory / "s" / "apache" / name / "control.sock"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def running(self, names, *, remote=()):
        """Run nodes, each with its copy of the farm file, as daemons do; the sockets of `remote` ones are elsewhere."""
        for name in names:
            if name not in remote:
                copy = content_of_copy(self.loaded, self.farm.node_named(name))
                assert replace_private(self.socket(name).with_name(NAME), copy) is None
        return running(
            names,
            self.directory,
            socket_of=lambda name: self.directory / f"{name}.sock" if name in remote else self.socket(name),
        )

    async def give(self, *arguments, limit=20):
        """Give a command; the nodes go on meanwhile."""
        return await asyncio.wait_for(asyncio.to_thread(self.give_now, *arguments), limit)

    async def begin(self, *arguments, **streams):
        """Begin a command in a process of its own."""
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from cli_farm import app; app()", *arguments, "--config", str(self.config)),
            env={**os.environ, "PYTHONPATH": PATH, "COLUMNS": "200", "TERM": "xterm"},
            **streams,
        )

    def give_now(self, command, *arguments):
        """Give a command that needs no node in this loop."""
        head = [command, arguments[0]] if command == "rolling" else [command]
        rest = arguments[1:] if command == "rolling" else arguments
        return CliRunner().invoke(app, [*head, "--config", str(self.config), *rest])


@contextlib.contextmanager
def cli_farm(**more):
    """Make a farm in a directory with a short name, as paths of sockets have to be."""
    with tempfile.TemporaryDirectory(prefix="hc") as directory:
        yield CliFarm(directory, **more)
