"""Nodes that join and leave while the farm runs: nobody else is disturbed, and nothing is taken too early."""

from small_farm import LAN, Farm

THREE = ("web1", "web2", "web3")


def set_nodes(farm, names, *, at, electorates=()):
    for name in at:
        output = farm.nodes[name].set_nodes(names, electorates=electorates, now=farm.now)
        farm.deliver(name, output)


def test_a_node_joins_and_the_others_serve_all_the_while():
    farm = Farm(*THREE).run(5)
    calls = {name: len(node.share.calls) for name, node in farm.nodes.items()}
    farm.farm_names = (*THREE, "web0")
    set_nodes(farm, farm.farm_names, at=THREE)
    farm.run(6)
    assert farm.views() == {name: list(THREE) for name in THREE}
    since = [call[0] for name in THREE for call in farm.nodes[name].share.calls[calls[name] :]]
    assert {"adopt", "claim", "release"} & set(since) == set()
    farm.boot("web0")
    farm.run(10)
    assert farm.views() == {name: ["web0", *THREE] for name in farm.farm_names}
    assert farm.holders() == ["web0", *THREE]


def test_nodes_may_learn_of_a_new_one_one_after_the_other():
    farm = Farm(*THREE).run(5)
    farm.farm_names = (*THREE, "web0")
    farm.boot("web0")
    for name in THREE:
        set_nodes(farm, farm.farm_names, at=[name])
        farm.run(farm.now + 0.2)
    farm.run(12)
    assert farm.views() == {name: ["web0", *THREE] for name in farm.farm_names}


def test_one_that_has_left_is_removed_without_a_trace():
    farm = Farm(*THREE).run(5)
    farm.deliver("web3", farm.nodes["web3"].leave(now=farm.now))
    farm.run(6)
    del farm.nodes["web3"]
    set_nodes(farm, ("web1", "web2"), at=("web1", "web2"))
    assert farm.nodes["web1"].membership.why_not_claimed(now=farm.now) is None
    farm.run(7)
    assert farm.views() == {"web1": ["web1", "web2"], "web2": ["web1", "web2"]}
    assert len(farm.said("web3 is no longer in the farm")) == 2


def test_what_one_that_serves_holds_is_not_taken_before_its_lease_is_over():
    farm = Farm(*THREE).run(5)
    removed_at = farm.now
    set_nodes(farm, ("web1", "web2"), at=("web1", "web2"))
    farm.run(removed_at + LAN.lost_after + LAN.guard / 2)
    assert farm.nodes["web1"].membership.why_not_claimed(now=farm.now) == (
        "a member died, and its lease must have run out first"
    )
    farm.run(removed_at + LAN.lost_after + 4 * LAN.guard)
    assert farm.nodes["web1"].membership.claimed
    assert farm.nodes["web2"].membership.claimed


def test_what_a_removed_one_says_is_refused():
    farm = Farm(*THREE).run(5)
    said = farm.nodes["web3"].membership.compose(now=farm.now)
    set_nodes(farm, ("web1", "web2"), at=("web1",))
    farm.nodes["web1"].receive(said, now=farm.now)
    assert "web3" not in farm.nodes["web1"].membership.heard_revisions()


def test_one_that_comes_back_is_a_stranger_at_first():
    farm = Farm(*THREE).run(5)
    set_nodes(farm, ("web1", "web2"), at=("web1", "web2"))
    farm.run(8)
    set_nodes(farm, THREE, at=("web1", "web2"))
    assert farm.nodes["web1"].membership.heard_revisions().keys() == {"web2"}
    farm.run(12)
    assert farm.views()["web1"] == list(THREE)


def test_while_the_farm_shrinks_a_majority_of_both_is_needed():
    five = ("web1", "web2", "web3", "web4", "web5")
    new = five[2:]
    farm = Farm(*five, partition="majority").run(5)
    # web3 and web4 try the new farm, the rest do not know of it, and web5 can reach web1 and web2 only.
    set_nodes(farm, five, electorates=(five, new), at=("web3", "web4"))
    farm.run(6)
    assert farm.views()["web3"] == list(five)
    sides = ("web1", "web2", "web5"), ("web3", "web4")
    farm.cut = {(a, b) for x, y in (sides, sides[::-1]) for a in x for b in y}
    farm.run(12)
    assert farm.views()["web3"] == []
    assert farm.views()["web1"] == ["web1", "web2", "web5"]
    assert farm.nodes["web3"].membership.out_reason == "this node reaches 2 of 5 nodes, which is not more than half"


def test_a_new_boot_keeps_to_the_electorates():
    farm = Farm(*THREE, partition="majority").run(5)
    set_nodes(farm, THREE, electorates=(THREE, ("web1", "web2", "web4")), at=("web2",))
    former = farm.nodes["web2"].membership
    reborn = farm.boot("web2", boot=2, wants=False)
    reborn.membership.inherit(former)
    farm.cut = {("web1", "web2"), ("web2", "web1")}
    farm.run(10)
    assert reborn.membership.out_reason == "this node reaches 1 of 3 nodes, which is not more than half"
    assert farm.views()["web3"] == ["web1", "web3"]


def test_a_node_that_has_ended_changes_no_more():
    farm = Farm(*THREE).run(5)
    node = farm.nodes["web1"]
    node.tick(now=farm.now + 100)
    assert node.membership.ended
    assert node.set_nodes(("web1",), now=farm.now + 100).sends == ()
    assert node.set_layer_two(settings_digest=b"others", powers=(1, 1), now=farm.now + 100).sends == ()
    assert node.membership.powers == (1, 1)


def test_another_partition_counts_at_once_for_a_node_that_reaches_no_majority():
    farm = Farm("web1", farm_names=THREE).run(5)
    assert farm.holders() == ["web1"]
    farm.deliver("web1", farm.nodes["web1"].set_partition("majority", now=farm.now))
    assert (farm.views(), farm.holders()) == ({"web1": []}, [])
    farm.deliver("web1", farm.nodes["web1"].set_partition("serve", now=farm.now))
    farm.run(7)
    assert (farm.views(), farm.holders()) == ({"web1": ["web1"]}, ["web1"])


def test_a_node_that_was_frozen_takes_another_partition_with_its_new_boot_only():
    farm = Farm("web1", farm_names=THREE).run(5)
    output = farm.nodes["web1"].set_partition("majority", now=farm.now + 60)
    assert output.reborn_above is not None
    assert farm.holders() == []


def test_one_that_takes_no_share_is_removed_without_a_guard():
    farm = Farm("web1", "web2")
    farm.farm_names = THREE
    farm.boot("web1")
    farm.boot("web2")
    farm.boot("web3", wants=False)
    farm.run(5)
    assert farm.views()["web1"] == ["web1", "web2"]
    set_nodes(farm, ("web1", "web2"), at=("web1", "web2"))
    assert farm.nodes["web1"].membership.why_not_claimed(now=farm.now) is None
