"""`hcsidecar status` of a farm with virtual IPs: the filter of each node, and with `--packets` what it has counted."""

import asyncio
from collections.abc import Mapping, Sequence

import msgspec
from rich.table import Table
from rich.text import Text

from hcsidecar.api.client import ClientError, NodeClient, read
from hcsidecar.core.l2_documents import FilterState, VipConflict
from hcsidecar.events.journal import one_line


class PacketCount(msgspec.Struct, frozen=True, kw_only=True):
    """How often a node's filter did one thing for one reason."""

    name: str
    action: str
    text: str
    odd: bool
    persists: bool
    count: int


class PacketFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of the document of layer-2 mode; see `l2mode.core.report`."""

    filter: FilterState
    packets: tuple[PacketCount, ...]
    conflicts: tuple[VipConflict, ...] = ()


async def ask_for_filters(clients: Sequence[NodeClient]) -> dict[str, PacketFilter | ClientError]:
    """Give what each node's filter does, or why that is not known."""
    answers = await asyncio.gather(*map(_ask_one, clients))
    return {client.node: answer for client, answer in zip(clients, answers, strict=True)}


async def _ask_one(client: NodeClient) -> PacketFilter | ClientError:
    try:
        return read(await client.layer_two(), PacketFilter)
    except ClientError as error:
        return error


def packets_table(counts: Mapping[str, Sequence[PacketCount]]) -> Table:
    """Lay out what has been counted, a column for each node; what no node has counted is left out."""
    shown = Table(box=None)
    shown.add_column("ACTION")
    for node in counts:
        shown.add_column(one_line(node), justify="right")
    shown.add_column("REASON", overflow="fold")
    reasons = {each.name: each for node in counts.values() for each in node}
    for name, reason in reasons.items():
        numbers = {node: sum(each.count for each in told if each.name == name) for node, told in counts.items()}
        if not any(numbers.values()):
            continue
        persists = [node for node, told in counts.items() if any(each.name == name and each.persists for each in told)]
        note = f" (goes on at {', '.join(persists)}, and should not)" if persists else ""
        cells = [reason.action, *map(str, numbers.values()), reason.text + note]
        shown.add_row(*(Text(one_line(cell)) for cell in cells), style="yellow" if persists else None)
    return shown
