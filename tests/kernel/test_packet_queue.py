"""Packets to a virtual IP through the nfqueue filter, from real clients on a real wire."""

import contextlib
import os
import signal
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path

import pytest
from daemons import wait_for
from lan.as_found import as_found, differences
from lan.namespaces import configure, inside, run, set_kernel
from lan.offloads import leave_all_to_the_kernel
from lan.slow import slow_readers

from l2mode.core.buckets import BUCKETS
from l2mode.core.cells import NOBODY
from l2mode.core.frames import virtual_mac
from l2mode.core.hashing import bucket_of_address
from l2mode.core.reasons import Reason
from l2mode.core.settings import LayerTwoSettings, Protocol, ShareGroup
from l2mode.core.tables import Tables
from l2mode.core.verdict import Delivery
from l2mode.kernel.errors import FilterError
from l2mode.kernel.interface import mac_of
from l2mode.kernel.packet_queue import QueueFilter
from l2mode.kernel.queue_reader import LONGEST_WAIT
from l2mode.kernel.queue_socket import QueueSocket

VIP = {4: "192.0.2.50", 6: "2001:db8::50"}
CLIENT = {4: "203.0.113.7", 6: "2001:db8:c::7"}
ROUTER = {4: "192.0.2.1", 6: "2001:db8::1"}
PORT = 8080
OWNER_MAC = bytes.fromhex("020000000022")
"Of web2, which only the tests look for on the wire."
ME, OWNER = 0, 1
UDP_SEGMENT = 103
"Of linux/udp.h: bytes of a datagram, many of which are sent in one call."

both_families = pytest.mark.parametrize("family", [4, 6], ids=["IPv4", "IPv6"])
both_deliveries = pytest.mark.parametrize("delivery", list(Delivery), ids=lambda delivery: delivery.value)


class Stage:
    """A server with virtual IPs behind the filter, and its clients on the other end of the wire."""

    def __init__(self, server, delivery):
        self.server = server
        self.settings = settings(delivery)
        self.delivery = delivery
        self.filter = QueueFilter(self.settings, "eth0", server.record())
        self.tables = Tables(self.filter.memory)
        self.own_mac = mac_of("eth0")

    def open(self):
        """Filter, with all buckets mine."""
        self.tables.configure(self.settings, virtual_mac(self.settings))
        self.tables.set_macs(self.own_mac, {OWNER: OWNER_MAC})
        self.filter.attach()
        self.give_to(ME)
        self.tables.set_lease(time.monotonic_ns() + 3_600_000_000_000)

    def give_to(self, node):
        """Give all buckets to a node."""
        self.give(bytes([node]) * BUCKETS)

    def give(self, cells):
        """Give buckets to nodes, and let the reader notice."""
        self.turn(cells)
        before = self.counted(Reason.NEIGHBOUR_DISCOVERY)
        with wire(self) as sending:
            sending.send(solicitation(self))
        wait_for(lambda: self.counted(Reason.NEIGHBOUR_DISCOVERY) > before, limit=20, what="the reader's look")

    def turn(self, cells):
        """Give buckets to nodes."""
        self.tables.swap([cells] * 2, [ME] * 2)

    def counted(self, reason):
        return self.tables.counters()[reason]

    @property
    def reader(self):
        """The number of the process that reads the queue."""
        return self.filter._reader.pid

    def mac_of_vips(self):
        return virtual_mac(self.settings) if self.delivery is Delivery.FLOODED else self.own_mac


def settings(delivery):
    groups = tuple(
        ShareGroup(name=protocol.name, protocol=protocol, ports=(PORT,)) for protocol in (Protocol.TCP, Protocol.UDP)
    )
    return LayerTwoSettings(
        farm="apache",
        me="web1",
        nodes=("web1", "web2"),
        vips=tuple(map(ip_address, VIP.values())),
        groups=groups,
        seed=bytes(range(16)),
        delivery=delivery,
    )


