"""ARP and neighbour discovery: literal frames as other machines send them, and whatever a hostile one might."""

import dataclasses
import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2mode.core.frames import (
    AddressClaim,
    AddressQuestion,
    announcement,
    answer,
    correction,
    multicast_mac,
    parse,
    question,
    solicited_node,
    virtual_mac,
)
from l2mode.core.settings import LayerTwoSettings

CLIENT = bytes.fromhex("020000000001")
WEB1 = bytes.fromhex("02000000000b")
WEB2 = bytes.fromhex("02000000000c")
VIP, VIP6 = IPv4Address("192.0.2.50"), IPv6Address("2001:db8::50")
PEER, PEER6 = IPv4Address("192.0.2.1"), IPv6Address("2001:db8::1")

# Captured with tcpdump from Linux 6.18; the ARP request padded as Ethernet pads it on a wire.
ARP_REQUEST = bytes.fromhex(
    "ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 c0000201 000000000000 c0000232" + "00" * 18
)
ARP_REPLY = bytes.fromhex(
    "020000000001 02000000000b 0806 0001 0800 06 04 0002 02000000000b c0000232 020000000001 c0000201"
)
SOLICITATION = bytes.fromhex(
    "3333ff000050 020000000001 86dd 60000000 0020 3a ff 20010db8000000000000000000000001"
    "ff0200000000000000000001ff000050 87 00 1b8b 00000000 20010db8000000000000000000000050 01 01 020000000001"
)
ADVERTISEMENT = bytes.fromhex(
    "020000000001 02000000000b 86dd 60000000 0020 3a ff 20010db8000000000000000000000050"
    "20010db8000000000000000000000001 88 00 89cc 60000000 20010db8000000000000000000000050 02 01 02000000000b"
)

macs = st.binary(min_size=6, max_size=6).map(lambda mac: bytes([mac[0] & 0xFE | 2]) + mac[1:])
families = st.sampled_from([(VIP, PEER), (VIP6, PEER6)])


def settings(farm="apache", vips=(VIP, VIP6), me="web1"):
    return LayerTwoSettings(farm=farm, me=me, nodes=("web1", "web2"), vips=vips, groups=(), seed=bytes(16))


def test_an_arp_request_is_a_question():
    assert parse(ARP_REQUEST) == AddressQuestion(target=VIP, asker=PEER, asker_mac=CLIENT, destination_mac=b"\xff" * 6)


def test_an_arp_reply_is_a_claim():
    assert parse(ARP_REPLY) == AddressClaim(address=VIP, mac=WEB1, source_mac=WEB1)


def test_a_neighbour_solicitation_is_a_question():
    asked = AddressQuestion(target=VIP6, asker=PEER6, asker_mac=CLIENT, destination_mac=bytes.fromhex("3333ff000050"))
    assert parse(SOLICITATION) == asked


def test_questions_are_built_as_other_machines_build_them():
    assert question(source_mac=CLIENT, asker=PEER, target=VIP) == ARP_REQUEST[:42]
    assert question(source_mac=CLIENT, asker=PEER6, target=VIP6) == SOLICITATION


@pytest.mark.parametrize(("asked", "answered"), [(ARP_REQUEST, ARP_REPLY), (SOLICITATION, ADVERTISEMENT)])
def test_answers_are_built_as_other_machines_build_them(asked, answered):
    assert answer(parse(asked), mac=WEB1, source_mac=WEB1) == answered


def test_an_announcement_has_the_form_of_a_request_for_the_address_itself():
    frame = announcement(VIP, mac=WEB1, source_mac=WEB2)
    assert frame[:14] == b"\xff" * 6 + WEB2 + b"\x08\x06"
    assert frame[20:22] == b"\0\1"
    assert frame[22:] == WEB1 + VIP.packed + bytes(6) + VIP.packed
    assert parse(frame) == AddressClaim(address=VIP, mac=WEB1, source_mac=WEB2, to_all=True)


def test_an_unsolicited_advertisement_overrides_and_goes_to_all_nodes():
    frame = announcement(VIP6, mac=WEB1, source_mac=WEB2)
    assert frame[:6] == bytes.fromhex("333300000001")
    assert frame[38:54] == IPv6Address("ff02::1").packed
    assert frame[58:62] == bytes.fromhex("20000000")
    assert parse(frame) == AddressClaim(address=VIP6, mac=WEB1, source_mac=WEB2, to_all=True)


def test_one_node_may_answer_for_another():
    for asked, vip in ((ARP_REQUEST, VIP), (SOLICITATION, VIP6)):
        frame = answer(parse(asked), mac=WEB1, source_mac=WEB2)
        assert frame[:12] == CLIENT + WEB2
        assert parse(frame) == AddressClaim(address=vip, mac=WEB1, source_mac=WEB2)


