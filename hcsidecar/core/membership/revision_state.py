"""What a heartbeat says of the revisions of the settings; `hcsidecar/core/settings/agreement.py` acts on it."""

from enum import IntEnum
from typing import Annotated

import msgspec

MARK_BYTES = 8
"Bytes of a revision's digest in a heartbeat: enough to tell the few revisions of a farm apart."

RevisionMark = tuple[
    Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)], Annotated[bytes, msgspec.Meta(max_length=MARK_BYTES)]
]
"Number and first bytes of the digest of a revision."
NO_REVISION: RevisionMark = (0, b"")


class TrialStage(IntEnum):
    """How far a node is with the revision that it names in `trial`."""

    NONE = 0
    "It tries none."
    RUNNING = 1
    "It goes by the revision."
    HEARS_ALL = 2
    "It goes by the revision and hears so from all whom it heard before."
    UNDONE = 3
    "It has gone back from the revision."


class RevisionState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The revisions of one node."""

    settled: RevisionMark = NO_REVISION
    "What the node goes by, confirmed; NO_REVISION while its farm file is no revision yet."
    trial: RevisionMark = NO_REVISION
    stage: TrialStage = TrialStage.NONE
    highest: Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)] = 0
    "The highest number of a revision that the node has seen."
