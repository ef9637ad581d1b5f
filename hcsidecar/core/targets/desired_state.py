"""What a node wishes to be at its load balancers, by its policy and its situation."""

from dataclasses import dataclass
from typing import Literal

from hcsidecar.core.application.states import Word
from hcsidecar.core.targets.registration import DesiredState

Policy = Literal["member", "healthy", "observe"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What of the node matters here."""

    word: Word = Word.START
    "What the operator said last."
    ready: bool = False
    "The health URL answers 200."
    in_view: bool = False
    "It is a member that may get traffic."


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """A wish, and what is behind it."""

    wish: DesiredState
    why: str
    firm: bool = False
    "The operator has said so, and waits for it."


def what_to_wish(policy: Policy, situation: Situation, *, unready: float, unhealthy: float) -> Desired:
    """Say what a node wishes that has not been Ready for `unready` seconds; from `unhealthy` of these on it is bad."""
    if policy == "observe":
        return Desired(wish=DesiredState.AS_IT_IS, why="policy observe")
    if situation.word is Word.LEAVE:
        return Desired(wish=DesiredState.ABSENT, why="the operator's last word was leave", firm=True)
    if situation.ready and situation.in_view and situation.word is Word.START:
        return Desired(wish=DesiredState.PRESENT, why="Ready and a member")
    if policy == "healthy" and not situation.ready and unready >= unhealthy:
        return Desired(wish=DesiredState.ABSENT, why=f"not Ready for {unhealthy:g} s")
    if not situation.ready:
        return Desired(wish=DesiredState.AS_IT_IS, why="not Ready, which the health URL tells")
    return Desired(wish=DesiredState.AS_IT_IS, why="drained" if situation.word is Word.DRAIN else "not in the view")
