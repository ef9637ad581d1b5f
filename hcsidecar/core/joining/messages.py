"""What a new server and the node that lets it in say to each other.

GET  /api/v1/joining          who answers, and a nonce for one request
POST /api/v1/joining/plan     what adding the new server would do; changes nothing
POST /api/v1/joining/apply    add it, and hand over what it needs
POST /api/v1/joining/done     it has everything: the token is used

All of it is over TLS with a certificate of the farm's authority. The body of each POST is a `JoinBody`, and the header
PROOF has the proof by the token.
"""

import shlex
from collections.abc import Mapping
from typing import Annotated, Final

import msgspec

from hcsidecar.core.membership.heartbeat import PROTOCOL_VERSION, NodeName
from hcsidecar.core.request_bodies import Body

PATH: Final = "/api/v1/joining"
PLAN: Final = f"{PATH}/plan"
APPLY: Final = f"{PATH}/apply"
DONE: Final = f"{PATH}/done"
TOKENS: Final = f"{PATH}/tokens"
"On the node itself only: make a token."
PROOF: Final = "X-Join-Proof"
LARGEST_ANSWER: Final = 8 * 1024 * 1024
"Bytes: 4 MiB of files as base64, and what comes with them."
LONGEST_VALID: Final = 86_400.0
"Seconds that a token may be good for at the most."

_Address = Annotated[str, msgspec.Meta(min_length=2, max_length=45)]


class Greeting(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers: nothing that is secret."""

    authority: str
    "The certificate of the farm's authority, as PEM; believed if its fingerprint is that in the token."
    nonce: str
    version: str
    protocol: int


class JoinBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a new server asks with."""

    token: Annotated[str, msgspec.Meta(min_length=16, max_length=16)]
    "The id of its token."
    nonce: Annotated[str, msgspec.Meta(min_length=32, max_length=32)]
    version: Annotated[str, msgspec.Meta(max_length=40)]
    protocol: int
    node: NodeName
    addresses: Annotated[Mapping[NodeName, _Address], msgspec.Meta(min_length=1, max_length=16)]
    "An address on each network of the farm."
    without: Annotated[tuple[NodeName, ...], msgspec.Meta(max_length=64)] = ()
    "Nodes that need not agree: dead ones."
    digest: Annotated[str, msgspec.Meta(max_length=64)] = ""
    "Of the candidate that `plan` has named and that is to be applied."


class JoinFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the farm's settings."""

    name: str
    content: bytes
    executable: bool = False


class JoinPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What adding the new server does."""

    farm: str
    issuer: str
    "The node that answers."
    problems: tuple[str, ...] = ()
    "Why it cannot be added, all of them."
    lines: tuple[str, ...] = ()
    "The plan for people."
    files: tuple[JoinFile, ...] = ()
    "The settings with the new node in them."
    digest: str = ""
    "Of the candidate; empty if the node is in the farm file already, and nothing needs to be applied."
    key_file: str = ""
    "The place of the key file, relative to the farm file, or absolute."


class Handout(msgspec.Struct, frozen=True, kw_only=True):
    """What the new server needs, once it has been added; or why it has not."""

    reasons: tuple[str, ...] = ()
    "Why it was not added, all of them; then the rest is empty."
    text: str = ""
    "What has happened, for people."
    files: tuple[JoinFile, ...] = ()
    key_file: bytes = b""
    certificate: bytes = b""
    "Of the authority."
    authority_key: bytes = b""

    def __repr__(self) -> str:
        return f"Handout(reasons={self.reasons!r}, text={self.text!r})"


class JoinTokenBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a token is to be good for: `POST /api/v1/joining/tokens`, on the node itself only."""

    node: NodeName | None = None
    "Only for a new node of this name; None: any."
    address: _Address | None = None
    "Only for a server with this address; None: any."
    valid: Annotated[float, msgspec.Meta(ge=1, le=LONGEST_VALID)] = 900.0
    "Seconds."


class JoinTokenAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A new token, or why there is none."""

    token: str = ""
    host: str = ""
    "Where the new server reaches this node, with the port if it is not the usual one."
    problem: str = ""

    def command(self, node: str | None) -> str:
        """Return the line that is pasted on the new server; `node` is the name that the token is for, None: any."""
        return f"hcsidecar join {self.host} --token {self.token}" + (f" --name {shlex.quote(node)}" if node else "")

    def __repr__(self) -> str:
        return f"JoinTokenAnswer(host={self.host!r}, problem={self.problem!r})"


def why_not_this_version(*, theirs: str, their_protocol: int, ours: str, who: str, we: str) -> str | None:
    """Return why two versions of hcsidecar cannot be of one farm, or None."""
    if their_protocol == PROTOCOL_VERSION:
        return None
    return (
        f"{who} has hcsidecar {theirs}, and {we} {ours}, which speaks otherwise with other nodes:"
        " install the same version on both"
    )
