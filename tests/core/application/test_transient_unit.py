import pytest

from hcsidecar.core.application import transient_unit

RUN = "20261128T120000.000Z_start"
UNIT = "hcsidecar-apache-web1-start-20261128T120000.000Z.service"
SOCKET = "/run/hcsidecar/apache/web1/120000.000.run"


def command(**changed):
    how = {
        "run": RUN,
        "socket": SOCKET,
        "command": ["/usr/bin/python3", "/opt/$HOME/keeper.py"],
        "own": "hcsidecar.service",
        "is_start": True,
        "is_users": False,
    }
    return transient_unit.start_command(UNIT, **how | changed)


def test_a_unit_is_named_by_farm_node_and_run():
    assert transient_unit.unit_name("apache", "web1", RUN) == UNIT
    assert transient_unit.unit_name("a", "b", "20261128T120000.000Z_stop_force").startswith("hcsidecar-a-b-stop_force-")


def test_the_keeper_of_a_start_runs_in_a_unit_that_ends_after_the_daemons():
    assert command() == [
        "systemd-run",
        "--quiet",
        "--collect",
        "--no-ask-password",
        "--service-type=exec",
        f"--unit={UNIT}",
        f"--description=hcsidecar: {RUN}",
        f"--property=StandardInput=file:{SOCKET}",
        f"--property=StandardOutput=file:{SOCKET}",
        "--property=StandardError=journal",
        "--property=TimeoutStopSec=5",
        "--property=OOMPolicy=continue",
        "--property=Before=hcsidecar.service",
        "--",
        "/usr/bin/python3",
        "/opt/$$HOME/keeper.py",
    ]


def test_other_scripts_may_be_started_while_the_machine_shuts_down():
    made = command(is_start=False)
    assert "--property=DefaultDependencies=no" in made
    assert not any("Before=" in word for word in made)


def test_without_a_unit_of_our_own_there_is_none_to_end_before():
    assert command(own=None) == [word for word in command() if "Before=" not in word]


def test_a_users_systemd_is_asked_as_such():
    assert command(is_users=True)[:2] == ["systemd-run", "--user"]
    assert transient_unit.stop_command([UNIT], is_users=True)[:2] == ["systemctl", "--user"]


def test_units_are_stopped_signalled_and_asked_for_by_systemctl():
    assert transient_unit.stop_command([UNIT], is_users=False) == [
        "systemctl",
        "--no-ask-password",
        "stop",
        "--",
        UNIT,
    ]
    assert transient_unit.kill_command(UNIT, "SIGKILL", is_users=False) == [
        "systemctl",
        "--no-ask-password",
        "kill",
        "--signal=SIGKILL",
        "--",
        UNIT,
    ]
    assert transient_unit.show_command([UNIT, "b.service"], is_users=False) == [
        "systemctl",
        "--no-ask-password",
        "show",
        "--property=Id",
        "--property=ActiveState",
        "--property=ControlGroup",
        "--",
        UNIT,
        "b.service",
    ]


def test_the_control_groups_are_those_of_units_that_live():
    answer = (
        "ControlGroup=/system.slice/a.service\nId=a.service\nActiveState=active\n\n"
        "ControlGroup=/system.slice/b.service\nId=b.service\nActiveState=deactivating\n\n"
        "ControlGroup=\nId=c.service\nActiveState=inactive\n\n"
        "Id=d.service\nActiveState=active\n"
    )
    assert transient_unit.control_groups(answer) == {
        "a.service": "/system.slice/a.service",
        "b.service": "/system.slice/b.service",
    }
    assert transient_unit.control_groups("") == {}


@pytest.mark.parametrize(
    ("environment", "started"),
    [
        ({}, False),
        ({"INVOCATION_ID": ""}, False),
        ({"INVOCATION_ID": "a", "SYSTEMD_EXEC_PID": "7"}, True),
        ({"INVOCATION_ID": "a", "SYSTEMD_EXEC_PID": "6"}, False),
        ({"INVOCATION_ID": "a"}, True),
    ],
)
def test_systemd_has_started_us_when_it_says_so_of_this_very_process(environment, started):
    assert transient_unit.is_started_by_systemd(environment, pid=7) is started


def test_a_users_manager_names_itself():
    assert transient_unit.is_users_manager({"MANAGERPID": "900"})
    assert not transient_unit.is_users_manager({})


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("0::/system.slice/hcsidecar.service\n", "hcsidecar.service"),
        ("3:pids:/\n1:name=systemd:/system.slice/hcsidecar.service\n0::/\n", "hcsidecar.service"),
        ("0::/user.slice/user-0.slice/session-1.scope\n", None),
        ("", None),
    ],
)
def test_our_own_unit_is_told_by_our_control_group(text, unit):
    assert transient_unit.own_unit(text) == unit
