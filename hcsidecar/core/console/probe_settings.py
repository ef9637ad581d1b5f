"""What to type into a load balancer so that it probes the nodes of a farm, and what [health] needs for that.

The intervals and limits are those of docs/manual/balancers.md, which gives the reasons for them.
"""

import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Final

from hcsidecar.core.farmfile.check_tables import PortCheck
from hcsidecar.core.farmfile.cross_checks import api_endpoint
from hcsidecar.core.farmfile.farm_file import FarmFile, NodeTable
from hcsidecar.core.farmfile.target_tables import AwsTarget, HaproxyTarget
from hcsidecar.core.farmfile.values import HostPort, format_duration

_LONGEST_LAME_DUCK: Final = 3600.0
"The most that the farm file accepts for `lame_duck`, in seconds."
_NEVER_PROBED_BY_AZURE: Final = frozenset((19, 21, 25, 70, 110, 119, 143, 220, 993))


class ProbingBalancer(StrEnum):
    """A load balancer that asks for the health URL."""

    HAPROXY = "haproxy"
    AWS_ALB = "aws-alb"
    AWS_NLB = "aws-nlb"
    AZURE = "azure"
    GOOGLE = "google"


class TextLanguage(StrEnum):
    """What a text to copy is written in."""

    HAPROXY = "haproxy"
    SHELL = "shell"


class WhyNoProbe(StrEnum):
    """Why a balancer cannot probe a farm."""

    PORTS_DIFFER = "ports-differ"
    "The balancer probes one port of all nodes, and these nodes serve the health URL on different ones."
    FORBIDDEN_PORT = "forbidden-port"
    "The balancer never probes this port."


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTiming:
    """How a balancer probes, in seconds and in answers in a row."""

    interval: float
    timeout: float
    fall: int
    rise: int
    drain_fall: int
    "Answers of 404 in a row after which a node gets no new clients: less than `fall` if 404 is a drain."
    lag: float
    "From the balancer's verdict until it sends nothing new to the node."
    requests: float
    "What `lame_duck` leaves for requests in progress."

    @property
    def out_after(self) -> float:
        """Seconds from the first 404 until the balancer sends nothing new to the node, at most."""
        return self.drain_fall * self.interval + self.lag

    @property
    def prober_fall(self) -> int:
        """The least `prober_fall` with which a drain lasts until the balancer has acted."""
        return math.ceil(self.drain_fall + self.lag / self.interval)

    def lame_duck(self, prober_fall: int) -> float:
        """Return the least `lame_duck`, in seconds, that suffices for this `prober_fall`."""
        return min(prober_fall * self.interval + self.requests, _LONGEST_LAME_DUCK)


