"""Reviews the health check of an AWS target group: it should ask the health URL, and react correctly and in time."""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from math import ceil
from typing import Any

from hcsidecar.core.farmfile.farm_file import FarmFile, NodeTable
from hcsidecar.core.farmfile.target_tables import AwsTarget
from hcsidecar.core.farmfile.values import format_duration
from hcsidecar.core.targets.findings import Grade, ReviewFinding

NLB_LAG = 40
"Seconds during which an NLB still sends new connections to a target that has become unhealthy, as its users report."


def review_health_check(table: AwsTarget, farm: FarmFile, group: Mapping[str, Any]) -> Iterator[ReviewFinding]:
    """Yield the findings on the health check of a group, as `DescribeTargetGroups` describes it."""
    protocol = str(group.get("HealthCheckProtocol") or "")
    if protocol not in ("HTTP", "HTTPS"):
        text = f"the health check is a {protocol} connection" if protocol else "the group has no health check"
        yield ReviewFinding(
            grade=Grade.PROBLEM,
            text=text,
            effect="a node still gets traffic while it is drained or its application fails",
            remedy=_modify(table, f"--health-check-protocol HTTP --health-check-path {farm.health.path}"),
        )
        return
    yield from _version(group)
    yield from _where(table, farm, group, protocol)
    yield from _path(table, farm, group)
    yield from _matcher(table, group)
    yield from _times(table, farm, group)


def _version(group: Mapping[str, Any]) -> Iterator[ReviewFinding]:
    version = group.get("ProtocolVersion", "HTTP1")
    if version == "GRPC":
        yield ReviewFinding(
            grade=Grade.PROBLEM,
            text="the group and its health check use gRPC",
            effect="the health URL does not, so no node becomes healthy",
            remedy="create a group with --protocol-version HTTP1 or HTTP2",
        )
    elif version == "HTTP2":
        yield ReviewFinding(
            grade=Grade.WARNING,
            text="the group uses HTTP/2",
            effect="if AWS probes with HTTP/2 too, the health URL, which speaks HTTP/1.1, does not answer (untested)",
            remedy="check whether nodes become healthy; otherwise create a group with --protocol-version HTTP1",
        )


def _where(table: AwsTarget, farm: FarmFile, group: Mapping[str, Any], protocol: str) -> Iterator[ReviewFinding]:
    """Yield the findings on the port of the health check, where each node should have its health URL."""
    said = str(group.get("HealthCheckPort", "traffic-port"))
    port = int(said) if said.isdigit() else int(table.port or group.get("Port", 0))
    listening = {node.name: health_ports(farm, node) for node in farm.node}
    without = [name for name, ports in listening.items() if port not in ports]
    best = next((port for ports in listening.values() for port in ports), farm.api_address(farm.node[0]).port)
    remedy = _modify(table, f"--health-check-port {best}")
    if without and not said.isdigit():
        yield ReviewFinding(
            grade=Grade.PROBLEM,
            text=f"the health check asks the traffic port, {port}, and thus the application",
            effect="the balancer does not notice a drain, a failed check or a stop until the application has ended",
            remedy=remedy,
        )
        return
    if without:
        yield ReviewFinding(
            grade=Grade.PROBLEM,
            text=f"the health check asks port {port}, where these nodes have no health URL: {', '.join(without)}",
            effect="these nodes do not become healthy",
            remedy=remedy,
        )
        return
    spoken = {ports[port] for ports in listening.values()}
    if (protocol == "HTTPS") not in spoken:
        right = "HTTP" if protocol == "HTTPS" else "HTTPS"
        yield ReviewFinding(
            grade=Grade.PROBLEM,
            text=f"the health check uses {protocol} for port {port}, but the health URL there uses {right}",
            effect="no node becomes healthy",
            remedy=_modify(table, f"--health-check-protocol {right}"),
        )
        return
    yield ReviewFinding(grade=Grade.OK, text=f"the health check asks port {port} by {protocol}")


