import pytest

from hcsidecar.core.application.process_selection import (
    Stat,
    command_line,
    complaint,
    is_called,
    is_in_unit,
    parse_stat,
    unit_file_state,
)
from hcsidecar.core.farmfile.farm_file import ProcessCheck


def check(**options):
    return ProcessCheck(type="process", name="PROC", **({"process": "apache2"} | options))


@pytest.mark.parametrize(
    ("text", "stat"),
    [
        (b"4711 (apache2) S 1 4711", Stat(b"apache2", "S")),
        (b"4711 (a) b (c) d) R 1", Stat(b"a) b (c) d", "R")),
        (b"4711 (gone) Z 1", Stat(b"gone", "Z")),
        (b"", None),
        (b"4711 (apache2)", None),
        (b"4711 apache2 S", None),
    ],
)
def test_a_name_may_have_anything_in_it(text, stat):
    assert parse_stat(text) == stat


def test_a_zombie_does_not_run():
    assert not Stat(b"apache2", "Z").runs
    assert Stat(b"apache2", "T").runs


def test_of_a_long_name_the_kernel_keeps_the_beginning():
    assert is_called(Stat(b"very-long-progr", "S"), "very-long-program-name")
    assert is_called(Stat(b"apache2", "S"), "apache2")
    assert not is_called(Stat(b"apache2", "S"), "apache")


@pytest.mark.parametrize(
    ("cgroups", "there"),
    [
        (b"0::/system.slice/apache2.service\n", True),
        (b"0::/system.slice/apache2.service/workers\n", True),
        (b"12:pids:/x\n1:name=systemd:/system.slice/apache2.service\n", True),
        (b"0::/system.slice/_apache2.service\n", True),
        (b"0::/system.slice/other-apache2.service\n", False),
        (b"0::/\n", False),
        (b"", False),
    ],
)
def test_a_unit_has_the_processes_of_its_control_group(cgroups, there):
    assert is_in_unit(cgroups, "apache2.service") is there


@pytest.mark.parametrize(
    ("options", "count", "state", "reason"),
    [
        ({}, 1, None, None),
        ({}, 0, None, "apache2: none runs"),
        ({"at_least": 3}, 1, None, "apache2: 1 runs, fewer than 3"),
        ({"at_least": 3}, 2, None, "apache2: 2 run, fewer than 3"),
        ({"at_most": 3}, 4, None, "apache2: 4 run, more than 3"),
        ({"at_least": 0, "at_most": 0}, 0, None, None),
        ({"at_least": 0, "at_most": 0}, 1, None, "apache2: 1 runs, more than 0"),
        ({"unit": "a.service"}, 1, "active", None),
        ({"unit": "a.service"}, 1, "failed", "a.service is failed"),
        ({"unit": "a.service"}, 0, "active", "apache2, a.service: none runs"),
        ({"unit": "a.service", "at_least": 0}, 0, "active", None),
    ],
)
def test_the_number_decides_and_the_unit_must_be_active(options, count, state, reason):
    assert complaint(check(**options), count, unit_state=state) == reason


def test_a_command_line_is_written_with_blanks():
    assert command_line(b"/usr/sbin/apache2\0-k\0start\0") == "/usr/sbin/apache2 -k start"
    assert command_line(b"") == ""


def test_what_systemd_says_of_a_unit_is_summed_up():
    assert unit_file_state({"LoadState": "loaded", "ActiveState": "failed"}) == "failed"
    assert unit_file_state({"LoadState": "not-found", "ActiveState": "inactive"}) == "not known to systemd"
    assert unit_file_state({}) == "unknown"
