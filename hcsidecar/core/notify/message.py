"""The words of a message: a subject, a text for people, and the JSON of a webhook."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hcsidecar.core.events import Level
from hcsidecar.core.notify.documents import Notification
from hcsidecar.core.notify.outbox import NotificationMessage
from hcsidecar.core.notify.template import filled, template_in
from hcsidecar.core.plain_text import escaped


def subject_of(message: NotificationMessage, *, farm: str) -> str:
    """Return one line that says how bad it is, and of which nodes."""
    nodes = sorted({each.node for each in message.told})
    named = ", ".join(nodes[:3]) + (f" and {len(nodes) - 3} more" if len(nodes) > 3 else "")  # noqa: PLR2004 - see there
    if len(message.told) == 1 and not message.omitted:
        return f"farm {farm}: {_said(message.told[0])}"
    errors = sum(each.level is Level.ERROR for each in message.told)
    alarms = f", {errors} of them errors" if errors else ""
    return f"farm {farm}: {len(message.told) + message.omitted} notifications of {named}{alarms}"


def text_of(message: NotificationMessage) -> str:
    """Return a line for each notification, with its time in UTC."""
    lines = [_line(each) for each in message.told]
    if message.omitted:
        lines.insert(0, f"{message.omitted} earlier notifications are left out: hcsidecar logs has the events")
    if message.thrown_away:
        lines.append(f"{message.thrown_away} older notifications were thrown away: hcsidecar logs has the events")
    return "\n".join(lines)


def document_of(message: NotificationMessage, *, farm: str, node: str, template: str | None = None) -> Any:
    """Return the JSON of a webhook; `node` is the sending one."""
    subject, text = subject_of(message, farm=farm), text_of(message)
    if template is not None:
        values: Mapping[str, str] = {"text": text, "subject": subject, "farm": farm, "node": node}
        return filled(template_in(template), values)
    return {
        "farm": farm,
        "node": node,
        "subject": subject,
        "text": text,
        "omitted": message.omitted,
        "thrown_away": message.thrown_away,
        "notifications": [
            {
                "time": _time(each.time, "%Y-%m-%dT%H:%M:%SZ"),
                "node": each.node,
                "level": each.level.value,
                "text": each.text,
                "change": each.change,
                "noticed_by": each.origin,
            }
            for each in message.told
        ],
    }


def _line(notification: Notification) -> str:
    by = f" (noticed by {notification.origin})" if notification.origin != notification.node else ""
    return f"{_time(notification.time, '%Y-%m-%d %H:%M:%S')} UTC {notification.level}: {_said(notification)}{by}"


def _said(notification: Notification) -> str:
    # Handed over by another node, so escaped once more.
    return escaped(f"{notification.node} {notification.text}")


def _time(seconds: float, form: str) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime(form)
    except (ValueError, OverflowError, OSError):
        return "at an unknown time"
