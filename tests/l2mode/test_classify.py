"""What becomes of a frame: what decides about it, and how it goes on. The order of rules is in test_verdict.py."""

import struct
from functools import cache
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2mode.core.buckets import BUCKETS
from l2mode.core.cells import ANYWHERE, NOBODY, PASS_ON, PENDING
from l2mode.core.classify import Flow, classify, sender_of
from l2mode.core.hashing import bucket_of_address, bucket_of_datagram, bucket_of_port
from l2mode.core.reasons import Action, Reason
from l2mode.core.settings import By, LayerTwoSettings, Protocol, ShareGroup, Unmatched
from l2mode.core.tables import Tables
from l2mode.core.verdict import Delivery

VIP4, VIP6 = ip_address("192.0.2.50"), ip_address("2001:db8::50")
CLIENT4, CLIENT6 = ip_address("203.0.113.7").packed, ip_address("2001:db8:7::7").packed
SEED = bytes(range(16))
NODES = ("web1", "web2", "web3")
WEB1, ME, WEB3 = range(3)
MACS = {WEB1: bytes.fromhex("025500000001"), WEB3: bytes.fromhex("005056000003")}
OWN, VIRTUAL = bytes.fromhex("025500000002"), bytes.fromhex("0a1122334455")
ROUTER = bytes.fromhex("00005e000101")
GROUPS = (
    ShareGroup(name="WEB", protocol=Protocol.TCP, ports=(80,)),
    ShareGroup(name="SHELL", protocol=Protocol.TCP, ports=(22,), by=By.PORT),
    ShareGroup(name="DNS", protocol=Protocol.UDP, ports=(53,), by=By.DATAGRAM),
)
WEB, SHELL, DNS = range(3)
SYN, DATA = 0x02, 0x10
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
NOW = 1_000_000_000


def tables(*, owner=ME, delivery=Delivery.DIRECTED, unmatched=Unmatched.DROP, director=WEB1, groups=GROUPS):
    """Give tables in which one node has every bucket, with an open lease."""
    own = Tables(bytearray(Tables.SIZE))
    own.configure(
        LayerTwoSettings(
            farm="apache",
            me="web2",
            nodes=NODES,
            vips=(VIP4, VIP6),
            groups=groups,
            seed=SEED,
            delivery=delivery,
            unmatched=unmatched,
        ),
        VIRTUAL if delivery is Delivery.FLOODED else b"",
    )
    own.set_macs(OWN, MACS)
    own.swap([bytes([owner]) * BUCKETS for _ in groups], [director, director])
    own.set_lease(NOW + 1)
    return own


# For tests that write nothing into them and run often.
fixed = cache(tables)


def only(group, bucket, owner=ME):
    """Give tables in which one bucket of one group is this node's, and all else web3's."""
    own = tables()
    cells = [bytearray([WEB3]) * BUCKETS for _ in GROUPS]
    cells[group][bucket] = owner
    own.swap(cells, [WEB1, WEB1])
    return own


def tcp(destination=80, flags=DATA, source=40000):
    return struct.pack("!HHIIBBHHH", source, destination, 1, 2, 0x50, flags, 1000, 0, 0)


def udp(destination=53, source=40000):
    return struct.pack("!HHHH", source, destination, 8, 0)


def frame(payload, number=TCP, *, to=OWN, sender=ROUTER, ttl=64, six=False, fragment=0, reverse=False, vip=None):
    if six:
        ends = (vip or VIP6.packed, CLIENT6) if reverse else (CLIENT6, vip or VIP6.packed)
        packet = struct.pack("!IHBB", 0x60000000, len(payload), number, ttl) + ends[0] + ends[1] + payload
        return to + sender + b"\x86\xdd" + packet
    ends = (vip or VIP4.packed, CLIENT4) if reverse else (CLIENT4, vip or VIP4.packed)
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 7, fragment, ttl, number, 0) + ends[0] + ends[1]
    return to + sender + b"\x08\x00" + header[:10] + checksum(header) + header[12:] + payload


def checksum(header):
    total = sum(struct.unpack(f"!{len(header) // 2}H", header))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return (total ^ 0xFFFF).to_bytes(2)


def icmp_error(quoted, *, six=False):
    packet = quoted[14:]
    return frame(struct.pack("!BBHI", 2 if six else 3, 4, 0, 1400) + packet, ICMPV6 if six else ICMP, six=six)


def never(flow):
    pytest.fail(f"looked for a socket of {flow}")


def decide(made, own, *, known=lambda flow: False, now_ns=NOW, readdress=False):
    return classify(made, own, known=known, now_ns=now_ns, readdress=readdress)


