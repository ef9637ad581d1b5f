"""News of the farm as parts of a page: what a page's stream of server-sent events is made of."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Annotated

import msgspec
from aiohttp import web

from hcsidecar.api.requests import ApiError
from hcsidecar.console.daemon_client import NoAnswerError
from hcsidecar.console.hub import StreamForm
from hcsidecar.console.pages.page import PageRequest
from hcsidecar.console.pages.serving_headers import PAGE_HEADERS
from hcsidecar.console.stream_serving import send_stream
from hcsidecar.core.console.queries import NodeEventsQuery
from hcsidecar.core.console.stream_format import read_id, write_id
from hcsidecar.core.documents import Entry, EventPage

PagePart = tuple[str, str]
"The name of a part of a page, which is the kind of the message, and its HTML."


class LiveQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the stream of a page begins."""

    after: Annotated[str, msgspec.Meta(max_length=6000)] = ""
    "The events that the page has, as the id of a message says it (`core.console.stream_format`)."


def written(parts: Sequence[PagePart]) -> Sequence[tuple[str, bytes]]:
    """Return the messages with these parts."""
    return tuple((name, text.strip().replace("\r", "").encode()) for name, text in parts)


async def event_places(request: PageRequest) -> dict[str, int]:
    """Return the number of the newest event of each node that answers. Ask before the events themselves."""
    places = {}

    async def ask(node: str) -> None:
        if request.services.observer.is_silent(node):
            return
        with suppress(ApiError, NoAnswerError):
            page: EventPage = await request.api("node_events", query=NodeEventsQuery(last=0), node=node)
            places[node] = page.next

    await asyncio.gather(*(ask(name) for name in await request.services.observer.node_names()))
    return places


def id_after(places: Mapping[str, int], events: Iterable[Entry]) -> str:
    """Return the id with which a stream goes on after these places and these events, of which none comes twice."""
    found = dict(places)
    for entry in events:
        found[entry.node] = max(entry.number, found.get(entry.node, 0))
    return write_id(found)


async def follow(request: PageRequest, form: StreamForm, after: str) -> web.StreamResponse:
    """Send the page's parts until the browser goes. `after` says which events the page had when it was made.

    A browser that connects again says itself which events it has.
    """
    services, http = request.services, request.http
    places = read_id(http.headers.get("Last-Event-ID", after))
    names = set(await services.observer.node_names())
    parts = services.hub.follow(
        http.remote or "",
        {name: place for name, place in places.items() if name in names},
        admitted=lambda: services.doorkeeper.is_still_in(http),
        form=form,
    )
    return await send_stream(http, parts, PAGE_HEADERS)
