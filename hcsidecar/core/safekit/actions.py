"""When a SafeKit checker runs and what its failure leads to, as the keys of a check in the farm file."""

from dataclasses import dataclass

from hcsidecar.core.safekit.draft import Draft
from hcsidecar.core.safekit.notes import Coverage, ElementReader

TAKEN, DIFFERENT, NOT = Coverage.TAKEN, Coverage.DIFFERENT, Coverage.NOT

ACTIONS = {"restart": "restart", "stopstart": "stopstart", "wait": "wait", "stop": "stop", "noaction": "none"}
_MIRROR = ("prim", "second", "sec")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """The keys `when` and `action` of a check."""

    when: str
    action: str


def mirror_only(when: str | None) -> str | None:
    """Return why a checker never runs in a farm, or None."""
    return f'when="{when}" is for mirror modules' if when in _MIRROR else None


def react(reader: ElementReader, draft: Draft, *, when: str, action: str, outside: bool) -> Reaction:
    """Return when and action of a checker, given its defaults; `outside` means that it looks at something elsewhere.

    What the farm file does not allow is replaced by the nearest that it does, with a note.
    """
    when = reader.choice("when", when, ("pre", "both"))
    asked = reader.choice("action", action, ACTIONS)
    return suit(reader, draft, when=when, action=ACTIONS[asked], outside=outside, at=("when", "action"))


def suit(
    reader: ElementReader, draft: Draft, *, when: str, action: str, outside: bool, at: tuple[str, str]
) -> Reaction:
    """Return a `when` and an `action` that fit each other and the farm, and note the choice at these two attributes."""
    at_when, at_action = at
    verdict, why = TAKEN, ""
    if when == "pre" and action in ("restart", "stopstart"):
        verdict, why, action = DIFFERENT, ", since a restart mends nothing outside", "wait"
    elif when == "both" and action == "wait" and outside:
        reader.say(at_when, DIFFERENT, "when = pre, so that it is looked at while the module waits too")
        verdict, when = TAKEN, "pre"
    elif when == "both" and action == "wait":
        verdict, why, action = DIFFERENT, ", since nobody looks at the application while it waits", "stopstart"
    if action in ("restart", "stopstart") and not draft.application:
        verdict, why, action = DIFFERENT, ", since there are no scripts to restart with", "none"
    if not reader.was_said(at_when):
        reader.say(at_when, TAKEN, f"when = {when}")
    if not reader.was_said(at_action):
        reader.say(at_action, verdict, f"action = {action}{why}")
    return Reaction(when=when, action=action)
