"""Reviews an AWS target group: the nodes should be able to be its targets, and to leave it without lost requests.

The group, its attributes and its targets are the answers of `DescribeTargetGroups`, `DescribeTargetGroupAttributes` and
`DescribeTargetHealth`, or the errors of these calls. Each finding has a fact, its effect and a remedy. The behaviour of
AWS is taken from its documentation; some of the timing is from reports of its users.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from hcsidecar.core.farmfile.farm_file import FarmFile
from hcsidecar.core.farmfile.target_tables import FROM_METADATA, AwsTarget
from hcsidecar.core.farmfile.values import is_ipv6
from hcsidecar.core.targets.aws_failures import AwsError
from hcsidecar.core.targets.aws_health_check import review_health_check
from hcsidecar.core.targets.aws_stopping import review_stopping
from hcsidecar.core.targets.aws_targets import TargetKey, observation, plain_id
from hcsidecar.core.targets.findings import Grade, ReviewFinding
from hcsidecar.core.targets.registration import TargetError

_BALANCERS: Mapping[str, str] = {
    "HTTP": "alb",
    "HTTPS": "alb",
    **dict.fromkeys(("TCP", "TLS", "UDP", "TCP_UDP", "QUIC", "TCP_QUIC"), "nlb"),
}

AwsResponse = Mapping[str, Any] | TargetError
"An answer, or the error instead of one."


def review(
    table: AwsTarget, farm: FarmFile, *, group: AwsResponse, attributes: AwsResponse, health: AwsResponse
) -> list[ReviewFinding]:
    """Return the findings on a group, its attributes (by name), and the health of all its targets."""
    found: list[ReviewFinding] = []
    if isinstance(group, TargetError):
        found.append(_not_seen("the group", group))
    else:
        found += _kind(table, farm, group)
        found += review_health_check(table, farm, group)
    if isinstance(attributes, TargetError):
        found.append(_not_seen("the group's attributes", attributes))
    else:
        protocol = "" if isinstance(group, TargetError) else str(group.get("Protocol", ""))
        found += review_stopping(table, attributes, protocol=protocol)
    if isinstance(health, TargetError):
        found.append(_not_seen("the group's targets", health))
    else:
        port = table.port or (None if isinstance(group, TargetError) else group.get("Port"))
        found += _targets(table, farm, health, port)
    # Without a network, all three calls fail in the same way, which is reported once.
    return list(dict.fromkeys(found))


def _not_seen(what: str, error: TargetError) -> ReviewFinding:
    if isinstance(error, AwsError) and error.is_denied:
        return ReviewFinding(
            grade=Grade.UNSEEN, text=f"{what} could not be read: {error.text}", effect="this part is not reviewed"
        )
    return ReviewFinding(grade=Grade.PROBLEM, text=error.text, effect="nodes can be neither registered nor seen")


def _kind(table: AwsTarget, farm: FarmFile, group: Mapping[str, Any]) -> Iterator[ReviewFinding]:
    type_, protocol = str(group.get("TargetType", "")), str(group.get("Protocol", ""))
    if type_ in ("ip", "instance") and type_ != table.target:
        yield ReviewFinding(
            grade=Grade.PROBLEM,
            text=f"the group's targets are of type {type_}, but the farm file says {table.target}",
            effect="registration is refused",
            remedy=f'target = "{type_}"; the type of a group cannot be changed',
        )
    elif type_ != table.target:
        yield ReviewFinding(
            grade=Grade.PROBLEM,
            text=f"the group's targets are of type {type_}",
            effect="a server cannot be registered there",
            remedy=f"make a group with --target-type {table.target}",
        )
    else:
        yield ReviewFinding(grade=Grade.OK, text=f"targets of type {type_}, {protocol} to port {_port(table, group)}")
    balancer = _BALANCERS.get(protocol)
    if balancer is None:
        yield ReviewFinding(
            grade=Grade.PROBLEM,
            text=f"the group's protocol is {protocol}",
            effect="neither an Application nor a Network Load Balancer can use it",
            remedy="create a group with --protocol HTTP, HTTPS, TCP, TLS or UDP",
        )
    elif balancer != table.balancer:
        early = "the node answers NOT FOUND at once, but the balancer sends new connections for two more minutes"
        late = "`leave` serves for two more minutes, which this balancer does not need"
        yield ReviewFinding(
            grade=Grade.WARNING,
            text=f"{protocol} is a protocol of an {balancer}, but the farm file says {table.balancer}",
            effect=early if balancer == "nlb" else late,
            remedy=f'balancer = "{balancer}"',
        )
    if not group.get("LoadBalancerArns"):
        yield ReviewFinding(
            grade=Grade.WARNING,
            text="no load balancer uses the group",
            effect="it is never probed, and its nodes stay unused",
            remedy=f"aws elbv2 create-listener … --default-actions Type=forward,TargetGroupArn={table.group}",
        )
    family = str(group.get("IpAddressType", "ipv4"))
    for node in farm.node if table.target == "ip" else ():
        known = table.id_of(node.name, node.address)
        if known != FROM_METADATA and is_ipv6(known) != (family == "ipv6"):
            yield ReviewFinding(
                grade=Grade.PROBLEM,
                text=f"{node.name} is {known}, but the group has {family} addresses",
                effect="its registration is refused",
                remedy=f'nodes = {{ {node.name} = {{ id = "…" }} }}',
            )


def _port(table: AwsTarget, group: Mapping[str, Any]) -> int:
    return int(table.port or group.get("Port", 0))


def _targets(table: AwsTarget, farm: FarmFile, health: Mapping[str, Any], port: Any) -> Iterator[ReviewFinding]:
    """Yield the state of each node at the group, and the other targets."""
    try:
        described = {one["Target"]["Id"]: one for one in health["TargetHealthDescriptions"]}
    except (KeyError, TypeError):
        yield ReviewFinding(grade=Grade.UNSEEN, text="the targets of the group could not be read")
        return
    ours: set[str] = set()
    for node in farm.node:
        known = table.id_of(node.name, node.address)
        if known == FROM_METADATA:
            yield ReviewFinding(grade=Grade.UNSEEN, text=f"{node.name}: only its machine knows its id")
            continue
        ours.add(plain_id(known))
        mine = [one for one in health["TargetHealthDescriptions"] if plain_id(one["Target"]["Id"]) == plain_id(known)]
        key = TargetKey(id=known, port=port if isinstance(port, int) else None)
        try:
            seen = observation({"TargetHealthDescriptions": mine}, key)
        except TargetError:
            ports = ", ".join(str(one["Target"].get("Port")) for one in mine)
            yield ReviewFinding(
                grade=Grade.OK, text=f"{node.name}: {key} is absent; registered under port {ports} instead"
            )
            continue
        reason = f" ({seen.reason})" if seen.reason else ""
        yield ReviewFinding(grade=Grade.OK, text=f"{node.name}: {key} is {seen.presence}{reason}")
    vips = {plain_id(vip.address) for vip in farm.l2.vip} if farm.l2 else set()
    for other in sorted(described):
        if plain_id(other) in vips:
            yield ReviewFinding(
                grade=Grade.WARNING,
                text=f"the virtual IP {other} is a target",
                effect="its health is that of the node that happens to answer the probe",
                remedy=f"aws elbv2 deregister-targets --target-group-arn {table.group} --targets"
                f" Id={other},Port={described[other]['Target'].get('Port', _port(table, {}))}",
            )
    if table.target == "ip" and all(table.id_of(node.name, node.address) != FROM_METADATA for node in farm.node):
        foreign = sorted(other for other in described if plain_id(other) not in ours | vips)
        if foreign:
            yield ReviewFinding(grade=Grade.OK, text=f"targets that are not nodes of this farm: {', '.join(foreign)}")
