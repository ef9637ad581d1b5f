"""The command line: typer and rich load here and nowhere else, so the daemon stays small."""

from importlib.metadata import version
from typing import Annotated

import typer

from hcsidecar.cli import control, demo, files, run
from hcsidecar.cli import install as service

app = typer.Typer(
    help="""Several servers as one: shared load, a health URL to trust, and no balancer that is not wanted.

One process per server (`hcsidecar run`) and one farm file, the same on every server. `hcsidecar init` writes one,
`hcsidecar check-config` reads it with you, `hcsidecar status` shows the farm.
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
    """Take the options that stand before a command."""


files.register(app)
run.register(app)
service.register(app)
control.register(app)
demo.register(app)
