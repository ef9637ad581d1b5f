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
        self.heard = asyncio.Event()
        "Set whenever a node has answered or has not: who waits for it clears it."
        self._look: asyncio.Task[None] | None = None
        self._own_look: asyncio.Task[bool] | None = None
        self._asking: dict[str, asyncio.Task[None]] = {}
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

    async def look_at_own(self) -> None:
        """Ask the console's own node again, which sees first when another one dies; wait for nobody else."""
        await asyncio.shield(self._begin_own_look())

    def latest(self) -> FarmOverview | None:
        """Return what is known of the farm, without asking; None if that is nothing."""
        return self.knowledge.overview(now=asyncio.get_running_loop().time())

    def is_silent(self, node: str) -> bool:
        """Return whether a node has just let somebody wait in vain."""
        return self._client.why_node_silent(node) is not None

    async def node_names(self) -> tuple[str, ...]:
        """Return all nodes of the farm. Raise NoAnswerError if nobody has said yet which there are."""
        if not self.knowledge.nodes:
            await self.overview()
        return self.knowledge.nodes

    async def _look_once(self) -> None:
        is_first = self.knowledge.facts is None
        own = self._begin_own_look()
        answers, *_ = await asyncio.gather(asyncio.shield(own), *self._begin_asking())
        if answers and is_first:
            await asyncio.gather(*self._begin_asking())
        if answers:
            self._looked_at = asyncio.get_running_loop().time()

    def _begin_asking(self) -> list[asyncio.Task[None]]:
        """Ask all other nodes; return what a look waits for.

        A node that has just let a look wait in vain is asked too, but nobody waits: when it answers, that is heard.
        """
        self._asking = {name: task for name, task in self._asking.items() if not task.done()}
        for name in self._others:
            if name not in self._asking:
                self._asking[name] = asyncio.create_task(self._ask(name), name=f"look at {name}")
        return [self._asking[name] for name in self._others if not self.is_silent(name)]

    def _begin_own_look(self) -> asyncio.Task[bool]:
        if self._own_look is None or self._own_look.done():
            self._own_look = asyncio.create_task(self._look_at_own())
        return self._own_look

    async def _look_at_own(self) -> bool:
        """Ask the console's own node; return whether it has answered."""
        knowledge, client = self.knowledge, self._client
        try:
            why = client.why_silent()
            if why is not None:
                knowledge.miss_own(why)
                return False
            async with asyncio.timeout(NODE_LIMIT):
                facts, status = await asyncio.gather(
                    client.document("/facts", NodeFacts, limit=NODE_LIMIT),
                    client.document("/status", FarmStatus, limit=NODE_LIMIT),
                )
        except TimeoutError:
            knowledge.miss_own(f"its daemon has not answered within {NODE_LIMIT:g} s")
        except NoAnswerError as error:
            knowledge.miss_own(str(error))
        else:
            knowledge.hear_facts(facts)
            knowledge.hear(facts.node, status, now=asyncio.get_running_loop().time())
            return True
        finally:
            self.heard.set()
        return False

    @property
    def own_name(self) -> str:
        """The console's own node; empty while that is not known."""
        return "" if self.knowledge.facts is None else self.knowledge.facts.node

    @property
    def _others(self) -> tuple[str, ...]:
        facts = self.knowledge.facts
        return () if facts is None else tuple(name for name in facts.nodes if name != facts.node)

    async def _ask(self, name: str) -> None:
        """Ask another node for what it says of itself."""
        if self._client.why_silent() is not None:
            return
        try:
            # A little less than the whole look may take.
            status = await self._client.document("/status", FarmStatus, node=name, limit=NODE_LIMIT * 0.9)
        except NoAnswerError as error:
            self.knowledge.miss(name, str(error))
        else:
            self.knowledge.hear(name, status, now=asyncio.get_running_loop().time())
        self.heard.set()
