"""The daemon's interface to its notifications. Without a [[notify]] in the farm file it imports nothing for them."""

import asyncio
import importlib
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

from hcsidecar.api.relay import Relay, UnreachableError
from hcsidecar.api.routes import NOTIFICATIONS_PATH
from hcsidecar.application.service import Published
from hcsidecar.core.application.states import Status
from hcsidecar.core.farmfile.farm_file import NodeTable
from hcsidecar.core.membership.membership import Membership
from hcsidecar.core.notify.documents import HandOverAnswer, ReceiverStatus
from hcsidecar.core.notify.node_watch import Hearing
from hcsidecar.core.request_bodies import NotificationsBody
from hcsidecar.events.journal import Journal
from hcsidecar.farmfile.loading import LoadedFarm

if TYPE_CHECKING:
    from hcsidecar.notify.notifications import Notifications

_LIVES = 2**53


class OwnNotifications:
    """The notifications of this node, perhaps none. All methods answer from memory, without waiting."""

    def __init__(
        self, loaded: LoadedFarm, me: NodeTable, *, journal: Journal, membership: Callable[[], Membership]
    ) -> None:
        """Needs a running loop."""
        self._me, self._journal, self._membership = me.name, journal, membership
        self._published: Published | None = None
        self._relay: Relay | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._notifications: Notifications | None = None
        self.reconfigure(loaded)

    async def prepare(self, loaded: LoadedFarm) -> None:
        """Load the modules that the receivers of a farm file need, in a thread: `reconfigure` must not wait for it."""
        if loaded.farm.notify and self._notifications is None:
            await asyncio.to_thread(importlib.import_module, "hcsidecar.notify.notifications")

    def reconfigure(self, loaded: LoadedFarm) -> None:
        """Take the receivers of a farm file. A new one is told what happens from now on."""
        if self._notifications is not None:
            self._notifications.take_tables(loaded.farm.notify)
            return
        if not loaded.farm.notify:
            return
        from hcsidecar.notify.notifications import Notifications  # noqa: PLC0415 - see the module's docstring

        self._notifications = Notifications(
            loaded.farm.notify,
            farm=loaded.farm.farm.name,
            me=self._me,
            directory=loaded.places.machine,
            lost_after=loaded.farm.heartbeat.lost_after,
            journal=self._journal,
            hearing=lambda: _hearing(self._membership()),
            draw=lambda: secrets.randbelow(_LIVES),
            since=self._journal.last if self._tasks is not None else 0,
        )
        if self._published is not None:
            self.see_own(self._published)
        self._start()

    def begin(self, tasks: asyncio.TaskGroup, relay: Relay) -> Sequence[asyncio.Task[None]]:
        """Begin to notify. Return the tasks, to be cancelled at the end."""
        self._relay = relay
        return [tasks.create_task(self._run(), name="notifications")]

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as self._tasks:
            self._start()
            await asyncio.Event().wait()

    def _start(self) -> None:
        if self._tasks is not None and self._relay is not None and self._notifications is not None:
            self._tasks.create_task(self._notifications.run(_ask(self._relay)), name="notifications")

    def see_own(self, published: Published) -> None:
        """Take the state of this node's application."""
        self._published = published
        if self._notifications is not None:
            self._notifications.see_own(
                state=published.name,
                is_transient=published.state.status == Status.TRANSIENT,
                is_ready=published.state.status == Status.READY,
                reason=published.state.reason,
            )

    def take(self, body: NotificationsBody) -> HandOverAnswer | None:
        """Take what another node hands over; None if this node has no such receiver."""
        return None if self._notifications is None else self._notifications.take(body)

    def status(self) -> Sequence[ReceiverStatus]:
        """Return the state of each receiver."""
        return () if self._notifications is None else self._notifications.status()


def _hearing(membership: Membership) -> Mapping[str, Hearing]:
    return {
        name: Hearing.HEARD if peer.alive and peer.acknowledged else Hearing.LEFT if peer.left else Hearing.SILENT
        for name, peer in membership.peers.by_name.items()
    }


def _ask(relay: Relay) -> Callable[[str, bytes], Awaitable[bytes]]:
    async def ask(node: str, body: bytes) -> bytes:
        try:
            reply = await relay.ask(node, "POST", NOTIFICATIONS_PATH, body)
        except UnreachableError as error:
            raise OSError(str(error)) from error
        if reply.status != HTTPStatus.OK:
            raise OSError(f"{node} answers {reply.status}")
        return reply.body

    return ask
