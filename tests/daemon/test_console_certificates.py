"""A daemon has certificates made for its console: of right requests, at most six a minute, by a program of its own."""

import asyncio
import sys

import pytest
from console_certificates import ECHO, certificates_of_web1
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from waiting import on_a_loop

from hcsidecar.core.joining.console_certificate import ConsoleCertificateTerms, ConsoleRequestBody


def request(nonce):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, nonce)])
    key = ec.generate_private_key(ec.SECP256R1())
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, SHA256())
    return ConsoleRequestBody(nonce=nonce, request=made.public_bytes(Encoding.PEM).decode())


@on_a_loop
async def test_the_certificate_is_for_the_names_and_addresses_that_the_farm_file_says(tmp_path):
    certificates, told, _ = certificates_of_web1(tmp_path)
    terms = certificates.terms()
    assert (terms.node, terms.farm, terms.problem) == ("web1", "apache", "")
    assert terms.authority == (tmp_path / "ca.pem").read_text()
    answer = await certificates.certify(request(terms.nonce))
    assert answer.problem == ""
    found = x509.load_pem_x509_certificate(answer.chain.encode())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = [*map(str, names.get_values_for_type(x509.IPAddress))]
    assert addresses == ["127.0.0.1", "::1", "192.0.2.11", "198.51.100.11", "192.0.2.50"]
    assert {*names.get_values_for_type(x509.DNSName), *addresses} == {*terms.names}
    assert told == [f"made a certificate for the console, for {', '.join(terms.names)}"]


@pytest.mark.parametrize(
    ("more", "problem", "soon"),
    [
        ({"authority": False}, "this farm has no certificate authority: hcsidecar ca new makes one", False),
        ({"certified": False}, "web1 has no certificate yet; its log says why", True),
    ],
    ids=["no authority", "not yet"],
)
@on_a_loop
async def test_without_an_authority_there_is_none_and_the_answer_says_what_to_do(tmp_path, more, problem, soon):
    certificates, _, _ = certificates_of_web1(tmp_path, **more)
    assert certificates.terms() == ConsoleCertificateTerms(node="web1", farm="apache", problem=problem, soon=soon)
    assert (await certificates.certify(request("0" * 32))).problem == problem


@on_a_loop
async def test_a_request_is_good_once_and_for_a_minute(tmp_path):
    certificates, _, clock = certificates_of_web1(tmp_path)
    late, once = request(certificates.terms().nonce), request(certificates.terms().nonce)
    assert (await certificates.certify(once)).problem == ""
    for wrong in (once, request("0" * 32)):
        assert (await certificates.certify(wrong)).problem == "its request comes too late, or for the second time"
    clock.now += 60
    assert (await certificates.certify(late)).problem == "its request comes too late, or for the second time"


@on_a_loop
async def test_a_request_that_was_copied_from_another_console_is_refused(tmp_path):
    certificates, told, _ = certificates_of_web1(tmp_path)
    copied = request("cd" * 16)
    body = ConsoleRequestBody(nonce=certificates.terms().nonce, request=copied.request)
    why = "the console's request is not right: it was made for another moment or another node"
    assert (await certificates.certify(body)).problem == why
    assert told == [f"refused a request from the console: no certificate is made: {why}"]


@on_a_loop
async def test_six_programs_a_minute_are_started_and_the_refusals_are_one_line(tmp_path):
    certificates, told, clock = certificates_of_web1(tmp_path, command=ECHO)
    problems = [(await certificates.certify(request(certificates.terms().nonce))).problem for _ in range(20)]
    assert problems[:6] == ["web1"] * 6
    assert set(problems[6:]) == {"6 certificates for the console were made within a minute: the next one in 60 s"}
    assert told == ["refused a request from the console: no certificate is made: web1"]
    clock.now += 60
    assert (await certificates.certify(request(certificates.terms().nonce))).problem == "web1"


@on_a_loop
async def test_two_are_not_made_at_the_same_time(tmp_path):
    certificates, _, _ = certificates_of_web1(tmp_path, command=ECHO)
    bodies = [request(certificates.terms().nonce) for _ in range(2)]
    answers = await asyncio.gather(*map(certificates.certify, bodies))
    assert [answer.problem for answer in answers] == ["web1", "one is being made already: ask again in a moment"]


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (("/nonexistent",), "/nonexistent cannot be started: No such file or directory"),
        ((sys.executable, "-c", "raise SystemExit('so it is')"), "making it failed: so it is"),
        ((sys.executable, "-c", "raise SystemExit(3)"), "making it failed: status 3"),
    ],
)
@on_a_loop
async def test_a_program_that_fails_is_told_with_its_reason(tmp_path, command, problem):
    certificates, _, _ = certificates_of_web1(tmp_path, command=command)
    assert (await certificates.certify(request(certificates.terms().nonce))).problem == problem
