"""`hcsidecar token` on a node of a farm, and `hcsidecar join` on a server that is to become one."""

import re
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from hcsidecar.api.client import ClientError
from hcsidecar.cli.asking import OneNode, choose, complain, run
from hcsidecar.cli.farm import REFUSED, AsJson, Config, refuse
from hcsidecar.cli.settings import WithoutOption, Yes
from hcsidecar.core.farmfile.farm_file import parse_duration
from hcsidecar.core.joining.messages import JoinPlan, JoinTokenBody
from hcsidecar.core.joining.token import JoinToken, TokenError, decode_token
from hcsidecar.events.journal import one_line
from hcsidecar.farmfile.loading import find_config

WEB_PORT = 9010
DEFAULT_NETWORK = "default"
_HOST = re.compile(r"(?:\[(?P<six>[^]]+)\]|(?P<four>[^:]+))(?::(?P<port>\d{1,5}))?")
_NAME = re.compile("[A-Za-z0-9._-]{1,63}")


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command()(token)
    app.command()(join)


def token(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Only for a new node of this name; by default for any.")
    ] = None,
    *,
    address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Only for a server with this IP address.")
    ] = None,
    valid: Annotated[str, typer.Option(metavar="DURATION", help="How long it is good, at most a day.")] = "15m",
    config: Config = None,
    node: OneNode = None,
    as_json: AsJson = False,
) -> None:
    """Print the line to paste on a new server, so that it joins the farm.

    The line has a token: it is good once and for 15 minutes, and whoever has it meanwhile can become a node. It names
    the farm's certificate authority, by which the new server knows that it speaks with this farm. With NAME it is good
    for a node of that name only, also for one that is in the farm file already and does not run: this is how a server
    takes the place of another one. The daemon of this node keeps it in memory, so it ends if that daemon is restarted.

    Exit status: 0 made, 1 refused or no daemon to ask, 2 wrong command or farm file.

    Example: hcsidecar token web4
    """
    try:
        seconds = parse_duration(valid)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--valid") from None
    if not 1 <= seconds <= 86_400:  # noqa: PLR2004 - a day
        raise typer.BadParameter("from 1s to 1d", param_hint="--valid")
    if name is not None and _NAME.fullmatch(name) is None:
        raise typer.BadParameter("letters a to z, digits, and . _ -, at most 63", param_hint="NAME")
    client = choose(config, node).clients[0]
    try:
        answer = run(client.make_token(JoinTokenBody(node=name, address=address, valid=seconds)))
    except ClientError as error:
        complain(str(error))
        raise typer.Exit(REFUSED) from None
    if answer.problem:
        refuse(answer.problem)
    line = f"hcsidecar join {answer.host} --token {answer.token}" + (f" --name {name}" if name else "")
    if as_json:
        import json  # noqa: PLC0415 - rarely wanted

        typer.echo(json.dumps({"token": answer.token, "host": answer.host, "valid": seconds, "command": line}))
        return
    typer.echo(f"# on the new server, within {valid}, once:", err=True)
    typer.echo(line)


