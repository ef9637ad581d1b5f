"""What `explain` says, against the functions that the filter itself obeys."""

from ipaddress import ip_address

import pytest

from l2mode.core.buckets import owners
from l2mode.core.cells import ANYWHERE
from l2mode.core.explain import Client, explain
from l2mode.core.handover import Handover
from l2mode.core.hashing import bucket_of_address, bucket_of_port
from l2mode.core.heard_share import HeardShare
from l2mode.core.settings import By, LayerTwoSettings, Protocol, ShareGroup

SEED = bytes(range(16))
V4, V6 = ip_address("192.0.2.50"), ip_address("2001:db8::50")
OTHER_V4 = ip_address("192.0.2.51")
WEB = ShareGroup(name="WEB", protocol=Protocol.TCP, ports=(80, 443))
GAME = ShareGroup(name="GAME", protocol=Protocol.UDP, ports=(27015,), vip=V4, by=By.PORT)
DNS = ShareGroup(name="DNS", protocol=Protocol.UDP, ports=(53,), by=By.DATAGRAM)
VIEW = (("web1", (1, 1, 1)), ("web2", (1, 1, 1)))
CLIENT = ip_address("203.0.113.7")


def settings(*groups):
    return LayerTwoSettings(
        farm="apache",
        me="web1",
        nodes=("web1", "web2", "web3"),
        vips=(V4, OTHER_V4, V6),
        groups=groups,
        seed=SEED,
    )


def claimed(*groups, view=VIEW, held=0):
    """A node that has claimed its share until second 10."""
    handover = Handover(name="web1", groups=len(groups))
    handover.adopt(view)
    handover.claim()
    handover.renew(10)
    handover.scanned([held] * len(groups), drops=handover.drops)
    return handover


def told(*groups, client=None, now=1.0, handover=None):
    """Give the explanation of the only group that the client can use."""
    document = explain(handover or claimed(*groups), settings(*groups), client or Client(address=CLIENT), now=now)
    [share] = document.shares
    return share


def clients_of(owner):
    """Give a client's address whose bucket belongs to this node, in the view of web1 and web2."""
    table = owners({"web1": 1, "web2": 1})
    addresses = (ip_address(f"203.0.113.{last}") for last in range(1, 255))
    return next(each for each in addresses if table[bucket_of_address(SEED, each.packed)] == owner)


def test_a_client_of_another_member_is_said_to_be_there():
    client = clients_of("web2")
    share = told(WEB, client=Client(address=client))
    assert share.bucket == bucket_of_address(SEED, client.packed)
    assert (share.owner, share.phase) == ("web2", "other")
    assert share.reason == "web2 takes it, by the view of web1, web2"
    assert share.fraction == round(owners({"web1": 1, "web2": 1}).count("web2") / 4096, 4)


def test_the_same_client_meets_the_same_owner_in_every_group_that_goes_by_address():
    second = ShareGroup(name="ALSO", protocol=Protocol.TCP, ports=(22,))
    document = explain(claimed(WEB, second), settings(WEB, second), Client(address=CLIENT), now=1)
    first, other = document.shares
    assert first.owner == other.owner


def test_own_clients_are_open_pending_or_stopped_by_the_lease():
    client = Client(address=clients_of("web1"))
    handover = claimed(WEB)
    assert told(WEB, client=client, handover=handover).reason == "web1 takes it: the bucket is open here"
    late = told(WEB, client=client, handover=handover, now=10)
    assert late.reason == "it belongs to web1, whose lease is over: nobody takes it until the lease is renewed"
    handover.release()
    pending = told(WEB, client=client, handover=handover)
    assert pending.phase == "pending"
    assert "which has not claimed it yet" in pending.reason


def test_dirty_members_may_hold_older_connections_of_a_tcp_group_only():
    handover = claimed(WEB, held=ANYWHERE)
    handover.meet(
        [
            HeardShare(name=name, mac=b"", dirty=True, dirty_buckets=b"", view=(), claimed=True)
            for name in ("web2", "web3")
        ]
    )
    share = told(WEB, client=Client(address=clients_of("web2")), handover=handover)
    assert share.may_hold == ("web1", "web3")
    assert share.reason.endswith("; older connections may live on web1 or web3, which are dirty")
    own = told(WEB, client=Client(address=clients_of("web1")), handover=handover)
    assert own.may_hold == ("web2", "web3")
    assert told(GAME, client=Client(address=CLIENT, port=7), handover=handover).may_hold == ()


def test_a_group_by_port_wants_the_port():
    assert told(GAME).bucket is None
    assert told(GAME).reason == "it goes by address and port: name the client's source port too"
    share = told(GAME, client=Client(address=CLIENT, port=4711))
    assert share.bucket == bucket_of_port(SEED, CLIENT.packed, 4711)
    assert share.owner in ("web1", "web2")


def test_a_group_by_datagram_has_no_bucket_for_a_client_but_goes_by_port_on_ipv6():
    share = told(DNS, client=Client(address=CLIENT, port=4711))
    assert (share.bucket, share.owner, share.phase) == (None, None, None)
    assert share.reason == "each datagram goes by its own identification, to any of web1, web2"
    six = ip_address("2001:db8::7")
    share = told(DNS, client=Client(address=six, port=4711))
    assert share.bucket == bucket_of_port(SEED, six.packed, 4711)


@pytest.mark.parametrize(
    ("address", "vip", "shares"),
    [
        ("203.0.113.7", None, {"WEB": ("192.0.2.50", "192.0.2.51"), "GAME": ("192.0.2.50",)}),
        ("203.0.113.7", V4, {"WEB": ("192.0.2.50",), "GAME": ("192.0.2.50",)}),
        ("203.0.113.7", OTHER_V4, {"WEB": ("192.0.2.51",)}),
        ("2001:db8::7", None, {"WEB": ("2001:db8::50",)}),
    ],
)
def test_only_groups_on_vips_that_the_client_can_use_are_told(address, vip, shares):
    client = Client(address=ip_address(address), vip=vip)
    document = explain(claimed(WEB, GAME), settings(WEB, GAME), client, now=1)
    assert {share.share: share.vips for share in document.shares} == shares


def test_out_of_the_view_or_without_powers_nobody_is_named():
    out = told(WEB, handover=claimed(WEB, view=()))
    assert (out.owner, out.fraction) == (None, 0.0)
    assert out.reason == "web1 is in no view, and so does not know who takes what: ask another node"
    view = (("web1", (0,)), ("web2", (0,)))
    assert told(WEB, handover=claimed(WEB, view=view)).reason == (
        "nobody takes it: no member of the view has a power in WEB"
    )
