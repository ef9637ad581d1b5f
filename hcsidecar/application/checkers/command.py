"""Whether a program of the operator's ends with exit status 0."""

from hcsidecar.core.application.checks import why_not_good
from hcsidecar.system.programs import CannotStartError, ProgramCommand, RunningProgram


async def probe(command: ProgramCommand) -> str | None:
    """Run it once; gives the reason when it fails. Has no time limit of its own; killed when cancelled."""
    try:
        async with RunningProgram(command) as running:
            status = await running.ended()
            return why_not_good(status, running.output)
    except CannotStartError as error:
        return str(error)