@contextlib.contextmanager
def staged(server, delivery):
    """Put the virtual IPs on the server and the clients on the wire; the filter is gone at the end."""
    set_kernel(server.network, {"ipv6/ip_nonlocal_bind": 1})
    stage = Stage(server, delivery)
    sizes = {4: 32, 6: 128}
    with inside(server.network):
        router_mac = mac_of("peer0").hex(":")
    configure(
        server.namespace,
        [
            *(f"address add {VIP[family]}/{sizes[family]} dev lo" for family in (4, 6)),
            f"route add 203.0.113.0/24 via {ROUTER[4]}",
            f"route add 2001:db8:c::/64 via {ROUTER[6]}",
            # An IPv6 neighbour could be asked for only after the second that a link-local address waits.
            *(f"neighbour add {router} lladdr {router_mac} dev eth0" for router in ROUTER.values()),
        ],
    )
    configure(
        server.network,
        [
            "link set lo up",
            f"address add {ROUTER[4]}/24 dev peer0",
            f"address add {ROUTER[6]}/64 dev peer0 nodad",
            "route add local 203.0.113.0/24 dev lo",
            "route add local 2001:db8:c::/64 dev lo",
            *(f"neighbour add {VIP[family]} lladdr {stage.mac_of_vips().hex(':')} dev peer0" for family in (4, 6)),
        ],
    )
    try:
        yield stage
    finally:
        stage.filter.detach()


@pytest.fixture(params=list(Delivery), ids=lambda delivery: delivery.value)
def stage(server, request):
    """A filter that is open, for each delivery."""
    with staged(server, request.param) as made:
        made.open()
        yield made


@pytest.fixture
def directed(server):
    with staged(server, Delivery.DIRECTED) as made:
        made.open()
        yield made


@contextlib.contextmanager
def listening(family):
    """A server of the application's, which answers each connection's bytes with themselves."""
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    with socket.create_server((VIP[family], PORT), family=kind) as made:
        made.settimeout(20)
        yield made


def datagrams_of(family):
    """A socket of the application's for datagrams."""
    made = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    made.bind((VIP[family], PORT))
    made.settimeout(20)
    return made


@contextlib.contextmanager
def client(stage, family, kind=socket.SOCK_STREAM):
    """A client's socket."""
    with inside(stage.server.network):
        made = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, kind)
    with made:
        made.bind((CLIENT[family], 0))
        made.settimeout(20)
        yield made


@contextlib.contextmanager
def wire(stage):
    """The other end of the server's cable: sees and sends whole frames."""
    with inside(stage.server.network):
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        made.bind(("peer0", 3))
    with made:
        made.settimeout(20)
        yield made


