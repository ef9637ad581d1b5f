"""The kinds of packet filters, apart from the code that chooses one, for modules that only name them."""

from enum import Enum


class FilterKind(Enum):
    """The place where packets are filtered."""

    XDP = "xdp"
    "In the driver, before the kernel's network stack sees a packet."
    XDP_GENERIC = "xdp generic"
    "The same program, run by the kernel for any interface; no faster than tc."
    TC = "tc"
    "Where the interface hands packets to the network stack."
    NFQUEUE = "nfqueue"
    "In this process: slow, but independent of BPF."
