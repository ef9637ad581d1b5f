"""Checks that run in the loop of a test."""

import asyncio
import contextlib
from pathlib import Path

from hcsidecar.application.checking import Checking
from hcsidecar.farmfile.places import Places


@contextlib.asynccontextmanager
async def running_checks(*checks, directory=Path(), environment=None, report):
    """Run checks until the end; `report` is called with the name and the complaint of each result."""
    running = Checking(
        checks, report=report, places=Places.beside(directory.absolute() / "farm.toml"), environment=environment or {}
    )
    task = asyncio.create_task(running.run())
    try:
        yield running
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            await task