def reason(made, own, **more):
    return decide(made, own, **more).reason


# -- whose it is ------------------------------------------------------------------------------------------------------


def test_what_is_for_no_virtual_ip_passes_untouched():
    stranger = frame(tcp(flags=SYN), vip=ip_address("192.0.2.51").packed)
    for made in (stranger, b"", bytes(60), OWN + ROUTER + b"\x08\x06" + bytes(46)):
        decision = decide(made, tables(), known=never)
        assert (decision.action, decision.reason, decision.frame) == (Action.PASS, Reason.FOREIGN, made)


@pytest.mark.parametrize(
    ("delivery", "to", "why"),
    [
        (Delivery.DIRECTED, OWN, Reason.NEW),
        (Delivery.FLOODED, OWN, Reason.NEW),
        (Delivery.FLOODED, VIRTUAL, Reason.NEW),
        (Delivery.DIRECTED, VIRTUAL, Reason.FOREIGN),
        (Delivery.FLOODED, MACS[WEB1], Reason.FOREIGN),
        (Delivery.DIRECTED, b"\xff" * 6, Reason.NOT_TO_ONE),
        (Delivery.FLOODED, b"\x01\x00\x5e\x00\x00\x01", Reason.NOT_TO_ONE),
    ],
)
def test_the_mac_that_it_is_for_decides_whether_it_counts(delivery, to, why):
    assert reason(frame(tcp(flags=SYN), to=to), tables(delivery=delivery)) is why


@pytest.mark.parametrize("to", [OWN, b"\x33\x33\x00\x00\x00\x01"])
def test_neighbour_discovery_passes_whatever_the_lease_and_the_mac(to):
    made = frame(struct.pack("!BBHI", 135, 0, 0, 0), ICMPV6, six=True, to=to)
    decision = decide(made, tables(owner=NOBODY), now_ns=NOW + 9)
    assert (decision.action, decision.reason) == (Action.PASS, Reason.NEIGHBOUR_DISCOVERY)


def test_a_cut_packet_is_dropped():
    assert reason(frame(tcp()[:19]), tables()) is Reason.MALFORMED


# -- which bucket -----------------------------------------------------------------------------------------------------

BY_ADDRESS = bucket_of_address(SEED, CLIENT4)
BUCKETS_OF = [
    ("by address", frame(tcp(flags=SYN)), WEB, BY_ADDRESS),
    ("by address, ipv6", frame(tcp(flags=SYN), six=True), WEB, bucket_of_address(SEED, CLIENT6)),
    ("by port", frame(tcp(22, SYN)), SHELL, bucket_of_port(SEED, CLIENT4, 40000)),
    ("by port, ipv6", frame(tcp(22, SYN), six=True), SHELL, bucket_of_port(SEED, CLIENT6, 40000)),
    ("by datagram", frame(udp(), UDP), DNS, bucket_of_datagram(SEED, CLIENT4, 7)),
    ("by datagram, ipv6: the port", frame(udp(), UDP, six=True), DNS, bucket_of_port(SEED, CLIENT6, 40000)),
    ("a fragment: by address", frame(udp(), UDP, fragment=0x2000), DNS, BY_ADDRESS),
    ("an echo: the first group", frame(struct.pack("!BBHI", 8, 0, 0, 1), ICMP), WEB, BY_ADDRESS),
    (
        "an error about a datagram: by address",
        icmp_error(frame(udp(40000, 53), UDP, reverse=True)),
        DNS,
        BY_ADDRESS,
    ),
    (
        "an error about a datagram, ipv6: the port",
        icmp_error(frame(udp(40000, 53), UDP, reverse=True, six=True), six=True),
        DNS,
        bucket_of_port(SEED, CLIENT6, 40000),
    ),
]


@pytest.mark.parametrize(("made", "group", "bucket"), [row[1:] for row in BUCKETS_OF], ids=[r[0] for r in BUCKETS_OF])
def test_its_bucket_and_no_other_decides(made, group, bucket):
    assert reason(made, only(group, bucket)) is Reason.NEW
    assert reason(made, only(group, bucket ^ 1)) is Reason.TO_OWNER
    assert reason(made, only((group + 1) % 3, bucket)) is Reason.TO_OWNER


def test_an_error_goes_where_the_connection_goes_that_it_quotes():
    quoted = frame(tcp(40000, DATA, 22), reverse=True)
    own = only(SHELL, bucket_of_port(SEED, CLIENT4, 40000))
    asked = []
    assert reason(icmp_error(quoted), own, known=lambda flow: bool(asked.append(flow)) or True) is Reason.KNOWN
    assert asked == [Flow(client=CLIENT4, client_port=40000, vip=VIP4.packed, vip_port=22)]


