"""Real daemons that register themselves with a real HAProxy, from the first probe to `leave`."""

import asyncio

from daemons import real_farm, wait_for
from haproxy import BACKEND, haproxy, needs_haproxy
from waiting import on_a_loop

pytestmark = needs_haproxy

CHECKS = """
[[target]]
type = "haproxy"
name = "front"
socket = "{socket}"
backend = "farm"
port = {port}
poll = "1s"
options = "check port {port} inter 100ms fall 2 rise 1"
"""


async def names_of_servers(proxy):
    lines = (await proxy.command("show servers state farm")).splitlines()
    return sorted(line.split()[3] for line in lines if line[:1].isdigit() and " " in line)


async def come_to_be(proxy, *names, limit=30.0):
    seen = None
    async with asyncio.timeout(limit):
        while seen != sorted(names):
            await asyncio.sleep(0.05)
            seen = await names_of_servers(proxy)


@on_a_loop
async def test_nodes_come_and_stay_over_reload_and_crash_and_go_with_leave(tmp_path):
    port = 9010
    extra = '[health]\nlame_duck = "2m"\n' + CHECKS.format(socket=tmp_path / "haproxy.sock", port=port)
    async with haproxy(tmp_path, BACKEND.format(directory=tmp_path)) as proxy:
        with real_farm(tmp_path, extra=extra) as farm:
            # Nobody else asks for its health: who has asked once is waited for, for a minute.
            farm.start()
            await come_to_be(proxy, *farm.names)
            for name in farm.names:
                await proxy.comes_to("UP", server=name, limit=30)
            wait_for(lambda: farm.cli("targets", "--all").returncode == 0, limit=30, what="all as wished")
            # HAProxy forgets.
            await proxy.reload()
            await come_to_be(proxy, *farm.names)
            wait_for(lambda: "front: the balancer has restarted and forgotten this node" in farm.log("web1"))
            # A crash changes nothing at HAProxy, but its probes fail.
            farm.kill("web3")
            await proxy.comes_to("DOWN", server="web3", limit=30)
            # A leave deletes the server, and nobody else's. Who has been sent away asks no more, and is not waited for.
            left = farm.cli("leave", node="web2")
            assert (left.returncode, left.stderr) == (0, "")
            assert "nobody is left" in farm.log("web2")
            await come_to_be(proxy, "web1", "web3")
            wait_for(lambda: "absent" in farm.cli("targets", node="web2").stdout.splitlines()[1].split()[4:6])
            farm.start("web3")
            assert farm.cli("start", node="web2").returncode == 0
            await come_to_be(proxy, *farm.names)
            for name in farm.names:
                await proxy.comes_to("UP", server=name, limit=30)
