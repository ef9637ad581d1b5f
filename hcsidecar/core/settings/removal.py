"""The proof that a farm has removed a node, for a node that was away then, or that nobody speaks to any more.

Whoever settles a revision without a node keeps a *removal notice* for it: the revision and what was before, with a MAC
by each key that the farm had at that time. The farm may have changed its keys since, so that nothing that the removed
node says is believed. It can read and check the notice nevertheless. Everybody may ask for one: it says nothing secret.
"""

import hmac
from collections.abc import Callable, Collection, Mapping
from hashlib import sha256
from typing import Annotated, Final, Protocol

import msgspec

from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.core.membership.heartbeat import NodeName
from hcsidecar.core.settings.messages import Ancestors, Lineage
from hcsidecar.core.settings.revision import RevisionId

PURPOSE: Final = "removal"
LONGEST_NOTICE: Final = 65_536
"Bytes; 500 ancestors take 40,000."
_KEY_ID: Final = "^[0-9a-f]{8}$"
_MAC: Final = "^[0-9a-f]{64}$"


class NoticeKeys(Protocol):
    """What a notice needs of the farm's keys; `hcsidecar.net.keyring.Keyring` provides it."""

    @property
    def ids(self) -> Collection[int]:
        """The ids of the keys that are valid."""

    def derive(self, purpose: str, key_id: int, info: bytes) -> bytes:
        """Return the key that is derived from the key of this id for a purpose. Raise KeyError if there is none."""


class RemovalNotice(msgspec.Struct, frozen=True, kw_only=True):
    """That a node is no longer in a farm."""

    farm: NodeName
    node: NodeName
    settled: RevisionId
    "The revision without it."
    ancestors: Ancestors
    seals: Annotated[
        Mapping[Annotated[str, msgspec.Meta(pattern=_KEY_ID)], Annotated[str, msgspec.Meta(pattern=_MAC)]],
        msgspec.Meta(max_length=16),
    ]
    "By the id of a key: HMAC-SHA256 over all of the above."

    @property
    def lineage(self) -> Lineage:
        """The revision without the node, and what was before it."""
        return Lineage(settled=self.settled, ancestors=self.ancestors)


def removal_notice(farm: str, node: str, lineage: Lineage, keys: NoticeKeys) -> RemovalNotice:
    """Return the notice, sealed with every key that there is."""
    bare = RemovalNotice(farm=farm, node=node, settled=lineage.settled, ancestors=lineage.ancestors, seals={})
    seals = {f"{key_id:08x}": _seal(bare, keys.derive(PURPOSE, key_id, farm.encode())) for key_id in keys.ids}
    return msgspec.structs.replace(bare, seals=seals)


def encode_notice(notice: RemovalNotice) -> bytes:
    """Return what is kept, and sent."""
    return msgspec.json.encode(notice)


def decode_notice(content: bytes) -> RemovalNotice | None:
    """Return the notice in bytes that anybody may have sent; None for anything else."""
    if len(content) > LONGEST_NOTICE:
        return None
    try:
        return read_json(content, RemovalNotice)
    except JsonError:
        return None


def is_proof(notice: RemovalNotice, *, farm: str, node: str, keys: NoticeKeys) -> bool:
    """Return whether somebody who had a key of the farm says this of the node."""
    if (notice.farm, notice.node) != (farm, node):
        return False
    return any(_is_sealed(notice, key_id, keys.derive, farm) for key_id in keys.ids)


def latest_removal(contents: Collection[bytes], *, farm: str, node: str, keys: NoticeKeys) -> Lineage | None:
    """Return the latest revision of which one of these answers proves that it has removed the node; None without."""
    notices = [notice for content in contents if (notice := decode_notice(content)) is not None]
    proved = [notice.lineage for notice in notices if is_proof(notice, farm=farm, node=node, keys=keys)]
    return max(proved, key=lambda lineage: lineage.settled, default=None)


def _is_sealed(notice: RemovalNotice, key_id: int, derive: Callable[[str, int, bytes], bytes], farm: str) -> bool:
    seal = notice.seals.get(f"{key_id:08x}")
    return seal is not None and hmac.compare_digest(seal, _seal(notice, derive(PURPOSE, key_id, farm.encode())))


def _seal(notice: RemovalNotice, key: bytes) -> str:
    content = msgspec.json.encode([notice.farm, notice.node, notice.settled, notice.ancestors])
    return hmac.new(key, content, sha256).hexdigest()
