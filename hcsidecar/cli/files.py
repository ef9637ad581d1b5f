"""The commands `init` and `check-config`; registers `import-safekit` and `key` too. All of them need no daemon."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from hcsidecar.cli import authority as authorities
from hcsidecar.cli import keys
from hcsidecar.cli.access import PasswordFile, first_admin, offer_admin
from hcsidecar.cli.authority import make_authority
from hcsidecar.cli.farm import REFUSED, WRONG_FILE, AsJson, Config, give_up, refuse
from hcsidecar.cli.import_safekit import import_safekit
from hcsidecar.cli.machine import as_json as machine_as_json
from hcsidecar.cli.machine import as_text as machine_told
from hcsidecar.cli.machine import review_machine
from hcsidecar.cli.online import as_json as told_as_json
from hcsidecar.cli.online import as_text as told
from hcsidecar.cli.online import review_targets
from hcsidecar.core.farmfile.farm_file import FarmFile, HostPort, Problem, format_duration, read
from hcsidecar.core.farmfile.heartbeat_size import ETHERNET_MTU, largest_packet
from hcsidecar.core.farmfile.reference import farm_file, file_schema
from hcsidecar.core.farmfile.values import is_ipv6
from hcsidecar.core.settings.key_effects import effect_mark
from hcsidecar.events.journal import one_line
from hcsidecar.farmfile.certificate_files import AuthorityFiles
from hcsidecar.farmfile.loading import FarmFileError, LoadedFarm, find_config, load
from hcsidecar.farmfile.machine_checks import problems_here
from hcsidecar.net.keyring import Keyring
from hcsidecar.settings.travelling_secrets import secrets_that_travel


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command()(init)
    app.command(name="check-config")(check_config)
    app.command(name="import-safekit")(import_safekit)
    app.add_typer(keys.key, name="key")
    app.add_typer(authorities.ca, name="ca")


def init(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where to write farm.toml, farm.key, ca.pem and ca.key.")
    ],
    name: Annotated[str, typer.Option(metavar="FARM", help="Name of the farm, and of its application.")],
    node: Annotated[
        list[str],
        typer.Option(metavar="NAME=ADDRESS", help="A server, by its name and IP address; repeat it for each server."),
    ],
    admin: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Also make the first user of the console. This machine must be one of the servers."
        ),
    ] = None,
    password_file: PasswordFile = None,
) -> None:
    """Write the farm file, the key file and the certificate authority of a new farm.

    The directory is made if it does not exist; an existing file is never overwritten. The authority, ca.pem and ca.key,
    makes the certificates of the nodes. To add a server later, run `hcsidecar token` on a node. If you name several
    servers here, copy all files to each of them, over a secure channel, and keep the modes of farm.key and ca.key at
    0600.

    With --admin the first user is made, who may do everything in the console; you are asked for the password. Without
    it you are asked for a name, if this machine is one of the servers and you are at a terminal.

    Exit status: 0 written, 1 could not be written, or there can be no such user, 2 a name or an address is wrong.

    Example: hcsidecar init /etc/hcsidecar --name apache --node web1=192.0.2.11 --node web2=192.0.2.12
    """
    unclear = [one for one in node if "=" not in one]
    if unclear:
        raise typer.BadParameter(f"{', '.join(unclear)}: a name, an equals sign and an address", param_hint="--node")
    tables = _tables(name, node)
    farm = read({name: table if name == "node" else table[0] for name, table in tables.items()})
    if isinstance(farm, tuple):
        give_up("the farm is not valid", farm)
    config, key_file = directory / "farm.toml", directory / "farm.key"
    authority = AuthorityFiles.beside(key_file)
    secret = (key_file, authority.certificate, authority.key)
    there = [path for path in (config, *secret) if path.exists()]
    if there:
        refuse(f"{' and '.join(map(str, there))}: exists already, and is not overwritten")
    name_of_first = offer_admin(farm) if admin is None else admin
    first = first_admin(farm, name_of_first, password_file) if name_of_first else None
    try:
        directory.mkdir(parents=True, exist_ok=True)
        Keyring.create(key_file, now=datetime.now(UTC)).write(replace=False)
        make_authority(name, authority)
        with config.open("x", encoding="utf-8") as file:
            file.write(farm_file(tables, mark=effect_mark))
    except OSError as error:
        refuse(f"{error.filename or directory}: {error.strerror}")
    typer.echo(f"wrote {config}, {', '.join(path.name for path in secret)}")
    if first is not None:
        typer.echo(first.write())
    several = len(farm.node) > 1
    typer.echo("next, on every server:" if several else f"next, on {farm.node[0].name}:")
    if several:
        typer.echo(f"  copy the four files there, {key_file.name} and {authority.key.name} with mode 0600")
    typer.echo(f"  hcsidecar check-config {config}")
    typer.echo(f"  hcsidecar install --config {config}, or by hand: hcsidecar run --config {config}")
    if first is None:
        typer.echo("then, on a node that runs, the first user of the console: hcsidecar user add NAME --role admin")
    typer.echo("later, to add a server: hcsidecar token, on a node that runs")


def check_config(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="The farm file.")] = None,
    config: Config = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of farm files and exit.")] = False,
    online: Annotated[
        bool,
        typer.Option("--online", help="Also check this machine, if it is a node, and ask its targets' balancers."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check a farm file, and print every problem in it, or the farm that it describes.

    The files that it names are checked too: key file, certificates, scripts, programs and directories. This machine
    need not be a node of the farm. Files beside the scripts that look like secrets are warned of: they travel with the
    settings.

    With --online the command checks more than the file, and changes nothing. It asks the balancers of the [[target]]
    tables for their own settings: do they probe the health URL, and does a stop end gently? This needs the rights of a
    node. With [l2], on a node, it checks whether the network interface can carry virtual IPs, and which packet filter
    the kernel accepts. This needs root.

    Exit status: 0 the file is right, 1 something found with --online keeps the node from working, or a balancer could
    not be asked, 2 the file is wrong.

    Example: hcsidecar check-config /etc/hcsidecar/farm.toml
    """
    if schema:
        typer.echo(json.dumps(file_schema(), indent=2))
        return
    path = find_config(file or config)
    try:
        loaded = load(path, look=problems_here)
    except FarmFileError as error:
        if as_json:
            typer.echo(json.dumps(_as_json(path, error.problems), indent=2))
            raise typer.Exit(WRONG_FILE) from None
        give_up(str(path), error.problems)
    for warning in secrets_that_travel(loaded):
        typer.echo(f"warning: {one_line(warning)}", err=True)
    reviews = review_targets(loaded) if online else []
    machine = review_machine(loaded, loaded.farm.l2) if online and loaded.farm.l2 else None
    if as_json:
        document = _as_json(loaded.path, ()) | {"farm": loaded.farm.model_dump(mode="json", exclude_none=True)}
        document |= {"targets": told_as_json(reviews)} if online else {}
        document |= {"machine": machine_as_json(machine)} if machine else {}
        typer.echo(json.dumps(document, indent=2))
    else:
        for line in (
            *_summary(loaded),
            *(machine_told(machine) if machine else ()),
            *(told(reviews) if online else ()),
        ):
            typer.echo(line)
    if not all(review.is_fine for review in reviews) or (machine and not machine.is_fine):
        raise typer.Exit(REFUSED)


