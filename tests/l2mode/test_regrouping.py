"""What stays the same under other settings, and what their filter takes while the node goes by the former ones."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from l2mode.core.buckets import BUCKETS
from l2mode.core.cells import NOBODY
from l2mode.core.handover import Handover
from l2mode.core.heard_share import HeardShare
from l2mode.core.regrouping import regrouping
from l2mode.core.settings import By, LayerTwoSettings, Protocol, ShareGroup, Unmatched
from l2mode.core.table_writer import TableWriter
from l2mode.core.tables import Tables

VIP, OTHER, NEW = (ip_address(text) for text in ("192.0.2.50", "192.0.2.51", "2001:db8::50"))
WEB = ShareGroup(name="WEB", protocol=Protocol.TCP, ports=(80, 443))
DNS = ShareGroup(name="DNS", protocol=Protocol.UDP, ports=(53,), by=By.PORT)
FORMER = LayerTwoSettings(
    farm="apache", me="web1", nodes=("web1", "web2"), vips=(VIP, OTHER), groups=(WEB, DNS), seed=bytes(16)
)


@pytest.mark.parametrize(
    ("what", "changes", "groups"),
    [
        ("nothing", {}, (0, 1)),
        ("another order", {"groups": (DNS, WEB)}, (1, 0)),
        ("one is gone", {"groups": (DNS,)}, (1,)),
        ("one has come", {"groups": (WEB, replace(WEB, ports=(22,)), DNS)}, (0, None, 1)),
        ("another name", {"groups": (replace(WEB, name="HTTP"), DNS)}, (0, 1)),
        ("a port more", {"groups": (replace(WEB, ports=(80, 443, 8080)), DNS)}, (0, 1)),
        ("a port less", {"groups": (replace(WEB, ports=(80,)), DNS)}, (0, 1)),
        ("in two", {"groups": (replace(WEB, ports=(80,)), replace(WEB, ports=(443,)))}, (0, 0)),
        ("divided in another way", {"groups": (replace(WEB, by=By.PORT), DNS)}, (None, 1)),
        ("another protocol", {"groups": (replace(WEB, protocol=Protocol.UDP), DNS)}, (None, 1)),
        ("of one address", {"groups": (replace(WEB, vip=VIP), DNS)}, (0, 1)),
        ("a VIP has come", {"vips": (NEW, VIP, OTHER), "groups": (WEB, replace(DNS, vip=NEW))}, (0, None)),
        ("a VIP is gone", {"vips": (OTHER,)}, (0, 1)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_group_follows_the_one_that_divided_the_same_traffic_in_the_same_way(what, changes, groups):
    assert regrouping(FORMER, replace(FORMER, **changes)).groups == groups, what


def test_a_group_of_ports_of_two_follows_none():
    both = replace(FORMER, groups=(replace(WEB, ports=(80,)), replace(WEB, ports=(443,), name="TLS")))
    assert regrouping(both, FORMER).groups == (None, None)


def test_a_port_that_the_director_took_is_no_traffic_that_nobody_took():
    former = replace(FORMER, unmatched=Unmatched.DIRECTOR)
    more = replace(former, groups=(replace(WEB, ports=(80, 443, 8080)), DNS))
    assert regrouping(former, more).groups == (None, 1)


@pytest.mark.parametrize(
    ("changes", "alike"),
    [({}, True), ({"groups": (WEB,)}, False), ({"unmatched": Unmatched.DIRECTOR}, False), ({"vips": (VIP,)}, True)],
)
def test_what_no_group_names_goes_where_it_went_unless_there_is_more_or_another_of_it(changes, alike):
    assert regrouping(FORMER, replace(FORMER, **changes)).unmatched_alike is alike


def written(settings, *, over):
    """Give the tables of a filter by these settings on a node that has half of the buckets by the former ones."""
    handover = Handover(name="web1", groups=2, directed=True)
    view = (("web1", (1, 1)), ("web2", (1, 1)))
    handover.meet([HeardShare("web2", b"2", dirty=False, dirty_buckets=b"", view=view, claimed=True)])
    handover.adopt(view)
    handover.claim()
    handover.scanned([0, 0], drops=handover.drops)
    tables = Tables(bytearray(Tables.SIZE))
    tables.configure(settings, b"")
    changes = regrouping(FORMER, settings)
    writer = TableWriter(tables, settings, changes)
    if over:
        handover.regroup(changes.groups, settings=b"")
        writer.go_over()
    writer.write_macs(b"1", handover)
    writer.turn(handover, ())
    return tables, handover


@pytest.mark.parametrize("over", [False, True])
def test_the_filter_takes_what_is_the_same_by_its_own_numbers_and_nothing_else(over):
    settings = replace(FORMER, nodes=("web0", "web1", "web2"), groups=(replace(WEB, ports=(22,)), DNS, WEB))
    tables, handover = written(settings, over=over)
    assert tables.me == 1
    assert tables.dirty
    for group in (1, 2):
        assert {tables.cell(group, bucket) for bucket in range(BUCKETS)} == {1, 2}
        mine = sum(1 << bucket for bucket in range(BUCKETS) if tables.cell(group, bucket) == 1)
        assert mine == handover.mine(group if over else 0)
    assert {tables.cell(0, bucket) for bucket in range(BUCKETS)} == {NOBODY}
    assert tables.mac(2) == b"2\0\0\0\0\0"


def test_who_is_not_among_the_nodes_any_more_is_nobody_in_the_tables():
    tables, _ = written(replace(FORMER, nodes=("web1",)), over=False)
    assert {tables.cell(0, bucket) for bucket in range(BUCKETS)} == {0, NOBODY}


def test_no_virtual_ip_has_a_director_meanwhile_if_more_or_other_traffic_would_go_to_it():
    settings = replace(FORMER, unmatched=Unmatched.DIRECTOR)
    tables, _ = written(settings, over=False)
    assert {tables.director(number) for number in range(len(settings.vips))} == {None}
