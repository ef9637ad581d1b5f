"""Which node takes which part of each share, as the Farm page shows it."""

import pytest
from msgspec.structs import replace

from hcsidecar.core.console.documents import FarmOverview, NodeOverview
from hcsidecar.core.console.node_details import NodeDetails
from hcsidecar.core.console.share_strips import SHOWN, shares_now
from hcsidecar.core.documents import NodeStatus
from l2mode.core.buckets import MAX_MEMBERS, owners
from l2mode.core.documents import FilterStatus, LayerTwoReport, ShareStatus, VipStatus

REPORT = LayerTwoReport(
    farm="apache",
    node="web1",
    view=("web1", "web2", "web3"),
    filter=FilterStatus(name="tc", why="tried"),
    interface="eth0",
    macs={},
    delivery="directed",
    lease_open=True,
    vips=(VipStatus(address="192.0.2.50", director="web2", mac=None),),
    shares=(ShareStatus(name="WEB", mine=0, pending=0), ShareStatus(name="DNS", mine=0, pending=0)),
)


def farm(*, answers=("web1", "web2", "web3"), powers=None):
    nodes = [
        NodeOverview(
            name=name,
            answers=name in answers,
            status=NodeStatus(name=name, alive=True, powers={"WEB": 1, "DNS": 1} | (powers or {}).get(name, {})),
        )
        for name in ("web1", "web2", "web3")
    ]
    return FarmOverview(farm="apache", node="web1", version="1", keep_ready=1, lame_duck=10, nodes=tuple(nodes))


def details(**views):
    return {
        name: NodeDetails(node=name, layer_two=replace(REPORT, node=name, view=tuple(view)))
        for name, view in views.items()
    }


ALL = ("web1", "web2", "web3")


def painted(strip):
    """Give the owner of each bucket that a strip shows."""
    cells = []
    for run in strip.runs:
        assert run.begin == len(cells)
        cells += [run.node] * run.length
    return tuple(cells)


@pytest.mark.parametrize("known", [{}, {"web1": NodeDetails(node="web1")}])
def test_without_virtual_ips_there_is_nothing_to_show(known):
    assert shares_now(farm(), known) is None


def test_a_strip_shows_the_first_buckets_as_their_owners_have_them():
    shares = shares_now(farm(), details(web1=ALL))
    (strip,) = shares.strips
    assert strip.names == ("WEB", "DNS")
    assert painted(strip) == owners({"web1": 1, "web2": 1, "web3": 1})[:SHOWN]
    assert all(before.node != after.node for before, after in zip(strip.runs, strip.runs[1:], strict=False))
    assert [name for name, _ in strip.fractions] == ["web1", "web2", "web3"]
    assert sum(fraction for _, fraction in strip.fractions) == pytest.approx(1)


def test_when_a_node_leaves_its_buckets_change_hands_and_no_other():
    before = painted(shares_now(farm(), details(web1=ALL)).strips[0])
    after = painted(shares_now(farm(answers=("web1", "web2")), details(web1=("web1", "web2"))).strips[0])
    assert "web3" in before
    assert "web3" not in after
    assert all(old == new for old, new in zip(before, after, strict=True) if old != "web3")


def test_shares_with_other_powers_have_strips_of_their_own():
    shares = shares_now(farm(powers={"web2": {"DNS": 3}, "web3": {"DNS": 0}}), details(web1=ALL))
    assert [strip.names for strip in shares.strips] == [("WEB",), ("DNS",)]
    parts = dict(shares.strips[1].fractions)
    assert list(parts) == ["web1", "web2"]
    assert parts["web2"] == pytest.approx(0.75, abs=0.03)


def test_the_largest_part_of_a_farm_tells_and_of_equal_ones_the_first():
    parts = details(web1=["web1"], web2=["web2", "web3"], web3=["web2", "web3"])
    assert shares_now(farm(), parts).told_by == "web2"


def test_who_does_not_answer_tells_nothing_whatever_it_has_said_before():
    parts = details(web1=["web1", "web2"], web3=ALL)
    assert shares_now(farm(answers=("web1", "web2")), parts).told_by == "web1"
    assert shares_now(farm(answers=()), parts) is None


def test_what_a_silent_member_last_said_of_its_power_counts_and_else_what_was_heard():
    heard = NodeOverview(name="web2", answers=False, seen=NodeStatus(name="web2", alive=True, powers={"WEB": 3}))
    unknown = NodeOverview(name="web3", answers=False)
    overview = replace(farm(), nodes=(farm().nodes[0], heard, unknown))
    parts = dict(shares_now(overview, details(web1=ALL)).strips[0].fractions)
    assert list(parts) == ["web1", "web2"]
    assert parts["web2"] == pytest.approx(0.75, abs=0.03)


def test_buckets_of_a_farm_in_which_nobody_takes_any_belong_to_nobody():
    (strip,) = shares_now(farm(), details(web1=())).strips
    assert (set(painted(strip)), strip.fractions) == ({None}, ())


def test_a_view_that_is_longer_than_a_farm_can_be_does_no_harm():
    many = [f"x{number}" for number in range(MAX_MEMBERS + 9)]
    powers = {"WEB": 1, "DNS": 1}
    nodes = tuple(
        NodeOverview(name=name, answers=True, status=NodeStatus(name=name, alive=True, powers=powers)) for name in many
    )
    (strip,) = shares_now(replace(farm(), nodes=nodes), details(x0=many)).strips
    assert len(strip.fractions) == MAX_MEMBERS


@pytest.mark.parametrize(("delivery", "directed"), [("directed", True), ("flooded", False)])
def test_each_virtual_ip_has_its_director_where_delivery_is_directed(delivery, directed):
    told = {"web1": NodeDetails(node="web1", layer_two=replace(REPORT, delivery=delivery))}
    shares = shares_now(farm(), told)
    assert (shares.directors, shares.is_directed) == ((("192.0.2.50", "web2"),), directed)
