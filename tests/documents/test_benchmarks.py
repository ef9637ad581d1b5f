"""The benchmarks start and write what they find; how long anything takes is for them to say and not for a test."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from benchmarks import apache, application, checks, console, delays, keepalived
from benchmarks.checked_node import (
    Tempo,
    application_table,
    check_table,
    default_tempo,
    farm_file,
    status_in,
)
from benchmarks.processes import cpu_seconds, cpu_seconds_with_children
from benchmarks.tracker import SCRIPTS
from hcsidecar.core.farmfile.farm_file import FarmFile, read

ROOT = Path(__file__).parents[2]


def benchmarks(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_simulated_figure_prints_its_tables_and_keeps_every_run(tmp_path):
    done = benchmarks("simulation", "--quick", "--output", str(tmp_path))
    # 1 says that an aim was missed, which is a finding and no failure of the benchmark.
    assert done.returncode in (0, 1), done.stderr
    for what in ("preset lan", "preset fast", "preset wan", "death to claimed buckets, 16 nodes", "leave: longest"):
        assert what in done.stdout
    (measured,) = json.loads((tmp_path / "results.json").read_text())
    assert measured["name"] == "simulation"
    rows = {row["what"]: row for table in measured["figure"]["tables"] for row in table["rows"]}
    assert len(rows["drain: longest of any bucket"]["runs"]) == 2
    assert rows["buckets that ever had two takers"]["runs"] == [0.0]
    page = (tmp_path / "RESULTS.md").read_text()
    assert measured["figure"]["title"] in page
    assert "| drain: longest of any bucket | ms |" in page


def test_a_figure_that_there_is_not_is_refused_with_the_names_of_those_there_are():
    done = benchmarks("speed")
    assert done.returncode == 2
    assert "no figure speed; there are simulation, deaths, quiet" in done.stderr


def farm_of(directory, tables):
    text = farm_file(directory, name="bench", address="127.0.0.1", tables=tables)
    farm = read(tomllib.loads(text))
    assert isinstance(farm, FarmFile), farm
    return farm


def test_the_default_check_is_as_fast_as_one_whose_table_says_nothing_of_it(tmp_path):
    silent = '[[check]]\ntype = "http"\nname = "WEB"\naddress = "127.0.0.1"\nport = 80\n'
    (check,) = farm_of(tmp_path, silent).check
    assert default_tempo() == Tempo(interval=check.interval, timeout=check.timeout)
    (same,) = farm_of(tmp_path, check_table("http", "WEB", default_tempo())).check
    assert (same.interval, same.timeout, same.pending_interval) == (
        check.interval,
        check.timeout,
        check.pending_interval,
    )


def test_an_application_that_is_harmed_again_and_again_never_runs_out_of_restarts(tmp_path):
    class Scripts:
        start_script = tmp_path / "start"
        stop_script = tmp_path / "stop"

    tables = application_table(Scripts) + check_table("http", "WEB", application.TIGHT, action="restart")
    farm = farm_of(tmp_path, tables)
    assert farm.application.restart_window == 0
    assert farm.action_of(farm.check[0]) == "restart"


def test_fifty_checks_are_tcp_and_http_half_and_half_and_lead_to_nothing(tmp_path):
    farm = farm_of(tmp_path, checks.check_tables(50))
    assert [check.type for check in farm.check].count("tcp") == 25
    assert [check.type for check in farm.check].count("http") == 25
    assert len({check.name for check in farm.check}) == 50
    assert {(check.interval, farm.action_of(check)) for check in farm.check} == {(1.0, "none")}


def test_a_death_is_noticed_within_an_interval_and_a_hang_within_a_timeout_more():
    tempo = Tempo(interval=10, timeout=5)
    assert application.noticed_aim(tempo, hung=False).limit == pytest.approx(11_100)
    assert application.noticed_aim(tempo, hung=True).limit == pytest.approx(16_100)


def test_what_checks_cost_is_what_their_daemon_costs_beyond_one_without(tmp_path):
    percents = [
        {checks.NONE: 1.0, checks.OURS: 6.0, checks.PEER_NONE: 0.5, checks.PEER: 10.5},
        {checks.NONE: 1.0, checks.OURS: 5.0, checks.PEER_NONE: 0.5, checks.PEER: 20.5},
    ]
    rows = {row.what: row for row in checks.table(percents, dict.fromkeys(percents[0], 50.0)).rows}
    assert rows["50 checks: processor"].runs == (5.0, 4.0)
    assert rows["50 scripts of keepalived: processor"].runs == (10.0, 20.0)
    assert rows["checks to scripts: processor"].runs == (0.5, 0.2)
    assert rows["checks to scripts: processor"].kept
    alone = checks.table(percents, {checks.NONE: 50.0, checks.OURS: 51.0})
    assert not any("keepalived" in row.what or row.aim for row in alone.rows)


def test_keepalived_tracks_each_script_by_its_name_and_none_where_there_are_none(tmp_path):
    def configuration(*scripts):
        options = {"priority": 100, "interval": 0.1, "interface": "eth0", "address": "192.0.2.50/24"}
        command = keepalived.command(tmp_path, "a", **options, scripts=scripts)
        return Path(command[command.index("--use-file") + 1]).read_text()

    text = configuration(*(keepalived.TrackScript(name=f"check{number}", path=tmp_path / "tcp") for number in (1, 2)))
    assert re.findall(r"vrrp_script (\S+) \{", text) == ["check1", "check2"]
    assert re.search(r"track_script \{\s+check1\s+check2\s+\}", text)
    assert text.count("interval 1\n") == text.count("fall 1\n") == text.count("timeout 1\n") == 2
    assert text.count("{") == text.count("}")
    assert "track_script" not in configuration()


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 200 OK\r\nDate: now\r\n\r\nIt works", 200),
        (b"HTTP/1.0 404 NOT FOUND\r\n\r\n", 404),
        (b"HTTP/1.1", None),
        (b"SSH-2.0 200", None),
        (b"", None),
    ],
)
def test_only_an_answer_with_a_status_line_has_a_status(answer, status):
    assert status_in(answer) == status


def test_the_scripts_of_the_figures_are_good_bash_and_apache_stays_in_its_directory(tmp_path):
    for script in (*SCRIPTS.values(), apache.STOP.format(pid=tmp_path / "apache.pid")):
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    text = apache.configuration(tmp_path)
    places = re.findall(r"^(?:ServerRoot|DefaultRuntimeDir|PidFile|ErrorLog) (\S+)$", text, re.MULTILINE)
    assert len(places) == 4
    assert all(place.startswith(str(tmp_path)) for place in places)


def test_the_time_of_children_that_have_ended_counts():
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'sum(range(3_000_000))']); print(); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        parent.stdout.readline()
        assert cpu_seconds_with_children(parent.pid) - cpu_seconds(parent.pid) >= 0.01
        parent.stdin.write(b"\n")


def test_the_daemons_whose_delays_are_measured_have_as_many_targets_and_checks_as_is_said(tmp_path):
    farm = farm_of(tmp_path, delays.targets(16, "http://127.0.0.1:1/hang"))
    assert len({target.label for target in farm.target}) == 16
    assert {(target.type, target.policy, target.poll) for target in farm.target} == {("aws", "observe", 1.0)}
    farm = farm_of(tmp_path, delays.checks(50, 1))
    assert {
        kind: [check.type for check in farm.check].count(kind) for kind in ("tcp", "http", "process", "command")
    } == {
        "tcp": 13,
        "http": 13,
        "process": 12,
        "command": 12,
    }
    assert {(check.interval, farm.action_of(check)) for check in farm.check} == {(1.0, "none")}


def test_a_delay_is_compared_with_that_of_the_daemon_with_nothing_beside_in_the_same_window():
    found = {delays.NONE: [(2.0, 4.0), (4.0, 1.0)], delays.BIG: [(3.0, 4.0), (4.0, 2.0)]}
    counted = {what: dict.fromkeys(delays.COUNTED, 0) for what in found}
    rows = {row.what: row for row in delays.table(found, counted).rows}
    assert rows["heartbeat, 16 targets with big answers to nothing beside"].runs == (1.5, 1.0)
    assert rows["health, 16 targets with big answers to nothing beside"].runs == (1.0, 2.0)
    assert rows["health, 16 targets with big answers to nothing beside"].kept


def test_what_browsers_delay_is_compared_with_the_window_without_any():
    quiet = [console.Window(1.0, 0, 2.0), console.Window(2.0, 1, 1.0)]
    coming = [console.Window(9.0, 1, 8.0), console.Window(9.0, 0, 8.0)]
    crowded = [console.Window(1.5, 0, 3.0), console.Window(2.0, 0, 1.0)]
    found = {"0 browsers": quiet, "50 come at once": coming, "50 browsers": crowded}
    rows = {row.what: row for row in console.delays_table(found).rows}
    assert rows["heartbeat, longest delay, 50 browsers to 0 browsers"].runs == (1.5, 1.0)
    assert rows["/health, p99, 50 browsers to 0 browsers"].runs == (1.5, 1.0)
    assert rows["/health, p99, 50 come at once to 0 browsers"].kept is None
    late = "heartbeats that came 100 ms or more after the one before, "
    assert [rows[late + who].kept for who in found] == [None, False, True]
