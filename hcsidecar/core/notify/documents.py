"""Notifications as nodes hand them to each other, and the state of a node's receivers as the API shows it.

As in every document, keys are only ever added (see `hcsidecar.core.documents`).
"""

from typing import Annotated, Final

import msgspec

from hcsidecar.core.events import Level

MOST_HANDED: Final = 32
"Notifications handed over at once. With MOST_MARKS they stay below the limit for the body of a request, 64 KiB."
MOST_MARKS: Final = 128
LONGEST_TEXT: Final = 300
"Characters of a notification."

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=63)]
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]

DoneMark = tuple[_Name, _Number, _Number]
"""Origin, life and number: all notifications of that life of the origin, up to this number, have been sent, or thrown
away with an event that says so."""


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a message: an event of a node, or a change of one."""

    origin: _Name
    "The node that noticed it."
    life: _Number
    "Drawn at random by each daemon of the origin."
    number: _Number
    "Counts the notifications of this life, from 1."
    time: float
    "Wall clock of the origin, seconds since 1970: for people, never for decisions."
    level: Level
    node: _Name
    "The node that it is about."
    text: Annotated[str, msgspec.Meta(max_length=LONGEST_TEXT)]
    change: Annotated[str, msgspec.Meta(max_length=16)] = ""
    "A `NodeChange`, which other nodes may notice as well; empty for what only the origin can tell."
    age: Annotated[float, msgspec.Meta(ge=0, le=1e9)] = 0.0
    "Seconds from when it was noticed to when it was handed over."


class HandOverAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `POST /api/v1/notifications`."""

    done: Annotated[tuple[DoneMark, ...], msgspec.Meta(max_length=MOST_MARKS)] = ()
    able: bool = True
    "False if several attempts of the answering node to send a message have failed in a row."


class ReceiverFailure(msgspec.Struct, frozen=True, kw_only=True):
    """The latest failure at a receiver; it is shown until a message is taken again."""

    text: str
    age: float
    "Seconds since the latest failure."


class ReceiverStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One receiver of notifications, as one node has it."""

    name: str
    type: str
    sends: bool
    "This node sends the messages for the nodes that it hears."
    held: int
    "Notifications that are not sent yet, of this node and of those that have handed theirs over."
    sent: int = 0
    "Messages that the receiver has taken from this node since the daemon started."
    failed: int = 0
    "Attempts of this node to send a message that failed since the daemon started."
    thrown_away: int = 0
    "Notifications that were thrown away since the daemon started because too many were held."
    last_sent_age: float | None = None
    "Seconds since this node's last message was taken."
    error: ReceiverFailure | None = None
    next_try: float | None = None
    "Seconds until the next attempt after a failure."


class NotificationsReport(msgspec.Struct, frozen=True, kw_only=True):
    """All receivers of a node, in the order of the farm file: `GET /api/v1/notifications`."""

    node: str
    receivers: tuple[ReceiverStatus, ...] = ()
