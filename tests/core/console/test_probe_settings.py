"""What to type into a load balancer so that it probes the nodes of a farm."""

import re
import shlex

import pytest
from farm_texts import AWS, TWO_NODES, farm_of
from hypothesis import given
from hypothesis import strategies as st

from hcsidecar.core.console.probe_settings import (
    ProbingBalancer,
    TextLanguage,
    WhyNoProbe,
    likely_application_port,
    probe_settings,
)

CLOUDS = (ProbingBalancer.AWS_ALB, ProbingBalancer.AWS_NLB, ProbingBalancer.AZURE, ProbingBalancer.GOOGLE)
HAPROXY_TARGET = '[[target]]\ntype = "haproxy"\naddress = "192.0.2.9:9999"\nbackend = "web"\n'


def settings(balancer, text=TWO_NODES, *, port=80):
    return next(each for each in probe_settings(farm_of(text), application_port=port) if each.balancer is balancer)


def commands(text):
    return [shlex.split(line) for line in text.replace("\\\n", " ").splitlines()]


def option(command, name):
    return command[command.index(name) + 1]


def test_haproxy_drains_a_node_at_its_first_404():
    found = settings(ProbingBalancer.HAPROXY)
    assert found.language is TextLanguage.HAPROXY
    assert found.text.splitlines() == [
        "backend apache",
        "    balance roundrobin",
        "    option httpchk GET /health",
        "    http-check disable-on-404",
        "    option log-health-checks",
        "    timeout check 2s",
        "    default-server check inter 2s fall 3 rise 2",
        "    server web1 192.0.2.11:80 port 9010",
        "    server web2 192.0.2.12:80 port 9010",
    ]
    assert found.timing.out_after == 2


@pytest.mark.parametrize(
    ("balancer", "out_after", "health"),
    [
        (ProbingBalancer.HAPROXY, 2, {}),
        (ProbingBalancer.AWS_ALB, 20, {"lame_duck": "35s"}),
        (ProbingBalancer.AWS_NLB, 60, {"prober_fall": 6, "lame_duck": "70s"}),
        (ProbingBalancer.AZURE, 10, {"lame_duck": "20s"}),
        (ProbingBalancer.GOOGLE, 10, {"lame_duck": "20s"}),
    ],
)
def test_limits_that_are_too_low_for_a_balancer_are_named_as_in_the_manual(balancer, out_after, health):
    found = settings(balancer)
    assert found.timing.out_after == out_after
    assert found.health == health


@pytest.mark.parametrize("balancer", list(ProbingBalancer))
@given(prober_fall=st.integers(1, 1000), lame_duck=st.integers(0, 3600))
def test_the_limits_that_are_named_suffice_and_the_farm_file_accepts_them(balancer, prober_fall, lame_duck):
    health = {"prober_fall": prober_fall, "lame_duck": f"{lame_duck}s"}
    for _ in range(2):
        keys = "".join(f"{key} = {value!r}\n" for key, value in health.items())
        changes = settings(balancer, f"{TWO_NODES}[health]\n{keys}").health
        health |= changes
    assert changes == {}


@pytest.mark.parametrize("balancer", CLOUDS)
def test_a_cloud_probes_the_listener_for_the_health_url_alone_if_there_is_one(balancer):
    text = settings(balancer, f'{TWO_NODES}[health]\nlisten = ["0.0.0.0:9080"]\npath = "/ready"').text
    assert "9080" in text
    assert "9010" not in text
    assert "/ready" in text


def test_a_listener_that_no_balancer_reaches_is_not_probed():
    text = f'{TWO_NODES}[health]\nlisten = ["127.0.0.1:9080"]'
    assert "9010" in settings(ProbingBalancer.GOOGLE, text).text


def test_a_farm_on_loopback_is_probed_there():
    text = '[farm]\nname = "a"\n[[node]]\nname = "n1"\naddress = "127.0.0.1"\n[health]\nlisten = ["127.0.0.1:9080"]'
    assert "    server n1 127.0.0.1:8080 port 9080" in settings(ProbingBalancer.HAPROXY, text, port=8080).text


def test_haproxy_probes_another_address_of_a_node_if_only_that_listens():
    text = """
[farm]
name = "a"
[[node]]
name = "n1"
addresses = { front = "192.0.2.11", back = "198.51.100.11" }
listen = ["198.51.100.11:9010"]
"""
    assert "server n1 192.0.2.11:80 addr 198.51.100.11 port 9010" in settings(ProbingBalancer.HAPROXY, text).text


