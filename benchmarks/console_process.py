"""A console before a node of a farm of real daemons, in a process of its own, with a user who is signed in."""

import base64
import contextlib
import http.client
import json
import secrets
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate

from benchmarks.figures import CannotMeasureError
from benchmarks.processes import end, start
from benchmarks.real_farm import FARM, RealFarm
from benchmarks.wire import run
from hcsidecar.core.console.openapi import COOKIE

PORT: Final = 9453
LIMIT: Final = 60.0
"Seconds that any step may take."


class Console:
    """The console of one node; others reach it from the farm's observer, as browsers do, over TLS."""

    def __init__(self, farm: RealFarm, node: str) -> None:
        self.farm, self.node, self.address = farm, node, farm.addresses[node]
        self.url = f"https://{self.address}:{PORT}"
        self._certificate, self._key = farm.directory / "console.pem", farm.directory / "console.key"
        run(
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"),
            *("-subj", "/CN=console", "-addext", f"subjectAltName=IP:{self.address}", "-days", "2"),
            *("-keyout", str(self._key), "-out", str(self._certificate)),
        )
        self._started: subprocess.Popen[bytes] | None = None
        self.token = self.session = ""
        "What a program shows, and the cookie of a person."

    @property
    def pid(self) -> int:
        """Of its process, while it runs."""
        assert self._started is not None  # noqa: S101 - who asks has started it
        return self._started.pid

    @property
    def key_hash(self) -> str:
        """Of its public key, by which a browser takes the certificate for a good one."""
        certificate = load_pem_x509_certificate(self._certificate.read_bytes())
        shown = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(sha256(shown).digest()).decode()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        socket = self.farm.directory / "s" / FARM / self.node / "console.sock"
        command = (sys.executable, "-P", "-m", "hcsidecar.console.start", "--socket", str(socket))
        where = ("--listen", f"{self.address}:{PORT}", "--certificate", str(self._certificate), "--key", str(self._key))
        log = self.farm.directory / "console.log"
        with log.open("ab") as output:
            self._started = start(*self.farm.homes[self.node].command(*command, *where), output=output)
        until = time.monotonic() + LIMIT
        while self._started.poll() is None and time.monotonic() < until:
            with contextlib.suppress(OSError):
                self.ask("GET", "/openapi.json")
                return
            time.sleep(0.05)
        raise CannotMeasureError(f"the console does not answer; it said: {_tail(log)}")

    def stop(self) -> None:
        """End it. Safe to repeat."""
        if self._started is not None:
            end(self._started)

    def sign_in(self) -> None:
        """Make a token and a user with the role admin, and let him sign in."""
        config = str(self.farm.config)
        made = self.farm.homes[self.node].run(
            *(sys.executable, "-m", "hcsidecar", "api-token", "add", "bench", "--role", "admin", "--json"),
            *("--config", config, "--node", self.node),
        )
        self.token = str(json.loads(made)["token"])
        person = {"name": "bench", "password": secrets.token_urlsafe(16)}
        self.ask("POST", "/access/users", person | {"role": "admin"})
        _, headers = self.ask("POST", "/session", person)
        self.session = headers["Set-Cookie"].partition(";")[0].removeprefix(f"{COOKIE}=")

    def ask(self, method: str, path: str, body: object = None) -> tuple[Any, http.client.HTTPMessage]:
        """Ask as the program with the token; return the document and the headers of the answer."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self.token and path != "/session":
            headers["Authorization"] = f"Bearer {self.token}"
        with contextlib.closing(self.connection()) as connection:
            connection.request(method, f"/api/v1{path}", None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status >= http.HTTPStatus.BAD_REQUEST:
                raise CannotMeasureError(f"{method} {path}: {answer.status} {text.decode()}")
            return json.loads(text), answer.headers

    def connection(self, *, patience: float = 10.0) -> http.client.HTTPSConnection:
        """Open a connection from the observer's namespace, for as many requests as one likes."""
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(self.address, PORT, timeout=patience, context=unverified)
        with self.farm.observer.entered():
            connection.connect()
        return connection

    @property
    def cookie(self) -> dict[str, str]:
        """The header of a browser whose user is signed in."""
        return {"Cookie": f"{COOKIE}={self.session}"}


@contextlib.contextmanager
def console_of(farm: RealFarm, node: str) -> Iterator[Console]:
    """Start the console of a node that runs; end it with the block."""
    console = Console(farm, node)
    try:
        console.start()
        yield console
    finally:
        console.stop()


def _tail(log: Path) -> str:
    lines = log.read_text().splitlines()
    return lines[-1] if lines else "nothing"
