"""What the commands about a farm file share: its option, and how they give up over a wrong one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

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
        help="The farm file; else $HCSIDECAR_CONFIG, else /etc/hcsidecar/farm.toml.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def load_or_exit(config: Path | None) -> LoadedFarm:
    """Read the farm file that is meant; tell all that is wrong with it and exit with status 2."""
    path = find_config(config)
    try:
        return load(path)
    except FarmFileError as error:
        give_up(str(path), error.problems)


def refuse(why: str) -> NoReturn:
    """Say why something was not done, and exit with status 1."""
    typer.echo(why, err=True)
    raise typer.Exit(REFUSED)


def give_up(what: str, problems: Sequence[Problem], *, status: int = WRONG_FILE) -> NoReturn:
    """Tell every problem of a file, and exit as the command line does for wrong files unless told otherwise."""
    typer.echo(f"{what}: {len(problems)} problem{'s' if len(problems) > 1 else ''}", err=True)
    for problem in problems:
        typer.echo(f"  {problem.path}: {problem.message}", err=True)
        if problem.hint:
            typer.echo(f"      {problem.hint}", err=True)
    raise typer.Exit(status)
