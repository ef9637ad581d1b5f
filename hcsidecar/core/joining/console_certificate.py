"""The certificate of a node's console by the farm's authority: for which names, how many, when it is made anew.

The console makes its private key itself and sends a certificate request (PKCS #10, RFC 2986) to the daemon of its node.
Of that only the public key is taken. Names and validity are the daemon's choice, because the console parses what
strangers send: if somebody takes it over, he gets no certificate that he could use as a node, or as another node's
console. So its certificate has no `SERVER_NAME`, which nodes ask for; it is for servers only, so that no node takes it
from a client; and its common name has spaces, which no node's name has.
"""

import re
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from math import ceil
from typing import Annotated, Final

import msgspec

from hcsidecar.core.joining.certificates import Validity, why_renewed
from hcsidecar.core.joining.names import SERVER_NAME
from hcsidecar.core.request_bodies import Body

MOST: Final = 6
"Certificates that are made for consoles within WINDOW; each takes a process, and half a second of a processor."
WINDOW: Final = 60.0
"Seconds."
LONGEST_COMMON_NAME: Final = 64
"Characters (RFC 5280, appendix A.1: ub-common-name)."
_OF_THIS_MACHINE: Final = ("localhost", "127.0.0.1", "::1")
"For who comes through a tunnel that ends here."
_LONGEST_HOST_NAME: Final = 253
_HOST_NAME: Final = re.compile(
    r"(?=.*[a-z])[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*", re.ASCII
)

_Pem = Annotated[str, msgspec.Meta(max_length=16_384)]


class ConsoleCertificateTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a certificate for the console would be: `GET /api/v1/certificates/console`."""

    node: str
    farm: str
    problem: str = ""
    "Why there is none, and what to do; empty if there is."
    soon: bool = False
    "The farm has an authority, and this node is about to use it."
    authority: str = ""
    "The certificate of the farm's authority, as PEM."
    names: tuple[str, ...] = ()
    "Names and IP addresses of the console."
    nonce: str = ""
    "What the request must have as its common name. It is good once: a copied request is of no use."


class ConsoleRequestBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the console asks for: `POST /api/v1/certificates/console`."""

    nonce: Annotated[str, msgspec.Meta(min_length=32, max_length=32)]
    request: Annotated[str, msgspec.Meta(max_length=4096)]
    "The certificate request, as PEM."


class ConsoleCertificateAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The certificate of the console, or why there is none."""

    problem: str = ""
    chain: _Pem = ""
    "The certificate, then that of the authority, as PEM."
    authority: _Pem = ""
    "The certificate of the authority, as PEM."
    begins: float = 0.0
    "Seconds since 1970."
    ends: float = 0.0
    "Seconds since 1970."


def common_name(node: str) -> str:
    """Return the common name of the certificate: no name that a node could have."""
    return f"hcsidecar console of {node}"[:LONGEST_COMMON_NAME]


def console_names(
    node: str, addresses: Iterable[str], *, vips: Iterable[str], host: str, others: Collection[str]
) -> tuple[str, ...]:
    """Return the names and addresses by which people reach the console of a node.

    `host` is the machine's own name; it is left out if it is none that a browser could ask for, or if it is that of
    another node (`others`). The virtual IPs are in it, because a client of one may have come to any node.
    """
    taken = {SERVER_NAME} | ({name.lower() for name in others} - {node.lower()})
    host = host.lower().removesuffix(".")
    is_host_name = len(host) <= _LONGEST_HOST_NAME and _HOST_NAME.fullmatch(host) is not None
    names = [node, *([host] if is_host_name else []), *_OF_THIS_MACHINE]
    # An address of a link has its interface with it, which a certificate has no place for.
    plain = [str(ip_address(address.partition("%")[0])) for address in (*addresses, *vips)]
    return tuple(dict.fromkeys(name for name in (*names, *plain) if name.lower() not in taken))


class IssuingRate:
    """Limits how many certificates are made; `now` is in seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._made: deque[float] = deque(maxlen=MOST)

    def why_not(self, *, now: float) -> str | None:
        """Return why no certificate is made now; None if one is, which is counted."""
        if len(self._made) == MOST and now - self._made[0] < WINDOW:
            wait = ceil(WINDOW - (now - self._made[0]))
            return f"{MOST} certificates for the console were made within a minute: the next one in {wait} s"
        self._made.append(now)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldCertificate:
    """The certificate of the farm's authority that a console shows."""

    names: tuple[str, ...]
    authority: str
    "The certificate of the authority that has made it, as PEM."
    validity: Validity


def held_certificate(answer: ConsoleCertificateAnswer, names: tuple[str, ...]) -> HeldCertificate | str:
    """Return the certificate of an answer for these names, or why it is none."""
    if answer.problem or not answer.chain:
        return answer.problem or "the daemon's answer has no certificate"
    try:
        begins, ends = (datetime.fromtimestamp(moment, UTC) for moment in (answer.begins, answer.ends))
    except (ValueError, OverflowError, OSError):
        return "the daemon's answer says no time in which the certificate is good"
    return HeldCertificate(names=names, authority=answer.authority, validity=Validity(begins=begins, ends=ends))


def why_made_anew(held: HeldCertificate | None, terms: ConsoleCertificateTerms, *, now: datetime) -> str | None:
    """Return why the console asks for a new certificate, None if the one that it has is good.

    Without an authority, for a while or for good, it keeps what it has.
    """
    if not terms.authority:
        return None
    if held is None:
        return "there was none"
    if held.authority != terms.authority:
        return "the farm has another certificate authority"
    if held.names != terms.names:
        return "the node has another name or other addresses"
    return why_renewed(held.validity, now=now)
