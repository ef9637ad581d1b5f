"""What the API needs of the daemon behind it, as a protocol: `api` imports no daemon, and tests provide a small one."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol

from hcsidecar.api.access import AccessControl
from hcsidecar.api.certificates import CertificatesControl
from hcsidecar.api.joining import Joining
from hcsidecar.api.keys import KeysControl
from hcsidecar.api.settings import SettingsControl
from hcsidecar.core.documents import ChecksReport, CommandResult, FarmStatus, NodeFacts, NodeSeries, RestartBudgetReport
from hcsidecar.core.farmfile.values import HostPort
from hcsidecar.core.l2_documents import LayerTwoCheck
from hcsidecar.core.metric_catalogue import Family
from hcsidecar.core.notify.documents import HandOverAnswer, ReceiverStatus
from hcsidecar.core.request_bodies import NotificationsBody
from hcsidecar.core.snapshot_contents import PackedParts
from hcsidecar.core.targets.documents import TargetStatus
from hcsidecar.events.journal import Journal
from l2mode.core.documents import ClientExplanation, LayerTwoReport


class NodeCommand(StrEnum):
    """The operator's commands to a node's application."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"
    DRAIN = "drain"
    RESUME = "resume"
    LEAVE = "leave"
    RESTART_DAEMON = "restart-daemon"
    "Drain, end the daemon and start it again in its place. The application goes on."


class ApplicationRequest(StrEnum):
    """The requests of the application itself. All but `stop` count as a failure on the restart budget."""

    RESTART = "restart"
    "Runs `stop` and `start` only, not `prestart` and `poststop`."
    STOPSTART = "stopstart"
    "Runs all scripts, with `prestart` and `poststop`."
    STOP = "stop"
    WAIT = "wait"
    "Stops, and starts when the `pre` checks pass."


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiAddress:
    """Where the API of a node is reached over TCP."""

    address: HostPort
    tls: bool = False
    later: "ApiAddress | None" = None
    "Where it is after that node's restart, if its settings have changed; it may have restarted already."


class NoSnapshotError(Exception):
    """Raised if a node cannot make a snapshot; the text is the reason."""


class Control(Protocol):
    """What the API needs of the daemon. All but `act`, `request`, `snapshot` and `l2_check` answer from memory."""

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
        """The farm's virtual IPs, in canonical form; none in a farm without [l2]."""

    @property
    def journal(self) -> Journal:
        """The events of this node."""

    @property
    def settings(self) -> SettingsControl:
        """The revisions of this node's settings."""

    @property
    def joining(self) -> Joining:
        """The tokens for new servers."""

    @property
    def access(self) -> AccessControl:
        """The users and API tokens."""

    @property
    def keys(self) -> KeysControl:
        """The keys of the farm, and their rotation."""

    @property
    def certificates(self) -> CertificatesControl:
        """The certificate of this node's console."""

    @property
    def runs_directory(self) -> Path:
        """The directory with a file of output for each run of a script. It may not exist."""

    def metrics(self) -> Sequence[Family]:
        """Return this node's metrics."""

    def status(self) -> FarmStatus:
        """Return the status document."""

    def facts(self) -> NodeFacts:
        """Return what the console needs to know of this node and its farm."""

    def checks(self) -> ChecksReport:
        """Return all checks of this node and their latest results."""

    def series(self) -> NodeSeries:
        """Return the samples of the last hour."""

    async def act(self, action: NodeCommand, *, force: bool, by: str) -> CommandResult:
        """Begin a command, or refuse it with a reason, without waiting; `by` is who gave it, for the log."""

    async def request(self, action: ApplicationRequest, *, identity: str) -> CommandResult:
        """Begin what the application requests, or refuse it with a reason, without waiting.

        `identity` names the part of the application that requests it. Unlike an operator's command, a request counts
        on the restart budget; one that exceeds the budget stops the application.
        """

    def reported(self, name: str) -> Literal["up", "down", "init"] | None:
        """Return the state of a check: "init" before its first result. None if the farm has no such check."""

    def report(self, name: str, value: Literal["up", "down"]) -> CommandResult:
        """Take a report for a custom check. Refused if there is no such check, or it is not a custom one."""

    def budget(self) -> RestartBudgetReport:
        """Return the restart budget."""

    def count_restart(self, *, identity: str) -> CommandResult:
        """Count a restart that the application did by itself. Refused if the budget is used up."""

    def reset_budget(self, *, by: str) -> CommandResult:
        """Set the count of restarts to 0."""

    def set_power(self, power: int | None, *, share: str | None, by: str) -> CommandResult:
        """Set this node's power in a share group, or in all (None); power None goes back to the farm file's."""

    def targets(self) -> Sequence[TargetStatus]:
        """Return, for each load balancer, what this node is to be there and what it is."""

    def notifications(self) -> Sequence[ReceiverStatus]:
        """Return the state of each receiver of notifications on this node."""

    def take_notifications(self, body: NotificationsBody) -> HandOverAnswer | None:
        """Take what another node hands over, to be sent; None if this node has no such receiver."""

    def layer_two(self) -> LayerTwoReport | None:
        """Return the state of this node's layer-2 mode; None in a farm without [l2]."""

    def explain(self, address: str, *, port: int | None, vip: str | None) -> ClientExplanation | None:
        """Return which node takes a client; None in a farm without [l2].

        Both addresses are in canonical form. `vip` is one of the farm's, of the client's family; None means all.
        """

    async def snapshot(self, *, since: int, room: int) -> PackedParts:
        """Return the support snapshot of this node, made by a process of its own; see `core.snapshot_contents`.

        `since` is in seconds since 1970, `room` in bytes. Takes less than `api.routes.SNAPSHOT_TAKES` seconds. Raise
        NoSnapshotError if there is none.
        """

    async def l2_check(self) -> LayerTwoCheck | None:
        """Check this machine and query its network for the virtual IPs; None in a farm without [l2].

        Takes less than `api.routes.CHECK_TAKES` seconds.
        """
