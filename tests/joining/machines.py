"""Servers for tests of joining: network namespaces on one bridge, each with directories of its own."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from itertools import count

from daemons import UnixConnection, wait_for

_sites = count(1)


class Machine:
    """One server: an address in a network namespace, and its own configuration."""

    def __init__(self, directory, namespace, name, address):
        self.directory, self.namespace, self.name, self.address = directory / name, namespace, name, address
        self.state = directory / "state"
        self.config = self.directory / "etc" / "farm.toml"
        self.daemon = None
        self.directory.mkdir()

    def run(self, *command, timeout=120, text=None):
        """Run a command of hcsidecar on this server."""
        return subprocess.run(
            ["ip", "netns", "exec", self.namespace, sys.executable, "-m", "hcsidecar", *map(str, command)],
            capture_output=True,
            text=True,
            input=text,
            timeout=timeout,
            check=False,
        )

    def paste(self, line, *more):
        """Run a line that another server has printed, for the farm file of this one."""
        words = shlex.split(line)
        assert words[0] == "hcsidecar"
        return self.run(*words[1:], "--config", self.config, *more)

    def init(self, farm="apache", *more):
        """Make a new farm of this server alone, with its state in the directory of the test."""
        node = f"{self.name}={self.address}"
        done = self.run("init", self.config.parent, "--name", farm, "--node", node, *more)
        assert done.returncode == 0, done.stderr
        text = self.config.read_text()
        was = '#state_dir = "/var/lib/hcsidecar"  # example'
        assert was in text
        self.config.write_text(text.replace(was, f'state_dir = "{self.state}"'))
        return self

    def start(self):
        with (self.directory / "log").open("a") as log:
            self.daemon = subprocess.Popen(
                [
                    *["ip", "netns", "exec", self.namespace],
                    *[sys.executable, "-P", "-m", "hcsidecar.daemon.start", "--config", self.config],
                ],
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        return self

    def ready(self):
        wait_for(lambda: '"UP"' in self._status() and "READY=" not in self._status(), limit=30, what=f"{self.name} up")
        return self

    def certified(self):
        """Wait until the node has its certificate."""
        wait_for(lambda: "made a certificate for this node" in self.log(), limit=30, what="a certificate")
        return self

    def log(self):
        return (self.directory / "log").read_text()

    def _status(self):
        connection = UnixConnection(self.state / "apache" / self.name / "control.sock")
        try:
            connection.request("GET", "/api/v1/status")
            return connection.getresponse().read().decode()
        except OSError:
            return ""
        finally:
            connection.close()

    def view(self):
        status = self._status()
        return json.loads(status).get("view") if status else None

    def token(self, *arguments):
        """Give the line to paste on a new server."""
        done = self.run("token", *arguments, "--config", self.config)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def left(self):
        """Give what is in the directory of the farm file."""
        return sorted(path.name for path in self.config.parent.iterdir()) if self.config.parent.exists() else []

    def end(self):
        if self.daemon is not None and self.daemon.poll() is None:
            for _ in range(2):
                self.daemon.send_signal(signal.SIGTERM)
                time.sleep(0.1)
            try:
                self.daemon.wait(10)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
                self.daemon.wait(10)


@contextlib.contextmanager
def machines(directory, *names):
    """Make servers on one network, 192.0.2.11 and so on. At the end, end their daemons, and show logs on failure."""
    prefix = f"hcj{os.getpid()}-{next(_sites)}-"
    switch, made, found = f"{prefix}sw", [], []
    try:
        _ip("netns", "add", switch)
        made.append(switch)
        _ip("-n", switch, "link", "add", "br0", "type", "bridge")
        _ip("-n", switch, "link", "set", "br0", "up")
        for number, name in enumerate(names, start=11):
            namespace = prefix + name
            _ip("netns", "add", namespace)
            made.append(namespace)
            _ip("-n", namespace, "link", "add", "eth0", "type", "veth", "peer", "name", name, "netns", switch)
            _ip("-n", switch, "link", "set", name, "master", "br0", "up")
            _ip("-n", namespace, "addr", "add", f"192.0.2.{number}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                _ip("-n", namespace, "link", "set", link, "up")
            found.append(Machine(directory, namespace, name, f"192.0.2.{number}"))
        yield found
    except BaseException:
        for machine in found:
            if machine.daemon is not None:
                print(f"--- log of {machine.name}\n{machine.log()}")  # noqa: T201 - pytest shows it
        raise
    finally:
        for machine in found:
            machine.end()
        for namespace in made:
            _ip("netns", "delete", namespace)


def _ip(*words):
    subprocess.run(["ip", *words], check=True)
