"""The part of the API about the farm's keys: what the nodes have, and their rotation.

GET  /api/v1/keys                    fingerprints, and the latest rotation
GET  /api/v1/keys/FINGERPRINT        the same; another node says which certificate it has itself
POST /api/v1/keys/rotation           change all keys; only on the node itself
POST /api/v1/keys/steps              an order of the coordinator of a rotation; only by another node
GET  /api/v1/keys/material/TOKEN     the new key: over TLS only, for a node whose certificate is recorded
"""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, Protocol

from aiohttp import web

from hcsidecar.api.requests import ApiError, Reply, document, only, parse_body
from hcsidecar.core.documents import CommandResult
from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.core.key_messages import MATERIAL_PATH, KeyMaterial, KeyReport, RotateBody, StepAnswer, StepBody
from hcsidecar.joining.node_tls import PeerCertificate, peer_certificate

_FINGERPRINT: Final = re.compile("[0-9a-f]{64}")
ON_THE_NODE_ITSELF = "keys are changed on a node itself, by somebody on its machine: run hcsidecar key rotate there"


class KeysControl(Protocol):
    """The daemon, as this part of the API sees it."""

    def report(self) -> KeyReport:
        """Return what this node says of its keys."""

    async def note_certificate(self, node: str, certificate: str) -> None:
        """Take in which certificate another node has, by its fingerprint."""

    async def rotate(self, body: RotateBody, *, by: str) -> CommandResult:
        """Change the keys of all nodes, and return how that ended."""

    async def take_step(self, body: StepBody, *, sender: str) -> StepAnswer:
        """Do what a coordinator orders."""

    def material(self, token: str, peer: PeerCertificate) -> KeyMaterial | None:
        """Return the new key for a node that shows its certificate; None if it is not to have it."""


class KeysDoor:
    """Gives new keys to nodes that show their certificates. `keys` is None until the daemon has started."""

    def __init__(self) -> None:
        self.keys: KeysControl | None = None

    def routes(self) -> list[web.RouteDef]:
        """Return the routes, which need no signature: the certificate proves more."""
        return [web.get(f"{MATERIAL_PATH}/{{token}}", self._give)]

    async def _give(self, request: web.Request) -> web.StreamResponse:
        peer = peer_certificate(request.transport)
        keys = self.keys
        found = None if keys is None or peer is None else keys.material(request.match_info["token"], peer)
        if found is None:
            response = web.Response(status=HTTPStatus.UNAUTHORIZED)
        else:
            reply = document(found)
            response = web.Response(body=reply.body, content_type="application/json")
        response.headers["Cache-Control"] = "no-store"
        response.force_close()
        return response


async def answer(
    keys: KeysControl, method: str, parts: Sequence[str], body: bytes, *, by: str, sender: str | None
) -> Reply | CommandResult:
    """Serve a request; `parts` is the path below /keys, `sender` the node that asks, None on the machine itself."""
    match parts:
        case []:
            only("GET", method)
            return document(keys.report())
        case [certificate] if method == "GET" and sender is not None and _FINGERPRINT.fullmatch(certificate):
            await keys.note_certificate(sender, certificate)
            return document(keys.report())
        case ["rotation"]:
            if sender is not None:
                raise ApiError(HTTPStatus.BAD_REQUEST, ON_THE_NODE_ITSELF)
            only("POST", method)
            return await keys.rotate(parse_body(body, RotateBody), by=by)
        case ["steps"]:
            if sender is None:
                raise ApiError(HTTPStatus.BAD_REQUEST, "only the other nodes of the farm say this to a node")
            only("POST", method)
            try:
                order = read_json(body, StepBody)
            except JsonError as error:
                raise ApiError(HTTPStatus.BAD_REQUEST, f"the body is not right: {error}") from None
            return document(await keys.take_step(order, sender=sender))
    raise ApiError(HTTPStatus.NOT_FOUND, "the API has no such path")
