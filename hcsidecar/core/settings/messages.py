"""What the nodes say to each other when they agree on a revision, besides their heartbeats.

A message goes from node to node as a signed request, so its sender is known. Messages may get lost, come twice, late
and in any order; whoever needs an answer asks again. They are JSON. Bytes from the network are data: `decode_message`
returns None for anything that is not a message within the limits.
"""

from typing import Annotated, Final

import msgspec

from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.core.membership.heartbeat import MAX_NODES, NodeName
from hcsidecar.core.settings.revision import MAX_PARENTS, Digest, RevisionId

MAX_ANCESTORS: Final = 500
"Revisions that a node remembers to be before its own: years of changes."
SHORTEST_CONFIRM: Final = 1.0
LONGEST_CONFIRM: Final = 3600.0
LONGEST_DRAIN: Final = 3600.0
LONGEST_REASON: Final = 500
MOST_REASONS: Final = 100
_LONGEST_MESSAGE: Final = 65_536
"Bytes; 500 ancestors take 40,000."

Ancestors = Annotated[tuple[RevisionId, ...], msgspec.Meta(max_length=MAX_ANCESTORS)]
Names = Annotated[tuple[NodeName, ...], msgspec.Meta(max_length=2 * MAX_NODES)]
Token = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
RefusalReason = Annotated[str, msgspec.Meta(max_length=LONGEST_REASON)]


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A revision that one node, the coordinator, proposes to all."""

    token: Token
    "Tells one proposal from another of the same revision."
    coordinator: NodeName
    revision: RevisionId
    parents: Annotated[tuple[Digest, ...], msgspec.Meta(max_length=MAX_PARENTS)]
    "What a node must go by to take it: one of these; none for the first revision of a farm."
    ancestors: Ancestors
    "What is before the revision, its parents included, sorted."
    participants: Names
    "Who must agree, the coordinator included."
    removed: Names = ()
    "Nodes that are no longer in the farm with this revision."
    confirm: Annotated[float, msgspec.Meta(ge=SHORTEST_CONFIRM, le=LONGEST_CONFIRM)]
    "Seconds within which all must hear each other with the new settings."
    drain: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_DRAIN)] = 0.0
    "Seconds for which a node that is removed may drain before it goes."


class Prepare(msgspec.Struct, frozen=True, kw_only=True, tag="prepare"):
    """The coordinator asks: obtain this revision from me, check it on your machine, and wait for my word."""

    proposal: Proposal


class Prepared(msgspec.Struct, frozen=True, kw_only=True, tag="prepared"):
    """A node answers: I have it, it is right here, and I agree to nothing else meanwhile."""

    token: Token


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """A node answers: I do not take it, for these reasons."""

    token: Token
    reasons: Annotated[tuple[RefusalReason, ...], msgspec.Meta(min_length=1, max_length=MOST_REASONS)]


class Begin(msgspec.Struct, frozen=True, kw_only=True, tag="begin"):
    """The coordinator says to a node that is to be removed: all have promised; go by it before we leave you alone."""

    token: Token


class Abort(msgspec.Struct, frozen=True, kw_only=True, tag="abort"):
    """The coordinator says: the proposal is over, throw it away."""

    token: Token


class AskLineage(msgspec.Struct, frozen=True, kw_only=True, tag="ask lineage"):
    """A node asks which revision another goes by, and what was before it."""


class Lineage(msgspec.Struct, frozen=True, kw_only=True, tag="lineage"):
    """A node answers what it goes by, and what was before."""

    settled: RevisionId
    ancestors: Ancestors


AgreementMessage = Prepare | Prepared | Refused | Begin | Abort | AskLineage | Lineage


def encode_message(message: AgreementMessage) -> bytes:
    """Return the body of the request."""
    return msgspec.json.encode(message)


def decode_message(body: bytes) -> AgreementMessage | None:
    """Return the message in a body; None for anything that is not a message within its limits."""
    if len(body) > _LONGEST_MESSAGE:
        return None
    try:
        return read_json(body, AgreementMessage)  # type: ignore[arg-type]  # a union is no type to mypy
    except JsonError:
        return None
