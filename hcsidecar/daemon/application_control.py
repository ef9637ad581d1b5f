"""What the application tells and asks of its node, carried out: the part of `web.control.Control` that is about it."""

from typing import Literal

from hcsidecar.api.control import Answer, Budget, Request
from hcsidecar.application.application import Application
from hcsidecar.core.application import commands as orders


class ApplicationVoice:
    """Takes requests, reports and questions of the application of one node."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._module = application.module

    def request(self, action: Request, *, identity: str) -> Answer:
        """Begin what the application asks for, or say why not."""
        why = f"{identity} asks for it"
        outcome = self._module.order(lambda lifecycle, now: lifecycle.request(action, why, now=now))
        return Answer(ok=outcome.accepted, text=outcome.text)

    def reported(self, name: str) -> Literal["up", "down", "init"] | None:
        """Give what a check says now."""
        return self._module.says(name)

    def report(self, name: str, value: Literal["up", "down"]) -> Answer:
        """Take what the program of a custom check says."""
        refusal = self._application.take_report(name, value)
        return Answer(ok=refusal is None, text=refusal or f"{name} is {value}")

    def budget(self) -> Budget:
        """Give the restart budget."""
        used, most, reached = self._module.budget
        return Budget(used=used, most=most, reached=reached)

    def count_restart(self, *, identity: str) -> Answer:
        """Count a restart that the application has done by itself."""
        why = f"{identity} has restarted something"
        outcome = self._module.order(lambda lifecycle, now: orders.count_failure(lifecycle, why, now=now))
        return Answer(ok=outcome.accepted, text=outcome.text)

    def reset_budget(self, *, by: str) -> Answer:
        """Begin to count anew."""
        outcome = self._module.order(lambda lifecycle, _now: orders.forgive(lifecycle, by=by))
        return Answer(ok=outcome.accepted, text=outcome.text)
