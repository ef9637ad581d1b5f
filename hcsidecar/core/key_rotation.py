"""How a farm changes its keys by itself: all nodes take a new key, then seal with it, then drop all others.

Theory of operation
-------------------
The node that is asked is the *coordinator* of a rotation. It takes all nodes of the farm through four steps, and begins
each when all have done the one before:

1. *add*: a node fetches the new key and the new certificate authority from the coordinator, keeps both on its disk, and
   opens with the key.
2. *use*: it seals with the new key. All can open that, since all have added it.
3. *drop*: it forgets all other keys. Nobody seals with one any more.
4. *certify*: it takes the new authority in place of the former one, and makes itself a certificate.

A coordinator may die at any step, and nodes may be away: then the rotation rests where it is, and every node still
opens what the others seal. Whoever begins another one goes through all steps again. Rotations are in a total order, and
a node takes part in a later one only: once it has added the key of one, it does nothing more for an earlier one. So of
two coordinators at a time the later one gets through, and the other one is told so.

Only who has the key of a rotation can order the steps after the first: each order bears a proof with that key. For the
first step, both ends of the connection show certificates that each has recorded of the other before. So a node that was
removed from the farm, and has all its former secrets, neither gets the new key nor brings one in.

Before the last step all nodes have the former authority, and so another rotation can begin. Once one node was ordered
to certify, all have dropped their other keys. So a node that was killed or away at this step needs no order: it takes
the authority that it has kept as soon as another node shows it (`takes_by_itself`). A coordinator that was killed goes
on with its rotation at its next start, when it hears all nodes, from the first step: all steps are safe to repeat.

`KeyRotation` decides what a coordinator does, `why_not_step` what a node refuses. Neither knows a secret.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Final

import msgspec

from hcsidecar.core.membership.heartbeat import NodeName

ASK_AGAIN: Final = 1.0
"Seconds between two orders to a node that has not answered."
STEP_LIMIT: Final = 30.0
"Seconds for one step on all nodes."
NO_AUTHORITY: Final = (
    "this farm has no certificate authority, without which the nodes cannot send each other a new key safely:"
    " hcsidecar ca new on one node, copy ca.pem and ca.key to the others, and give hcsidecar key rotate; or change the"
    " key by hand: hcsidecar key add"
)
_BY_HAND: Final = (
    "a removed server has the farm's key and could have sent this, so change the key by hand (hcsidecar key add)"
)
PROBLEMS_LAST: Final = 10.0
"Seconds for which a problem of a node may pass by itself, such as a busy disk, before the coordinator gives up."


class RotationStep(StrEnum):
    """What all nodes do next."""

    ADD = "add"
    USE = "use"
    DROP = "drop"
    CERTIFY = "certify"


class RotationId(msgspec.Struct, frozen=True, array_like=True, order=True):
    """A rotation. A later one is greater."""

    number: Annotated[int, msgspec.Meta(ge=1, le=10**12)]
    coordinator: NodeName
    token: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyHolder:
    """What a node has of keys, by their ids."""

    rotation: RotationId | None
    "The latest that it has added the key of."
    new: int | None
    "The key of that rotation."
    keys: Collection[int]
    "Those that it opens with."
    active: int
    "The one that it seals with."


def why_not_step(
    step: RotationStep, rotation: RotationId, holder: KeyHolder, *, sender: str, members: Collection[str]
) -> str | None:
    """Return why a node does not do a step of a rotation, as a sentence about the node; None if it may.

    All steps are safe to repeat.
    """
    if sender != rotation.coordinator or sender not in members:
        return f"takes no orders of {sender} for the rotation of {rotation.coordinator}"
    latest = holder.rotation
    if latest is not None and latest > rotation:
        return f"takes part in a later rotation, which {latest.coordinator} has begun"
    if step is RotationStep.ADD:
        return None
    if latest != rotation or holder.new not in holder.keys:
        return "has not added the new key"
    if step is RotationStep.USE:
        return None
    if holder.active != holder.new:
        return "does not seal with the new key"
    if step is RotationStep.CERTIFY and set(holder.keys) != {holder.new}:
        return "still has other keys"
    return None


def takes_by_itself(holder: KeyHolder, authority: str, theirs: "KeyFacts") -> bool:
    """Return whether a node takes the authority of its rotation without an order, because another node has it.

    `authority` is the fingerprint of that authority, empty if none is kept; `theirs` is what the other node says.
    """
    if not authority or holder.rotation is None or set(holder.keys) != {holder.new}:
        return False
    return (theirs.rotation, theirs.authority) == (holder.rotation, authority)


@dataclass(frozen=True, slots=True)
class OrderStep:
    """Order a step at a node, which may be this one; then call `answered`."""

    node: str
    step: RotationStep


@dataclass(frozen=True, slots=True)
class RotationOver:
    """The rotation has ended: all nodes have new keys, or `ok` is false and the text says why and what to do."""

    ok: bool
    text: str


RotationEffect = OrderStep | RotationOver

_LEFT: Final[Mapping[RotationStep, str]] = {
    RotationStep.ADD: "the former keys stay in use on all nodes",
    RotationStep.USE: "all nodes open both the former and the new key",
    RotationStep.DROP: "the new key is in use on all nodes, and some still open the former ones",
    RotationStep.CERTIFY: "the new key is in use on all nodes, and some have the former certificate authority",
}


@dataclass(slots=True, kw_only=True)
class KeyRotation:
    """The coordinator's part. `members` are all nodes of the farm, the coordinator included; `now` is monotonic."""

    members: frozenset[str]
    step: RotationStep = RotationStep.ADD
    over: RotationOver | None = None
    _done: set[str] = field(default_factory=set)
    _problems: dict[str, tuple[str, float]] = field(default_factory=dict)
    "By node: what it said last, and since when it has said such things."
    _asked: dict[str, float] = field(default_factory=dict)
    _began: float | None = None

    def tick(self, *, members: Collection[str], now: float) -> list[RotationEffect]:
        """Do what is due; `members` are the nodes of the farm at this time."""
        if self.over is not None:
            return []
        if set(members) != self.members:
            return self._end("other nodes are in the farm now")
        if self._began is None:
            self._began = now
        lasting = {name: why for name, (why, since) in self._problems.items() if now >= since + PROBLEMS_LAST}
        if lasting:
            return self._end("; ".join(f"{name} {why}" for name, why in sorted(lasting.items())))
        if now >= self._began + STEP_LIMIT:
            missing = ", ".join(sorted(self.members - self._done))
            return self._end(f"{missing} has not answered within {STEP_LIMIT:g} s")
        effects: list[RotationEffect] = []
        for name in sorted(self.members - self._done):
            if now >= self._asked.get(name, float("-inf")) + ASK_AGAIN:
                self._asked[name] = now
                effects.append(OrderStep(name, self.step))
        return effects

    def answered(
        self, node: str, step: RotationStep, problem: str | None, *, members: Collection[str], now: float
    ) -> list[RotationEffect]:
        """Take in that a node has done a step, or why it has not."""
        if self.over is not None or step is not self.step or node in self._done or node not in self.members:
            return []
        if problem is not None:
            since = self._problems[node][1] if node in self._problems else now
            self._problems[node] = problem, since
            return self.tick(members=members, now=now)
        self._problems.pop(node, None)
        self._done.add(node)
        if self._done != self.members:
            return []
        steps = list(RotationStep)
        if step is steps[-1]:
            self.over = RotationOver(ok=True, text="all nodes have new keys and a new certificate authority")
            return [self.over]
        self.step = steps[steps.index(step) + 1]
        self._done, self._asked, self._began, self._problems = set(), {}, None, {}
        return self.tick(members=members, now=now)

    def _end(self, why: str) -> list[RotationEffect]:
        again = "give the command again when that is mended: hcsidecar key rotate"
        self.over = RotationOver(ok=False, text=f"the keys are not all changed: {why}; {_LEFT[self.step]}; {again}")
        return [self.over]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFacts:
    """What a node says of its keys before a rotation; fingerprints are in hexadecimal digits."""

    rotation: RotationId | None
    authority: str
    "The fingerprint of the farm's certificate authority there; empty if there is none."
    certificate: str
    "That of the node's own certificate."
    recorded: Mapping[str, str]
    "Of the certificates of others, by node."


