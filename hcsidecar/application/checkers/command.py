"""Checks that a program of the operator ends with exit status 0."""

from hcsidecar.core.application.checks import why_not_good
from hcsidecar.system.programs import CannotStartError, ProgramCommand, RunningProgram


async def probe(command: ProgramCommand) -> str | None:
    """Run the program once; return why it failed, or None. Has no time limit; when cancelled, kills the program."""
    try:
        async with RunningProgram(command) as running:
            status = await running.ended()
            return why_not_good(status, running.output)
    except CannotStartError as error:
        return str(error)
