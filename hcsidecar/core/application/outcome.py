"""The outcome of a command or request: accepted, with the events that it caused, or refused, with the reason."""

from dataclasses import dataclass

from hcsidecar.core.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The answer to a command. A refused command has changed nothing."""

    accepted: bool
    text: str
    "One sentence for the person who gave the command: what happens now, or why nothing does."
    events: tuple[Event, ...] = ()


def accept(text: str, *events: Event) -> Outcome:
    """Return the outcome of an accepted command. Without events, it had nothing to change."""
    return Outcome(accepted=True, text=text, events=events)


def refuse(reason: str) -> Outcome:
    """Return the outcome of a refused command."""
    return Outcome(accepted=False, text=reason)
