"""An answer of the farm that many browsers want again and again: made once for all who ask within some seconds."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedAnswer(Generic[T]):
    """Makes the answer when somebody asks and the last one is too old; who comes meanwhile waits for the same."""

    def __init__(self, make: Callable[[], Awaitable[T]], *, fresh_for: float) -> None:
        """`fresh_for` is in seconds, from when an answer has been made."""
        self._make = make
        self._fresh_for = fresh_for
        self._making: asyncio.Task[T] | None = None
        self._fresh_until = float("-inf")

    async def get(self) -> T:
        """Return the answer. Raise what making it raises."""
        making = self._making
        if making is None or (making.done() and asyncio.get_running_loop().time() >= self._fresh_until):
            making = self._making = asyncio.create_task(self._made(), name="shared answer")
        # One who goes away does not end it for the others.
        return await asyncio.shield(making)

    async def _made(self) -> T:
        # What fails is not kept: the next one tries again.
        self._fresh_until = float("-inf")
        answer = await self._make()
        self._fresh_until = asyncio.get_running_loop().time() + self._fresh_for
        return answer
