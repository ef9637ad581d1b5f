"""Gives a command to all nodes, one after the other; the decisions are those of `core.rolling`."""

import asyncio
import contextlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, Literal

import msgspec

from hcsidecar.console.daemon_client import DaemonClient, NoAnswerError, reason_of
from hcsidecar.core.access.identity import Actor
from hcsidecar.core.console.documents import RollingBody, RollingReport, RollingReports
from hcsidecar.core.documents import CommandResult, FarmStatus, NodeFacts
from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.core.request_bodies import ActionBody
from hcsidecar.core.rolling import Finish, ReportProgress, Rolling, RollingStep, TakeNode

INTERVAL: Final = 0.5
"Seconds between two looks at the farm."
ANSWER_LIMIT: Final = 7.0
"Seconds for the answer to a command: more than the daemon waits for another node."
STATUS_LIMIT: Final = 2.0
KEPT: Final = 20
"Rolling commands that are remembered."
MOST_LINES: Final = 300
_NAMES: Final = {"restart": "restart", "restart-daemon": "restart of the daemon"}


class RollingInProgressError(Exception):
    """A rolling command is in progress; the text says which."""


class RollingCommands:
    """The rolling commands of this console, of which one at a time is in progress."""

    def __init__(self, client: DaemonClient, changed: Callable[[RollingReport], None]) -> None:
        """`changed` is called with the report of a command whenever that has changed."""
        self._client = client
        self._changed = changed
        self._reports: OrderedDict[str, RollingReport] = OrderedDict()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def reports(self) -> RollingReports:
        """Return the latest commands, the newest first."""
        return RollingReports(rolling=tuple(reversed(self._reports.values())))

    def report(self, identifier: str) -> RollingReport | None:
        """Return a command; None if there is none of this id."""
        return self._reports.get(identifier)

    async def begin(self, body: RollingBody, actor: Actor) -> RollingReport:
        """Begin a command. Raise RollingInProgressError, or NoAnswerError if the farm cannot be looked at."""
        self._refuse_second()
        facts = await self._client.document("/facts", NodeFacts, limit=STATUS_LIMIT)
        self._refuse_second()
        report = RollingReport(
            id=secrets.token_hex(8), action=body.action, by=str(actor), started_at=time.time(), state="running"
        )
        self._keep(report)
        machine = Rolling(command=_NAMES[body.action], keep_ready=facts.keep_ready, limit=body.limit)
        task = asyncio.create_task(self._drive(report.id, machine, body.action, actor), name=f"rolling {report.id}")
        self._tasks[report.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(report.id, None))
        return report

    def cancel(self, identifier: str, actor: Actor) -> RollingReport | None:
        """Begin no further node; None if there is no command of this id. One that is over stays as it is."""
        report = self._reports.get(identifier)
        if report is None or report.state != "running":
            return report
        task = self._tasks.get(identifier)
        if task is not None:
            task.cancel()
        at = f"; {report.node} goes on with what it has begun" if report.node else ""
        self._end(identifier, "cancelled", f"cancelled by {actor}{at}")
        return self._reports[identifier]

    async def close(self) -> None:
        """End what is in progress, because the console ends."""
        for identifier, task in list(self._tasks.items()):
            task.cancel()
            self._end(identifier, "cancelled", "the console has ended")
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _refuse_second(self) -> None:
        running = next((each for each in self._reports.values() if each.state == "running"), None)
        if running is not None:
            raise RollingInProgressError(
                f"{running.action}, begun by {running.by}, is in progress: wait until it is over, or cancel it"
            )

    async def _drive(self, identifier: str, machine: Rolling, action: str, actor: Actor) -> None:
        loop = asyncio.get_running_loop()
        while True:
            steps: list[RollingStep] = machine.step(await self._status(), now=loop.time())
            while steps:
                match steps.pop(0):
                    case ReportProgress(text):
                        self._add(identifier, text)
                    case TakeNode(name):
                        self._change(identifier, node=name)
                        steps += machine.taken(await self._take(name, action, actor), now=loop.time())
                    case Finish(ok=ok, text=text):
                        self._end(identifier, "done" if ok else "failed", text)
                        return
            await asyncio.sleep(INTERVAL)

    async def _take(self, node: str, action: str, actor: Actor) -> str | None:
        """Give the command to a node; return why that failed, or None."""
        body = msgspec.json.encode(ActionBody())
        try:
            reply = await self._client.ask(
                "POST", f"/actions/{action}", body, node=node, actor=actor, limit=ANSWER_LIMIT
            )
        except NoAnswerError as error:
            return str(error)
        if reply.status not in (HTTPStatus.OK, HTTPStatus.CONFLICT):
            return reason_of(reply)
        try:
            result = read_json(reply.body, CommandResult)
        except JsonError as error:
            return f"its answer is not understood: {error}"
        return None if result.ok else result.text

    async def _status(self) -> FarmStatus | None:
        try:
            return await self._client.document("/status", FarmStatus, limit=STATUS_LIMIT)
        except NoAnswerError:
            return None

    def _add(self, identifier: str, line: str) -> None:
        report = self._reports[identifier]
        self._keep(msgspec.structs.replace(report, lines=(*report.lines, line)[-MOST_LINES:]))

    def _change(self, identifier: str, *, node: str) -> None:
        self._keep(msgspec.structs.replace(self._reports[identifier], node=node))

    def _end(self, identifier: str, state: Literal["done", "failed", "cancelled"], outcome: str) -> None:
        report = self._reports[identifier]
        if report.state == "running":
            self._keep(msgspec.structs.replace(report, state=state, outcome=outcome, node=""))

    def _keep(self, report: RollingReport) -> None:
        self._reports[report.id] = report
        while len(self._reports) > KEPT:
            self._reports.popitem(last=False)
        self._changed(report)
