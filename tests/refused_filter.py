"""An object file of the packet filter that no kernel's verifier accepts, as an old kernel refuses the real one."""

from l2mode.kernel.libbpf import OBJECT

_SKC_LOOKUP_TCP = bytes([0x85, 0, 0, 0, 99, 0, 0, 0])
_NO_HELPER = bytes([0x85, 0, 0, 0, 0xFF, 0xFF, 0, 0])


def refused_object(directory):
    """Write it: bpf_skc_lookup_tcp's number becomes one that no helper has."""
    whole = OBJECT.read_bytes()
    assert _SKC_LOOKUP_TCP in whole
    written = directory / "refused.bpf.o"
    written.write_bytes(whole.replace(_SKC_LOOKUP_TCP, _NO_HELPER))
    return written