@pytest.mark.parametrize(("vip", "to"), [(VIP, CLIENT), (VIP6, bytes.fromhex("333300000001"))])
def test_one_who_has_no_address_yet_is_answered_where_it_listens(vip, to):
    probe = parse(question(source_mac=CLIENT, asker=None, target=vip))
    assert probe.asker is None
    frame = answer(probe, mac=WEB1, source_mac=WEB1)
    assert frame[:6] == to
    assert parse(frame) == AddressClaim(address=vip, mac=WEB1, source_mac=WEB1, to_all=bool(to[0] & 1))


def test_an_advertisement_of_one_who_speaks_for_another_is_no_claim():
    frame = bytearray(announcement(VIP6, mac=WEB1, source_mac=WEB1))
    # Without the override flag, and the checksum that goes with that (RFC 1624: one bit less in the sum).
    frame[58] &= ~0x20
    checksum = int.from_bytes(frame[56:58]) + 0x2000
    frame[56:58] = (checksum + (checksum >> 16) & 0xFFFF).to_bytes(2)
    assert parse(bytes(frame)) is None
    frame[58] |= 0x20
    frame[56:58] = announcement(VIP6, mac=WEB1, source_mac=WEB1)[56:58]
    assert parse(bytes(frame)) is not None


def test_who_has_another_mac_cached_gets_an_announcement_of_its_own_before_the_arp_reply():
    first, reply = correction(parse(ARP_REQUEST), mac=WEB1, source_mac=WEB2)
    assert first == CLIENT + announcement(VIP, mac=WEB1, source_mac=WEB2)[6:]
    assert reply == answer(parse(ARP_REQUEST), mac=WEB1, source_mac=WEB2)


def test_an_advertisement_overrides_what_is_cached_by_itself():
    asked = parse(SOLICITATION)
    assert correction(asked, mac=WEB1, source_mac=WEB2) == [answer(asked, mac=WEB1, source_mac=WEB2)]


def test_the_group_of_an_address_ends_in_its_last_24_bits():
    group = solicited_node(IPv6Address("2001:db8::12:3456"))
    assert group == IPv6Address("ff02::1:ff12:3456")
    assert multicast_mac(group) == bytes.fromhex("3333ff123456")


@pytest.mark.parametrize("other", [{"vips": (VIP6, VIP)}, {"vips": (VIP,)}, {"me": "web2"}])
def test_the_virtual_mac_is_the_same_on_every_node_whichever_virtual_ips_there_are(other):
    assert virtual_mac(settings()) == virtual_mac(settings(**other))


def test_the_virtual_mac_is_another_for_another_farm():
    assert virtual_mac(settings()) != virtual_mac(settings(farm="apache2"))


def test_the_virtual_mac_is_unicast_and_locally_administered():
    assert virtual_mac(settings())[0] == 0x0A


@given(families, macs, macs, macs)
def test_what_is_built_is_read_back(ends, asker_mac, mac, source_mac):
    target, asker = ends
    asked = parse(question(source_mac=asker_mac, asker=asker, target=target))
    assert (asked.target, asked.asker, asked.asker_mac) == (target, asker, asker_mac)
    claim = AddressClaim(address=target, mac=mac, source_mac=source_mac)
    assert parse(answer(asked, mac=mac, source_mac=source_mac)) == claim
    announced = parse(announcement(target, mac=mac, source_mac=source_mac))
    assert announced == dataclasses.replace(claim, to_all=True)


# -- what a conforming host ignores -------------------------------------------------------------------------------


def with_bytes(frame, offset, new):
    return frame[:offset] + new + frame[offset + len(new) :]


def summed(frame):
    """The frame with its ICMPv6 checksum put right, word by word as RFC 1071 says."""
    message = with_bytes(frame[54:], 2, b"\0\0")
    covered = frame[22:54] + struct.pack("!II", len(message), 58) + message + b"\0" * (len(message) % 2)
    total = sum(struct.unpack(f"!{len(covered) // 2}H", covered))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return with_bytes(frame, 56, (total ^ 0xFFFF).to_bytes(2, "big"))


PROBE6 = question(source_mac=CLIENT, asker=None, target=VIP6)
GROUP = IPv6Address("ff02::1").packed

