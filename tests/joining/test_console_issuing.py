"""The certificate of a console by the farm's authority: what of a request is taken, and that no node believes it."""

import contextlib
import ssl
import subprocess
import sys
from datetime import UTC, datetime

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hcsidecar.core.joining.console_certificate import ConsoleCertificateAnswer
from hcsidecar.core.joining.names import SERVER_NAME
from hcsidecar.farmfile.certificate_files import AuthorityFiles
from hcsidecar.joining.authority import Authority
from hcsidecar.joining.console_issuing import certify
from hcsidecar.joining.node_tls import client_context, server_context

NOW = datetime.now(UTC)
NONCE = "ab" * 16
NAMES = ("web1", "localhost", "127.0.0.1")


@pytest.fixture
def files(tmp_path):
    made = AuthorityFiles.beside(tmp_path / "farm.key")
    Authority.create("apache").write(made)
    return made


def requested(key, *, nonce=NONCE, names=()):
    """Give the request of a console, as PEM, perhaps with names that nobody asked it for."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, nonce)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([*map(x509.DNSName, names)]), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=9), critical=True)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM)


def answered(files, request, *, names=NAMES):
    return certify(files, request, node="web1", nonce=NONCE, names=names, now=NOW)


def p256():
    return ec.generate_private_key(ec.SECP256R1())


def test_of_a_request_only_the_public_key_is_taken(files):
    key = p256()
    answer = answered(files, requested(key, names=[SERVER_NAME, "web2"]))
    assert answer.problem == ""
    found, authority = x509.load_pem_x509_certificates(answer.chain.encode())
    found.verify_directly_issued_by(authority)
    assert answer.authority == files.certificate.read_text()
    as_bytes = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    assert found.public_key().public_bytes(*as_bytes) == key.public_key().public_bytes(*as_bytes)
    shown = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert shown.get_values_for_type(x509.DNSName) == ["web1", "localhost"]
    assert list(map(str, shown.get_values_for_type(x509.IPAddress))) == ["127.0.0.1"]
    usages = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert found.subject.rfc4514_string() == "CN=hcsidecar console of web1"
    assert (answer.begins, answer.ends) == (
        found.not_valid_before_utc.timestamp(),
        found.not_valid_after_utc.timestamp(),
    )


def damaged(request):
    """Give a request whose signature is another one."""
    found = x509.load_pem_x509_csr(request)
    content = bytearray(found.public_bytes(Encoding.DER))
    content[-1] ^= 1
    body = ssl.DER_cert_to_PEM_cert(bytes(content))
    return body.replace("CERTIFICATE", "CERTIFICATE REQUEST").encode()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: b"", "it is no certificate request"),
        (lambda: b"\0garbage" * 500, "it is no certificate request"),
        (lambda: requested(p256())[:200], "it is no certificate request"),
        (lambda: damaged(requested(p256())), "its signature is not that of its key"),
        (lambda: requested(p256(), nonce="cd" * 16), "it was made for another moment or another node"),
        (lambda: requested(ec.generate_private_key(ec.SECP384R1())), "its key is not on the curve P-256"),
        (lambda: requested(rsa.generate_private_key(65537, 2048)), "its key is not on the curve P-256"),
        (lambda: requested(ed25519.Ed25519PrivateKey.generate()), "its key is not on the curve P-256"),
    ],
    ids=["nothing", "garbage", "a part", "signature", "stolen", "P-384", "RSA", "Ed25519"],
)
def test_a_request_that_is_not_right_gets_no_certificate_and_the_reason(files, make, why):
    answer = answered(files, make())
    assert (answer.chain, answer.authority) == ("", "")
    assert answer.problem.startswith(f"the console's request is not right: {why}")


def test_without_the_authoritys_key_the_answer_says_what_to_do(files):
    files.key.unlink()
    answer = answered(files, requested(p256()))
    assert answer.chain == ""
    assert "ca.key is not there" in answer.problem


def test_the_program_reads_the_request_and_prints_the_answer(files):
    key_file = files.key.with_name("farm.key")
    command = [sys.executable, "-P", "-m", "hcsidecar.joining.console_issuing", key_file, "web1", NONCE, *NAMES]
    done = subprocess.run(command, input=requested(p256()), capture_output=True, check=True, timeout=60)
    answer = msgspec.json.decode(done.stdout, type=ConsoleCertificateAnswer)
    assert answer.chain.count("BEGIN CERTIFICATE") == 2


# -- as a peer's certificate ------------------------------------------------------------------------------------------


@pytest.fixture
def shown(files, tmp_path):
    """Give a file with the certificate of a console and its key."""
    key = p256()
    chain = answered(files, requested(key)).chain
    path = tmp_path / "console.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + chain.encode())
    return path


def shake_hands(client, server, name):
    """Let two ends shake hands in memory; raise what either raises."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return ends


def test_no_node_takes_a_console_for_another_node(files, shown):
    authority = files.certificate.read_text()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(shown)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(client_context(authority), server, SERVER_NAME)


def test_no_node_takes_the_certificate_of_a_console_from_a_client(files, shown, tmp_path):
    authority = Authority.load(files)
    own = tmp_path / "node.pem"
    issued = authority.issue("web2", ["127.0.0.1"], now=NOW)
    own.write_bytes(issued.key + issued.chain)
    server = server_context(authority.certificate.decode())
    server.load_cert_chain(own)
    client = client_context(authority.certificate.decode())
    client.load_cert_chain(own)
    _, accepted = shake_hands(client, server, SERVER_NAME)
    assert accepted.getpeercert()["subject"] == ((("commonName", "web2"),),)
    client = client_context(authority.certificate.decode())
    client.load_cert_chain(shown)
    with pytest.raises(ssl.SSLCertVerificationError, match="unsuitable certificate purpose"):
        shake_hands(client, server, SERVER_NAME)


@pytest.mark.parametrize("name", ["web1", "localhost", "127.0.0.1"])
def test_whoever_trusts_the_authority_trusts_the_console_by_each_of_its_names(files, shown, name):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(shown)
    browser = ssl.create_default_context(cadata=files.certificate.read_text())
    ends = shake_hands(browser, server, name)
    assert ends[0].getpeercert()["subject"] == ((("commonName", "hcsidecar console of web1"),),)
