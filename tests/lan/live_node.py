"""One node in layer-2 mode, without an application, that takes other farm files while it runs.

`python -m lan.live_node FILE NODE` reads one request per line from its standard input and answers each with one line of
JSON: `status`, or `take` with the path of another farm file. It ends with `end`, or with its standard input.
"""

import asyncio
import json
import sys
from pathlib import Path

from hcsidecar.core.events import Event
from hcsidecar.daemon.layer_two import LayerTwoMode
from hcsidecar.farmfile.dirs import state_dir
from hcsidecar.farmfile.loading import load
from hcsidecar.net.heartbeats import Heartbeats


def tell(event: Event) -> None:
    sys.stderr.write(f"{event.origin}: {event.message}\n")
    sys.stderr.flush()


class LiveNode:
    """Heartbeats and layer-2 mode of one node, joined as in the daemon."""

    def __init__(self, path, name):
        loaded = load(path)
        farm, self.me = loaded.farm, loaded.farm.node_named(name)
        directory = state_dir(farm, self.me)
        directory.mkdir(parents=True, exist_ok=True)
        self.mode = LayerTwoMode(
            farm,
            farm.l2,
            self.me,
            hash_seed=loaded.keyring.hash_seed,
            directory=directory,
            tell=tell,
            changed=self.announce,
            obstructed=lambda *_: None,
        )
        self.heartbeats = Heartbeats(
            farm=farm,
            me=self.me,
            keyring=loaded.keyring,
            share=self.mode.share,
            powers=farm.powers_of(name),
            next_boot=lambda above: above + 2,
            known={},
            remember=lambda _: None,
            tell=tell,
        )

    def announce(self):
        self.heartbeats.say_layer_two(self.mode.share.mac)

    async def take(self, path):
        farm = load(path).farm
        await self.mode.take(farm, farm.l2)
        node, loop = self.heartbeats.node, asyncio.get_running_loop()
        powers = farm.powers_of(self.me.name)
        self.heartbeats.carry_out(
            node.set_layer_two(settings_digest=farm.settings_digest(), powers=powers, now=loop.time())
        )
        return {"taken": str(path)}

    def status(self):
        membership = self.heartbeats.node.membership
        return {"view": [name for name, _ in membership.view], "claimed": membership.claimed}

    async def live(self):
        await self.mode.open()
        await self.heartbeats.open()
        self.announce()
        self.heartbeats.say_application(role="UP", status="Ready", draining=False, reason="", wants=True)
        running = [
            asyncio.create_task(self.heartbeats.run()),
            asyncio.create_task(self.mode.run(lambda: self.heartbeats.node.membership.peers, lambda _: None)),
        ]
        reader = asyncio.create_task(self.answer())
        await asyncio.wait([*running, reader], return_when=asyncio.FIRST_COMPLETED)
        for task in running:
            if task.done():
                task.result()
            task.cancel()
        await self.heartbeats.leave()
        self.heartbeats.close()
        await self.mode.close()

    async def answer(self):
        while (line := await asyncio.to_thread(sys.stdin.readline)) not in ("", "end\n"):
            request, _, rest = line.strip().partition(" ")
            answer = await self.take(Path(rest)) if request == "take" else self.status()
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


async def main(path, name):
    await LiveNode(path, name).live()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