@pytest.mark.parametrize(
    ("table", "protocols"),
    [
        ('[health]\nlisten = ["0.0.0.0:9443"]\n[health.tls]\ncert = "a"\nkey = "b"', ("HTTPS", "Https", "https")),
        ('[web.tls]\ncert = "a"\nkey = "b"', ("HTTPS", "Https", "https")),
        ("", ("HTTP", "Http", "http")),
    ],
)
def test_a_port_with_tls_is_probed_with_tls(table, protocols):
    text = f"{TWO_NODES}{table}"
    [aws, _], [azure], [google, _] = (commands(settings(balancer, text).text) for balancer in CLOUDS[1:])
    found = (option(aws, "--health-check-protocol"), option(azure, "--protocol"), google[4])
    assert found == protocols
    assert ("check-ssl verify none" in settings(ProbingBalancer.HAPROXY, text).text) == bool(table)


def test_haproxy_asks_the_agent_if_there_is_one():
    text = f'{TWO_NODES}[health]\nagent_check = "0.0.0.0:9011"'
    assert "agent-check agent-port 9011 agent-inter 1s" in settings(ProbingBalancer.HAPROXY, text).text


def test_where_ports_differ_only_haproxy_can_probe():
    text = TWO_NODES.replace('"192.0.2.12"', '"192.0.2.12"\nlisten = ["0.0.0.0:9020"]')
    assert "server web2 192.0.2.12:80 port 9020" in settings(ProbingBalancer.HAPROXY, text).text
    for balancer in CLOUDS:
        found = settings(balancer, text)
        assert (found.text, found.why_not, found.health) == ("", WhyNoProbe.PORTS_DIFFER, {})


def test_azure_never_probes_some_ports():
    text = f'{TWO_NODES}[health]\nlisten = ["0.0.0.0:993"]'
    assert settings(ProbingBalancer.AZURE, text).why_not is WhyNoProbe.FORBIDDEN_PORT
    assert settings(ProbingBalancer.GOOGLE, text).why_not is None


def test_an_nlb_is_told_not_to_reset_connections_of_a_node_that_drains():
    group, attributes = commands(settings(ProbingBalancer.AWS_NLB, port=443).text)
    assert option(group, "--protocol") == "TCP"
    assert option(group, "--port") == "443"
    assert option(group, "--matcher") == "HttpCode=200"
    assert "Key=target_health_state.unhealthy.connection_termination.enabled,Value=false" in attributes


def test_a_farm_with_ipv6_addresses_gets_a_group_for_them():
    text = TWO_NODES.replace("192.0.2.", "2001:db8::") + '[web]\nlisten = ["[::]:9010"]'
    group, _ = commands(settings(ProbingBalancer.AWS_ALB, text).text)
    assert option(group, "--ip-address-type") == "ipv6"
    assert "server web1 [2001:db8::11]:80 port 9010" in settings(ProbingBalancer.HAPROXY, text).text


@given(name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True))
def test_names_obey_the_rules_of_each_cloud(name):
    text = TWO_NODES.replace('"apache"', f'"{name}"')
    aws, azure, google = (commands(settings(balancer, text).text) for balancer in CLOUDS[1:])
    assert re.fullmatch("(?!-)[A-Za-z0-9-]{1,32}(?<!-)", option(aws[0], "--name"))
    assert re.fullmatch("[A-Za-z0-9][A-Za-z0-9._-]{0,79}(?<![.-])", option(azure[0], "--name"))
    for made in (google[0][5], google[1][4]):
        assert re.fullmatch("[a-z][a-z0-9-]{0,62}(?<!-)", made)


def test_a_path_with_signs_of_the_shell_is_quoted():
    path = "/it's;$(id)&x"
    text = f'{TWO_NODES}[health]\npath = "{path}"'
    aws, _, azure, google = (commands(settings(balancer, text).text) for balancer in CLOUDS)
    assert option(aws[0], "--health-check-path") == path
    assert option(azure[0], "--path") == path
    assert f"--request-path={path}" in google[0]


@pytest.mark.parametrize(
    ("tables", "port"),
    [
        ("", 80),
        (f"{AWS}port = 8443\n", 8443),
        (f"{HAPROXY_TARGET}port = 8081\n", 8081),
        (f'{AWS}[[check]]\ntype = "tcp"\nname = "T"\naddress = "127.0.0.1"\nport = 8080\n', 8080),
        ('[[check]]\ntype = "tcp"\nname = "DB"\naddress = "203.0.113.5"\nport = 5432\n', 80),
        ('[[check]]\ntype = "http"\nname = "H"\naddress = "192.0.2.11"\nport = 8000\npath = "/"\n', 8000),
    ],
)
def test_the_port_of_the_application_is_that_of_targets_or_checks_of_the_node(tables, port):
    assert likely_application_port(farm_of(TWO_NODES + tables)) == port