def why_not_rotate(
    coordinator: str, facts: Mapping[str, KeyFacts | str], *, names: Collection[str], doubtful: bool = False
) -> list[str]:
    """Return why a rotation cannot begin: every reason, as a sentence. `facts` has for each node them, or why not.

    `doubtful`: a removed node has a key in use, and so no other certificates are recorded.
    """
    what_to_do = _BY_HAND if doubtful else "try again in a minute"
    mine = facts[coordinator]
    if isinstance(mine, str):
        return [f"{coordinator} {mine}"]
    if not mine.authority:
        return [NO_AUTHORITY]
    reasons = []
    for name in sorted(set(names) - {coordinator}):
        theirs = facts.get(name, "does not answer")
        if isinstance(theirs, str):
            reasons.append(f"{name} {theirs}: start it, or take it out of the farm (hcsidecar remove {name})")
        elif theirs.authority != mine.authority:
            reasons.append(f"{name} has another certificate authority: copy ca.pem and ca.key from {coordinator} to it")
        elif not theirs.certificate or mine.recorded.get(name) != theirs.certificate:
            reasons.append(f"{coordinator} has not recorded the certificate that {name} has now: {what_to_do}")
        elif theirs.recorded.get(coordinator) != mine.certificate:
            reasons.append(f"{name} has not recorded the certificate that {coordinator} has now: {what_to_do}")
    return reasons


def next_number(facts: Collection[KeyFacts | str]) -> int:
    """Return the number of a rotation that is later than all that the nodes know of."""
    return 1 + max((each.rotation.number for each in facts if not isinstance(each, str) and each.rotation), default=0)


def may_record(*, keys: Collection[int], known_to_removed: Collection[int]) -> bool:
    """Return whether a node may record the certificate that another says to have, in a message sealed with the keys.

    Not if a node that was removed from the farm has one of these keys: it could say so in the other's name. What was
    recorded before that stays.
    """
    return set(keys).isdisjoint(known_to_removed)
