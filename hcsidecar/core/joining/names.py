"""The name by which every node's certificate can be asked for."""

from typing import Final

SERVER_NAME: Final = "node.hcsidecar.internal"
"""Each certificate of a node has this name beside its own, and a client of the farm asks for it (SNI, RFC 6066): it
reaches a node by an address that may be translated on the way, and on a listener that has the operator's certificate
for everybody else. `.internal` is reserved for private use."""
