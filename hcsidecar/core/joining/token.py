"""A token, with which a new server joins: the fingerprint of the farm's authority, a secret, and until when it is good.

On paper it is `hcj1.` and base32 in small letters, which survives every terminal and chat program. The secret itself is
never sent: both ends derive from it an id, by which the node finds the token, and a key, with which the new server
proves in each request that it has the secret. The node keeps these two, not the secret.
"""

import base64
import binascii
import hmac
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

PREFIX: Final = "hcj1."
SECRET_BYTES: Final = 16
"128 bits, which nobody guesses."
_FINGERPRINT: Final = 32
_TIME: Final = 5
_CHECK: Final = 4
_LENGTH: Final = _FINGERPRINT + SECRET_BYTES + _TIME + _CHECK


class TokenError(ValueError):
    """It is no token; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinToken:
    """What a token holds."""

    fingerprint: bytes
    "SHA-256 of the certificate of the farm's authority, 32 bytes."
    secret: bytes = field(repr=False)
    expires: int
    "In seconds since 1970, by the clock of the node that made it."

    def encode(self) -> str:
        """Return it as text."""
        content = self.fingerprint + self.secret + self.expires.to_bytes(_TIME)
        content += sha256(content).digest()[:_CHECK]
        return PREFIX + base64.b32encode(content).decode("ascii").rstrip("=").lower()

    @property
    def id(self) -> str:
        """The name by which the node finds the token: 16 hexadecimal digits that tell nothing of the secret."""
        return sha256(b"hcsidecar join id" + self.secret).hexdigest()[:16]

    @property
    def key(self) -> bytes:
        """The key of the proofs, 32 bytes."""
        return sha256(b"hcsidecar join key" + self.secret).digest()


def decode_token(text: str) -> JoinToken:
    """Read a token, with blanks around it. Raise TokenError, which says what is wrong with it."""
    text = text.strip()
    if not text.startswith(PREFIX):
        raise TokenError(f"this is no token of hcsidecar, which begins with {PREFIX}")
    digits = text.removeprefix(PREFIX).upper()
    try:
        content = base64.b32decode(digits + "=" * (-len(digits) % 8))
    except (binascii.Error, ValueError):
        raise TokenError("the token is damaged: copy the whole line again") from None
    if len(content) != _LENGTH or sha256(content[:-_CHECK]).digest()[:_CHECK] != content[-_CHECK:]:
        raise TokenError("the token is damaged, or a part of it is missing: copy the whole line again")
    secret_end = _FINGERPRINT + SECRET_BYTES
    token = JoinToken(
        fingerprint=content[:_FINGERPRINT],
        secret=content[_FINGERPRINT:secret_end],
        expires=int.from_bytes(content[secret_end:-_CHECK]),
    )
    if token.encode() != text.lower():
        # The last letter has bits that mean nothing.
        raise TokenError("the token is damaged: copy the whole line again")
    return token


def prove(key: bytes, *, nonce: str, server: str, path: str, body: bytes) -> str:
    """Return the proof of a request, as hexadecimal digits.

    It holds for one nonce of the node, one request, and one certificate of the node (`server`, its SHA-256 in
    hexadecimal digits): whoever is between the two, with another certificate, cannot pass it on.
    """
    mac = hmac.new(key, digestmod=sha256)
    for part in (b"hcsidecar join", nonce.encode(), server.encode(), path.encode(), sha256(body).digest()):
        mac.update(len(part).to_bytes(4) + part)
    return mac.hexdigest()
