"""Parses points in time as people write them on the command line."""

from datetime import datetime, time, timedelta

from hcsidecar.core.farmfile.values import parse_duration

FORMS = '"2h" for two hours ago, "03:40", "2026-11-28" or "2026-11-28 03:40"'


def parse_moment(text: str, *, now: datetime) -> datetime:
    """Parse a duration before `now`, a time of day, a date or both. Raise ValueError if it is none of these.

    Without a time zone in the text, that of `now` applies. A time of day means its last occurrence.
    """
    try:
        seconds = parse_duration(text)
    except ValueError:
        seconds = None
    try:
        if seconds is not None:
            return now - timedelta(seconds=seconds)
        return _time_of_day(text, now) or datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise ValueError(f"is no moment: {text!r}; write {FORMS}") from None


def _time_of_day(text: str, now: datetime) -> datetime | None:
    try:
        clock = time.fromisoformat(text)
    except ValueError:
        return None
    if len(text) < len("3:40") or ":" not in text:
        return None  # "2026" could be a time of day, but is more likely half a date
    moment = datetime.combine(now.date(), clock).astimezone()
    return moment if moment <= now else datetime.combine(now.date() - timedelta(days=1), clock).astimezone()
