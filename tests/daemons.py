"""Real farms of real daemons on this machine's loopback addresses, for tests of the whole."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from hcsidecar.net.keyring import Keyring


def wait_for(condition, *, limit=15.0, what="the condition"):
    """Poll until `condition()` is true; fail after `limit` seconds. Gives what the condition gave."""
    end = time.monotonic() + limit
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not come true within {limit} s"
        time.sleep(0.02)
    return found


def free_network():
    """Give a prefix 127.a.b. none of whose first addresses anybody uses on the ports of these tests."""
    for third in range(os.getpid() % 200, 250):
        try:
            for host in range(1, 6):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                    probe.bind((f"127.78.{third}.{host}", 4803))
        except OSError:
            continue
        return f"127.78.{third}."
    raise AssertionError("no free loopback network")


def fetch(url, *, method="GET", timeout=5):
    """Give status, headers (names in lower case) and body of a URL; status 0 when nobody answers."""
    request = urllib.request.Request(url, method=method)  # noqa: S310 - our own servers on loopback
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310
            return response.status, _lower(response.headers), response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _lower(error.headers), error.read().decode()
    except OSError:
        return 0, {}, ""


def _lower(headers):
    return {name.lower(): value for name, value in headers.items()}


def _bracketed(address):
    return f"[{address}]" if ":" in address else address


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket: quicker than a command line for what is asked a hundred times."""

    def __init__(self, path):
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(5)
        self.sock.connect(str(self._path))


class RealFarm:
    """A farm file in a directory, and the daemons that run from it."""

    def __init__(
        self,
        directory: Path,
        *,
        names=("web1", "web2", "web3"),
        extra="",
        preset="lan",
        prefix=None,
        netns=None,
        user=None,
    ):
        """`user` is the number of a user whom the daemons belong to, in a directory of his own."""
        self.directory = directory
        self.prefix = prefix or free_network()
        self._inside = ["ip", "netns", "exec", netns] if netns else []
        # The interpreter and this tree may be where only root may read.
        reads = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        chosen = [f"--reuid={user}", f"--regid={user}", "--clear-groups", *reads]
        self.as_user = [] if user is None else ["setpriv", *chosen]
        self._inside += self.as_user
        self.names = names
        self.config = directory / "farm.toml"
        self.addresses = {name: f"{self.prefix}{number}" for number, name in enumerate(names, start=1)}
        nodes = "".join(
            f'[[node]]\nname = "{name}"\naddress = "{address}"\nlisten = ["{_bracketed(address)}:9010"]\n'
            for name, address in self.addresses.items()
        )
        self.config.write_text(
            f'[farm]\nname = "apache"\nstate_dir = "{directory}/s"\n'
            f'{nodes}[heartbeat]\npreset = "{preset}"\n{extra.replace("@", self.prefix)}\n'
        )
        Keyring.create(directory / "farm.key", now=datetime.now(UTC)).write(replace=False)
        if user is not None:
            for path in (directory, *directory.iterdir()):
                os.chown(path, user, user)
        self.daemons = {}
        self._logs = {}

    def start(self, *names, named=True, options=()):
        """Start daemons; without `named` each finds out by its addresses who it is."""
        for name in names or self.names:
            log = (self.directory / f"{name}.log").open("a")
            self._logs[name] = Path(log.name)
            self.daemons[name] = subprocess.Popen(
                # What `hcsidecar run` becomes, at once.
                [
                    *self._inside,
                    *[sys.executable, "-P", "-m", "hcsidecar.daemon.start", "--config", self.config],
                    *(["--node", name] if named else []),
                    *options,
                ],
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
            log.close()
        return self

    def log(self, name):
        return self._logs[name].read_text()

    def url(self, name, path="/health"):
        return f"http://{_bracketed(self.addresses[name])}:9010{path}"

    def health(self, name):
        return fetch(self.url(name))[0]

    def cli(self, *arguments, node=None, timeout=60):
        chosen = ["--node", node] if node else []
        return subprocess.run(
            [
                *self._inside,
                sys.executable,
                "-m",
                "hcsidecar",
                arguments[0],
                "--config",
                self.config,
                *chosen,
                *arguments[1:],
            ],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def cli_beside(self, local, *arguments, node):
        """Give a command as on a machine where only the daemon of `local` runs."""
        beside = self.directory / "b"
        (beside / "apache").mkdir(parents=True)
        (beside / "apache" / local).symlink_to(self.socket(local).parent)
        config, ours = self.directory / "beside.toml", self.config
        config.write_text(ours.read_text().replace(f'"{self.directory}/s"', f'"{beside}"'))
        self.config = config
        try:
            return self.cli(*arguments, node=node)
        finally:
            self.config = ours

    def socket(self, name):
        return self.directory / "s" / "apache" / name / "control.sock"

    def status(self, name):
        connection = UnixConnection(self.socket(name))
        try:
            connection.request("GET", "/api/v1/status")
            response = connection.getresponse()
            return json.loads(response.read()) if response.status == 200 else None
        except OSError:
            return None
        finally:
            connection.close()

    def act(self, name, action):
        """Give an order through the control socket, and the answer to it at once."""
        connection = UnixConnection(self.socket(name))
        try:
            connection.request("POST", f"/api/v1/actions/{action}", b"{}")
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def view(self, name):
        status = self.status(name)
        return status["view"] if status else None

    def all_ready(self):
        wait_for(lambda: all(self.health(name) == 200 for name in self.daemons), what="every node Ready")
        wait_for(lambda: all(self.view(name) == sorted(self.daemons) for name in self.daemons), what="one view")
        return self

    def kill(self, name):
        daemon = self.daemons.pop(name)
        daemon.kill()
        daemon.wait(10)

    def end(self):
        """End all daemons gently, but without their drains, which a second SIGTERM ends."""
        for daemon in self.daemons.values():
            if daemon.poll() is None:
                daemon.send_signal(signal.SIGTERM)
                daemon.send_signal(signal.SIGCONT)
        end = time.monotonic() + 10
        while running := [daemon for daemon in self.daemons.values() if daemon.poll() is None]:
            for daemon in running:
                daemon.send_signal(signal.SIGTERM if time.monotonic() < end else signal.SIGKILL)
            time.sleep(0.1)


@contextmanager
def network_namespace(*addresses):
    """Make a network namespace whose loopback interface has these addresses; remove it at the end."""
    name = f"hcsidecar-test-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        for address in addresses:
            subprocess.run(["ip", "-n", name, "addr", "add", address, "dev", "lo", "nodad"], check=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


@contextmanager
def real_farm(directory, **more):
    """Make a farm; end all its daemons at the end, and show their logs when the test failed."""
    with ended(RealFarm(directory, **more)) as farm:
        yield farm


@contextmanager
def ended(farm):
    """End all daemons of a farm at the end, and show their logs when the test failed."""
    try:
        yield farm
    except BaseException:
        for name, path in farm._logs.items():
            print(f"--- log of {name}\n{path.read_text()}")  # noqa: T201 - pytest shows it
        raise
    finally:
        farm.end()
