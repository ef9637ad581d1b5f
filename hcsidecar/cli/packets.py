"""`hcsidecar status` of a farm with virtual IPs: the filter of each node, and with `--packets` its counters."""

import asyncio
from collections.abc import Mapping, Sequence

import msgspec
from rich.table import Table
from rich.text import Text

from hcsidecar.api.client import ClientError, NodeClient
from hcsidecar.events.journal import one_line
from l2mode.core.documents import FilterStatus, LayerTwoReport, PacketCount


async def ask_for_filters(clients: Sequence[NodeClient]) -> dict[str, LayerTwoReport | ClientError]:
    """Return the state of each node's filter, or why it is not known."""
    answers = await asyncio.gather(*map(_ask_one, clients))
    return {client.node: answer for client, answer in zip(clients, answers, strict=True)}


async def _ask_one(client: NodeClient) -> LayerTwoReport | ClientError:
    try:
        return (await client.layer_two()).document
    except ClientError as error:
        return error


def filter_told(used: FilterStatus) -> dict[str, object]:
    """Return the object of a filter in `status --json`; `fall_back` says which others were tried."""
    told = msgspec.structs.asdict(used)
    del told["passed_over"]
    return told


def packets_table(counts: Mapping[str, Sequence[PacketCount]]) -> Table:
    """Return the table of the counters, with a column for each node; leave out what no node has counted."""
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
