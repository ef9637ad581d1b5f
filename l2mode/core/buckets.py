"""Who owns which bucket, and who is the director: weighted rendezvous hashing over the members and their powers.

For every bucket, every member draws a 64-bit number from a hash of its name. Read as a fraction u in (0, 1], it gives
the member's cost for the bucket, -log2(u) / power; the member with the lowest cost owns the bucket. These costs are
exponentially distributed, so a member's share is its power divided by the sum of powers. When a member comes or goes,
only its own buckets move (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998; the weights
as in draft-ietf-bess-weighted-hrw, section 3).

The arithmetic uses integers only, so that all machines agree to the last bit. A member's costs for all buckets are
lanes of 64 bits in one large integer. The lower of two whole columns then takes eight operations of the interpreter
instead of 4096 comparisons, and 64 members take a few milliseconds instead of twenty.

A member whose power is 64 times another's or more outweighs it: the other owns nothing and stands by until the first is
gone.

The result depends on names, powers and the number of buckets only. It does not depend on the name of the share group,
so that ports 80 and 443 of one client reach the same server.
"""

import hashlib
import struct
from array import array
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

BUCKETS: Final = 4096
"Buckets per share group: with 64 members of equal power each has 64, give or take 8."

MAX_MEMBERS: Final = 64

OUTWEIGHS: Final = 64
"""The ratio of powers from which the lesser member owns nothing. Powers of 1, 64 and 4096 make a chain in which one
serves and the next one stands by. Without this limit, chance would give a standby a bucket now and then."""

_DOMAIN: Final = b"hcsidecar buckets 1\0"
"Prefix of every hash. A change of this, or of anything computed from it, requires a new version of the protocol."

_FRACTION_BITS: Final = 48
"Costs are fixed-point numbers with this many bits after the point; they go up to 64."

_TABLE_BITS: Final = 8
"The logarithm is interpolated linearly between 256 points: the error is at most 3 millionths."

# A lane, from its lowest bit: 8 bits for the member's rank (the lower name wins a tie), 55 bits for the cost, and one
# guard bit that stays 0 and catches the borrow when lanes are subtracted.
_LANE_BYTES: Final = 8
_RANK_BITS: Final = 8
_GUARD_SHIFT: Final = 63

_NOBODY: Final = 255


def owners(powers: Mapping[str, int], count: int = BUCKETS) -> tuple[str | None, ...]:
    """Return the owner of each bucket, given the members' powers; None everywhere if nobody has a power above 0."""
    members = _weighted(powers)
    names: list[str | None] = [name for name, _ in members]
    names += [None] * (_NOBODY + 1 - len(names))
    return tuple([names[rank] for rank in _ranks(members, count)])


def owner_numbers(powers: Mapping[str, int], numbers: Mapping[str, int], count: int = BUCKETS) -> bytes:
    """Return the owner of each bucket as a byte: its number in `numbers` (0 to 254).

    The byte is 255 where nobody owns the bucket, or a node that has no number here.
    """
    members = _weighted(powers)
    table = bytearray([_NOBODY]) * (_NOBODY + 1)
    for rank, (name, _) in enumerate(members):
        table[rank] = numbers.get(name, _NOBODY)
    return _ranks(members, count).translate(table)


def masks(powers: Mapping[str, int], count: int = BUCKETS) -> dict[str, int]:
    """Return a mask of what each member owns: bit b stands for bucket b. Members without power have the mask 0."""
    members = _weighted(powers)
    ranks = _ranks(members, count)[::-1]
    found = dict.fromkeys(powers, 0)
    for rank, (name, _) in enumerate(members):
        found[name] = int(ranks.translate(_digit_table(rank)), 2)
    return found


def mask_of(name: str, powers: Mapping[str, int], count: int = BUCKETS) -> int:
    """Return the mask of what one member owns, in a fraction of the time that all masks take."""
    members = _weighted(powers)
    ranks = _ranks(members, count)[::-1]
    rank = next((rank for rank, (member, _) in enumerate(members) if member == name), None)
    return 0 if rank is None else int(ranks.translate(_digit_table(rank)), 2)


def director_among(members: Iterable[str], vip: bytes) -> str | None:
    """Return the member that is the director of a virtual IP, by the same hashing with equal powers; None if none is.

    `vip` is the packed address.
    """

    def cost(name: str) -> tuple[int, str]:
        digest = hashlib.shake_256(_DOMAIN + name.encode() + b"\0" + vip).digest(_LANE_BYTES)
        return _cost(int.from_bytes(digest, "little")), name

    return min(members, key=cost, default=None)


