"""The size of a farm's largest heartbeat on the network. One above the MTU is sent in fragments."""

from random import Random
from typing import Final

from hcsidecar.core.farmfile.farm_file import FarmFile
from hcsidecar.core.farmfile.values import is_ipv6
from hcsidecar.core.membership.heartbeat import MAX_BUCKET_BYTES, Heartbeat, encode
from hcsidecar.core.membership.revision_state import MARK_BYTES, RevisionState, TrialStage

ETHERNET_MTU: Final = 1500
"The MTU of Ethernet, in bytes; tunnels and some clouds have a smaller one."

SEAL_BYTES: Final = 48
"The bytes that sealing adds (`hcsidecar.net.sealing`)."
_UDP_BYTES: Final = 8
_IP_BYTES: Final = {4: 20, 6: 40}

_BOOT: Final = 1_790_000_000_000
"A typical boot number: milliseconds since 1970."
_BOOTS: Final = 10**10
"The range of the boot numbers of a farm: months, in milliseconds."
_REVISIONS: Final = 10**6
"A change of the settings a minute for two years."
_SEQUENCES: Final = 10**8
"A sequence number after months of heartbeats."


def largest_packet(farm: FarmFile) -> int:
    """Return the size of the packet with the largest heartbeat of a farm, in bytes and with its IP header.

    In this heartbeat, all nodes serve and hear each other, and in a farm with [l2] each holds connections in half of
    all buckets. Unknown numbers are drawn at random, so that they are hard to compress; each call draws the same ones.
    """
    random = Random(farm.farm.name)  # noqa: S311 - nothing is secret here
    names = sorted(node.name for node in farm.node)
    longest = max(names, key=len)
    powers = (random.randint(1, 100),) * max(1, len(farm.share_names))
    heartbeat = Heartbeat(
        farm=farm.farm.name,
        node=longest,
        boot=_BOOT,
        seq=_SEQUENCES,
        role="UP",
        status="Ready",
        wants=True,
        powers=powers,
        settings_digest=random.randbytes(16),
        view=tuple((name, powers) for name in names),
        holding=True,
        dirty=farm.l2 is not None,
        dirty_buckets=random.randbytes(MAX_BUCKET_BYTES) if farm.l2 is not None else b"",
        mac=random.randbytes(6),
        counters=(random.randrange(2**48), random.randrange(2**40)),
        heard_boots=tuple((name, _BOOT + random.randrange(_BOOTS)) for name in names if name != longest),
        heard_seqs=tuple(random.randrange(_SEQUENCES) for name in names if name != longest),
        timing=(1_000_000, 10_000_000),
        slowest=(1_000_000, 10_000_000),
        revisions=RevisionState(
            settled=(_REVISIONS, random.randbytes(MARK_BYTES)),
            trial=(_REVISIONS + 1, random.randbytes(MARK_BYTES)),
            stage=TrialStage.HEARS_ALL,
            highest=_REVISIONS + 1,
        ),
    )
    ipv6 = any(is_ipv6(address) for node in farm.node for address in node.addresses.values())
    return len(encode(heartbeat)) + SEAL_BYTES + _UDP_BYTES + _IP_BYTES[6 if ipv6 else 4]
