from hcsidecar.core.key_change import KeyChange, KeyPrint

FILE = "/etc/hcsidecar/farm.key"
OURS = KeyPrint(keys=frozenset({1, 2}), hash_seed=7)
ROTATED = KeyPrint(keys=frozenset({2, 3}), hash_seed=7)
TWICE_ROTATED = KeyPrint(keys=frozenset({4}), hash_seed=7)
ANOTHER_FARMS = KeyPrint(keys=frozenset({9}), hash_seed=8)


def changed(present, *, former=OURS, alone=False):
    return KeyChange(present, former=former, alone=alone, file=FILE)


def told(events):
    return [(event.level.value, event.message) for event in events]


def test_the_keys_of_a_new_node_of_the_last_start_and_of_a_step_of_a_rotation_are_taken_without_a_word():
    for present, former in ((OURS, None), (OURS, OURS), (ROTATED, OURS)):
        keys = changed(present, former=former)
        assert keys.begin() == []
        assert keys.look(met=(), strangers=("web2",)) == []
        assert (keys.complaint, keys.confirmed) == ("", present)


def test_a_start_with_keys_that_share_nothing_with_the_former_names_the_file_and_says_what_to_do():
    ((level, message),) = told(changed(TWICE_ROTATED).begin())
    assert level == "warning"
    assert message.startswith(f"the key file {FILE} is not the one that this node had before (they share no key): ")
    assert "copy it from there and restart this daemon" in message
    assert "if all keys were replaced" in message


def test_a_start_with_the_keys_of_another_farm_says_so():
    ((_, message),) = told(changed(ANOTHER_FARMS).begin())
    assert "not the one that this node had before (it has another hash seed)" in message


def test_nodes_that_are_heard_with_other_keys_are_an_alarm_told_once_for_each():
    keys = changed(ANOTHER_FARMS)
    ((level, message),) = told(keys.look(met=(), strangers=("web3", "web2")))
    assert level == "error"
    assert message.startswith(
        f"web2, web3: heard with keys that are not in {FILE}, which is not the key file that this node"
    )
    assert message.endswith("copy the key file from there and restart this daemon")
    assert keys.complaint == f"web2, web3: heard with keys that are not in {FILE}"
    assert keys.look(met=(), strangers=("web2", "web3")) == []
    assert len(keys.look(met=(), strangers=("web2", "web3", "web4"))) == 1
    assert keys.complaint == f"web2, web3, web4: heard with keys that are not in {FILE}"


def test_keys_that_no_other_node_has_shown_are_not_remembered_so_the_next_start_tells_it_again():
    keys = changed(ANOTHER_FARMS)
    keys.look(met=(), strangers=())
    assert keys.confirmed is None


def test_a_node_that_is_heard_with_the_new_keys_ends_it():
    keys = changed(ANOTHER_FARMS)
    keys.look(met=(), strangers=("web2", "web3"))
    events = keys.look(met=("web2",), strangers=("web3",))
    assert told(events) == [("info", f"the keys of {FILE} are the farm's: heard from web2 too")]
    assert (keys.complaint, keys.confirmed) == ("", ANOTHER_FARMS)
    assert keys.look(met=(), strangers=("web3",)) == []


def test_a_rotation_while_the_daemon_runs_is_what_the_next_one_must_know():
    keys = changed(OURS)
    keys.reload(ROTATED)
    assert keys.confirmed == ROTATED


def test_the_only_node_of_a_farm_takes_any_keys():
    keys = changed(ANOTHER_FARMS, alone=True)
    assert (keys.begin(), keys.confirmed) == ([], ANOTHER_FARMS)
