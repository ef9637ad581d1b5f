"""What operators and scripts write into the log themselves."""

from hcsidecar.core.events import Event, Level

LONGEST_TEXT = 1000
"Characters, as of every message."
LONGEST_ORIGIN = 32
OPERATOR = "operator"
"Where a remark comes from unless it says so."


def remark(level: Level, text: str, *, origin: str, by: str) -> Event:
    """Make the event: the text, cut where it must be, and in brackets who said it."""
    who = f" ({by})"
    return Event(level=level, origin=origin, message=fit(text, LONGEST_TEXT - len(who)) + who)


def fit(text: str, longest: int) -> str:
    """Cut a text that is too long, and let that be seen."""
    return text if len(text) <= longest else text[: longest - 1] + "…"
