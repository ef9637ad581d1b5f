"""What operators and scripts write into the log themselves."""

import re
from enum import StrEnum
from typing import Final

from hcsidecar.core.events import Event, Level
from hcsidecar.core.plain_text import shortened

LONGEST_TEXT = 1000
"Characters, as of every message."
LONGEST_ORIGIN = 32
OPERATOR = "operator"
"Where a remark comes from unless it says so."

OURS: Final = frozenset(
    {"access", "api", "application", "certificate", "check", "daemon", "health", "joining", "keys", "layer 2", "log"}
    | {"membership", "module", "notify", "settings", "target"}
)
"The origins of hcsidecar's own events. `module` is that of the application's events stored by earlier builds."
_ORIGIN: Final = re.compile(r"[A-Za-z0-9._@/+-]+( [A-Za-z0-9._@/+-]+)*")


class RemarkLevel(StrEnum):
    """How much a remark matters: a level of events, but for `debug`."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def why_not_origin(name: str) -> str | None:
    """Say why nobody may write into the log under this name, or None. It completes a sentence that the name begins."""
    if len(name) > LONGEST_ORIGIN or _ORIGIN.fullmatch(name) is None:
        return f"is no name of at most {LONGEST_ORIGIN} characters, of letters a to z, digits, spaces and . _ - @ / +"
    if _bare(name) in _OURS_BARE:
        return "is an origin of hcsidecar's own events: take another name"
    return None


def _bare(name: str) -> str:
    """Give what a hasty reader sees of a name."""
    return re.sub("[^a-z0-9]", "", name.lower())


_OURS_BARE: Final = frozenset(map(_bare, OURS))


def remark(level: Level, text: str, *, origin: str, by: str) -> Event:
    """Make the event: the text, cut where it must be, and in brackets who said it."""
    who = f" ({by})"
    return Event(level=level, origin=origin, message=shortened(text, LONGEST_TEXT - len(who)) + who)
