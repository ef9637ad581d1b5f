"""What a target group's own settings do to a farm, setting by setting."""

import pytest

from hcsidecar.core.farmfile.farm_file import FarmFile, read
from hcsidecar.core.targets.aws_failures import Asked, refused
from hcsidecar.core.targets.aws_health_check import matches
from hcsidecar.core.targets.aws_review import review
from hcsidecar.core.targets.findings import Grade
from hcsidecar.core.targets.registration import TargetError, Trouble

ARN = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef"
GROUP = {
    "TargetType": "ip",
    "Protocol": "HTTP",
    "ProtocolVersion": "HTTP1",
    "Port": 80,
    "IpAddressType": "ipv4",
    "LoadBalancerArns": ["arn:…"],
    "HealthCheckProtocol": "HTTP",
    "HealthCheckPort": "9010",
    "HealthCheckPath": "/health",
    "HealthCheckIntervalSeconds": 10,
    "HealthCheckTimeoutSeconds": 5,
    "UnhealthyThresholdCount": 2,
    "Matcher": {"HttpCode": "200"},
}
ATTRIBUTES = {"deregistration_delay.timeout_seconds": "60"}
NLB_ATTRIBUTES = ATTRIBUTES | {
    "deregistration_delay.connection_termination.enabled": "false",
    "target_health_state.unhealthy.connection_termination.enabled": "false",
    "target_health_state.unhealthy.draining_interval_seconds": "60",
}
NO_TARGETS = {"TargetHealthDescriptions": []}


def farm(*, target=None, **tables):
    given = {
        "farm": {"name": "shop"},
        "node": [{"name": "web1", "address": "10.0.1.11"}, {"name": "web2", "address": "10.0.2.11"}],
        "health": {"lame_duck": "35s"},
        "target": [{"type": "aws", "group": ARN} | (target or {})],
    }
    found = read(given | tables)
    assert isinstance(found, FarmFile), found
    return found


def judged(group=None, attributes=None, targets=None, **tables):
    whole = farm(**tables)
    return review(
        whole.target[0],
        whole,
        group=group if isinstance(group, TargetError) else GROUP | (group or {}),
        attributes=ATTRIBUTES if attributes is None else attributes,
        health=NO_TARGETS if targets is None else targets,
    )


def bad(*args, **tables):
    return [one for one in judged(*args, **tables) if one.grade is not Grade.OK]


def nlb(group=None, attributes=None):
    tables = {"target": {"balancer": "nlb"}, "health": {"lame_duck": "75s", "prober_fall": 6}}
    return bad({"Protocol": "TCP"} | (group or {}), NLB_ATTRIBUTES | (attributes or {}), **tables)


def described(*targets):
    return {
        "TargetHealthDescriptions": [
            {"Target": {"Id": name, "Port": port}, "TargetHealth": {"State": state}} for name, port, state in targets
        ]
    }


def test_a_group_that_fits_has_nothing_to_complain_of():
    found = judged()
    assert {one.grade for one in found} == {Grade.OK}
    assert [one.text for one in found] == [
        "targets of type ip, HTTP to port 80",
        "the health check asks port 9010 by HTTP",
        "the health check asks every 10 s, out after 2 failures; a stop waits for it",
        "after `leave`, connections have 60 s to end",
        "web1: 10.0.1.11:80 is absent (Target.NotRegistered)",
        "web2: 10.0.2.11:80 is absent (Target.NotRegistered)",
    ]
    assert nlb() == []


