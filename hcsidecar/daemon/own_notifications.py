"""The daemon's interface to its notifications. Without a [[notify]] in the farm file it imports nothing for them."""

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeAlias

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
    import asyncio

    from hcsidecar.notify.notifications import Notifications

_LIVES = 2**53


class NoNotifications:
    """Stands in for `OwnNotifications` on a node without a [[notify]]."""

    def begin(self, tasks: "asyncio.TaskGroup", relay: Relay) -> "Sequence[asyncio.Task[None]]":  # noqa: ARG002 - for none
        """Return no tasks."""
        return ()

    def see_own(self, published: Published) -> None:
        """Do nothing."""

    def take(self, body: NotificationsBody) -> HandOverAnswer | None:  # noqa: ARG002 - there is no receiver
        """Return None."""
        return None

    def status(self) -> Sequence[ReceiverStatus]:
        """Return no receivers."""
        return ()


class OwnNotifications:
    """The notifications of this node. All methods answer from memory, without waiting."""

    def __init__(self, notifications: "Notifications") -> None:
        self._notifications = notifications
        self.take, self.status = notifications.take, notifications.status

    def begin(self, tasks: "asyncio.TaskGroup", relay: Relay) -> "Sequence[asyncio.Task[None]]":
        """Begin to notify. Return the tasks, to be cancelled at the end."""
        return [tasks.create_task(self._notifications.run(_ask(relay)), name="notifications")]

    def see_own(self, published: Published) -> None:
        """Take the state of this node's application."""
        self._notifications.see_own(
            state=published.name,
            is_transient=published.state.status == Status.TRANSIENT,
            is_ready=published.state.status == Status.READY,
            reason=published.state.reason,
        )


AnyNotifications: TypeAlias = OwnNotifications | NoNotifications


def own_notifications(
    loaded: LoadedFarm, me: NodeTable, *, journal: Journal, membership: Callable[[], Membership]
) -> AnyNotifications:
    """Return the notifications of this node. Needs a running loop."""
    if not loaded.farm.notify:
        return NoNotifications()
    from hcsidecar.notify.notifications import Notifications  # noqa: PLC0415 - see the module's docstring

    return OwnNotifications(
        Notifications(
            loaded.farm.notify,
            farm=loaded.farm.farm.name,
            me=me.name,
            directory=loaded.path.parent,
            lost_after=loaded.farm.heartbeat.lost_after,
            journal=journal,
            hearing=lambda: _hearing(membership()),
            draw=lambda: secrets.randbelow(_LIVES),
        )
    )


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
