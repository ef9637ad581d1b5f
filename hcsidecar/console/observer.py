"""Looks at the farm when somebody wants to see it: asks all nodes at once, and shows who does not answer."""

import asyncio

from hcsidecar.console.daemon_client import DaemonClient, NoAnswerError
from hcsidecar.core.console.documents import FarmOverview
from hcsidecar.core.console.farm_knowledge import NODE_LIMIT, FarmKnowledge, fresh_for
from hcsidecar.core.documents import FarmStatus, NodeFacts


class FarmObserver:
    """Looks at most so often as `fresh_for` says, whoever asks: those who come meanwhile share a look."""

    def __init__(self, client: DaemonClient) -> None:
        self._client = client
        self.knowledge = FarmKnowledge()
        self._look: asyncio.Task[None] | None = None
        self._looked_at = float("-inf")

    async def overview(self) -> FarmOverview:
        """Return what is known of the farm now, within NODE_LIMIT. Raise NoAnswerError if that is nothing."""
        now = asyncio.get_running_loop().time()
        if now >= self._looked_at + fresh_for(len(self.knowledge.nodes)):
            if self._look is None or self._look.done():
                self._look = asyncio.create_task(self._look_once())
            # One who goes away does not end the look of the others.
            await asyncio.shield(self._look)
        found = self.latest()
        if found is None:
            raise NoAnswerError(self._client.why_silent() or "the daemon of this node has not answered yet", own=True)
        return found

    def latest(self) -> FarmOverview | None:
        """Return what was known at the last look; None if that is nothing."""
        return self.knowledge.overview(now=asyncio.get_running_loop().time())

    async def node_names(self) -> tuple[str, ...]:
        """Return all nodes of the farm. Raise NoAnswerError if nobody has said yet which there are."""
        if not self.knowledge.nodes:
            await self.overview()
        return self.knowledge.nodes

    async def _look_once(self) -> None:
        knowledge, client = self.knowledge, self._client
        why = client.why_silent()
        if why is not None:
            knowledge.miss_own(why)
            return
        try:
            async with asyncio.timeout(NODE_LIMIT):
                facts = client.document("/facts", NodeFacts, limit=NODE_LIMIT)
                own = client.document("/status", FarmStatus, limit=NODE_LIMIT)
                others = [self._ask(name) for name in knowledge.nodes if name != self._own_name]
                (found, status), _ = await asyncio.gather(asyncio.gather(facts, own), asyncio.gather(*others))
        except TimeoutError:
            knowledge.miss_own(f"its daemon has not answered within {NODE_LIMIT:g} s")
            return
        except NoAnswerError as error:
            knowledge.miss_own(str(error))
            return
        is_first = knowledge.facts is None
        knowledge.hear_facts(found)
        knowledge.hear(found.node, status, now=asyncio.get_running_loop().time())
        if is_first:
            await asyncio.gather(*(self._ask(name) for name in found.nodes if name != found.node))
        self._looked_at = asyncio.get_running_loop().time()

    @property
    def _own_name(self) -> str:
        return "" if self.knowledge.facts is None else self.knowledge.facts.node

    async def _ask(self, name: str) -> None:
        """Ask another node for what it says of itself."""
        try:
            # A little less than the whole look may take.
            status = await self._client.document("/status", FarmStatus, node=name, limit=NODE_LIMIT * 0.9)
        except NoAnswerError as error:
            self.knowledge.miss(name, str(error))
        else:
            self.knowledge.hear(name, status, now=asyncio.get_running_loop().time())
