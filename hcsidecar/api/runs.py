"""The part of the API that shows the output of the application's scripts."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

from hcsidecar.api.requests import LONGEST_NAME, MAX_NUMBER, ApiError, no_others, whole
from hcsidecar.application.run_logs import MOST, NoSuchRunError, is_place, is_run, list_runs, read_end, read_on
from hcsidecar.core.documents import RunOutput, Runs
from hcsidecar.system.blocking_calls import BlockingCalls, BusyError

T = TypeVar("T")

LINES = 1000
"Lines returned unless the query says how many."
LIMIT = 2.0
"Seconds that a read may take."
AT_ONCE = 4
"Reads at the same time. If the disk hangs, they hang with it, and further reads are refused at once."


class RunsApi:
    """Reads the application log of one node."""

    def __init__(self, node: str, directory: Callable[[], Path]) -> None:
        self._node = node
        self._directory = directory
        self._calls = BlockingCalls("reader of runs", at_once=AT_ONCE)

    async def runs(self, query: Mapping[str, str]) -> Runs:
        """Return the newest runs. Raise ApiError if they cannot be read."""
        no_others(query, {"last"})
        most = min(whole(query, "last", MOST, MAX_NUMBER) or 0, MOST)
        return await self._read(partial(list_runs, self._directory(), self._node, most=max(1, most)))

    async def output(self, name: str, query: Mapping[str, str]) -> RunOutput:
        """Return a part of the output of a run. Raise ApiError if it cannot be read."""
        no_others(query, {"last", "after"})
        if not is_run(name):
            raise ApiError(HTTPStatus.NOT_FOUND, f"no run can have the name {name[:LONGEST_NAME]!r}")
        place = query.get("after")
        if place is not None and "last" in query:
            raise ApiError(HTTPStatus.BAD_REQUEST, "after and last exclude each other")
        if place is not None and not is_place(place):
            raise ApiError(HTTPStatus.BAD_REQUEST, "after is 0, or the `next` of an answer before")
        if place is not None:
            return await self._read(partial(read_on, self._directory(), self._node, name, place=place))
        lines = whole(query, "last", LINES, MAX_NUMBER) or 0
        return await self._read(partial(read_end, self._directory(), self._node, name, lines=lines))

    async def _read(self, work: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(LIMIT):
                return await self._calls.run(work)
        except NoSuchRunError:
            raise ApiError(HTTPStatus.NOT_FOUND, "there is no such run, or its output is not kept any more") from None
        except (BusyError, TimeoutError):
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "the disk of this node does not answer") from None
        except OSError as error:
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, f"the output cannot be read: {error.strerror}") from None
