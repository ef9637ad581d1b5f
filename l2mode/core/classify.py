"""What becomes of each frame: the specification that every packet filter follows, and that also runs as a filter.

The tests compare the program in the kernel (filter.bpf.c) with this module frame by frame; the filter in user space
runs this module. Both read the same memory (`Tables`).

The filter judges a frame if it is an IP frame to a virtual IP and is addressed to this node's MAC or, in flooded
delivery, to the virtual MAC. A frame to a group MAC is dropped, because several nodes receive it. A frame to any other
MAC belongs to another machine and passes untouched, as does neighbour discovery.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from l2mode.core.cells import NOBODY, PASS_ON, PENDING
from l2mode.core.handover import BucketState
from l2mode.core.hashing import bucket_of_address, bucket_of_datagram, bucket_of_port
from l2mode.core.packets import Content, PacketHeaders, PacketKind, read_content, read_head
from l2mode.core.reasons import Action, Reason
from l2mode.core.settings import By
from l2mode.core.tables import Tables
from l2mode.core.verdict import Delivery, Ownership, Packet, Verdict, judge, under_lease

CHAIN_MARK: Final = 0x02
"The locally administered bit: it is inverted in the first byte of the source MAC of a frame that travels the chain."
_GROUP_BIT: Final = 0x01

_TTL_AT: Final = {4: 22, 6: 21}
_CHECKSUM_AT: Final = 24
_MACS: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A TCP connection to a virtual IP: addresses of 4 or 16 bytes, and ports."""

    client: bytes
    client_port: int
    vip: bytes
    vip_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The decision about one frame, with its reason."""

    reason: Reason
    node: int | None
    "The node that the frame is sent to; None if it is not sent on."
    frame: bytes
    "The frame as it goes on: rewritten if it is sent on, or if a taken frame had to be given this node's MAC."

    @property
    def action(self) -> Action:
        """What becomes of the frame."""
        return self.reason.action


def classify(
    frame: bytes, tables: Tables, *, known: Callable[[Flow], bool], now_ns: int, readdress: bool = False
) -> Decision:
    """Return the decision about a frame that came in.

    `frame` begins with the Ethernet header; any bytes are accepted. `known` returns whether this node has, for a flow,
    a TCP socket that neither listens nor is in TIME_WAIT, or has sent the SYN cookie that the frame answers. `now_ns`
    is CLOCK_MONOTONIC in nanoseconds. `readdress` replaces the destination MAC of a taken frame by this node's MAC, for
    a filter (XDP) that has no other way to tell the network stack that the frame is for this host.
    """
    head = read_head(frame)
    vip = None if head is None else tables.vip(head.destination)
    if head is None or vip is None:
        return Decision(reason=Reason.FOREIGN, node=None, frame=frame)
    verdict = _judge(frame, head, vip, tables, known)
    if verdict.to is not None:
        verdict = _sendable(verdict, frame, head, tables)
    if verdict.action is not Action.PASS:
        verdict = under_lease(verdict, lease_open=now_ns < tables.lease)
    return Decision(reason=verdict.reason, node=verdict.to, frame=_rewritten(frame, head, verdict, tables, readdress))


def client_bucket(content: Content, by: By, seed: bytes) -> int:
    """Return the bucket of a packet in a share group that is divided `by` this criterion."""
    if content.kind is PacketKind.PORTLESS or by is By.ADDRESS:
        return bucket_of_address(seed, content.client)
    # IPv6 has no identification field, so its datagrams are divided by the port.
    if by is By.PORT or len(content.client) > 4:  # noqa: PLR2004 - the size of an IPv4 address
        return bucket_of_port(seed, content.client, content.client_port)
    if content.ip_id is None:
        return bucket_of_address(seed, content.client)
    return bucket_of_datagram(seed, content.client, content.ip_id)


def _judge(frame: bytes, head: PacketHeaders, vip: int, tables: Tables, known: Callable[[Flow], bool]) -> Verdict:
    """Return the verdict on a frame to a virtual IP while the lease runs."""
    delivery = tables.delivery
    to_group = bool(head.to_mac[0] & _GROUP_BIT)
    mine = head.to_mac == tables.own_mac or (delivery is Delivery.FLOODED and head.to_mac == tables.virtual_mac)
    if not (mine or to_group):
        return Verdict(Reason.FOREIGN)
    content = read_content(frame, head)
    if content.kind is PacketKind.NEIGHBOUR_DISCOVERY:
        return Verdict(Reason.NEIGHBOUR_DISCOVERY)
    if to_group:
        return Verdict(Reason.NOT_TO_ONE)
    if content.kind is PacketKind.MALFORMED:
        return Verdict(Reason.MALFORMED)
    group = _group(content, vip, tables)
    if group is None:
        return _judge_unmatched(head, vip, tables)

    def known_here() -> bool:
        return content.asks_for_socket and known(
            Flow(
                client=content.client,
                client_port=content.client_port,
                vip=head.destination,
                vip_port=content.vip_port,
            )
        )

    bucket = client_bucket(content, tables.by(group), tables.seed)
    cell = tables.cell(group, bucket)
    phase = {tables.me: BucketState.MINE, PENDING: BucketState.PENDING}.get(cell, BucketState.OTHER)
    outside = PASS_ON <= cell < NOBODY
    sender, chained = (None, False) if delivery is Delivery.FLOODED else sender_of(head.from_mac, tables)
    return judge(
        Packet(opens=content.opens, known=known_here, sender=sender, chained=chained),
        Ownership(
            me=tables.me,
            phase=phase,
            dirty=tables.dirty,
            dirty_members=tables.dirty_members(bucket),
            owner={NOBODY: None, PENDING: tables.me}.get(cell, cell - PASS_ON if outside else cell),
            outside=outside,
        ),
        delivery,
    )


def _judge_unmatched(head: PacketHeaders, vip: int, tables: Tables) -> Verdict:
    """Return the verdict on a frame that matches no share: the director takes it, or nobody does.

    Clients may still send such frames to a former director, which passes them to the present one. A frame that another
    member has sent is not passed on again.
    """
    director = tables.director(vip) if tables.director_takes_unmatched else None
    if director == tables.me:
        return Verdict(Reason.DIRECTOR_TAKES)
    directed = tables.delivery is Delivery.DIRECTED
    if directed and director is not None and sender_of(head.from_mac, tables).node is None:
        return Verdict(Reason.TO_DIRECTOR, director)
    return Verdict(Reason.UNMATCHED)


class FrameSender(NamedTuple):
    """Who sent a frame."""

    node: int | None
    "The number of the member that sent it; None if no member did."
    chained: bool
    "Whether the frame bears the mark of the chain."


def sender_of(mac: bytes, tables: Tables) -> FrameSender:
    """Return who sent a frame, by its source MAC."""
    marked = bytes([mac[0] ^ CHAIN_MARK]) + mac[1:]
    by_mark = None
    for node, its in tables.macs():
        if its == mac:
            return FrameSender(node, chained=False)
        if its == marked and by_mark is None:
            by_mark = node
    return FrameSender(by_mark, chained=by_mark is not None)


def _group(content: Content, vip: int, tables: Tables) -> int | None:
    if content.kind is PacketKind.PORTLESS:
        return tables.fallback_group(vip, content.protocol)
    if content.kind is PacketKind.FLOW and content.protocol is not None:
        return tables.group(vip, content.protocol, content.vip_port)
    return None


def _sendable(verdict: Verdict, frame: bytes, head: PacketHeaders, tables: Tables) -> Verdict:
    """Return the verdict unchanged if the frame can be sent to the node `verdict.to`, or else one that drops it."""
    if verdict.to is None or tables.mac(verdict.to) is None:
        return Verdict(Reason.NO_MAC)
    if frame[_TTL_AT[head.version]] <= 1:
        return Verdict(Reason.TTL_OVER)
    return verdict


def _rewritten(frame: bytes, head: PacketHeaders, verdict: Verdict, tables: Tables, readdress: bool) -> bytes:
    own = tables.own_mac
    if verdict.to is None:
        taken = verdict.action in (Action.TAKE, Action.RESET)
        return own + frame[6:] if readdress and taken else frame
    if verdict.action is Action.CHAIN:
        own = bytes([own[0] ^ CHAIN_MARK]) + own[1:]
    ttl = _TTL_AT[head.version]
    changed = bytearray(frame)
    changed[:_MACS] = (tables.mac(verdict.to) or b"") + own
    changed[ttl] -= 1
    if head.version == 4:  # noqa: PLR2004 - IPv4
        _correct_checksum(changed, before=int.from_bytes(frame[ttl : ttl + 2]))
    return bytes(changed)


def _correct_checksum(changed: bytearray, *, before: int) -> None:
    """Update the checksum of an IPv4 header after a change of the word that holds the time to live.

    The formula is equation 3 of RFC 1624. `before` is that word before the change.
    """
    at = _TTL_AT[4]
    checksum = int.from_bytes(changed[_CHECKSUM_AT : _CHECKSUM_AT + 2])
    total = (checksum ^ 0xFFFF) + (before ^ 0xFFFF) + int.from_bytes(changed[at : at + 2])
    while total > 0xFFFF:  # noqa: PLR2004 - 16 bits
        total = (total & 0xFFFF) + (total >> 16)
    changed[_CHECKSUM_AT : _CHECKSUM_AT + 2] = (total ^ 0xFFFF).to_bytes(2)
