"""What the nodes, and the command line, say to each other for a rotation of the farm's keys; see `key_rotation`."""

import hmac
from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Final

import msgspec

from hcsidecar.core.key_rotation import KeyFacts, RotationId, RotationStep
from hcsidecar.core.membership.heartbeat import MAX_NODES, NodeName
from hcsidecar.core.request_bodies import Body

KEYS_PATH: Final = "/api/v1/keys"
STEPS_PATH: Final = "/api/v1/keys/steps"
MATERIAL_PATH: Final = "/api/v1/keys/material"
PROOF_PURPOSE: Final = "rotation order"
SEAL_PURPOSE: Final = "rotation authority"
LONGEST_MATERIAL: Final = 65_536
"Bytes of the answer with a new key and a new certificate authority."
_LONGEST_PEM: Final = 16_384

Hex = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Fingerprint = Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{64})?$")]
Pem = Annotated[str, msgspec.Meta(max_length=_LONGEST_PEM)]


class RotateBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Begin a rotation, with a new certificate authority as PEM, made by the command."""

    authority: Pem
    authority_key: Pem


class KeyReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a node says of its keys: `GET /api/v1/keys`; fingerprints in hexadecimal digits, no secrets."""

    node: NodeName
    rotation: RotationId | None
    authority: Fingerprint
    certificate: Fingerprint
    recorded: Annotated[Mapping[NodeName, Fingerprint], msgspec.Meta(max_length=2 * MAX_NODES)]

    @property
    def facts(self) -> KeyFacts:
        """The same for `why_not_rotate`."""
        return KeyFacts(
            rotation=self.rotation, authority=self.authority, certificate=self.certificate, recorded=self.recorded
        )


class StepBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An order of a coordinator."""

    rotation: RotationId
    step: RotationStep
    proof: Fingerprint = ""
    "That the coordinator has the new key; not for the first step, which is how a node gets it."
    sealed: Annotated[str, msgspec.Meta(max_length=8 * _LONGEST_PEM, pattern="^[0-9a-f]*$")] = ""
    "To certify: `SealedAuthority`, sealed with the new key, in hexadecimal digits."


class SealedAuthority(msgspec.Struct, frozen=True, kw_only=True):
    """The new certificate authority, as PEM."""

    authority: Pem
    authority_key: Pem


class StepAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a node answers to an order."""

    problem: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    "Why it has not done it, to complete a sentence about the node; empty if it has."


class KeyMaterial(msgspec.Struct, frozen=True, kw_only=True):
    """The new key of a rotation; sent over TLS only, to a node whose certificate is recorded."""

    rotation: RotationId
    secret: Hex
    added: float
    "Seconds since 1970."
    authority: Pem
    "The new certificate authority, which is taken at the last step."
    authority_key: Pem


class KeptRotation(msgspec.Struct, frozen=True, kw_only=True):
    """What a node keeps on its disk of the latest rotation that it takes part in."""

    rotation: RotationId
    key: int
    "The id of its key."
    authority: Fingerprint = ""
    "Of the new certificate authority."
    sealed: str = ""
    "`SealedAuthority`, sealed with the new key, in hexadecimal digits."
    unfinished: bool = False
    "This node coordinates it, and nobody has been told yet how it ended."


def proof_of(body: StepBody, key: bytes) -> str:
    """Return the proof of an order, by the key derived for PROOF_PURPOSE."""
    content = msgspec.json.encode([body.rotation, body.step, body.sealed])
    return hmac.new(key, content, sha256).hexdigest()


def is_proved(body: StepBody, key: bytes) -> bool:
    """Return whether an order comes from somebody who has the new key."""
    return hmac.compare_digest(body.proof, proof_of(body, key))
