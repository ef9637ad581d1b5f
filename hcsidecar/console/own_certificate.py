"""The certificate that the console shows: one of the farm's authority, and without that one of its own making.

The console makes its key itself, has the certificate made by the daemon of its node (`api/certificates.py`), and puts
both into the TLS context that is in use: connections go on, and each new one sees the new certificate. The key is never
on a disk.
"""

import asyncio
import logging
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from http import HTTPStatus
from typing import Final

import msgspec

from hcsidecar.console.daemon_client import DaemonClient, NoAnswerError, reason_of
from hcsidecar.core.joining.console_certificate import (
    ConsoleCertificateAnswer,
    ConsoleCertificateTerms,
    ConsoleRequestBody,
    HeldCertificate,
    held_certificate,
    why_made_anew,
)
from hcsidecar.core.joining.names import shown_fingerprint
from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.system.blocking_calls import BlockingCalls
from hcsidecar.system.threads import NoThreadError

LOOK: Final = 5.0
"Seconds between two looks at what the certificate is to be; each takes a millisecond."
AFTER_FAILURE: Final = 15.0
"Seconds after which it is tried again to have a certificate made."
AWAY: Final = 3.0
"Seconds between two looks for a daemon that does not answer, before the first certificate."
SOON: Final = 0.5
"Seconds between two looks while the daemon is just making its own certificate."
BEGIN: Final = 15.0
"Seconds for which the start waits for a daemon that is doing so."
FRESH: Final = 5.0
"Seconds for which the daemon is not asked again for the authority, whoever wants to see it."
TERMS_LIMIT: Final = 1.0
"Seconds that the daemon may take to say what the certificate is to be."
CERTIFY_LIMIT: Final = 70.0
"Seconds that it may take to have it made, on a machine that is slow and busy."
OWN_RENEWED: Final = 300 * 86400.0
"Seconds after which the console makes itself another one; it is good for 397 days."
_PATIENCE: Final = 60.0
"Seconds for making a key."
_CERTIFICATE: Final = "/certificates/console"
_REQUEST: Final = b"-----BEGIN CERTIFICATE REQUEST-----"

logger = logging.getLogger("hcsidecar.console")


class NoCertificateError(Exception):
    """The console has no certificate; the text says why, and what to do."""


