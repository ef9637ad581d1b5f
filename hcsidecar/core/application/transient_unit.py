"""The commands to systemd that run each script in its own unit, and the meaning of the answers.

Under systemd, the daemon runs in a sandbox, and everything in its control group ends with it. The application must be
outside both. So each run of a script is a transient service (systemd-run(1)) whose main process is the keeper of the
run; the unit lives exactly as long as the processes in it. The keeper gets its job and reports how the script ended
over one connection to a unix socket of the daemon. systemd opens this connection as its standard input and output
(systemd.exec(5), StandardInput=file:).
"""

import re
from collections.abc import Mapping, Sequence

from hcsidecar.core.application.runs import parse_run_name

STOP_SECONDS = 5
"Seconds from SIGTERM to SIGKILL when a unit is stopped."

_OWN_UNIT = re.compile(r"/([^/]+\.service)$", re.MULTILINE)


def is_started_by_systemd(environment: Mapping[str, str], *, pid: int) -> bool:
    """Return whether systemd has started this process itself.

    A shell in a terminal also has INVOCATION_ID, since it descends from some unit. The process id in SYSTEMD_EXEC_PID
    tells the two apart; systemd sets it since version 248 (systemd.exec(5)).
    """
    return bool(environment.get("INVOCATION_ID")) and environment.get("SYSTEMD_EXEC_PID", str(pid)) == str(pid)


def is_users_manager(environment: Mapping[str, str]) -> bool:
    """Return whether this process was started by a user's systemd, which has other units than the system's."""
    return "MANAGERPID" in environment


def own_unit(control_groups: str) -> str | None:
    """Return the unit that contains a process, from its /proc/PID/cgroup; None if there is none."""
    found = _OWN_UNIT.findall(control_groups)
    return found[-1] if found else None


def unit_name(farm: str, node: str, run: str) -> str:
    """Return the unit name of a run. It contains the start time, so no earlier run has had it."""
    name = parse_run_name(run)
    return f"hcsidecar-{farm}-{node}-{name.script}-{name.began}.service"


def start_command(
    unit: str, *, run: str, socket: str, command: Sequence[str], own: str | None, is_start: bool, is_users: bool
) -> list[str]:
    """Return the command that starts the keeper `command` in a unit, and ends once it has been started."""
    properties = [
        f"StandardInput=file:{socket}",
        # With the same path, systemd opens one connection and uses it for both.
        f"StandardOutput=file:{socket}",
        "StandardError=journal",
        f"TimeoutStopSec={STOP_SECONDS}",
        # If the kernel kills a process because memory runs out, the checks decide what that means.
        "OOMPolicy=continue",
    ]
    if not is_start:
        # Otherwise systemd would refuse to run the stop script while the machine shuts down.
        properties.append("DefaultDependencies=no")
    elif own is not None:
        # At shutdown, units end in the reverse order: the daemon drains and stops the application first.
        properties.append(f"Before={own}")
    return [
        "systemd-run",
        *(["--user"] if is_users else []),
        "--quiet",
        "--collect",
        "--no-ask-password",
        "--service-type=exec",
        f"--unit={unit}",
        f"--description=hcsidecar: {run}",
        *(f"--property={each}" for each in properties),
        "--",
        # systemd expands what looks like a variable.
        *(word.replace("$", "$$") for word in command),
    ]


def stop_command(units: Sequence[str], *, is_users: bool) -> list[str]:
    """Return the command that ends all processes of units, and ends once they are gone."""
    return _systemctl("stop", is_users=is_users, options=[], units=units)


def kill_command(unit: str, signal: str, *, is_users: bool) -> list[str]:
    """Return the command that sends a signal to all processes of a unit."""
    return _systemctl("kill", is_users=is_users, options=[f"--signal={signal}"], units=[unit])


def show_command(units: Sequence[str], *, is_users: bool) -> list[str]:
    """Return the command whose output `control_groups` parses."""
    options = ["--property=Id", "--property=ActiveState", "--property=ControlGroup"]
    return _systemctl("show", is_users=is_users, options=options, units=units)


def control_groups(answer: str) -> dict[str, str]:
    """Return the path of the control group of every living unit, from the output of `show_command`."""
    found = {}
    for paragraph in answer.split("\n\n"):
        properties = dict(line.partition("=")[::2] for line in paragraph.splitlines())
        alive = properties.get("ActiveState") in ("active", "activating", "deactivating")
        if alive and properties.get("ControlGroup"):
            found[properties["Id"]] = properties["ControlGroup"]
    return found


def _systemctl(verb: str, *, is_users: bool, options: Sequence[str], units: Sequence[str]) -> list[str]:
    manager = ["--user"] if is_users else []
    return ["systemctl", *manager, "--no-ask-password", verb, *options, "--", *units]
