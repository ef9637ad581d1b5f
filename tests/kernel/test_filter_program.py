"""The loaded program among real sockets and interfaces: what the comparison with its specification cannot show."""

import asyncio
import contextlib
import socket
import struct
import time
from ipaddress import ip_address

import pytest
from kernel.odd_frames import checksum
from kernel.twins import MACS, NODES, OWN_MAC, SAID_BY_TC, SAID_BY_XDP, VIRTUAL_MAC
from lan.namespaces import inside, run
from waiting import until

from l2mode.core.buckets import BUCKETS
from l2mode.core.cells import PENDING
from l2mode.core.reasons import REASONS, Reason
from l2mode.core.settings import LayerTwoSettings, Protocol, ShareGroup
from l2mode.core.tables import Tables
from l2mode.core.verdict import Delivery
from l2mode.kernel.libbpf import TC, XDP, BpfFilter
from l2mode.kernel.tc import TcFilter
from l2mode.kernel.xdp import XdpFilter

VIP4, VIP6 = ip_address("192.0.2.50"), ip_address("2001:db8::50")
CLIENT4, CLIENT6 = ip_address("192.0.2.1"), ip_address("2001:db8::1")
CLIENT_MAC = bytes.fromhex("525400000001")
GROUPS = (
    ShareGroup(name="WEB", protocol=Protocol.TCP, ports=(80,)),
    ShareGroup(name="DNS", protocol=Protocol.UDP, ports=(53,)),
)
ME, OTHER, UNKNOWN_MAC = 0, 1, 2
SYN, ACK = 0x02, 0x10
SOL_PACKET, PACKET_VNET_HDR = 263, 15


@pytest.fixture
def loaded(server):
    made = BpfFilter([TC, XDP, SAID_BY_TC, SAID_BY_XDP])
    with contextlib.closing(made):
        yield made


def tables(loaded, *, owner=ME, delivery=Delivery.DIRECTED, own=OWN_MAC):
    written = Tables(loaded.memory)
    written.configure(
        LayerTwoSettings(
            farm="apache",
            me=NODES[ME],
            nodes=NODES,
            vips=(VIP4, VIP6),
            groups=GROUPS,
            seed=bytes(16),
            delivery=delivery,
        ),
        VIRTUAL_MAC if delivery is Delivery.FLOODED else b"",
    )
    written.set_macs(own, {OTHER: MACS[OTHER]})
    written.swap([bytes([owner]) * BUCKETS for _ in GROUPS], [ME, ME])
    written.set_lease(time.monotonic_ns() + 3_600_000_000_000)
    return written


def frame(client, vip, number, payload, *, to=OWN_MAC):
    """Give a frame with a TCP segment or UDP datagram, whose checksum is put where it belongs."""
    at = 16 if number == socket.IPPROTO_TCP else 6
    pseudo = client.packed + vip.packed + struct.pack("!HH", number, len(payload))
    payload = payload[:at] + struct.pack("!H", checksum(pseudo + payload + bytes(len(payload) % 2))) + payload[at + 2 :]
    if vip.version == 4:
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 7, 0x4000, 64, number, 0)
        header += client.packed + vip.packed
        header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
        return to + CLIENT_MAC + b"\x08\x00" + header + payload
    header = struct.pack("!IHBB", 0x60000000, len(payload), number, 64) + client.packed + vip.packed
    return to + CLIENT_MAC + b"\x86\xdd" + header + payload


def tcp(client, vip, flags, *, sequence=1000, acknowledged=0, to=OWN_MAC, data=b""):
    segment = struct.pack("!HHIIBBHHH", 40000, 80, sequence, acknowledged, 0x50, flags, 65000, 0, 0)
    return frame(client, vip, socket.IPPROTO_TCP, segment + data, to=to)


def udp(client, vip, data, *, to=OWN_MAC):
    return frame(client, vip, socket.IPPROTO_UDP, struct.pack("!HHHH", 40000, 53, 8 + len(data), 0) + data, to=to)


def mac_of(server):
    return bytes.fromhex(server.json("ip -j link show eth0")[0]["address"].replace(":", ""))


def wire(server):
    """Give a packet socket on the far end of the interface, in the network."""
    with inside(server.network):
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    opened.settimeout(5)
    return opened


ROWS = [
    (ME, tcp(CLIENT4, VIP4, SYN), "NEW", (0xFFFFFFFF, 2)),
    (ME, tcp(CLIENT6, VIP6, ACK), "ORPHAN", (0xFFFFFFFF, 2)),
    (ME, tcp(CLIENT4, ip_address("192.0.2.51"), SYN), "FOREIGN", (0xFFFFFFFF, 2)),
    (OTHER, tcp(CLIENT4, VIP4, SYN), "TO_OWNER", (7, 3)),
    (UNKNOWN_MAC, tcp(CLIENT4, VIP4, SYN), "NO_MAC", (2, 1)),
    (PENDING, tcp(CLIENT6, VIP6, SYN), "UNCLAIMED", (2, 1)),
]


