"""A SafeKit module as files of a draft."""

import tomllib

import pytest
from safekit_modules import SCRIPTS, VIP, xml

from hcsidecar.core.console.documents import UploadedFile
from hcsidecar.core.console.safekit_upload import SafekitReport, converted, merged, read_macros
from hcsidecar.core.safekit.source import SafekitModule
from hcsidecar.safekit.xml import read_xml

FARM = b'# ours\n[farm]\nname = "shop"\n[[node]]\nname = "web1"\naddress = "192.0.2.11"\n'


def module(text=None):
    return SafekitModule(name="web", root=read_xml((text or xml(VIP)).encode(), "userconfig.xml"), scripts=SCRIPTS)


def test_the_application_of_a_module_is_put_into_the_farm_that_exists():
    report = converted(module(), FARM, {})
    assert report.problems == ()
    farm, *scripts = report.files
    document = tomllib.loads(farm.content.decode())
    assert farm.content.startswith(FARM)
    assert document["l2"]["share"][0]["ports"] == [80]
    assert document["application"]["start"] == "bin/start_both"
    assert [(file.name, file.executable) for file in scripts] == [("bin/start_both", True), ("bin/stop_both", True)]
    assert {note.verdict.value for note in report.notes} >= {"taken over"}


def test_a_module_that_cannot_be_imported_says_why():
    report = converted(module("<safe><service mode='mirror'/></safe>"), FARM, {})
    assert report.files == ()
    assert "line 1: service mode" in report.problems[0]


@pytest.mark.parametrize(
    ("farm", "why"),
    [
        (b"[farm\n", "farm.toml is not TOML"),
        (b"[farm]\n", "farm.toml: farm.name"),
        (b"check = []\n" + FARM, "so they cannot be replaced"),
    ],
)
def test_a_draft_that_is_wrong_is_to_be_mended_first(farm, why):
    assert why in converted(module(), farm, {}).problems[0]


def test_macros_are_typed_one_a_line():
    assert read_macros("A = 1\r\n\n B=x=y \n") == {"A": "1", "B": "x=y"}
    assert read_macros("A=1\nB\n") == "line 2 of the macros is not NAME=VALUE"
    assert read_macros("=1") == "line 1 of the macros is not NAME=VALUE"


def test_files_of_a_module_take_the_place_of_those_of_their_names():
    report = SafekitReport(module="x", files=(UploadedFile(name="bin/a", content=b"new", executable=True),))
    assert merged({"bin/a": (b"old", False), "bin/b": (b"b", False)}, report) == {
        "bin/a": (b"new", True),
        "bin/b": (b"b", False),
    }
