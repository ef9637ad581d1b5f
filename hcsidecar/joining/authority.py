"""The farm's own certificate authority: `ca.pem` and `ca.key` beside the key file, the same on every node.

Every node holds both, as it holds the key file, and makes its own certificate with them. Keys are on the curve P-256,
which every TLS library knows. The authority's own certificate does not expire: it is replaced when the farm's keys are.
Loaded by commands and by programs that the daemon starts, never by the daemon: it needs no X.509 but in TLS.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hcsidecar.core.joining.certificates import AuthorityReport, Validity, validity_from
from hcsidecar.core.joining.console_certificate import common_name
from hcsidecar.core.joining.names import SERVER_NAME, shown_fingerprint
from hcsidecar.farmfile.certificate_files import AuthorityFiles
from hcsidecar.system.private_file import place_file
from hcsidecar.system.secret_file import why_not_read

_BEGIN: Final = datetime(1970, 1, 1, tzinfo=UTC)
"Before any clock: a machine without a clock of its own begins here."
_NEVER: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"The date of a certificate that does not expire (RFC 5280, 4.1.2.5)."
_MOST: Final = 65_536
"Bytes of a file with a certificate or a key."


class AuthorityError(Exception):
    """The farm's certificate authority cannot be used; the text is a sentence that says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A new key of a node with its certificate, as PEM."""

    key: bytes = field(repr=False)
    chain: bytes
    "The node's certificate, then that of the authority."


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A certificate authority, as PEM; `load` and `create` return one whose key and certificate belong together."""

    certificate: bytes
    key: bytes = field(repr=False)

    @classmethod
    def create(cls, farm: str) -> Self:
        """Return a new authority for a farm; nothing is written."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"hcsidecar farm {farm}"[:64])])
        public = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_BEGIN)
            .not_valid_after(_NEVER)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(public, critical=False)
            .sign(key, SHA256())
        )
        return cls(certificate=made.public_bytes(Encoding.PEM), key=_key_as_pem(key))

    @classmethod
    def load(cls, files: AuthorityFiles) -> Self:
        """Return the authority of these files. Raise AuthorityError if they cannot be used."""
        certificate, key = _read(files.certificate), _read(files.key)
        if (why := why_not_read(files.key)) is not None:
            raise AuthorityError(f"{files.key.name} {why[0]} ({why[1]})")
        return cls.of(certificate, key, files)

    @classmethod
    def of(cls, certificate: bytes, key: bytes, files: AuthorityFiles) -> Self:
        """Return the authority of a certificate and its key. Raise AuthorityError, which names the files, if wrong."""
        try:
            public = _authority_in(certificate).public_key()
        except ValueError:
            raise AuthorityError(f"{files.certificate} is no certificate of an authority: {_WHERE_FROM}") from None
        try:
            private = load_pem_private_key(key, None)
        except (ValueError, TypeError):
            raise AuthorityError(f"{files.key} is no private key in PEM without a password: {_WHERE_FROM}") from None
        if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != public:
            raise AuthorityError(f"{files.key} is not the key of {files.certificate}: {_WHERE_FROM}")
        return cls(certificate=certificate, key=key)

    @property
    def fingerprint(self) -> bytes:
        """The SHA-256 of the certificate as DER: 32 bytes that a token names the authority by."""
        return fingerprint(self.certificate)

    def issue(self, node: str, addresses: Iterable[str], *, now: datetime) -> Issued:
        """Return a new key for a node, and a certificate for its name and its IP addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        names: list[x509.GeneralName] = [x509.DNSName(node), x509.DNSName(SERVER_NAME)]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in dict.fromkeys(addresses)]
        chain = self._chain(key.public_key(), node, names, usages, validity=validity_from(now))
        return Issued(key=_key_as_pem(key), chain=chain)

    def certify_console(
        self, request: bytes, *, nonce: str, node: str, names: Iterable[str], validity: Validity
    ) -> bytes:
        """Return the certificate of a node's console, then that of the authority, as PEM.

        Of the request (PKCS #10, as PEM) only the public key is taken. Raise ValueError, with the reason, if it is not
        signed with the key that belongs to that, or is not for this nonce.
        """
        usages = [ExtendedKeyUsageOID.SERVER_AUTH]
        public = _requested_key(request, nonce)
        return self._chain(public, common_name(node), [*map(_general, names)], usages, validity=validity)

    def _chain(
        self,
        public: ec.EllipticCurvePublicKey,
        name: str,
        names: Sequence[x509.GeneralName],
        usages: Sequence[x509.ObjectIdentifier],
        *,
        validity: Validity,
    ) -> bytes:
        """Return a new certificate for a public key, then that of the authority."""
        authority = _authority_in(self.certificate)
        signer = load_pem_private_key(self.key, None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)  # noqa: S101 - `of` has looked
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(authority.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(validity.begins)
            .not_valid_after(validity.ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(issuer, critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(signer, SHA256())
        )
        return made.public_bytes(Encoding.PEM) + self.certificate

    def write(self, files: AuthorityFiles, *, replace: bool = False) -> None:
        """Write both files, the key with mode 0600 and first: whoever sees the certificate finds its key.

        Raise FileExistsError if one is there and must not be replaced, or OSError if the system refuses.
        """
        place_file(files.key, self.key, replace=replace and files.key.exists())
        try:
            place_file(files.certificate, self.certificate, replace=replace and files.certificate.exists(), mode=0o644)
        except OSError:
            if not replace:
                with suppress(OSError):
                    files.key.unlink()
            raise


def describe(certificate: bytes, *, farm: str, file: str) -> AuthorityReport:
    """Return what people are told of an authority's certificate. Raise ValueError if it is none."""
    found = _authority_in(certificate)
    ends = found.not_valid_after_utc
    return AuthorityReport(
        farm=farm,
        name=", ".join(str(part.value) for part in found.subject),
        sha256=shown_fingerprint(found.fingerprint(SHA256())),
        begins=f"{found.not_valid_before_utc:%Y-%m-%d}",
        ends=None if ends == _NEVER else f"{ends:%Y-%m-%d}",
        file=file,
        certificate=found.public_bytes(Encoding.PEM).decode("ascii"),
    )


def read_authority(files: AuthorityFiles, *, farm: str) -> AuthorityReport:
    """Return the same of the farm's authority on this machine. Raise AuthorityError."""
    certificate = _read(files.certificate)
    try:
        return describe(certificate, farm=farm, file=str(files.certificate))
    except ValueError:
        raise AuthorityError(f"{files.certificate} is no certificate of an authority: {_WHERE_FROM}") from None


def fingerprint(certificate: bytes) -> bytes:
    """Return the SHA-256 of the first certificate in PEM. Raise ValueError if there is none."""
    return x509.load_pem_x509_certificate(certificate).fingerprint(SHA256())


_WHERE_FROM: Final = "copy ca.pem and ca.key from another node, as the key file is"


def _authority_in(certificate: bytes) -> x509.Certificate:
    """Return the certificate of an authority in PEM. Raise ValueError if it is none."""
    found = x509.load_pem_x509_certificate(certificate)
    try:
        constraints = found.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        raise ValueError("no authority") from None
    if not constraints.ca:
        raise ValueError("no authority")
    return found


def _requested_key(request: bytes, nonce: str) -> ec.EllipticCurvePublicKey:
    """Return the public key of a certificate request. Raise ValueError, with the reason."""
    try:
        found = x509.load_pem_x509_csr(request)
        is_signed, public = found.is_signature_valid, found.public_key()
        names = [name.value for name in found.subject]
    except Exception as error:  # noqa: BLE001 - whatever is wrong with what a stranger may have written
        raise ValueError(f"it is no certificate request ({type(error).__name__})") from None
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise ValueError("its key is not on the curve P-256")  # noqa: TRY004 - what was sent is wrong, not our call
    if not is_signed:
        raise ValueError("its signature is not that of its key")
    if names != [nonce]:
        raise ValueError("it was made for another moment or another node")
    return public


def _general(name: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(name))
    return x509.DNSName(name)


def _key_as_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST)
    except FileNotFoundError:
        why = f"this farm has no certificate authority: {path} is not there"
        how = "copy ca.pem and ca.key from another node; only where no node has them: hcsidecar ca new"
        raise AuthorityError(f"{why} ({how})") from None
    except OSError as error:
        raise AuthorityError(f"{path} cannot be read: {error.strerror} (run as the user whom it belongs to)") from None