def frame_on(wire, wanted):
    """Give the next frame that is wanted."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        frame = wire.recv(65536)
        if wanted(frame):
            return frame
    raise AssertionError("no such frame came")


def to(mac):
    return lambda frame: frame[:6] == mac


@both_families
def test_what_is_mine_is_taken(stage, family):
    with listening(family) as server, client(stage, family) as asking:
        asking.connect((VIP[family], PORT))
        answering, who = server.accept()
        with answering:
            asking.sendall(b"hello")
            assert answering.recv(100) == b"hello"
    assert who[0] == CLIENT[family]
    assert stage.counted(Reason.NEW) >= 1
    assert stage.counted(Reason.ORPHAN) + stage.counted(Reason.KNOWN) >= 2


@both_families
def test_a_datagram_that_is_mine_is_taken(stage, family):
    with datagrams_of(family) as server, client(stage, family, socket.SOCK_DGRAM) as asking:
        asking.sendto(b"hello", (VIP[family], PORT))
        assert server.recv(100) == b"hello"


@both_families
def test_only_the_clients_whose_bucket_is_mine_are_served(stage, family):
    mine = bucket_of_address(stage.settings.seed, ip_address(CLIENT[family]).packed)
    cells = bytearray([NOBODY]) * BUCKETS
    cells[mine] = ME
    stage.give(bytes(cells))
    with datagrams_of(family) as server, client(stage, family, socket.SOCK_DGRAM) as asking:
        with inside(stage.server.network):
            stranger = socket.socket(server.family, socket.SOCK_DGRAM)
        with stranger:
            stranger.bind((CLIENT[family] + "1", 0))
            stranger.sendto(b"from a stranger", (VIP[family], PORT))
        asking.sendto(b"hello", (VIP[family], PORT))
        assert server.recv(100) == b"hello"
    assert stage.counted(Reason.UNCLAIMED) + stage.counted(Reason.NOT_MINE) == 1


@both_families
def test_in_flooded_delivery_what_is_anothers_is_dropped(server, family):
    with staged(server, Delivery.FLOODED) as stage, wire(stage) as seen:
        stage.open()
        stage.give_to(OWNER)
        with datagrams_of(family) as application, client(stage, family, socket.SOCK_DGRAM) as asking:
            asking.sendto(b"hello", (VIP[family], PORT))
            wait_for(lambda: stage.counted(Reason.NOT_MINE) == 1, limit=20, what="the drop")
            application.settimeout(0)
            with pytest.raises(BlockingIOError):
                application.recv(100)
        seen.settimeout(0)
        with pytest.raises(BlockingIOError):
            frame_on(seen, to(OWNER_MAC))


@both_families
def test_in_directed_delivery_what_is_anothers_is_sent_to_its_owner(directed, family):
    # The client leaves the checksum to the wire, which a veth is not; here the kernel must complete it.
    leave_all_to_the_kernel(directed.server.namespace, "eth0")
    directed.give_to(OWNER)
    with wire(directed) as seen, client(directed, family, socket.SOCK_DGRAM) as asking:
        asking.sendto(b"hello", (VIP[family], PORT))
        original = frame_on(seen, to(directed.own_mac))
        sent_on = frame_on(seen, to(OWNER_MAC))
    assert sent_on[6:12] == directed.own_mac
    ttl = 22 if family == 4 else 21
    assert sent_on[ttl] == original[ttl] - 1
    if family == 4:
        assert sum(struct.unpack("!10H", sent_on[14:34])) % 0xFFFF == 0
    same = [*range(12, 22), 23, *range(26, 40)] if family == 4 else [*range(12, 21), *range(22, 60)]
    assert [sent_on[at] for at in same] == [original[at] for at in same]
    assert sent_on.endswith(b"hello")
    assert transport_checksum_is_right(sent_on, family)
    assert directed.counted(Reason.TO_OWNER) == 1


def transport_checksum_is_right(frame, family):
    """True when the checksum of a datagram or segment fits its pseudo header (RFC 768, 9293, 8200)."""
    at, protocol, addresses = (34, frame[23], frame[26:34]) if family == 4 else (54, frame[20], frame[22:54])
    content = frame[at:]
    whole = addresses + struct.pack("!II", len(content), protocol) + content + bytes(len(content) % 2)
    return sum(struct.unpack(f"!{len(whole) // 2}H", whole)) % 0xFFFF == 0


@both_families
def test_a_connection_lives_on_where_it_is_when_its_bucket_moves(stage, family):
    with listening(family) as server, client(stage, family) as asking:
        asking.connect((VIP[family], PORT))
        answering, _ = server.accept()
        with answering:
            stage.tables.set_dirty(me=True, members={})
            stage.give_to(OWNER)
            asking.sendall(b"still here")
            assert answering.recv(100) == b"still here"
    assert stage.counted(Reason.KNOWN) >= 1


SEGMENT = 1428
"Bytes of data in a segment of IPv6 with timestamps; of IPv4 there are 20 more."


@both_families
def test_a_bulk_upload_comes_whole_and_is_sent_on_in_frames_that_fit(directed, family):
    data = os.urandom(1_000_000)
    with bulk(directed, family, data) as asking, wire(directed) as seen:
        leave_all_to_the_kernel(directed.server.namespace, "eth0")
        # Nobody knows the connection now, so that its segments go to the new owner.
        directed.give_to(OWNER)
        # As many segments as TCP sends without an answer, however the bulk has gone (RFC 6928).
        asking.sendall(data[:14_000])
        frames = [frame_on(seen, to(OWNER_MAC)) for _ in range(9)]
    assert max(map(len, frames)) == 1514
    assert all(transport_checksum_is_right(frame, family) for frame in frames)
    payload = 66 if family == 4 else 86
    by_sequence = {frame[payload - 28 : payload - 24]: frame[payload:] for frame in frames}
    assert b"".join(by_sequence[at] for at in sorted(by_sequence))[:12_000] == data[:12_000]


@both_families
def test_one_verdict_does_for_many_segments_that_come_in_a_row(directed, family):
    data = os.urandom(1_000_000)
    with bulk(directed, family, data):
        # How many come in a row is the kernel's affair: on a slow machine fewer.
        assert directed.counted(Reason.ORPHAN) + directed.counted(Reason.KNOWN) < len(data) / SEGMENT * 3 / 4


@contextlib.contextmanager
def bulk(stage, family, data):
    """Bring data over a new connection, see that it has come whole, and give the client's end."""
    with listening(family) as server, client(stage, family) as asking, ThreadPoolExecutor(1) as pool:
        asking.connect((VIP[family], PORT))
        answering, _ = server.accept()
        with answering:
            answering.settimeout(20)
            sending = pool.submit(asking.sendall, data)
            received = b""
            while len(received) < len(data):
                received += answering.recv(1 << 16)
            assert received == data
            sending.result()
            yield asking


