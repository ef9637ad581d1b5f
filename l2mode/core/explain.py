"""Which node takes a client, and why: the answer to `hcsidecar explain`, from the tables that the filter obeys."""

from collections.abc import Iterator
from dataclasses import dataclass

from l2mode.core.documents import ClientExplanation, ShareExplanation
from l2mode.core.handover import BucketState, Handover
from l2mode.core.hashing import bucket_of_address, bucket_of_port
from l2mode.core.settings import By, LayerTwoSettings, Protocol, ShareGroup, VirtualIp


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """The client that a question is about. Its address and the VIP, if one is named, are of one family."""

    address: VirtualIp
    port: int | None = None
    "Its source port; None: not known."
    vip: VirtualIp | None = None
    "The VIP that it uses; None: any."


def explain(handover: Handover, settings: LayerTwoSettings, client: Client, *, now: float) -> ClientExplanation:
    """Return which node takes a client, for each share group that the client can use."""
    return ClientExplanation(
        farm=settings.farm,
        node=settings.me,
        view=tuple(name for name, _ in handover.view),
        address=str(client.address),
        port=client.port,
        vip=None if client.vip is None else str(client.vip),
        shares=tuple(
            _explain_group(handover, settings, client, index, now=now)
            for index, group in enumerate(settings.groups)
            if _vips_of(group, settings, client)
        ),
    )


def _explain_group(
    handover: Handover, settings: LayerTwoSettings, client: Client, index: int, *, now: float
) -> ShareExplanation:
    group = settings.groups[index]
    bucket = _bucket(group, settings.seed, client)
    owners = handover.owners(index)
    owner = None if bucket is None else owners[bucket]
    phase = None if bucket is None else handover.phase(index, bucket)
    may_hold = tuple(_dirty(handover, settings.me, owner, bucket)) if group.protocol is Protocol.TCP else ()
    return ShareExplanation(
        share=group.name,
        protocol=group.protocol.value,
        ports=group.ports,
        vips=_vips_of(group, settings, client),
        by=group.by.value,
        bucket=bucket,
        owner=owner,
        phase=None if phase is None else phase.value,
        fraction=0.0 if owner is None else round(owners.count(owner) / len(owners), 4),
        may_hold=may_hold,
        reason=_reason(handover, settings.me, group, phase, owner, now=now) + _older(may_hold),
    )


def _vips_of(group: ShareGroup, settings: LayerTwoSettings, client: Client) -> tuple[str, ...]:
    """Return the VIPs of a group that this client can mean."""
    vips = settings.vips if group.vip is None else (group.vip,)
    wanted = vips if client.vip is None else (client.vip,)
    return tuple(str(vip) for vip in vips if vip in wanted and vip.version == client.address.version)


def _bucket(group: ShareGroup, seed: bytes, client: Client) -> int | None:
    address = client.address.packed
    if group.by is By.ADDRESS:
        return bucket_of_address(seed, address)
    if client.port is None or _goes_by_datagram(group, client):
        return None
    return bucket_of_port(seed, address, client.port)


def _goes_by_datagram(group: ShareGroup, client: Client) -> bool:
    """Return whether each datagram goes by itself: not in IPv6, which lacks an identification and goes by port."""
    return group.by is By.DATAGRAM and client.address.version == 4  # noqa: PLR2004 - IPv4


def _dirty(handover: Handover, me: str, owner: str | None, bucket: int | None) -> Iterator[str]:
    """Yield the nodes that may hold connections of the bucket that are older than its owner's claim."""
    masks = {neighbour.name: neighbour.dirty_buckets for neighbour in handover.neighbours} | {me: handover.foreign}
    for name, mask in sorted(masks.items()):
        if name != owner and (mask if bucket is None else mask >> bucket & 1):
            yield name


def _reason(
    handover: Handover, me: str, group: ShareGroup, phase: BucketState | None, owner: str | None, *, now: float
) -> str:
    view = ", ".join(name for name, _ in handover.view)
    if not view:
        return f"{me} is in no view, and so does not know who takes what: ask another node"
    if phase is None and group.by is By.DATAGRAM:
        return f"each datagram goes by its own identification, to any of {view}"
    if phase is None:
        return "it goes by address and port: name the client's source port too"
    if owner is None:
        return f"nobody takes it: no member of the view has a power in {group.name}"
    if phase is BucketState.OTHER:
        return f"{owner} takes it, by the view of {view}"
    if phase is BucketState.PENDING:
        return f"the view gives it to {me}, which has not claimed it yet: the former owner must let go first"
    if now >= handover.lease:
        return f"it belongs to {me}, whose lease is over: nobody takes it until the lease is renewed"
    return f"{me} takes it: the bucket is open here"


def _older(may_hold: tuple[str, ...]) -> str:
    if not may_hold:
        return ""
    verb = "is" if len(may_hold) == 1 else "are"
    return f"; older connections may live on {' or '.join(may_hold)}, which {verb} dirty"
