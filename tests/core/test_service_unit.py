from pathlib import Path

import pytest

from hcsidecar.core.service_unit import (
    UnitOptions,
    UnitState,
    config_of,
    console_unit_text,
    for_systemd,
    is_ours,
    signed,
    systemd_version,
    unit_state,
    unit_text,
    why_not_a_unit_name,
    why_not_for_a_service,
)

SHIPPED = Path(__file__).parents[2] / "hcsidecar" / "hcsidecar.service"


@pytest.fixture
def shipped():
    return SHIPPED.read_text()


def wishes(**others):
    usual = {
        "program": "/usr/bin/hcsidecar",
        "config": "/etc/hcsidecar/farm.toml",
        "node": None,
        "state": None,
        "drain": 10.0,
    }
    return UnitOptions(**usual | others)


def settings(text):
    """The lines of a unit as pairs, without its comments."""
    return [tuple(line.split("=", 1)) for line in text.splitlines() if line[:1].isalpha()]


def test_a_usual_machine_gets_the_shipped_unit(shipped):
    assert unit_text(shipped, wishes(), systemd=257) == shipped
    assert unit_text(shipped, wishes(state="/var/lib/hcsidecar", drain=60.0), systemd=257) == shipped


def test_it_starts_when_the_mounts_of_farm_file_and_state_are_there(shipped):
    text = unit_text(shipped, wishes(config="/srv/hc/farm.toml", state="/srv/a state"), systemd=257)
    assert ("RequiresMountsFor", '/srv/hc/farm.toml "/srv/a state"') in settings(text)


def test_the_unit_in_config_is_the_shipped_one(shipped):
    copy = SHIPPED.parents[1] / "config" / "hcsidecar.service"
    assert copy.read_text() == shipped, f"write it anew: cp {SHIPPED} {copy}"


def test_systemd_starts_only_the_program_and_a_shell_which_the_smallest_system_has(shipped):
    assert {value.split()[0] for name, value in settings(shipped) if name.startswith("Exec")} == {
        "/usr/bin/hcsidecar",
        "/bin/sh",
    }


def test_program_farm_file_and_node_are_this_machines(shipped):
    mail = wishes(program="/opt/hc/bin/hcsidecar", config="/etc/hc/mail.toml", node="mx1")
    text = unit_text(shipped, mail, systemd=257)
    assert ("ExecStart", "/opt/hc/bin/hcsidecar run --config /etc/hc/mail.toml --node mx1") in settings(text)
    assert ("ConditionPathExists", "/etc/hc/mail.toml") in settings(text)
    assert config_of(text) == "/etc/hc/mail.toml"


def test_blanks_and_percent_signs_in_paths_are_written_as_systemd_reads_them(shipped):
    text = unit_text(shipped, wishes(config="/etc/my farm/100%.toml"), systemd=257)
    assert ("ExecStart", '/usr/bin/hcsidecar run --config "/etc/my farm/100%%.toml"') in settings(text)
    assert ("ConditionPathExists", "/etc/my farm/100%%.toml") in settings(text)
    assert config_of(text) == "/etc/my farm/100%.toml"


def test_a_long_drain_gets_a_longer_limit_and_a_short_one_the_usual(shipped):
    assert ("TimeoutStopSec", "90") in settings(unit_text(shipped, wishes(drain=0.0), systemd=257))
    assert ("TimeoutStopSec", "331") in settings(unit_text(shipped, wishes(drain=300.5), systemd=257))


def test_a_node_that_cannot_start_is_tried_for_as_long_as_it_takes(shipped):
    told = dict(settings(shipped))
    assert told["StartLimitIntervalSec"] == "0"
    assert "StartLimitBurst" not in told
    assert told["Restart"] == "on-failure"
    assert told["RestartPreventExitStatus"] == "2"  # a wrong farm file


def test_the_unit_has_patience_with_a_machine_that_is_twenty_times_slower(shipped):
    told = dict(settings(shipped))
    assert told["TimeoutStartSec"] == "15min"  # a start took 240 s in an emulated machine beside two others
    assert int(told["WatchdogSec"]) >= 20 * 3