def join(
    host: Annotated[str, typer.Argument(metavar="HOST[:PORT]", help="A node of the farm, as `hcsidecar token` says.")],
    *,
    token: Annotated[
        str, typer.Option(metavar="TOKEN", help="The token; - reads it from standard input, where no `ps` shows it.")
    ],
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of this node; by default the host's.")] = None,
    address: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="IP address of this node; by default the one from which it reaches HOST. In a farm with several"
            " networks, once for each: NETWORK=ADDRESS.",
        ),
    ] = None,
    interface: Annotated[
        str | None, typer.Option(metavar="NAME", help="Instead of --address: the address of this network interface.")
    ] = None,
    config: Config = None,
    without: WithoutOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and plan only; change nothing.")] = False,
    yes: Yes = False,
) -> None:
    """Make this server a node of a farm: get a line for it with `hcsidecar token` on a node, and paste it here.

    The command connects to that node and checks that it is of the farm for which the token was made. Only then it
    proves that it has the token, which is never sent. It checks whether the farm's settings can work here, shows what
    adding this server does to whom, and asks. Then all nodes agree on a farm file with this node in it, or none does,
    and the command writes the farm file, the scripts, farm.key, ca.pem and ca.key. If anything is refused, nothing is
    left here.

    Exit status: 0 joined, or the dry run found nothing wrong, 1 refused, 2 wrong command.

    Example: hcsidecar join 192.0.2.11 --token hcj1.…
    """
    from hcsidecar.joining.arrival import Arrival, addresses_wanted  # noqa: PLC0415 - see `demo`
    from hcsidecar.joining.issuer import Issuer, JoinError  # noqa: PLC0415

    asked = _HOST.fullmatch(host)
    if asked is None or not 0 < int(asked["port"] or WEB_PORT) < 65_536:  # noqa: PLR2004
        raise typer.BadParameter("an address or a name, with a port after a colon if it is not 9010", param_hint="HOST")
    if interface is not None and address:
        raise typer.BadParameter("--interface and --address exclude each other", param_hint="--interface")
    node = name or socket.gethostname().partition(".")[0]
    if _NAME.fullmatch(node) is None:
        raise typer.BadParameter("letters a to z, digits, and . _ -, at most 63", param_hint="--name")
    issuer = Issuer(asked["six"] or asked["four"], int(asked["port"] or WEB_PORT), _token(token))
    path = find_config(config)
    try:
        issuer.meet()
        words = [_address_of(interface)] if interface is not None else address or []
        addresses = addresses_wanted(words, default=DEFAULT_NETWORK, fallback=issuer.address_here)
        plan = issuer.plan(node, addresses, without=without or ())
        if plan.problems:
            _refuse_all(plan.problems)
        arrival = Arrival(path, plan)
        problems = arrival.why_not(node)
        _show(plan, node, addresses.values(), arrival.config)
        if problems:
            _refuse_all(problems)
        if dry_run:
            return
        if not yes:
            _ask()
        handover = issuer.apply(node, addresses, without=without or (), digest=plan.digest)
        if handover.reasons:
            _refuse_all(handover.reasons)
        try:
            made = arrival.write(handover)
        except JoinError as error:
            complain(str(error))
            refuse(f"{node} is in the farm file already: mend this, and run the command again while the token is good")
        typer.echo(one_line(handover.text))
        for each in made:
            typer.echo(f"wrote {each}")
    except JoinError as error:
        for line in str(error).splitlines():
            complain(line)
        raise typer.Exit(REFUSED) from None
    try:
        issuer.done(node, addresses)
    except JoinError as error:
        complain(f"warning: the token is good until its time is over: {error}")
    _offer_service(arrival.config, node, asks=not yes)


def _token(text: str) -> JoinToken:
    """Return the token of the option. Exit with 2 if it is none."""
    try:
        return decode_token(sys.stdin.readline(4096) if text == "-" else text)
    except TokenError as error:
        raise typer.BadParameter(str(error), param_hint="--token") from None


def _address_of(interface: str) -> str:
    from hcsidecar.system.machine_addresses import address_of  # noqa: PLC0415

    try:
        return address_of(interface)
    except OSError as error:
        raise typer.BadParameter(f"{interface}: {error.strerror}", param_hint="--interface") from None


def _show(plan: JoinPlan, node: str, addresses: Iterable[str], config: Path) -> None:
    shown, files = ", ".join(addresses), len(plan.files)
    typer.echo(f"{plan.issuer} of farm {plan.farm} answers, with the certificate that the token vouches for")
    typer.echo(f"this server joins as {node} with {shown}")
    for line in plan.lines:
        typer.echo(one_line(line))
    more = f" and {files - 1} file{'s' if files > 2 else ''} that it names" if files > 1 else ""  # noqa: PLR2004
    typer.echo(f"writes here: {config}{more}, the key file, ca.pem and ca.key")


def _ask() -> None:
    if not sys.stdin.isatty():
        refuse("not joined: nobody is there to be asked; --yes joins without a question")
    if not typer.confirm("Join?"):
        refuse("not joined: nothing has changed")


def _refuse_all(reasons: tuple[str, ...]) -> None:
    for reason in reasons:
        complain(reason)
    refuse("not joined: nothing has changed")


def _offer_service(config: Path, node: str, *, asks: bool) -> None:
    """Set up the service if the operator wants it, or say how."""
    from hcsidecar.daemon.systemd_setup import why_not_here  # noqa: PLC0415

    possible = asks and sys.stdin.isatty() and not why_not_here()
    if possible and typer.confirm("Start it now, and at every boot?"):
        from hcsidecar.cli.install import install  # noqa: PLC0415

        install(config)
        return
    typer.echo(f"next: hcsidecar install --config {config}, or by hand: hcsidecar run --config {config}")
    typer.echo(f"then: hcsidecar status shows {node} beside the others")
