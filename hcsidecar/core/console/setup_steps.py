"""The way from a new server to a served page, as steps: what is done, and what is next."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from hcsidecar.core.console.documents import FarmOverview
from hcsidecar.core.farmfile.farm_file import FarmFile
from hcsidecar.core.settings.named_files import named_files


class SetupStep(StrEnum):
    """A step; the order is that of the page."""

    NODES = "nodes"
    REVISION = "revision"
    "The first revision of the settings, without which nothing can be edited here."
    APPLICATION = "application"
    CLIENTS = "clients"
    "How clients reach the nodes: by virtual IPs, or by a balancer."
    CHECKS = "checks"
    SCRIPTS = "scripts"
    APPLY = "apply"
    RESTART = "restart"
    "Some keys are taken only when a daemon starts again: the first application among them."


class StepState(StrEnum):
    """How far a step is."""

    DONE = "done"
    NEXT = "next"
    "The first one that is not done."
    LATER = "later"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupProgress:
    """What is known of the way."""

    overview: FarmOverview
    farm: FarmFile | None
    "By the draft, else by what is in force; None where there is no revision or the draft cannot be read."
    has_revision: bool
    has_draft: bool
    files: Collection[str] = ()
    "The names of the files of the draft."
    waiting: tuple[str, ...] = ()
    "Keys that are in force and that a daemon takes when it starts again."

    @property
    def missing_scripts(self) -> tuple[str, ...]:
        """The files that the farm file names and that are not there."""
        if self.farm is None:
            return ()
        return tuple(dict.fromkeys(name for name in named_files(self.farm.parts).values() if name not in self.files))

    def is_done(self, step: SetupStep) -> bool:
        """Return whether a step is done."""
        match step:
            case SetupStep.NODES:
                return len(self.overview.nodes) > 1 and all(node.answers for node in self.overview.nodes)
            case SetupStep.REVISION:
                return self.has_revision
            case SetupStep.APPLICATION:
                return self.farm is not None and bool(self.farm.application or self.farm.check)
            case SetupStep.CLIENTS:
                # Behind a balancer there is nothing to set: the health URL is there.
                return self.is_done(SetupStep.APPLICATION)
            case SetupStep.CHECKS:
                return self.farm is not None and bool(self.farm.check)
            case SetupStep.SCRIPTS:
                return self.is_done(SetupStep.APPLICATION) and not self.missing_scripts
            case SetupStep.APPLY:
                return self.is_done(SetupStep.APPLICATION) and not self.has_draft
            case SetupStep.RESTART:
                return self.is_done(SetupStep.APPLY) and not self.waiting
            case _:
                assert_never(step)

    def states(self) -> Mapping[SetupStep, StepState]:
        """Return the state of each step, in their order."""
        found: dict[SetupStep, StepState] = {}
        for step in SetupStep:
            if self.is_done(step):
                found[step] = StepState.DONE
            else:
                found[step] = StepState.LATER if StepState.NEXT in found.values() else StepState.NEXT
        return found
