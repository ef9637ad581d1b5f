"""Why a connection to the health URL was refused: counted, never logged, since anybody may send anything."""

from enum import StrEnum


class ConnectionRefusal(StrEnum):
    """The reasons, in the words of the counters in `status` and in the metrics."""

    PROXY_PREFIX = "bad PROXY prefix"
    TLS = "no TLS handshake"
    REQUEST_LINE = "bad request line"
    HEADER = "bad header"
    NO_HOST = "no Host header"
    HTTP_2 = "HTTP/2"
    TOO_LARGE = "request head too large"
    TOO_SLOW = "request head too slow"
    PIPELINED = "too many requests at once"
    READS_TOO_SLOWLY = "reads too slowly"
    CROWDED_OUT = "crowded out"
    "There were too many connections, and this one had been silent longest."
    UNREADABLE_FOR_API = "unreadable for the API"