def health_ports(farm: FarmFile, node: NodeTable) -> dict[int, bool]:
    """Return the ports where balancers reach a node's health URL, those of [health] first; True stands for TLS."""
    own = [(listener, farm.health.tls is not None) for listener in farm.health.listen]
    web = [(listener, farm.web.tls is not None) for listener in farm.web_listen(node)]
    # A balancer cannot reach a listener on a loopback address.
    found = ((one, tls) for one, tls in (*own, *web) if not ipaddress.ip_address(one.host).is_loopback)
    ports: dict[int, bool] = {}
    for listener, tls in found:
        ports.setdefault(listener.port, tls)
    return ports


def _path(table: AwsTarget, farm: FarmFile, group: Mapping[str, Any]) -> Iterator[ReviewFinding]:
    path = str(group.get("HealthCheckPath", ""))
    if path.partition("?")[0] not in (farm.health.path, f"/var/modules/{farm.farm.name}/ready.txt"):
        yield ReviewFinding(
            grade=Grade.PROBLEM,
            text=f"the health check asks for {path}, but the health URL is {farm.health.path}",
            effect="no node becomes healthy, or the application answers in place of hcsidecar",
            remedy=_modify(table, f"--health-check-path {farm.health.path}"),
        )


def _matcher(table: AwsTarget, group: Mapping[str, Any]) -> Iterator[ReviewFinding]:
    matcher = group.get("Matcher")
    codes = str(matcher.get("HttpCode", "")) if isinstance(matcher, Mapping) else ""
    remedy = _modify(table, "--matcher HttpCode=200")
    if not matches(codes, 200):
        yield ReviewFinding(
            grade=Grade.PROBLEM,
            text=f"the health check takes {codes or 'nothing'} for healthy, but a healthy node answers 200",
            effect="no node becomes healthy",
            remedy=remedy,
        )
    if matches(codes, 404):
        yield ReviewFinding(
            grade=Grade.PROBLEM,
            text=f"the health check takes {codes} for healthy, which includes 404",
            effect="a node still gets traffic while it is drained or stopped, or its application fails",
            remedy=remedy,
        )


def matches(codes: str, status: int) -> bool:
    """Return whether a matcher such as 200, "200,202" or "200-299" takes a status for healthy."""
    for part in codes.split(","):
        found = re.fullmatch(r"\s*([0-9]{3})\s*(?:-\s*([0-9]{3}))?\s*", part)
        if found is not None and int(found[1]) <= status <= int(found[2] or found[1]):
            return True
    return False


def _times(table: AwsTarget, farm: FarmFile, group: Mapping[str, Any]) -> Iterator[ReviewFinding]:
    """Yield the findings on [health] and the times of the balancer: a stop must last until the balancer notices it."""
    interval, fall = group.get("HealthCheckIntervalSeconds"), group.get("UnhealthyThresholdCount")
    if not isinstance(interval, int) or not isinstance(fall, int) or interval <= 0:
        yield ReviewFinding(
            grade=Grade.UNSEEN, text="the group does not report the interval and threshold of its health check"
        )
        return
    lag = NLB_LAG if table.balancer == "nlb" else 0
    health = farm.health
    answers = fall + ceil(lag / interval)
    needed = answers * interval
    told = f"every {interval} s, out after {fall} failures"
    quicker = _modify(table, "--health-check-interval-seconds 10 --unhealthy-threshold-count 2")
    if health.lame_duck < needed:
        yield ReviewFinding(
            grade=Grade.WARNING,
            text=f"the health check, {told}, needs up to {needed} s to notice that a node leaves; lame_duck is"
            f" {format_duration(health.lame_duck)}",
            effect="a stop may end while the balancer still sends traffic: clients get errors",
            remedy=f'[health] lame_duck = "{needed + 5}s"' + (f"; or {quicker}" if interval > 10 else ""),  # noqa: PLR2004 - what the remedy would set
        )
    if health.prober_fall < answers:
        yield ReviewFinding(
            grade=Grade.WARNING,
            text=f"the balancer acts after {answers} NOT FOUND answers; prober_fall is {health.prober_fall}",
            effect="a stop may end its drain before the balancer has acted",
            remedy=f"[health] prober_fall = {answers}",
        )
    if health.lame_duck >= needed and health.prober_fall >= answers:
        yield ReviewFinding(grade=Grade.OK, text=f"the health check asks {told}; a stop waits for it")


def _modify(table: AwsTarget, what: str) -> str:
    return f"aws elbv2 modify-target-group --target-group-arn {table.group} {what}"
