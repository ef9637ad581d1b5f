"""The memory that a packet filter decides by, laid out as the kernel reads it: the C struct `tables` of filter.bpf.c.

The filter reads this memory while it is written. Every change is therefore a plain store of one value, and values that
must change together exist twice: `swap` fills the half that nobody reads and turns the filter to it with one store.
Words are little-endian. Values from a packet (addresses, MACs, ports) are read as little-endian words too, so that the
filter need not swap bytes.

Two look-ups are prepared here, once, to make them cheap for every packet. A virtual IP is found by one multiplication:
`configure` searches for a factor that gives each virtual IP a slot of its own. Ports are put in classes, where all
ports of a class are the same to every rule, so that two loads find a rule. A farm may have 255 such classes, however
many ports they contain.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from ipaddress import ip_address
from itertools import count
from mmap import mmap
from struct import calcsize
from typing import ClassVar, Final, Literal, NamedTuple

from l2mode.core.buckets import BUCKETS
from l2mode.core.cells import ANYWHERE, NOBODY
from l2mode.core.port_classes import MAX_CLASSES
from l2mode.core.reasons import REASONS, Reason
from l2mode.core.settings import By, LayerTwoSettings, Protocol, Unmatched
from l2mode.core.verdict import Delivery

MAX_NODES: Final = 64
MAX_VIPS: Final = 64
MAX_GROUPS: Final = 64

MAC_BYTES: Final = 6

_CLASSES: Final = MAX_CLASSES + 1
_PORTS: Final = 1 << 16
_SLOT_BITS: Final = 12
_ROWS: Final = 256
_COLUMNS: Final = 32
_WORD: Final = (1 << 64) - 1

_PROTOCOLS: Final = (Protocol.TCP, Protocol.UDP)
"A protocol's index is its number in the tables."
_BYS: Final = (By.ADDRESS, By.PORT, By.DATAGRAM)
ANY: Final = 2
"A row beside those of the protocols: the first group that covers the virtual IP, which echo requests go by."


def mac_word(mac: bytes) -> int:
    """Return a MAC as the word that a filter reads from a frame; empty bytes give 0, which no machine has."""
    return int.from_bytes(mac, "little")


class Tables:
    """A view over `SIZE` writable bytes. Nodes, groups and virtual IPs have the numbers of the settings."""

    # Name, format and number of items, in the order of the C struct; each field is aligned to its own size.
    _LAYOUT: ClassVar[tuple[tuple[str, Literal["B", "H", "Q"], int], ...]] = (
        ("lease", "Q", 1),
        ("own_mac", "Q", 1),
        ("virtual_mac", "Q", 1),
        ("seed", "Q", 2),
        ("vip_factor", "Q", 1),
        ("dirty_anywhere", "Q", 1),
        # The lowest bit is the half that every filter reads; the bits above it count the swaps.
        ("half", "H", 1),
        ("nodes", "H", 1),
        ("me", "B", 1),
        ("dirty", "B", 1),
        ("flooded", "B", 1),
        ("director_takes_unmatched", "B", 1),
        ("macs", "Q", MAX_NODES),
        ("vips", "Q", 2 * MAX_VIPS),
        ("by", "B", MAX_GROUPS),
        ("directors", "B", 2 * MAX_VIPS),
        ("fallback_rules", "B", 4 * MAX_VIPS),
        ("vip_slots", "B", 2 << _SLOT_BITS),
        ("port_classes", "B", _PORTS),
        ("rules", "B", 2 * _CLASSES * MAX_VIPS),
        ("cells", "B", 2 * MAX_GROUPS * BUCKETS),
        ("dirty_members", "Q", BUCKETS),
        ("counters", "Q", _ROWS * _COLUMNS),
    )
    SIZE: ClassVar = sum(calcsize(form) * many for _, form, many in _LAYOUT)
    MAX_TURNS: ClassVar = 1 << 15
    "The number at which `turns` starts again from 0."

    def __init__(self, buffer: memoryview | mmap | bytearray) -> None:
        self._whole = memoryview(buffer).cast("B")[: self.SIZE]
        self._fields: dict[str, memoryview[int]] = {}
        at = 0
        for name, form, many in self._LAYOUT:
            end = at + calcsize(form) * many
            self._fields[name] = self._whole[at:end].cast(form)
            at = end
        self._dirty: dict[int, int] = {}
        "For each node, the buckets in which `dirty_members` has it."

    # -- written by the daemon --------------------------------------------------------------------------------------

    def configure(self, settings: LayerTwoSettings, virtual_mac: bytes) -> None:
        """Write the farm file's settings, for a filter that takes nothing yet: lease 0, and no bucket has an owner.

        Call this only before the filter reads the tables: it is not a single store. Raise ValueError if the settings
        exceed the limits of the tables.
        """
        self.set_lease(0)
        _limit("nodes", len(settings.nodes), MAX_NODES)
        _limit("virtual IPs", len(settings.vips), MAX_VIPS)
        _limit("share groups", len(settings.groups), MAX_GROUPS)
        self._whole[:] = bytes(self.SIZE)
        self._dirty.clear()
        for name in ("by", "directors", "fallback_rules", "vip_slots", "rules", "cells"):
            field = self._fields[name]
            field[:] = memoryview(bytes([NOBODY]) * len(field))
        self._set("virtual_mac", mac_word(virtual_mac))
        self._fields["seed"][0] = int.from_bytes(settings.seed[:8], "little")
        self._fields["seed"][1] = int.from_bytes(settings.seed[8:], "little")
        self._set("nodes", len(settings.nodes))
        self._set("me", settings.my_index)
        self._set("flooded", settings.delivery is Delivery.FLOODED)
        self._set("director_takes_unmatched", settings.unmatched is Unmatched.DIRECTOR)
        self._write_vips([vip.packed for vip in settings.vips])
        self._write_rules(settings)

    def set_macs(self, own: bytes, members: Mapping[int, bytes]) -> None:
        """Set the MACs of this node and of the other nodes, by number; a node that is not named has no known MAC."""
        self._set("own_mac", mac_word(own))
        for node in range(MAX_NODES):
            self._fields["macs"][node] = 0 if node == self.me else mac_word(members.get(node, b""))

    def set_dirty(self, me: bool, members: Mapping[int, int]) -> None:
        """Set whether this node is dirty, and in which buckets the other living members are: masks, by number.

        This node's own number with a mask means that nobody gets a reset in these buckets, since a node sends nothing
        to itself. Only what changes is written: a member that may be dirty anywhere is one bit, and a member that knows
        its buckets often announces one connection less. The order of the stores ensures that a member that is dirty in
        a bucket before and after the call is so at every moment in between.
        """
        anywhere = sum(1 << node for node, mask in members.items() if mask == ANYWHERE)
        self._set("dirty_anywhere", self._get("dirty_anywhere") | anywhere)
        for node in {*members, *self._dirty}:
            if not anywhere >> node & 1:
                self._mark_dirty(node, members.get(node, 0))
        self._set("dirty_anywhere", anywhere)
        self._set("dirty", me)

    def swap(self, cells: Sequence[bytes], directors: Sequence[int]) -> None:
        """Turn the filter to a new owner for every bucket and a new director for every virtual IP.

        `cells` has 4096 bytes per group, each the owner's number, `PENDING` or `NOBODY`; this node's own number means
        that it has claimed the bucket. A node out of the view adds `PASS_ON` to the numbers. A node that gives buckets
        up must call `set_dirty` first: otherwise the filter would, for a moment, not look for sockets in them. The
        filter may go on reading the half that it was turned from for some microseconds, so let a few milliseconds pass
        between two calls.
        """
        idle = 1 - self.half
        turns = (self.turns + 1) % self.MAX_TURNS
        self._set("half", turns << 1 | self.half)
        start = idle * MAX_GROUPS * BUCKETS
        every = b"".join(cells)
        self._fields["cells"][start : start + len(every)] = memoryview(every)
        start = idle * MAX_VIPS
        self._fields["directors"][start : start + len(directors)] = memoryview(bytes(directors))
        self._set("half", turns << 1 | idle)

    def set_lease(self, until_ns: int) -> None:
        """Let the filter take packets until `until_ns`, in nanoseconds of CLOCK_MONOTONIC; 0 closes it."""
        self._set("lease", until_ns)

    def count(self, reason: Reason) -> None:
        """Count one frame, for a filter that runs in one process; filters in the kernel count for themselves."""
        if reason.counted:
            self._fields["counters"][reason.number] += 1

    # -- read by filters and reports --------------------------------------------------------------------------------

    def counters(self) -> dict[Reason, int]:
        """Return the number of frames to a virtual IP since `configure`, by what became of them."""
        rows = self._fields["counters"].tolist()
        return {reason: sum(rows[reason.number :: _COLUMNS]) for reason in REASONS if reason.counted}

    @property
    def lease(self) -> int:
        """The end of the lease, in nanoseconds of CLOCK_MONOTONIC."""
        return self._get("lease")

    @property
    def me(self) -> int:
        """This node's number."""
        return self._get("me")

    @property
    def dirty(self) -> bool:
        """True while this node holds connections in buckets that are not its own."""
        return bool(self._get("dirty"))

    def dirty_members(self, bucket: int) -> int:
        """Return the other living members that are dirty in a bucket: bit n stands for node n."""
        members: int = self._fields["dirty_members"][bucket]
        return self._get("dirty_anywhere") | members

    @property
    def delivery(self) -> Delivery:
        """How packets reach the node that takes them."""
        return Delivery.FLOODED if self._get("flooded") else Delivery.DIRECTED

    @property
    def director_takes_unmatched(self) -> bool:
        """True if the director takes traffic to a virtual IP that matches no share."""
        return bool(self._get("director_takes_unmatched"))

    @property
    def half(self) -> int:
        """The half that the filter reads, 0 or 1."""
        return self._get("half") & 1

    @property
    def turns(self) -> int:
        """The number of swaps so far, modulo `MAX_TURNS`; a swap in progress does not count yet."""
        word = self._get("half")
        return ((word >> 1) - _swap_goes_on(word)) % self.MAX_TURNS

    def copies(self) -> "TableCopies | None":
        """Return copies of the tables before and after the latest swap; None during a swap."""
        word = self._get("half")
        present, former = bytearray(self._whole), bytearray(self._whole)
        if _swap_goes_on(word) or self._get("half") != word:
            return None
        before = Tables(former)
        before._set("half", word ^ 1)
        return TableCopies(turns=word >> 1, before=before, after=Tables(present))

    @property
    def own_mac(self) -> bytes:
        """This node's MAC on the shared network."""
        return self._get("own_mac").to_bytes(8, "little")[:MAC_BYTES]

    @property
    def virtual_mac(self) -> bytes:
        """The MAC that the virtual IPs have in flooded delivery."""
        return self._get("virtual_mac").to_bytes(8, "little")[:MAC_BYTES]

    @property
    def seed(self) -> bytes:
        """The 16 bytes that key the hash of clients."""
        return b"".join([word.to_bytes(8, "little") for word in self._fields["seed"]])

    def mac(self, node: int) -> bytes | None:
        """Return another node's MAC, or None while it is not known."""
        word = self._fields["macs"][node]
        return word.to_bytes(8, "little")[:MAC_BYTES] if word else None

    def macs(self) -> Iterable[tuple[int, bytes]]:
        """Yield the other nodes whose MAC is known, with the MAC, in the order of their numbers."""
        for node, word in enumerate(self._fields["macs"][: self._get("nodes")].tolist()):
            if word:
                yield node, word.to_bytes(8, "little")[:MAC_BYTES]

    def vip(self, address: bytes) -> int | None:
        """Return the number of the virtual IP that has these 4 or 16 bytes, or None."""
        words = _address_words(address)
        slot = _slot(words, len(address), self._get("vip_factor"))
        vip = self._fields["vip_slots"][slot]
        if vip == NOBODY or tuple(self._fields["vips"][2 * vip : 2 * vip + 2]) != words:
            return None
        return vip

    def group(self, vip: int, protocol: Protocol, port: int) -> int | None:
        """Return the first share group in the farm file that names this port of this virtual IP, or None."""
        port_class = self._fields["port_classes"][_swapped(port)]
        return _somebody(self._fields["rules"][_rule(vip, _PROTOCOLS.index(protocol)) + port_class])

    def fallback_group(self, vip: int, protocol: Protocol | None) -> int | None:
        """Return the first group that names this virtual IP and protocol; `protocol` None stands for any."""
        row = ANY if protocol is None else _PROTOCOLS.index(protocol)
        return _somebody(self._fields["fallback_rules"][4 * vip + row])

    def by(self, group: int) -> By:
        """Return what decides which node serves a client of this group."""
        return _BYS[self._fields["by"][group]]

    def cell(self, group: int, bucket: int) -> int:
        """Return the content of a bucket's cell: the owner's number, `PENDING` or `NOBODY`."""
        return self._fields["cells"][(self.half * MAX_GROUPS + group) * BUCKETS + bucket]

    def director(self, vip: int) -> int | None:
        """Return the node that answers for a virtual IP; None if there is none."""
        return _somebody(self._fields["directors"][self.half * MAX_VIPS + vip])

    # -- inside -------------------------------------------------------------------------------------------------

    def _get(self, name: str) -> int:
        return self._fields[name][0]

    def _set(self, name: str, value: int) -> None:
        self._fields[name][0] = value

    def _mark_dirty(self, node: int, mask: int) -> None:
        words = self._fields["dirty_members"]
        changed = mask ^ self._dirty.get(node, 0)
        self._dirty[node] = mask
        while changed:
            lowest = changed & -changed
            words[lowest.bit_length() - 1] ^= 1 << node
            changed ^= lowest

    def _write_vips(self, addresses: Sequence[bytes]) -> None:
        words = [(_address_words(address), len(address)) for address in addresses]

        def slots(factor: int) -> list[int]:
            return [_slot(pair, size, factor) for pair, size in words]

        factor = next(factor for factor in map(_factor, count()) if len(set(slots(factor))) == len(words))
        self._set("vip_factor", factor)
        for vip, (slot, (pair, _)) in enumerate(zip(slots(factor), words, strict=True)):
            self._fields["vips"][2 * vip], self._fields["vips"][2 * vip + 1] = pair
            self._fields["vip_slots"][slot] = vip

    def _write_rules(self, settings: LayerTwoSettings) -> None:
        by_port: dict[int, dict[int, int]] = {}
        fallback = self._fields["fallback_rules"]
        for number, group in enumerate(settings.groups):
            self._fields["by"][number] = _BYS.index(group.by)
            protocol = _PROTOCOLS.index(group.protocol)
            for vip, address in enumerate(settings.vips):
                if group.vip not in (None, ip_address(address)):
                    continue
                for row in (protocol, ANY):
                    if fallback[4 * vip + row] == NOBODY:
                        fallback[4 * vip + row] = number
                for port in group.ports:
                    by_port.setdefault(port, {}).setdefault(_rule(vip, protocol), number)
        classes: dict[tuple[tuple[int, int], ...], int] = {}
        for port, rules in by_port.items():
            port_class = classes.setdefault(tuple(sorted(rules.items())), len(classes) + 1)
            _limit("classes of ports that differ in their shares", port_class, MAX_CLASSES)
            self._fields["port_classes"][_swapped(port)] = port_class
            for start, number in rules.items():
                self._fields["rules"][start + port_class] = number


