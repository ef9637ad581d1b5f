"""`hcsidecar import-safekit`: makes a farm of a SafeKit module, and reports what became of every part of it."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, NoReturn

import typer

from hcsidecar.cli.farm import REFUSED, WRONG_FILE, AsJson, give_up
from hcsidecar.core.farmfile.problems import Problem
from hcsidecar.core.safekit.conversion import Imported, import_module
from hcsidecar.core.safekit.report import report_document, report_text
from hcsidecar.core.safekit.source import ImportOptions
from hcsidecar.net.keyring import Keyring
from hcsidecar.safekit.module import ModuleError, read_module

REPORT = "REPORT.txt"


def import_safekit(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A userconfig.xml, the directory of a module, or a .safe archive.")
    ],
    out_dir: Annotated[
        Path, typer.Argument(metavar="OUT_DIR", help="Where to write the farm: not there yet, or empty.")
    ],
    *,
    macro: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Set a macro, over its value in the module; repeat it for each."),
    ] = None,
    node: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=ADDRESS",
            help="A server of the farm, by its name and IP address; repeat it for each server, and for its address on "
            "each further lan of the module.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="FARM", help="Name of the farm; by default that of the module.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a farm of a SafeKit module: farm.toml, farm.key, the module's scripts in bin/, and REPORT.txt.

    Only farm modules can be imported. A module does not say on which servers it runs: name them with --node. The report
    is printed too. It says of every element and attribute whether it was taken over, taken over with a difference, or
    not taken over, and why. The scripts are copied unchanged, and run with a `safekit` command that replaces SafeKit's.

    Exit status: 0 imported, 1 refused (nothing is written), 2 wrong command, or a module that cannot be read.

    Example: hcsidecar import-safekit web.safe /etc/hcsidecar --macro VIRTUAL_IP=192.0.2.50 --node web1=192.0.2.11
    """
    options = ImportOptions(
        name=name, macros=dict(_pairs(macro or (), "--macro")), nodes=_pairs(node or (), "--node", strip=True)
    )
    if out_dir.is_symlink() or (out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir()))):
        problem = Problem(
            path=str(out_dir), message="exists already, and is not overwritten", hint="an empty directory"
        )
        _give_up([problem], path, REFUSED, as_json=as_json)
    try:
        module = read_module(path)
    except ModuleError as error:
        problem = Problem(path=error.place, message=error.message, hint=error.hint)
        _give_up([problem], path, WRONG_FILE, as_json=as_json)
    result = import_module(module, options)
    if not isinstance(result, Imported):
        _give_up(result, path, REFUSED, as_json=as_json)
    report = report_text(result, module=module.name)
    try:
        _write(out_dir, result, report)
    except OSError as error:
        problem = Problem(path=str(error.filename or out_dir), message=f"cannot be written: {error.strerror}")
        _give_up([problem], path, REFUSED, as_json=as_json)
    if as_json:
        document = report_document(result, module=module.name) | {"directory": str(out_dir.absolute())}
        typer.echo(json.dumps(document, indent=2))
    else:
        typer.echo(f"wrote {out_dir}: farm.toml, farm.key, bin/ and {REPORT}\n")
        typer.echo(report, nl=False)


def _pairs(options: Sequence[str], hint: str, *, strip: bool = False) -> list[tuple[str, str]]:
    pairs = [option.partition("=") for option in options]
    for option, (key, equals, _) in zip(options, pairs, strict=True):
        if not equals or re.fullmatch(r"\s*", key):
            raise typer.BadParameter(f"{option!a}: a name, an equals sign and a value", param_hint=hint)
        if any("\ud800" <= character <= "\udfff" for character in option) or "\0" in option:
            raise typer.BadParameter(f"{option!a}: is not text", param_hint=hint)
    return [(key.strip(), value.strip() if strip else value) for key, _, value in pairs]


def _give_up(problems: Sequence[Problem], path: Path, status: int, *, as_json: bool) -> NoReturn:
    if as_json:
        typer.echo(json.dumps(report_document(problems, module=path.name), indent=2))
        raise typer.Exit(status)
    give_up(f"{path} is not imported", problems, status=status)


def _write(directory: Path, imported: Imported, report: str) -> None:
    """Write all files so that only their owner may change them; remove them again if that fails."""
    made: list[Path] = []
    try:
        directory.mkdir(parents=True, mode=0o755, exist_ok=True)
        made.append(directory / "farm.key")
        Keyring.create(made[-1], now=datetime.now(UTC)).write(replace=False)
        _create(directory / "farm.toml", imported.text.encode(), made)
        _create(directory / REPORT, report.encode(), made)
        for name, content in imported.scripts.items():
            _make_directories(directory, f"bin/{name}")
            _create(directory / "bin" / name, content, made)
            made[-1].chmod(0o755)
    except OSError:
        for path in made:
            path.unlink(missing_ok=True)
        raise


def _make_directories(top: Path, name: str) -> None:
    for part in reversed(PurePosixPath(name).parents[:-1]):
        (top / part).mkdir(mode=0o755, exist_ok=True)


def _create(path: Path, content: bytes, made: list[Path]) -> None:
    made.append(path)
    with path.open("xb") as file:
        file.write(content)
    path.chmod(0o644)
