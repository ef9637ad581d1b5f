"""The end of a console: whom it has accepted is told by a closed connection."""

import asyncio
import gc
import socket
import warnings

import pytest

from hcsidecar.console.start import console


@pytest.mark.parametrize("turns", range(6))
def test_a_connection_that_was_accepted_at_the_very_end_is_closed(tmp_path, turns):
    async def story():
        async with console(tmp_path / "console.sock", "127.0.0.1", 0, tls=None) as address:
            visitor = socket.create_connection(address, 10)
            # So many turns of the loop after it has come, the console ends.
            for _ in range(turns):
                await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)
        return visitor

    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        visitor = asyncio.run(story())
        gc.collect()
        visitor.close()
    assert [str(each.message) for each in complaints] == []
