"""The node that lets this server in, as the new server sees it: asks over TLS that the token vouches for.

Nothing that concerns the token is sent before the other end has shown a certificate of the authority whose fingerprint
is in it. The first connection only asks for the certificate of that authority; all others accept no other one.
"""

import http.client
import socket
import ssl
from collections.abc import Mapping, Sequence
from hashlib import sha256
from http import HTTPStatus
from typing import Final, Self, TypeVar

import msgspec

from hcsidecar import __version__
from hcsidecar.core.documents import CommandResult, Refusal
from hcsidecar.core.joining.messages import (
    APPLY,
    DONE,
    LARGEST_ANSWER,
    PATH,
    PLAN,
    PROOF,
    Greeting,
    Handout,
    JoinBody,
    JoinPlan,
    why_not_this_version,
)
from hcsidecar.core.joining.names import SERVER_NAME
from hcsidecar.core.joining.token import JoinToken, prove
from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.core.membership.heartbeat import PROTOCOL_VERSION
from hcsidecar.joining.node_tls import client_context

TIMEOUT: Final = 20.0
"Seconds for an answer that comes from memory."
PLAN_TAKES: Final = 60.0
"Seconds for a plan: every node fetches the candidate and checks it."
APPLY_TAKES: Final = 90.0
"Seconds until all nodes have agreed, or not."

T = TypeVar("T")


class JoinError(Exception):
    """This server cannot join; the text says why and what to do. Nothing has been written."""


class Issuer:
    """A node of the farm, by its address and a token."""

    def __init__(self, host: str, port: int, token: JoinToken) -> None:
        self.host, self.port = host, port
        self._token = token
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE
        self.address_here = ""
        "The address of this server by which it reaches the node; known after `meet`."

    @property
    def where(self) -> str:
        """The address of the node, for people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def meet(self) -> None:
        """Find out whether the node is one of the farm that the token was made for. Raise JoinError if not."""
        with _Connection(self, self._tls, TIMEOUT) as connection:
            greeting = self._greeting(connection)
        try:
            shown = sha256(ssl.PEM_cert_to_DER_cert(greeting.authority)).digest()
            pinned = client_context(greeting.authority)
        except (ValueError, OSError):
            raise JoinError(f"{self.where} shows no certificate of an authority: is it a node of the farm?") from None
        if shown != self._token.fingerprint:
            raise JoinError(
                f"{self.where} is not of the farm that this token was made for, or somebody between it and this server"
                " pretends to be it: its certificate authority is another one. The token has not been sent. Compare the"
                " address with the line that hcsidecar token has printed"
            )
        self._tls = pinned

    def plan(self, node: str, addresses: Mapping[str, str], *, without: Sequence[str]) -> JoinPlan:
        """Return what adding this server does. Raise JoinError if the node does not tell."""
        return self._ask(PLAN, JoinPlan, PLAN_TAKES, node=node, addresses=addresses, without=without)

    def apply(self, node: str, addresses: Mapping[str, str], *, without: Sequence[str], digest: str) -> Handout:
        """Let the farm add this server, and return what it needs. Raise JoinError if the node does not answer."""
        return self._ask(APPLY, Handout, APPLY_TAKES, node=node, addresses=addresses, without=without, digest=digest)

    def done(self, node: str, addresses: Mapping[str, str]) -> None:
        """Say that this server has everything. Raise JoinError if that cannot be said."""
        self._ask(DONE, CommandResult, TIMEOUT, node=node, addresses=addresses)

    def _greeting(self, connection: "_Connection") -> Greeting:
        greeting = self._read(connection, "GET", PATH, Greeting)
        why = why_not_this_version(
            theirs=greeting.version,
            their_protocol=greeting.protocol,
            ours=__version__,
            who=self.where,
            we="this server",
        )
        if why is not None:
            raise JoinError(why)
        return greeting

    def _ask(
        self,
        path: str,
        kind: type[T],
        takes: float,
        *,
        node: str,
        addresses: Mapping[str, str],
        without: Sequence[str] = (),
        digest: str = "",
    ) -> T:
        with _Connection(self, self._tls, takes) as connection:
            greeting = self._greeting(connection)
            body = msgspec.json.encode(
                JoinBody(
                    token=self._token.id,
                    nonce=greeting.nonce,
                    version=__version__,
                    protocol=PROTOCOL_VERSION,
                    node=node,
                    addresses=addresses,
                    without=tuple(without),
                    digest=digest,
                )
            )
            proof = prove(self._token.key, nonce=greeting.nonce, server=connection.certificate, path=path, body=body)
            return self._read(connection, "POST", path, kind, body=body, headers={PROOF: proof})

    def _read(
        self,
        connection: "_Connection",
        method: str,
        path: str,
        kind: type[T],
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> T:
        try:
            connection.http.request(method, path, body=body or None, headers=dict(headers or {}))
            response = connection.http.getresponse()
            status, content = response.status, response.read(LARGEST_ANSWER + 1)
        except TimeoutError:
            raise JoinError(f"{self.where} did not answer in time: run the command again") from None
        except (OSError, http.client.HTTPException) as error:
            raise JoinError(f"{self.where} broke off the connection ({error}): run the command again") from None
        if status == HTTPStatus.UNAUTHORIZED:
            raise JoinError(f"{self.where} lets nobody join: it is just starting, or runs another version of hcsidecar")
        if status != HTTPStatus.OK:
            raise JoinError(f"{self.where} refuses: {_reason(content)}")
        try:
            return read_json(content, kind)
        except JsonError as error:
            raise JoinError(f"the answer of {self.where} is not understood: {error}") from None


class _Connection:
    """A connection with TLS; a context manager. `certificate` is the SHA-256 of what the other end has shown."""

    def __init__(self, issuer: Issuer, tls: ssl.SSLContext, timeout: float) -> None:
        where = issuer.where
        try:
            plain = socket.create_connection((issuer.host, issuer.port), timeout=TIMEOUT)
        except OSError as error:
            why = error.strerror or str(error) or "no answer"
            raise JoinError(f"{where} cannot be reached: {why}. Does its daemon run, and is the port open?") from None
        issuer.address_here = str(plain.getsockname()[0]).partition("%")[0]
        try:
            plain.settimeout(timeout)
            secure = tls.wrap_socket(plain, server_hostname=SERVER_NAME)
        except ssl.SSLCertVerificationError as error:
            plain.close()
            raise JoinError(
                f"{where} has no certificate of the farm that this token was made for ({error.verify_message}):"
                " somebody between it and this server pretends to be it, or a clock is wrong. The token has not been"
                " sent"
            ) from None
        except OSError:
            plain.close()
            raise JoinError(
                f"{where} does not speak TLS: the farm has no certificate authority (hcsidecar ca new), or this is no"
                " node of a farm"
            ) from None
        self.certificate = sha256(secure.getpeercert(binary_form=True) or b"").hexdigest()
        self.http = http.client.HTTPConnection(issuer.host, issuer.port, timeout=timeout)
        self.http.sock = secure

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()


def _reason(content: bytes) -> str:
    try:
        return read_json(content, Refusal).reason
    except JsonError:
        return "without a reason that is understood"
