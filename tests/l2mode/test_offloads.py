"""What is said to be left to do to a packet that is sent on (struct virtio_net_hdr)."""

import struct

import pytest

from l2mode.core.offloads import NOTHING_TO_DO, work_left

CLIENT4, VIP4 = bytes([203, 0, 113, 7]), bytes([192, 0, 2, 50])
CLIENT6, VIP6 = bytes.fromhex("20010db8000c" + "00" * 10), bytes.fromhex("20010db8" + "00" * 12)
TCP, UDP, ICMP, ROUTING = 6, 17, 1, 43
ACK, CWR = 0x10, 0x80


def ipv4(payload, protocol=TCP, *, fragment=0, options=b""):
    words = 5 + len(options) // 4
    header = struct.pack("!BBHHHBBH", 0x40 | words, 0, 0, 1, fragment, 64, protocol, 0)
    return bytes(12) + b"\x08\x00" + header + CLIENT4 + VIP4 + options + payload


def ipv6(payload, following=TCP):
    return (
        bytes(12) + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(payload), following, 64) + CLIENT6 + VIP6 + payload
    )


def tcp(flags=ACK, options=b""):
    return struct.pack("!HHIIBBHHH", 40000, 80, 1, 1, (5 + len(options) // 4) << 4, flags, 1000, 0, 0) + options


def udp():
    return struct.pack("!HHHH", 40000, 53, 8, 0)


def left(frame, *, length=60_000, partial=True, merged=True, mtu=1500):
    header = work_left(frame, length=length, partial=partial, merged=merged, mtu=mtu)
    return header and struct.unpack("=BBHHHH", header)


def test_nothing_is_left_to_do_to_a_packet_that_the_kernel_has_finished():
    assert work_left(ipv4(tcp()), length=1514, partial=False, merged=False, mtu=1500) == NOTHING_TO_DO == bytes(10)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        # flags, kind, all headers, segment, where the checksum begins, where it is written
        (ipv4(tcp()), (1, 1, 54, 1460, 34, 16)),
        (ipv4(tcp(options=bytes(12))), (1, 1, 66, 1448, 34, 16)),
        (ipv4(tcp(), options=bytes(8)), (1, 1, 62, 1452, 42, 16)),
        (ipv4(tcp(flags=ACK | CWR)), (1, 0x81, 54, 1460, 34, 16)),
        (ipv6(tcp()), (1, 4, 74, 1440, 54, 16)),
        (ipv6(bytes([TCP, 0]) + bytes(6) + tcp(), ROUTING), (1, 4, 82, 1432, 62, 16)),
    ],
    ids=["IPv4", "TCP options", "IPv4 options", "CWR", "IPv6", "an IPv6 extension"],
)
def test_merged_segments_are_to_be_parted_so_that_they_fit_and_their_checksums_completed(frame, expected):
    assert left(frame) == expected


def test_merged_segments_that_fit_into_one_need_no_parting():
    assert left(ipv4(tcp()), length=14 + 1500) == (1, 0, 54, 0, 34, 16)
    assert left(ipv4(tcp()), length=14 + 1501) == (1, 1, 54, 1460, 34, 16)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (ipv4(tcp()), (1, 0, 34, 0, 34, 16)),
        (ipv4(udp(), UDP), (1, 0, 34, 0, 34, 6)),
        (ipv6(udp(), UDP), (1, 0, 54, 0, 54, 6)),
    ],
    ids=["TCP", "UDP", "IPv6"],
)
def test_the_checksum_of_a_single_packet_is_to_be_completed(frame, expected):
    assert left(frame, length=60, merged=False) == expected


@pytest.mark.parametrize(
    "frame",
    [
        ipv4(udp(), UDP),
        ipv4(bytes(8), ICMP),
        ipv4(bytes([3, 4]) + bytes(6) + ipv4(tcp())[14:], ICMP),
        ipv4(tcp(), fragment=0x2000),
        bytes(60),
    ],
    ids=["merged datagrams", "ICMP", "an error of ICMP", "a fragment", "no IP"],
)
def test_what_cannot_be_told_is_left_to_the_kernel(frame):
    assert left(frame) is None


def test_segments_whose_checksum_is_complete_are_left_to_the_kernel():
    assert left(ipv4(tcp()), partial=False) is None


def test_an_mtu_that_headers_fill_is_left_to_the_kernel():
    assert left(ipv4(tcp()), mtu=40) is None
