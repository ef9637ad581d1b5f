import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcsidecar.core.application.runs import (
    KEPT_RUNS,
    USUAL_PATH,
    Place,
    began_at,
    check_environment,
    environment,
    is_start,
    logs_to_remove,
    parse_run_name,
    run_name,
    why_ended_badly,
    why_not_started,
)
from hcsidecar.core.farmfile.application_table import ApplicationTable

NOON = 1795867200.0  # 2026-11-28 12:00 UTC
PLACE = Place(
    farm="apache",
    node="web1",
    config="/etc/hcsidecar/farm.toml",
    socket="/run/hcsidecar/apache/web1/control.sock",
    python="/opt/hcsidecar/bin/python",
    state_dir="/var/lib/hcsidecar/apache/web1",
)
RUN = "20261128T120000.000Z_start"


def variables(*, base=None, **table):
    made = ApplicationTable(start="bin/start", stop="bin/stop", **table)
    return environment(made, PLACE, run=RUN, start_directory="/etc/hcsidecar/bin", base=base or {})


@pytest.mark.parametrize(
    ("key", "arguments", "wall_clock", "name"),
    [
        ("start", ["STOP", "UP", "start"], NOON, "20261128T120000.000Z_start"),
        ("stop", ["UP", "STOP", "stop"], NOON + 0.999, "20261128T120000.999Z_stop"),
        ("stop", ["force", "UP", "STOP", "stop"], NOON + 1.0019, "20261128T120001.001Z_stop_force"),
        ("transition", ["force"], NOON, "20261128T120000.000Z_transition"),
        ("poststop", [], NOON, "20261128T120000.000Z_poststop"),
    ],
)
def test_a_run_is_named_by_when_it_began_and_what_it_is(key, arguments, wall_clock, name):
    assert run_name(key, arguments, wall_clock=wall_clock) == name
    assert is_start(name) is (key == "start")


def test_a_script_gets_what_it_belongs_to_and_little_of_the_daemons_environment():
    base = {
        "PATH": "/usr/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "LC_TIME": "C",
        "NOTIFY_SOCKET": "/run/systemd/notify",
        "WATCHDOG_USEC": "1",
        "INVOCATION_ID": "0",
        "JOURNAL_STREAM": "8:1",
        "VIRTUAL_ENV": "/opt/hcsidecar",
    }

    assert variables(base=base) == {
        "PATH": "/usr/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "LC_TIME": "C",
        "HCSIDECAR_FARM": "apache",
        "HCSIDECAR_NODE": "web1",
        "HCSIDECAR_CONFIG": "/etc/hcsidecar/farm.toml",
        "HCSIDECAR_SOCKET": "/run/hcsidecar/apache/web1/control.sock",
        "HCSIDECAR_PYTHON": "/opt/hcsidecar/bin/python",
        "HCSIDECAR_STATE_DIR": "/var/lib/hcsidecar/apache/web1",
        "HCSIDECAR_RUN": f"apache/web1/{RUN}",
    }


def test_without_a_path_of_its_own_a_script_gets_the_usual_one():
    assert variables()["PATH"] == USUAL_PATH


def test_the_farm_file_has_the_last_word_on_variables_but_for_those_that_mark_processes():
    said = variables(
        base={"LANG": "C"}, environment={"LANG": "de_DE.UTF-8", "SERVICES": "httpd", "HCSIDECAR_RUN": "mine"}
    )

    assert said["LANG"] == "de_DE.UTF-8"
    assert said["SERVICES"] == "httpd"
    assert said["HCSIDECAR_RUN"] == f"apache/web1/{RUN}"


def test_a_safekit_module_gets_safekits_environment_and_command():
    said = variables(safekit=True, environment={"PATH": "/srv/bin"})
    safe = "/var/lib/hcsidecar/apache/web1/safekit"

    assert {name: value for name, value in said.items() if name.startswith("SAFE")} == {
        "SAFE": safe,
        "SAFEMODULE": "apache",
        "SAFEBIN": safe,
        "SAFEUSERBIN": "/etc/hcsidecar/bin",
        "SAFEUSERCONF": f"{safe}/conf",
        "SAFEVAR": f"{safe}/var",
        "SAFEUSERVAR": f"{safe}/var/modules/apache",
    }
    assert said["PATH"] == f"{safe}:/srv/bin"