def _tables(name: str, nodes: Sequence[str]) -> dict[str, list[dict[str, object]]]:
    """Return the tables of a new farm file; [web] listens on all addresses of the nodes' families."""
    pairs = [node.partition("=") for node in nodes]
    families = sorted({is_ipv6(address) for _, _, address in pairs})
    return {
        "farm": [{"name": name}],
        "node": [{"name": node, "address": address} for node, _, address in pairs],
        "web": [{"listen": [str(HostPort("::" if ipv6 else "0.0.0.0", 9010)) for ipv6 in families]}],
    }


def _as_json(path: Path, problems: Iterable[Problem]) -> dict[str, object]:
    told = [asdict(problem) for problem in problems]
    return {"file": str(path), "ok": not told, "problems": told}


def _any_ipv6(farm: FarmFile) -> bool:
    return any(is_ipv6(address) for node in farm.node for address in node.addresses.values())


def _summary(loaded: LoadedFarm) -> Iterator[str]:
    farm, keyring = loaded.farm, loaded.keyring
    heartbeat, health = farm.heartbeat, farm.health
    yield f"farm {farm.farm.name}, {len(farm.node)} node{'s' if len(farm.node) > 1 else ''}: {loaded.path} is right"
    yield f"  key file   {loaded.key_file}: {keyring.active_id:08x} in use, {len(keyring.ids)} open"
    for node in farm.node:
        addresses = ", ".join(node.addresses.values())
        yield f"  node       {node.name}: {addresses}, power {node.power}, API on {farm.api_address(node)}"
    yield (
        f"  heartbeat  UDP {heartbeat.port}, every {format_duration(heartbeat.pulse)},"
        f" dead after {format_duration(heartbeat.lost_after)}"
    )
    size = largest_packet(farm)
    yield f"             {size} bytes at the most in a packet of IPv{6 if _any_ipv6(farm) else 4}"
    if size > ETHERNET_MTU:
        yield (
            f"             more than the MTU of {ETHERNET_MTU} bytes, so it goes in fragments: they must pass all"
            " firewalls, and who loses one loses the heartbeat; shorter names of nodes make it smaller"
        )
    listeners = dict.fromkeys(listener for node in farm.node for listener in farm.web_listen(node))
    where = ", ".join(map(str, (*listeners, *health.listen)))
    yield f"  health     {health.path} on {where}, lame duck {format_duration(health.lame_duck)}"
    for check in farm.check:
        pre = ", before the start" if check.when == "pre" else ""
        yield (
            f"  check      {check.name}: {check.type} {check.subject}{pre}, every {format_duration(check.interval)},"
            f" on failure {farm.action_of(check)}"
        )
    if farm.application:
        for key, script in farm.application.scripts.items():
            yield f"  {key:<10} {loaded.resolve(script)}"
    if farm.l2:
        yield f"  layer 2    {', '.join(vip.address for vip in farm.l2.vip)}, {farm.l2.delivery}"
        for share in farm.l2.share:
            yield f"  share      {share.name}: {share.protocol} {', '.join(map(str, share.ports))} by {share.by}"
