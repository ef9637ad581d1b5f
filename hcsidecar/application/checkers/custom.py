"""Runs a program of the operator that checks all the time and reports the results, as SafeKit's custom checkers do."""

import asyncio
from collections.abc import Callable
from typing import Final

from hcsidecar.core.application.checks import why_not_good
from hcsidecar.core.farmfile.values import format_duration
from hcsidecar.system.programs import CannotStartError, ProgramCommand, RunningProgram

DOWN: Final = "its program says down"
"The reason of the failure after a report of `down`."
WORDS: Final = ("up", "down")


class CustomWatch:
    """Keeps the program of one check running, and passes on each report.

    The check has no result before the first report, so it has not passed yet. When the program ends, the check fails,
    whatever was reported last. The program is started again after `pause` seconds, and must report again.
    """

    def __init__(
        self, name: str, command: Callable[[], ProgramCommand], *, pause: float, tell: Callable[[str | None], None]
    ) -> None:
        """`command` returns the command of the next run."""
        self._name = name
        self._command = command
        self.pause = pause
        self._tell = tell
        self._at_work = False

    def why_not_heard(self) -> str | None:
        """Return why a report would be refused now, or None."""
        return None if self._at_work else f"the program of check {self._name} is not running now"

    def hear(self, value: str) -> None:
        """Take a report."""
        self._tell(None if value == "up" else DOWN)

    async def run(self) -> None:
        """Run the program again and again, until cancelled; then kill it."""
        while True:
            why = await self._run_once()
            self._tell(f"its program must not end: {why}; it is started again after {format_duration(self.pause)}")
            await asyncio.sleep(self.pause)

    async def _run_once(self) -> str:
        self._at_work = True
        try:
            async with RunningProgram(self._command()) as running:
                status = await running.ended()
                return why_not_good(status, running.output) or "exit status 0"
        except CannotStartError as error:
            return str(error)
        finally:
            self._at_work = False
