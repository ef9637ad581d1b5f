"""The farm's certificate authority and the certificates of its nodes, with the TLS library's own checks."""

import stat
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from hcsidecar.farmfile.certificate_files import AuthorityFiles, node_certificate
from hcsidecar.joining.authority import Authority, AuthorityError, fingerprint
from hcsidecar.joining.issuing import certify

NOW = datetime(2026, 11, 30, tzinfo=UTC)
DAY = timedelta(days=1)


def made(directory):
    files = AuthorityFiles.beside(directory / "farm.key")
    Authority.create("apache").write(files)
    return files


def test_the_authority_is_written_with_a_private_key_and_read_again(tmp_path):
    files = made(tmp_path)
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca.key", "ca.pem"]
    assert Authority.load(files).fingerprint == fingerprint(files.certificate.read_bytes())


def test_an_authority_is_never_overwritten(tmp_path):
    files = made(tmp_path)
    before = files.key.read_bytes()
    with pytest.raises(FileExistsError):
        Authority.create("apache").write(files)
    assert files.key.read_bytes() == before


def test_nothing_is_left_of_an_authority_whose_certificate_is_there_already(tmp_path):
    files = AuthorityFiles.beside(tmp_path / "farm.key")
    files.certificate.write_text("somebody's")
    with pytest.raises(FileExistsError):
        Authority.create("apache").write(files)
    assert not files.key.exists()


def test_who_has_no_authority_is_told_where_to_get_one(tmp_path):
    with pytest.raises(AuthorityError, match=r"ca\.pem is not there .*hcsidecar ca new"):
        Authority.load(AuthorityFiles.beside(tmp_path / "farm.key"))


@pytest.mark.parametrize("wrong", ["garbage", "another key", "a node's certificate"])
def test_an_authority_that_cannot_be_used_is_refused_with_the_reason(tmp_path, wrong):
    files = made(tmp_path)
    authority = Authority.load(files)
    match wrong:
        case "garbage":
            files.certificate.write_bytes(b"\0garbage")
        case "another key":
            files.key.write_bytes(Authority.create("apache").key)
        case _:
            files.certificate.write_bytes(authority.issue("web1", [], now=NOW).chain)
    with pytest.raises(AuthorityError, match=r"from another node"):
        Authority.load(files)


def certificate(place):
    return x509.load_pem_x509_certificate(place.read_bytes())


def test_a_node_gets_a_certificate_for_its_name_and_addresses_and_keeps_it(tmp_path):
    files, place = made(tmp_path), node_certificate(tmp_path / "s")
    report = certify(files, place, "web1", ["192.0.2.11", "2001:db8::1"], now=NOW)
    assert (report.made, report.problem) == ("there was none", "")
    found = certificate(place)
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["web1", "node.hcsidecar.internal"]
    assert list(map(str, names.get_values_for_type(x509.IPAddress))) == ["192.0.2.11", "2001:db8::1"]
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    again = certify(files, place, "web1", ["192.0.2.11", "2001:db8::1"], now=NOW + 59 * DAY)
    assert (again.made, again.fingerprint) == ("", report.fingerprint)
    assert certificate(place) == found


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("age", "it is good until"),
        ("address", "other addresses"),
        ("name", "another name"),
        ("authority", "cannot be used"),
        ("damage", "cannot be used"),
    ],
)
def test_a_certificate_that_is_not_right_any_more_is_made_anew(tmp_path, what, why):
    files, place = made(tmp_path), node_certificate(tmp_path / "s")
    first = certify(files, place, "web1", ["192.0.2.11"], now=NOW)
    node, addresses, now = "web1", ["192.0.2.11"], NOW
    match what:
        case "age":
            now = NOW + 60 * DAY
        case "address":
            addresses = ["192.0.2.12"]
        case "name":
            node = "web2"
        case "authority":
            Authority.create("apache").write(files, replace=True)
        case _:
            place.write_bytes(place.read_bytes()[:300])
    report = certify(files, place, node, addresses, now=now)
    assert why in report.made
    assert report.fingerprint != first.fingerprint
    assert report.authority == files.certificate.read_text()


def test_a_machine_whose_clock_begins_in_1970_makes_a_certificate_too(tmp_path):
    assert not certify(
        made(tmp_path), node_certificate(tmp_path), "web1", [], now=datetime(1970, 1, 2, tzinfo=UTC)
    ).problem
