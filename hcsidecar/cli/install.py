"""`hcsidecar install` and `uninstall`: set up this server's node as a systemd service, and undo that."""

from pathlib import Path
from typing import Annotated

import typer

from hcsidecar.cli.farm import Config, NodeToBe, give_up, refuse
from hcsidecar.core.service_unit import (
    CONSOLE_USER,
    DEFAULT_NAME,
    UnitOptions,
    why_not_a_unit_name,
    why_not_for_a_service,
)
from hcsidecar.daemon.console_setup import ConsoleSetup
from hcsidecar.daemon.systemd_setup import Service, ServiceError, console_unit, node_unit, this_program, why_not_here
from hcsidecar.farmfile.loading import FarmFileError, LoadedFarm, find_config, find_node, load


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command()(install)
    app.command()(uninstall)


def _unit_name(value: str) -> str:
    if why := why_not_a_unit_name(value):
        raise typer.BadParameter(why)
    return value


Unit = Annotated[
    str,
    typer.Option(
        metavar="NAME", callback=_unit_name, help="Name of the unit, for a second farm or node on this machine."
    ),
]
Root = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", file_okay=False, exists=True, help="Prepare another machine's files below DIR; start nothing."
    ),
]


def install(
    config: Config = None,
    *,
    node: NodeToBe = None,
    unit: Unit = DEFAULT_NAME,
    no_start: Annotated[bool, typer.Option("--no-start", help="Start it at the next boot, not now.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a unit that somebody has changed, and keep a copy.")
    ] = False,
    no_console: Annotated[
        bool, typer.Option("--no-console", help="Set up no console; one that is there already stays.")
    ] = False,
    root: Root = None,
) -> None:
    """Let systemd run this server's node and its console, now and after every boot.

    Writes /etc/systemd/system/hcsidecar.service for this installation and this farm file, enables and starts it, and
    prints each step. The console becomes a service of its own, hcsidecar-console, with a user of that name, on port
    9453; only with the unit's default name. Repeat the command after an upgrade, or after a change of state_dir or
    lame_duck in the farm file. A unit that somebody has changed is not overwritten; make your own changes with
    `systemctl edit hcsidecar`. Needs root.

    Exit status: 0 set up, 1 refused, 2 the farm file or the command is wrong.

    Example: hcsidecar install --config /etc/hcsidecar/farm.toml
    """
    if root is None and (why := why_not_here()):
        refuse(why)
    path = find_config(config).absolute()
    loaded = _load((root or Path("/")) / path.relative_to("/"), node, elsewhere=root is not None)
    try:
        options = _unit_options(path, node, loaded)
        problem = why_not_for_a_service(options)
        if problem is not None:
            refuse(problem)
        _set_up(unit, options, root, console=not no_console, start=not no_start, force=force)
    except ServiceError as error:
        refuse(str(error))
    except FarmFileError as error:
        give_up(str(path), error.problems)


def uninstall(
    unit: Unit = DEFAULT_NAME,
    force: Annotated[bool, typer.Option("--force", help="Remove a changed unit too, and keep a copy.")] = False,
    root: Root = None,
) -> None:
    """Drain and stop this server's node, and undo what `hcsidecar install` did.

    The application, the farm file, the key file and the state stay; the command prints where they are. Needs root.

    Exit status: 0 removed or not there, 1 refused.

    Example: hcsidecar uninstall
    """
    if root is None and (why := why_not_here()):
        refuse(why)
    try:
        where, live = root or Path("/"), root is None
        if unit == DEFAULT_NAME:
            console = Service(CONSOLE_USER, root=where, live=live, say=typer.echo, outlived=False)
            console.uninstall(force=force)
        Service(unit, root=where, live=live, say=typer.echo).uninstall(force=force)
        if unit == DEFAULT_NAME:
            ConsoleSetup(root=where, live=live, say=typer.echo).uninstall()
    except ServiceError as error:
        refuse(str(error))


def _set_up(unit: str, options: UnitOptions, root: Path | None, *, console: bool, start: bool, force: bool) -> None:
    """Set up both services. Raise ServiceError if that fails."""
    where, live = root or Path("/"), root is None
    with_console = console and unit == DEFAULT_NAME
    changed = with_console and ConsoleSetup(root=where, live=live, say=typer.echo).install()
    node = Service(unit, root=where, live=live, say=typer.echo)
    node.install(node_unit(options), start=start, force=force, changed=changed)
    if with_console:
        service = Service(CONSOLE_USER, root=where, live=live, say=typer.echo, outlived=False)
        service.install(console_unit(options), start=start, force=force)
    elif console:
        typer.echo(
            f"no console for {unit}: start one by hand, with --socket and a port of its own (hcsidecar console --help)"
        )


def _load(path: Path, node: str | None, *, elsewhere: bool) -> LoadedFarm | None:
    """Return the farm file if it exists. Exit if it, or the node in it, is wrong."""
    if not path.exists():
        return None
    try:
        loaded = load(path)
        if node is not None or not elsewhere:
            find_node(loaded.farm, node)
    except FarmFileError as error:
        give_up(str(path), error.problems)
    return loaded


def _unit_options(path: Path, node: str | None, loaded: LoadedFarm | None) -> UnitOptions:
    farm = None if loaded is None else loaded.farm
    application = None if farm is None else farm.application
    return UnitOptions(
        program=this_program(),
        config=str(path),
        node=node,
        state=None if farm is None else farm.farm.state_dir,
        drain=max(
            0.0 if farm is None else farm.health.lame_duck,
            0.0 if application is None else application.drain or 0.0,
        ),
    )
