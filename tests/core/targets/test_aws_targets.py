"""What the answers of AWS say of this node, state by state."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcsidecar.core.targets.aws_targets import TargetKey, formers, observation, plain_id, whose, with_port
from hcsidecar.core.targets.registration import Observation, Presence, TargetError

WEB1 = TargetKey(id="10.0.1.11", port=80)


def answer(state, reason=None, description=None, *, id="10.0.1.11", port=80, **more):  # noqa: A002 - as AWS calls it
    health = {"State": state} | ({"Reason": reason} if reason else {})
    health |= {"Description": description} if description else {}
    return {"TargetHealthDescriptions": [{"Target": {"Id": id, "Port": port}, "TargetHealth": health} | more]}


@pytest.mark.parametrize(
    ("state", "reason", "presence", "is_there"),
    [
        ("initial", "Elb.RegistrationInProgress", Presence.PENDING, True),
        ("initial", "Elb.InitialHealthChecking", Presence.PENDING, True),
        ("healthy", None, Presence.HEALTHY, True),
        ("unhealthy", "Target.ResponseCodeMismatch", Presence.UNHEALTHY, True),
        ("unhealthy", "Target.Timeout", Presence.UNHEALTHY, True),
        ("unhealthy", "Target.FailedHealthChecks", Presence.UNHEALTHY, True),
        ("unhealthy.draining", None, Presence.UNHEALTHY, True),
        ("unused", "Target.NotRegistered", Presence.ABSENT, False),
        ("unused", "Target.NotInUse", Presence.UNUSED, True),
        ("unused", "Target.InvalidState", Presence.UNUSED, True),
        ("unused", "Target.IpUnusable", Presence.UNUSED, True),
        ("unused", None, Presence.UNUSED, True),
        ("draining", "Target.DeregistrationInProgress", Presence.DRAINING, False),
        ("unavailable", "Target.HealthCheckDisabled", Presence.UNKNOWN, True),
        ("unavailable", "Target.NotRegistered", Presence.ABSENT, False),
        ("invented", "Target.Tomorrow", Presence.UNKNOWN, True),
    ],
)
def test_a_state_and_its_reason_say_how_a_target_stands(state, reason, presence, is_there):
    seen = observation(answer(state, reason), WEB1)
    assert (seen.presence, seen.is_there) == (presence, is_there)
    assert seen.reason == (reason or ("" if state == str(presence) else state))


def test_an_empty_list_is_absence():
    assert observation({"TargetHealthDescriptions": []}, WEB1).presence is Presence.ABSENT


@pytest.mark.parametrize("nonsense", [{}, {"TargetHealthDescriptions": None}, {"TargetHealthDescriptions": ["x"]}])
def test_an_answer_that_says_nothing_is_no_absence(nonsense):
    with pytest.raises(TargetError):
        observation(nonsense, WEB1)


def test_an_answer_about_others_is_no_absence():
    for other in (answer("healthy", id="10.0.1.12"), answer("healthy", port=8080)):
        with pytest.raises(TargetError, match=r"asked about 10\.0\.1\.11:80 and answered about other targets"):
            observation(other, WEB1)


def test_what_else_is_said_stands_in_the_reason_and_breaks_nothing():
    shifted = answer(
        "healthy",
        AdministrativeOverride={"State": "zonal_shift_active", "Reason": "r"},
        AnomalyDetection={"Result": "anomalous", "MitigationInEffect": "yes"},
        Tomorrow={"a": [1]},
    )
    text = "administrative override: zonal_shift_active; anomaly detection: anomalous"
    assert observation(shifted, WEB1) == Observation(presence=Presence.HEALTHY, reason=text)
    quiet = answer("healthy", AdministrativeOverride={"State": "no_override"}, AnomalyDetection={"Result": "normal"})
    assert observation(quiet, WEB1).reason == ""
    told = observation(answer("unhealthy", "Target.Timeout", "Request timed out"), WEB1)
    assert told.reason == "Target.Timeout: Request timed out"


def test_addresses_are_compared_and_not_their_spelling():
    key = TargetKey(id="2001:db8::11", port=80)
    assert observation(answer("healthy", id="2001:DB8:0:0:0:0:0:11"), key).presence is Presence.HEALTHY
    assert str(key) == "[2001:db8::11]:80"
    assert str(TargetKey(id="10.0.1.11")) == "10.0.1.11"


def test_without_a_known_port_the_answers_port_is_taken():
    assert observation(answer("healthy", port=8080), TargetKey(id="10.0.1.11")).presence is Presence.HEALTHY


def test_a_target_is_described_with_what_is_known_of_it():
    assert TargetKey(id="10.0.1.11").described() == {"Id": "10.0.1.11"}
    whole = TargetKey(id="10.0.1.11", port=80, zone="all")
    assert whole.described() == {"Id": "10.0.1.11", "Port": 80, "AvailabilityZone": "all"}


def test_what_this_node_was_and_may_still_be_is_not_to_go():
    was = [TargetKey(id="10.0.1.9", port=80), TargetKey(id="10.0.1.11", port=8080), TargetKey(id="10.0.1.8")]
    assert formers([*was, WEB1, TargetKey(id="10.0.1.11")], WEB1, ()) == was
    assert formers(was, TargetKey(id="10.0.1.11"), ()) == [was[0], was[2]]
    assert formers(was, WEB1, ["10.0.1.9"]) == was[1:]


def test_a_port_that_becomes_known_is_filled_in_and_makes_no_second_target():
    was = [TargetKey(id="10.0.1.11"), WEB1, TargetKey(id="10.0.1.9", zone="all")]
    assert with_port(was, 80) == [WEB1, TargetKey(id="10.0.1.9", port=80, zone="all")]
    assert with_port(was, None) == was


def test_a_target_of_another_node_or_of_all_is_told_by_its_owner():
    nodes = {"web2": ["10.0.1.12", "198.51.100.12"]}
    assert whose(TargetKey(id="198.51.100.12"), nodes=nodes, vips=()) == "node web2"
    assert whose(TargetKey(id="10.0.1.50"), nodes=nodes, vips=["10.0.1.50"]) == "the virtual IP"
    assert whose(WEB1, nodes=nodes, vips=["10.0.1.50"]) is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["Target", "Id", "Port", "TargetHealth", "State", "Reason", "TargetHealthDescriptions", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(answer=st.dictionaries(st.just("TargetHealthDescriptions"), _JSON))
def test_whatever_is_answered_is_an_observation_or_a_failure(answer):
    try:
        assert isinstance(observation(answer, WEB1), Observation)
    except TargetError as error:
        assert error.text  # noqa: PT017 - either of the two


@pytest.mark.parametrize(
    ("given", "plain"), [("2001:DB8:0::1", "2001:db8::1"), ("192.0.2.1", "192.0.2.1"), ("I-0ABC", "i-0abc")]
)
def test_an_id_is_compared_in_one_spelling(given, plain):
    assert plain_id(given) == plain