IGNORED = [
    ("a frame from a group", with_bytes(ARP_REQUEST, 6, b"\xff" * 6)),
    ("a frame from nobody", with_bytes(ARP_REQUEST, 6, bytes(6))),
    ("an asker's MAC that is a group", with_bytes(ARP_REQUEST, 22, b"\xff" * 6)),
    ("an asker's MAC that is nobody's", with_bytes(ARP_REQUEST, 22, bytes(6))),
    ("ARP over something else than Ethernet", with_bytes(ARP_REQUEST, 14, b"\0\6")),
    ("ARP for something else than IPv4", with_bytes(ARP_REQUEST, 16, b"\x86\xdd")),
    ("ARP with long addresses", with_bytes(ARP_REQUEST, 18, b"\x08")),
    ("inverse ARP", with_bytes(ARP_REQUEST, 20, b"\0\x08")),
    ("another protocol", with_bytes(ARP_REQUEST, 12, b"\x08\0")),
    ("a solicitation that a router passed on", with_bytes(SOLICITATION, 21, b"\xfe")),
    ("a solicitation behind another header", with_bytes(SOLICITATION, 20, b"\x00")),
    ("a damaged checksum", with_bytes(SOLICITATION, 56, b"\x1b\x8c")),
    ("another code", summed(with_bytes(SOLICITATION, 55, b"\1"))),
    ("an echo request", summed(with_bytes(SOLICITATION, 54, b"\x80"))),
    ("a redirect", summed(with_bytes(SOLICITATION, 54, b"\x89"))),
    ("a group as target", summed(with_bytes(SOLICITATION, 62, GROUP))),
    ("a group as sender", summed(with_bytes(SOLICITATION, 22, GROUP))),
    ("an option without length", summed(with_bytes(SOLICITATION, 79, b"\0"))),
    ("an option longer than the message", summed(with_bytes(SOLICITATION, 79, b"\2"))),
    ("an asker's group MAC in the option", summed(with_bytes(SOLICITATION, 80, b"\x33"))),
    ("half an option", summed(with_bytes(SOLICITATION + b"\1", 19, b"\x21"))),
    ("a MAC of 14 bytes", summed(with_bytes(with_bytes(SOLICITATION + bytes(8), 19, b"\x28"), 79, b"\2"))),
    ("a length beyond the frame", with_bytes(SOLICITATION, 19, b"\x28")),
    ("a length too short for a message", with_bytes(SOLICITATION, 19, b"\x10")),
    ("a probe with a source MAC", summed(with_bytes(SOLICITATION, 22, bytes(16)))),
    ("a probe sent to one node", summed(with_bytes(PROBE6, 38, PEER6.packed))),
    ("a solicited advertisement to a group", summed(with_bytes(ADVERTISEMENT, 38, GROUP))),
]


@pytest.mark.parametrize("frame", [frame for _, frame in IGNORED], ids=[name for name, _ in IGNORED])
def test_what_breaks_the_rules_is_ignored(frame):
    assert parse(frame) is None


def test_the_frames_that_are_changed_above_are_good_as_they_are():
    for frame in (ARP_REQUEST, SOLICITATION, ADVERTISEMENT, PROBE6):
        assert parse(frame) is not None
    for frame in (SOLICITATION, ADVERTISEMENT, PROBE6):
        assert summed(frame) == frame


def test_options_of_other_kinds_are_passed_over():
    nonce = bytes.fromhex("0e01 010203040506")
    assert parse(summed(with_bytes(SOLICITATION + nonce, 19, b"\x28"))) == parse(SOLICITATION)
    assert parse(summed(with_bytes(SOLICITATION[:78] + nonce + SOLICITATION[78:], 19, b"\x28"))) == parse(SOLICITATION)


def test_a_solicitation_without_its_option_is_answered_to_the_source_of_the_frame():
    bare = summed(with_bytes(SOLICITATION[:78], 19, b"\x18"))
    assert parse(bare) == parse(SOLICITATION)


def test_padding_behind_the_message_does_not_matter():
    assert parse(SOLICITATION + bytes(10)) == parse(SOLICITATION)


@pytest.mark.parametrize("frame", [ARP_REQUEST[:42], ARP_REPLY, SOLICITATION, ADVERTISEMENT])
def test_no_shortened_frame_is_read(frame):
    assert [length for length in range(len(frame)) if parse(frame[:length]) is not None] == []


@given(st.binary(max_size=200))
def test_no_bytes_raise(frame):
    parse(frame)


@given(
    st.sampled_from([ARP_REQUEST, ARP_REPLY, SOLICITATION, ADVERTISEMENT, PROBE6]),
    st.lists(st.tuples(st.integers(0, 85), st.binary(min_size=1, max_size=4)), max_size=6),
    st.integers(0, 100),
)
def test_no_spoiled_frame_raises_or_names_a_group(frame, changes, length):
    for offset, new in changes:
        frame = with_bytes(frame, offset, new)
    if frame[12:14] == b"\x86\xdd" and len(frame) > 57:
        frame = summed(frame)
    heard = parse(frame[:length])
    if isinstance(heard, AddressQuestion):
        assert not heard.asker_mac[0] & 1
    if isinstance(heard, AddressClaim):
        assert not heard.mac[0] & 1


@given(st.ip_addresses(v=6), st.ip_addresses(v=6), macs)
def test_checksums_agree_with_the_definition(target, asker, mac):
    frame = question(source_mac=mac, asker=asker, target=target)
    assert summed(frame) == frame
