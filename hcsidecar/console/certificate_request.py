"""Prints a new key and a certificate request for it, as PEM: `python -m hcsidecar.console.certificate_request NONCE`.

For the console, which needs not keep in memory what makes keys. The key goes to it by a pipe, and nowhere else. The
request (PKCS #10, RFC 2986) is for a nonce of the daemon, and asks for no name: names are the daemon's choice.
"""

import sys

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


def make(nonce: str) -> bytes:
    """Return key and request, one after the other."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, nonce)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, SHA256())
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret + request.public_bytes(Encoding.PEM)


if __name__ == "__main__":
    sys.stdout.buffer.write(make(sys.argv[1]))
