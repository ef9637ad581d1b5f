from small_farm import LAN, heartbeat, live, membership

from hcsidecar.core.membership.peers import KnownPeer, Peers


def view(*names):
    return tuple((name, (1,)) for name in names)


def peers():
    return Peers(me="web1", boot=7, names=("web2", "web1", "web3"), timing=LAN)


def test_a_view_with_a_node_that_this_farm_does_not_have_has_no_mask():
    assert peers().mask(view("web1", "web9")) is None
    assert peers().mask(view("web1", "web3")) == 0b101


def test_a_mask_is_named_for_a_sentence():
    assert peers().named(0b110) == "web2, web3"


def test_a_list_that_names_strangers_or_old_boots_is_hearing_nobody_of_these():
    node = membership(boot=7)
    node.receive(heartbeat("web3", boot=4), now=0.0)
    node.receive(heartbeat("web2", heard=[("web9", 1, 1), ("web3", 3, 1), ("web1", 6, 1)]), now=0.0)
    assert node.peers.hearing.hears(node.peers.index["web2"]) == 0
    node.receive(heartbeat("web2", seq=2, heard=[("web9", 1, 1), ("web3", 4, 1), ("web1", 7, 1)]), now=0.0)
    assert node.peers.hearing.hears(node.peers.index["web2"]) == 0b101


def test_a_peer_that_views_a_stranger_makes_nobody_adopt_or_yield():
    node = membership()
    node.set_wants(True, now=0.0)
    strange = heartbeat("web2", wants=True, view=view("web1", "web2", "web9"), heard=[("web1", 7, 1)])
    live(node, until=0.3)
    node.receive(strange, now=0.3)
    live(node, until=0.7)
    assert [name for name, _ in node.view] == ["web1", "web2"]


def test_what_was_known_of_a_node_that_has_left_the_farm_file_is_forgotten():
    known = {name: KnownPeer(boot=5, timing=LAN) for name in ("web2", "web9")}
    peers = Peers(me="web1", boot=7, names=("web1", "web2"), timing=LAN, known=known).by_name
    assert {name: peer.boot for name, peer in peers.items()} == {"web2": 5}
