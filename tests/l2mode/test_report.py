"""The document of layer-2 mode, as the API answers it."""

import dataclasses
from ipaddress import ip_address

from l2mode.core.buckets import masks
from l2mode.core.conflicts import Conflict
from l2mode.core.documents import FilterStatus, PacketCount, UnusableFilter, VipConflict, VipStatus
from l2mode.core.filter_kinds import FilterKind
from l2mode.core.filters import FilterChoice, PassedOver
from l2mode.core.handover import Handover
from l2mode.core.heard_share import HeardShare
from l2mode.core.reasons import Reason
from l2mode.core.report import FilterReport, layer_two_document
from l2mode.core.settings import By, LayerTwoSettings, Protocol, ShareGroup
from l2mode.core.verdict import Delivery

WEB = ShareGroup(name="WEB", protocol=Protocol.TCP, ports=(80, 443))
DNS = ShareGroup(name="DNS", protocol=Protocol.UDP, ports=(53,), by=By.PORT)
USED = FilterReport(
    choice=FilterChoice(kind=FilterKind.TC, why="eth0 is a veth"),
    warnings=("another program runs first",),
    interface="eth0",
    mac=bytes.fromhex("020000000001"),
    packets={Reason.NEIGHBOUR_DISCOVERY: 9, Reason.NEW: 2, Reason.NOT_MINE: 5, Reason.TTL_OVER: 0},
)

NOTHING = {"cut_off": (), "lasting": (), "conflicts": ()}
"What is wrong with nothing."


def settings(delivery=Delivery.DIRECTED):
    vips = tuple(map(ip_address, ("192.0.2.50", "192.0.2.51", "192.0.2.52", "192.0.2.53", "2001:db8::50")))
    return LayerTwoSettings(
        farm="apache",
        me="web1",
        nodes=("web1", "web2"),
        vips=vips,
        groups=(WEB, DNS),
        seed=bytes(16),
        delivery=delivery,
    )


def handover():
    machine = Handover(name="web1", groups=2)
    machine.meet(
        [
            HeardShare(
                name="web2", mac=bytes.fromhex("020000000002"), dirty=True, dirty_buckets=b"", view=(), claimed=True
            )
        ]
    )
    machine.adopt((("web1", (1, 0)), ("web2", (1, 1))))
    machine.renew(10)
    return machine


def test_buckets_are_pending_until_they_are_claimed_and_then_mine():
    owned = masks({"web1": 1, "web2": 1})["web1"].bit_count()
    machine = handover()
    before = layer_two_document(machine, settings(), USED, virtual_mac=None, **NOTHING, now=1)
    machine.claim()
    after = layer_two_document(machine, settings(), USED, virtual_mac=None, **NOTHING, now=1)
    assert [share.name for share in before.shares] == ["WEB", "DNS"]
    assert [(share.mine, share.pending) for share in before.shares] == [(0, owned), (0, 0)]
    assert [(share.mine, share.pending) for share in after.shares] == [(owned, 0), (0, 0)]
    assert [share.fraction for share in after.shares] == [round(owned / 4096, 4), 0.0]


def test_a_lease_that_is_over_shows_and_leaves_no_fraction():
    machine = handover()
    machine.claim()
    document = layer_two_document(machine, settings(), USED, virtual_mac=None, **NOTHING, now=10)
    assert not document.lease_open
    assert document.shares[0].fraction == 0.0


def test_each_vip_has_a_director_and_its_mac_in_directed_delivery():
    document = layer_two_document(handover(), settings(), USED, virtual_mac=None, **NOTHING, now=1)
    macs = {"web1": "02:00:00:00:00:01", "web2": "02:00:00:00:00:02"}
    assert {vip.director for vip in document.vips} == {"web1", "web2"}
    assert all(vip.mac == macs[vip.director] for vip in document.vips)


def test_out_of_the_view_this_node_knows_no_director():
    machine = handover()
    machine.adopt(())
    document = layer_two_document(machine, settings(), USED, virtual_mac=None, **NOTHING, now=1)
    assert document.vips[0] == VipStatus(address="192.0.2.50", director=None, mac=None)


def test_in_flooded_delivery_every_vip_is_at_the_virtual_mac_and_nobody_directs():
    virtual = bytes.fromhex("0a1122334455")
    flooded = settings(Delivery.FLOODED)
    document = layer_two_document(
        handover(), flooded, USED, virtual_mac=virtual, **NOTHING | {"cut_off": {"web2"}}, now=1
    )
    assert document.vips[0] == VipStatus(address="192.0.2.50", director=None, mac="0a:11:22:33:44:55")
    assert document.cut_off == ("web2",)


def test_a_filter_that_took_the_place_of_others_says_of_which_and_why():
    refused = PassedOver(kind=FilterKind.TC, problem="it is refused", remedy="grant BPF")
    choice = FilterChoice(kind=FilterKind.NFQUEUE, why="it needs no BPF", passed_over=(refused,))
    used = dataclasses.replace(USED, choice=choice)
    document = layer_two_document(handover(), settings(), used, virtual_mac=None, **NOTHING, now=1)
    told = document.filter
    assert (told.name, told.degraded, told.remedy) == ("nfqueue", True, choice.remedy)
    assert told.fall_back == choice.fall_back
    assert told.passed_over == (UnusableFilter(name="tc", problem="it is refused", remedy="grant BPF"),)


def test_the_filter_who_is_dirty_and_what_was_counted_are_told():
    document = layer_two_document(
        handover(), settings(), USED, virtual_mac=None, **NOTHING | {"lasting": {Reason.NOT_MINE}}, now=1
    )
    assert document.filter == FilterStatus(
        name="tc", why="eth0 is a veth", warnings=("another program runs first",), degraded=False, fall_back=None
    )
    assert document.interface == "eth0"
    assert document.view == ("web1", "web2")
    assert document.macs == {"web1": "02:00:00:00:00:01", "web2": "02:00:00:00:00:02"}
    assert (document.dirty, document.dirty_members) == (True, ("web2",))
    assert document.packets[1] == PacketCount(
        name="new", action="take", text="new, and the bucket is mine", odd=False, persists=False, count=2
    )
    assert [(each.name, each.count, each.odd, each.persists) for each in document.packets[2:]] == [
        ("not_mine", 5, True, True),
        ("ttl_over", 0, True, False),
    ]
    assert document.seen == 7


def test_the_virtual_ips_that_other_machines_use_are_told():
    conflict = Conflict(vip=ip_address("192.0.2.50"), mac=bytes.fromhex("0600000000ba"))
    document = layer_two_document(
        handover(), settings(), USED, virtual_mac=None, **NOTHING | {"conflicts": (conflict,)}, now=1
    )
    assert document.conflicts == (VipConflict(vip="192.0.2.50", mac="06:00:00:00:00:ba", text=str(conflict)),)
