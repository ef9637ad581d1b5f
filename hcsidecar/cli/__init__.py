"""The command line. Only this package and `demo` import typer and rich, so that the daemon stays small."""

from importlib.metadata import version
from typing import Annotated

import typer

from hcsidecar.cli import access, console, control, demo, files, joining, run, settings
from hcsidecar.cli import install as service

app = typer.Typer(
    help="""Make several servers a farm: shared load, a health URL for balancers, or a virtual IP without one.

One daemon per server (`hcsidecar run`), and one farm file, the same on every server. `hcsidecar init` writes the farm
file, `hcsidecar check-config` checks it, and `hcsidecar status` shows the farm.
""",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hcsidecar {version('hcsidecar')}")
        raise typer.Exit


@app.callback()
def _main(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Handle the options before a command."""


files.register(app)
run.register(app)
console.register(app)
service.register(app)
control.register(app)
settings.register(app)
joining.register(app)
access.register(app)
demo.register(app)
