"""Decides for one receiver which node sends which notifications, and when.

Every node has an outbox with what it has noticed and not yet heard to be sent. One node sends for the farm: the first
by name among the nodes that hear each other. The others hand over what they hold, to that node and to the second by
name, and ask again until they hear that it was sent. So if the sending node dies, nothing is lost that another node
has noticed, nor what the sending node itself noticed more than a moment before: its successor holds the same.

A notification is known by its origin, the life of the origin's daemon and its number there. A *mark* says up to which
number all have been sent. That is enough because an outbox is always handed over from its beginning, and a message
contains everything that is held. Marks spread with the same requests and answers. If the sending node dies after a
receiver has taken a message and before another node has asked, the message is sent twice: at least once is the promise,
because sending it never would be worse.

Several nodes notice the death of one. Those notifications are the same if they are about the same change of the same
node, come from different nodes, and are not far apart in time: only the first is sent.

A node that should send and does not answer, or fails again and again, is passed over after PATIENCE.
"""

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from math import inf
from typing import Final

from msgspec import structs

from hcsidecar.core.events import Event, Level
from hcsidecar.core.notify.documents import (
    LONGEST_TEXT,
    MOST_HANDED,
    MOST_MARKS,
    DoneMark,
    HandOverAnswer,
    Notification,
    ReceiverFailure,
    ReceiverStatus,
)
from hcsidecar.core.plain_text import escaped, shortened

MOST_HELD: Final = 200
"Notifications that an outbox holds. When there are more, the oldest are thrown away."
MOST_TOLD: Final = 100
"Lines of one message; the number of the others is told."
ASK_AGAIN: Final = 5.0
"Seconds between two hand-overs to a node while nothing new has come."
PATIENCE: Final = 30.0
"Seconds after which a node that does not answer, or cannot send, is passed over."
SETTLE: Final = 5.0
"The fewest seconds from when a node is the first to its first message: others hand over what they hold meanwhile."
SAME_WITHIN: Final = 10.0
"The fewest seconds within which two nodes notice the same change."
FIRST_PAUSE: Final = 10.0
"Seconds after the first failure. They double with each further one."
LONGEST_PAUSE: Final = 300.0
UNABLE_FROM: Final = 3
"Failures in a row after which this node says that it cannot send."
_HOLDERS: Final = 2
"How many nodes, first by name, hold what all others hold."
_REMEMBERED: Final = 400
"Changes of nodes that are remembered, to know them again when another node tells of them."


@dataclass(slots=True)
class _Held:
    """A notification, and when it was noticed by the clock of this node."""

    what: Notification
    seen_at: float
    is_echo: bool
    "Another node's notification tells the same."

    @property
    def key(self) -> tuple[str, int]:
        return self.what.origin, self.what.life


@dataclass(slots=True)
class _Change:
    """A change of a node, and who has noticed it."""

    node: str
    change: str
    seen_at: float
    observers: set[str]


