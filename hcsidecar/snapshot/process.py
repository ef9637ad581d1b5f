"""Makes the snapshot of one node as a program, for its daemon: prints `NodeParts`, compressed, for another node.

python -m hcsidecar.snapshot.process FARM_FILE NODE SINCE ROOM
"""

import asyncio
import os
import sys
from pathlib import Path

from hcsidecar.core.snapshot_contents import pack
from hcsidecar.snapshot.node import collect, lower_priority
from hcsidecar.snapshot.where import find_where


def main(arguments: list[str]) -> None:
    """Collect the parts and print them."""
    lower_priority()
    config, node, since, room = arguments
    parts = asyncio.run(collect(find_where(Path(config), node), since=float(since), room=int(room)))
    with os.fdopen(1, "wb") as output:
        output.write(pack(parts))
    # Threads that hang must not hold up the end.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