def prepare(names: Iterable[str], count: int = BUCKETS) -> None:
    """Compute the members' numbers now (4 ms each), so that the first change of the view need not."""
    for name in names:
        _unweighted(name, count)


def takers(powers: Mapping[str, int]) -> tuple[str, ...]:
    """Return the members that own buckets: those with a power above 0 that no other member outweighs."""
    return tuple([name for name, _ in _weighted(powers)])


def _weighted(powers: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    outweighed = max(powers.values(), default=0) // OUTWEIGHS
    members = tuple(sorted((name, power) for name, power in powers.items() if power > outweighed))
    if len(members) > MAX_MEMBERS:
        message = f"{len(members)} members with a power, but a farm has at most {MAX_MEMBERS}"
        raise ValueError(message)
    return members


@lru_cache(maxsize=16)
def _ranks(members: tuple[tuple[str, int], ...], count: int) -> bytes:
    """Return one byte per bucket: the rank of its owner in the order of names, or `_NOBODY`."""
    if not members:
        return bytes([_NOBODY]) * count
    ones = _ones(count)
    guards = ones << _GUARD_SHIFT
    lowest = _column(*members[0], count)
    for rank, member in enumerate(members[1:], start=1):
        other = _column(*member, count) | _rank_lanes(rank, count)
        # In each lane, the guard bit survives the subtraction where lowest >= other; it is then spread over the whole
        # lane.
        not_less = ((lowest | guards) - other) & guards
        lanes = not_less - (not_less >> _GUARD_SHIFT)
        lowest ^= (lowest ^ other) & lanes
    return lowest.to_bytes(_LANE_BYTES * count, "little")[::_LANE_BYTES]


@lru_cache(maxsize=8)
def _ones(count: int) -> int:
    """Return an integer with a 1 in every lane."""
    return int.from_bytes((b"\1" + bytes(_LANE_BYTES - 1)) * count, "little")


@lru_cache(maxsize=MAX_MEMBERS)
def _rank_lanes(rank: int, count: int) -> int:
    """Return an integer with `rank` in every lane, cached: multiplying anew takes a third of a comparison's time."""
    return rank * _ones(count)


@lru_cache(maxsize=4 * MAX_MEMBERS)
def _column(name: str, power: int, count: int) -> int:
    """Return a member's costs, one lane per bucket, with the rank bits left 0."""
    lanes = [cost // power << _RANK_BITS for cost in _unweighted(name, count)]
    return int.from_bytes(struct.pack(f"<{count}Q", *lanes), "little")


@lru_cache(maxsize=2 * MAX_MEMBERS)
def _unweighted(name: str, count: int) -> "array[int]":
    """Return a member's cost for each bucket at power 1, as an array: 64 tuples of integers would take 10 MB."""
    digest = hashlib.shake_256(_DOMAIN + name.encode()).digest(_LANE_BYTES * count)
    return array("Q", [_cost(number) for number in struct.unpack(f"<{count}Q", digest)])


def _cost(number: int) -> int:
    """Return -log2((number + 1) / 2**64) as a fixed-point integer, for a 64-bit number."""
    number += 1
    whole = number.bit_length() - 1
    # Of the 64 bits below the leading one, the highest choose the interval of the table, the rest the place in it.
    mantissa = (number << 64 >> whole) - (1 << 64)
    interval = mantissa >> (64 - _TABLE_BITS)
    within = mantissa & ((1 << (64 - _TABLE_BITS)) - 1)
    low, high = _LOG2[interval], _LOG2[interval + 1]
    log2 = (whole << _FRACTION_BITS) + low + ((high - low) * within >> (64 - _TABLE_BITS))
    return (64 << _FRACTION_BITS) - log2


def _make_log2_table() -> tuple[int, ...]:
    """Return log2(1 + i / 256) as fixed-point integers, computed bit by bit: square, and halve what exceeds 2."""
    table = []
    for step in range((1 << _TABLE_BITS) + 1):
        bits, value = 0, ((1 << _TABLE_BITS) + step) << (62 - _TABLE_BITS)
        if value >> 63:
            table.append(1 << _FRACTION_BITS)
            continue
        for _ in range(_FRACTION_BITS):
            value = value * value >> 62
            bits <<= 1
            if value >> 63:
                bits, value = bits | 1, value >> 1
        table.append(bits)
    return tuple(table)


_LOG2: Final = _make_log2_table()


@lru_cache(maxsize=MAX_MEMBERS)
def _digit_table(rank: int) -> bytes:
    """Return the translation of ranks to the binary digits of this rank's mask."""
    return b"0" * rank + b"1" + b"0" * (255 - rank)
