"""What the application tells and asks of its node, carried out: the part of `web.control.Control` that is about it."""

from typing import Literal

from hcsidecar.api.control import ApplicationRequest, CommandResult, RestartBudgetReport
from hcsidecar.application.application import Application
from hcsidecar.core.application import commands


class ApplicationControl:
    """Takes requests, reports and questions of the application of one node."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._module = application.module

    def request(self, action: ApplicationRequest, *, identity: str) -> CommandResult:
        """Begin what the application asks for, or say why not."""
        why = f"{identity} asks for it"
        outcome = self._module.carry_out(lambda lifecycle, now: lifecycle.request(action, why, now=now))
        return CommandResult(ok=outcome.accepted, text=outcome.text)

    def reported(self, name: str) -> Literal["up", "down", "init"] | None:
        """Give what a check says now."""
        return self._module.says(name)

    def report(self, name: str, value: Literal["up", "down"]) -> CommandResult:
        """Take what the program of a custom check says."""
        refusal = self._application.take_report(name, value)
        return CommandResult(ok=refusal is None, text=refusal or f"{name} is {value}")

    def budget(self) -> RestartBudgetReport:
        """Give the restart budget."""
        used, most, reached = self._module.budget
        return RestartBudgetReport(used=used, most=most, reached=reached)

    def count_restart(self, *, identity: str) -> CommandResult:
        """Count a restart that the application has done by itself."""
        why = f"{identity} has restarted something"
        outcome = self._module.carry_out(lambda lifecycle, now: lifecycle.count_failure(why, now=now))
        return CommandResult(ok=outcome.accepted, text=outcome.text)

    def reset_budget(self, *, by: str) -> CommandResult:
        """Begin to count anew."""
        outcome = self._module.carry_out(lambda lifecycle, _now: commands.reset_budget(lifecycle, by=by))
        return CommandResult(ok=outcome.accepted, text=outcome.text)
