"""Answers that are made once for many."""

import asyncio
from math import inf

import pytest

from hcsidecar.console.shared_answer import SharedAnswer


class Maker:
    """Counts how often the answer is made; fails while it shall."""

    def __init__(self):
        self.made = 0
        self.fails = False

    async def __call__(self):
        self.made += 1
        await asyncio.sleep(0)
        if self.fails:
            raise OSError("nobody there")
        return self.made


def test_who_asks_at_the_same_time_waits_for_the_same_answer():
    async def story():
        shared = SharedAnswer(Maker(), fresh_for=0)
        assert await asyncio.gather(*(shared.get() for _ in range(3))) == [1, 1, 1]
        assert await shared.get() == 2

    asyncio.run(story())


def test_who_asks_while_the_answer_is_fresh_gets_it_again():
    async def story():
        shared = SharedAnswer(Maker(), fresh_for=inf)
        assert [await shared.get(), await shared.get()] == [1, 1]

    asyncio.run(story())


def test_one_who_goes_away_does_not_end_it_for_the_others():
    async def story():
        shared = SharedAnswer(Maker(), fresh_for=inf)
        first, second = asyncio.create_task(shared.get()), asyncio.create_task(shared.get())
        await asyncio.sleep(0)
        first.cancel()
        assert await second == 1

    asyncio.run(story())


def test_what_has_failed_is_tried_again_by_the_next_one():
    async def story():
        maker = Maker()
        maker.fails = True
        shared = SharedAnswer(maker, fresh_for=inf)
        with pytest.raises(OSError, match="nobody there"):
            await shared.get()
        maker.fails = False
        assert await shared.get() == 2

    asyncio.run(story())
