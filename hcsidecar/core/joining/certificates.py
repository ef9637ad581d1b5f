"""When a node's certificate is made anew, and what is told of it and of the authority."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec

VALID: Final = timedelta(days=90)
"How long a certificate of a node is good."
RENEWED: Final = timedelta(days=60)
"The age at which a node makes itself a new one: it may be off for a month and still begin with a good one."
BACKDATED: Final = timedelta(days=365)
"""A certificate begins this long before it is made, so that a node whose clock is behind, or was ahead when it made its
own, is believed all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """The time in which a certificate is good."""

    begins: datetime
    ends: datetime


def validity_from(now: datetime) -> Validity:
    """Return the validity of a certificate that is made now."""
    return Validity(begins=now - BACKDATED, ends=now + VALID)


def why_renewed(validity: Validity, *, now: datetime) -> str | None:
    """Return why a certificate must be made anew, or None.

    The clock may have jumped: a certificate that was made by a clock far ahead begins in the future, or would end later
    than one that is made now.
    """
    if now < validity.begins:
        return f"it is not good before {_day(validity.begins)}"
    if now >= validity.ends:
        return f"it was good until {_day(validity.ends)}"
    if validity.ends - now <= VALID - RENEWED:
        return f"it is good until {_day(validity.ends)} only"
    if validity.ends > now + VALID + timedelta(days=1):
        return f"it was made when the clock was ahead: it is good until {_day(validity.ends)}"
    return None


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


class CertificateReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the program that makes a node's certificate tells the daemon."""

    problem: str = ""
    "Why there is no certificate; empty if there is one."
    made: str = ""
    "Why a new one was made; empty if the former one is still good."
    authority: str = ""
    "The certificate of the authority, as PEM."
    fingerprint: str = ""
    "The SHA-256 of the node's certificate, in hexadecimal digits."
    ends: str = ""
    "The day until which it is good, as YYYY-MM-DD."


class AuthorityReport(msgspec.Struct, frozen=True, kw_only=True):
    """What people are told of the farm's authority: `hcsidecar ca show --json`."""

    farm: str
    name: str
    "Of whom the certificate is, as browsers list it."
    sha256: str
    "The fingerprint of the certificate, as browsers show it."
    begins: str
    "The day from which it is good, as YYYY-MM-DD."
    ends: str | None
    "The day until which it is good; None if it does not expire."
    file: str
    certificate: str
    "As PEM."
