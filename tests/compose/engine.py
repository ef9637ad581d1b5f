"""A container engine to test with: the one that runs, else one of our own; and the base image, else a stand-in for it.

Where no registry can be reached the base image is made by debootstrap, under a name of its own.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

BASE = "debian:bookworm-slim"
STAND_IN = "hcsidecar-test-base"
PULL_LIMIT = 60
"Seconds until a registry counts as out of reach."
START_LIMIT = 60
_BUILT_IN_CHAINS = {"filter": ("INPUT", "FORWARD", "OUTPUT"), "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING")}
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


class NoEngineError(Exception):
    """No engine can run here: why."""


def ask(*command, limit=120, environment=os.environ, text=None):
    """Run a command to its end and give what it said; the test fails if it fails."""
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=limit, env=environment, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def runs(*command, limit=60, environment=os.environ):
    """Say whether a command is there and succeeds within its limit."""
    try:
        subprocess.run(command, capture_output=True, timeout=limit, env=environment, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


@contextmanager
def engine() -> Iterator[dict[str, str]]:
    """Give the environment in which `docker` finds an engine; one that is started here ends with the test."""
    if shutil.which("docker") is None:
        raise NoEngineError("there is no docker; as root `make compose-test` installs it")
    if runs("docker", "info"):
        yield dict(os.environ)
        return
    if os.geteuid() != 0:
        raise NoEngineError("no docker engine answers this user, and only root can start one")
    if shutil.which("dockerd") is None:
        raise NoEngineError("no docker engine answers, and there is no dockerd; `make compose-test` installs it")
    with _own_engine() as environment:
        yield environment


@contextmanager
def _own_engine() -> Iterator[dict[str, str]]:
    directory = Path(tempfile.mkdtemp(prefix="hcsidecar-engine-", dir="/var/tmp"))
    socket = f"unix://{directory}/docker.sock"
    environment = {**os.environ, "DOCKER_HOST": socket}
    before = _network()
    with (directory / "log").open("wb") as log:
        places = {"data-root": directory / "data", "exec-root": directory / "exec", "pidfile": directory / "pid"}
        places["host"] = socket
        options = [word for name, place in places.items() for word in (f"--{name}", str(place))]
        daemon = subprocess.Popen(["dockerd", *options], stdout=log, stderr=log)
    try:
        give_up = monotonic() + START_LIMIT
        while not runs("docker", "info", environment=environment):
            if daemon.poll() is not None or monotonic() > give_up:
                last = (directory / "log").read_text().rstrip().rpartition("\n")[2]
                raise NoEngineError(f"dockerd does not start here: {last}")
            sleep(0.2)
        yield environment
    finally:
        daemon.terminate()
        try:
            daemon.wait(timeout=60)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
        _restore_network(before)
        # It mounts its data on itself, and leaves that when it does not get far.
        runs("umount", "--recursive", str(directory / "data"))
        shutil.rmtree(directory, ignore_errors=True)


def _network():
    tables = {table: ask("iptables-save", "-t", table) for table in _BUILT_IN_CHAINS}
    return tables, _FORWARDING.read_text(), runs("ip", "link", "show", "docker0")


def _restore_network(before):
    """Take away what an engine leaves in this machine's network when it ends."""
    tables, forwarding, had_bridge = before
    for table, chains in _BUILT_IN_CHAINS.items():
        empty = "".join(f":{chain} ACCEPT\n" for chain in chains)
        ask("iptables-restore", "-T", table, text=tables[table] or f"*{table}\n{empty}COMMIT\n")
    _FORWARDING.write_text(forwarding)
    if not had_bridge:
        runs("ip", "link", "delete", "docker0")


def compose_command(environment):
    """Give the words that start compose: the plugin of today, or the program of former days."""
    for words in (["docker", "compose"], ["docker-compose"]):
        if runs(*words, "version", environment=environment):
            return words
    raise NoEngineError("there is neither docker compose nor docker-compose")


def base_image(environment) -> str:
    """Give the name of a base image that is there or can be had."""
    for name in (BASE, STAND_IN):
        if runs("docker", "image", "inspect", name, environment=environment):
            return name
    if runs("docker", "pull", BASE, limit=PULL_LIMIT, environment=environment):
        return BASE
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        raise NoEngineError(f"{BASE} cannot be pulled, and only root with debootstrap can make a stand-in for it")
    root = Path(tempfile.mkdtemp(prefix="hcsidecar-base-", dir="/var/tmp"))
    try:
        ask("debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", str(root), limit=300)
        # A machine behind a mirror of its own has certificates for it, and a build wants them too.
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", root / "etc/ssl/certs/ca-certificates.crt")
        with subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE) as archive:
            subprocess.run(
                ["docker", "import", "-", STAND_IN],
                stdin=archive.stdout,
                env=environment,
                check=True,
                capture_output=True,
                timeout=120,
            )
    finally:
        shutil.rmtree(root)
    return STAND_IN


def inspect(environment, *names):
    """Give what the engine knows of containers or images."""
    return json.loads(ask("docker", "inspect", *names, environment=environment))