TIMINGS: Final[Mapping[ProbingBalancer, ProbeTiming]] = {
    ProbingBalancer.HAPROXY: ProbeTiming(interval=2, timeout=2, fall=3, rise=2, drain_fall=1, lag=0, requests=4),
    ProbingBalancer.AWS_ALB: ProbeTiming(interval=10, timeout=5, fall=2, rise=2, drain_fall=2, lag=0, requests=5),
    ProbingBalancer.AWS_NLB: ProbeTiming(interval=10, timeout=6, fall=2, rise=2, drain_fall=2, lag=40, requests=10),
    # Azure's timeout is its interval.
    ProbingBalancer.AZURE: ProbeTiming(interval=5, timeout=5, fall=2, rise=1, drain_fall=2, lag=0, requests=5),
    ProbingBalancer.GOOGLE: ProbeTiming(interval=5, timeout=5, fall=2, rise=2, drain_fall=2, lag=0, requests=5),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings:
    """What one balancer needs."""

    balancer: ProbingBalancer
    timing: ProbeTiming
    language: TextLanguage
    text: str
    "Lines to copy, ending with a line feed; names in capitals are for the reader to replace. Empty if it cannot probe."
    why_not: WhyNoProbe | None
    health: Mapping[str, int | str]
    "Keys of [health] that are too low for this balancer, with the least value that suffices. Empty if none is."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Probed:
    """Where a balancer finds the health URL of one node."""

    address: str
    port: int
    tls: bool


def likely_application_port(farm: FarmFile) -> int:
    """Return the port on which the application of a node probably serves its clients: 80 if the file names none."""
    for target in farm.target:
        if isinstance(target, AwsTarget | HaproxyTarget) and target.port is not None:
            return target.port
    own = {address for node in farm.node for address in node.addresses.values()}
    for check in farm.check:
        if isinstance(check, PortCheck) and (check.address in own or ip_address(check.address).is_loopback):
            return check.port
    return 80


def probe_settings(farm: FarmFile, *, application_port: int) -> tuple[ProbeSettings, ...]:
    """Return what each balancer needs; `application_port` is the port on which the nodes serve their clients."""
    return tuple(_settings(balancer, farm, application_port) for balancer in ProbingBalancer)


def _settings(balancer: ProbingBalancer, farm: FarmFile, application_port: int) -> ProbeSettings:
    timing = TIMINGS[balancer]
    probed = {node.name: _probed(farm, node) for node in farm.node}
    text, why_not = "", None
    if balancer is ProbingBalancer.HAPROXY:
        text = _haproxy(farm, timing, probed, application_port)
    elif len({(each.port, each.tls) for each in probed.values()}) > 1:
        why_not = WhyNoProbe.PORTS_DIFFER
    else:
        one = next(iter(probed.values()))
        if balancer is ProbingBalancer.AZURE and one.port in _NEVER_PROBED_BY_AZURE:
            why_not = WhyNoProbe.FORBIDDEN_PORT
        else:
            text = _COMMANDS[balancer](farm, timing, one, application_port)
    return ProbeSettings(
        balancer=balancer,
        timing=timing,
        language=TextLanguage.HAPROXY if balancer is ProbingBalancer.HAPROXY else TextLanguage.SHELL,
        text=text,
        why_not=why_not,
        health={} if why_not else _too_low(farm, timing),
    )


def _probed(farm: FarmFile, node: NodeTable) -> _Probed:
    """Return where to probe a node: the listener for the health URL alone, if a balancer can reach it."""
    own = api_endpoint(node, farm.health.listen)
    if own is not None and (not _is_loopback(own) or _is_loopback(HostPort(node.address, own.port))):
        return _Probed(address=own.host, port=own.port, tls=farm.health.tls is not None)
    web = farm.api_address(node)
    return _Probed(address=web.host, port=web.port, tls=farm.web.tls is not None)


def _is_loopback(endpoint: HostPort) -> bool:
    return ip_address(endpoint.host).is_loopback


def _too_low(farm: FarmFile, timing: ProbeTiming) -> dict[str, int | str]:
    prober_fall = max(farm.health.prober_fall, timing.prober_fall)
    lame_duck = timing.lame_duck(prober_fall)
    changes: dict[str, int | str] = {}
    if farm.health.prober_fall < prober_fall:
        changes["prober_fall"] = prober_fall
    if farm.health.lame_duck < lame_duck:
        changes["lame_duck"] = format_duration(lame_duck)
    return changes


def _haproxy(farm: FarmFile, timing: ProbeTiming, probed: Mapping[str, _Probed], application_port: int) -> str:
    agent = farm.health.agent_check
    asked = "" if agent is None else f" agent-check agent-port {agent.port} agent-inter 1s"
    lines = [
        f"backend {farm.farm.name}",
        "    balance roundrobin",
        f"    option httpchk GET {shlex.quote(farm.health.path)}",
        "    http-check disable-on-404",
        "    option log-health-checks",
        f"    timeout check {timing.timeout:g}s",
        f"    default-server check inter {timing.interval:g}s fall {timing.fall} rise {timing.rise}{asked}",
    ]
    for node in farm.node:
        probe = probed[node.name]
        where = f"port {probe.port}" if probe.address == node.address else f"addr {probe.address} port {probe.port}"
        # A node's own certificate names the node rather than the address that HAProxy knows.
        tls = " check-ssl verify none" if probe.tls else ""
        lines.append(f"    server {node.name} {HostPort(node.address, application_port)} {where}{tls}")
    return "\n".join(lines) + "\n"


def _aws(
    farm: FarmFile, timing: ProbeTiming, probe: _Probed, *, protocol: str, port: int, attributes: Sequence[str]
) -> str:
    # Letters, digits and hyphens, at most 32: the rule of AWS for the name of a target group.
    name = re.sub("[^A-Za-z0-9]+", "-", farm.farm.name)[:32].rstrip("-")
    family = " --ip-address-type ipv6" if ":" in farm.node[0].address else ""
    create = _command(
        f"aws elbv2 create-target-group --name {name} --protocol {protocol} --port {port} --vpc-id VPC",
        f"--target-type ip{family}",
        f"--health-check-protocol {'HTTPS' if probe.tls else 'HTTP'} --health-check-port {probe.port}",
        f"--health-check-path {shlex.quote(farm.health.path)} --matcher HttpCode=200",
        f"--health-check-interval-seconds {timing.interval:g} --health-check-timeout-seconds {timing.timeout:g}",
        f"--healthy-threshold-count {timing.rise} --unhealthy-threshold-count {timing.fall}",
    )
    modify = _command("aws elbv2 modify-target-group-attributes --target-group-arn ARN --attributes", *attributes)
    return create + modify


def _aws_alb(farm: FarmFile, timing: ProbeTiming, probe: _Probed, application_port: int) -> str:
    attributes = ["Key=deregistration_delay.timeout_seconds,Value=60"]
    return _aws(farm, timing, probe, protocol="HTTP", port=application_port, attributes=attributes)


def _aws_nlb(farm: FarmFile, timing: ProbeTiming, probe: _Probed, application_port: int) -> str:
    attributes = [
        "Key=deregistration_delay.timeout_seconds,Value=180",
        "Key=deregistration_delay.connection_termination.enabled,Value=false",
        "Key=target_health_state.unhealthy.connection_termination.enabled,Value=false",
        "Key=target_health_state.unhealthy.draining_interval_seconds,Value=60",
    ]
    return _aws(farm, timing, probe, protocol="TCP", port=application_port, attributes=attributes)


def _azure(farm: FarmFile, timing: ProbeTiming, probe: _Probed, _application_port: int) -> str:
    # A name ends with a letter, a digit or an underscore.
    name = farm.farm.name.rstrip(".-")
    return _command(
        f"az network lb probe create --resource-group RG --lb-name LB --name {name}",
        f"--protocol {'Https' if probe.tls else 'Http'} --port {probe.port} --path {shlex.quote(farm.health.path)}",
        f"--interval {timing.interval:g}",
    )


def _google(farm: FarmFile, timing: ProbeTiming, probe: _Probed, _application_port: int) -> str:
    # RFC 1035: a letter first, then lower case, digits and hyphens, at most 63.
    name = f"farm-{re.sub('[^a-z0-9]+', '-', farm.farm.name.lower())}"[:50].rstrip("-")
    check = _command(
        f"gcloud compute health-checks create {'https' if probe.tls else 'http'} {name}",
        f"--port={probe.port} --request-path={shlex.quote(farm.health.path)}",
        f"--check-interval={timing.interval:g}s --timeout={timing.timeout:g}s",
        f"--unhealthy-threshold={timing.fall} --healthy-threshold={timing.rise}",
    )
    admit = _command(
        f"gcloud compute firewall-rules create {name}-probes --network=NETWORK --direction=INGRESS",
        f"--allow=tcp:{probe.port} --source-ranges=35.191.0.0/16,130.211.0.0/22",
    )
    return check + admit


def _command(*lines: str) -> str:
    return " \\\n    ".join(lines) + "\n"


_COMMANDS: Final[Mapping[ProbingBalancer, Callable[[FarmFile, ProbeTiming, _Probed, int], str]]] = {
    ProbingBalancer.AWS_ALB: _aws_alb,
    ProbingBalancer.AWS_NLB: _aws_nlb,
    ProbingBalancer.AZURE: _azure,
    ProbingBalancer.GOOGLE: _google,
}
