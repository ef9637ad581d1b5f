"""What is read from a frame: one row per kind of packet, and whatever bytes there may be."""

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2mode.core.packets import MAX_EXTENSIONS, SIGHT, Content, PacketKind, read_content, read_head
from l2mode.core.settings import Protocol

OWN, ROUTER = bytes.fromhex("025500000001"), bytes.fromhex("00005e000101")
VIP4, VIP6 = ip_address("192.0.2.50").packed, ip_address("2001:db8::50").packed
CLIENT4, CLIENT6 = ip_address("203.0.113.7").packed, ip_address("2001:db8:7::7").packed
SYN, SYN_ACK, SYN_RST, DATA = 0x02, 0x12, 0x06, 0x10
TCP, UDP, ICMP, ICMPV6, ESP = 6, 17, 1, 58, 50
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS = 0, 43, 44, 60
MORE, LAST, WHOLE = 0x2000, 185, 0x4000


def tcp(source=40000, destination=80, flags=DATA):
    return struct.pack("!HHIIBBHHH", source, destination, 1, 2, 0x50, flags, 1000, 0, 0)


def udp(source=40000, destination=53):
    return struct.pack("!HHHH", source, destination, 8, 0)


def ipv4(payload, number=TCP, *, source=CLIENT4, destination=VIP4, options=b"", fragment=WHOLE, first=None):
    first = 0x45 + len(options) // 4 if first is None else first
    size = 20 + len(options) + len(payload)
    return (
        struct.pack("!BBHHHBBH", first, 0, size, 7, fragment, 64, number, 0) + source + destination + options + payload
    )


def ipv6(payload, number=TCP, *, source=CLIENT6, destination=VIP6, version=0x60000000):
    return struct.pack("!IHBB", version, len(payload), number, 64) + source + destination + payload


def frame(packet, kind=None):
    kind = {4: 0x0800}.get(packet[0] >> 4, 0x86DD) if kind is None else kind
    return OWN + ROUTER + struct.pack("!H", kind) + packet


def extension(following, payload, units=0):
    return struct.pack("!BB", following, units) + bytes(6 + 8 * units) + payload


def fragment6(following, payload, offset):
    return struct.pack("!BBHI", following, 0, offset, 9) + payload


def error(quoted, kind=3):
    return struct.pack("!BBHI", kind, 4, 0, 1400) + quoted


def read(packet):
    made = packet if len(packet) > 14 and packet[:6] == OWN else frame(packet)
    head = read_head(made)
    assert head is not None
    return read_content(made, head)


def flow(protocol, client, vip_port, *, opens, ip_id=None, port=40000, at=None):
    return Content(
        kind=PacketKind.FLOW,
        protocol=protocol,
        client=client,
        client_port=port,
        vip_port=vip_port,
        ip_id=ip_id,
        opens=opens,
        asks_for_socket=protocol is Protocol.TCP,
        transport_at={4: 34, 16: 54}[len(client)] if at is None else at,
    )


def behind(at):
    """A TCP packet of IPv6 whose own header begins there."""
    return flow(Protocol.TCP, CLIENT6, 80, opens=False, at=at)


def portless(client, protocol=None, *, opens=True):
    return Content(kind=PacketKind.PORTLESS, client=client, protocol=protocol, opens=opens)


OTHER, MALFORMED = Content(kind=PacketKind.OTHER), Content(kind=PacketKind.MALFORMED)
DISCOVERY = Content(kind=PacketKind.NEIGHBOUR_DISCOVERY)
FROM_VIP4, FROM_VIP6 = {"source": VIP4, "destination": CLIENT4}, {"source": VIP6, "destination": CLIENT6}
SENT4, SENT6 = ipv4(tcp(80, 40000), **FROM_VIP4), ipv6(tcp(80, 40000), **FROM_VIP6)
ECHO4, ECHO6 = struct.pack("!BBHI", 8, 0, 0, 1), struct.pack("!BBHI", 128, 0, 0, 1)


def chain(links):
    packet, number = tcp(), TCP
    for _ in range(links):
        packet, number = extension(number, packet), DESTINATION_OPTIONS
    return ipv6(packet, number)


TCP4, TCP6 = flow(Protocol.TCP, CLIENT4, 80, opens=False, ip_id=7), flow(Protocol.TCP, CLIENT6, 80, opens=False)
QUOTED4, QUOTED6 = (flow(Protocol.TCP, client, 80, opens=False, at=0) for client in (CLIENT4, CLIENT6))