def test_no_socket_is_looked_for_but_for_whole_tcp_packets():
    own = tables(owner=PENDING)
    for made in (frame(udp(), UDP), frame(tcp(), fragment=0x2000), frame(struct.pack("!BBHI", 8, 0, 0, 1), ICMP)):
        assert reason(made, own, known=never) is Reason.UNCLAIMED
    assert reason(frame(tcp()), own, known=lambda flow: True) is Reason.KNOWN


# -- what no share names ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [frame(tcp(81, SYN)), frame(bytes(20), 50), frame(udp(80), UDP)])
def test_what_no_share_names_is_dropped_or_the_directors(made):
    assert reason(made, tables()) is Reason.UNMATCHED
    assert reason(made, tables(director=ME)) is Reason.UNMATCHED
    assert reason(made, tables(unmatched=Unmatched.DIRECTOR, director=NOBODY)) is Reason.UNMATCHED
    mine = tables(unmatched=Unmatched.DIRECTOR, director=ME)
    assert reason(made, mine) is Reason.DIRECTOR_TAKES
    assert reason(made, mine, now_ns=NOW + 1) is Reason.LEASE_OVER


def test_what_no_share_names_goes_to_the_director_from_a_node_that_clients_still_aim_at():
    others = tables(unmatched=Unmatched.DIRECTOR, director=WEB3)
    sent = decide(frame(tcp(81, SYN), sender=ROUTER), others)
    assert (sent.reason, sent.node) == (Reason.TO_DIRECTOR, WEB3)
    assert sent.frame == frame(tcp(81, SYN), ttl=63, to=MACS[WEB3], sender=OWN)
    for member in (MACS[WEB1], MACS[WEB3], marked(MACS[WEB1])):
        assert reason(frame(tcp(81, SYN), sender=member), others) is Reason.UNMATCHED, "it goes no further"
    assert reason(frame(tcp(81, SYN), sender=ROUTER), others, now_ns=NOW + 1) is Reason.LEASE_OVER
    flooded = tables(unmatched=Unmatched.DIRECTOR, director=WEB3, delivery=Delivery.FLOODED)
    assert reason(frame(tcp(81, SYN), sender=ROUTER), flooded) is Reason.UNMATCHED, "it has a copy of its own"


def test_an_echo_to_a_virtual_ip_without_a_share_is_unmatched():
    assert reason(frame(struct.pack("!BBHI", 8, 0, 0, 1), ICMP), tables(groups=())) is Reason.UNMATCHED


# -- who sent it ------------------------------------------------------------------------------------------------------


def marked(mac):
    return bytes([mac[0] ^ 2]) + mac[1:]


def test_members_are_known_by_their_macs_with_and_without_the_mark():
    own = tables()
    assert sender_of(MACS[WEB1], own) == (WEB1, False)
    assert sender_of(marked(MACS[WEB1]), own) == (WEB1, True)
    assert sender_of(marked(MACS[WEB3]), own) == (WEB3, True)
    assert sender_of(ROUTER, own) == (None, False)
    assert sender_of(OWN, own) == (None, False)


def test_a_members_own_mac_counts_before_anothers_marked_one():
    own = tables()
    own.set_macs(OWN, {0: MACS[WEB3], 1: b"", 2: marked(MACS[WEB3])})
    assert sender_of(marked(MACS[WEB3]), own) == (2, False)
    assert sender_of(MACS[WEB3], own) == (0, False)


def test_what_the_owner_by_my_table_sends_me_is_mine():
    own = tables(owner=WEB3)
    assert reason(frame(tcp(flags=SYN), sender=MACS[WEB3]), own) is Reason.HANDED_NEW
    assert reason(frame(tcp(flags=SYN), sender=MACS[WEB1]), own) is Reason.NOT_MINE
    assert reason(frame(tcp(flags=SYN), sender=ROUTER), own) is Reason.TO_OWNER


def test_out_of_the_view_a_clients_packet_goes_to_its_owner_and_a_members_to_nobody():
    own = tables(owner=PASS_ON + WEB3)
    passed = decide(frame(tcp(flags=SYN), sender=ROUTER), own)
    assert (passed.reason, passed.node) == (Reason.PASSED_ON, WEB3)
    assert passed.frame[:12] == MACS[WEB3] + OWN
    assert reason(frame(tcp(flags=SYN), sender=MACS[WEB3]), own) is Reason.NOT_MINE
    assert reason(frame(tcp(flags=SYN), sender=ROUTER), own, now_ns=NOW + 1) is Reason.LEASE_OVER
    known = decide(frame(tcp(), sender=ROUTER), own, known=lambda flow: True)
    assert known.reason is Reason.PASSED_ON, "a clean node does not look"


