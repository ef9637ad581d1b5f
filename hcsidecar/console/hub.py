"""Watches the farm for those who follow it: one watch for all of them, and none while nobody follows."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from hcsidecar.console.daemon_client import DaemonClient, NoAnswerError
from hcsidecar.console.details import DetailObserver
from hcsidecar.console.observer import FarmObserver
from hcsidecar.core.console.documents import FarmOverview, RollingReport
from hcsidecar.core.console.event_merge import in_order
from hcsidecar.core.console.farm_knowledge import NODE_LIMIT, news
from hcsidecar.core.console.node_details import NodeDetails, details_news
from hcsidecar.core.console.stream_format import (
    COMMENT,
    HEARTBEAT,
    MOST_REPLAYED,
    MOST_STREAMS,
    MOST_STREAMS_EACH,
    OPENING,
    QUEUE,
    message,
)
from hcsidecar.core.documents import Entry, EventPage, Notice
from hcsidecar.system.memory import give_free_memory_back

LOOK_EVERY: Final = 0.5
"Seconds between two looks at the farm."
WAIT: Final = 10
"Seconds that a node may wait for an event before it answers that there is none."
PAUSE: Final = 0.25
"Seconds before a node is asked again that had no event: one that ends answers at once."
RETRY: Final = 1.0
"Seconds until a node is asked again for its events when it has not answered."


class TooManyStreamsError(Exception):
    """There is no room for another stream; the text says why."""


class StreamForm(Protocol):
    """How news is written for those who follow: as JSON for programs, as HTML for pages."""

    @property
    def key(self) -> str:
        """Name the form; two of one name write the same."""
        ...

    @property
    def has_details(self) -> bool:
        """Say whether it writes the details of nodes, which are looked at only for those who want them."""
        ...

    def write(self, kind: str, document: object, /) -> Sequence[tuple[str, bytes]]:
        """Return the messages for a piece of news, each as its kind and data; none if it is of no interest."""
        ...


class JsonForm:
    """The documents of the API."""

    key = "json"
    has_details = False

    def write(self, kind: str, document: object) -> Sequence[tuple[str, bytes]]:
        """Return the document under the kind of the news."""
        return () if kind == DETAILS else ((kind, msgspec.json.encode(document)),)


DETAILS: Final = "details"
"The kind of news that are the details of a node."
JSON: Final = JsonForm()


@dataclass(frozen=True, slots=True, kw_only=True)
class _News:
    kind: str
    document: object
    entry: Entry | None = None
    written: dict[str, Sequence[tuple[str, bytes]]] = field(default_factory=dict)
    "By form: what it has written, once for everybody."

    def in_form(self, form: StreamForm) -> Sequence[tuple[str, bytes]]:
        found = self.written.get(form.key)
        if found is None:
            found = self.written[form.key] = form.write(self.kind, self.document)
        return found


@dataclass(eq=False, slots=True, kw_only=True)
class Follower:
    """One who follows the farm."""

    address: str
    places: dict[str, int]
    "By node: the number of the last event that it has."
    task: "asyncio.Task[object]"
    "In which it is served."
    form: StreamForm = JSON
    waiting: "asyncio.Queue[_News]" = field(default_factory=lambda: asyncio.Queue(maxsize=QUEUE))
    too_slow: bool = False


class Hub:
    """All who follow the farm, and the watch for them."""

    def __init__(
        self,
        client: DaemonClient,
        observer: FarmObserver,
        details: DetailObserver,
        rolling: Callable[[], Iterable[RollingReport]],
        *,
        heartbeat: float = HEARTBEAT,
        queue: int = QUEUE,
    ) -> None:
        """`rolling` returns the rolling commands; `heartbeat` is in seconds, `queue` in messages."""
        self._client = client
        self._observer = observer
        self._details = details
        self._rolling = rolling
        self._heartbeat = heartbeat
        self._queue = queue
        self._followers: set[Follower] = set()
        self._watch: asyncio.Task[None] | None = None
        self._positions: dict[str, int] = {}

    @property
    def is_watching(self) -> bool:
        """Whether the farm is watched, because somebody follows it."""
        return self._watch is not None

    def tell_rolling(self, report: RollingReport) -> None:
        """Tell everybody of a rolling command."""
        self._tell("rolling", report)

    async def follow(
        self,
        address: str,
        places: dict[str, int],
        *,
        admitted: Callable[[], Awaitable[bool]],
        form: StreamForm = JSON,
    ) -> AsyncGenerator[bytes, None]:
        """Yield what one who follows is sent, in this form. Raise TooManyStreamsError before anything else.

        `places` says which events it has already. `admitted` is asked now and then whether it may go on.
        """
        follower = self._admit(address, places, form)
        try:
            yield OPENING
            async for part in self._beginning(follower):
                if part:
                    yield part
            checked = asyncio.get_running_loop().time()
            while not follower.too_slow:
                try:
                    async with asyncio.timeout(self._heartbeat):
                        found = await follower.waiting.get()
                except TimeoutError:
                    yield COMMENT
                else:
                    part = _written(follower, found)
                    if part:
                        yield part
                now = asyncio.get_running_loop().time()
                if now >= checked + self._heartbeat:
                    checked = now
                    if not await admitted():
                        return
        finally:
            await self._dismiss(follower)

    async def close(self) -> None:
        """End all streams and the watch, because the console ends."""
        for follower in self._followers:
            follower.task.cancel()
        await self._stop()

    def _admit(self, address: str, places: dict[str, int], form: StreamForm) -> Follower:
        of_each = Counter(follower.address for follower in self._followers)
        if len(self._followers) >= MOST_STREAMS or of_each[address] >= MOST_STREAMS_EACH:
            raise TooManyStreamsError(
                "too many streams are open at this console: close other pages, or ask another node"
            )
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a request is served in a task
        waiting: asyncio.Queue[_News] = asyncio.Queue(maxsize=self._queue)
        follower = Follower(address=address, places=places, task=task, form=form, waiting=waiting)
        self._followers.add(follower)
        if self._watch is None:
            self._watch = asyncio.create_task(self._watch_farm(), name="watch of the farm")
        return follower

    async def _dismiss(self, follower: Follower) -> None:
        self._followers.discard(follower)
        if not self._followers:
            await self._stop()

    async def _stop(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
            # What many followers have needed is of no use to anybody now.
            give_free_memory_back()
        self._positions.clear()

    async def _beginning(self, follower: Follower) -> AsyncGenerator[bytes, None]:
        """Yield the state of the farm, and the events that were missed."""
        nodes = self._observer.knowledge.nodes
        # First where its events begin: whatever happens after it has got the farm comes as an event.
        missed = await asyncio.gather(*(self._missed(name, follower) for name in nodes))
        with contextlib.suppress(NoAnswerError):
            yield _written(follower, _News(kind="farm", document=await self._observer.overview()))
        for report in self._rolling():
            yield _written(follower, _News(kind="rolling", document=report))
        for notice in (notice for _, notice in missed if notice is not None):
            yield _written(follower, _News(kind="missed", document=notice))
        for entry in in_order(entry for entries, _ in missed for entry in entries):
            yield _written(follower, _News(kind="event", document=entry, entry=entry))

    async def _missed(self, node: str, follower: Follower) -> tuple[list[Entry], Notice | None]:
        """Return the events of a node since the follower's place, and a notice if some of them cannot be had."""
        place, missed = follower.places.get(node), 0
        found: list[Entry] = []
        try:
            if place is None:
                page = await self._page(node, {"last": "0"})
                follower.places[node] = page.next
                self._positions.setdefault(node, page.next)
                return [], None
            while len(found) < MOST_REPLAYED:
                page = await self._page(node, {"after": str(place)})
                found += page.events
                missed += page.missed
                if page.next == place or not page.events:
                    break
                place = page.next
        except NoAnswerError as error:
            if place is not None:
                # When it answers again, the watch goes on from here.
                self._positions.setdefault(node, place)
            return found, Notice(node=node, notice=f"{node} does not answer: its events come when it does: {error}")
        # The watch of this node may not have begun: it must not begin after what comes meanwhile.
        self._positions.setdefault(node, place)
        notice = Notice(node=node, notice=f"{missed} events are missing here", missed=missed) if missed else None
        return found, notice

    async def _page(self, node: str, query: dict[str, str], *, wait: float = 0.0) -> EventPage:
        return await self._client.document(
            "/events", EventPage, node=node, query=query, limit=NODE_LIMIT + wait, unless_silent=True
        )

    # -- the watch --------------------------------------------------------------------------------------------------

    async def _watch_farm(self) -> None:
        """Look at the farm and follow the events of its nodes until cancelled."""
        following: dict[str, asyncio.Task[None]] = {}
        before: FarmOverview | None = None
        details = asyncio.create_task(self._watch_details(), name="watch of the details of nodes")
        looks = asyncio.create_task(self._look_regularly(), name="looks at the farm")
        try:
            while True:
                await self._observer.heard.wait()
                self._observer.heard.clear()
                after = self._observer.latest()
                if after is not None:
                    for kind, document in news(before, after):
                        self._tell(kind, document)
                    before = after
                    names = {node.name for node in after.nodes}
                    for name in names - following.keys():
                        following[name] = asyncio.create_task(self._follow_node(name), name=f"events of {name}")
                    for name in following.keys() - names:
                        following.pop(name).cancel()
        finally:
            tasks = (looks, details, *following.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _look_regularly(self) -> None:
        while True:
            with contextlib.suppress(NoAnswerError):
                await self._observer.overview()
            await asyncio.sleep(LOOK_EVERY)

    async def _watch_details(self) -> None:
        """Look at the details of nodes, beside the states: one that does not answer takes longer here."""
        before: Mapping[str, NodeDetails] = {}
        while True:
            if any(follower.form.has_details for follower in self._followers):
                after = await self._details.look()
                for each in details_news(before, after):
                    self._tell(DETAILS, each)
                before = after
            await asyncio.sleep(LOOK_EVERY)

    async def _follow_node(self, node: str) -> None:
        while True:
            try:
                place = self._positions.get(node)
                if place is None:
                    page = await self._page(node, {"last": "0"})
                    self._positions.setdefault(node, page.next)
                    continue
                page = await self._page(node, {"after": str(place), "wait": str(WAIT)}, wait=WAIT + 5)
            except NoAnswerError:
                await asyncio.sleep(RETRY)
                continue
            if page.missed:
                self._tell("missed", Notice(node=node, notice=f"{page.missed} events are missing", missed=page.missed))
            for entry in page.events:
                self._tell("event", entry, entry)
            self._positions[node] = page.next
            if page.events and node == self._observer.own_name:
                # What happens in the farm is an event here before it is seen by a look.
                await self._observer.look_at_own()
            if not page.events:
                await asyncio.sleep(PAUSE)

    def _tell(self, kind: str, document: object, entry: Entry | None = None) -> None:
        told = _News(kind=kind, document=document, entry=entry)
        for follower in self._followers:
            try:
                follower.waiting.put_nowait(told)
            except asyncio.QueueFull:
                if not follower.too_slow:
                    follower.too_slow = True
                    follower.task.cancel()


def _written(follower: Follower, found: _News) -> bytes:
    """Return the messages, none for an event that the follower has already."""
    places = None
    if found.entry is not None:
        entry, places = found.entry, follower.places
        if entry.number <= places.get(entry.node, 0):
            return b""
        places[entry.node] = entry.number
    return b"".join(message(kind, data, places) for kind, data in found.in_form(follower.form))
