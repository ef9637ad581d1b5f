"""One run of a script: starts its keeper, and waits for the script's end or ends it."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

from hcsidecar.application import keeper_launch as keeping
from hcsidecar.application.processes import group_lives, signal_group
from hcsidecar.application.units import Units
from hcsidecar.core.application.runs import why_ended_badly, why_not_started

PATIENCE: Final = 2.0
"When a run is ended: seconds from SIGTERM to SIGKILL, and from SIGKILL until the attempt is given up."
_POLL: Final = 0.02


class RunEnd(NamedTuple):
    """How a run ended."""

    status: int | None
    "The exit status of the script; None if it did not start, or was killed."
    reason: str | None
    "Why the run failed; None if it did not."


@dataclass(kw_only=True)
class LiveRun:
    """A run, with what is known of its processes."""

    run: str
    units: Units
    warn: Callable[[str], None]
    _starting: asyncio.Future[keeping.Channel] | None = field(default=None, init=False)
    _unit: str = field(default="", init=False)
    _is_told: bool = field(default=False, init=False)
    _script: int | None = field(default=None, init=False)

    async def live(self, make_job: Callable[[str], bytes]) -> RunEnd:
        """Start the script, wait for its end, and return how it ended.

        `make_job` returns the job for a keeper in this unit. If this is cancelled, the caller must call `end`.
        """
        try:
            channel = await self._start_keeper()
            self._is_told = True
            await channel.send(make_job(self._unit))
        except (keeping.KeeperError, OSError) as error:
            return RunEnd(None, f"cannot be started: {error}")
        reason = None
        while words := await channel.read_words():
            match words:
                case ["started", pid]:
                    self._script = int(pid)
                case ["failed", step, number]:
                    reason = why_not_started(step, int(number), os.strerror(int(number)))
                    if step == "fork":
                        return RunEnd(None, reason)
                case ["ended", text]:
                    code = int(text)
                    status = code if code >= 0 and reason is None else None
                    return RunEnd(status, reason or why_ended_badly(code))
        await self.end()
        return RunEnd(None, "its keeper was killed, and so it was ended as well")

    async def end(self) -> None:
        """End the processes of the run: its process group, or its whole unit."""
        channel = await self._channel()
        if channel is None or not self._is_told:
            return  # a keeper without a job ends when its connection is closed
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._hear_of_the_script(channel)
        if self._unit:
            await self._end_unit(channel)
        elif self._script is not None:
            await _end_group(self._script)

    def close(self) -> None:
        """Close the connection to the keeper, after `live` or `end`."""
        if self._starting is not None and self._starting.done():
            with contextlib.suppress(keeping.KeeperError, asyncio.CancelledError):
                self._starting.result().close()

    async def _start_keeper(self) -> keeping.Channel:
        """Start a keeper, in a unit if that is wanted and possible."""
        if (command := self.units.start_command(self.run)) is not None:
            self._unit = self.units.name(self.run)
            try:
                return await self._start(partial(keeping.start_in_unit, command, self.units.socket(self.run)))
            except keeping.KeeperError as error:
                self._unit = ""
                self.warn(f"scripts run in this daemon's own unit, and what they start ends with it: {error}")
        return await self._start(keeping.start_in_background)

    async def _start(self, start: Callable[[], keeping.Channel]) -> keeping.Channel:
        self._starting = asyncio.ensure_future(asyncio.to_thread(start))
        # The thread cannot be cancelled; `end` ends what it has started.
        return await asyncio.shield(self._starting)

    async def _channel(self) -> keeping.Channel | None:
        if self._starting is None:
            return None
        try:
            return await self._starting
        except keeping.KeeperError:
            return None

    async def _hear_of_the_script(self, channel: keeping.Channel) -> None:
        """Wait until the script has been started, or could not be."""
        channel.finish()
        while self._script is None:
            match await channel.read_words():
                case ["started", pid]:
                    self._script = int(pid)
                case []:
                    return

    async def _end_unit(self, channel: keeping.Channel) -> None:
        for name in ("SIGTERM", "SIGKILL"):
            await asyncio.to_thread(self.units.kill, self._unit, name)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    while await channel.read_words():
                        pass
                    return


async def _end_group(group: int) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGKILL):
        signal_group(group, number)
        # A stopped process (SIGSTOP) could not end otherwise.
        signal_group(group, signal.SIGCONT)
        end = loop.time() + PATIENCE
        while group_lives(group):
            if loop.time() >= end:
                break
            await asyncio.sleep(_POLL)
        else:
            return
