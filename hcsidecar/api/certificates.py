"""The part of the API about the certificate of this node's console, by the farm's authority.

GET  /api/v1/certificates/console    what the certificate would be, and a nonce for the request
POST /api/v1/certificates/console    make it, for a certificate request: {"nonce", "request": PEM}

Both are for the console on this machine, and for root and the daemon's user, and never for another node.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, Protocol

from hcsidecar.api.requests import ApiError, Reply, document, only, parse_body
from hcsidecar.core.joining.console_certificate import (
    ConsoleCertificateAnswer,
    ConsoleCertificateTerms,
    ConsoleRequestBody,
)

CERTIFICATES_PATH: Final = "/api/v1/certificates"
ON_THIS_MACHINE: Final = "a console has its certificate made by the daemon of its own node, and by no other one"


class CertificatesControl(Protocol):
    """The daemon, as this part of the API sees it."""

    def terms(self) -> ConsoleCertificateTerms:
        """Return what a certificate for the console would be, or why there is none."""

    async def certify(self, body: ConsoleRequestBody) -> ConsoleCertificateAnswer:
        """Have a certificate made for the console, or say why not."""


async def answer(
    control: CertificatesControl, method: str, parts: Sequence[str], body: bytes, *, sender: str | None
) -> Reply:
    """Serve a request; `parts` is the path below /certificates, `sender` the node that asks, None on the machine."""
    if parts != ["console"]:
        raise ApiError(HTTPStatus.NOT_FOUND, "the API has no such path")
    if sender is not None:
        raise ApiError(HTTPStatus.BAD_REQUEST, ON_THIS_MACHINE)
    if method == "GET":
        return document(control.terms())
    if method != "POST":
        only("GET or POST", method)
    return document(await control.certify(parse_body(body, ConsoleRequestBody)))
