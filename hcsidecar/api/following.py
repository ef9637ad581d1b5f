"""Following a node's journal: asking for page after page, and telling the follower what it could not get.

The same for this node and for one behind the relay, so that another node's restart ends nothing: the follower is told
that it does not answer, and then that it does again.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence

import msgspec

from hcsidecar.api.relay import UnreachableError
from hcsidecar.api.requests import Reply
from hcsidecar.core.documents import EventPage, Notice
from hcsidecar.core.json_reading import JsonError, read_json

WAIT = 10
"Seconds that one question waits for news; so long may a follower linger that has gone."
PAUSE = 0.25
"Seconds before the next question when one brought nothing: bounds their rate whatever the other side answers."
RETRY = 1.0
"Seconds until a node that did not answer is asked again."

FetchEvents = Callable[[Mapping[str, str]], Awaitable[Reply]]
"Asks a node for the events of a query; raises UnreachableError."


async def follow(
    node: str, first: Reply, *, wanted: Mapping[str, str], ask: FetchEvents, ended: Callable[[], bool]
) -> AsyncGenerator[bytes, None]:
    """Give lines of JSON, entries and notices, as they come; b"" now and then when there are none.

    Begins with an answer that is there already, asks on with the parameters `wanted`, and stops when `ended` says that
    no event will follow the last.
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
    """Read a page from an answer; UnreachableError if it is none."""
    try:
        return read_json(reply.body, EventPage)
    except JsonError:
        raise UnreachableError("its answer is not in a form that this version understands") from None


def _lines(objects: Sequence[msgspec.Struct]) -> bytes:
    return b"".join(msgspec.json.encode(line) + b"\n" for line in objects)
