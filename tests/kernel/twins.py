"""The program in the kernel beside its specification: the same tables, the same frames, and what differs."""

import errno
import time
from dataclasses import dataclass
from ipaddress import ip_address

from kernel.odd_frames import OddFrames, Places

from l2mode.core.buckets import BUCKETS
from l2mode.core.cells import ANYWHERE, NOBODY, PASS_ON, PENDING
from l2mode.core.classify import CHAIN_MARK, Flow, classify
from l2mode.core.reasons import REASONS, Action
from l2mode.core.settings import By, LayerTwoSettings, Protocol, ShareGroup, Unmatched
from l2mode.core.tables import Tables
from l2mode.core.verdict import Delivery

SAID_BY_TC, SAID_BY_XDP = "said_by_tc", "said_by_xdp"
ACTIONS = tuple(Action)

WEB4, WEB6, DNS4, DNS6 = (ip_address(text) for text in ("192.0.2.50", "2001:db8::50", "192.0.2.51", "2001:db8:0:1::51"))
VIPS = (WEB4, WEB6, DNS4, DNS6)
NODES = tuple(f"web{number}" for number in range(1, 6))
GROUPS = (
    ShareGroup(name="WEB", protocol=Protocol.TCP, ports=(80, 443)),
    ShareGroup(name="DNS4", protocol=Protocol.UDP, ports=(53, 5353), vip=DNS4, by=By.DATAGRAM),
    ShareGroup(name="DNS6", protocol=Protocol.UDP, ports=(53,), vip=DNS6, by=By.DATAGRAM),
    ShareGroup(name="SHELL", protocol=Protocol.TCP, ports=(22, 2222), by=By.PORT),
    ShareGroup(name="VOICE", protocol=Protocol.UDP, ports=(5060,), vip=WEB4, by=By.PORT),
    ShareGroup(name="ODD", protocol=Protocol.TCP, ports=(53,), vip=DNS4, by=By.DATAGRAM),
)
PORTS = (80, 80, 443, 443, 22, 2222, 53, 53, 5353, 5060, 81, 0, 65535)
CLIENTS = tuple(
    ip_address(text).packed
    for text in ("203.0.113.7", "203.0.113.8", "198.51.100.1", "2001:db8:7::7", "2001:db8:8::8", "2001:db8:7::9")
)
STRANGERS = tuple(ip_address(text).packed for text in ("192.0.2.52", "224.0.0.1", "2001:db8::51", "ff02::1"))
VIRTUAL_MAC = bytes.fromhex("0a1122334455")
OWN_MAC = bytes.fromhex("025500000003")
# The last two differ only by the mark.
MACS = tuple(bytes.fromhex(text) for text in ("025500000001", "005056000002", "", "025500000004", "005500000004"))
CLIENT_MAC, ROUTER_MAC, OTHER_MAC = (bytes.fromhex(t) for t in ("525400000001", "00005e000101", "025500000009"))


@dataclass(frozen=True)
class Difference:
    """Where the program does not do what the specification says."""

    entry: str
    frame: bytes
    program: tuple
    specification: tuple
    tables: str

    def __str__(self):
        action, reason, node, changed = self.program
        wanted_action, wanted, wanted_node, wanted_frame = self.specification
        return (
            f"{self.entry} does {action.name} for {reason.name} to {node}, "
            f"the specification {wanted_action.name} for {wanted.name} to {wanted_node}\n{self.tables}\n"
            f"frame         {self.frame.hex()}\nprogram       {changed.hex()}\nspecification {wanted_frame.hex()}"
        )


