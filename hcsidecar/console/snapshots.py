"""Makes the support snapshot of all nodes for somebody at the console: what `hcsidecar snapshot --all` writes.

Each node makes its own part, without secrets. Here the parts are put into one archive, in memory and one at a time: the
console has nowhere to write, and a limit of memory.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from hcsidecar import __version__
from hcsidecar.api.routes import SNAPSHOT_TAKES
from hcsidecar.console.daemon_client import DaemonClient, NoAnswerError
from hcsidecar.core.access.identity import Actor
from hcsidecar.core.snapshot_contents import (
    CONTENTS,
    INDEX,
    NodeParts,
    PackedError,
    PackedParts,
    Part,
    contents,
    index,
    members,
    room_for_each,
    unpack,
)
from hcsidecar.snapshot.archive import archive

LAST: Final = 3 * 86_400
"Seconds: how far back events are taken."
LARGEST: Final = 24 * 1024 * 1024
"Bytes of all parts together, before they are compressed: a part of the memory that the console may have."
AT_ONCE: Final = 4
"Nodes that are asked at the same time."


class SnapshotInProgressError(Exception):
    """Another snapshot is being made."""


class Snapshots:
    """Makes one snapshot at a time."""

    def __init__(self, client: DaemonClient) -> None:
        self._client = client
        self._making = asyncio.Lock()

    async def make(self, nodes: Sequence[str], actor: Actor) -> bytes:
        """Return a zip archive of these nodes. Raise SnapshotInProgressError if another one is being made."""
        if self._making.locked():
            raise SnapshotInProgressError("another snapshot is being made: try it again in a minute")
        async with self._making:
            room = min(room_for_each(len(nodes)), LARGEST // max(1, len(nodes)))
            made_at = time.time()
            places = asyncio.Semaphore(AT_ONCE)
            parts = await asyncio.gather(
                *(self._ask(node, actor, places, after=made_at - LAST, room=room) for node in nodes)
            )
            return await asyncio.to_thread(_written, parts, made_at)

    async def _ask(self, node: str, actor: Actor, places: asyncio.Semaphore, *, after: float, room: int) -> NodeParts:
        try:
            async with places:
                told = await self._client.document(
                    "/snapshot",
                    PackedParts,
                    node=node,
                    query={"since": str(int(after)), "room": str(room)},
                    actor=actor,
                    limit=SNAPSHOT_TAKES + 8,
                )
            return unpack(told.packed, node=node, room=room)
        except (NoAnswerError, PackedError) as error:
            why = Part(name="all", about="everything of this node", lacking=str(error).replace("\n", "; "))
            return NodeParts(node=node, parts=(why,), answered=False)


def _written(nodes: Sequence[NodeParts], made_at: float) -> bytes:
    when = datetime.fromtimestamp(made_at, UTC)
    told = contents(nodes, made_at=f"{when:%Y-%m-%d %H:%M:%S} UTC", by=f"hcsidecar {__version__}")
    listed = msgspec.json.format(msgspec.json.encode(index(nodes, made_at=made_at, version=__version__)), indent=2)
    return archive(
        [(CONTENTS, told), (INDEX, listed.decode() + "\n"), *members(nodes)],
        at=(when.year, when.month, when.day, when.hour, when.minute, when.second),
    )
