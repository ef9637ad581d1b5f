"""Seals what one node sends another over TCP and nobody else may read, with a key derived from the farm's key.

Requests between nodes are signed, not hidden: what eavesdroppers may know goes in clear, or over TLS. This is for the
rest. The cipher is ChaCha20-Poly1305 (RFC 8439) with a random nonce, which is safe for the few messages that there are:

    magic "HCM" · version (1 byte) · key id (4) · nonce (12) · sealed text · tag (16)
"""

import secrets
import struct
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from hcsidecar.net.keyring import Keyring

_HEADER = struct.Struct(">3sBI12s")
_MAGIC: Final = b"HCM"
_VERSION: Final = 1
_NONCE_BYTES: Final = 12


class MessageSealer:
    """Seals and opens the messages of one purpose. `keys` is a function because the keys change with the key file."""

    def __init__(self, keys: Callable[[], Keyring], *, farm: str, purpose: str) -> None:
        self._keys = keys
        self._farm = farm.encode()
        self._purpose = purpose

    def seal(self, plaintext: bytes) -> bytes:
        """Return the message."""
        keyring = self._keys()
        nonce = secrets.token_bytes(_NONCE_BYTES)
        header = _HEADER.pack(_MAGIC, _VERSION, keyring.active_id, nonce)
        return header + self._cipher(keyring, keyring.active_id).encrypt(nonce, plaintext, header)

    def open(self, message: bytes) -> bytes | None:
        """Return what was sealed; None if it was not sealed with a key of this farm for this purpose."""
        if len(message) < _HEADER.size:
            return None
        magic, version, key_id, nonce = _HEADER.unpack_from(message)
        keyring = self._keys()
        if magic != _MAGIC or version != _VERSION or key_id not in keyring.keys:
            return None
        try:
            cipher = self._cipher(keyring, key_id)
            return cipher.decrypt(nonce, message[_HEADER.size :], message[: _HEADER.size])
        except InvalidTag:
            return None

    def _cipher(self, keyring: Keyring, key_id: int) -> ChaCha20Poly1305:
        return ChaCha20Poly1305(keyring.derive(self._purpose, key_id, self._farm))
