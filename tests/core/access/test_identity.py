"""Who acts: how events name people and programs, and which claims are taken."""

import pytest

from hcsidecar.core.access.identity import (
    LONGEST_ACTOR,
    Actor,
    Identity,
    Via,
    by_way_of,
    decode_actor,
    encode_actor,
    sudo_actor,
)
from hcsidecar.core.access.roles import AccessRole

ALICE = Identity(name="alice", role=AccessRole.ADMIN, via=Via.CONSOLE)
CI = Identity(name="ci", role=AccessRole.CONTROL, via=Via.API_TOKEN)


def test_events_name_the_person_the_way_and_the_address():
    assert str(Actor(identity=ALICE, address="192.0.2.7")) == "alice (console, 192.0.2.7)"
    assert str(Actor(identity=CI, address="2001:db8::7")) == "ci (API token, 2001:db8::7)"
    assert str(Actor(identity=ALICE)) == "alice (console)"
    assert (ALICE.person, CI.person) == ("alice", None)


def test_a_request_that_came_by_way_of_a_node_names_it_behind_the_person():
    assert by_way_of("root", "web1") == "root@web1"
    assert by_way_of("alice (console, 192.0.2.7)", "web1") == "alice@web1 (console, 192.0.2.7)"
    assert by_way_of("", "web1") == "somebody@web1"


def test_the_longest_name_of_somebody_is_within_the_limit():
    longest = Actor(identity=Identity(name="a" * 32, role=AccessRole.ADMIN, via=Via.COMMAND_LINE), address="f" * 64)
    assert len(str(longest)) <= LONGEST_ACTOR


def test_a_header_gives_the_actor_who_was_written_into_it():
    actor = Actor(identity=CI, address="fe80::1%eth0")
    assert decode_actor(encode_actor(actor)) == actor


def test_who_is_root_by_sudo_is_named():
    assert str(sudo_actor("alice")) == "alice (command line)"


@pytest.mark.parametrize("user", [None, "", "alice smith", "alice (console", "x" * 33])
def test_a_name_that_no_event_could_show_is_not_used(user):
    assert sudo_actor(user) is None


@pytest.mark.parametrize(
    "header",
    [
        "",
        "alice",
        "{}",
        '{"identity":{"name":"root (command","role":"admin","via":"console"}}',
        '{"identity":{"name":"alice","role":"king","via":"console"}}',
        '{"identity":{"name":"alice","role":"admin","via":"console"},"address":"a\\nb"}',
        "[" * 10_000,
        "\udcff",
    ],
)
def test_a_header_that_names_nobody_is_no_actor(header):
    assert decode_actor(header) is None
