"""Looks at the details of all nodes, for the pages that show them: one look for everybody."""

import asyncio
from collections.abc import Mapping
from typing import TypeVar

from hcsidecar.console.daemon_client import DaemonClient, NoAnswerError
from hcsidecar.console.observer import FarmObserver
from hcsidecar.core.console.farm_knowledge import NODE_LIMIT
from hcsidecar.core.console.node_details import NodeDetails, details_fresh_for
from hcsidecar.core.documents import ChecksReport
from hcsidecar.core.settings.documents import SettingsReport
from hcsidecar.core.targets.documents import TargetsReport
from l2mode.core.documents import LayerTwoReport

T = TypeVar("T")


class DetailObserver:
    """The details of each node as they were at the last look."""

    def __init__(self, client: DaemonClient, observer: FarmObserver) -> None:
        self._client = client
        self._observer = observer
        self._known: dict[str, NodeDetails] = {}
        self._look: asyncio.Task[None] | None = None
        self._looked_at = float("-inf")

    def of(self, node: str) -> NodeDetails:
        """Return what is known of a node."""
        return self._known.get(node, NodeDetails(node=node))

    @property
    def known(self) -> Mapping[str, NodeDetails]:
        """What is known of all nodes, without asking."""
        return self._known

    async def look(self) -> Mapping[str, NodeDetails]:
        """Return the details of all nodes, after a look at them if the last one is too old."""
        now = asyncio.get_running_loop().time()
        if now >= self._looked_at + details_fresh_for(len(self._known)):
            if self._look is None or self._look.done():
                self._look = asyncio.create_task(self._look_once())
            # One who goes away does not end the look of the others.
            await asyncio.shield(self._look)
        return dict(self._known)

    async def _look_once(self) -> None:
        try:
            names = await self._observer.node_names()
        except NoAnswerError:
            return
        found = await asyncio.gather(*(self._details(name) for name in names))
        self._known = {details.node: details for details in found}
        self._looked_at = asyncio.get_running_loop().time()

    async def _details(self, node: str) -> NodeDetails:
        before = self.of(node)
        checks, layer_two, settings, targets = await asyncio.gather(
            self._ask(node, "/checks", ChecksReport, before.checks),
            self._ask(node, "/layer-two", LayerTwoReport, before.layer_two),
            self._ask(node, "/settings", SettingsReport, before.settings),
            self._ask(node, "/targets", TargetsReport, before.targets),
        )
        return NodeDetails(node=node, checks=checks, layer_two=layer_two, settings=settings, targets=targets)

    async def _ask(self, node: str, path: str, kind: type[T], before: T | None) -> T | None:
        try:
            return await self._client.document(path, kind, node=node, limit=NODE_LIMIT, unless_silent=True)
        except NoAnswerError:
            return before
