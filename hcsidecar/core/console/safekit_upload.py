"""Makes files of a draft from a SafeKit module that somebody has uploaded, and says what became of its parts."""

from collections.abc import Mapping

import msgspec

from hcsidecar.core.console.documents import UploadedFile
from hcsidecar.core.farmfile.application_tables import NotReplacedError, with_application
from hcsidecar.core.farmfile.farm_file import FarmFile, read
from hcsidecar.core.farmfile.text import NotTomlError, document_in
from hcsidecar.core.safekit.conversion import Imported, import_module
from hcsidecar.core.safekit.notes import Coverage
from hcsidecar.core.safekit.source import ImportOptions, SafekitModule
from hcsidecar.core.settings.revision import FARM_FILE


class SafekitNote(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one element, attribute or script of a module."""

    line: int
    "Line in userconfig.xml; 0 for what is not in it."
    subject: str
    verdict: Coverage
    text: str


class SafekitReport(msgspec.Struct, frozen=True, kw_only=True):
    """A module as files of a draft: `POST /api/v1/settings/safekit`. Nothing is proposed."""

    module: str
    problems: tuple[str, ...] = ()
    "Why it cannot be taken over, all of them; then there are no files."
    notes: tuple[SafekitNote, ...] = ()
    files: tuple[UploadedFile, ...] = ()
    "farm.toml with the module's tables, and the module's scripts in bin/."


def converted(module: SafekitModule, farm_file: bytes, macros: Mapping[str, str]) -> SafekitReport:
    """Return what becomes of a module in a farm that exists: its nodes, their timing and its name stay."""
    try:
        document = document_in(farm_file)
    except NotTomlError as error:
        return SafekitReport(module=module.name, problems=(f"farm.toml {error.message}: mend it first",))
    farm = read(document)
    if not isinstance(farm, FarmFile):
        told = tuple(f"farm.toml: {problem}: mend it first" for problem in farm)
        return SafekitReport(module=module.name, problems=told)
    nodes = [(node.name, address) for node in farm.node for address in node.addresses.values()]
    imported = import_module(module, ImportOptions(name=farm.farm.name, macros=macros, nodes=nodes))
    if not isinstance(imported, Imported):
        return SafekitReport(module=module.name, problems=tuple(map(str, imported)))
    try:
        text = with_application(farm_file.decode(), imported.application_tables)
    except NotReplacedError as error:
        return SafekitReport(module=module.name, problems=(str(error),))
    scripts = (
        UploadedFile(name=f"bin/{name}", content=content, executable=True) for name, content in imported.scripts.items()
    )
    notes = (
        SafekitNote(line=note.line, subject=note.subject, verdict=note.verdict, text=note.text)
        for note in imported.notes
    )
    return SafekitReport(
        module=module.name,
        notes=tuple(notes),
        files=(UploadedFile(name=FARM_FILE, content=text.encode()), *scripts),
    )


def read_macros(text: str) -> Mapping[str, str] | str:
    """Return the macros that somebody has typed, one NAME=VALUE a line, or what is wrong."""
    macros: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        name, equals, value = line.partition("=")
        if not line.strip():
            continue
        if not equals or not name.strip():
            return f"line {number} of the macros is not NAME=VALUE"
        macros[name.strip()] = value.strip()
    return macros


def merged(files: Mapping[str, tuple[bytes, bool]], report: SafekitReport) -> Mapping[str, tuple[bytes, bool]]:
    """Return the files of a draft with those of a module in the place of those of their names.

    `files` has content and whether it is executable, by name.
    """
    return {**files, **{file.name: (file.content, file.executable) for file in report.files}}
