"""The farm of docker-compose.yml as a test handles it: put up once, asked and disturbed, and taken away."""

import json
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from compose.engine import ask, inspect

ROOT = Path(__file__).parents[2]
PROBER = Path(__file__).with_name("prober.py")
PROJECT = "hcsidecar-test"
NODES = ("web1", "web2", "web3")
FARM = tuple(name for node in "123" for name in (f"web{node}", f"sidecar{node}"))
"The six containers."
VIP = "198.51.100.50:80"
HAPROXY = "198.51.100.20:8080"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One connection of a client: when it began, how many seconds it took, and who answered it within its limit."""

    began: float
    target: str
    took: float
    by: str | None


class Site:
    """The containers of one `docker compose up`."""

    def __init__(self, words, environment):
        self._words = words
        self.environment = environment

    def compose(self, *arguments, limit=300):
        files = ["--project-directory", str(ROOT), "--file", str(ROOT / "docker-compose.yml")]
        return ask(
            *self._words, "--project-name", PROJECT, *files, *arguments, limit=limit, environment=self.environment
        )

    def docker(self, *arguments, limit=60):
        return ask("docker", *arguments, limit=limit, environment=self.environment)

    def container(self, service):
        """Give the id of a service's container."""
        label = f"label=com.docker.compose.service={service}"
        ours = f"label=com.docker.compose.project={PROJECT}"
        return self.docker("ps", "--all", "--quiet", "--filter", ours, "--filter", label).strip()

    def inside(self, service, *command):
        return self.docker("exec", self.container(service), *command)

    def inspect(self, service):
        [told] = inspect(self.environment, self.container(service))
        return told

    def health(self, service):
        """Give what the engine says: starting, healthy, unhealthy, or its state if it does not run."""
        state = self.inspect(service)["State"]
        return state["Health"]["Status"] if state["Running"] else state["Status"]

    def status(self, service="sidecar1"):
        """Give the status document of the farm as one node sees it, or None while it says nothing."""
        command = ["docker", "exec", self.container(service), "hcsidecar", "status", "--json"]
        told = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        return json.loads(told.stdout) if told.stdout.startswith("{") else None

    def view(self, service="sidecar1"):
        """Give the names of the nodes that share the virtual IP, as one node sees it."""
        status = self.status(service)
        return [] if status is None else sorted(status["view"])

    def targets(self):
        """Give the addresses that are registered in the target group, with their state."""
        return dict(line.split(" ", 2)[::2] for line in self.inside("aws", "elb", "targets").splitlines())

    def be_whole(self):
        """Bring back what a test has stopped, and wait until all serve."""
        self.compose("up", "--detach")
        until(lambda: {self.health(name) for name in FARM} == {"healthy"}, what="all six containers healthy")
        for sidecar in ("sidecar1", "sidecar2", "sidecar3"):
            until(lambda seer=sidecar: self.view(seer) == list(NODES), what=f"{sidecar} sees all in the view")

    @contextmanager
    def probing(self, *, seconds, interval=0.02, limit=10.0):
        """Let a client in a container of its own connect to virtual IP and HAProxy; its answers are there at last."""
        image = self.inspect("sidecar1")["Image"]
        arguments = [str(seconds), str(interval), str(limit), VIP, HAPROXY]
        network = ["--network", f"{PROJECT}_farm", "--ip", "198.51.100.60"]
        command = [
            "docker",
            "run",
            "--rm",
            "--interactive",
            *network,
            "--entrypoint",
            "python3",
            image,
            "-",
            *arguments,
        ]
        answers = []
        with subprocess.Popen(
            command, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as client:
            client.stdin.write(PROBER.read_text())
            client.stdin.close()
            assert client.stdout.readline() == "begun\n"
            # Read along, that the pipe is never full.
            lines = []
            reading = threading.Thread(target=lambda: lines.extend(client.stdout))
            reading.start()
            yield answers
            reading.join(timeout=seconds + 60)
        assert client.returncode == 0
        for line in lines:
            began, target, took, by = json.loads(line)
            answers.append(Answer(began=began, target=target, took=took, by=by))


def until(condition, *, limit=90.0, what):
    """Wait until `condition()` is true; the test fails after `limit` seconds."""
    give_up = monotonic() + limit
    while not condition():
        assert monotonic() < give_up, f"within {limit} s it did not come true: {what}"
        sleep(0.1)


@contextmanager
def site(words, environment, base):
    """Build and put up the farm; afterwards nothing of it is left but images, for the next time."""
    farm = Site(words, {**environment, "BASE": base})
    farm.compose("down", "--volumes", "--timeout", "1")
    try:
        farm.compose("build", limit=400)
        farm.be_whole()
        yield farm
    finally:
        farm.compose("down", "--volumes", "--timeout", "1")
    ours = f"label=com.docker.compose.project={PROJECT}"
    left = [farm.docker(kind, "ls", "--quiet", "--filter", ours) for kind in ("container", "network", "volume")]
    assert left == ["", "", ""]
