"""`hcsidecar explain`: shows which node takes a client of a virtual IP, and why."""

import re
from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer

from hcsidecar.api.client import ClientError
from hcsidecar.api.routes import NO_LAYER_TWO
from hcsidecar.cli import completion
from hcsidecar.cli.asking import OneNode, choose, complain, run
from hcsidecar.cli.farm import REFUSED, WRONG_FILE, AsJson, Config
from hcsidecar.core.farmfile.farm_file import FarmFile
from hcsidecar.core.farmfile.values import LAST_PORT, is_ipv6, parse_address
from hcsidecar.events.journal import one_line
from l2mode.core.documents import ClientExplanation, ShareExplanation

_BRACKETED = re.compile(r"\[([^\]]*)\](?::([0-9]{1,5}))?")
_WITH_PORT = re.compile(r"([^:]*):([0-9]{1,5})")


def explain(
    client: Annotated[str, typer.Argument(metavar="CLIENT", help="ADDRESS or ADDRESS:PORT; for IPv6 [ADDRESS]:PORT.")],
    config: Config = None,
    node: OneNode = None,
    vip: Annotated[
        str | None,
        typer.Option(
            "--vip",
            metavar="ADDRESS",
            autocompletion=completion.vips,
            help="Only for this virtual IP; by default for all of them.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show which node takes a client of the virtual IPs, for each share, and why.

    The answer is that of this node, or of --node: which node owns the client's bucket; whether the bucket is open here
    (mine), given to this node but not claimed yet (pending), or another node's (other); and which nodes may still hold
    older connections of the client. A share by address and port needs the client's source port.

    Exit status: 0 shown, 1 the node could not be asked, 2 wrong command or farm file, or a farm without [l2].

    Example: hcsidecar explain 203.0.113.7
    """
    address, port = _client(client)
    chosen = choose(config, node)
    if chosen.farm.l2 is None:
        complain(NO_LAYER_TWO)
        raise typer.Exit(WRONG_FILE)
    wanted = _vip(vip, chosen.farm, address)
    try:
        told = run(chosen.clients[0].explain(address, port=port, vip=wanted))
    except ClientError as error:
        complain(str(error))
        raise typer.Exit(REFUSED) from None
    if as_json:
        typer.echo(msgspec.json.format(told.raw, indent=2))
        return
    for line in _lines(told.document):
        typer.echo(one_line(line))


def parse_client(text: str) -> tuple[str, int | None]:
    """Parse ADDRESS, ADDRESS:PORT, or [ADDRESS]:PORT for IPv6. Raise ValueError if it is wrong."""
    match = _BRACKETED.fullmatch(text) or _WITH_PORT.fullmatch(text)
    address, port = match.groups() if match else (text, None)
    if port is not None and not 1 <= int(port) <= LAST_PORT:
        raise ValueError(f"has no port between 1 and {LAST_PORT}: {text}")
    return parse_address(address), None if port is None else int(port)


def _client(text: str) -> tuple[str, int | None]:
    try:
        return parse_client(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="CLIENT") from None


def _vip(text: str | None, farm: FarmFile, address: str) -> str | None:
    """Return the chosen VIP in canonical form, None for all. Exit with 2 if there is none for this client."""
    vips = [vip.address for vip in farm.l2.vip] if farm.l2 else []
    try:
        wanted = None if text is None else parse_address(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--vip") from None
    if wanted is not None and wanted not in vips:
        raise typer.BadParameter(f"is no VIP of this farm; there are {', '.join(vips)}", param_hint="--vip")
    meant = vips if wanted is None else [wanted]
    if not any(is_ipv6(vip) == is_ipv6(address) for vip in meant):
        family = "IPv6" if is_ipv6(address) else "IPv4"
        raise typer.BadParameter(f"is {family}, and {', '.join(meant)} is not", param_hint="CLIENT")
    return wanted


def _lines(told: ClientExplanation) -> Iterator[str]:
    for share in told.shares:
        ports = ", ".join(map(str, share.ports))
        yield f"{share.share} ({share.protocol} {ports} on {', '.join(share.vips)}, by {share.by}): {share.reason}"
        if share.bucket is not None:
            yield f"    {_bucket(share, told.node)}"
    if not told.shares:
        yield "no share is for a VIP that this client can use: nobody takes it"


def _bucket(share: ShareExplanation, node: str) -> str:
    owner = f", {share.owner} has {share.fraction:.1%} of all" if share.owner else ""
    return f"bucket {share.bucket}, {share.phase} to {node}{owner}"