@both_families
def test_datagrams_that_were_merged_are_sent_on_one_by_one(directed, family):
    leave_all_to_the_kernel(directed.server.namespace, "eth0")
    directed.give_to(OWNER)
    with wire(directed) as seen, client(directed, family, socket.SOCK_DGRAM) as asking:
        asking.setsockopt(socket.SOL_UDP, UDP_SEGMENT, 1000)
        asking.sendto(b"".join(bytes([number]) * 1000 for number in range(5)), (VIP[family], PORT))
        frames = [frame_on(seen, to(OWNER_MAC)) for _ in range(5)]
    assert [frame[-1000:] for frame in frames] == [bytes([number]) * 1000 for number in range(5)]
    assert {len(frame) for frame in frames} == {1042 if family == 4 else 1062}
    assert all(transport_checksum_is_right(frame, family) for frame in frames)
    assert directed.counted(Reason.TO_OWNER) == 5


@both_families
def test_jumbo_frames_are_sent_on_whole(directed, family):
    run(directed.server.network, "ip", "link", "set", "peer0", "mtu", "9000")
    directed.server.sh("ip link set eth0 mtu 9000")
    leave_all_to_the_kernel(directed.server.namespace, "eth0")
    directed.give_to(OWNER)
    with wire(directed) as seen, client(directed, family, socket.SOCK_DGRAM) as asking:
        asking.sendto(bytes(8900), (VIP[family], PORT))
        frame = frame_on(seen, to(OWNER_MAC))
    assert len(frame) == (8942 if family == 4 else 8962)
    assert transport_checksum_is_right(frame, family)


@both_families
def test_behind_a_slow_reader_hardly_anything_waits_too_long(server, family, tmp_path, monkeypatch):
    slow_readers(tmp_path / "slow", monkeypatch, seconds=0.001)
    with (
        staged(server, Delivery.DIRECTED) as stage,
        datagrams_of(family),
        client(stage, family, socket.SOCK_DGRAM) as asking,
    ):
        stage.open()

        def flood():
            for _ in range(300):
                asking.sendto(b"one of many", (VIP[family], PORT))
            return stage.counted(Reason.NEW) > 1000

        wait_for(flood, limit=30, what="a thousand verdicts")
        assert stage.counted(Reason.LEASE_OVER) < 200


@both_families
def test_nothing_is_taken_when_the_lease_is_over(stage, family):
    stage.tables.set_lease(time.monotonic_ns())
    with datagrams_of(family) as server, client(stage, family, socket.SOCK_DGRAM) as asking:
        asking.sendto(b"hello", (VIP[family], PORT))
        wait_for(lambda: stage.counted(Reason.LEASE_OVER) == 1, limit=20, what="the drop")
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.recv(100)


@both_families
def test_what_waited_for_its_turn_on_a_busy_machine_is_taken(stage, family):
    with datagrams_of(family) as server, client(stage, family, socket.SOCK_DGRAM) as asking:

        def ask_a_stopped_reader():
            late = stage.counted(Reason.LEASE_OVER)
            os.kill(stage.reader, signal.SIGSTOP)
            asking.sendto(b"late", (VIP[family], PORT))
            sent = time.monotonic()
            wait_for(lambda: time.monotonic() > sent + 0.2, what="a fifth of a second")
            os.kill(stage.reader, signal.SIGCONT)
            wait_for(lambda: waiting_packets() == 0, limit=20, what="the verdict")
            return stage.counted(Reason.LEASE_OVER) == late

        wait_for(ask_a_stopped_reader, what="a machine that was not slower than that")
        assert server.recv(100) == b"late"