@dataclass(slots=True)
class _Holder:
    """Another node that must hold what this one holds."""

    asked_at: float = -inf
    asked_for: int = -1
    "How many notifications this node had met when it last handed over."
    is_asked: bool = False
    "An answer is awaited."
    useless_since: float | None = None
    "When it was first without an answer, or unable to send, and has been since."


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """What to hand over to another node."""

    to: str
    held: tuple[Notification, ...]
    done: tuple[DoneMark, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationMessage:
    """What to send to the receiver."""

    told: tuple[Notification, ...]
    "In the order in which they were noticed."
    omitted: int = 0
    "Further notifications, for which there is no room."
    thrown_away: int = 0
    "Notifications that were thrown away since the last message."


@dataclass(slots=True, kw_only=True)
class Outbox:
    """The notifications of one receiver on one node. Times are in seconds of the monotonic clock."""

    receiver: str
    kind: str
    me: str
    life: int
    group: float
    "Seconds for which notifications are gathered into one message."
    lost_after: float
    "Seconds of silence after which a node is dead."
    events: list[Event] = field(default_factory=list)
    "What the operator is to be told; emptied by the caller."
    _number: int = 0
    _met: int = 0
    "How many notifications were ever held."
    _held: dict[tuple[str, int, int], _Held] = field(default_factory=dict)
    _done: dict[tuple[str, int], int] = field(default_factory=dict)
    _changes: deque[_Change] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    _holders: dict[str, _Holder] = field(default_factory=dict)
    _is_holder: bool = True
    _first_since: float | None = None
    "When this node began to be the one that sends."
    _flying: dict[tuple[str, int], int] | None = None
    "Up to which numbers the message tells that is being sent."
    _flying_thrown_away: int = 0
    _failures: int = 0
    _failed_ever: int = 0
    "Failures since a message was last taken."
    _failed_at: float = 0.0
    _failure: str = ""
    _retry_at: float = -inf
    _thrown_away: int = 0
    "Since the last message."
    _thrown_away_ever: int = 0
    _sent: int = 0
    _sent_at: float | None = None

    # -- what is held ------------------------------------------------------------------------------------------------

    def add(self, *, level: Level, node: str, text: str, time: float, change: str = "", now: float) -> None:
        """Hold what this node has noticed about a node; `time` is the wall clock."""
        self._number += 1
        self._hold(
            Notification(
                origin=self.me,
                life=self.life,
                number=self._number,
                time=time,
                level=level,
                node=node,
                text=shortened(escaped(text[: LONGEST_TEXT + 1]), LONGEST_TEXT),
                change=change,
            ),
            seen_at=now,
        )

    def take(self, handed: Iterable[Notification], done: Iterable[DoneMark], *, now: float) -> HandOverAnswer:
        """Hold what another node has handed over, and answer."""
        self._learn(done)
        for what in handed:
            key = (what.origin, what.life, what.number)
            if key not in self._held and what.number > self._done.get(key[:2], 0):
                self._hold(what, seen_at=now - what.age)
        return HandOverAnswer(done=self._marks(), able=self._failures < UNABLE_FROM)

    def _hold(self, what: Notification, *, seen_at: float) -> None:
        self._met += 1
        held = _Held(what, seen_at, is_echo=self._is_known(what, seen_at))
        self._held[what.origin, what.life, what.number] = held
        if len(self._held) <= MOST_HELD:
            return
        oldest = min(self._held.values(), key=lambda each: each.seen_at)
        before = len(self._held)
        self._learn([(*oldest.key, oldest.what.number)])
        if not self._thrown_away:
            crowded = f"{self.receiver}: more than {MOST_HELD} notifications wait: the oldest are thrown away"
            self.events.append(Event(level=Level.WARNING, origin="notify", message=crowded))
        self._thrown_away += before - len(self._held)
        self._thrown_away_ever += before - len(self._held)

    def _is_known(self, what: Notification, seen_at: float) -> bool:
        """Return whether another node has noticed the same change; if not, remember it."""
        if not what.change:
            return False
        close = max(SAME_WITHIN, 2 * self.lost_after)
        for known in self._changes:
            is_same = (known.node, known.change) == (what.node, what.change) and abs(known.seen_at - seen_at) <= close
            if is_same and what.origin not in known.observers:
                known.observers.add(what.origin)
                return True
        self._changes.append(_Change(what.node, what.change, seen_at, {what.origin}))
        return False

    def _learn(self, done: Iterable[DoneMark]) -> None:
        """Take in up to which numbers all notifications have been sent, and drop those."""
        for origin, life, number in done:
            if number > self._done.get((origin, life), 0):
                self._done.pop((origin, life), None)
                self._done[origin, life] = number
        while len(self._done) > MOST_MARKS:
            del self._done[next(iter(self._done))]
        for key, held in list(self._held.items()):
            if held.what.number <= self._done.get(held.key, 0):
                del self._held[key]

    def _marks(self) -> tuple[DoneMark, ...]:
        return tuple((*key, number) for key, number in self._done.items())

    # -- the other nodes ---------------------------------------------------------------------------------------------

    def see_others(self, names: Collection[str], *, now: float) -> None:
        """Take the names of the nodes that hear this one and are heard."""
        first = sorted({self.me, *names})[:_HOLDERS]
        self._is_holder = self.me in first
        self._holders = {name: self._holders.get(name) or _Holder() for name in first if name != self.me}
        self._look(now)

    def hand_overs(self, *, now: float) -> list[HandOver]:
        """Return what is to be handed over now. Each is to be followed by `answered` or `unanswered`."""
        if not self._held:
            return []
        due = []
        for name, holder in self._holders.items():
            has_news = holder.asked_for < self._met and holder.useless_since is None
            if not holder.is_asked and (has_news or now >= holder.asked_at + ASK_AGAIN):
                holder.is_asked, holder.asked_at, holder.asked_for = True, now, self._met
                handed = list(self._held.values())[:MOST_HANDED]
                due.append(
                    HandOver(
                        to=name,
                        held=tuple(structs.replace(each.what, age=max(0.0, now - each.seen_at)) for each in handed),
                        done=self._marks(),
                    )
                )
        return due

    def answered(self, by: str, answer: HandOverAnswer, *, now: float) -> None:
        """Take the answer to a hand-over."""
        self._learn(answer.done)
        if (holder := self._holders.get(by)) is not None:
            holder.is_asked = False
            # If the first two fail, they try again and again; others would only add to it.
            is_useful = answer.able or not self._is_holder
            holder.useless_since = None if is_useful else now if holder.useless_since is None else holder.useless_since
        self._look(now)

    def unanswered(self, by: str, *, now: float) -> None:
        """Note that a hand-over has failed."""
        if (holder := self._holders.get(by)) is not None:
            holder.is_asked = False
            holder.useless_since = now if holder.useless_since is None else holder.useless_since
        self._look(now)

    def _look(self, now: float) -> None:
        """Find out whether this node is the one that sends."""
        sends = all(
            holder.useless_since is not None and now >= holder.useless_since + PATIENCE
            for name, holder in self._holders.items()
            if name < self.me
        )
        if not sends:
            self._first_since = None
        elif self._first_since is None:
            self._first_since = now

    # -- the receiver ------------------------------------------------------------------------------------------------

    def due(self, *, now: float) -> NotificationMessage | None:
        """Return the message to send now, if there is one. It is to be followed by `sent` or `failed`."""
        self._look(now)
        if self._flying is not None or self._first_since is None or not self._held:
            return None
        told = sorted((each for each in self._held.values() if not each.is_echo), key=lambda each: each.seen_at)
        if not told:
            # What each of them says has been sent already.
            self._learn((*key, number) for key, number in self._all_held().items())
            return None
        settled = self._first_since + max(SETTLE, 3 * self.lost_after)
        if now < max(told[0].seen_at + self.group, settled, self._retry_at):
            return None
        self._flying, self._flying_thrown_away = self._all_held(), self._thrown_away
        shown = tuple(each.what for each in told[-MOST_TOLD:])
        return NotificationMessage(told=shown, omitted=len(told) - len(shown), thrown_away=self._thrown_away)

    def sent(self, *, now: float) -> None:
        """Note that the receiver has taken the message."""
        if self._failures:
            again = f"{self.receiver}: takes messages again after {self._failures} attempts that failed"
            self.events.append(Event(level=Level.INFO, origin="notify", message=again))
        flying, self._flying = self._flying or {}, None
        self._learn((*key, number) for key, number in flying.items())
        self._thrown_away -= self._flying_thrown_away
        self._failures, self._failure, self._retry_at = 0, "", -inf
        self._sent += 1
        self._sent_at = now

    def failed(self, text: str, *, now: float) -> None:
        """Note that the receiver has not taken the message, and why."""
        self._flying = None
        self._failures += 1
        self._failed_ever += 1
        self._failed_at = now
        self._retry_at = now + min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failures - 1, 10))
        if text != self._failure:
            self._failure = text
            failing = f"{self.receiver}: cannot send notifications: {text}: tries again, and keeps the last {MOST_HELD}"
            self.events.append(Event(level=Level.WARNING, origin="notify", message=failing))

    def status(self, *, now: float) -> ReceiverStatus:
        """Return what is held and how sending goes."""
        failing = bool(self._failures)
        return ReceiverStatus(
            name=self.receiver,
            type=self.kind,
            sends=self._first_since is not None,
            held=len(self._held),
            sent=self._sent,
            failed=self._failed_ever,
            thrown_away=self._thrown_away_ever,
            last_sent_age=None if self._sent_at is None else round(now - self._sent_at, 1),
            error=ReceiverFailure(text=self._failure, age=round(now - self._failed_at, 1)) if failing else None,
            next_try=round(max(0.0, self._retry_at - now), 1) if failing and self._flying is None else None,
        )

    def _all_held(self) -> dict[tuple[str, int], int]:
        """Return the highest number held of each life of each origin."""
        highest: dict[tuple[str, int], int] = {}
        for held in self._held.values():
            highest[held.key] = max(highest.get(held.key, 0), held.what.number)
        return highest
