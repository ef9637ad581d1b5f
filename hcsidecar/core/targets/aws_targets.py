"""What AWS says of targets of a group (Elastic Load Balancing v2): which one is this node, and how it stands.

A target is a pair of id and port. To AWS they belong together: whoever registers an id under a port of his own must say
both to deregister it, and a deregistration without the port is accepted and does nothing.

States and reasons are those of `DescribeTargetHealth`. `unused` is not absent: a target of a group that no listener
uses, or in a zone that the balancer does not serve, is registered, and registering it again changes nothing. What AWS
may add one day is UNKNOWN.
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hcsidecar.core.targets.registration import Observation, Presence, TargetError, Trouble

NOT_REGISTERED = "Target.NotRegistered"
"The reason for which a target is absent, whatever its state."
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
    """What a target is told by."""

    id: str
    port: int | None = None
    "None: the group's own, which is not known."
    zone: str | None = None
    "Said in calls where it is set, and no part of what tells targets apart."

    def __str__(self) -> str:
        """Write it as 192.0.2.11:80, [2001:db8::11]:80 or i-0123456789abcdef0:80; without an unknown port."""
        shown = f"[{self.id}]" if ":" in self.id and self.port is not None else self.id
        return shown if self.port is None else f"{shown}:{self.port}"

    @property
    def pair(self) -> tuple[str, int | None]:
        """What tells it apart."""
        return plain_id(self.id), self.port

    def may_be(self, other: "TargetKey") -> bool:
        """Tell whether both may be the same target: an unknown port may be any."""
        return plain_id(self.id) == plain_id(other.id) and (None in (self.port, other.port) or self.port == other.port)

    def described(self) -> dict[str, Any]:
        """Give it as a `TargetDescription`."""
        description: dict[str, Any] = {"Id": self.id}
        if self.port is not None:
            description["Port"] = self.port
        if self.zone is not None:
            description["AvailabilityZone"] = self.zone
        return description


def plain_id(given: str) -> str:
    """Give an id in the one way in which it is compared: IPv6 addresses have several spellings."""
    try:
        return str(ipaddress.ip_address(given))
    except ValueError:
        return given.lower()


def observation(answer: Mapping[str, Any], key: TargetKey) -> Observation:
    """Say how a target stands, from the answer of `DescribeTargetHealth`; TargetError if it makes no sense."""
    found = [one for one in _descriptions(answer) if _is(one, key)]
    if not found:
        if _descriptions(answer):
            text = f"AWS was asked for {key} and answered for others"
            raise TargetError(Trouble.RETRY, text)
        return Observation(presence=Presence.ABSENT, reason=NOT_REGISTERED)
    health = _table(found[0], "TargetHealth")
    state, reason = _text(health, "State"), _text(health, "Reason")
    presence = _STATES.get(state, Presence.UNKNOWN)
    if reason == NOT_REGISTERED:
        presence = Presence.ABSENT
    words = [": ".join(filter(None, (reason or (state if state != presence else ""), _text(health, "Description"))))]
    words += _asides(found[0])
    return Observation(presence=presence, reason="; ".join(filter(None, words)))


def formers(remembered: Iterable[TargetKey], now: TargetKey, others: Iterable[str]) -> list[TargetKey]:
    """Say which of the targets that this node was are to go: none that it may still be, and none that is another's."""
    taken = {plain_id(other) for other in others}
    return [key for key in remembered if not key.may_be(now) and plain_id(key.id) not in taken]


def with_port(keys: Iterable[TargetKey], port: int | None) -> list[TargetKey]:
    """Fill in the group's own port where a target was registered without one, and it is known by now; each once."""
    filled: dict[tuple[str, int | None], TargetKey] = {}
    for key in keys:
        whole = key if key.port is not None else TargetKey(id=key.id, port=port, zone=key.zone)
        filled.setdefault(whole.pair, whole)
    return list(filled.values())


def whose(key: TargetKey, *, nodes: Mapping[str, Sequence[str]], vips: Iterable[str]) -> str | None:
    """Say whose a target is, if not this node's; `nodes` are the ids and addresses of the others."""
    mine = plain_id(key.id)
    for name, ids in nodes.items():
        if mine in map(plain_id, ids):
            return f"node {name}"
    return "the virtual IP" if mine in map(plain_id, vips) else None


def _descriptions(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = answer.get("TargetHealthDescriptions")
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise TargetError(Trouble.RETRY, "the answer is none of AWS's: it has no TargetHealthDescriptions")
    return found


def _is(description: Mapping[str, Any], key: TargetKey) -> bool:
    target = _table(description, "Target")
    port = target.get("Port")
    known = port if isinstance(port, int) else None
    return TargetKey(id=_text(target, "Id"), port=known).may_be(key)


def _asides(description: Mapping[str, Any]) -> list[str]:
    """Give what else AWS says of a target, in words: it explains why a healthy one gets nothing."""
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
