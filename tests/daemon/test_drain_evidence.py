"""What a drain waits for, put together."""

import pytest

from hcsidecar.application.connections import ConnectionCounter
from hcsidecar.core.health import HealthAnswer, HealthFace
from hcsidecar.core.probers import Prober
from hcsidecar.daemon.drain_evidence import NodeDrainEvidence
from hcsidecar.daemon.own_targets import NoTargets

PROBER = Prober(address="192.0.2.5", method="GET", path="/health")


class LeftTargets(NoTargets):
    """Of a node that its balancers have let go."""

    have_let_go = True


def evidence(*, targets=None, sent=False):
    face = HealthFace(farm="a", path="/health", answer=HealthAnswer(ok=True, node="web1", state="UP(Ready)"), now=0.0)
    for now in (0.0, 2.0):
        face.note(PROBER, now=now)
    return NodeDrainEvidence(ConnectionCounter(()), face, 3, targets or NoTargets(), lambda: sent)


@pytest.mark.parametrize(
    ("made", "waits_for"),
    [
        (evidence(), ["prober 192.0.2.5 (GET /health)"]),
        (evidence(targets=LeftTargets()), []),
        (evidence(sent=True), ["the other nodes to take over new clients", "prober 192.0.2.5 (GET /health)"]),
    ],
)
def test_a_drain_waits_for_probers_that_have_not_been_let_go_and_for_nodes_that_send_clients(made, waits_for):
    assert list(made.probers(now=10.0)) == waits_for
