"""Which connections count, by real sockets of a namespace: IPv4, IPv6, and IPv4 of a listener on [::]."""

import contextlib
import socket
import struct
from ipaddress import ip_address

import pytest
from daemons import wait_for
from lan import namespaces
from lan.namespaces import configure, inside, set_kernel, unique_prefix

from l2mode.core.classify import Flow
from l2mode.core.hashing import bucket_of_address, bucket_of_port
from l2mode.core.settings import By, LayerTwoSettings, Protocol, ShareGroup
from l2mode.kernel.sockets import KnownSockets, held_buckets

SEED = bytes(range(16))
VIP = {4: "192.0.2.50", 6: "2001:db8::50"}
CLIENT = {4: "198.51.100.7", 6: "2001:db8:c::7"}
SILENT = {4: "203.0.113.9", 6: "2001:db8:d::9"}
"A client behind the wire, who never answers."
PORT = 8080
SYN, RST = 0x02, 0x04


@pytest.fixture(scope="module")
def server():
    """A namespace with the virtual IPs and the clients' addresses, and a wire on which nobody answers."""
    prefix = unique_prefix()
    name, wire = prefix + "server", prefix + "wire"
    with namespaces.made([name, wire]):
        set_kernel(name, {"ipv6/conf/all/accept_dad": 0, "ipv6/conf/default/accept_dad": 0, "ipv6/ip_nonlocal_bind": 1})
        configure(
            name,
            [
                "link set lo up",
                *(f"addr add {VIP[version]}/{size} dev lo" for version, size in ((4, 32), (6, 128))),
                "route add local 198.51.100.0/24 dev lo",
                "route add local 2001:db8:c::/64 dev lo",
                f"link add eth0 address 02:00:00:00:00:01 type veth peer name eth0 netns {wire}",
                "link set eth0 up",
                "route add 203.0.113.0/24 dev eth0",
                "route add 2001:db8:d::/64 dev eth0",
                *(f"neigh add {address} lladdr 02:00:00:00:00:02 dev eth0" for address in SILENT.values()),
            ],
        )
        configure(wire, ["link set eth0 up"])
        yield name, wire


@pytest.fixture
def own(server):
    """Be in the server's namespace."""
    with inside(server[0]):
        yield


def settings(*groups):
    groups = groups or (group(),)
    vips = tuple(map(ip_address, VIP.values()))
    return LayerTwoSettings(farm="apache", me="a", nodes=("a",), vips=vips, groups=groups, seed=SEED)


def group(*, ports=(PORT,), by=By.ADDRESS, **more):
    return ShareGroup(name="APACHE", protocol=more.pop("protocol", Protocol.TCP), ports=ports, by=by, **more)


def listener(version, *, port=PORT, dual=False):
    """Listen on the virtual IP, or for both families on [::]."""
    if dual:
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=4096)
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return socket.create_server((VIP[version], port), family=family, backlog=4096)


@contextlib.contextmanager
def connection(version, *, port=PORT, dual=False, client=None):
    """Give the client's end, the server's end and the flow of a connection."""
    with listener(version, port=port, dual=dual) as listening:
        source = (client or CLIENT[version], 0)
        with socket.create_connection((VIP[version], port), source_address=source) as ours:
            theirs, _ = listening.accept()
            with theirs:
                yield ours, theirs, flow_of(ours)


def flow_of(client):
    """The flow of a connection by its client's end."""
    here, there = client.getsockname(), client.getpeername()
    return Flow(
        client=ip_address(here[0]).packed, client_port=here[1], vip=ip_address(there[0]).packed, vip_port=there[1]
    )


def known(flow, **more):
    with contextlib.closing(KnownSockets(**more)) as sockets:
        return sockets.known(flow)


def mask(*buckets):
    return sum(1 << bucket for bucket in set(buckets))


def client_bucket(address):
    return bucket_of_address(SEED, ip_address(address).packed)


