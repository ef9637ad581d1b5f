"""What systemd is asked for scripts to run in units of their own: the command lines, and what its answers mean.

Under systemd the daemon lives in a sandbox, and all that is in its control group ends with it. The application must be
in neither. So each run of a script is a transient service (systemd-run(1)) whose main process is the run's keeper: the
unit lives exactly as long as the processes in it. The keeper is told its job, and tells how the script ended, over one
connection to a unix socket of the daemon, which systemd makes for it as standard input and output (systemd.exec(5),
StandardInput=file:).
"""

import re
from collections.abc import Mapping, Sequence

from hcsidecar.core.application.runs import began_and_script

STOP_SECONDS = 5
"From SIGTERM to SIGKILL when a unit is stopped."

_OWN_UNIT = re.compile(r"/([^/]+\.service)$", re.MULTILINE)


def is_started_by_systemd(environment: Mapping[str, str], *, pid: int) -> bool:
    """Tell whether systemd has started this process itself.

    A shell in a terminal has INVOCATION_ID too, since it descends from some unit; hence the process id, which systemd
    tells since version 248 (systemd.exec(5)).
    """
    return bool(environment.get("INVOCATION_ID")) and environment.get("SYSTEMD_EXEC_PID", str(pid)) == str(pid)


def is_users_manager(environment: Mapping[str, str]) -> bool:
    """Tell whether it was a user's systemd, which knows other units than the system's."""
    return "MANAGERPID" in environment


def own_unit(control_groups: str) -> str | None:
    """Give the unit that a process is in, by its /proc/PID/cgroup."""
    found = _OWN_UNIT.findall(control_groups)
    return found[-1] if found else None


def unit_name(farm: str, node: str, run: str) -> str:
    """Name the unit of a run: no run has had the name before, for it begins with the time."""
    began, script = began_and_script(run)
    return f"hcsidecar-{farm}-{node}-{script}-{began}.service"


def start_command(
    unit: str, *, run: str, socket: str, command: Sequence[str], own: str | None, is_start: bool, is_users: bool
) -> list[str]:
    """Give the command that starts the keeper `command` in a unit, and returns when it has been started."""
    properties = [
        f"StandardInput=file:{socket}",
        # The same path: systemd makes one connection, and uses it for both.
        f"StandardOutput=file:{socket}",
        "StandardError=journal",
        f"TimeoutStopSec={STOP_SECONDS}",
        # That the kernel killed one of its processes for want of memory is for the checks to judge.
        "OOMPolicy=continue",
    ]
    if not is_start:
        # Else systemd would refuse to run the stop script while the machine shuts down.
        properties.append("DefaultDependencies=no")
    elif own is not None:
        # At shutdown units end in the opposite order: the daemon drains and stops the application first.
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
        # systemd puts variables in the place of what looks like one.
        *(word.replace("$", "$$") for word in command),
    ]


def stop_command(units: Sequence[str], *, is_users: bool) -> list[str]:
    """Give the command that ends all processes of units, and returns when they are gone."""
    return _systemctl("stop", is_users=is_users, options=[], units=units)


def kill_command(unit: str, signal: str, *, is_users: bool) -> list[str]:
    """Give the command that sends a signal to all processes of a unit."""
    return _systemctl("kill", is_users=is_users, options=[f"--signal={signal}"], units=[unit])


def show_command(units: Sequence[str], *, is_users: bool) -> list[str]:
    """Give the command that asks for what `control_groups` reads."""
    options = ["--property=Id", "--property=ActiveState", "--property=ControlGroup"]
    return _systemctl("show", is_users=is_users, options=options, units=units)


def control_groups(answer: str) -> dict[str, str]:
    """Read the answer: the path of the control group of every unit that lives."""
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
