from random import Random

import msgspec
import pytest

from hcsidecar.core.targets.backoff import Backoff
from hcsidecar.core.targets.documents import TargetFailure, TargetStatus
from hcsidecar.core.targets.reconcile import Reconciler
from hcsidecar.core.targets.registration import Call, Observation, Presence, Trouble


def sight(**changes):
    usual = {"name": "web", "type": "haproxy", "policy": "member", "desired": "registered", "why": "Ready and a member"}
    return TargetStatus(**(usual | {"observed": "healthy"} | changes))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, None),
        ({"observed": "unhealthy"}, None),
        ({"observed": "unused"}, None),
        ({"observed": "unseen"}, None),
        ({"observed": "unknown"}, None),
        ({"observed": None}, "not looked at yet"),
        ({"observed": "absent"}, "to be registered"),
        ({"observed": "draining"}, "to be registered"),
        ({"desired": "absent"}, "to be deregistered"),
        ({"desired": "absent", "observed": "draining"}, None),
        ({"desired": "absent", "observed": "absent"}, None),
        ({"desired": "as it is", "observed": "absent"}, None),
        ({"desired": "as it is", "observed": "healthy"}, None),
        ({"contested": True}, "somebody else keeps undoing what this node does"),
        ({"desired": "absent", "observed": "unseen", "leaving": True}, "to be deregistered"),
        ({"error": TargetFailure(trouble="auth", text="no rights", age=1.0)}, "auth: no rights"),
    ],
)
def test_why_a_balancer_is_not_as_wished(changes, why):
    assert sight(**changes).why_not_as_wished() == why


def test_what_the_loop_says_of_a_target_can_be_read():
    loop = Reconciler(name="web", kind="haproxy", policy="observe", backoff=Backoff(), chance=Random(1), now=0.0)

    def read(now):
        return msgspec.json.decode(msgspec.json.encode(loop.status(now=now)), type=TargetStatus)

    assert read(0.0).why_not_as_wished() == "not looked at yet"
    loop.failed(Call.OBSERVE, Trouble.AUTH, "no rights", now=10.0)
    assert read(13.0).error == TargetFailure(trouble="auth", text="no rights", age=3.0)
    loop.observed(Observation(presence=Presence.UNHEALTHY, reason="L4CON", former=("192.0.2.7:80",)), now=20.0)
    assert read(21.0) == TargetStatus(
        name="web",
        type="haproxy",
        policy="observe",
        desired="as it is",
        why="the daemon has just started",
        observed="unhealthy",
        reason="L4CON",
        former=("192.0.2.7:80",),
        observed_age=1.0,
        last_success_age=1.0,
        next_try=read(21.0).next_try,
        calls={"observe": 0, "register": 0, "deregister": 0, "retire": 0},
        failures={"retry": 0, "throttle": 0, "auth": 1, "config": 0},
    )