class TableCopies(NamedTuple):
    """Copies of the tables before and after the latest swap."""

    turns: int
    "The number of swaps, as `Tables.turns`."
    before: Tables
    after: Tables


def _swap_goes_on(word: int) -> bool:
    """Return whether a swap is in progress.

    A swap counts itself before it writes, and turns the filter to what it has written afterwards. Outside a swap the
    count and the half are therefore both even or both odd.
    """
    return bool((word ^ word >> 1) & 1)


def _rule(vip: int, protocol: int) -> int:
    return (2 * vip + protocol) * _CLASSES


def _swapped(port: int) -> int:
    """Return a port as a little-endian machine reads it from a packet."""
    return (port & 0xFF) << 8 | port >> 8


def _address_words(address: bytes) -> tuple[int, int]:
    return int.from_bytes(address[:8], "little"), int.from_bytes(address[8:], "little")


def _slot(words: tuple[int, int], size: int, factor: int) -> int:
    """Return the slot of an address in `vip_slots`; the upper half of the slots is for IPv6."""
    folded = (words[1] * factor ^ words[0]) * factor & _WORD
    return (size > 4) << _SLOT_BITS | folded >> (64 - _SLOT_BITS)  # noqa: PLR2004 - the size of an IPv4 address


def _factor(number: int) -> int:
    """Return one of many odd numbers to try: with 64 addresses more than half of them will do."""
    return int.from_bytes(blake2b(number.to_bytes(8), digest_size=8).digest()) | 1


def _somebody(number: int) -> int | None:
    return None if number == NOBODY else number


def _limit(what: str, number: int, limit: int) -> None:
    if number > limit:
        message = f"{number} {what}, but the filter's tables hold {limit}"
        raise ValueError(message)
