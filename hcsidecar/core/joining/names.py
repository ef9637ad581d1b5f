"""The name by which every node's certificate can be asked for, and how people compare certificates."""

from typing import Final

SERVER_NAME: Final = "node.hcsidecar.internal"
"""Each certificate of a node has this name beside its own, and a client of the farm asks for it (SNI, RFC 6066): it
reaches a node by an address that may be translated on the way, and on a listener that has the operator's certificate
for everybody else. `.internal` is reserved for private use."""


def shown_fingerprint(digest: bytes) -> str:
    """Return the SHA-256 of a certificate as browsers and OpenSSL show it: `AB:CD:…`."""
    return digest.hex(":").upper()
