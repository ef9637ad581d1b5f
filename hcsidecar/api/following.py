"""Follows a node's events: requests page after page, and notifies the follower of gaps.

It works alike for this node and for a node behind the relay. When that node restarts, following goes on: the follower
gets a notice that the node does not answer, and another one when it answers again.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence

import msgspec

from hcsidecar.api.relay import UnreachableError
from hcsidecar.api.requests import Reply
from hcsidecar.core.documents import EventPage, Notice
from hcsidecar.core.json_reading import JsonError, read_json

WAIT = 10
"Seconds that one request waits for events. A follower that has gone is noticed after that time at the latest."
PAUSE = 0.25
"Seconds before the next request after one without events; limits the rate whatever the other side answers."
RETRY = 1.0
"Seconds until the next request to a node that did not answer."

FetchEvents = Callable[[Mapping[str, str]], Awaitable[Reply]]
"Requests the events of a query from a node. Raises UnreachableError."


async def follow(
    node: str, first: Reply, *, wanted: Mapping[str, str], ask: FetchEvents, ended: Callable[[], bool]
) -> AsyncGenerator[bytes, None]:
    """Yield lines of JSON, entries and notices, as they come, and b"" now and then while there are none.

    `first` is the answer to the first request; the next requests have the parameters `wanted`. Stop when `ended`
    returns true, because no more events will come.
    """
    page = read_page(first)
    silent = False
    while True:
        missed = [Notice(node=node, notice=f"{page.missed} events are missing here", missed=page.missed)]
        lacking = [Notice(node=node, notice=page.lacking)]
        yield _lines([*(missed if page.missed else ()), *(lacking if page.lacking else ()), *page.events])
        if not page.events:
            if ended():
                return
            await asyncio.sleep(PAUSE)
        query = {"after": str(page.next), "wait": str(WAIT), **wanted}
        while True:
            try:
                page = read_page(await ask(query))
                break
            except UnreachableError as error:
                yield _lines([] if silent else [Notice(node=node, notice=str(error))])
                silent = True
                await asyncio.sleep(RETRY)
        if silent:
            yield _lines([Notice(node=node, notice=f"{node} answers again")])
            silent = False


def read_page(reply: Reply) -> EventPage:
    """Parse the page in an answer. Raise UnreachableError if it is not one."""
    try:
        return read_json(reply.body, EventPage)
    except JsonError:
        raise UnreachableError("its answer is not in a form that this version understands") from None


def _lines(objects: Sequence[msgspec.Struct]) -> bytes:
    return b"".join(msgspec.json.encode(line) + b"\n" for line in objects)
