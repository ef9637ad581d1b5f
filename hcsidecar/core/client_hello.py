"""Reads the name of the server that a client of TLS asks for, from the first bytes that it sends.

OpenSSL reads the name as well, but tells it when it is too late to ask that client for a certificate. And if the name
is not in ASCII, Python writes a traceback into the log.
"""

from enum import Enum, auto
from typing import Final


class Incomplete(Enum):
    """Says that more bytes are needed."""

    INCOMPLETE = auto()


INCOMPLETE: Final = Incomplete.INCOMPLETE
LONGEST_HELLO: Final = 16_384
"Bytes of a client's first message that are waited for; usual ones have 300 to 2,000."
_HANDSHAKE, _CLIENT_HELLO = 22, 1
_VERSION_AND_RANDOM, _RECORD_HEAD, _MESSAGE_HEAD = 34, 5, 4
"Bytes."


class _NotReadableError(Exception):
    """This is no beginning of TLS."""


class _Fields:
    """The fields of a message, one after the other."""

    def __init__(self, content: bytes) -> None:
        self._rest = content

    def __bool__(self) -> bool:
        return bool(self._rest)

    def take(self, size: int) -> bytes:
        """Return as many bytes. Raise _NotReadableError if there are fewer."""
        if len(self._rest) < size:
            raise _NotReadableError
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def vector(self, size: int) -> bytes:
        """Return what follows its own length, which has `size` bytes."""
        return self.take(self.number(size))


def server_name(received: bytes) -> str | Incomplete | None:
    """Return the name of the server that a client asks for in its first message (RFC 8446, 4.1.2; RFC 6066, 3).

    Return None if it asks for none, or if this is no beginning of TLS.
    """
    try:
        message = _handshake(received)
        if isinstance(message, Incomplete):
            return message if len(received) < LONGEST_HELLO else None
        return _name_in(message)
    except _NotReadableError:
        return None


def _handshake(received: bytes) -> bytes | Incomplete:
    """Return the first message of the handshake, which may be in several records (RFC 8446, 5.1)."""
    message, rest = b"", received
    while True:
        if rest and rest[0] != _HANDSHAKE:
            raise _NotReadableError
        size = int.from_bytes(rest[3:5])
        if len(rest) < _RECORD_HEAD + size:
            return INCOMPLETE
        if size == 0:
            raise _NotReadableError
        end = _RECORD_HEAD + size
        message, rest = message + rest[_RECORD_HEAD:end], rest[end:]
        if message[0] != _CLIENT_HELLO:
            raise _NotReadableError
        length = _MESSAGE_HEAD + int.from_bytes(message[1:_MESSAGE_HEAD])
        if len(message) >= _MESSAGE_HEAD and len(message) >= length:
            return message[_MESSAGE_HEAD:length]


def _name_in(message: bytes) -> str | None:
    hello = _Fields(message)
    hello.take(_VERSION_AND_RANDOM)
    for size in (1, 2, 1):  # the session, the ciphers, the compressions
        hello.vector(size)
    extensions = _Fields(hello.vector(2) if hello else b"")
    while extensions:
        kind, content = extensions.number(2), extensions.vector(2)
        if kind == 0:
            names = _Fields(_Fields(content).vector(2))
            if names.number(1) != 0:
                raise _NotReadableError
            return names.vector(2).decode("ascii", "replace")
    return None
