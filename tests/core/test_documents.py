"""The documents of the API: what they answer about themselves."""

from hcsidecar.core.documents import FarmStatus, NodeStatus


def test_a_node_that_the_document_does_not_have_is_not_alive():
    web1 = NodeStatus(name="web1", alive=True, role="UP")
    status = FarmStatus(farm="apache", node="web1", view=("web1",), nodes=(web1,))
    assert status.of("web1") is web1
    assert not status.of("web4").alive
    assert status.of("web4").reason == "not in the farm file of the daemon that was asked"
