"""Which checks go on, begin anew and end when the farm file changes."""

import pytest

from hcsidecar.core.application.check_changes import ADJUSTABLE, check_changes
from hcsidecar.core.farmfile.farm_file import HttpCheck, TcpCheck
from hcsidecar.core.settings.key_effects import KEY_EFFECTS


def http(**options):
    return HttpCheck(**{"type": "http", "name": "HTTP", "address": "127.0.0.1", "port": 80, "path": "/"} | options)


def tcp(name="TCP", **options):
    return TcpCheck(type="tcp", name=name, address="127.0.0.1", port=25, **options)


def test_a_check_that_is_as_before_goes_on():
    changes = check_changes([http(), tcp()], [tcp(), http()])
    assert (changes.begun, changes.adjusted, changes.ended) == (set(), set(), set())


def test_new_checks_begin_and_those_that_are_gone_end():
    changes = check_changes([http(), tcp("OLD")], [http(), tcp("NEW")])
    assert (changes.begun, changes.adjusted, changes.ended) == ({"NEW"}, set(), {"OLD"})


@pytest.mark.parametrize(
    "options",
    [{"action": "none"}, {"interval": "3s"}, {"pending_interval": "2s"}, {"timeout": "1s"}, {"rise": 3}, {"fall": 4}],
    ids=lambda options: next(iter(options)),
)
def test_times_and_limits_are_taken_by_a_check_that_goes_on(options):
    changes = check_changes([http()], [http(**options)])
    assert (changes.begun, changes.adjusted, changes.ended) == (set(), {"HTTP"}, set())


@pytest.mark.parametrize(
    "options",
    [{"port": 81}, {"path": "/a"}, {"status": [204]}, {"when": "pre"}, {"address": "127.0.0.2"}, {"tls": "on"}],
    ids=lambda options: next(iter(options)),
)
def test_a_check_that_looks_at_something_else_begins_anew(options):
    assert check_changes([http()], [http(**options)]).begun == {"HTTP"}


def test_a_check_of_another_type_begins_anew():
    assert check_changes([http(name="APP")], [tcp("APP")]).begun == {"APP"}


def test_what_the_plan_of_a_change_says_of_checks_is_what_happens():
    keys = {key.removeprefix("check."): effect for key, effect in KEY_EFFECTS.items() if key.startswith("check.")}
    assert {key for key, effect in keys.items() if "begins anew" not in effect.note} == ADJUSTABLE
