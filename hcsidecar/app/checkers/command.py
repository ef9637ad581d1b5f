"""Whether a program of the operator's ends with exit status 0."""

from hcsidecar.app.checkers.programs import CannotStartError, Command, Running
from hcsidecar.core.checks import why_not_good


async def probe(command: Command) -> str | None:
    """Run it once; gives the reason when it fails. Has no time limit of its own; killed when cancelled."""
    try:
        async with Running(command) as running:
            status = await running.ended()
            return why_not_good(status, running.output)
    except CannotStartError as error:
        return str(error)