ROWS = [
    ("tcp", ipv4(tcp()), TCP4),
    ("tcp, ipv6", ipv6(tcp()), TCP6),
    ("syn", ipv4(tcp(flags=SYN)), flow(Protocol.TCP, CLIENT4, 80, opens=True, ip_id=7)),
    ("syn with ecn bits", ipv6(tcp(flags=0xC2)), flow(Protocol.TCP, CLIENT6, 80, opens=True)),
    ("syn-ack opens nothing", ipv4(tcp(flags=SYN_ACK)), TCP4),
    ("nor does syn with rst", ipv4(tcp(flags=SYN_RST)), TCP4),
    ("behind options", ipv4(tcp(), options=bytes(40)), flow(Protocol.TCP, CLIENT4, 80, opens=False, ip_id=7, at=74)),
    ("udp", ipv4(udp(), UDP), flow(Protocol.UDP, CLIENT4, 53, opens=True, ip_id=7)),
    ("udp, ipv6", ipv6(udp(), UDP), flow(Protocol.UDP, CLIENT6, 53, opens=True)),
    ("a cut tcp header", ipv4(tcp()[:19]), MALFORMED),
    ("a cut udp header", ipv4(udp()[:7], UDP), MALFORMED),
    ("a cut header, ipv6", ipv6(tcp()[:19]), MALFORMED),
    ("too small a header", ipv4(tcp(), first=0x44), MALFORMED),
    ("another version, ipv4", frame(ipv4(tcp(), first=0x65), 0x0800), MALFORMED),
    ("another version, ipv6", frame(ipv6(tcp(), version=0x40000000), 0x86DD), MALFORMED),
    ("esp", ipv4(bytes(20), ESP), OTHER),
    ("esp, ipv6", ipv6(bytes(20), ESP), OTHER),
    ("icmpv6 in ipv4", ipv4(ECHO6, ICMPV6), OTHER),
    ("icmp in ipv6", ipv6(ECHO4, ICMP), OTHER),
    # fragments
    ("a first fragment", ipv4(tcp(flags=SYN), fragment=MORE), portless(CLIENT4, Protocol.TCP, opens=False)),
    ("a last fragment", ipv4(bytes(9), UDP, fragment=LAST), portless(CLIENT4, Protocol.UDP)),
    ("a large echo's", ipv4(ECHO4, ICMP, fragment=MORE), portless(CLIENT4)),
    ("another protocol's", ipv4(bytes(9), ESP, fragment=LAST), OTHER),
    ("a first fragment, ipv6", ipv6(fragment6(UDP, udp(), 1), FRAGMENT), portless(CLIENT6, Protocol.UDP)),
    ("a last, ipv6", ipv6(fragment6(TCP, b"", 8), FRAGMENT), portless(CLIENT6, Protocol.TCP, opens=False)),
    ("a large echo's, ipv6", ipv6(fragment6(ICMPV6, ECHO6, 1), FRAGMENT), portless(CLIENT6)),
    ("an atomic fragment is whole", ipv6(fragment6(TCP, tcp(), 0), FRAGMENT), behind(62)),
    # extension headers
    ("hop by hop", ipv6(extension(TCP, tcp()), HOP_BY_HOP), behind(62)),
    ("routing", ipv6(extension(TCP, tcp(), units=2), ROUTING), behind(78)),
    (
        "before a fragment",
        ipv6(extension(FRAGMENT, fragment6(UDP, b"", 8)), HOP_BY_HOP),
        portless(CLIENT6, Protocol.UDP),
    ),
    ("as many as are walked", chain(MAX_EXTENSIONS), behind(54 + 8 * MAX_EXTENSIONS)),
    ("one more", chain(MAX_EXTENSIONS + 1), OTHER),
    ("a cut one", ipv6(extension(TCP, b"")[:7], HOP_BY_HOP), MALFORMED),
    ("one that leads beyond sight", ipv6(extension(TCP, tcp(), units=26), HOP_BY_HOP), MALFORMED),
    # icmp
    ("echo", ipv4(ECHO4, ICMP), portless(CLIENT4)),
    ("echo, ipv6", ipv6(ECHO6, ICMPV6), portless(CLIENT6)),
    ("echo reply", ipv4(bytes(8), ICMP), OTHER),
    ("cut icmp", ipv4(ECHO4[:7], ICMP), MALFORMED),
    ("solicitation", ipv6(struct.pack("!BBHI", 135, 0, 0, 0), ICMPV6), DISCOVERY),
    ("redirect", ipv6(struct.pack("!BBHI", 137, 0, 0, 0), ICMPV6), DISCOVERY),
    ("multicast listener report", ipv6(struct.pack("!BBHI", 132, 0, 0, 0), ICMPV6), OTHER),
    # errors
    ("too big, ipv4", ipv4(error(SENT4), ICMP, source=ip_address("198.51.100.1").packed), QUOTED4),
    ("too big, ipv6", ipv6(error(SENT6, 2), ICMPV6, source=ip_address("2001:db8:9::1").packed), QUOTED6),
    ("time exceeded", ipv4(error(SENT4, 11), ICMP), QUOTED4),
    ("parameter problem", ipv6(error(SENT6, 4), ICMPV6), QUOTED6),
    ("with as little as must be quoted", ipv4(error(SENT4[:28]), ICMP), QUOTED4),
    ("with less", ipv4(error(SENT4[:27]), ICMP), MALFORMED),
    ("with a cut header", ipv4(error(SENT4[:19]), ICMP), MALFORMED),
    ("with a cut header, ipv6", ipv6(error(SENT6[:39], 1), ICMPV6), MALFORMED),
    ("quoting behind options", ipv4(error(ipv4(tcp(80, 40000), options=bytes(8), **FROM_VIP4)), ICMP), QUOTED4),
    (
        "about udp",
        ipv4(error(ipv4(udp(53, 9), UDP, **FROM_VIP4)), ICMP),
        flow(Protocol.UDP, CLIENT4, 53, opens=True, port=9, at=0),
    ),
    ("about a ping's reply", ipv4(error(ipv4(ECHO4, ICMP, **FROM_VIP4)), ICMP), OTHER),
    ("about what the virtual IP did not send", ipv4(error(ipv4(tcp(80, 40000))), ICMP), OTHER),
    ("quoting another version", ipv4(error(SENT6), ICMP), MALFORMED),
    ("quoting too small a header", ipv4(error(ipv4(tcp(), first=0x44, **FROM_VIP4)), ICMP), MALFORMED),
    ("quoting another version, ipv6", ipv6(error(bytes(60), 1), ICMPV6), MALFORMED),
    (
        "quoting a later fragment",
        ipv4(error(ipv4(bytes(8), fragment=LAST, **FROM_VIP4)), ICMP),
        portless(CLIENT4, Protocol.TCP, opens=False),
    ),
    ("quoting a first fragment", ipv4(error(ipv4(tcp(80, 40000), fragment=MORE, **FROM_VIP4)), ICMP), QUOTED4),
    (
        "quoting a later fragment, ipv6",
        ipv6(error(ipv6(fragment6(UDP, bytes(8), 8), FRAGMENT, **FROM_VIP6), 1), ICMPV6),
        portless(CLIENT6, Protocol.UDP),
    ),
    (
        "quoting a first fragment, ipv6",
        ipv6(error(ipv6(fragment6(TCP, tcp(80, 40000), 1), FRAGMENT, **FROM_VIP6), 1), ICMPV6),
        QUOTED6,
    ),
    ("quoting a cut one", ipv6(error(ipv6(b"", FRAGMENT, **FROM_VIP6), 1), ICMPV6), MALFORMED),
]


