"""The certificate of a console: its names, how many are made, when it is made anew."""

from datetime import UTC, datetime, timedelta

import pytest

from hcsidecar.core.joining.certificates import validity_from
from hcsidecar.core.joining.console_certificate import (
    ConsoleCertificateAnswer,
    ConsoleCertificateTerms,
    HeldCertificate,
    IssuingRate,
    common_name,
    console_names,
    held_certificate,
    why_made_anew,
)
from hcsidecar.core.joining.names import SERVER_NAME

MADE = datetime(2026, 11, 30, tzinfo=UTC)
DAY = timedelta(days=1)
LOCAL = ("localhost", "127.0.0.1", "::1")


def names(node="web1", addresses=("192.0.2.11",), *, vips=(), host="", others=("web2",)):
    return console_names(node, addresses, vips=vips, host=host, others=others)


def test_a_console_is_named_as_its_node_its_machine_and_its_addresses_and_the_virtual_ips():
    assert names(
        addresses=("192.0.2.11", "2001:DB8::0:11"), vips=("192.0.2.50", "192.0.2.11"), host="Web1.Example.org."
    ) == ("web1", "web1.example.org", *LOCAL, "192.0.2.11", "2001:db8::11", "192.0.2.50")


def test_an_address_of_a_link_is_named_without_its_interface():
    assert names(addresses=("fe80::1%eth0",)) == ("web1", *LOCAL, "fe80::1")


@pytest.mark.parametrize(
    "host",
    ["", "*", "*.example.org", "a b", "-a", "a-", "a..b", "192.0.2.99", "été", f"{'a' * 64}.org", f"{'a.' * 127}aa"],
)
def test_a_machine_whose_name_no_browser_can_ask_for_is_not_named(host):
    assert names(host=host) == ("web1", *LOCAL, "192.0.2.11")


@pytest.mark.parametrize("host", ["web2", "WEB2", SERVER_NAME, SERVER_NAME.upper(), f"{SERVER_NAME}."])
def test_no_console_is_named_as_another_node_or_as_what_nodes_ask_for(host):
    assert names(host=host) == ("web1", *LOCAL, "192.0.2.11")


def test_a_node_that_is_named_as_nodes_ask_for_them_has_a_console_without_that_name():
    found = names(node=SERVER_NAME, host=SERVER_NAME)
    assert found == (*LOCAL, "192.0.2.11")


@pytest.mark.parametrize("node", ["web1", "n" * 63])
def test_the_common_name_is_that_of_no_node(node):
    assert " " in common_name(node)
    assert len(common_name(node)) <= 64


def test_six_certificates_a_minute_are_made_and_no_more():
    rate = IssuingRate()
    assert [rate.why_not(now=second) for second in range(6)] == [None] * 6
    assert rate.why_not(now=20) == "6 certificates for the console were made within a minute: the next one in 40 s"
    assert rate.why_not(now=59.9) is not None
    assert rate.why_not(now=60) is None
    assert rate.why_not(now=60.5) == "6 certificates for the console were made within a minute: the next one in 1 s"
    assert rate.why_not(now=61) is None


HELD = HeldCertificate(names=("web1",), authority="one", validity=validity_from(MADE))
TERMS = ConsoleCertificateTerms(node="web1", farm="apache", authority="one", names=("web1",))


@pytest.mark.parametrize(
    ("held", "changes", "days", "why"),
    [
        (None, {}, 0, "there was none"),
        (HELD, {}, 0, None),
        (HELD, {}, 59, None),
        (HELD, {}, 60, "it is good until 2027-02-28 only"),
        (HELD, {}, 91, "it was good until 2027-02-28"),
        (HELD, {"authority": "two"}, 0, "the farm has another certificate authority"),
        (HELD, {"names": ("web1", "192.0.2.12")}, 0, "the node has another name or other addresses"),
        (HELD, {"authority": "", "names": ()}, 0, None),
        (None, {"authority": ""}, 0, None),
    ],
)
def test_a_console_asks_for_a_certificate_when_it_has_none_that_is_good(held, changes, days, why):
    terms = ConsoleCertificateTerms(
        **{"node": "web1", "farm": "apache", "authority": "one", "names": ("web1",)} | changes
    )
    assert why_made_anew(held, terms, now=MADE + days * DAY) == why


def test_the_certificate_of_an_answer_is_good_for_the_time_that_it_says():
    validity = validity_from(MADE)
    answer = ConsoleCertificateAnswer(
        chain="pem", authority="one", begins=validity.begins.timestamp(), ends=validity.ends.timestamp()
    )
    assert held_certificate(answer, ("web1",)) == HELD


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"problem": "too many"}, "too many"),
        ({}, "the daemon's answer has no certificate"),
        ({"chain": "pem", "ends": 1e30}, "the daemon's answer says no time in which the certificate is good"),
    ],
)
def test_an_answer_without_a_certificate_says_why(answer, why):
    assert held_certificate(ConsoleCertificateAnswer(**answer), ("web1",)) == why
