"""`hcsidecar token` on a node of a farm, and `hcsidecar join` on a server that is to become one."""

import re
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import msgspec
import typer
from msgspec.structs import replace

from hcsidecar.api.client import ClientError, LocalNode
from hcsidecar.cli.asking import OneNode, choose, complain, run
from hcsidecar.cli.farm import REFUSED, AsJson, Config, refuse
from hcsidecar.cli.settings import WithoutOption, Yes
from hcsidecar.core.farmfile.farm_file import parse_duration
from hcsidecar.core.joining.documents import JoinReport
from hcsidecar.core.joining.messages import JoinPlan, JoinTokenBody
from hcsidecar.core.joining.token import JoinToken, TokenError, decode_token
from hcsidecar.events.journal import one_line
from hcsidecar.farmfile.dirs import control_socket, why_no_socket
from hcsidecar.farmfile.loading import find_config, is_local

if TYPE_CHECKING:
    from hcsidecar.joining.arrival import Arrival
    from hcsidecar.joining.issuer import Issuer

WEB_PORT = 9010
DEFAULT_NETWORK = "default"
UNCHANGED = "not joined: nothing has changed"
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
    line = answer.command(name)
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
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh",
            help="This server was a node before: set its old farm file, keys and settings aside, as NAME.before.",
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and plan only; change nothing.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Make this server a node of a farm: get a line for it with `hcsidecar token` on a node, and paste it here.

    The command connects to that node and checks that it is of the farm for which the token was made. Only then it
    proves that it has the token, which is never sent. It checks whether the farm's settings can work here, shows what
    adding this server does to whom, and asks. Then all nodes agree on a farm file with this node in it, or none does,
    and the command writes the farm file, the scripts, farm.key, ca.pem and ca.key. If anything is refused, nothing is
    left here. With --fresh a server that was a node before, of this farm or another one, joins as if it were new.

    Exit status: 0 joined, or the dry run found nothing wrong, 1 refused, 2 wrong command.

    Example: hcsidecar join 192.0.2.11 --token hcj1.…
    """
    from hcsidecar.joining.arrival import addresses_wanted  # noqa: PLC0415 - see `demo`
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
    path = find_config(config).absolute()
    telling = _Telling(JoinReport(node=node, config=str(path)), as_json=as_json)
    try:
        issuer.meet()
        words = [_address_of(interface)] if interface is not None else address or []
        addresses = addresses_wanted(words, default=DEFAULT_NETWORK, fallback=issuer.address_here)
        telling.note(addresses=addresses)
        _join(issuer, node, addresses, path, telling, without=without or (), fresh=fresh, dry_run=dry_run, yes=yes)
    except JoinError as error:
        telling.refuse(str(error).splitlines(), "")
    telling.end()
    if not dry_run and not as_json:
        _offer_service(path, node, asks=not yes)


class _Telling:
    """Tells the operator what happens: line by line or, with `as_json`, as one object at the end."""

    def __init__(self, report: JoinReport, *, as_json: bool) -> None:
        self.report = report
        self.as_json = as_json

    def say(self, line: str) -> None:
        """Print a line, for people only."""
        if not self.as_json:
            typer.echo(one_line(line))

    def note(self, **changes: object) -> None:
        """Set fields of the report."""
        self.report = replace(self.report, **changes)

    def refuse(self, reasons: Sequence[str], conclusion: str) -> NoReturn:
        """Print why this server does not join, and exit with 1."""
        for reason in reasons:
            complain(reason)
        if conclusion:
            complain(conclusion)
        self.note(problems=(*reasons, *([conclusion] if conclusion else [])))
        self.end()
        raise typer.Exit(REFUSED)

    def end(self) -> None:
        """Print the object."""
        if self.as_json:
            typer.echo(msgspec.json.encode(self.report).decode())


def _join(
    issuer: "Issuer",
    node: str,
    addresses: Mapping[str, str],
    path: Path,
    telling: _Telling,
    *,
    without: Sequence[str],
    fresh: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Show the plan, ask, and join. Raise JoinError, or typer.Exit if it is refused."""
    from hcsidecar.joining.arrival import Arrival  # noqa: PLC0415 - see `demo`
    from hcsidecar.joining.issuer import JoinError  # noqa: PLC0415

    plan = issuer.plan(node, addresses, without=without)
    telling.note(farm=plan.farm, issuer=plan.issuer, plan=plan.lines)
    if plan.problems:
        telling.refuse(plan.problems, UNCHANGED)
    arrival = Arrival(path, plan, node=node, fresh=fresh)
    problems = (*_running(arrival, node), *arrival.why_not())
    _show(plan, node, addresses.values(), arrival.config, telling)
    if problems:
        telling.refuse(problems, UNCHANGED)
    if dry_run:
        return
    if not yes:
        _ask(telling)
    handout = issuer.apply(node, addresses, without=without, digest=plan.digest)
    if handout.reasons:
        telling.refuse(handout.reasons, UNCHANGED)
    try:
        made = arrival.write(handout)
    except JoinError as error:
        again = f"{node} is in the farm file already: mend this, and run the command again while the token is good"
        telling.refuse([str(error)], again)
    telling.say(handout.text)
    for was, now in arrival.set_aside.items():
        telling.say(f"{was} of an earlier node is now {now}")
    for each in made:
        telling.say(f"wrote {each}")
    aside = {str(was): str(now) for was, now in arrival.set_aside.items()}
    telling.note(joined=True, written=tuple(map(str, made)), set_aside=aside)
    try:
        issuer.done(node, addresses)
    except JoinError as error:
        warning = f"warning: the token is good until its time is over: {error}"
        complain(warning)
        telling.note(problems=(warning,))


def _running(arrival: "Arrival", node: str) -> Iterator[str]:
    """Give the daemons of this server that run: they would go on by what they have."""
    farms = (farm for farm in (arrival.earlier_farm, arrival.farm) if farm is not None)
    candidates = ((farm, table) for farm in farms for table in farm.node)
    ours = (each for each in candidates if each[1].name == node or any(map(is_local, each[1].addresses.values())))
    # A path that is too long for a socket is found as a problem of the farm file.
    sockets = ((table.name, control_socket(farm, table)) for farm, table in ours if not why_no_socket(farm.farm, table))
    for name in sorted({name for name, path in sockets if LocalNode(name=name, socket=path).is_running}):
        yield f"a daemon of {name} runs here: stop it first (systemctl stop hcsidecar), and run the command again"


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


def _show(plan: JoinPlan, node: str, addresses: Iterable[str], config: Path, telling: _Telling) -> None:
    shown, files = ", ".join(addresses), len(plan.files)
    telling.say(f"{plan.issuer} of farm {plan.farm} answers, with the certificate that the token vouches for")
    telling.say(f"this server joins as {node} with {shown}")
    for line in plan.lines:
        telling.say(line)
    more = f" and {files - 1} file{'s' if files > 2 else ''} that it names" if files > 1 else ""  # noqa: PLR2004
    telling.say(f"writes here: {config}{more}, the key file, ca.pem and ca.key")


def _ask(telling: _Telling) -> None:
    if telling.as_json or not sys.stdin.isatty():
        telling.refuse(["not joined: nobody is there to be asked; --yes joins without a question"], "")
    if not typer.confirm("Join?"):
        telling.refuse([UNCHANGED], "")


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