class FarmAuthority:
    """What the daemon says of the farm's authority; those who ask at the same time share an answer."""

    def __init__(self, client: DaemonClient) -> None:
        self._client = client
        self._known: ConsoleCertificateTerms | None = None
        self._asked_at = float("-inf")
        self._asking: asyncio.Task[ConsoleCertificateTerms] | None = None

    async def terms(self) -> ConsoleCertificateTerms:
        """Return what a certificate of the console would be, from the daemon itself. Raise NoAnswerError."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        # One who goes away does not end it for the others.
        return await asyncio.shield(self._asking)

    async def latest(self) -> ConsoleCertificateTerms:
        """Return the same, as it was at most FRESH seconds ago. Raise NoAnswerError."""
        is_fresh = asyncio.get_running_loop().time() < self._asked_at + FRESH
        return self._known if self._known is not None and is_fresh else await self.terms()

    async def _ask(self) -> ConsoleCertificateTerms:
        self._known = await self._client.document(_CERTIFICATE, ConsoleCertificateTerms, limit=TERMS_LIMIT)
        self._asked_at = asyncio.get_running_loop().time()
        return self._known


class OwnCertificate:
    """Keeps the certificate in a TLS context; `wall_clock` returns seconds since 1970."""

    def __init__(
        self,
        client: DaemonClient,
        authority: FarmAuthority,
        context: ssl.SSLContext,
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._authority = authority
        self._context = context
        self._wall_clock = wall_clock
        self._calls = BlockingCalls("certificate")
        self._held: HeldCertificate | None = None
        "None while the console shows one that it has made for itself."
        self._own_made_at = float("-inf")
        self._complaint = ""

    async def begin(self, *, patience: float = BEGIN) -> None:
        """Put a certificate into the context. Raise NoCertificateError.

        `patience` is for a daemon that is just making its own certificate, in seconds.
        """
        for _ in range(round(patience / SOON)):
            if await self.look() != SOON:
                break
            await asyncio.sleep(SOON)
        else:
            self._complain("the daemon of this node has no certificate of it either; its log says why")
        if self._held is None:
            await self._make_own()

    async def run(self) -> None:
        """Keep the certificate until cancelled."""
        while True:
            # What has not come soon need not be waited for so closely.
            await asyncio.sleep(max(await self.look(), AWAY))
            if self._held is None and self._wall_clock() > self._own_made_at + OWN_RENEWED:
                try:
                    await self._make_own()
                except NoCertificateError as error:
                    self._complain(str(error))

    async def look(self) -> float:
        """Have a certificate made by the farm's authority, if it is time. Return the seconds until the next look."""
        try:
            terms = await self._authority.terms()
        except NoAnswerError as error:
            # A daemon that restarts is no news while the certificate is good.
            if self._held is not None:
                return LOOK
            self._complain(str(error))
            return AWAY
        if terms.problem:
            if self._held is None and not terms.soon:
                self._complain(terms.problem)
            return SOON if terms.soon and self._held is None else LOOK
        why = why_made_anew(self._held, terms, now=datetime.fromtimestamp(self._wall_clock(), UTC))
        if why is not None:
            try:
                held = await self._made(terms)
                fingerprint = _fingerprint(held.authority)
            except NoCertificateError as error:
                self._complain(str(error))
                return AFTER_FAILURE
            self._held, self._complaint = held, ""
            logger.info(
                "has a certificate of the farm's authority (SHA-256 %s), good until %s: %s",
                fingerprint,
                f"{held.validity.ends:%Y-%m-%d}",
                why,
            )
        return LOOK

    async def _made(self, terms: ConsoleCertificateTerms) -> HeldCertificate:
        """Have a certificate made, and use it. Raise NoCertificateError."""
        made = await self._run("hcsidecar.console.certificate_request", terms.nonce)
        key, mark, request = made.partition(_REQUEST)
        body = ConsoleRequestBody(nonce=terms.nonce, request=(mark + request).decode("ascii"))
        try:
            reply = await self._client.ask("POST", _CERTIFICATE, msgspec.json.encode(body), limit=CERTIFY_LIMIT)
        except NoAnswerError as error:
            raise NoCertificateError(str(error)) from None
        if reply.status != HTTPStatus.OK:
            raise NoCertificateError(reason_of(reply))
        try:
            answer = read_json(reply.body, ConsoleCertificateAnswer)
        except JsonError as error:
            raise NoCertificateError(f"the daemon's answer is not in a form that this version knows: {error}") from None
        held = held_certificate(answer, terms.names)
        if isinstance(held, str):
            raise NoCertificateError(held)
        self._use(key + answer.chain.encode())
        return held

    async def _make_own(self) -> None:
        """Make a certificate without the farm's authority, and use it. Raise NoCertificateError."""
        self._use(await self._run("hcsidecar.console.self_signed", "localhost", socket.gethostname()))
        self._own_made_at = self._wall_clock()
        logger.warning(
            "has a certificate that it has made for itself, which browsers do not know; as soon as it can have one of"
            " the farm's authority, it takes that"
        )

    async def _run(self, module: str, *words: str) -> bytes:
        """Return what a program of ours prints. Raise NoCertificateError."""
        command = [sys.executable, "-P", "-m", module, *words]
        try:
            return await self._calls.run_in_turn(lambda: _output(command))
        except NoThreadError as error:
            raise NoCertificateError(f"no key can be made ({error.strerror})") from None

    def _use(self, content: bytes) -> None:
        """Show this certificate, with this key, from the next connection on. Raise NoCertificateError."""
        try:
            # First where nobody sees it, because a context is of no use after a part of a certificate was loaded.
            load_from_memory(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), content)
            load_from_memory(self._context, content)
        except (OSError, ValueError) as error:
            raise NoCertificateError(f"the certificate that was made cannot be used: {error}") from None

    def _complain(self, why: str) -> None:
        if why != self._complaint:
            goes_on = "" if self._held is None else "; it goes on with the one that it has"
            logger.warning("cannot have a certificate of the farm's authority: %s%s", why, goes_on)
        self._complaint = why


def load_from_memory(context: ssl.SSLContext, content: bytes) -> None:
    """Let a context have a key and its certificate, as PEM. Raise OSError if they are none, as `load_cert_chain`."""
    # OpenSSL reads files only, and this one is nowhere on a disk.
    descriptor = os.memfd_create("certificate")
    try:
        os.write(descriptor, content)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _fingerprint(authority: str) -> str:
    try:
        return shown_fingerprint(sha256(ssl.PEM_cert_to_DER_cert(authority)).digest())
    except ValueError:
        raise NoCertificateError("the daemon's answer has no certificate of an authority") from None


def _output(command: list[str]) -> bytes:
    try:
        return subprocess.run(command, check=True, capture_output=True, timeout=_PATIENCE).stdout  # noqa: S603 - ours
    except (OSError, subprocess.SubprocessError) as error:
        raise NoCertificateError(
            f"no key can be made ({error}): name a certificate with --certificate and --key"
        ) from None
