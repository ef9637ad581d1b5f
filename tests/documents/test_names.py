"""One name, one type: who finds a type's name in the log, the code or the schema of the API knows which it is."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("hcsidecar", "l2mode")


def named_types(source):
    """Give the public types that a module defines: their names, and what an alias stands for (None for a class)."""
    for node in ast.parse(source).body:
        match node:
            case ast.ClassDef(name=name):
                yield name, None
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ) if name[0].isupper() and not name.isupper():
                yield name, ast.unparse(value)


def doubles(modules):
    """Say which names stand for two types, of sources by path.

    An alias may be written twice for the same thing: l2mode never imports hcsidecar.
    """
    found = defaultdict(list)
    for path, source in modules.items():
        for name, meaning in named_types(source):
            if not name.startswith("_"):
                found[name].append((path, meaning))
    return {
        name: [path for path, _ in places]
        for name, places in sorted(found.items())
        if len(places) > 1 and (None in (meanings := {meaning for _, meaning in places}) or len(meanings) > 1)
    }


def test_no_two_public_types_have_one_name():
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    assert paths
    assert doubles({str(path.relative_to(ROOT)): path.read_text() for path in paths}) == {}


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        ("class Row: ...", "class Row(Base): ...", ["Row"]),
        ("class Tell: ...", "Tell = Callable[[str], None]", ["Tell"]),
        ("View = tuple[str, ...]", "View = list[str]", ["View"]),
        ("View = tuple[str, ...]", "View = tuple[str, ...]", []),
        ("class _File: ...", "class _File: ...", []),
        ("LIMIT = 1", "LIMIT = 2", []),
        ("class Scripts(Protocol): ...", "class Script: ...", []),
    ],
)
def test_a_name_that_stands_for_two_types_is_found(one, other, names):
    assert list(doubles({"one.py": one, "other.py": other})) == names
