"""Applications to begin with, as the Settings pages offer them: the tables of the farm file and the scripts of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).parent


class ExampleName(StrEnum):
    """What an application can begin as."""

    NEW = "new"
    "Two scripts to be written."
    UNIT = "unit"
    "Services of systemd."
    SITE = "site"
    "A web server that says which node has answered."


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationExample:
    """An application to begin with."""

    tables: str
    "Its tables of the farm file."
    files: Mapping[str, tuple[bytes, bool]]
    "Content of its files and whether each is executable, by name."


def example(name: ExampleName) -> ApplicationExample:
    """Return an application to begin with."""
    room = _HERE / name.value
    files = {
        f"bin/{path.name}": (path.read_bytes(), path.suffix == "")
        for path in sorted((room / "bin").iterdir())
        if path.is_file()
    }
    return ApplicationExample(tables=(room / "tables.toml").read_text(encoding="utf-8"), files=files)
