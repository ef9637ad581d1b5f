"""The targets of an AWS target group (Elastic Load Balancing v2): which one is this node, and in which state it is.

A target is a pair of id and port, and AWS treats the two as one. A target that was registered with a port must be
deregistered with the same port; without it, AWS accepts the deregistration and does nothing.

States and reasons are those of `DescribeTargetHealth`. `unused` does not mean absent: a target is unused if no listener
uses its group, or if the balancer does not serve its zone. It is registered, and registering it again changes nothing.
A state that AWS may add in the future is UNKNOWN.
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hcsidecar.core.targets.registration import Observation, Presence, TargetError, Trouble

NOT_REGISTERED = "Target.NotRegistered"
"The reason that AWS gives for an absent target, whatever its state."
_STATES: Mapping[str, Presence] = {
    "initial": Presence.PENDING,
    "healthy": Presence.HEALTHY,
    "unhealthy": Presence.UNHEALTHY,
    "unhealthy.draining": Presence.UNHEALTHY,
    "draining": Presence.DRAINING,
    "unused": Presence.UNUSED,
    "unavailable": Presence.UNKNOWN,
}
_QUIET_OVERRIDES = frozenset({"", "no_override", "unknown"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetKey:
    """What identifies a target."""

    id: str
    port: int | None = None
    "None for the port of the group, which is not known."
    zone: str | None = None
    "Sent with calls if it is set; it does not distinguish targets."

    def __str__(self) -> str:
        """Return 192.0.2.11:80, [2001:db8::11]:80 or i-0123456789abcdef0:80; without the port if it is unknown."""
        shown = f"[{self.id}]" if ":" in self.id and self.port is not None else self.id
        return shown if self.port is None else f"{shown}:{self.port}"

    @property
    def pair(self) -> tuple[str, int | None]:
        """The id, in its canonical form, and the port."""
        return plain_id(self.id), self.port

    def may_be(self, other: "TargetKey") -> bool:
        """Return whether both may be the same target: an unknown port may be any port."""
        return plain_id(self.id) == plain_id(other.id) and (None in (self.port, other.port) or self.port == other.port)

    def described(self) -> dict[str, Any]:
        """Return it as a `TargetDescription` of AWS."""
        description: dict[str, Any] = {"Id": self.id}
        if self.port is not None:
            description["Port"] = self.port
        if self.zone is not None:
            description["AvailabilityZone"] = self.zone
        return description


def plain_id(given: str) -> str:
    """Return an id in its canonical form, for comparisons: IPv6 addresses have several spellings."""
    try:
        return str(ipaddress.ip_address(given))
    except ValueError:
        return given.lower()


def observation(answer: Mapping[str, Any], key: TargetKey) -> Observation:
    """Return the state of a target from an answer of `DescribeTargetHealth`. Raise TargetError if it makes no sense."""
    found = [one for one in _descriptions(answer) if _describes(one, key)]
    if not found:
        if _descriptions(answer):
            text = f"AWS was asked about {key} and answered about other targets"
            raise TargetError(Trouble.RETRY, text)
        return Observation(presence=Presence.ABSENT, reason=NOT_REGISTERED)
    health = _table(found[0], "TargetHealth")
    state, reason = _text(health, "State"), _text(health, "Reason")
    presence = _STATES.get(state, Presence.UNKNOWN)
    if reason == NOT_REGISTERED:
        presence = Presence.ABSENT
    words = [": ".join(filter(None, (reason or (state if state != presence else ""), _text(health, "Description"))))]
    words += _other_statements(found[0])
    return Observation(presence=presence, reason="; ".join(filter(None, words)))


def formers(remembered: Iterable[TargetKey], now: TargetKey, others: Iterable[str]) -> list[TargetKey]:
    """Return which former targets of this node to deregister: not its present one, and none of another node."""
    taken = {plain_id(other) for other in others}
    return [key for key in remembered if not key.may_be(now) and plain_id(key.id) not in taken]


def with_port(keys: Iterable[TargetKey], port: int | None) -> list[TargetKey]:
    """Return the targets without duplicates, with the port of the group for those that were registered without one."""
    filled: dict[tuple[str, int | None], TargetKey] = {}
    for key in keys:
        whole = key if key.port is not None else TargetKey(id=key.id, port=port, zone=key.zone)
        filled.setdefault(whole.pair, whole)
    return list(filled.values())


def whose(key: TargetKey, *, nodes: Mapping[str, Sequence[str]], vips: Iterable[str]) -> str | None:
    """Return who else has the id of a target, or None if only this node does.

    `nodes` has the ids and addresses of the other nodes.
    """
    mine = plain_id(key.id)
    for name, ids in nodes.items():
        if mine in map(plain_id, ids):
            return f"node {name}"
    return "the virtual IP" if mine in map(plain_id, vips) else None


def _descriptions(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = answer.get("TargetHealthDescriptions")
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise TargetError(Trouble.RETRY, "the answer is not from AWS: it has no TargetHealthDescriptions")
    return found


def _describes(description: Mapping[str, Any], key: TargetKey) -> bool:
    target = _table(description, "Target")
    port = target.get("Port")
    known = port if isinstance(port, int) else None
    return TargetKey(id=_text(target, "Id"), port=known).may_be(key)


def _other_statements(description: Mapping[str, Any]) -> list[str]:
    """Return other statements of AWS on a target, which may explain why a healthy target gets no traffic."""
    said = []
    override = _table(description, "AdministrativeOverride")
    if _text(override, "State") not in _QUIET_OVERRIDES:
        said.append(f"administrative override: {_text(override, 'State')}")
    if _text(_table(description, "AnomalyDetection"), "Result") == "anomalous":
        said.append("anomaly detection: anomalous")
    return said


def _table(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = given.get(name)
    return found if isinstance(found, Mapping) else {}


def _text(given: Mapping[str, Any], name: str) -> str:
    found = given.get(name)
    return found if isinstance(found, str) else ""
