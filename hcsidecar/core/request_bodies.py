"""The bodies of the API's requests: each type is what one end encodes and the other decodes.

A request with a key that the daemon does not know is refused: what it asks for could not be done. The answers are in
`core.documents`.
"""

from typing import Annotated, Literal

import msgspec

from hcsidecar.core.membership.heartbeat import Power
from hcsidecar.core.notify.documents import MOST_HANDED, MOST_MARKS, DoneMark, Notification
from hcsidecar.core.remarks import LONGEST_ORIGIN, LONGEST_TEXT, OPERATOR, RemarkLevel

LONGEST_IDENTITY = 200
"Characters of the name of a part of the application."


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of every POST request; `POST /api/v1/budget/reset`, for one, has no others."""

    by: str | msgspec.UnsetType = msgspec.UNSET
    "Who asked, as the node says that got the request over its unix socket. Ignored unless a node of the farm says it."


class ActionBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of an action: `POST /api/v1/actions/ACTION`. An empty body means all defaults."""

    force: bool = False


class PowerBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes the weight of a node: `POST /api/v1/power`."""

    power: Power | None
    "None: that of the farm file again."
    share: str | None = None
    "The share group; None: all of them."


class LogBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event to be written into the log: `POST /api/v1/log`."""

    level: RemarkLevel
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_TEXT)]
    origin: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_ORIGIN)] = OPERATOR


class ReportBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The result of a custom check, until the next report: `POST /api/v1/reports/NAME`."""

    value: Literal["up", "down"]


class IdentityBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The part of the application that asks: `POST /api/v1/requests/ACTION`, `POST /api/v1/budget/count`."""

    identity: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_IDENTITY)]


class NotificationsBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Notifications that a node hands over to another one, which sends them: `POST /api/v1/notifications`."""

    receiver: Annotated[str, msgspec.Meta(min_length=1, max_length=63)]
    "The name of the receiver in the farm file."
    held: Annotated[tuple[Notification, ...], msgspec.Meta(max_length=MOST_HANDED)] = ()
    "What the node holds, the oldest first."
    done: Annotated[tuple[DoneMark, ...], msgspec.Meta(max_length=MOST_MARKS)] = ()
    "Up to which number the notifications of each node have been sent, as far as the node knows."
