"""`hcsidecar import-safekit`: what it writes, and what it refuses to."""

import json
import stat
import tomllib
import zipfile
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from hcsidecar.cli import files
from hcsidecar.farmfile.loading import load

app = typer.Typer(rich_markup_mode=None)
files.register(app)

WEB_FARM = Path(__file__).parents[1] / "safekit" / "web_farm"
FILLED = ("--macro", "FARM_IP=192.0.2.50", "--node", "web1=192.0.2.11", "--node", "web2=192.0.2.12")


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="hcsidecar")


def import_safekit(path, out, *options):
    return run("import-safekit", path, out, *options)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "farm"


def test_what_is_imported_is_a_farm_that_check_config_finds_right(out):
    result = import_safekit(WEB_FARM, out, *FILLED)
    assert result.exit_code == 0
    checked = run("check-config", out / "farm.toml")
    assert checked.exit_code == 0, checked.output
    assert "farm web_farm, 2 nodes" in checked.output
    farm = load(out / "farm.toml").farm
    assert farm.application.safekit
    assert [check.subject for check in farm.check] == ["192.0.2.50:80"]
    assert farm.l2.share[0].ports == (80,)


def test_everything_that_is_promised_is_there_for_its_owner_to_change(out):
    import_safekit(WEB_FARM, out, *FILLED)
    modes = {
        path.relative_to(out).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in out.rglob("*") if path.is_file()
    }
    scripts = dict.fromkeys(("bin/start_both", "bin/stop_both", "bin/transition"), 0o755)
    assert modes == {"farm.toml": 0o644, "farm.key": 0o600, "REPORT.txt": 0o644} | scripts
    assert stat.S_IMODE((out / "bin").stat().st_mode) & 0o022 == 0
    for script in scripts:
        assert (out / script).read_bytes() == (WEB_FARM / script).read_bytes()


def test_the_report_is_printed_and_written(out):
    result = import_safekit(WEB_FARM, out, *FILLED)
    report = (out / "REPORT.txt").read_text()
    assert report in result.stdout
    assert 'line 6: service maxloop="3"\n    max_restarts = 3' in report


def test_the_report_is_there_as_json(out):
    result = import_safekit(WEB_FARM, out, *FILLED, "--json")
    document = json.loads(result.stdout)
    assert (document["ok"], document["farm"], document["directory"]) == (True, "web_farm", str(out))
    assert {note["verdict"] for note in document["notes"]} == {"taken over", "taken over with a difference"}


def test_an_archive_is_imported_like_its_directory(tmp_path, out):
    path = tmp_path / "web_farm.safe"
    with zipfile.ZipFile(path, "w") as file:
        for each in WEB_FARM.rglob("*"):
            file.write(each, each.relative_to(WEB_FARM))
    assert import_safekit(path, out, *FILLED).exit_code == 0
    assert import_safekit(WEB_FARM, tmp_path / "other", *FILLED).exit_code == 0
    assert (out / "farm.toml").read_text() == (tmp_path / "other" / "farm.toml").read_text()


def test_a_configuration_alone_becomes_a_farm_that_is_only_checked(tmp_path, out):
    path = tmp_path / "userconfig.xml"
    path.write_bytes((WEB_FARM / "conf" / "userconfig.xml").read_bytes())
    assert import_safekit(path, out, *FILLED, "--name", "shop").exit_code == 0
    document = tomllib.loads((out / "farm.toml").read_text())
    assert document["farm"]["name"] == "shop"
    assert "application" not in document
    assert run("check-config", out / "farm.toml").exit_code == 0


def test_an_empty_directory_is_written_into(out):
    out.mkdir()
    assert import_safekit(WEB_FARM, out, *FILLED).exit_code == 0


def test_what_is_missing_is_told_all_at_once_and_nothing_is_written(out):
    result = import_safekit(WEB_FARM, out)
    assert result.exit_code == 1
    assert "is not imported: 2 problems" in result.stderr
    assert "line 3: macro FARM_IP" in result.stderr
    assert "--macro FARM_IP=VALUE" in result.stderr
    assert "--node NAME=ADDRESS" in result.stderr
    assert not out.exists()


def test_problems_are_there_as_json(out):
    result = import_safekit(WEB_FARM, out, "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert (document["ok"], len(document["problems"])) == (False, 2)


def test_what_is_there_is_not_overwritten(tmp_path, out):
    out.mkdir()
    (out / "precious").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for where in (out, out / "precious", tmp_path / "link"):
        result = import_safekit(WEB_FARM, where, *FILLED)
        assert result.exit_code == 1
        assert "exists already, and is not overwritten" in result.stderr
    assert [path.name for path in out.iterdir()] == ["precious"]


def test_what_cannot_be_written_is_taken_away_again(out):
    scripts = {"bin/start_both": b"#!/bin/sh\n", "bin/stop_both": b"#!/bin/sh\n", f"bin/{'x' * 251}": b""}
    module = out.parent / "m"
    (module / "conf").mkdir(parents=True)
    (module / "conf" / "userconfig.xml").write_bytes((WEB_FARM / "conf" / "userconfig.xml").read_bytes())
    archive = out.parent / "m.safe"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(module / "conf" / "userconfig.xml", "conf/userconfig.xml")
        for name, content in scripts.items():
            file.writestr(name, content)
        file.writestr("bin/start_both/below", b"")
    result = import_safekit(archive, out, *FILLED)
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr
    assert [path for path in out.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--macro", "FARM_IP"), "a name, an equals sign and a value"),
        (("--macro", "=x"), "a name, an equals sign and a value"),
        (("--node", "web1"), "a name, an equals sign and a value"),
        (("--macro", "A=\udcff"), "is not text"),
        (("--nodes", "x"), "No such option"),
    ],
)
def test_a_wrong_command_is_refused(out, options, told):
    result = import_safekit(WEB_FARM, out, *options)
    assert result.exit_code == 2
    assert told in result.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "status", "told"),
    [
        ("<safe><service mode='mirror'><heart/></service></safe>", 1, "is a mirror module"),
        ("<safe>", 2, "line 1"),
        ("<!DOCTYPE safe [<!ENTITY a 'b'>]><safe/>", 2, "declares an entity"),
        ("<html/>", 1, "is no configuration of SafeKit"),
    ],
)
def test_a_module_of_another_kind_and_one_that_cannot_be_read_are_told_apart(tmp_path, out, text, status, told):
    (tmp_path / "userconfig.xml").write_text(text)
    result = import_safekit(tmp_path / "userconfig.xml", out, "--node", "a=192.0.2.1")
    assert result.exit_code == status
    assert told in result.stderr
    assert not out.exists()


def test_a_module_that_is_not_there_cannot_be_read(tmp_path, out):
    result = import_safekit(tmp_path / "none.safe", out, "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["problems"][0]["message"] == "is not there"


def test_a_node_that_cannot_be_is_refused_in_the_words_of_the_farm_file(out):
    result = import_safekit(WEB_FARM, out, *FILLED[:2], "--node", "web1=www.example.com")
    assert result.exit_code == 1
    assert "node[1].address: is not an IP address" in result.stderr


def test_the_command_explains_itself():
    result = run("import-safekit", "--help")
    assert result.exit_code == 0
    assert "Exit status" in result.stdout
