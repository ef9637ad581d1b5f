"""Reviews the attributes of an AWS target group: connections should end by themselves when a node leaves."""

from collections.abc import Iterator, Mapping

from hcsidecar.core.farmfile.target_tables import AwsTarget
from hcsidecar.core.targets.findings import Grade, ReviewFinding

DELAY = "deregistration_delay.timeout_seconds"
CUT_AT_END = "deregistration_delay.connection_termination.enabled"
CUT_WHEN_UNHEALTHY = "target_health_state.unhealthy.connection_termination.enabled"
UNHEALTHY_INTERVAL = "target_health_state.unhealthy.draining_interval_seconds"
PROXY_PROTOCOL = "proxy_protocol_v2.enabled"
CLIENT_ADDRESSES = "preserve_client_ip.enabled"
_LONG = 600
"A deregistration delay, in seconds, that surprises a person who waits for `leave`."


def review_stopping(table: AwsTarget, attributes: Mapping[str, str], *, protocol: str) -> Iterator[ReviewFinding]:
    """Yield the findings on attributes, given by name; `protocol` is that of the group, empty if unknown."""
    yield from _delay(table, attributes.get(DELAY, ""))
    if attributes.get(CUT_AT_END) == "true":
        yield ReviewFinding(
            grade=Grade.WARNING,
            text="connections are cut at the end of the deregistration delay",
            effect="clients that are still connected then are reset; the server itself would let them finish",
            remedy=_modify(table, f"Key={CUT_AT_END},Value=false"),
        )
    yield from _unhealthy(table, attributes, protocol)
    if attributes.get(PROXY_PROTOCOL) == "true":
        yield ReviewFinding(
            grade=Grade.OK,
            text="PROXY protocol version 2 is on: the health URL understands it, and the application must do so too",
        )
    if attributes.get(CLIENT_ADDRESSES) == "true":
        yield ReviewFinding(
            grade=Grade.OK,
            text="client addresses are preserved: the security groups of the servers must let the clients in too",
        )


def _delay(table: AwsTarget, said: str) -> Iterator[ReviewFinding]:
    if not said.isdigit():
        yield ReviewFinding(grade=Grade.UNSEEN, text="the group does not report its deregistration delay")
        return
    delay = int(said)
    if delay == 0:
        yield ReviewFinding(
            grade=Grade.WARNING,
            text="the deregistration delay is 0",
            effect="`leave` cuts requests in progress",
            remedy=_modify(table, f"Key={DELAY},Value=60"),
        )
    elif delay > _LONG and table.balancer == "nlb":
        yield ReviewFinding(
            grade=Grade.WARNING,
            text=f"the deregistration delay is {delay} s",
            effect="after `leave`, the node serves for this long before it answers NOT FOUND",
            remedy=_modify(table, f"Key={DELAY},Value=300"),
        )
    else:
        yield ReviewFinding(grade=Grade.OK, text=f"after `leave`, connections have {delay} s to end")


def _unhealthy(table: AwsTarget, attributes: Mapping[str, str], protocol: str) -> Iterator[ReviewFinding]:
    """Yield the findings on what an NLB does to the connections of a target that becomes unhealthy, as in a drain."""
    said = attributes.get(CUT_WHEN_UNHEALTHY)
    streams = protocol in ("TCP", "TLS") or (not protocol and table.balancer == "nlb")
    if said == "true":
        yield ReviewFinding(
            grade=Grade.WARNING,
            text="connections to a target that becomes unhealthy are cut",
            effect="a drain or a stop makes a node unhealthy, and its connections are reset instead of ending normally",
            remedy=_modify(table, f"Key={CUT_WHEN_UNHEALTHY},Value=false Key={UNHEALTHY_INTERVAL},Value=60"),
        )
    elif said == "false":
        interval = attributes.get(UNHEALTHY_INTERVAL, "0")
        yield ReviewFinding(
            grade=Grade.OK,
            text=f"connections to a target that becomes unhealthy may end by themselves (interval {interval} s)",
        )
    elif streams:
        yield ReviewFinding(
            grade=Grade.UNSEEN,
            text=f"the group does not report {CUT_WHEN_UNHEALTHY}, which is true by default and cuts connections",
        )


def _modify(table: AwsTarget, what: str) -> str:
    return f"aws elbv2 modify-target-group-attributes --target-group-arn {table.group} --attributes {what}"
