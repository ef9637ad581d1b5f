"""Flaws of the protocol's code that the simulation has found, each as the smallest story that shows it."""

from small_farm import LAN, FakeShare, Farm, P, T, heartbeat, live, membership

from hcsidecar.core.membership.effects import Adopt, Answer
from hcsidecar.core.membership.node import Node

ALONE = (("web2", (1,)),)
BOTH = (("web1", (1,)), ("web2", (1,)))


def test_time_slept_counts_once_however_many_datagrams_had_queued_up():
    """Each of them excused the others' silence anew: a node that was often late noticed deaths late."""
    node = membership(names=("web1", "web2", "web3"))
    node.receive(heartbeat("web2", seq=1, wants=True, view=ALONE), now=0.0)
    live(node, until=P + 0.001)
    woken = 6 * P
    for seq in range(1, 51):
        node.receive(heartbeat("web3", seq=seq), now=woken)
    node.tick(now=woken)
    assert node.peers.by_name["web2"].heard_at <= 5 * P


def test_an_answer_says_nothing_that_has_not_been_done():
    """The answer was composed first: it announced the new view while the filter was open, and hid the dirt."""
    node = membership(names=("web1", "web2"))
    node.set_wants(True, now=0.0)
    acked = [("web1", 7, 1)]
    node.receive(heartbeat("web2", seq=1, heard=acked), now=0.0)
    live(node, until=T + 2 * P)
    assert node.claimed
    effects = node.receive(heartbeat("web2", seq=2, heard=acked, wants=True, view=BOTH, ask=True), now=T + 2 * P)
    kinds = [type(effect) for effect in effects]
    assert kinds.index(Adopt) < kinds.index(Answer)


def test_a_node_steps_back_once_the_other_knows_whom_it_hears():
    """The acknowledgement came after the view, and nothing was decided anew: two views waited for each other."""
    node = membership(names=("web1", "web2", "web3"))
    node.set_wants(True, now=0.0)
    live(node, until=T)
    others = (("web2", (1,)), ("web3", (1,)))
    node.receive(heartbeat("web2", seq=1, wants=True, heard=[("web1", 7, 1)]), now=T)
    live(node, until=2 * T - P)
    now = 2 * T - P
    before = node._heard_changed_at - 1
    node.receive(heartbeat("web2", seq=2, wants=True, view=others, heard=[("web1", 7, before)]), now=now)
    live(node, until=2 * T)
    assert [name for name, _ in node.view] == ["web1", "web2"]
    node.receive(heartbeat("web2", seq=3, wants=True, view=others, heard=[("web1", 7, before + 1)]), now=2 * T)
    assert node.view == ()
    assert node.out_reason == "web2 serves with web3, whom this node cannot reach"


def test_who_steps_back_again_and_again_waits_for_its_turn():
    """Strangers stepped back for each other and came back together, for as long as the network was even."""
    node = membership()
    node.set_wants(True, now=0.0)
    live(node, until=T)
    web2 = {"wants": True, "node": "web2"}
    node.receive(heartbeat(**web2, seq=1, heard=[("web1", 7, node._seq)]), now=T)
    with_stranger = (("web2", (1,)), ("web3", (1,)))
    for number in range(3):
        now = T + 0.01 * (number + 1)
        live(node, until=now)
        node.compose(now=now)
        node.receive(heartbeat(**web2, seq=2 + 2 * number, view=with_stranger, heard=[("web1", 7, node._seq)]), now=now)
        assert node.out_reason == "web2 serves with web3, whom this node cannot reach"
        node.receive(heartbeat(**web2, seq=3 + 2 * number, view=ALONE, heard=[("web1", 7, node._seq)]), now=now)
        assert (node.view == BOTH) == (number < 2)
    assert node.out_reason == "this node has yielded to others again and again, and waits for its turn"
    assert not node.compose(now=now).wants
    live(node, until=now + P / 2)
    assert node.view == ()
    live(node, until=now + P)
    assert node.view == BOTH


def test_who_has_stepped_back_is_not_counted_on():
    """It kept on wanting a share: of five in a tangle two counted on one that had stepped back for the others."""
    farm = Farm("web1", "web2", "web3", "web4", "web5").run(until=1)
    for pair in (("web1", "web3"), ("web2", "web4"), ("web3", "web4"), ("web1", "web5")):
        farm.cut |= {pair, pair[::-1]}
    farm.run(until=6)
    out = {name for name, view in farm.views().items() if not view}
    assert out
    assert all(not out & set(view) for view in farm.views().values())


def test_who_reaches_no_majority_is_not_waited_for():
    """It kept on wanting a share: web4, which reaches both, shared with one that would never take its part."""
    farm = Farm("web1", "web2", "web3", "web4", partition="majority").run(until=1)
    del farm.nodes["web3"]
    farm.cut |= {("web1", "web2"), ("web2", "web1")}
    farm.run(until=5)
    assert farm.views() == {"web1": [], "web2": [], "web4": ["web4"]}
    assert farm.holders() == ["web4"]


def test_the_first_word_of_a_new_boot_admits_the_connections_of_the_old_one():
    """It said that it had none until its first view: others answered their packets with a reset."""
    share = FakeShare()
    share.dirty = True
    node = Node(
        name="web1",
        boot=2,
        farm="apache",
        nodes=("web1", "web2"),
        timing=LAN,
        settings_digest=b"digest",
        powers=(1,),
        share=share,
        now=0.0,
    )
    (first,) = node.tick(now=0.0).sends
    assert first.heartbeat.dirty


def test_the_lease_ends_before_one_that_is_out_of_the_view_could_take_over():
    """Only members of the view counted: one that had just started buried a node that stood still, and claimed first."""
    farm = Farm("web1", "web2").run(until=0.1)
    farm.deliver("web2", farm.nodes["web2"].set_wants(False, now=farm.now))
    farm.run(until=2)
    assert farm.holders() == ["web1"]
    farm.cut.add(("web1", "web2"))
    farm.run(until=2 + T / 2)
    assert farm.nodes["web1"].membership.lease <= 2 + T + 2 * P


def test_a_member_does_not_step_back_for_a_newcomer_that_has_gone_deaf_to_it():
    """It counted the newcomer, which all others had met, and preferred it: nobody took its share for up to 2 T."""
    node = membership(name="web2")
    node.set_wants(True, now=0.0)
    live(node, until=T - P)
    met, serving = [("web2", 7, 1), ("web1", 1, 1)], (("web2", (1,)), ("web3", (1,)))
    node.receive(heartbeat("web3", heard=met, wants=True), now=T - P)
    node.receive(heartbeat("web1", heard=[("web2", 7, 1), ("web3", 1, 1)]), now=T - P)
    live(node, until=T + P)
    assert node.view == serving
    node.receive(heartbeat("web3", seq=2, heard=met, wants=True, view=serving), now=T + P)
    joined = (("web1", (1,)), ("web3", (1,)))
    node.receive(heartbeat("web1", seq=2, heard=[("web3", 1, 2)], wants=True, view=joined), now=T + P)
    assert node.view == serving
