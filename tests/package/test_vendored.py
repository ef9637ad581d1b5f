"""The libraries of the console's pages: they are what is pinned, with their licenses, and they are shipped."""

import hashlib
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PINS = tomllib.loads((ROOT / "tools/vendor/packages.toml").read_text())
CONSOLE = ROOT / "hcsidecar/console/static/vendor"
DIRECTORIES = (CONSOLE, ROOT / "tests/browser/vendor")
COPIES = {ROOT / copy: pin for pin in PINS["copied"] for copy in pin["files"].values()}


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("directory", DIRECTORIES, ids=["console", "tests"])
def test_each_file_is_the_one_that_was_fetched_and_there_is_no_other(directory):
    lines = [line.split("  ") for line in (directory / "SHA256SUMS").read_text().splitlines()]
    written = {path.name: digest(path) for path in directory.iterdir() if path.name != "SHA256SUMS"}
    assert {name: sha256 for sha256, name in lines} == written
    bundle = {"codemirror.js"} if directory == CONSOLE else set()
    copied = {copy.name for copy in COPIES if copy.parent == directory}
    assert set(written) == {"LICENSES.txt", *copied, *bundle}


@pytest.mark.parametrize("directory", DIRECTORIES, ids=["console", "tests"])
def test_the_list_of_licenses_names_each_package_in_its_pinned_version_with_a_text(directory):
    inside = [pin for copy, pin in COPIES.items() if copy.parent == directory]
    inside += PINS["bundled"] if directory == CONSOLE else []
    blocks = (directory / "LICENSES.txt").read_text().split(f"{'=' * 78}\n")[1:]
    told = dict(zip((block.strip() for block in blocks[::2]), blocks[1::2], strict=True))
    assert set(told) == {f"{pin['name']} {pin['version']}" for pin in inside}
    permissions = (
        "Permission is hereby granted",
        "Permission to use, copy, modify",
        "Mozilla Public License Version 2.0",
    )
    assert [
        name for name, text in told.items() if not any(words in " ".join(text.split()) for words in permissions)
    ] == []


def test_each_pin_is_one_version_with_the_hash_of_its_package():
    for pin in [pin for pins in PINS.values() for pin in pins]:
        assert pin["version"].replace(".", "").isdecimal(), pin
        assert len(pin["integrity"]) == len("sha512-") + 88, pin


def test_the_editor_was_made_from_the_present_source():
    banner = (CONSOLE / "codemirror.js").read_text().partition("\n")[0]
    assert f"({digest(ROOT / 'tools/vendor/codemirror.js')})" in banner, "run: make vendor"


def test_what_pages_load_is_small():
    def kilobytes(*names):
        return sum((CONSOLE / name).stat().st_size for name in names) / 1000

    assert kilobytes("htmx.min.js", "htmx-ext-sse.min.js", "idiomorph-ext.min.js") < 80
    assert kilobytes("uPlot.iife.min.js", "uPlot.min.css") < 60
    assert kilobytes("codemirror.js") < 450


def test_every_file_beside_the_code_is_shipped_in_the_wheel():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    shipped = {
        path
        for package, patterns in project["tool"]["setuptools"]["package-data"].items()
        for pattern in patterns
        for path in (ROOT / package).glob(pattern)
    }
    beside = {
        path
        for package in ("hcsidecar", "l2mode")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert beside - shipped == set()
    assert CONSOLE / "htmx.min.js" in shipped