@both_families
def test_what_waited_for_a_stopped_reader_is_dropped(stage, family):
    with datagrams_of(family) as server, client(stage, family, socket.SOCK_DGRAM) as asking:
        os.kill(stage.reader, signal.SIGSTOP)
        # The shortest queue that a slow machine gets holds as many.
        for _ in range(8):
            asking.sendto(b"too old", (VIP[family], PORT))
        sent = time.monotonic()
        wait_for(lambda: waiting_packets() == 8, limit=20, what="the packets in the queue")
        wait_for(lambda: time.monotonic() > sent + LONGEST_WAIT, what="more than a packet may wait")
        os.kill(stage.reader, signal.SIGCONT)
        wait_for(lambda: waiting_packets() == 0, limit=20, what="room in the queue")
        asking.sendto(b"new", (VIP[family], PORT))
        assert server.recv(100) == b"new"
    assert stage.counted(Reason.LEASE_OVER) == 8


@both_families
def test_in_flooded_delivery_what_came_before_the_bucket_was_mine_is_left_to_whoever_had_it(server, family):
    with staged(server, Delivery.FLOODED) as stage:
        stage.open()
        stage.give_to(OWNER)
        with datagrams_of(family) as application, client(stage, family, socket.SOCK_DGRAM) as asking:
            os.kill(stage.reader, signal.SIGSTOP)
            asking.sendto(b"the other has answered this", (VIP[family], PORT))
            sent = time.monotonic()
            wait_for(lambda: waiting_packets() == 1, limit=20, what="the packet in the queue")
            wait_for(lambda: time.monotonic() > sent + 0.005, what="the release and the claim")
            stage.turn(bytes([ME]) * BUCKETS)
            os.kill(stage.reader, signal.SIGCONT)
            # The second reason, where this machine was too slow for the first.
            refused = (Reason.NOT_MINE, Reason.LEASE_OVER)
            wait_for(lambda: sum(map(stage.counted, refused)) == 1, limit=20, what="the drop")
            asking.sendto(b"new", (VIP[family], PORT))
            assert application.recv(100) == b"new"


@pytest.mark.parametrize("turns", [1, 2], ids=["one swap", "two swaps"])
@both_families
def test_in_flooded_delivery_what_waited_while_the_tables_were_swapped_is_taken_where_the_bucket_stays(
    server, family, turns
):
    with staged(server, Delivery.FLOODED) as stage:
        stage.open()
        with datagrams_of(family) as application, client(stage, family, socket.SOCK_DGRAM) as asking:

            def ask_a_stopped_reader():
                late = stage.counted(Reason.LEASE_OVER)
                os.kill(stage.reader, signal.SIGSTOP)
                asking.sendto(b"to the same as ever", (VIP[family], PORT))
                sent = time.monotonic()
                wait_for(lambda: waiting_packets() == 1, limit=20, what="the packet in the queue")
                wait_for(lambda: time.monotonic() > sent + 0.005, what="a while")
                for _ in range(turns):
                    stage.turn(bytes([ME]) * BUCKETS)
                os.kill(stage.reader, signal.SIGCONT)
                wait_for(lambda: waiting_packets() == 0, limit=20, what="the verdict")
                return stage.counted(Reason.LEASE_OVER) == late

            wait_for(ask_a_stopped_reader, what="a machine that was quick enough for a verdict in time")
            assert stage.counted(Reason.NOT_MINE) == 0
            assert application.recv(100) == b"to the same as ever"


def waiting_packets():
    """How many packets wait for a verdict."""
    lines = Path("/proc/thread-self/net/netfilter/nfnetlink_queue").read_text().splitlines()
    return sum(int(line.split()[2]) for line in lines)


@both_families
def test_a_dead_reader_opens_nothing_and_is_replaced(stage, family):
    with datagrams_of(family) as server, client(stage, family, socket.SOCK_DGRAM) as asking:
        os.kill(stage.reader, signal.SIGKILL)
        stage.filter._reader.wait(5)
        asking.sendto(b"to nobody", (VIP[family], PORT))
        assert stage.filter.repair() == "the process that reads the packet queue had ended: started again"
        assert stage.filter.repair() is None
        asking.sendto(b"hello", (VIP[family], PORT))
        assert server.recv(100) == b"hello"


@both_families
def test_broadcast_to_a_virtual_ip_is_dropped(stage, family):
    broadcast = f"neighbour replace {VIP[family]} lladdr ff:ff:ff:ff:ff:ff dev peer0"
    right = f"neighbour replace {VIP[family]} lladdr {stage.mac_of_vips().hex(':')} dev peer0"
    with datagrams_of(family) as server, client(stage, family, socket.SOCK_DGRAM) as asking:
        configure(stage.server.network, [broadcast])
        asking.sendto(b"to all", (VIP[family], PORT))
        configure(stage.server.network, [right])
        asking.sendto(b"hello", (VIP[family], PORT))
        assert server.recv(100) == b"hello"


