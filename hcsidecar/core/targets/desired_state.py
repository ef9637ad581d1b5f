"""The state that a node wants to have at a load balancer, from the policy and the situation of the node."""

from dataclasses import dataclass
from typing import Literal

from hcsidecar.core.application.states import Word
from hcsidecar.core.targets.registration import DesiredState

Policy = Literal["member", "healthy", "observe"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """The facts about the node that the desired state depends on."""

    word: Word = Word.START
    "The operator's last command."
    ready: bool = False
    "The health URL answers 200."
    in_view: bool = False
    "The node is a member that may get traffic."
    removed: bool = False
    "The farm file no longer has the target."


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """The desired state, with its reason."""

    state: DesiredState
    why: str
    firm: bool = False
    "The operator has asked for it, and waits for it for a limited time."


def desired_state(policy: Policy, situation: Situation, *, unready: float, unhealthy: float) -> Desired:
    """Return the desired state of a node that has not been Ready for `unready` seconds.

    With policy `healthy`, the node deregisters after `unhealthy` seconds.
    """
    if policy == "observe":
        return Desired(state=DesiredState.AS_IT_IS, why="policy observe")
    if situation.removed:
        return Desired(state=DesiredState.ABSENT, why="the farm file no longer has this target", firm=True)
    if situation.word is Word.LEAVE:
        return Desired(state=DesiredState.ABSENT, why="the operator's last word was leave", firm=True)
    if situation.ready and situation.in_view and situation.word is Word.START:
        return Desired(state=DesiredState.PRESENT, why="Ready and a member")
    if policy == "healthy" and not situation.ready and unready >= unhealthy:
        return Desired(state=DesiredState.ABSENT, why=f"not Ready for {unhealthy:g} s")
    if not situation.ready:
        return Desired(state=DesiredState.AS_IT_IS, why="not Ready, as the health URL shows")
    return Desired(state=DesiredState.AS_IT_IS, why="drained" if situation.word is Word.DRAIN else "not in the view")