every_kind = pytest.mark.parametrize(
    ("version", "dual"), [(4, False), (6, False), (4, True), (6, True)], ids=["IPv4", "IPv6", "mapped", "IPv6 on [::]"]
)


@every_kind
def test_an_established_connection_is_known_and_holds_its_bucket(own, version, dual):
    with connection(version, dual=dual) as (_, _, flow):
        assert known(flow)
        assert held_buckets(settings()) == [mask(client_bucket(CLIENT[version]))]


@every_kind
def test_a_listener_alone_is_no_connection(own, version, dual):
    with listener(version, dual=dual):
        asked = Flow(
            client=ip_address(CLIENT[version]).packed,
            client_port=5555,
            vip=ip_address(VIP[version]).packed,
            vip_port=PORT,
        )
        assert not known(asked)
        assert held_buckets(settings()) == [0]


def test_another_clients_port_is_another_flow(own):
    with connection(4) as (_, _, flow):
        other = Flow(client=flow.client, client_port=flow.client_port ^ 1, vip=flow.vip, vip_port=flow.vip_port)
        assert not known(other)


@every_kind
def test_a_connection_that_the_client_has_half_closed_still_counts(own, version, dual):
    with connection(version, dual=dual) as (ours, theirs, flow):
        ours.shutdown(socket.SHUT_WR)
        assert theirs.recv(1) == b""
        assert known(flow)
        assert held_buckets(settings()) == [mask(client_bucket(CLIENT[version]))]


@every_kind
def test_time_wait_does_not_count(own, version, dual):
    with connection(version, dual=dual) as (ours, theirs, flow):
        theirs.close()
        assert ours.recv(1) == b""
        ours.close()
        wait_for(lambda: not known(flow), what="the end of the connection")
        assert held_buckets(settings()) == [0]


@every_kind
def test_what_remains_when_the_server_has_closed_and_owes_nothing_does_not_count(own, version, dual):
    with connection(version, dual=dual) as (ours, theirs, flow):
        theirs.close()
        assert ours.recv(1) == b""
        wait_for(lambda: not known(flow), what="the end of the connection")
        assert held_buckets(settings()) == [0]


def test_what_the_server_still_owes_counts_although_it_has_closed(own):
    with connection(4) as (_, theirs, flow):
        theirs.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                theirs.send(bytes(65536))
        theirs.close()
        assert known(flow)
        assert held_buckets(settings()) == [mask(client_bucket(CLIENT[4]))]


@every_kind
def test_a_closed_connection_is_gone(own, version, dual):
    with connection(version, dual=dual) as (ours, theirs, flow):
        ours.close()
        assert theirs.recv(1) == b""
        theirs.close()
        wait_for(lambda: not known(flow), what="the end of the connection")
        assert held_buckets(settings()) == [0]


@every_kind
def test_a_handshake_that_the_client_has_not_completed_counts(server, own, version, dual):
    with listener(version, dual=dual), handshake(server, version) as flow:
        wait_for(lambda: known(flow), what="the handshake")
        assert held_buckets(settings()) == [mask(client_bucket(SILENT[version]))]


def test_a_socket_bound_to_the_interface_is_known_to_packets_of_that_interface(server, own):
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((VIP[4], PORT))
        listening.listen()
        with handshake(server, 4) as flow:
            wait_for(lambda: known(flow, interface=socket.if_nametoindex("eth0")), what="the handshake")
            assert not known(flow, interface=socket.if_nametoindex("lo"))


@contextlib.contextmanager
def handshake(server, version):
    """Let a silent client ask for a connection; it takes that back at the end."""
    flow = Flow(
        client=ip_address(SILENT[version]).packed, client_port=5555, vip=ip_address(VIP[version]).packed, vip_port=PORT
    )
    with inside(server[1]):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        wire.bind(("eth0", 0))
    with wire:
        wire.send(segment(flow, sequence=1, flags=SYN))
        yield flow
        wire.send(segment(flow, sequence=2, flags=RST))
        wait_for(lambda: not known(flow), what="the end of the handshake")


