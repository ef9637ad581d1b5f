"""`hcsidecar l2-check`: checks whether the virtual IPs are served as they should be."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import msgspec
import typer

from hcsidecar.api.client import ClientError, NodeClient, Told
from hcsidecar.api.routes import NO_LAYER_TWO
from hcsidecar.cli.asking import choose, complain, run
from hcsidecar.cli.farm import REFUSED, WRONG_FILE, AsJson, Config
from hcsidecar.core.l2_check import CheckLine, judge
from hcsidecar.core.l2_documents import CheckLevel, LayerTwoCheck
from hcsidecar.events.journal import one_line

_WIDTH = max(map(len, CheckLevel))


def l2_check(config: Config = None, as_json: AsJson = False) -> None:
    """Check the virtual IPs of the whole farm: who answers for them, who takes each bucket, and what is wrong.

    Every node checks its own machine (addresses, ARP settings, rp_filter, other programs on the interface) and queries
    the network for each virtual IP, as a client would; this takes a second for each, at most 5 s. The answers are then
    compared: who answers whom, whether exactly one node takes each bucket, whether the switch cuts off a node. Each
    check prints one line: ok; warning, it works but may not for long; problem, it does not work as it should.

    `--json` prints {"ok", "lines": [{"level", "text", "remedy"}], "nodes": {NODE: its answer}}.

    Exit status: 0 no problem, 1 there is one, or a node could not be asked, 2 wrong command or farm file, or a farm
    without [l2].

    Example: hcsidecar l2-check
    """
    chosen = choose(config, None, everyone=True)
    if chosen.farm.l2 is None:
        complain(NO_LAYER_TWO)
        raise typer.Exit(WRONG_FILE)
    said = run(_ask(chosen.clients))
    nodes = {each.node: each.told.document for each in said if each.told is not None}
    lines = judge(nodes, {each.node: each.why_not for each in said if each.told is None})
    fine = all(line.level is not CheckLevel.PROBLEM for line in lines)
    if as_json:
        documents = {each.node: msgspec.json.decode(each.told.raw) for each in said if each.told is not None}
        told: Mapping[str, object] = {"ok": fine, "lines": [asdict(line) for line in lines], "nodes": documents}
        typer.echo(json.dumps(told, indent=2))
    else:
        _print(lines)
    if not fine:
        raise typer.Exit(REFUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """The answer of one node, or why there is none."""

    node: str
    told: Told[LayerTwoCheck] | None = None
    why_not: str = ""


async def _ask(clients: Sequence[NodeClient]) -> list[_Said]:
    return list(await asyncio.gather(*map(_ask_one, clients)))


async def _ask_one(client: NodeClient) -> _Said:
    try:
        return _Said(node=client.node, told=await client.l2_check())
    except ClientError as error:
        return _Said(node=client.node, why_not=str(error).replace("\n", "; "))


def _print(lines: Sequence[CheckLine]) -> None:
    for line in lines:
        typer.echo(one_line(f"{line.level:{_WIDTH}}  {line.text}"))
        if line.remedy:
            typer.echo(one_line(f"{'':{_WIDTH}}  -> {line.remedy}"))