@pytest.mark.parametrize(
    ("group", "grade", "text", "remedy"),
    [
        (
            {"TargetType": "instance"},
            Grade.PROBLEM,
            "of type instance, but the farm file says ip",
            'target = "instance"',
        ),
        ({"TargetType": "lambda"}, Grade.PROBLEM, "of type lambda", "--target-type ip"),
        (
            {"Protocol": "TCP"},
            Grade.WARNING,
            "TCP is a protocol of an nlb, but the farm file says alb",
            'balancer = "nlb"',
        ),
        ({"Protocol": "GENEVE"}, Grade.PROBLEM, "protocol is GENEVE", "--protocol HTTP"),
        ({"LoadBalancerArns": []}, Grade.WARNING, "no load balancer uses the group", "create-listener"),
        ({"IpAddressType": "ipv6"}, Grade.PROBLEM, "web1 is 10.0.1.11, but the group has ipv6 addresses", "nodes ="),
        ({"ProtocolVersion": "GRPC"}, Grade.PROBLEM, "use gRPC", "HTTP1"),
        ({"ProtocolVersion": "HTTP2"}, Grade.WARNING, "uses HTTP/2", "HTTP1"),
        ({"HealthCheckProtocol": "TCP"}, Grade.PROBLEM, "is a TCP connection", "--health-check-protocol HTTP"),
        ({"HealthCheckProtocol": None}, Grade.PROBLEM, "the group has no health check", "--health-check-protocol HTTP"),
        ({"HealthCheckProtocol": "HTTPS"}, Grade.PROBLEM, "uses HTTPS for port 9010", "--health-check-protocol HTTP"),
        ({"HealthCheckPort": "traffic-port"}, Grade.PROBLEM, "asks the traffic port, 80", "--health-check-port 9010"),
        (
            {"HealthCheckPort": "9999"},
            Grade.PROBLEM,
            "port 9999, where these nodes have no health URL: web1, web2",
            "9010",
        ),
        ({"HealthCheckPath": "/"}, Grade.PROBLEM, "asks for /, but the health URL is /health", "path /health"),
        (
            {"Matcher": {"HttpCode": "200-499"}},
            Grade.PROBLEM,
            "takes 200-499 for healthy, which includes 404",
            "HttpCode=200",
        ),
        ({"Matcher": {"HttpCode": "204"}}, Grade.PROBLEM, "takes 204 for healthy", "HttpCode=200"),
        ({"Matcher": None}, Grade.PROBLEM, "takes nothing for healthy", "HttpCode=200"),
        (
            {"HealthCheckIntervalSeconds": 30},
            Grade.WARNING,
            "up to 60 s to notice that a node leaves; lame_duck is 35s",
            '"65s"; or aws',
        ),
        ({"UnhealthyThresholdCount": 4}, Grade.WARNING, "up to 40 s to notice that a node leaves", 'lame_duck = "45s"'),
        ({"HealthCheckIntervalSeconds": None}, Grade.UNSEEN, "does not report the interval", ""),
    ],
)
def test_a_setting_of_the_group_is_told_with_what_mends_it(group, grade, text, remedy):
    found = [one for one in bad(group) if text in one.text]
    assert [one.grade for one in found] == [grade]
    assert remedy in found[0].remedy
    assert found[0].effect or grade is Grade.UNSEEN
    # No setting hides another one.
    assert len(judged(group)) >= 4


def test_too_few_answers_of_not_found_end_a_drain_too_early():
    (found,) = bad({"UnhealthyThresholdCount": 5, "HealthCheckIntervalSeconds": 5})
    assert (found.grade, found.remedy) == (Grade.WARNING, "[health] prober_fall = 5")


def test_an_nlb_acts_later_than_its_health_check():
    found = bad({"Protocol": "TCP"}, NLB_ATTRIBUTES, target={"balancer": "nlb"})
    assert [one.remedy for one in found] == ['[health] lame_duck = "65s"', "[health] prober_fall = 6"]


def test_a_health_url_on_a_port_of_its_own_is_known_with_its_tls():
    own = {"lame_duck": "35s", "listen": ["0.0.0.0:9443"], "tls": {"cert": "a.pem", "key": "b.pem"}}
    right = {"HealthCheckPort": "9443", "HealthCheckProtocol": "HTTPS"}
    assert bad(right, health=own) == []
    (found,) = bad({"HealthCheckPort": "9443"}, health=own)
    assert "uses HTTP for port 9443, but the health URL there uses HTTPS" in found.text
    assert bad(health=own) == [], "the web listener answers as well"


def test_a_health_url_on_loopback_is_out_of_a_balancers_reach():
    nodes = [{"name": "web1", "address": "10.0.1.11", "listen": ["127.0.0.1:9010"]}]
    found = [one for one in bad(node=nodes) if one.grade is Grade.PROBLEM]
    assert ["where these nodes have no health URL: web1" in one.text for one in found] == [True]


def test_safekits_path_of_the_health_url_does_as_well():
    assert bad({"HealthCheckPath": "/var/modules/shop/ready.txt"}) == []


