"""The notifications of one node: notices what is to be told, hands it over to other nodes, and has messages sent.

Nothing here waits for a receiver or for another node but tasks of their own, with a time limit each.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from hcsidecar.core.events import Event, Level
from hcsidecar.core.farmfile.notify_tables import AnyReceiver
from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.core.notify.documents import HandOverAnswer, ReceiverStatus
from hcsidecar.core.notify.node_watch import Hearing, NodeWatch, NoticedChange
from hcsidecar.core.notify.outbox import HandOver, NotificationMessage, Outbox
from hcsidecar.core.request_bodies import NotificationsBody
from hcsidecar.events.journal import PAGE, EventQuery, Journal
from hcsidecar.notify.delivery import Deliveries

ORIGIN = "notify"
"Of the events about notifications, which are not notified themselves."
TICK = 0.5
"Seconds between two looks at the nodes, the events and what is due."
_LEVELS: Mapping[str, tuple[Level, ...]] = {
    "error": (Level.ERROR,),
    "warning": (Level.WARNING, Level.ERROR),
    "none": (),
}

Ask = Callable[[str, bytes], Awaitable[bytes]]
"Hands a `NotificationsBody` over to a node and returns its `HandOverAnswer`. Raises OSError if there is none."


@dataclass(frozen=True, slots=True)
class _Receiver:
    table: AnyReceiver
    outbox: Outbox


class Notifications:
    """All receivers of one node, on the running loop.

    `hearing` returns what this node hears of each other one. `directory` is that of the farm file. `draw` returns a
    random number below 2**53, for the life of an outbox. Events after the number `since` are told.
    """

    def __init__(
        self,
        tables: Sequence[AnyReceiver],
        *,
        farm: str,
        me: str,
        directory: Path,
        lost_after: float,
        journal: Journal,
        hearing: Callable[[], Mapping[str, Hearing]],
        draw: Callable[[], int],
        since: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._me, self._lost_after, self._draw, self._clock = me, lost_after, draw, clock
        self._journal, self._hearing = journal, hearing
        self._watch = NodeWatch(me)
        self._seen = since
        "The number of the last event that was looked at."
        self._receivers: list[_Receiver] = []
        self._use(tables)
        # Twice the number of receivers: an attempt of before a change of the table may still run.
        self._deliveries = Deliveries(farm=farm, node=me, directory=directory, at_once=16)

    def take_tables(self, tables: Sequence[AnyReceiver]) -> None:
        """Use these receivers from now on. One that keeps its name keeps what is held for it."""
        # What has happened until now is for those of before.
        self._notice()
        self._use(tables)

    def _use(self, tables: Sequence[AnyReceiver]) -> None:
        before = {each.outbox.receiver: each.outbox for each in self._receivers}
        self._receivers = []
        for table in tables:
            outbox = before.get(table.label) or Outbox(
                receiver=table.label,
                kind=table.type,
                me=self._me,
                life=self._draw(),
                group=table.group,
                lost_after=self._lost_after,
            )
            outbox.kind, outbox.group = table.type, table.group
            self._receivers.append(_Receiver(table, outbox))

    async def run(self, ask: Ask) -> None:
        """Notice, hand over and send until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._notice()
                for each in self._receivers:
                    now = self._loop.time()
                    for over in each.outbox.hand_overs(now=now):
                        tasks.create_task(self._hand_over(each.outbox, over, ask), name="notify: hand over")
                    if (message := each.outbox.due(now=now)) is not None:
                        tasks.create_task(self._send(each, message), name="notify: send")
                    self._tell_events(each.outbox)
                await asyncio.sleep(TICK)

    def see_own(self, *, state: str, is_transient: bool, is_ready: bool, reason: str) -> None:
        """Take the state of this node's application."""
        self._add(self._watch.see_own(state=state, is_transient=is_transient, is_ready=is_ready, reason=reason))

    def take(self, body: NotificationsBody) -> HandOverAnswer | None:
        """Take what another node hands over; None if this node has no such receiver."""
        for each in self._receivers:
            if each.outbox.receiver == body.receiver:
                answer = each.outbox.take(body.held, body.done, now=self._loop.time())
                self._tell_events(each.outbox)
                return answer
        return None

    def status(self) -> Sequence[ReceiverStatus]:
        """Return the state of each receiver."""
        now = self._loop.time()
        return tuple(each.outbox.status(now=now) for each in self._receivers)

    def _notice(self) -> None:
        hearing = self._hearing()
        heard = [name for name, what in hearing.items() if what is Hearing.HEARD]
        for each in self._receivers:
            each.outbox.see_others(heard, now=self._loop.time())
        self._add(self._watch.see_others(hearing))
        page = self._journal.after(self._seen, wanted=EventQuery(level=Level.WARNING), limit=PAGE)
        self._seen = page.next
        for entry in page.events:
            if entry.origin == ORIGIN:
                continue
            for each in self._receivers:
                if entry.level in _LEVELS[each.table.events]:
                    text = f"reports: {entry.origin}: {entry.message}"
                    each.outbox.add(level=entry.level, node=self._me, text=text, time=entry.time, now=self._loop.time())

    def _add(self, found: Sequence[NoticedChange]) -> None:
        for what in found:
            for each in self._receivers:
                if each.table.states:
                    each.outbox.add(
                        level=what.level,
                        node=what.node,
                        text=what.text,
                        change=what.change or "",
                        time=self._clock(),
                        now=self._loop.time(),
                    )

    async def _hand_over(self, outbox: Outbox, over: HandOver, ask: Ask) -> None:
        body = NotificationsBody(receiver=outbox.receiver, held=over.held, done=over.done)
        try:
            answer = read_json(await ask(over.to, msgspec.json.encode(body)), HandOverAnswer)
        except (OSError, JsonError):
            # The other node is asked again, and in the end passed over.
            outbox.unanswered(over.to, now=self._loop.time())
        else:
            outbox.answered(over.to, answer, now=self._loop.time())

    async def _send(self, receiver: _Receiver, message: NotificationMessage) -> None:
        outcome = await self._deliveries.send(receiver.table, message)
        if outcome.taken:
            receiver.outbox.sent(now=self._loop.time())
        else:
            receiver.outbox.failed(outcome.text, now=self._loop.time())
        self._tell_events(receiver.outbox)
        if outcome.taken and outcome.text:
            self._journal.write(
                Event(level=Level.WARNING, origin=ORIGIN, message=f"{receiver.outbox.receiver}: {outcome.text}")
            )

    def _tell_events(self, outbox: Outbox) -> None:
        for event in outbox.events:
            self._journal.write(event)
        outbox.events.clear()
