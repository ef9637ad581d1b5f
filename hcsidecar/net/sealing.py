"""Seals datagrams, so that only holders of the farm's key can write and read them.

Each sender has a key of its own for each of its boots, derived from a sealing key of the farm, and counts its nonces. A
key never meets a nonce twice, because boot numbers only grow and sequences only grow within a boot. The cipher is
ChaCha20-Poly1305 (RFC 8439). The header is in clear and authenticated with the rest:

    magic "HCS" · version (1 byte) · key id (4) · sender (8) · boot (8) · sequence (8) · sealed text · tag (16)

The sender is a digest of farm and node, so that a datagram of another farm is refused before anything is computed.
Whether a datagram is old is not decided here: membership decides it, once the datagram is open.
"""

import struct
from collections.abc import Iterable
from enum import StrEnum
from hashlib import blake2b
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from hcsidecar.net.keyring import Keyring

MAGIC: Final = b"HCS"
WIRE_VERSION: Final = 1
PURPOSE: Final = "datagram"

_HEADER = struct.Struct(">3sBI8sQQ")
_NONCE = struct.Struct(">IQ")
_BOOT = struct.Struct(">Q")
_TAG_BYTES = 16
OVERHEAD_BYTES: Final = _HEADER.size + _TAG_BYTES
"The bytes that sealing adds to a datagram."


class OpenFailure(StrEnum):
    """Why a datagram was not opened: the label of its counter."""

    TOO_SHORT = "too short"
    NOT_OURS = "not of this protocol"
    UNKNOWN_VERSION = "unknown version"
    UNKNOWN_NODE = "unknown node"
    UNKNOWN_KEY = "unknown key"
    BAD_SEAL = "bad seal"


class Opened(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A datagram that its sender has sealed; it may still be an old one."""

    node: str
    boot: int
    seq: int
    plaintext: bytes


class DatagramSealer:
    """Seals the datagrams of this node's present boot."""

    def __init__(self, keyring: Keyring, farm: str, node: str, boot: int) -> None:
        self._farm, self._node, self._boot = farm, node, boot
        self._sender = _sender_id(farm, node)
        self._last_seq = -1
        self._keyring = keyring
        self.follow_keys()

    def follow_keys(self) -> None:
        """Seal with the keyring's active key from now on; the sequence continues."""
        self._key_id = self._keyring.active_id
        self._cipher = _cipher(self._keyring, self._key_id, self._farm, self._node, self._boot)

    def seal(self, seq: int, plaintext: bytes) -> bytes:
        """Return the datagram. Raise ValueError if the sequence has not grown, since that would give the key away."""
        if seq <= self._last_seq:
            raise ValueError(f"sequence {seq} after {self._last_seq}: a nonce would be used twice")
        self._last_seq = seq
        header = _HEADER.pack(MAGIC, WIRE_VERSION, self._key_id, self._sender, self._boot, seq)
        return header + self._cipher.encrypt(_NONCE.pack(0, seq), plaintext, header)


class _Key(msgspec.Struct, frozen=True, gc=False):
    """A key derived for a sender."""

    key_id: int
    boot: int
    cipher: ChaCha20Poly1305


class _Sender(msgspec.Struct, gc=False):
    """What is kept of one sender; never more than two keys."""

    node: str
    current: _Key | None = None
    "The key that has opened a datagram, of the highest boot that did."
    candidate: _Key | None = None
    "The key tried last: of a new boot, a new sealing key, an old datagram or a forged one."


class DatagramOpener:
    """Opens the datagrams of the nodes of one farm. It never raises on any bytes, and its memory has a fixed size."""

    def __init__(self, keyring: Keyring, farm: str, known_nodes: Iterable[str]) -> None:
        self._farm = farm
        self._nodes = tuple(known_nodes)
        self._keyring = keyring
        self._senders: dict[bytes, _Sender] = {}
        self.follow_keys()

    def set_known_nodes(self, nodes: Iterable[str]) -> None:
        """Open the datagrams of these nodes from now on; the derived keys of those known before stay."""
        former = {sender.node: sender for sender in self._senders.values()}
        self._nodes = tuple(nodes)
        self._senders = {_sender_id(self._farm, node): former.get(node) or _Sender(node) for node in self._nodes}
        self.strangers.intersection_update(self._nodes)

    def follow_keys(self) -> None:
        """Open with the keys that the keyring has now, and with no others."""
        self.strangers: set[str] = set()
        "Nodes in whose names datagrams have come that use unknown keys; anybody may have sent them."
        self._senders = {_sender_id(self._farm, node): _Sender(node) for node in self._nodes}

    def open(self, datagram: bytes) -> Opened | OpenFailure:
        """Return what was sealed and by whom, or why not, at the cost of one derivation and one decryption at most."""
        if len(datagram) < OVERHEAD_BYTES:
            return OpenFailure.TOO_SHORT
        magic, version, key_id, sender_id, boot, seq = _HEADER.unpack_from(datagram)
        if magic != MAGIC:
            return OpenFailure.NOT_OURS
        if version != WIRE_VERSION:
            return OpenFailure.UNKNOWN_VERSION
        sender = self._senders.get(sender_id)
        if sender is None:
            return OpenFailure.UNKNOWN_NODE
        key = self._key(sender, key_id, boot)
        if key is None:
            self.strangers.add(sender.node)
            return OpenFailure.UNKNOWN_KEY
        try:
            plaintext = key.cipher.decrypt(_NONCE.pack(0, seq), datagram[_HEADER.size :], datagram[: _HEADER.size])
        except InvalidTag:
            return OpenFailure.BAD_SEAL
        if key is sender.candidate and (sender.current is None or boot >= sender.current.boot):
            # The key becomes current only after it has opened something; that of a replayed old boot stays the
            # candidate.
            sender.current, sender.candidate = key, sender.current
        return Opened(node=sender.node, boot=boot, seq=seq, plaintext=plaintext)

    def _key(self, sender: _Sender, key_id: int, boot: int) -> _Key | None:
        for key in (sender.current, sender.candidate):
            if key is not None and key.boot == boot and key.key_id == key_id:
                return key
        if key_id not in self._keyring.keys:
            return None
        sender.candidate = _Key(key_id, boot, _cipher(self._keyring, key_id, self._farm, sender.node, boot))
        return sender.candidate


def _sender_id(farm: str, node: str) -> bytes:
    return blake2b(_named(farm, node), digest_size=8, person=b"hcsidecar sender").digest()


def _cipher(keyring: Keyring, key_id: int, farm: str, node: str, boot: int) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(keyring.derive(PURPOSE, key_id, _named(farm, node) + _BOOT.pack(boot)))


def _named(farm: str, node: str) -> bytes:
    """Return two names as bytes that no other two names have."""
    first, second = farm.encode(), node.encode()
    return bytes((len(first),)) + first + bytes((len(second),)) + second