@pytest.mark.parametrize(
    ("attributes", "grade", "text", "remedy"),
    [
        ({"deregistration_delay.timeout_seconds": "0"}, Grade.WARNING, "delay is 0", "Value=60"),
        ({"deregistration_delay.timeout_seconds": "3600"}, Grade.WARNING, "delay is 3600 s", "Value=300"),
        ({"deregistration_delay.timeout_seconds": "x"}, Grade.UNSEEN, "does not report its deregistration delay", ""),
        (
            {"deregistration_delay.connection_termination.enabled": "true"},
            Grade.WARNING,
            "cut at the end",
            "Key=deregistration_delay.connection_termination.enabled,Value=false",
        ),
        (
            {"target_health_state.unhealthy.connection_termination.enabled": "true"},
            Grade.WARNING,
            "connections to a target that becomes unhealthy are cut",
            "Key=target_health_state.unhealthy.connection_termination.enabled,Value=false Key=target_health_state",
        ),
        (
            {"target_health_state.unhealthy.connection_termination.enabled": ""},
            Grade.UNSEEN,
            "true by default",
            "",
        ),
    ],
)
def test_an_attribute_that_cuts_connections_is_told_with_what_mends_it(attributes, grade, text, remedy):
    (found,) = nlb(None, attributes)
    assert found.grade is grade
    assert text in found.text
    assert remedy in found.remedy


def test_what_is_no_fault_and_matters_is_told_too():
    told = {"proxy_protocol_v2.enabled": "true", "preserve_client_ip.enabled": "true"}
    texts = [one.text for one in judged(attributes=ATTRIBUTES | told) if one.grade is Grade.OK]
    assert any("PROXY protocol version 2 is on" in text for text in texts)
    assert any("must let the clients in" in text for text in texts)


def test_nodes_and_others_that_are_registered_are_told():
    there = described(("10.0.1.11", 80, "healthy"), ("10.0.2.11", 8080, "healthy"), ("10.0.9.9", 80, "unhealthy"))
    texts = [one.text for one in judged(targets=there)]
    assert "web1: 10.0.1.11:80 is healthy" in texts
    assert "web2: 10.0.2.11:80 is absent; registered under port 8080 instead" in texts
    assert "targets that are not nodes of this farm: 10.0.9.9" in texts


def test_a_virtual_ip_is_no_target():
    layer_two = {"vip": [{"address": "10.0.1.50"}], "share": [{"name": "WEB", "ports": [80]}]}
    (found,) = bad(targets=described(("10.0.1.50", 80, "healthy")), l2=layer_two)
    assert (found.grade, "10.0.1.50" in found.text) == (Grade.WARNING, True)
    assert found.remedy.endswith("--targets Id=10.0.1.50,Port=80"), "without the port AWS would do nothing"


def test_an_id_that_only_the_machine_knows_is_said_to_be_unseen():
    found = bad(target={"id": "metadata"})
    assert [one.text for one in found] == [f"{name}: only its machine knows its id" for name in ("web1", "web2")]


def test_what_may_not_be_looked_at_is_no_problem_and_what_cannot_be_reached_is():
    denied = refused(Asked(action="X"), operation="X", code="AccessDenied", message="no", status=403)
    found = [one for one in judged(denied, denied, denied) if one.grade is not Grade.OK]
    assert [one.grade for one in found] == [Grade.UNSEEN] * 3
    away = TargetError(Trouble.RETRY, "not reached")
    assert [(one.grade, one.text) for one in judged(away, away, away)] == [(Grade.PROBLEM, "not reached")]


def test_targets_that_cannot_be_read_are_unseen():
    (found,) = bad(targets={"TargetHealthDescriptions": [{"Target": {}}]})
    assert found.grade is Grade.UNSEEN


@pytest.mark.parametrize(
    ("codes", "status", "expected"),
    [
        ("200", 200, True),
        ("200", 404, False),
        ("200,404", 404, True),
        ("200-399", 404, False),
        ("200-499", 404, True),
        ("201 - 299", 200, False),
        ("202, 200", 200, True),
        ("", 200, False),
        ("2xx", 200, False),
    ],
)
def test_a_matcher_is_read_as_codes_and_ranges(codes, status, expected):
    assert matches(codes, status) is expected
