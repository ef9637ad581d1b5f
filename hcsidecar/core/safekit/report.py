"""The report of an import, for a person and as data."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from textwrap import wrap

from hcsidecar.core.farmfile.problems import Problem
from hcsidecar.core.safekit.conversion import Imported
from hcsidecar.core.safekit.notes import Coverage, Note

_WIDTH = 100
_HEADINGS = {
    Coverage.NOT: "Not supported",
    Coverage.DIFFERENT: "Taken over with a difference",
    Coverage.TAKEN: "Taken over",
}


def report_text(imported: Imported, *, module: str) -> str:
    """Return the report for a person; what needs attention comes first."""
    farm = imported.farm
    lines = [
        f"SafeKit module {module}, imported as farm {farm.farm.name}",
        f"nodes: {', '.join(f'{node.name} ({node.address})' for node in farm.node)}",
        "",
        'Every element and attribute of userconfig.xml, with its line; "unset" is one that is not there.',
    ]
    for verdict, heading in _HEADINGS.items():
        chosen = [note for note in imported.notes if note.verdict is verdict]
        lines += ["", f"{heading} ({len(chosen)})", "-" * (len(heading) + len(f" ({len(chosen)})")), *_told(chosen)]
    return "\n".join([*lines, "", *_next(imported)]) + "\n"


def report_document(result: Imported | Sequence[Problem], *, module: str) -> dict[str, object]:
    """Return the report, or the problems, for a program."""
    if not isinstance(result, Imported):
        return {"module": module, "ok": False, "problems": [asdict(problem) for problem in result], "notes": []}
    notes = [
        {"line": note.line, "subject": note.subject, "verdict": note.verdict.value, "text": note.text}
        for note in result.notes
    ]
    return {"module": module, "ok": True, "problems": [], "farm": result.farm.farm.name, "notes": notes}


def _told(notes: Sequence[Note]) -> Iterator[str]:
    for note in notes:
        place = f"line {note.line}: " if note.line else ""
        yield f"{place}{note.subject}"
        yield from (f"    {line}" for line in wrap(note.text, _WIDTH))


def _next(imported: Imported) -> Iterator[str]:
    name = imported.farm.farm.name
    yield "Next"
    yield "----"
    yield "Read the first two lists above, and farm.toml."
    yield "Copy this directory to every server, farm.key with mode 0600, to the same place; on each:"
    yield "    hcsidecar check-config farm.toml"
    if imported.farm.application is not None:
        yield "    what starts the application at boot must not: systemctl disable its units, as SafeKit wants it too"
    yield "    stop SafeKit's module there, before hcsidecar runs: both would use the same addresses and ports"
    yield f"The health URL that SafeKit had is there as well: port 9010, /var/modules/{name}/ready.txt"