def test_neighbour_discovery_for_a_virtual_ip_passes_although_the_lease_is_over(stage):
    stage.tables.set_lease(0)
    before = stage.counted(Reason.NEIGHBOUR_DISCOVERY)
    with wire(stage) as sending:
        sending.send(solicitation(stage))
        wait_for(lambda: stage.counted(Reason.NEIGHBOUR_DISCOVERY) > before, limit=20, what="the solicitation")


def solicitation(stage):
    """A neighbour solicitation (RFC 4861) to the virtual IP itself, as is asked of one that was there."""
    source, target = ip_address(ROUTER[6]).packed, ip_address(VIP[6]).packed
    message = struct.pack("!BBHI", 135, 0, 0, 0) + target
    pseudo = source + target + struct.pack("!II", len(message), 58)
    total = sum(struct.unpack(f"!{len(pseudo + message) // 2}H", pseudo + message))
    message = message[:2] + (0xFFFF - total % 0xFFFF).to_bytes(2) + message[4:]
    header = struct.pack("!IHBB", 0x60000000, len(message), 58, 255) + source + target
    return stage.mac_of_vips() + bytes.fromhex("020000000099") + b"\x86\xdd" + header + message


def test_nothing_that_is_dropped_is_tracked_as_a_connection(stage):
    stage.server.sh("iptables -A INPUT -m conntrack --ctstate INVALID -j DROP")
    stage.tables.set_lease(0)
    with client(stage, 4, socket.SOCK_DGRAM) as asking:
        asking.sendto(b"hello", (VIP[4], PORT))
        wait_for(lambda: stage.counted(Reason.LEASE_OVER) == 1, limit=20, what="the drop")
    assert stage.server.sh("cat /proc/sys/net/netfilter/nf_conntrack_count").strip() == "0"


@both_deliveries
def test_all_is_left_as_it_was_found(server, delivery):
    with staged(server, delivery) as stage:
        before = as_found(server)
        stage.open()
        stage.filter.attach()
        assert differences(before, as_found(server)) != []
        stage.filter.detach()
        stage.filter.detach()
        assert differences(before, as_found(server)) == []


@both_deliveries
def test_rules_of_others_are_left_alone_and_come_after_ours(server, delivery):
    server.sh("iptables -t raw -A PREROUTING -d 192.0.2.50 -j ACCEPT; ip6tables -A INPUT -s 2001:db8:bad::/48 -j DROP")
    with staged(server, delivery) as stage:
        before = as_found(server)
        stage.open()
        first = server.sh("iptables -t raw -S PREROUTING").splitlines()[1]
        assert "hcsidecar:apache" in first
        stage.filter.detach()
        assert differences(before, as_found(server)) == []


def test_a_table_that_others_have_begun_to_use_stays(directed, server):
    server.sh("iptables -t raw -A PREROUTING -s 198.51.100.66 -j DROP")
    directed.filter.detach()
    assert "198.51.100.66" in server.sh("iptables -t raw -S PREROUTING")


def test_the_daemons_end_is_the_readers_and_the_next_one_puts_all_in_order(server):
    with staged(server, Delivery.FLOODED) as stage:
        before = as_found(server)
        server.run_killed(f"""
from l2mode.core.frames import virtual_mac
from l2mode.core.tables import Tables
from l2mode.core.verdict import Delivery
from l2mode.kernel.packet_queue import QueueFilter
from kernel.test_packet_queue import settings
settings = settings(Delivery.FLOODED)
ours = QueueFilter(settings, "eth0", record)
Tables(ours.memory).configure(settings, virtual_mac(settings))
ours.attach()
Path({str(server.directory / "reader")!r}).write_text(str(ours._reader.pid))
""")
        reader = Path("/proc", (server.directory / "reader").read_text())
        wait_for(lambda: not reader.exists(), limit=20, what="the end of the reader")
        assert len(server.sh("iptables-save -t raw | grep hcsidecar:apache").splitlines()) == 2
        assert differences(before, as_found(server)) != []
        stage.filter = QueueFilter(stage.settings, "eth0", server.record())
        stage.tables = Tables(stage.filter.memory)
        stage.open()
        assert len(server.sh("iptables-save -t raw | grep hcsidecar:apache").splitlines()) == 2
        with datagrams_of(4) as application, client(stage, 4, socket.SOCK_DGRAM) as asking:
            asking.sendto(b"hello", (VIP[4], PORT))
            assert application.recv(100) == b"hello"
        stage.filter.detach()
        assert differences(before, as_found(server)) == []