# -- how it goes on ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("six", [False, True])
def test_what_goes_to_its_owner_bears_the_owners_mac_and_one_hop_less(six):
    before = frame(tcp(flags=SYN), six=six, ttl=64)
    decision = decide(before, tables(owner=WEB3))
    assert (decision.action, decision.node) == (Action.FORWARD, WEB3)
    assert decision.frame == frame(tcp(flags=SYN), six=six, ttl=63, to=MACS[WEB3], sender=OWN)


@given(st.integers(2, 255), st.integers(0, 255))
def test_the_checksum_is_right_after_a_hop_whatever_it_was(ttl, number):
    own = fixed(owner=WEB3)
    made = frame(tcp(), TCP, ttl=ttl, fragment=number << 5 & 0x4000)
    assert decide(made, own).frame[14:34] == frame(tcp(), ttl=ttl - 1, fragment=number << 5 & 0x4000)[14:34]


def test_what_travels_along_the_dirty_members_is_marked():
    own = tables()
    own.set_dirty(me=False, members={WEB3: ANYWHERE})
    decision = decide(frame(tcp()), own)
    assert (decision.action, decision.node) == (Action.CHAIN, WEB3)
    assert decision.frame == frame(tcp(), ttl=63, to=MACS[WEB3], sender=marked(OWN))
    assert reason(frame(tcp(), sender=marked(MACS[WEB1])), own) is Reason.ALONG_DIRTY
    own.set_dirty(me=False, members={WEB1: ANYWHERE})
    assert reason(frame(tcp(), sender=marked(MACS[WEB3])), own) is Reason.END_OF_CHAIN


@pytest.mark.parametrize("six", [False, True])
def test_the_last_hop_is_not_used(six):
    for ttl in (0, 1):
        decision = decide(frame(tcp(), six=six, ttl=ttl), tables(owner=WEB3), now_ns=NOW + 9)
        assert (decision.reason, decision.node) == (Reason.TTL_OVER, None)
    assert reason(frame(tcp(), six=six, ttl=2), tables(owner=WEB3)) is Reason.TO_OWNER
    assert reason(frame(tcp(flags=SYN), six=six, ttl=1), tables()) is Reason.NEW


def test_nothing_is_sent_to_a_node_whose_mac_is_not_known():
    own = tables(owner=WEB3)
    own.set_macs(OWN, {WEB1: MACS[WEB1]})
    made = frame(tcp())
    decision = decide(made, own, now_ns=NOW + 9)
    assert (decision.reason, decision.node, decision.frame) == (Reason.NO_MAC, None, made)


def test_a_taken_frame_to_the_virtual_mac_gets_this_nodes_where_that_is_wanted():
    own = tables(delivery=Delivery.FLOODED)
    taken, foreign = frame(tcp(flags=SYN), to=VIRTUAL), frame(tcp(81), to=VIRTUAL)
    assert decide(taken, own).frame == taken
    assert decide(taken, own, readdress=True).frame == frame(tcp(flags=SYN))
    assert decide(foreign, own, readdress=True).frame == foreign


def test_the_lease_ends_what_is_taken_and_sent_and_nothing_else():
    new = frame(tcp(flags=SYN))
    for own in (tables(), tables(owner=WEB3)):
        assert decide(new, own, now_ns=NOW).action is not Action.DROP
        ended = decide(new, own, now_ns=NOW + 1)
        assert (ended.reason, ended.node, ended.frame) == (Reason.LEASE_OVER, None, new)
    assert reason(new, tables(owner=NOBODY), now_ns=NOW + 1) is Reason.UNCLAIMED
    assert reason(new, tables(owner=NOBODY, delivery=Delivery.FLOODED), now_ns=NOW + 1) is Reason.NOT_MINE


@given(st.binary(max_size=120), st.sampled_from([b"\x08\x00E", b"\x86\xdd\x60", b""]), st.integers(0, 3))
def test_no_bytes_break_it_and_what_is_not_sent_is_unchanged(rest, kind, owner):
    own = fixed(owner=owner)
    made = OWN + ROUTER + kind + rest[:15] + CLIENT4[:1] + rest[15:]
    decision = decide(made, own)
    assert decision.action.sends == (decision.node is not None) == (decision.frame != made)
