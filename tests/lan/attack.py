"""Hostile neighbours of a site: floods of openings and garbage, and heartbeats that are not what they seem."""

import contextlib
import ipaddress
import random
import socket
import struct
import threading

from lan.namespaces import inside, run
from lan.web import PORT

HEARTBEAT_PORT = 4803
_ETH_P_ALL = 3
_BATCH = 200
_KINDS = {4: b"\x08\x00", 6: b"\x86\xdd"}


class Flood:
    """Frames that leave a host as fast as one thread can send them, until the end."""

    def __init__(self, host, vip):
        self.sent = 0
        self._host = host
        self._vip = ipaddress.ip_address(vip)
        self._ends = threading.Event()
        self._frames = _frames(host, self._vip)

    def live(self):
        """Send until the end."""
        with _raw(self._host) as out:
            while not self._ends.is_set():
                for frame in self._frames:
                    # A full queue of the interface is no news here.
                    with contextlib.suppress(BlockingIOError, OSError):
                        out.send(frame)
                    self.sent += 1
                    if self.sent % _BATCH == 0 and self._ends.wait(0.001):
                        return

    def end(self):
        """Send no more."""
        self._ends.set()


@contextlib.contextmanager
def flood(host, vip):
    """Send SYNs of countless clients and garbage to the virtual IP until the end of the block."""
    made = Flood(host, vip)
    thread = threading.Thread(target=made.live, name="flood")
    thread.start()
    try:
        yield made
    finally:
        made.end()
        thread.join()


@contextlib.contextmanager
def heartbeats_at(host):
    """Watch a server's interface; gives a function that gives the frames with heartbeats seen so far."""
    with inside(host.namespace):
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
    seen = []
    with tap:
        tap.bind(("eth0", _ETH_P_ALL))
        tap.settimeout(0)

        def read():
            with contextlib.suppress(BlockingIOError):
                while True:
                    frame, address = tap.recvfrom(65536)
                    if address[2] != socket.PACKET_OUTGOING and _is_heartbeat(frame):
                        seen.append(frame)
            return seen

        yield read


def send_again(host, frames):
    """Send recorded frames of others from a host: their words, its own MAC, so that the switch is not led astray."""
    mac = bytes.fromhex(run(host.namespace, "cat", "/sys/class/net/eth0/address").strip().replace(":", ""))
    with _raw(host) as out:
        for frame in frames:
            out.send(frame[:6] + mac + frame[12:])


def forged(frames, *, seed):
    """Give the frames with some bytes of each heartbeat changed; the UDP checksum is left out, as IPv4 allows."""
    chance = random.Random(seed)
    for frame in frames:
        changed = bytearray(frame)
        for _ in range(chance.randint(1, 8)):
            changed[chance.randrange(42, len(frame))] ^= chance.randint(1, 255)
        changed[40:42] = bytes(2)
        yield bytes(changed)


def _is_heartbeat(frame):
    """Over IPv4, without options: that is what this farm's main network has."""
    return frame[12:14] == _KINDS[4] and frame[23] == 17 and int.from_bytes(frame[36:38]) == HEARTBEAT_PORT


def _raw(host):
    with inside(host.namespace):
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    made.bind(("eth0", 0))
    return made


def _frames(host, vip):
    """Build a thousand SYNs of as many clients, and as many odd or broken frames, to the MAC that the VIP has."""
    words = run(host.namespace, "ip", "neigh", "show", "to", str(vip)).split()
    target = bytes.fromhex(words[words.index("lladdr") + 1].replace(":", ""))
    mac = bytes.fromhex(run(host.namespace, "cat", "/sys/class/net/eth0/address").strip().replace(":", ""))
    head = target + mac + _KINDS[vip.version]
    chance = random.Random(1)
    frames = []
    for number in range(1000):
        frames.append(head + _syn(vip, number, chance))
        odd = bytearray(_syn(vip, number, chance))
        for _ in range(chance.randint(1, 6)):
            odd[chance.randrange(len(odd))] = chance.randrange(256)
        frames.append(head + bytes(odd[: chance.randint(1, len(odd))]))
        frames.append(head + chance.randbytes(chance.randint(1, 200)))
    return frames


def _syn(vip, number, chance):
    tcp = struct.pack("!HHIIBBHHH", chance.randint(1024, 65535), PORT, number, 0, 5 << 4, 2, 64240, 0, 0)
    if vip.version == 4:
        source = bytes([198, 51, 100, 1 + number % 250])
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 40, number, 0, 64, 6, 0) + source + vip.packed
        total = sum(struct.unpack("!10H", ip))
        total = (total & 0xFFFF) + (total >> 16)
        return ip[:10] + struct.pack("!H", ~total & 0xFFFF) + ip[12:] + _with_checksum(tcp, source, vip)
    source = ipaddress.ip_address("2001:db8:c::").packed[:14] + struct.pack("!H", number + 1)
    ip = struct.pack("!IHBB", 6 << 28, 20, 6, 64) + source + vip.packed
    return ip + _with_checksum(tcp, source, vip)


def _with_checksum(tcp, source, vip):
    """Fill in the checksum over the pseudo header (RFC 9293, section 3.1)."""
    pseudo = source + vip.packed + struct.pack("!HH", 6, len(tcp)) + tcp
    total = sum(struct.unpack(f"!{len(pseudo) // 2}H", pseudo))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return tcp[:16] + struct.pack("!H", ~total & 0xFFFF) + tcp[18:]
