"""Every kind of live setting, changed again and again while clients come."""

import asyncio
import contextlib

from daemons_here import FarmHere
from waiting import on_a_loop, until

CHANGES = 20
"How often each kind of setting is changed."
CLIENTS = 4
PROBED = "/var/modules/apache/ready.txt"
"The path of SafeKit is answered whatever the health path is."

APPLICATION = '[application]\nstart = "bin/start"\nstop = "bin/stop"\n'
CHECK = '[[check]]\ntype = "tcp"\nname = "{name}"\naddress = "127.0.0.1"\nport = {port}\n'
TARGET = '[[target]]\ntype = "command"\nname = "edge"\ncommand = ["bin/balancer", "{word}"]\npoll = "{poll}"\n'
ABSENT = '#!/bin/sh\nread -r request\necho \'{"presence": "absent"}\'\n'
RECEIVER = '[[notify]]\ntype = "webhook"\nname = "{name}"\nurl = "http://127.0.0.1:9/"\ntimeout = "1s"\n'


def kinds(port):
    """Give two texts for each kind of setting; a text without anything is the one of the start."""
    base = APPLICATION + CHECK.format(name="APP", port=port)
    nodes = ("web1", "web2", "web3")
    return {
        "powers": ({"nodes": {"web1": {"power": 5}}}, {"nodes": {"web2": {"power": 3}}}),
        "new check": ({"extra": base + CHECK.format(name="NEW", port=port)}, {}),
        "times of a check": ({"extra": base + 'interval = "1s"\nfall = 2\n'}, {}),
        "what a check looks at": (
            {"extra": base + "when = 'both'\n"},
            {"extra": base.replace("127.0.0.1", "127.0.0.2")},
        ),
        "purpose of a check": ({"extra": base + "when = 'pre'\n"}, {}),
        "application": (
            {"extra": base.replace("[application]", '[application]\ndrain = "1s"\nmax_restarts = 9\nlog_kb = 64')},
            {"extra": base.replace("[application]", '[application]\nenvironment = { COLOUR = "red" }')},
        ),
        "health": ({"extra": base + '[health]\npath = "/up"\nlame_duck = "1s"\nprober_fall = 1\n'}, {}),
        "farm": ({"farm": 'keep_ready = 2\nlast_stays = true\npartition = "majority"'}, {}),
        "log": ({"extra": base + '[log]\nkeep = "2d"\nmost = 5000\n'}, {}),
        "targets": (
            {"extra": base + TARGET.format(word="one", poll="1s")},
            {"extra": base + TARGET.format(word="two", poll="2s")},
        ),
        "receivers of notifications": (
            {"extra": base + RECEIVER.format(name="chat")},
            {"extra": base + RECEIVER.format(name="chat") + RECEIVER.format(name="pager")},
        ),
        "nodes": ({"names": nodes}, {}),
        "address of another node": ({"names": nodes}, {"names": nodes, "nodes": {"web3": {"address": "192.0.2.3"}}}),
    }


class Clients:
    """Clients of the health URL and of the application on every node, each request on a new connection."""

    def __init__(self, farm, port):
        self._farm, self._port = farm, port
        self.answered, self.failed = 0, []

    async def come(self):
        while True:
            for name in self._farm.names:
                probed = await self._farm.health(name, PROBED)
                served = await self._farm.get("127.0.0.1", self._port)
                if (probed, served) != (200, 200):
                    self.failed.append((name, probed, served))
                self.answered += 1

    async def some_more(self):
        wanted = self.answered + 2 * CLIENTS
        await until(lambda: self.answered >= wanted, limit=30, what="more answers")


class KeptConnection:
    """One connection to a health URL that stays open."""

    def __init__(self, reader, writer):
        self._reader, self._writer = reader, writer

    async def is_answered(self):
        self._writer.write(f"GET {PROBED} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        await self._reader.readexactly(len(b"OK\n"))
        return head.startswith(b"HTTP/1.1 200")

    def close(self):
        self._writer.close()


async def serve(reader, writer):
    await reader.readline()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    with contextlib.suppress(OSError):
        await writer.drain()
    writer.close()


@on_a_loop
async def test_no_request_fails_and_no_connection_breaks_while_every_kind_of_setting_changes_again_and_again(tmp_path):
    (tmp_path / "bin").mkdir()
    for name, text in {
        "start": f"#!/bin/sh\necho x >>{tmp_path}/ran\n",
        "stop": "#!/bin/sh\n",
        "balancer": ABSENT,
    }.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    application = await asyncio.start_server(serve, "0.0.0.0", 0)
    port = application.sockets[0].getsockname()[1]
    extra = APPLICATION + CHECK.format(name="APP", port=port)
    async with FarmHere(tmp_path, extra=extra).running() as farm:
        clients = Clients(farm, port)
        kept = KeptConnection(*await asyncio.open_connection(farm.address("web1"), 9010))
        coming = [asyncio.create_task(clients.come()) for _ in range(CLIENTS)]
        try:
            for kind, texts in kinds(port).items():
                for turn in range(CHANGES):
                    await farm.take(**texts[turn % 2])
                    await clients.some_more()
                    assert await kept.is_answered(), kind
                    assert clients.failed == [], kind
                    assert farm.agree("web1", "web2"), kind
        finally:
            kept.close()
            for task in coming:
                task.cancel()
            await asyncio.wait(coming)
        assert clients.answered >= len(kinds(port)) * CHANGES * 2 * CLIENTS
        assert (tmp_path / "ran").read_text() == "x\nx\n"
    application.close()