def test_a_group_by_port_holds_the_bucket_of_address_and_port(own):
    with connection(6, dual=True) as (_, _, six), connection_to_the_same(4) as four:
        expected = mask(*(bucket_of_port(SEED, flow.client, flow.client_port) for flow in (six, four)))
        assert held_buckets(settings(group(by=By.PORT))) == [expected]


@contextlib.contextmanager
def connection_to_the_same(version):
    """Connect to a listener that is there already."""
    with socket.create_connection((VIP[version], PORT), source_address=(CLIENT[version], 0)) as ours:
        yield flow_of(ours)


def test_each_group_holds_the_connections_to_its_own_ports_and_address(own):
    groups = (
        group(ports=(PORT,)),
        group(ports=(PORT, 8443)),
        group(ports=(8081,), vip=ip_address(VIP[6])),
        group(ports=(8082,), protocol=Protocol.UDP),
    )
    with connection(4), connection(4, port=8443, client="198.51.100.8"), connection(4, port=8081), connection(6):
        assert held_buckets(settings(*groups)) == [
            mask(client_bucket(CLIENT[4]), client_bucket(CLIENT[6])),
            mask(client_bucket("198.51.100.8")),
            0,
            0,
        ]


def test_connections_to_other_addresses_and_ports_do_not_count(own):
    with connection(4, port=9999), loopback_connection():
        assert held_buckets(settings()) == [0]


def test_connections_from_a_virtual_ip_to_such_a_port_elsewhere_do_not_count(own):
    with loopback_connection(source=(VIP[4], 0)):
        assert held_buckets(settings()) == [0]


@contextlib.contextmanager
def loopback_connection(source=None):
    """Connect to the same port of an address that is not virtual."""
    with (
        socket.create_server(("127.0.0.1", PORT)) as listening,
        socket.create_connection(("127.0.0.1", PORT), source_address=source),
        contextlib.closing(listening.accept()[0]),
    ):
        yield


def test_a_look_finds_all_of_many_connections(own):
    clients = [f"198.51.100.{number}" for number in range(1, 255)] * 4
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(listener(4, dual=True))
        for client in clients:
            stack.enter_context(socket.create_connection((VIP[4], PORT), source_address=(client, 0)))
            stack.enter_context(listening.accept()[0])
        assert held_buckets(settings()) == [mask(*map(client_bucket, clients))]


def test_many_virtual_ips_fit_into_one_look(own):
    vips = [ip_address(f"203.0.113.{number}") for number in range(31)]
    vips += [ip_address(f"2001:db8:e::{number:x}") for number in range(31)]
    vips[15:15] = [ip_address(VIP[4])]
    vips += [ip_address(VIP[6])]
    many = LayerTwoSettings(farm="apache", me="a", nodes=("a",), vips=tuple(vips), groups=(group(),), seed=SEED)
    with connection(4), connection(6):
        assert held_buckets(many) == [mask(*map(client_bucket, CLIENT.values()))]


def segment(flow, *, sequence, flags):
    """A frame with a segment of the flow, without data."""
    four = len(flow.vip) == 4
    pseudo = struct.pack("!HH" if four else "!II", *((6, 20) if four else (20, 6)))
    tcp = struct.pack("!HHIIBBHHH", flow.client_port, flow.vip_port, sequence, 0, 0x50, flags, 1024, 0, 0)
    tcp = put(tcp, 16, checksum(flow.client + flow.vip + pseudo + tcp))
    if four:
        header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 1, 0, 64, 6, 0, flow.client, flow.vip)
        packet = b"\x08\x00" + put(header, 10, checksum(header)) + tcp
    else:
        packet = b"\x86\xdd" + struct.pack("!IHBB16s16s", 0x60000000, 20, 6, 64, flow.client, flow.vip) + tcp
    return bytes.fromhex("020000000001020000000002") + packet


def put(data, at, number):
    return data[:at] + number.to_bytes(2) + data[at + 2 :]


def checksum(data):
    """The Internet checksum (RFC 1071)."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
