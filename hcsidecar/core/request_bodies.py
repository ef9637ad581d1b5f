"""The bodies of the API's requests: each type is what one end encodes and the other decodes.

A key that a daemon does not know is refused, for it would be passed over in silence otherwise. The answers are in
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
    """What comes with every POST; all there is where a path needs nothing more, such as `budget/reset`."""

    by: str | msgspec.UnsetType = msgspec.UNSET
    "Who asked. Set by the node that took the request in over its unix socket; believed of nodes of the farm only."


class ActionBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What comes with an action: `POST /api/v1/actions/ACTION`. An empty body means all defaults."""

    force: bool = False


class PowerBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change of a node's weight: `POST /api/v1/power`."""

    power: Power | None
    "None: back to the farm file's."
    share: str | None = None
    "The share group; None: all of them."


class LogBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event that somebody writes: `POST /api/v1/log`."""

    level: RemarkLevel
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_TEXT)]
    origin: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_ORIGIN)] = OPERATOR


class ReportBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a custom check says from now on: `POST /api/v1/reports/NAME`."""

    value: Literal["up", "down"]


class IdentityBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which part of the application asks: `POST /api/v1/requests/ACTION`, `POST /api/v1/budget/count`."""

    identity: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_IDENTITY)]


class NotificationsBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a node hands over to another one, to be sent to a receiver: `POST /api/v1/notifications`."""

    receiver: Annotated[str, msgspec.Meta(min_length=1, max_length=63)]
    "The name of the receiver in the farm file."
    held: Annotated[tuple[Notification, ...], msgspec.Meta(max_length=MOST_HANDED)] = ()
    "What the node holds, the oldest first."
    done: Annotated[tuple[DoneMark, ...], msgspec.Meta(max_length=MOST_MARKS)] = ()
    "What it knows to have been sent."
