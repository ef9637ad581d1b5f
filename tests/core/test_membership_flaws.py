"""Flaws of the protocol's code that the simulation has found, each as the smallest story that shows it."""

from farm import P, T, heartbeat, live, membership

ALONE = (("web2", (1,)),)


def test_time_slept_counts_once_however_many_datagrams_had_queued_up():
    """Each of them prolonged the guard anew: a node that was often late waited for minutes to claim."""
    node = membership(names=("web1", "web2", "web3"))
    node.receive(heartbeat("web2", seq=1, wants=True, view=ALONE), now=0.0)
    live(node, until=T + 0.001)
    assert not node.roster.peers["web2"].alive
    woken = T + 5 * P
    for seq in range(1, 51):
        node.receive(heartbeat("web3", seq=seq), now=woken)
    node.tick(now=woken)
    assert node._guard_until <= T + 2 * P + 5 * P
