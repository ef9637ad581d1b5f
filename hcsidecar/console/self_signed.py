"""Prints a new key with a certificate that it has signed itself, as PEM: `python -m hcsidecar.console.self_signed`.

For a console that has no certificate of the farm. A program of its own, so that the console need not keep in memory
what makes certificates. Its arguments are the names and addresses of the machine.
"""

import ipaddress
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_LASTS = timedelta(days=397)
"Browsers take no certificate that lasts longer."
_CLOCKS_DIFFER = timedelta(days=1)


def make(names: list[str], *, now: datetime) -> bytes:
    """Return key and certificate, one after the other, for these names and addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hcsidecar console")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(now + _LASTS)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret + certificate.public_bytes(Encoding.PEM)


def _general(name: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(name))
    return x509.DNSName(name)


if __name__ == "__main__":
    sys.stdout.buffer.write(make(sys.argv[1:] or ["localhost"], now=datetime.now(UTC)))