@pytest.mark.parametrize(
    ("version", "delays"),
    [
        (257, {"RestartSec": "2", "RestartSteps": "5", "RestartMaxDelaySec": "30"}),
        (254, {"RestartSec": "2", "RestartSteps": "5", "RestartMaxDelaySec": "30"}),
        (253, {"RestartSec": "10"}),
        (252, {"RestartSec": "10"}),
        (None, {"RestartSec": "10"}),
    ],
)
def test_delays_grow_where_systemd_knows_how(shipped, version, delays):
    text = for_systemd(shipped, version)
    told = dict(settings(text))
    assert {key: told[key] for key in ("RestartSec", "RestartSteps", "RestartMaxDelaySec") if key in told} == delays
    assert unit_text(shipped, wishes(), systemd=version) == text


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("systemd 252 (252.38-1~deb12u1)\n+PAM +AUDIT", 252),
        ("systemd 257 (257.9-1~deb13u1)", 257),
        ("systemd 252 (252-51.el9)", 252),
        ("not systemd", None),
        ("", None),
    ],
)
def test_systemd_says_which_version_it_is(said, version):
    assert systemd_version(said) == version


def test_state_elsewhere_may_be_written_to(shipped):
    text = unit_text(shipped, wishes(state="/srv/farm state"), systemd=257)
    assert ("ReadWritePaths", '"/srv/farm state"') in settings(text)
    assert ("ReadWritePaths", "-/run/xtables.lock") in settings(text)


@pytest.mark.parametrize(
    ("others", "named"),
    [
        ({"program": "/tmp/hc/bin/hcsidecar"}, "the installation /tmp/hc/bin/hcsidecar cannot be in /tmp"),  # noqa: S108 - never used
        ({"config": "/var/tmp/farm.toml"}, "the farm file /var/tmp/farm.toml cannot be in /var/tmp"),  # noqa: S108 - never used
        ({"state": "/run/farm"}, "the state_dir /run/farm cannot be in /run, since it is gone after the next boot"),
        ({"config": "/etc/$HOME/farm.toml"}, "systemd reads otherwise"),
        ({"config": "/etc/a\nb"}, "systemd reads otherwise"),
    ],
)
def test_paths_that_a_service_would_not_find_are_refused(others, named):
    assert named in why_not_for_a_service(wishes(**others))


def test_usual_paths_are_not_refused():
    assert why_not_for_a_service(wishes(program="/opt/hc dir/bin/hcsidecar", state="/srv/tmp/farm")) is None


@pytest.mark.parametrize("name", ["", "a b", "../x", "-x", "x" * 65, "x@", "hcsidecar.service", "a/b"])
def test_what_cannot_name_a_unit_is_refused(name):
    assert why_not_a_unit_name(name) is not None


def test_a_unit_may_be_named_after_its_farm():
    assert why_not_a_unit_name("hcsidecar-mail.2") is None


def test_a_unit_is_told_by_its_text_and_fingerprint(shipped):
    wanted = unit_text(shipped, wishes(), systemd=257)
    other = signed(unit_text(shipped, wishes(node="web1"), systemd=257))
    assert unit_state(None, wanted) is UnitState.ABSENT
    assert unit_state(wanted, wanted) is UnitState.SAME
    assert unit_state(signed(wanted), wanted) is UnitState.SAME
    assert unit_state(other, wanted) is UnitState.OURS
    assert unit_state(other.replace("OOMScoreAdjust=-500", "OOMScoreAdjust=0"), wanted) is UnitState.FOREIGN
    assert unit_state("[Service]\nExecStart=/bin/true\n", wanted) is UnitState.FOREIGN


def test_only_a_signed_and_unchanged_unit_is_ours(shipped):
    assert is_ours(signed(shipped))
    assert not is_ours(shipped)
    assert not is_ours(signed(shipped) + "#\n")


def test_a_shipped_unit_that_lacks_a_setting_is_our_own_mistake(shipped):
    with pytest.raises(ValueError, match="TimeoutStopSec= once"):
        unit_text(shipped.replace("TimeoutStopSec=90\n", ""), wishes(), systemd=257)


def test_systemd_waits_for_longer_than_the_drain_and_leaves_the_application_alone(shipped):
    told = dict(settings(shipped))
    assert (told["Type"], told["KillMode"]) == ("notify", "mixed")
    assert int(told["TimeoutStopSec"]) >= 10 + 30
    assert "CAP_SYS_ADMIN" not in told["CapabilityBoundingSet"]


def test_where_the_program_is_need_not_be_known():
    assert why_not_for_a_service(wishes(state=None)) is None


def test_the_consoles_unit_runs_this_installations_program():
    shipped = SHIPPED.with_name("hcsidecar-console.service").read_text()
    text = console_unit_text(shipped, wishes(program="/opt/my farm/bin/hcsidecar"))
    assert 'ExecStart="/opt/my farm/bin/hcsidecar" console\n' in text
    assert text.replace('"/opt/my farm/bin/hcsidecar"', "/usr/bin/hcsidecar") == shipped
