"""What a drain waits for, put together."""

from types import SimpleNamespace

import pytest

from hcsidecar.application.connections import ConnectionCounter
from hcsidecar.core.health import HealthAnswer, HealthFace
from hcsidecar.core.probers import Prober
from hcsidecar.daemon.drain_evidence import NodeDrainEvidence

PROBER = Prober(address="192.0.2.5", method="GET", path="/health")


LEFT_TARGETS = SimpleNamespace(have_let_go=True, keeps_serving_for=())
"Of a node that its balancers have let go."
NO_TARGETS = SimpleNamespace(have_let_go=False, keeps_serving_for=())


def evidence(*, targets=None, sent=False):
    face = HealthFace(farm="a", path="/health", answer=HealthAnswer(ok=True, node="web1", state="UP(Ready)"), now=0.0)
    for now in (0.0, 2.0):
        face.note(PROBER, now=now)
    return NodeDrainEvidence(ConnectionCounter(()), face, 3, targets or NO_TARGETS, lambda: sent)


@pytest.mark.parametrize(
    ("made", "waits_for"),
    [
        (evidence(), ["prober 192.0.2.5 (GET /health)"]),
        (evidence(targets=LEFT_TARGETS), []),
        (evidence(sent=True), ["the other nodes to take over new clients", "prober 192.0.2.5 (GET /health)"]),
    ],
)
def test_a_drain_waits_for_probers_that_have_not_been_let_go_and_for_nodes_that_send_clients(made, waits_for):
    assert list(made.probers(now=10.0)) == waits_for
