"""What became of a command or a request: accepted, with the events that it caused, or refused, with the reason."""

from dataclasses import dataclass

from hcsidecar.core.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The answer to a command. A refused one has changed nothing."""

    accepted: bool
    text: str
    "One sentence for who gave the command: what happens now, or why not."
    events: tuple[Event, ...] = ()


def accept(text: str, *events: Event) -> Outcome:
    """Return the outcome of an accepted command; without events, all was already as it asks."""
    return Outcome(accepted=True, text=text, events=events)


def refuse(reason: str) -> Outcome:
    """Return the outcome of a refused command."""
    return Outcome(accepted=False, text=reason)
