"""A balancer whose calls are made in the helper process, and the choice which balancers' are."""

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
"The kinds whose calls the daemon makes itself, because they neither block nor compute."


class HelperBalancer:
    """One node's place at one balancer, as a `Balancer`; `table` is the target's as it is in the farm file."""

    def __init__(
        self, helper: HelperProcess, *, name: str, kind: str, table: Mapping[str, Any], here: Here, limit: float
    ) -> None:
        self._helper = helper
        self._limit = limit
        self._question = CallRequest(
            target=name, call=Call.OBSERVE, kind=kind, table=dict(table), here=_plain(here), notes=b""
        )

    @property
    def patience(self) -> float:
        """Seconds for a call with the start of the process before it."""
        return self._limit + START_LIMIT

    async def observe(self) -> Observation:
        """Look at this node's target."""
        seen = await self._ask(Call.OBSERVE)
        if seen is None:
            raise TypeError("the helper process gives no observation")
        return seen

    async def register(self) -> None:
        """Register this node."""
        await self._ask(Call.REGISTER)

    async def deregister(self) -> None:
        """Deregister it."""
        await self._ask(Call.DEREGISTER)

    async def retire(self) -> None:
        """Deregister what the last look named as former."""
        await self._ask(Call.RETIRE)

    async def close(self) -> None:
        """End the helper process, which is of no use to the other targets either: it is the daemon's end."""
        await self._helper.close()

    async def _ask(self, call: Call) -> Observation | None:
        answer = await self._helper.ask(structs.replace(self._question, call=call), limit=self._limit)
        if answer.trouble is not None:
            raise TargetError(answer.trouble, answer.text)
        self._question = structs.replace(self._question, notes=answer.notes)
        return answer.seen


class BalancerFactory:
    """Makes the balancers' sides of one daemon, with one helper process for all that need it.

    `tables` are those of the farm file as they are written, by the name of the target.
    """

    def __init__(self, name: str, tables: Mapping[str, Mapping[str, object]]) -> None:
        self._name = name
        self._tables = tables
        self._helper: HelperProcess | None = None

    def open(self, table: Target, here: Here) -> Balancer:
        """Make the balancer's side of a target; KindError says why there is none. Needs a running loop."""
        if table.type in IN_THE_DAEMON:
            from hcsidecar.targets.kinds import open_balancer  # noqa: PLC0415 - of no use for the others

            return open_balancer(table, here)
        if self._helper is None:
            self._helper = HelperProcess(self._name)
        return HelperBalancer(
            self._helper,
            name=table.label,
            kind=table.type,
            table=self._tables[table.label],
            here=here,
            limit=table.call_limit,
        )


def _plain(here: Here) -> dict[str, Any]:
    """Give the fields of it as a message can have them."""
    return {key: str(value) if isinstance(value, PurePath) else value for key, value in asdict(here).items()}
