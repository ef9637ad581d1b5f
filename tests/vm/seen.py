"""What was seen on which kernel: kept in seen.json by the tests, and told by a table of the manual.

python -m vm.seen    # from the folder tests: writes the table anew
"""

import json
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from vm.qemu import accelerator

HERE = Path(__file__).parent
FILE = HERE / "seen.json"
MANUAL = HERE.parents[1] / "docs/manual/layer2.md"
BEGIN, END = "<!-- seen: begin -->\n", "<!-- seen: end -->\n"

_EMULATED = "emulated (TCG)"
_ACCELERATED = "KVM"


@contextmanager
def check(kernel, what):
    """Keep what a test sees of a kernel under a name; give a dict for its figures.

    A test that fails leaves nothing, and what an earlier one had seen is forgotten.
    """
    run_by = accelerator(kernel)
    _note(kernel, run_by, what, None)
    figures = {}
    yield figures
    _note(kernel, run_by, what, figures)


def table(seen):
    """Give the tables of the manual for what stands in seen.json."""
    names = sorted(seen, key=_by_number)
    if not names:
        return "Nothing yet.\n"
    lines = [_row("Linux", *(seen[name]["release"] for name in names))]
    lines.append(_row(*["---"] * (len(names) + 1)))
    lines.append(_row("seen", *(f"{seen[name]['date']}, {_run_by(seen[name])}" for name in names)))
    rows = sorted({what for name in names for what in seen[name]["checks"]})
    lines += [_row(what, *(_said(seen[name]["checks"].get(what)) for name in names)) for what in rows]
    return "\n".join(lines) + "\n"


def in_manual(manual, seen):
    """Give the text of the manual with the table in its place."""
    before, _, rest = manual.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n" + table(seen) + "\n" + END + after


def load():
    """Give what stands in seen.json."""
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def write(seen):
    """Write seen.json, and the manual."""
    FILE.write_text(json.dumps(seen, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    # As it stands in the file, in whose order of keys the test of the manual reads it.
    MANUAL.write_text(in_manual(MANUAL.read_text(), load()))


def _note(kernel, run_by, what, figures):
    seen = load()
    of_kernel = seen.setdefault(kernel.name, {"checks": {}})
    if of_kernel.get("release") != kernel.release or of_kernel.get("accelerator") != run_by:
        of_kernel |= {"release": kernel.release, "accelerator": run_by, "checks": {}}
    of_kernel["date"] = f"{datetime.now(UTC):%Y-%m-%d}"
    of_kernel["checks"].pop(what, None)
    if figures is not None:
        of_kernel["checks"][what] = figures
    write(seen)


def _said(figures):
    if figures is None:
        return "–"
    return ", ".join(f"{key} {value}".strip() for key, value in figures.items()) or "right"


def _run_by(of_kernel):
    return _EMULATED if of_kernel["accelerator"] == "tcg" else _ACCELERATED


def _row(*cells):
    return f"| {' | '.join(cells)} |"


def _by_number(name):
    head = name.partition("-")[0]
    return ([int(part) for part in head.split(".")] if head[0].isdecimal() else [99], name)


if __name__ == "__main__":
    write(load())
