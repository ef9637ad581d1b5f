"""A balancer whose calls are made in the helper process, and the choice of the balancers for which that is so."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import PurePath
from typing import Any

from msgspec import structs

from hcsidecar.core.farmfile.target_tables import Target
from hcsidecar.core.targets.registration import Call, Observation, TargetError
from hcsidecar.targets.helper_process import START_LIMIT, HelperProcess
from hcsidecar.targets.kind import Balancer, Here
from hcsidecar.targets.questions import CallRequest

IN_THE_DAEMON = frozenset({"haproxy", "command"})
"The kinds whose calls the daemon makes itself, because these neither block nor compute."


class HelperBalancer:
    """A `Balancer` whose calls the helper process makes; `table` is that of the target, as in the farm file."""

    def __init__(
        self, helper: HelperProcess, *, name: str, kind: str, table: Mapping[str, Any], here: Here, limit: float
    ) -> None:
        self._helper = helper
        helper.users += 1
        self._limit = limit
        self._question = CallRequest(
            target=name, call=Call.OBSERVE, kind=kind, table=dict(table), here=_plain(here), notes=b""
        )

    @property
    def patience(self) -> float:
        """Seconds for a call, with the start of the process."""
        return self._limit + START_LIMIT

    async def observe(self) -> Observation:
        """Return the state of this node's target."""
        seen = await self._ask(Call.OBSERVE)
        if seen is None:
            raise TypeError("the helper process gives no observation")
        return seen

    async def register(self) -> None:
        """Register this node."""
        await self._ask(Call.REGISTER)

    async def deregister(self) -> None:
        """Deregister this node."""
        await self._ask(Call.DEREGISTER)

    async def retire(self) -> None:
        """Deregister the former targets that the last observation named."""
        await self._ask(Call.RETIRE)

    async def close(self) -> None:
        """End the helper process, unless another target needs it."""
        self._helper.users -= 1
        if not self._helper.users:
            await self._helper.close()

    async def _ask(self, call: Call) -> Observation | None:
        answer = await self._helper.ask(structs.replace(self._question, call=call), limit=self._limit)
        if answer.trouble is not None:
            raise TargetError(answer.trouble, answer.text)
        self._question = structs.replace(self._question, notes=answer.notes)
        return answer.seen


class BalancerFactory:
    """Makes the balancers of one daemon, with one helper process for all that need it.

    `tables` has the tables as they are written in the farm file, by the name of the target. It may be replaced.
    """

    def __init__(self, name: str, tables: Mapping[str, Mapping[str, object]]) -> None:
        self._name = name
        self.tables = tables
        self._helper: HelperProcess | None = None

    def open(self, table: Target, here: Here) -> Balancer:
        """Return the balancer of a target. Raise KindError if there is none. Needs a running loop."""
        if table.type in IN_THE_DAEMON:
            from hcsidecar.targets.kinds import open_balancer  # noqa: PLC0415 - of no use for the others

            return open_balancer(table, here)
        if self._helper is None:
            self._helper = HelperProcess(self._name)
        return HelperBalancer(
            self._helper,
            name=table.label,
            kind=table.type,
            table=self.tables[table.label],
            here=here,
            limit=table.call_limit,
        )


def _plain(here: Here) -> dict[str, Any]:
    """Return the fields in types that a message can have."""
    return {key: str(value) if isinstance(value, PurePath) else value for key, value in asdict(here).items()}