@both_deliveries
def test_what_a_killed_process_left_is_removed_where_another_filter_is_used_now(server, delivery):
    with staged(server, delivery) as stage:
        before = as_found(server)
        stage.open()
        server.record().restore_left_over()
        assert differences(before, as_found(server)) == []


@both_families
def test_rules_that_somebody_removed_are_put_back(stage, family):
    tool = "iptables" if family == 4 else "ip6tables"
    stage.server.sh(f"{tool} -t raw -F PREROUTING")
    assert (
        stage.filter.repair() == f"somebody has removed the rules of {tool} with the comment hcsidecar:apache: put back"
    )
    assert stage.filter.repair() is None
    with datagrams_of(family) as server, client(stage, family, socket.SOCK_DGRAM) as asking:
        asking.sendto(b"hello", (VIP[family], PORT))
        assert server.recv(100) == b"hello"
    assert stage.counted(Reason.NEW) == 1


def test_the_table_at_ingress_is_put_back(server):
    with staged(server, Delivery.FLOODED) as stage:
        stage.open()
        server.sh("nft delete table netdev hcsidecar-apache")
        assert stage.filter.repair() == "somebody has removed the nft table hcsidecar-apache: put back"
        assert stage.filter.repair() is None


def test_rules_of_others_that_come_before_ours_are_told(directed):
    directed.server.sh("ip6tables -t raw -I PREROUTING -s 2001:db8:cafe::/48 -j ACCEPT")
    assert directed.filter.warnings == ()
    assert directed.filter.repair() is None
    (warning,) = directed.filter.warnings
    assert "ip6tables -t raw: -s 2001:db8:cafe::/48 -j ACCEPT" in warning


def test_a_queue_that_somebody_else_reads_is_not_ours(server):
    taken = QueueFilter(settings(Delivery.DIRECTED), "eth0", server.record())
    with staged(server, Delivery.DIRECTED) as stage:
        stage.open()
        other = QueueFilter(settings(Delivery.DIRECTED), "eth0", server.record())
        assert other._number != stage.filter._number
        with pytest.raises(FilterError, match=r"packet queue \d+ cannot be read"):
            taken.attach()


def test_the_second_queue_is_one_that_nobody_else_reads(server):
    with staged(server, Delivery.DIRECTED) as stage, contextlib.closing(QueueSocket()) as others:
        others.bind(stage.filter._number + 1, copied=64, merged=False, length=1)
        stage.open()
        with datagrams_of(4) as here, client(stage, 4, socket.SOCK_DGRAM) as asking:
            asking.sendto(b"asked", (VIP[4], PORT))
            assert here.recv(100) == b"asked"


def test_a_missing_package_is_explained(server, tmp_path, monkeypatch):
    (tmp_path / "netfilterqueue.py").write_text("raise ImportError('there is none')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(FilterError, match="netfilterqueue cannot be loaded: there is none; pip install"):
        QueueFilter(settings(Delivery.DIRECTED), "eth0", server.record()).attach()


def test_missing_commands_are_explained(server, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(FilterError, match="the command iptables is missing; install iptables"):
        QueueFilter(settings(Delivery.DIRECTED), "eth0", server.record()).attach()
    with pytest.raises(FilterError, match="the command nft is missing; install iptables, and nftables"):
        QueueFilter(settings(Delivery.FLOODED), "eth0", server.record()).attach()


@pytest.mark.parametrize("capability", ["net_admin", "net_raw"])
def test_missing_capabilities_are_explained(server, capability):
    said = server.run_without(
        [capability],
        """
from kernel.test_packet_queue import settings
from l2mode.core.verdict import Delivery
from l2mode.kernel.packet_queue import QueueFilter
try:
    QueueFilter(settings(Delivery.DIRECTED), "eth0", record).attach()
except FilterError as error:
    print(error)
""",
    )
    assert "run as root or with the capabilities CAP_NET_ADMIN and CAP_NET_RAW" in said