@given(st.integers(0, 4_000_000_000_000), st.sampled_from([("start", []), ("stop", ["force"]), ("prestart", [])]))
def test_a_run_is_known_again_by_its_name(milliseconds, script):
    name = run_name(*script, wall_clock=milliseconds / 1000)
    assert began_at(name) == pytest.approx(milliseconds / 1000, abs=0.002)
    assert parse_run_name(name).script == "_".join((script[0], *script[1]))
    assert is_start(name) == (script[0] == "start")


@pytest.mark.parametrize(
    "name", ["", "start", "20261128T034001.123Z_", "20261328T034001.123Z_start", "20261128T034001.123Z_../start"]
)
def test_no_run_has_another_name(name):
    assert began_at(name) is None


def environ(**more):
    return b"".join(f"{name}={value}\0".encode() for name, value in (variables() | more).items())


@pytest.mark.parametrize(
    ("content", "run"),
    [
        (environ(), RUN),
        (environ(HCSIDECAR_STATE_DIR="/var/lib/hcsidecar/apache/web2"), None),
        (environ(HCSIDECAR_RUN=f"apache/web10/{RUN}"), None),
        (environ(HCSIDECAR_RUN=""), None),
        (b"", None),
        (b"\xff\0\0=", None),
    ],
)
def test_a_process_is_marked_by_farm_node_and_state_directory(content, run):
    assert PLACE.run_marked_in(content) == run


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (0, None),
        (3, "exit status 3"),
        (-9, "killed by SIGKILL"),
        (-40, "killed by SIGRTMIN+6"),
    ],
)
def test_a_bad_end_is_told_in_plain_words(code, reason):
    assert why_ended_badly(code) == reason


@pytest.mark.parametrize(
    ("step", "number", "said"),
    [
        ("exec", 2, "cannot be started: the interpreter that its first line names is not there"),
        ("exec", 8, "does not begin with #!"),
        ("exec", 13, "cannot be started: Permission denied"),
        ("directory", 2, "cannot be started: its working directory: No such file or directory"),
        ("fork", 11, "cannot be started: Resource temporarily unavailable"),
    ],
)
def test_a_script_that_cannot_be_started_is_told_why(step, number, said):
    assert said in why_not_started(step, number, os.strerror(number))


def removed(*logs, keep=3600.0, living=()):
    return logs_to_remove(logs, keep=keep, wall_clock=NOON, living=living)


def test_a_log_goes_when_nothing_was_written_to_it_for_as_long_as_logs_are_kept():
    assert removed(("1_start.log", NOON - 3601), ("2_stop.log", NOON - 3599)) == ["1_start.log"]


def test_a_run_goes_with_both_of_its_logs_by_the_younger_one():
    old, young = NOON - 3601, NOON - 5
    assert removed(("1_start.log", young), ("1_start.log.old", old)) == []
    assert removed(("1_start.log", old), ("1_start.log.old", old)) == ["1_start.log", "1_start.log.old"]


def test_of_many_runs_the_oldest_go():
    logs = [(f"{number:04d}_start.log", NOON) for number in range(KEPT_RUNS + 2)]
    assert removed(*logs) == ["0000_start.log", "0001_start.log"]


def test_logs_of_living_runs_and_files_that_are_none_of_ours_stay():
    logs = [("1_start.log", 0.0), ("notes.txt", 0.0), *((f"{number}_stop.log", NOON) for number in range(2, 300))]
    assert "1_start.log" not in removed(*logs, living={"1_start"})
    assert "notes.txt" not in removed(*logs)


def test_without_an_application_a_check_finds_where_it_is_and_no_more():
    found = check_environment(None, PLACE, start_directory="/etc/hcsidecar", base={"HCSIDECAR_RUN": "x", "LANG": "C"})
    assert set(found) == {
        "PATH", "LANG", "HCSIDECAR_FARM", "HCSIDECAR_NODE", "HCSIDECAR_CONFIG", "HCSIDECAR_SOCKET",
        "HCSIDECAR_PYTHON", "HCSIDECAR_STATE_DIR",
    }  # fmt: skip
