"""The kinds of packet filters; apart, for who has to name them and never chooses one."""

from enum import Enum


class FilterKind(Enum):
    """Where packets are filtered."""

    XDP = "xdp"
    "In the driver, before the kernel makes anything of a packet."
    XDP_GENERIC = "xdp generic"
    "The same program, run by the kernel for any interface; no faster than tc."
    TC = "tc"
    "Where the interface hands packets to the stack."
    NFQUEUE = "nfqueue"
    "In this process: slow, and needs nothing of BPF."
