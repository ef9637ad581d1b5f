"""Asks the network which machines answer for a virtual IP, as a client would, for `hcsidecar l2-check`."""

import time
from dataclasses import dataclass

from l2mode.core.frames import AddressClaim, parse, question
from l2mode.core.settings import VirtualIp
from l2mode.kernel.errors import FilterError
from l2mode.kernel.interface import mac_of, read_addresses
from l2mode.kernel.raw_frames import RawFrames


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReply:
    """One machine's answer."""

    mac: bytes
    "The MAC that it gives for the virtual IP."
    source_mac: bytes
    "The machine's own MAC. It is not `mac` in flooded delivery, where `mac` is virtual, or if it speaks for another."
    milliseconds: float
    "Time since the question."


def who_answers(interface: str, vip: VirtualIp, timeout: float) -> list[ProbeReply]:
    """Ask everybody for the virtual IP. Return the first answer of each machine within `timeout` seconds.

    This machine's own answer is missing, since a question does not come back to its sender; a caller that answers for
    the virtual IP adds its own. This function blocks, so call it in a thread. Raise FilterError if the network cannot
    be asked.
    """
    frames = RawFrames(interface, (vip,), tell=lambda *_: None)
    try:
        source_mac = mac_of(interface)
        # Without an own address it asks like a host that would like this one; a conforming owner answers that too.
        asker = next((address for address in _own_addresses(interface, vip)), None)
        asked_at = time.monotonic()
        frames.send([question(source_mac=source_mac, asker=asker, target=vip)])
        found: dict[tuple[bytes, bytes], ProbeReply] = {}
        while not frames.trouble and (left := asked_at + timeout - time.monotonic()) > 0:
            frames.wait(left)
            milliseconds = (time.monotonic() - asked_at) * 1000
            for claim in map(parse, frames.read()):
                if isinstance(claim, AddressClaim) and claim.address == vip:
                    answer = ProbeReply(mac=claim.mac, source_mac=claim.source_mac, milliseconds=milliseconds)
                    found.setdefault((claim.mac, claim.source_mac), answer)
    finally:
        frames.close()
    if frames.trouble:
        raise FilterError(frames.trouble, f"ip link set {interface} up")
    return list(found.values())


def _own_addresses(interface: str, vip: VirtualIp) -> list[VirtualIp]:
    """Return this interface's addresses of the family, global ones first."""
    own = [
        place
        for place in read_addresses()
        if place.interface == interface and place.address.version == vip.version and place.address != vip
    ]
    return [place.address for place in sorted(own, key=lambda place: not place.usable_as_source)]
