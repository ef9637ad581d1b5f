"""The values in a farm file: durations, addresses with ports, names, and how a message shows them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hcsidecar.core.farmfile.farm_file import (
    HostPort,
    HttpCheck,
    StatusRange,
    TcpCheck,
    WebTable,
    format_duration,
    parse_duration,
)
from hcsidecar.core.farmfile.values import as_toml


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("50ms", 0.05), ("10s", 10), ("1.5s", 1.5), ("24h", 86400), ("2m", 120), ("1d", 86400), ("0s", 0), ("7us", 7e-6)],
)
def test_a_duration_is_a_number_with_a_unit(text, seconds):
    assert parse_duration(text) == seconds


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=10**15))
def test_a_duration_is_written_so_that_it_reads_back_the_same(microseconds):
    assert parse_duration(format_duration(microseconds / 1e6)) == microseconds / 1e6


@settings(deadline=None)
@given(st.sampled_from(["0.0.0.0", "192.0.2.1", "::", "2001:db8::1"]), st.integers(min_value=1, max_value=65535))
def test_an_endpoint_is_written_so_that_it_reads_back_the_same(host, port):
    assert HostPort.parse(str(HostPort(host, port))) == HostPort(host, port)


@pytest.mark.parametrize(
    ("wanted", "taken", "overlap"),
    [
        ("0.0.0.0:9010", "192.0.2.1:9010", True),
        ("192.0.2.1:9010", "0.0.0.0:9010", True),
        ("192.0.2.1:9010", "192.0.2.1:9010", True),
        ("192.0.2.1:9010", "192.0.2.2:9010", False),
        ("192.0.2.1:9010", "192.0.2.1:9011", False),
        ("0.0.0.0:9010", "[::]:9010", False),
    ],
)
def test_two_listeners_overlap_when_they_would_take_the_same_socket(wanted, taken, overlap):
    assert HostPort.parse(wanted).overlaps(HostPort.parse(taken)) is overlap


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (None, None),
        ("www.example.com", "www.example.com"),
        ("www.example.com:8443", "www.example.com"),
        ("192.0.2.1:8443", "192.0.2.1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:8443", "2001:db8::1"),
    ],
)
def test_the_name_on_the_certificate_is_the_host_without_its_port(host, name):
    check = HttpCheck(type="http", name="x", address="127.0.0.1", port=80, host=host)
    assert check.server_name == name


def test_in_python_durations_are_seconds_and_values_may_be_parsed_already():
    assert TcpCheck(type="tcp", name="x", address="127.0.0.1", port=80, interval=0.1).interval == 0.1
    assert WebTable(listen=(HostPort("::1", 80),)).listen == (HostPort("::1", 80),)
    page = HttpCheck(type="http", name="x", address="127.0.0.1", port=80, status=(StatusRange(200, 204),))
    assert page.accepts(204)


def test_a_value_of_many_levels_is_told_without_the_deepest():
    assert as_toml([[[[1]]], {"a": [[1]]}]) == "[[[…]], { a = […] }]"
    assert as_toml([[[{"a": 1}]]]) == "[[[…]]]"


def test_true_and_false_are_told_as_they_stand_in_the_file():
    assert as_toml([True, False]) == "[true, false]"
