"""Converts a SafeKit farm module to a farm: its tables, the text of its farm file, and what became of every part.

Theory of operation
-------------------
Macros are replaced first, over the whole tree. Then each part of the module is read by the module of this package that
knows it. That module puts tables into the Draft, and a Note for every element and attribute into the Notes, or a
Problem if there can be no farm. All problems are reported at once. At the end the model of the farm file checks the
result, so that it refuses what the importer has not foreseen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hcsidecar.core.farmfile.farm_file import FarmFile, read
from hcsidecar.core.farmfile.problems import Problem
from hcsidecar.core.safekit.checks import read_checks
from hcsidecar.core.safekit.draft import Draft, usable_name
from hcsidecar.core.safekit.failover import read_failover
from hcsidecar.core.safekit.farm_element import read_farm, read_service, why_not_a_farm
from hcsidecar.core.safekit.macros import fill_macros
from hcsidecar.core.safekit.notes import Coverage, ElementReader, Note, Notes
from hcsidecar.core.safekit.processes import read_errd
from hcsidecar.core.safekit.scripts import ModuleScripts, application_of, note_scripts
from hcsidecar.core.safekit.source import Element, ImportOptions, SafekitModule
from hcsidecar.core.safekit.toml import application_tables_of, farm_file_of
from hcsidecar.core.safekit.user import read_user
from hcsidecar.core.safekit.vip import read_vip

TAKEN, NOT = Coverage.TAKEN, Coverage.NOT

_MIRROR_ONLY = {
    "heart": "is for mirror modules: the heartbeats of a farm are in <farm>",
    "rfs": "is for mirror modules: hcsidecar replicates no files",
    "vhost": "hcsidecar gives the application no other host name",
}
_KNOWN = ("farm", "vip", "user", "check", "errd", "failover")


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """The results of an import."""

    farm: FarmFile
    document: Mapping[str, object]
    "The farm file, as TOML is parsed."
    text: str
    "The farm file as text."
    application_tables: str
    "Of it, the tables that a farm which exists takes over."
    scripts: Mapping[str, bytes]
    "The contents of bin/, by path below it."
    notes: Sequence[Note]
    "In the order of userconfig.xml; notes on what is not in it follow."


def import_module(module: SafekitModule, options: ImportOptions) -> Imported | tuple[Problem, ...]:
    """Return the farm made from a module, or everything that prevents the import."""
    notes = Notes()
    if module.root.tag != "safe":
        notes.refuse(
            module.root.line, f"<{module.root.tag}>", "is no configuration of SafeKit, which begins with <safe>"
        )
        return tuple(notes.problems)
    root = fill_macros(module.root, options.macros, notes)
    services = [child for child in root.children if child.tag == "service"]
    if len(services) != 1:
        notes.refuse(root.line, "safe", f"has {len(services)} <service>", "one")
        return tuple(notes.problems)
    if why := why_not_a_farm(services[0]):
        notes = Notes()
        notes.refuse(services[0].line, "service mode", why.problem, why.remedy)
        return tuple(notes.problems)
    name = options.name if options.name is not None else module.name
    if name != usable_name(name):
        notes.refuse(0, f'the name "{name}"', "cannot be the name of a farm", f"--name {usable_name(name)}")
    draft = Draft(module=name, farm={"name": name})
    scripts = ModuleScripts(files=module.scripts)
    with ElementReader(root, notes) as reader:
        reader.whole(TAKEN, "the farm")
    for child in root.children:
        if child is not services[0]:
            notes.drop(child, f"hcsidecar knows no <{child.tag}> in <safe>")
    _read_service(services[0], draft, scripts, options, notes)
    note_scripts(scripts, draft.application, notes)
    for path in module.others:
        notes.say(0, path, NOT, "is neither the configuration nor in bin/, and not copied")
    return _concluded(draft, scripts, notes)


def _read_service(service: Element, draft: Draft, scripts: ModuleScripts, options: ImportOptions, notes: Notes) -> None:
    parts: dict[str, Element] = {}
    for child in service.children:
        if child.tag in _MIRROR_ONLY:
            notes.drop(child, _MIRROR_ONLY[child.tag])
        elif child.tag not in _KNOWN:
            notes.drop(child, f"hcsidecar knows no <{child.tag}> in <service>")
        elif child.tag in parts:
            notes.refuse(child.line, child.tag, "stands there twice", f"line {parts[child.tag].line} has it already")
        else:
            parts[child.tag] = child
    with ElementReader(service, notes) as reader:
        restarts = read_service(reader, draft)
    read_farm(parts.get("farm", Element(tag="farm", line=service.line)), draft, options, notes)
    if "user" in parts:
        settings = read_user(parts["user"], notes)
        called = application_of(scripts, notes)
        draft.application = called | restarts | settings if called else {}
    else:
        notes.say(service.line, "<user> (unset)", NOT, "without it SafeKit runs no script, and neither does hcsidecar")
    if "vip" in parts:
        read_vip(parts["vip"], draft, notes)
    else:
        notes.say(
            service.line, "<vip> (unset)", TAKEN, "no [l2]: for servers behind a load balancer that asks the health URL"
        )
    if "check" in parts:
        read_checks(parts["check"], draft, scripts, notes)
    if "errd" in parts:
        read_errd(parts["errd"], draft, notes)
    if "failover" in parts:
        read_failover(parts["failover"], notes)


def _concluded(draft: Draft, scripts: ModuleScripts, notes: Notes) -> Imported | tuple[Problem, ...]:
    document = draft.document()
    if notes.problems:
        return tuple(dict.fromkeys(notes.problems))
    farm = read(document)
    if isinstance(farm, tuple):
        return farm
    return Imported(
        farm=farm,
        document=document,
        text=farm_file_of(draft),
        application_tables=application_tables_of(draft),
        scripts={**(scripts.files or {}), **scripts.added},
        notes=sorted(notes.notes, key=lambda note: (note.line or 2**31, not note.subject.startswith("<"))),
    )
