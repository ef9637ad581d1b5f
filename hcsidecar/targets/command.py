"""A balancer behind a program of the operator, which runs once for each call."""

import os
from collections.abc import Mapping

import msgspec

from hcsidecar.core.application.runs import bare_environment
from hcsidecar.core.farmfile.target_tables import CommandTarget
from hcsidecar.core.farmfile.values import HostPort
from hcsidecar.core.targets.program import ProgramRequest, observation_in, why_failed
from hcsidecar.core.targets.registration import Call, Observation, TargetError, Trouble
from hcsidecar.system.programs import CannotStartError, ProgramCommand, RunningProgram
from hcsidecar.targets.kind import Here


class ProgramBalancer:
    """One node at a balancer behind a program. Cancelling a call kills the program's process group."""

    def __init__(self, table: CommandTarget, here: Here, *, base: Mapping[str, str] = os.environ) -> None:
        self._table = table
        self._here = here
        names = {"HCSIDECAR_FARM": here.farm, "HCSIDECAR_NODE": here.node, "HCSIDECAR_TARGET": table.label}
        self._environment = bare_environment(base) | names

    async def observe(self) -> Observation:
        """Let the program observe this node's target."""
        return observation_in(await self._run(Call.OBSERVE))

    async def register(self) -> None:
        """Let the program register this node."""
        await self._run(Call.REGISTER)

    async def deregister(self) -> None:
        """Let the program deregister this node."""
        await self._run(Call.DEREGISTER)

    async def retire(self) -> None:
        """Let the program deregister the targets that it has named as `former`."""
        await self._run(Call.RETIRE)

    async def close(self) -> None:
        """Do nothing: no process outlives a call."""

    async def _run(self, call: Call) -> bytes:
        """Run the program to its end, and return its output."""
        command = ProgramCommand(
            words=self._table.command,
            directory=self._here.directory,
            environment=self._environment,
            question=msgspec.json.encode(self._question(call)) + b"\n",
        )
        try:
            async with RunningProgram(command) as running:
                failed = why_failed(await running.ended(), running.errors)
                if failed is not None:
                    raise failed
                return running.output
        except CannotStartError as error:
            raise TargetError(Trouble.RETRY if error.passing else Trouble.CONFIG, str(error)) from None

    def _question(self, call: Call) -> ProgramRequest:
        here = self._here
        scheme = "https" if here.health_tls else "http"
        return ProgramRequest(
            call=call,
            farm=here.farm,
            node=here.node,
            address=here.address,
            target=self._table.label,
            health_url=f"{scheme}://{HostPort(here.address, here.health_port)}{here.health_path}",
        )


class CommandKind:
    """The kind `command`."""

    table = CommandTarget

    def open(self, table: CommandTarget, here: Here) -> ProgramBalancer:
        """Return the balancer for one table."""
        return ProgramBalancer(table, here)


KIND = CommandKind()
