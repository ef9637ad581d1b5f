"""Consoles as processes of their own, before real daemons."""

import contextlib
import http.client
import json
import signal
import ssl
import subprocess
import sys

from daemons import wait_for
from own_directories import SeparateFarm


class Console:
    """A console process, and a program with a token that asks it."""

    def __init__(self, farm, node, *arguments):
        self.log = farm.directory / f"console-{node}.log"
        socket = farm.socket(node).with_name("console.sock")
        wait_for(socket.exists, what="the socket for the console")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    *[sys.executable, "-P", "-m", "hcsidecar.console.start", "--socket", socket],
                    *["--listen", "127.0.0.1:0", *arguments],
                ],
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        self.tls = "--http" not in arguments
        line = wait_for(lambda: [line for line in self.log.read_text().splitlines() if "://" in line], limit=60)[0]
        self.port = int(line.rpartition(":")[2])
        self.token = ""

    def url(self, path=""):
        """Give an address of a page, or the origin of all."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}{path}"

    def ask(self, method, path, body=None, *, token=None, timeout=30):
        if self.tls:
            unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=unverified)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            headers = {"Authorization": f"Bearer {token or self.token}"}
            headers |= {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, f"/api/v1{path}", None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            content = response.read()
            return response.status, json.loads(content)

    def farm(self):
        return {node["name"]: node for node in self.ask("GET", "/farm")[1]["nodes"]}

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)


def command(farm, node, *arguments):
    config = farm.farm_file(node) if isinstance(farm, SeparateFarm) else farm.config
    return subprocess.run(
        [sys.executable, "-m", "hcsidecar", *arguments, "--config", config, "--node", node],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@contextlib.contextmanager
def console_of(farm, node, *arguments):
    console = Console(farm, node, *(arguments or ["--http"]))
    try:
        if not hasattr(farm, "token"):
            made = command(farm, node, "api-token", "add", "test", "--role", "admin", "--json")
            assert made.returncode == 0, made.stderr
            farm.token = json.loads(made.stdout)["token"]
        console.token = farm.token
        yield console
    finally:
        console.end()
