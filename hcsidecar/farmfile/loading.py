"""Finds the farm file, reads it with the files that it names, and finds this machine's node in it."""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hcsidecar.core.farmfile.farm_file import FarmFile, NodeTable, OtherTarget, TlsTable, read, right_parts
from hcsidecar.core.farmfile.problems import Problem
from hcsidecar.core.farmfile.raw_tables import RawTables
from hcsidecar.core.farmfile.text import MAX_BYTES, NotTomlError, document_in
from hcsidecar.core.farmfile.values import is_ipv6
from hcsidecar.farmfile.permissions import why_not
from hcsidecar.farmfile.places import Places
from hcsidecar.net.keyring import KeyFileError, Keyring

__all__ = [
    "FarmFileError",
    "LoadResult",
    "LoadedFarm",
    "NoNodeHereError",
    "Problem",
    "find_config",
    "find_node",
    "is_local",
    "load",
    "see",
]

DEFAULT_CONFIG = Path("/etc/hcsidecar/farm.toml")
CONFIG_VARIABLE = "HCSIDECAR_CONFIG"
_ANY_PORT = 9
"Only for connecting a UDP socket; nothing is sent to it."


class FarmFileError(Exception):
    """Raised with every problem of a farm file at once. `passing` is true if the problem may pass by itself."""

    passing = False

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class NoNodeHereError(FarmFileError):
    """Raised if no node of the farm has an address of this machine, perhaps because its network is not up yet."""

    passing = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedFarm:
    """A valid farm file, and the files that it names."""

    farm: FarmFile
    path: Path
    "The farm file, as an absolute path; perhaps that of a revision in the state directory."
    working_copy: Path
    "The operator's farm file, as an absolute path: the same as `path`, unless that is one of a revision."
    text: str
    "Its content."
    keyring: Keyring
    target_tables: Sequence[Mapping[str, object]] = ()
    "The [[target]] tables as they are written, for the helper process that makes their calls."

    @property
    def key_file(self) -> Path:
        """The path of the key file."""
        return self.keyring.path

    @property
    def places(self) -> Places:
        """Where the files are that the farm file names."""
        return Places.beside(self.path, machine=self.working_copy.parent)

    def resolve(self, name: str) -> Path:
        """Return the path of a file that each machine has for itself, such as a certificate."""
        return self.places.machine / name


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """A farm file and what it names, valid or not."""

    farm: FarmFile | None = None
    "None if the farm file itself is wrong."
    keyring: Keyring | None = None
    text: str = ""
    "The content, as far as it could be read."
    target_tables: Sequence[Mapping[str, object]] = ()
    problems: tuple[Problem, ...] = ()
    "Everything that keeps a daemon from starting."

    def loaded_from(self, path: Path, *, working_copy: Path | None = None) -> LoadedFarm:
        """Return the farm that was read at a path. Raise FarmFileError if there are problems; see `load`."""
        if self.problems or self.farm is None or self.keyring is None:
            raise FarmFileError(*self.problems)
        return LoadedFarm(
            farm=self.farm,
            path=path.absolute(),
            working_copy=(working_copy or path).absolute(),
            text=self.text,
            keyring=self.keyring,
            target_tables=self.target_tables,
        )


Look = Callable[[RawTables, Places], list[Problem]]
"Takes the tables that are valid and the places of what they name; returns further problems."


def _no_further_problems(_parts: RawTables, _places: Places) -> list[Problem]:
    return []


