"""Holds the map of the design, and all names of files in the documents, to the tree."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DESIGN = (ROOT / "docs" / "design.md").read_text()
MAP = DESIGN[DESIGN.index("\n## Map\n") : DESIGN.index("\n## The farm\n")]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FILES = [
    path.relative_to(ROOT).as_posix()
    for package in ("hcsidecar", "l2mode", "tests", "tools", "benchmarks")
    for path in (ROOT / package).rglob("*")
]
EXAMPLES = {"hcsidecar_consul.py"}
"Files that readers are told to write."

ROW = re.compile(r"^\| [^|]*\? \| (.*) \|$", re.MULTILINE)
"The answer to a question of the map."
ITEM = re.compile(r"`([^`]+)`(?: \((`[^)]*`)\))?")
"A path, and the names in brackets that stand in that file."
SOURCE_FILE = re.compile(r"`([\w./-]+\.(?:py|c|js|html))`")
DRAWING = re.compile(r"^ {4}[|v] {4,}(\w+(?: \| \w+)*) ", re.MULTILINE)
"The packages on one row."


def answers():
    return ROW.findall(MAP)


def layers(contract):
    """Give the rows of an import-linter contract, each with its packages."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [found] = [each["layers"] for each in contracts if each["name"] == contract]
    return [[package.removeprefix("hcsidecar.") for package in row.split(" | ")] for row in found]


def drawn(place):
    """Give the rows of the drawing of a package."""
    [block] = re.findall(rf"^ imports +{re.escape(place)}\n(.*?)^```$", MAP, re.MULTILINE | re.DOTALL)
    return [row.split(" | ") for row in DRAWING.findall(block)]


def test_every_path_in_the_map_is_a_whole_path_of_this_tree():
    paths = [path for answer in answers() for path, _ in ITEM.findall(answer)]

    assert len(paths) > 80
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_name_that_the_map_shows_beside_a_path_is_defined_in_that_file():
    named = [
        (path, name)
        for answer in answers()
        for path, names in ITEM.findall(answer)
        for name in re.findall(r"`([^`]+)`", names)
    ]
    wrong = [
        (path, name)
        for path, name in named
        if not re.search(rf"^ *(?:async )?(?:def|class) {name}\b|^{name}\b", (ROOT / path).read_text(), re.MULTILINE)
    ]

    assert len(named) > 10
    assert wrong == []


@pytest.mark.parametrize(
    ("place", "contract"),
    [
        ("hcsidecar/", "the rooms of hcsidecar: each imports those below it only"),
        ("hcsidecar/core/", "the rooms of hcsidecar.core"),
        ("l2mode/", "the rooms of l2mode"),
    ],
)
def test_the_map_draws_the_layers_that_import_linter_checks(place, contract):
    assert drawn(place) == layers(contract)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_source_file_that_a_page_names_exists(page):
    named = set(SOURCE_FILE.findall(page.read_text())) - EXAMPLES

    assert sorted(name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in FILES)) == []
