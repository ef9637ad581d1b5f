"""Frames of every kind that a filter may meet: sound ones, odd ones, cut ones and hostile ones, from a seed."""

import struct
from dataclasses import dataclass

FRAGMENT_HEADER = 44
EXTENSIONS = (0, 43, 60)
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
GROUP_MACS = tuple(bytes.fromhex(text) for text in ("ffffffffffff", "01005e000001", "333300000001"))
FLAGS = (0x02, 0x10, 0x12, 0x11, 0x18, 0x04, 0x14, 0x00, 0x06, 0x03, 0xC2, 0x42)
"SYN, ACK, SYN-ACK, FIN-ACK, PSH-ACK, RST, RST-ACK, none, SYN-RST, SYN-FIN, SYN with congestion bits."


@dataclass(frozen=True, kw_only=True)
class Places:
    """What the frames of one run come from and go to."""

    to_macs: tuple[bytes, ...]
    from_macs: tuple[bytes, ...]
    vips: tuple[bytes, ...]
    strangers: tuple[bytes, ...]
    "Destinations that are no virtual IP."
    clients: tuple[bytes, ...]
    flows: tuple[tuple[bytes, int, bytes, int], ...]
    "Client, its port, virtual IP, its port: connections that exist here or have a listener."
    ports: tuple[int, ...]


class OddFrames:
    """Makes frames, one after the other; the same seed makes the same."""

    def __init__(self, random, places):
        self._random, self._places = random, places

    def frame(self):
        random = self._random
        made = self._garbage() if random.random() < 0.02 else self._ethernet()
        if random.random() < 0.1:
            made = made[: random.randrange(len(made) + 1)]
        if made and random.random() < 0.1:
            made = bytearray(made)
            for _ in range(random.randint(1, 3)):
                made[random.randrange(len(made))] = random.choice((0, 255, random.randrange(256)))
            made = bytes(made)
        return made + bytes(random.choice((0, 0, 0, 6, 40)))

    def _garbage(self):
        random = self._random
        kind = random.choice((0x0806, 0x0800, 0x86DD, 0x8100, 0x88CC, 0x0026))
        return self._macs() + struct.pack("!H", kind) + random.randbytes(random.randrange(120))

    def _macs(self):
        random, places = self._random, self._places
        to = random.choice(GROUP_MACS) if random.random() < 0.04 else random.choice(places.to_macs)
        return to + random.choice(places.from_macs)

    def _ethernet(self):
        random = self._random
        tag = struct.pack("!HH", 0x8100, random.randrange(1, 4095)) if random.random() < 0.01 else b""
        client, client_port, vip, vip_port = self._flow()
        kind = 0x0800 if len(vip) == 4 else 0x86DD
        inside = self._packet(client, client_port, vip, vip_port)
        return self._macs() + tag + struct.pack("!H", kind) + inside

    def _flow(self):
        random, places = self._random, self._places
        if random.random() < 0.4:
            return random.choice(places.flows)
        vip = random.choice(places.strangers if random.random() < 0.03 else places.vips)
        client = random.choice([client for client in places.clients if len(client) == len(vip)])
        if random.random() < 0.5:
            client = client[:-2] + random.randbytes(2)
        return client, random.choice((0, 7, random.randrange(65536))), vip, random.choice(places.ports)

    def _packet(self, client, client_port, vip, vip_port):
        random = self._random
        four = len(vip) == 4
        roll = random.random()
        if roll < 0.45:
            number, payload = TCP, self._tcp(client_port, vip_port)
        elif roll < 0.6:
            number, payload = UDP, self._udp(client_port, vip_port)
        elif roll < 0.85:
            number, payload = (ICMP if four else ICMPV6), self._icmp(client, client_port, vip, vip_port)
        else:
            number, payload = random.choice((2, 4, 41, 47, 50, 51, 59, 132, 136, 255)), random.randbytes(24)
        wrap = self._ipv4 if four else self._ipv6
        return wrap(client, vip, number, payload)

    def _tcp(self, source, destination):
        random = self._random
        return struct.pack(
            "!HHIIBBHHH", source, destination, random.getrandbits(32), random.getrandbits(32), 0x50,
            random.choice(FLAGS), 1000, 0, 0,
        ) + random.randbytes(random.choice((0, 0, 12, 100)))  # fmt: skip

    def _udp(self, source, destination):
        data = self._random.randbytes(self._random.choice((0, 10, 300)))
        return struct.pack("!HHHH", source, destination, 8 + len(data), 0) + data

    def _icmp(self, client, client_port, vip, vip_port):
        random = self._random
        four = len(vip) == 4
        echo, errors = (8, (3, 11, 12)) if four else (128, (1, 2, 3, 4))
        roll = random.random()
        if roll < 0.2:
            return struct.pack("!BBHHH", echo, 0, 0, 7, 1) + random.randbytes(random.choice((0, 56)))
        if roll < 0.35:
            kind = random.choice((0, 5, 13, 129, 130, 133, 134, 135, 136, 137, 138, 143, random.randrange(256)))
            return struct.pack("!BBHI", kind, 0, 0, 0) + random.randbytes(24)
        header = struct.pack("!BBHI", random.choice(errors), random.randrange(6), 0, 1400)
        source = random.choice(self._places.vips) if random.random() < 0.1 else vip
        if len(source) != len(vip):
            source = vip
        number = random.choice((TCP, TCP, TCP, UDP, UDP, ICMP if four else ICMPV6, 50))
        sent = self._tcp(vip_port, client_port) if number == TCP else self._udp(vip_port, client_port)
        wrap = self._ipv4 if four else self._ipv6
        return header + wrap(source, client, number, sent)[: random.choice((1000, 1000, 28, 48, 60))]

    def _ipv4(self, source, destination, number, payload):
        random = self._random
        options = bytes(4 * random.choice((0, 0, 0, 0, 0, 1, 3, 10)))
        fragment = 0x4000 if random.random() < 0.5 else 0
        if random.random() < 0.1:
            fragment = random.choice((0x2000, 0x2000 | 185, 185, 0x1FFF, 0x8000, 0x6000))
        header = struct.pack(
            "!BBHHHBBH", 0x45 + len(options) // 4, 0, 20 + len(options) + len(payload), random.randrange(65536),
            fragment, random.choice((64, 64, 63, 255, 128, 2, 1, 0)), number, 0,
        ) + source + destination + options  # fmt: skip
        correct = checksum(header)
        if random.random() < 0.1:
            correct = random.choice((0, 0xFFFF, random.randrange(65536)))
        return header[:10] + struct.pack("!H", correct) + header[12:] + payload

    def _ipv6(self, source, destination, number, payload):
        random = self._random
        if random.random() < 0.3:
            for _ in range(random.choice((1, 1, 1, 2, 3, 5, 6, 7, 8))):
                if random.random() < 0.4:
                    offset = random.choice((0, 0, 0, 1, 8, 9, 0xFFF8, 6))
                    payload = struct.pack("!BBHI", number, 0, offset, random.getrandbits(32)) + payload
                    number = FRAGMENT_HEADER
                else:
                    units = random.choice((0, 0, 0, 1, 4, 31, 255))
                    payload = struct.pack("!BB", number, units) + bytes(6 + 8 * min(units, 4)) + payload
                    number = random.choice(EXTENSIONS)
        hops = random.choice((64, 64, 63, 255, 2, 1, 0))
        return struct.pack("!IHBB", 0x60000000, len(payload), number, hops) + source + destination + payload


def checksum(header):
    """Give the Internet checksum of an even number of bytes (RFC 1071)."""
    total = sum(struct.unpack(f"!{len(header) // 2}H", header))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