def find_config(option: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the path of the farm file: the option, or $HCSIDECAR_CONFIG, or /etc/hcsidecar/farm.toml."""
    if option is not None:
        return option
    named = environment.get(CONFIG_VARIABLE)
    return Path(named) if named else DEFAULT_CONFIG


def load(
    path: Path,
    *,
    look: Look = _no_further_problems,
    kinds_apart: bool = False,
    working_copy: Path | None = None,
) -> LoadedFarm:
    """Read a farm file and the files that it names. Raise FarmFileError with every problem of all of them.

    `look` returns further problems of the tables that are valid. With `kinds_apart` the packages that add kinds of
    targets are loaded in another process. `working_copy` is the operator's farm file, where `path` is one of a
    revision.
    """
    machine = (working_copy or path).absolute().parent
    return see(path, look=look, kinds_apart=kinds_apart, machine=machine).loaded_from(path, working_copy=working_copy)


def see(
    path: Path, *, look: Look = _no_further_problems, kinds_apart: bool = False, machine: Path | None = None
) -> LoadResult:
    """Return as much as can be read of a farm file and the files that it names, with every problem of all of them.

    `machine` is the directory of the running farm, where the farm file is a candidate: its key file, certificates and
    whatever else does not travel are looked for there.
    """
    path, text = path.absolute(), ""
    places = Places.beside(path, machine=machine)
    try:
        content = _read(path)
        text = content.decode(errors="replace")
        document = _parse(path, content)
    except FarmFileError as error:
        return LoadResult(text=text, problems=error.problems)
    found = read_tables(document, kinds_apart=kinds_apart)
    parts = right_parts(document) if isinstance(found, tuple) else found.parts
    problems = [*(found if isinstance(found, tuple) else ()), *_problems_of_files(parts, places), *look(parts, places)]
    keyring = None
    try:
        keyring = Keyring.load(places.machine / _key_file(document))
    except KeyFileError as error:
        problems.append(Problem(path="farm.key_file", message=error.message, hint=error.hint))
    farm = None if isinstance(found, tuple) else found
    tables = _target_tables(document)
    return LoadResult(farm=farm, keyring=keyring, text=text, target_tables=tables, problems=tuple(problems))


def read_tables(document: Mapping[str, object], *, kinds_apart: bool = False) -> FarmFile | tuple[Problem, ...]:
    """Return the farm of a parsed file, with the targets of other packages' kinds, or all its problems."""
    found = read(document)
    return _with_other_kinds(found, document, apart=kinds_apart) if isinstance(found, FarmFile) else found


def find_node(farm: FarmFile, name: str | None) -> NodeTable:
    """Return the node of this name, or without a name the node whose address is on this machine.

    Raise FarmFileError if there is none of this name or several are on this machine, NoNodeHereError if none is.
    """
    names = ", ".join(node.name for node in farm.node)
    if name is not None:
        for node in farm.node:
            if node.name == name:
                return node
        raise FarmFileError(Problem(path="node", message=f"has none of the name {name}", hint=f"there are {names}"))
    here = [node for node in farm.node if any(is_local(address) for address in node.addresses.values())]
    if len(here) == 1:
        return here[0]
    if here:
        several = ", ".join(node.name for node in here)
        raise FarmFileError(
            Problem(path="node", message=f"has several that are on this machine: {several}", hint="choose with --node")
        )
    raise NoNodeHereError(
        Problem(path="node", message="has no address of this machine", hint=f"one of {names}, chosen with --node")
    )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _no_file(path, "is not there", _where_to_get_one(path)) from None
    except IsADirectoryError:
        raise _no_file(path, "is a directory", "name the farm file in it") from None
    except OSError as error:
        raise _no_file(path, f"cannot be read: {error.strerror}") from None
    return content


def _where_to_get_one(path: Path) -> str:
    """Return what to do without a farm file; not `init` if there is a key file, because it would refuse."""
    if path.with_name("farm.key").exists():
        return "copy it from another node; --config names another one"
    return "hcsidecar init makes one; --config names another"


def _parse(path: Path, content: bytes) -> dict[str, object]:
    try:
        return document_in(content)
    except NotTomlError as error:
        raise _no_file(path, error.message, error.hint) from None


def _no_file(path: Path, message: str, hint: str = "") -> FarmFileError:
    return FarmFileError(Problem(path=str(path), message=message, hint=hint))


def _key_file(document: Mapping[str, object]) -> str:
    """Return the key file named in a document that may have other problems, so that both are reported together."""
    table = document.get("farm")
    named = table.get("key_file") if isinstance(table, dict) else None
    return named if isinstance(named, str) and "\0" not in named else "farm.key"


def _target_tables(document: Mapping[str, object]) -> Sequence[Mapping[str, object]]:
    tables = document.get("target")
    return tuple(table for table in tables if isinstance(table, Mapping)) if isinstance(tables, list) else ()


def _with_other_kinds(farm: FarmFile, document: Mapping[str, object], *, apart: bool) -> FarmFile | tuple[Problem, ...]:
    """Let the packages that add kinds of targets read their tables. Import nothing for a farm without such targets."""
    tables = document.get("target")
    if not isinstance(tables, list) or not any(isinstance(target, OtherTarget) for target in farm.target):
        return farm
    if apart:
        from hcsidecar.farmfile.other_kinds_process import read_apart  # noqa: PLC0415 - see above

        found = read_apart(farm.target, tables)
    else:
        from hcsidecar.farmfile.other_kinds import read_other_kinds  # noqa: PLC0415

        found = read_other_kinds(farm.target, tables)
    problems = tuple(each for each in found if isinstance(each, Problem))
    return problems or farm.model_copy(update={"target": found})


def _problems_of_files(parts: RawTables, places: Places) -> list[Problem]:
    """Return the problems of the files that a farm file names, except the key file."""
    scripts = [] if parts.application is None else why_not(parts.application, places)
    return _certificate_problems(parts, places.machine) + scripts


def _certificate_problems(parts: RawTables, directory: Path) -> list[Problem]:
    tables: tuple[tuple[str, TlsTable | None], ...] = (
        ("web.tls", parts.web.tls if parts.web else None),
        ("health.tls", parts.health.tls if parts.health else None),
    )
    named = [(f"{path}.{key}", getattr(tls, key)) for path, tls in tables if tls for key in ("cert", "key")]
    problems = []
    for path, name in named:
        try:
            with (directory / name).open("rb"):
                pass
        except OSError as error:
            message = f"cannot be read: {directory / name}: {error.strerror}"
            problems.append(Problem(path=path, message=message, hint="relative to the farm file, or absolute"))
    return problems


def is_local(address: str) -> bool:
    """Return whether this machine has an address, by binding a UDP port on it for a moment."""
    family = socket.AF_INET6 if is_ipv6(address) else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
            # A broadcast address can be bound, but not connected to, and no node has one.
            probe.connect((address, _ANY_PORT))
    except OSError:
        return False
    return True
