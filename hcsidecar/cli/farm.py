"""Shared by the commands that read a farm file: its option, and giving up if it is wrong."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from hcsidecar.cli import completion
from hcsidecar.core.farmfile.problems import Problem
from hcsidecar.farmfile.loading import FarmFileError, LoadedFarm, find_config, load

REFUSED = 1
WRONG_FILE = 2

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="The farm file; by default $HCSIDECAR_CONFIG, or /etc/hcsidecar/farm.toml.",
    ),
]
NodeToBe = Annotated[
    str | None,
    typer.Option(
        "--node",
        metavar="NAME",
        autocompletion=completion.nodes,
        help="The node to run; by default the one with an address of this machine.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def load_or_exit(config: Path | None) -> LoadedFarm:
    """Return the chosen farm file. If it is wrong, print all its problems and exit with 2."""
    path = find_config(config)
    try:
        return load(path)
    except FarmFileError as error:
        give_up(str(path), error.problems)


def refuse(why: str) -> NoReturn:
    """Print why something was not done, and exit with 1."""
    typer.echo(why, err=True)
    raise typer.Exit(REFUSED)


def give_up(what: str, problems: Sequence[Problem], *, status: int = WRONG_FILE) -> NoReturn:
    """Print every problem of a file, and exit with `status`."""
    typer.echo(f"{what}: {len(problems)} problem{'s' if len(problems) > 1 else ''}", err=True)
    for problem in problems:
        typer.echo(f"  {problem.path}: {problem.message}", err=True)
        if problem.hint:
            typer.echo(f"      {problem.hint}", err=True)
    raise typer.Exit(status)