@pytest.mark.parametrize(("packet", "content"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_what_is_behind_the_addresses(packet, content):
    assert read(packet) == content


def test_the_head_has_the_addresses_as_they_stand():
    head = read_head(frame(ipv4(tcp())))
    assert (head.to_mac, head.from_mac) == (OWN, ROUTER)
    assert (head.version, head.source, head.destination) == (4, CLIENT4, VIP4)
    head = read_head(frame(ipv6(b"")))
    assert (head.version, head.source, head.destination) == (6, CLIENT6, VIP6)


@pytest.mark.parametrize(
    "cut",
    [
        b"",
        OWN,
        OWN + ROUTER + b"\x08",
        frame(ipv4(tcp()))[:33],
        frame(ipv6(tcp()))[:53],
        frame(ipv4(tcp()), 0x0806),
        frame(struct.pack("!HH", 5, 0x0800) + ipv4(tcp()), 0x8100),
    ],
)
def test_what_is_cut_or_no_ip_has_no_head(cut):
    assert read_head(cut) is None


@given(st.binary(max_size=2 * SIGHT), st.sampled_from([0x0800, 0x86DD]))
def test_no_bytes_break_the_reader(packet, kind):
    made = frame(bytes([0x45 if kind == 0x0800 else 0x60]) + packet, kind)
    head = read_head(made)
    if head is not None:
        content = read_content(made, head)
        assert (content.kind in (PacketKind.FLOW, PacketKind.PORTLESS)) == bool(content.client)


@given(st.sampled_from([row[1] for row in ROWS]), st.integers(0, 200))
def test_a_cut_packet_is_read_the_same_or_not_at_all(packet, size):
    whole = packet if packet[:6] == OWN else frame(packet)
    head = read_head(whole[:size])
    if head is not None:
        assert read_content(whole[:size], head) in (read(packet), MALFORMED)
