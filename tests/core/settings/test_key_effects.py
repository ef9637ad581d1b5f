"""What a change of each key takes: the table is whole, and says why where it refuses."""

import pytest

from hcsidecar.core.farmfile.reference import file_keys
from hcsidecar.core.settings.key_effects import KEY_EFFECTS, ChangeEffect, Touched, effect_mark, effect_of


def test_the_table_has_every_key_of_the_farm_file_and_no_other():
    assert set(KEY_EFFECTS) == set(file_keys())


@pytest.mark.parametrize(
    ("key", "effect"),
    [
        ("farm.name", "refused"),
        ("farm.key_file", "refused"),
        ("farm.state_dir", "refused"),
        ("farm.keep_ready", "live"),
        ("node", "membership"),
        ("node.address", "membership"),
        ("node.power", "moves clients"),
        ("node.listen", "restarts daemon"),
        ("heartbeat.port", "refused"),
        ("heartbeat.preset", "restarts daemon"),
        ("heartbeat.realtime", "restarts daemon"),
        ("web.tls", "restarts daemon"),
        ("health.path", "live"),
        ("health.agent_check", "restarts daemon"),
        ("health.lame_duck", "live"),
        ("log.keep", "live"),
        ("l2.delivery", "refused"),
        ("l2.filter", "restarts daemon"),
        ("l2.share.power", "moves clients"),
        ("application.start", "live"),
        ("application.safekit", "restarts application"),
        ("check.interval", "live"),
        ("target.group", "live"),
    ],
)
def test_a_key_has_the_effect_that_its_use_demands(key, effect):
    assert effect_of(key).effect == effect


def test_a_refused_key_says_why_and_what_to_do_instead():
    for key, each in KEY_EFFECTS.items():
        if each.effect is ChangeEffect.REFUSED:
            why, _, instead = each.note.partition("; ")
            assert why, key
            assert instead.startswith(("stop all nodes", "keep the file's name")), key


def test_what_is_one_nodes_touches_that_node():
    named = {key for key, each in KEY_EFFECTS.items() if each.touches is Touched.NAMED}
    assert named == {"node", "node.name", "node.address", "node.addresses", "node.listen", "target.nodes"}


def test_a_key_of_another_packages_target_has_the_effect_of_a_target():
    assert effect_of("target.pool") == effect_of("target")


def test_the_effects_are_ordered_by_how_much_they_disturb():
    worst_last = sorted(ChangeEffect, key=lambda effect: effect.severity)
    assert worst_last[0] is ChangeEffect.LIVE
    assert worst_last[-1] is ChangeEffect.REFUSED


def test_only_what_disturbs_is_marked():
    assert effect_mark("health.lame_duck") == ""
    assert effect_mark("heartbeat.port") == "refused"
