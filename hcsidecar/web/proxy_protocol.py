r"""Finds the PROXY protocol prefix that some balancers send at the start of a connection, probes included.

The format is that of the HAProxy project's "The PROXY protocol, versions 1 and 2". The addresses in a prefix are not
believed, since anybody may send one, so only its length matters here:

    version 1   PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\n          at most 107 bytes
    version 2   12 bytes of signature, version and command, family, length (16 bits), then addresses and TLVs
"""

import re

from hcsidecar.web.refusals import ConnectionRefusal

LONGEST_V1 = 107
LONGEST_V2 = 8192
"In bytes; a balancer sends some hundred (AWS adds its endpoint id, HAProxy may add names from a certificate)."

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_HEADER = len(_SIGNATURE) + 4
_V1 = re.compile(rb"PROXY (?:TCP4|TCP6|UNKNOWN)(?: [ -~]*)?\r\n")
_LOCAL_OR_PROXY = (0x20, 0x21)
"The high half of the byte is the version."


def prefix_length(data: bytes) -> int | ConnectionRefusal | None:
    """Return the length of the prefix of a connection, 0 if it has none; None while more must be read."""
    match data[:1]:
        case b"":
            return None
        case b"P":
            return _v1_length(data)
        case b"\r":
            return _v2_length(data)
        case _:
            return 0


def _v1_length(data: bytes) -> int | ConnectionRefusal | None:
    if not _begins_alike(data, b"PROXY "):
        return 0
    end = data.find(b"\n", 0, LONGEST_V1) + 1
    if not end:
        return None if len(data) < LONGEST_V1 else ConnectionRefusal.PROXY_PREFIX
    return end if _V1.fullmatch(data, 0, end) else ConnectionRefusal.PROXY_PREFIX


def _v2_length(data: bytes) -> int | ConnectionRefusal | None:
    if not _begins_alike(data, _SIGNATURE):
        return 0
    if len(data) < _HEADER:
        return None
    length = _HEADER + int.from_bytes(data[_HEADER - 2 : _HEADER], "big")
    if data[len(_SIGNATURE)] not in _LOCAL_OR_PROXY or length > LONGEST_V2:
        return ConnectionRefusal.PROXY_PREFIX
    return length if len(data) >= length else None


def _begins_alike(data: bytes, pattern: bytes) -> bool:
    """Return whether the data and the pattern agree as far as the shorter one goes."""
    return data[: len(pattern)] == pattern[: len(data)]