@pytest.mark.parametrize(("owner", "made", "reason", "returned"), ROWS, ids=[row[2] for row in ROWS])
def test_the_kernel_is_told_what_to_do_and_the_frame_is_counted(loaded, owner, made, reason, returned):
    written = tables(loaded, owner=owner)
    assert tuple(loaded.run(name, made)[0] for name in (TC, XDP)) == returned
    counted = {} if reason == "FOREIGN" else {Reason[reason]: 2}
    assert {why: number for why, number in written.counters().items() if number} == counted


def test_only_the_programs_that_are_named_are_loaded(server):
    with contextlib.closing(BpfFilter([TC])) as one:
        assert list(one.programs) == [TC]
        assert server.json(f"bpftool -j prog show id {one.programs[TC].number}")["tag"] == one.programs[TC].tag


@pytest.mark.parametrize(("client", "vip"), [(CLIENT4, VIP4), (CLIENT6, VIP6)], ids=["ipv4", "ipv6"])
def test_the_answer_to_our_own_syn_cookie_is_known_here(server, loaded, client, vip):
    mac = mac_of(server)
    server.sh(
        f"echo 2 > /proc/sys/net/ipv4/tcp_syncookies; ip address add {vip} dev lo {'nodad' * (vip.version == 6)};"
        f"ip neigh replace {client} lladdr {CLIENT_MAC.hex(':')} dev eth0"
    )
    family = socket.AF_INET if vip.version == 4 else socket.AF_INET6
    with socket.create_server((str(vip), 80), family=family), wire(server) as network:
        network.bind(("peer0", 3))
        network.send(tcp(client, vip, SYN, to=mac))
        at = 34 if vip.version == 4 else 54
        answer = b""
        while answer[:6] != CLIENT_MAC or answer[at : at + 2] != b"\0\x50":
            answer = network.recv(2000)
        cookie = struct.unpack_from("!I", answer, at + 4)[0]
        tables(loaded, owner=PENDING)
        for name in (SAID_BY_TC, SAID_BY_XDP):
            right = tcp(client, vip, ACK, sequence=1001, acknowledged=cookie + 1 & 0xFFFFFFFF)
            wrong = tcp(client, vip, ACK, sequence=1001, acknowledged=cookie + 7777 & 0xFFFFFFFF)
            said = [REASONS[loaded.run(name, made)[0] >> 8 & 0xFF] for made in (right, wrong)]
            assert said == [Reason.KNOWN, Reason.UNCLAIMED]


@pytest.mark.parametrize("generic_xdp", [False, True], ids=["tc", "xdp"])
@pytest.mark.parametrize(("client", "vip"), [(CLIENT4, VIP4), (CLIENT6, VIP6)], ids=["ipv4", "ipv6"])
def test_the_stack_takes_what_comes_to_the_virtual_mac(server, loaded, client, vip, generic_xdp):
    written = tables(loaded, delivery=Delivery.FLOODED, own=mac_of(server))
    server.sh(f"ip address add {vip} dev lo {'nodad' * (vip.version == 6)}")
    attached = (
        XdpFilter(loaded.programs[XDP], loaded.memory, generic=True, interface="eth0", record=server.record())
        if generic_xdp
        else TcFilter(loaded.programs[TC], loaded.memory, interface="eth0", farm="apache", record=server.record())
    )
    attached.attach()
    family = socket.AF_INET if vip.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as service, wire(server) as network:
            service.bind((str(vip), 53))
            service.settimeout(5)
            network.bind(("peer0", 3))
            network.send(udp(client, vip, b"for the one that has it", to=VIRTUAL_MAC))
            assert service.recv(100) == b"for the one that has it"
    finally:
        attached.detach()
    assert written.counters()[Reason.NEW] == 1


@pytest.mark.parametrize("linear", [14, 34, 60])
def test_headers_that_a_driver_left_in_pages_are_found(server, loaded, linear):
    written = tables(loaded, owner=OTHER, delivery=Delivery.FLOODED, own=mac_of(server))
    made = tcp(CLIENT4, VIP4, ACK, to=mac_of(server), data=bytes(6000))
    run(server.network, "ip", "link", "set", "peer0", "mtu", 9000)
    server.sh("ip link set eth0 mtu 9000")
    attached = TcFilter(loaded.programs[TC], loaded.memory, interface="eth0", farm="apache", record=server.record())
    attached.attach()
    try:
        with wire(server) as network:
            network.bind(("peer0", 3))
            network.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
            # struct virtio_net_hdr: the third field says how much of the frame is in the linear area.
            network.send(struct.pack("<BBHHHH", 0, 0, linear, 0, 0, 0) + made)
            asyncio.run(until(lambda: any(written.counters().values()), what="the frame's being counted"))
    finally:
        attached.detach()
    assert {why for why, number in written.counters().items() if number} == {Reason.NOT_MINE}