class Twins:
    """The program `loaded` and the specification; `alive` are the TCP flows that have a socket, `idle` others."""

    def __init__(self, loaded, *, alive=(), idle=()):
        self._loaded = loaded
        self.tables = Tables(loaded.memory)
        self._known = frozenset(alive)
        self._flows = tuple((flow.client, flow.client_port, flow.vip, flow.vip_port) for flow in (*alive, *idle))
        self.reasons = dict.fromkeys(REASONS, 0)
        "How often the specification gave each."
        self.refused = 0
        "Frames that the kernel does not run a program on: they are too short."

    def shuffle(self, random):
        """Write tables as they may be at some moment, and give what makes frames for them."""
        me = random.randrange(len(NODES))
        delivery = random.choice(tuple(Delivery))
        self.tables.configure(
            LayerTwoSettings(
                farm="apache",
                me=NODES[me],
                nodes=NODES,
                vips=VIPS,
                groups=GROUPS if random.random() < 0.9 else GROUPS[1:3],
                seed=random.randbytes(16),
                delivery=delivery,
                unmatched=random.choice(tuple(Unmatched)),
            ),
            VIRTUAL_MAC if delivery is Delivery.FLOODED else b"",
        )
        macs = {node: mac for node, mac in enumerate(MACS) if mac and node != me}
        self.tables.set_macs(OWN_MAC, macs)
        for _ in range(random.choice((1, 2))):
            some = [random.getrandbits(BUCKETS), random.getrandbits(BUCKETS) & random.getrandbits(BUCKETS), ANYWHERE]
            self.dirty_beside = beside = {
                node: random.choice(some) for node in range(len(NODES)) if random.random() < 0.3
            }
            self.tables.set_dirty(me=random.random() < 0.5, members=beside)
        others = [PASS_ON + node for node in range(len(NODES)) if node != me]
        # A node is in the view or out of it, with all of its buckets.
        owners = random.choice(([me, me, PENDING, NOBODY, *range(len(NODES))],) * 4 + ([*others, NOBODY],))
        for _ in range(random.choice((1, 2))):
            cells = [bytes(random.choices(owners, k=BUCKETS)) for _ in GROUPS]
            self.tables.swap(cells, [random.choice([*range(len(NODES)), me, NOBODY]) for _ in VIPS])
        if random.random() < 0.85:
            self.tables.set_lease(time.monotonic_ns() + 3_600_000_000_000)
        marked = tuple(bytes([mac[0] ^ CHAIN_MARK]) + mac[1:] for mac in macs.values())
        return OddFrames(
            random,
            Places(
                to_macs=(OWN_MAC,) * 16 + (VIRTUAL_MAC,) * (16 if delivery is Delivery.FLOODED else 1) + (OTHER_MAC,),
                from_macs=(CLIENT_MAC, ROUTER_MAC, CLIENT_MAC, OWN_MAC, *macs.values(), *marked),
                vips=tuple(vip.packed for vip in VIPS),
                strangers=STRANGERS,
                clients=CLIENTS,
                flows=self._flows,
                ports=PORTS,
            ),
        )

    def difference(self, frame):
        """Give both the frame; the first difference, or None."""
        for entry, readdress in ((SAID_BY_TC, False), (SAID_BY_XDP, True)):
            decision = classify(
                frame, self.tables, known=self._known.__contains__, now_ns=time.monotonic_ns(), readdress=readdress
            )
            self.reasons[decision.reason] += 1
            try:
                said, changed = self._loaded.run(entry, frame)
            except OSError as error:
                if error.errno == errno.EINVAL and len(frame) < _least(entry, frame):
                    self.refused += 1
                    continue
                raise
            reason = REASONS[said >> 8 & 0xFF]
            program = (ACTIONS[said & 0xFF], reason, said >> 16 if reason.action.sends else None, changed)
            expected = (decision.action, decision.reason, decision.node, decision.frame)
            if program != expected:
                return Difference(entry, frame, program, expected, self.describe())
        return None

    def describe(self):
        own = self.tables
        return (
            f"{own.delivery.value}, me {own.me}, dirty {own.dirty}, dirty beside me {self.dirty_beside}, "
            f"lease {own.lease}, macs {dict(own.macs())}"
        )

    @staticmethod
    def flow(client, client_port, vip, vip_port):
        """Give a flow from what getpeername(2) and getsockname(2) say."""
        return Flow(
            client=ip_address(client).packed, client_port=client_port, vip=ip_address(vip).packed, vip_port=vip_port
        )


def _least(entry, frame):
    """Give what a frame must have to be run at all: its Ethernet header, and for tc that of IP."""
    if entry == SAID_BY_XDP:
        return 14
    return 54 if frame[12:14] == b"\x86\xdd" else 34
