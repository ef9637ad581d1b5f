"""What the API needs of the daemon behind it: the web side knows no daemon, and tests bring a small one."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol

from hcsidecar.core.documents import CommandResult, FarmStatus, RestartBudgetReport
from hcsidecar.core.farmfile.values import HostPort
from hcsidecar.core.l2_documents import LayerTwoCheck
from hcsidecar.core.metric_catalogue import Family
from hcsidecar.core.targets.documents import TargetStatus
from hcsidecar.events.journal import Journal
from l2mode.core.documents import ClientExplanation, LayerTwoReport


class NodeCommand(StrEnum):
    """What an operator may ask of a node's application."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"
    DRAIN = "drain"
    RESUME = "resume"
    LEAVE = "leave"


class ApplicationRequest(StrEnum):
    """What the application itself may ask for; each counts as a failure on the restart budget, but for a stop."""

    RESTART = "restart"
    "Its scripts only: stopped and started; `prestart` and `poststop` do not run."
    STOPSTART = "stopstart"
    "All of it, `prestart` and `poststop` included."
    STOP = "stop"
    WAIT = "wait"
    "Stop, and start when the `pre` checks pass."


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiAddress:
    """Where the API of a node is reached over TCP."""

    address: HostPort
    tls: bool = False


class Control(Protocol):
    """The daemon, as the API sees it. Everything but `act`, `request` and `l2_check` answers from memory."""

    @property
    def farm(self) -> str:
        """The farm's name."""

    @property
    def node(self) -> str:
        """This node's name."""

    @property
    def nodes(self) -> Mapping[str, ApiAddress]:
        """All nodes of the farm, this one included."""

    @property
    def vips(self) -> Collection[str]:
        """The farm's virtual IPs, in their usual form; none in a farm without [l2]."""

    @property
    def journal(self) -> Journal:
        """The events of this node."""

    @property
    def runs_directory(self) -> Path:
        """Where the output of each run of a script is a file; it need not be there."""

    def metrics(self) -> Sequence[Family]:
        """Give this node's metrics."""

    def status(self) -> FarmStatus:
        """Return the status document."""

    async def act(self, action: NodeCommand, *, force: bool, by: str) -> CommandResult:
        """Begin an action or say why not, at once; `by` says who asked, for the log."""

    async def request(self, action: ApplicationRequest, *, identity: str) -> CommandResult:
        """Begin what the application asks for itself, or say why not, at once; `identity` says which part of it.

        Unlike an operator's action it counts on the restart budget, and what is beyond that stops it for good.
        """

    def reported(self, name: str) -> Literal["up", "down", "init"] | None:
        """Give what a check says now: init while it has said nothing; None if the farm has no such check."""

    def report(self, name: str, value: Literal["up", "down"]) -> CommandResult:
        """Take what the program of a custom check says; refused for other checks, and for none."""

    def budget(self) -> RestartBudgetReport:
        """Give the restart budget."""

    def count_restart(self, *, identity: str) -> CommandResult:
        """Count a restart that the application has done by itself; refused when the budget is spent."""

    def reset_budget(self, *, by: str) -> CommandResult:
        """Begin to count anew."""

    def set_power(self, power: int | None, *, share: str | None, by: str) -> CommandResult:
        """Change this node's weight in a share group, or in all (None); power None goes back to the farm file's."""

    def targets(self) -> Sequence[TargetStatus]:
        """Say of each load balancer what this node is to be and is there."""

    def layer_two(self) -> LayerTwoReport | None:
        """Say what this node's filter does; None in a farm without [l2]."""

    def explain(self, address: str, *, port: int | None, vip: str | None) -> ClientExplanation | None:
        """Say who takes a client; None in a farm without [l2].

        Both addresses are in their usual form, the VIP is one of the farm's, and one of the client's family is meant.
        """

    async def l2_check(self) -> LayerTwoCheck | None:
        """Look at what this node needs of its machine and network; None in a farm without [l2].

        It takes less than `api.routes.CHECK_TAKES` seconds.
        """
