"""Makes the certificate of a node as a program, for its daemon, unless the one that it has is still good.

python -m hcsidecar.joining.issuing KEY_FILE STATE_DIR NODE ADDRESS...

Prints `CertificateReport` as JSON. A program of its own, because what reads X.509 is large, and the daemon needs it
once in two months.
"""

import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from hcsidecar.core.joining.certificates import CertificateReport, Validity, why_renewed
from hcsidecar.farmfile.certificate_files import AuthorityFiles, node_certificate
from hcsidecar.joining.authority import Authority, AuthorityError
from hcsidecar.system.private_file import make_directory, replace_file

_MOST: Final = 65_536
"Bytes of a file with a certificate."


def certify(
    files: AuthorityFiles, place: Path, node: str, addresses: Sequence[str], *, now: datetime
) -> CertificateReport:
    """Make the certificate of a node at a place unless the one there is good. Raise AuthorityError, OSError."""
    authority = Authority.load(files)
    content = b""
    with suppress(FileNotFoundError):
        content = place.read_bytes()[:_MOST]
    why = _why_made(content, authority, node, addresses, now)
    if why:
        issued = authority.issue(node, addresses, now=now)
        content = issued.key + issued.chain
        make_directory(place.parent)
        # Key and certificate are one file, so that a crash never leaves a key with the certificate of another one.
        replace_file(place, content)
    found = x509.load_pem_x509_certificate(content)
    return CertificateReport(
        made=why,
        authority=authority.certificate.decode("ascii"),
        fingerprint=found.fingerprint(SHA256()).hex(),
        ends=f"{found.not_valid_after_utc:%Y-%m-%d}",
    )


def _why_made(content: bytes, authority: Authority, node: str, addresses: Sequence[str], now: datetime) -> str:
    """Return why the certificate in a file cannot stay, and an empty text if it can."""
    if not content:
        return "there was none"
    try:
        found, key = x509.load_pem_x509_certificate(content), load_pem_private_key(content, None)
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.certificate))
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, a new one is right
        return f"the one on the disk cannot be used ({type(error).__name__})"
    if _public(found.public_key()) != _public(key.public_key()) or authority.certificate not in content:
        return "the one on the disk was that of another key, or of another authority"
    wanted = {node, *addresses}
    if not wanted <= {*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))}:
        return "the node has another name or other addresses"
    validity = Validity(begins=found.not_valid_before_utc, ends=found.not_valid_after_utc)
    return why_renewed(validity, now=now) or ""


def _public(key: object) -> bytes:
    as_bytes: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return as_bytes


def main(arguments: Sequence[str]) -> None:
    """Make the certificate if it is needed, and print the report."""
    key_file, state_dir, node, *addresses = arguments
    files, place = AuthorityFiles.beside(Path(key_file)), node_certificate(Path(state_dir))
    try:
        report = certify(files, place, node, addresses, now=datetime.now(UTC))
    except AuthorityError as error:
        report = CertificateReport(problem=str(error))
    except OSError as error:
        report = CertificateReport(problem=f"{error.filename or place}: {error.strerror}")
    sys.stdout.write(msgspec.json.encode(report).decode())


if __name__ == "__main__":
    main(sys.argv[1:])
