"""The systemd units of script runs: decides whether to use them, and starts, examines and ends them."""

import contextlib
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from hcsidecar.application.keeper_launch import COMMAND, KeeperError, ask_systemd
from hcsidecar.core.application import transient_unit
from hcsidecar.core.application.leftover_processes import KeeperRecord
from hcsidecar.core.application.runs import is_start

_OWN_GROUPS: Final = Path("/proc/self/cgroup")
_HIERARCHIES: Final = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup/unified"))
"The directories in which the control groups of units may be: cgroup v2, v1, and both together."


class Units:
    """The units of one node's runs. What asks systemd blocks, and belongs into a thread."""

    def __init__(
        self, environment: Mapping[str, str], *, farm: str, node: str, directory: Path, wanted: bool | None
    ) -> None:
        """Use units if `wanted`, or if it is None and systemd started this process. Sockets go to `directory`."""
        started = transient_unit.is_started_by_systemd(environment, pid=os.getpid())
        self._wanted = started if wanted is None else wanted
        self._is_users = transient_unit.is_users_manager(environment)
        self._farm = farm
        self._node = node
        self._directory = directory
        self._own: str | None = None
        with contextlib.suppress(OSError):
            self._own = transient_unit.own_unit(_OWN_GROUPS.read_text())

    def name(self, run: str) -> str:
        """Return the name of a run's unit."""
        return transient_unit.unit_name(self._farm, self._node, run)

    def socket(self, run: str) -> Path:
        """Return the path of the socket for a run's keeper: short, because the length of such paths is limited."""
        return self._directory / f"{run[9:19]}.run"

    def start_command(self, run: str) -> list[str] | None:
        """Return the command that starts a run's keeper in a unit; None if units are not used."""
        if not self._wanted:
            return None
        return transient_unit.start_command(
            self.name(run),
            run=run,
            socket=str(self.socket(run)),
            command=COMMAND,
            own=self._own,
            is_start=is_start(run),
            is_users=self._is_users,
        )

    def kill(self, unit: str, signal: str) -> None:
        """Send a signal to all processes of a unit, if it still exists."""
        with contextlib.suppress(KeeperError):
            ask_systemd(transient_unit.kill_command(unit, signal, is_users=self._is_users))

    def stop(self, records: Collection[KeeperRecord]) -> None:
        """End all processes in the units of runs; call `processes` to see whether that worked."""
        if units := list(self._living(records)):
            with contextlib.suppress(KeeperError):
                ask_systemd(transient_unit.stop_command(units, is_users=self._is_users))

    def processes(self, records: Collection[KeeperRecord]) -> set[int]:
        """Return the ids of all processes in the units of runs, without the keepers.

        They are read from the control groups, because a sandbox may hide other processes.
        """
        keepers = {record.keeper for record in records}
        return {pid for group in self._living(records).values() for pid in _members(group)} - keepers

    def _living(self, records: Collection[KeeperRecord]) -> dict[str, str]:
        units = [record.unit for record in records if record.unit]
        if not units:
            return {}
        try:
            answer = ask_systemd(transient_unit.show_command(units, is_users=self._is_users))
        except KeeperError:
            return {}
        return transient_unit.control_groups(answer)


def _members(group: str) -> list[int]:
    for hierarchy in _HIERARCHIES:
        with contextlib.suppress(OSError, ValueError):
            return [int(line) for line in (hierarchy / group.lstrip("/") / "cgroup.procs").read_text().split()]
    return []
