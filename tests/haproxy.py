"""A real HAProxy in front of what a test serves, and what it says of its servers."""

import asyncio
import csv
import shutil
from contextlib import asynccontextmanager

import pytest
from waiting import until

needs_haproxy = pytest.mark.skipif(shutil.which("haproxy") is None, reason="HAProxy is not installed")

BACKEND = """
frontend clients
    bind {directory}/clients.sock
    default_backend farm
backend farm
    balance roundrobin
    option httpchk GET /health
    http-check disable-on-404
"""
HEAD = """
global
    stats socket {socket} mode 600 level admin
defaults
    mode http
    timeout connect 2s
    timeout client 5s
    timeout server 5s
    timeout check 2s
"""


async def until_answered(ask, limit=5.0):
    """Ask again while nobody listens; fail after `limit` seconds."""
    async with asyncio.timeout(limit):
        while True:
            try:
                return await ask()
            except ConnectionRefusedError:
                await asyncio.sleep(0.005)


class Haproxy:
    """One that runs."""

    def __init__(self, socket, file):
        self.socket = socket
        self._file = file
        self.process = None

    async def start(self, *arguments):
        """Start it, in the place of one that runs by `-sf` and its number, as a reload does."""
        self.process = await asyncio.create_subprocess_exec("haproxy", "-db", "-q", "-f", self._file, *arguments)
        await until(lambda: self.process.returncode is not None or self.socket.exists(), what="HAProxy's socket")
        assert self.process.returncode is None, "HAProxy did not take its configuration"
        # It answers when all sockets of its configuration are there; this one may be before the others.
        await until_answered(lambda: self.command("show info"))

    async def stop(self):
        """End it."""
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            await self.process.wait()

    async def reload(self):
        """Begin anew with the configuration, as `systemctl reload haproxy` does."""
        old = self.process
        inode = self.socket.stat().st_ino
        await self.start("-sf", str(old.pid))
        await until(lambda: self.socket.stat().st_ino != inode, what="the new HAProxy's socket")
        await asyncio.wait_for(old.wait(), 10)

    async def command(self, line):
        """Give the answer of the runtime API to one line."""
        reader, writer = await asyncio.open_unix_connection(self.socket)
        try:
            writer.write(line.encode() + b"\n")
            return (await asyncio.wait_for(reader.read(), 5)).decode()
        finally:
            writer.close()

    async def server(self, backend="farm", server="web1"):
        """Give the statistics of a server, by the names of HAProxy manual 9.1; `status` is UP, DOWN, NOLB, DRAIN …"""
        lines = (await self.command("show stat")).removeprefix("# ").splitlines()
        rows = [row for row in csv.DictReader(lines) if (row["pxname"], row["svname"]) == (backend, server)]
        return rows[0]

    async def comes_to(self, status, *, server="web1", limit=10.0):
        """Wait until the server's status is this one."""
        seen = []
        end = asyncio.get_running_loop().time() + limit
        while not seen or seen[-1] != status:
            assert asyncio.get_running_loop().time() < end, (
                f"{status} did not come, but {seen}: {await self.server(server=server)}"
            )
            now = (await self.server(server=server))["status"]
            if not seen or seen[-1] != now:
                seen.append(now)
            await asyncio.sleep(0.02)


@asynccontextmanager
async def haproxy(directory, config):
    """Run HAProxy with some proxies of a test's own, until the end of the block."""
    socket = directory / "haproxy.sock"
    file = directory / "haproxy.cfg"
    file.write_text(HEAD.format(socket=socket) + config + "\n")
    running = Haproxy(socket, file)
    try:
        await running.start()
        yield running
    finally:
        await running.stop()
