"""TLS of one node by the farm's own authority: has the certificate made and renewed, and holds the TLS contexts."""

import asyncio
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from hcsidecar.core.events import Event, Level
from hcsidecar.core.joining.certificates import CertificateReport
from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.core.lost_files import Stamp
from hcsidecar.farmfile.certificate_files import AuthorityFiles, node_certificate
from hcsidecar.system.blocking_calls import BlockingCalls
from hcsidecar.system.private_file import stamp
from hcsidecar.system.threads import NoThreadError

COMMAND: Final = (sys.executable, "-P", "-X", "no_debug_ranges", "-m", "hcsidecar.joining.issuing")
INTERVAL: Final = 2.0
"Seconds between two looks at the files of the authority."
LOOK_AGAIN: Final = 6 * 3600.0
"Seconds after which the age of the certificate is looked at again."
AFTER_FAILURE: Final = 60.0
"Seconds after which it is tried again to make a certificate."
CLOCK_JUMP: Final = 3600.0
"Seconds by which the wall clock must jump so that the age is looked at at once."
_TAKES: Final = 60.0
"Seconds that the program may take on a busy machine."


NO_AUTHORITY: Final = "this farm has no certificate authority: hcsidecar ca new makes one"


class PeerCertificate(NamedTuple):
    """The certificate of this farm's authority that a client has shown."""

    node: str
    "The name of the node that it was made for."
    fingerprint: str
    "Its SHA-256, in hexadecimal digits."


class _State(NamedTuple):
    """What the certificate depends on."""

    authority: tuple[Stamp | None, Stamp | None]
    node: str
    addresses: tuple[str, ...]


class NodeTls:
    """The certificate of a node, and the contexts with which it speaks TLS, which may change.

    A farm without a certificate authority has none of it. `identity` returns name and addresses of the node, `tell`
    takes the events for the operator. `wall_clock` and `clock` return seconds.
    """

    def __init__(
        self,
        *,
        key_file: Path,
        state_dir: Path,
        identity: Callable[[], tuple[str, Collection[str]]],
        tell: Callable[[Event], object],
        command: Sequence[str] = COMMAND,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.files = AuthorityFiles.beside(key_file)
        self.report: CertificateReport | None = None
        "None while there is no certificate."
        self.server: ssl.SSLContext | None = None
        "For clients that speak TLS with this node; a certificate of theirs is asked for, and not needed."
        self._key_file, self._state_dir = key_file, state_dir
        self._identity = identity
        self._tell = tell
        self._command = command
        self._wall_clock, self._clock = wall_clock, clock
        self._calls = BlockingCalls("certificate")
        self._seen: _State | None = None
        self._due = 0.0
        self._offset = 0.0
        self._complaint = ""
        self._changed = asyncio.Event()

    @property
    def client(self) -> ssl.SSLContext | None:
        """A new context for connections to other nodes; None while there is no certificate.

        It shows this node's certificate, and believes only those of the farm. The name to ask for is `SERVER_NAME`.
        """
        # Made when it is needed, because it takes memory and is rarely needed.
        return None if self.report is None else self._own(client_context(self.report.authority))

    @property
    def has_authority(self) -> bool:
        """Whether the files of the farm's authority are there."""
        return self.files.certificate.exists() and self.files.key.exists()

    def why_none(self, node: str) -> str:
        """Return why this node has no certificate, and what to do."""
        return f"{node} has no certificate yet; its log says why" if self.has_authority else NO_AUTHORITY

    def _own(self, context: ssl.SSLContext) -> ssl.SSLContext:
        context.load_cert_chain(node_certificate(self._state_dir))
        return context

    async def run(self) -> None:
        """Keep the certificate until cancelled."""
        while True:
            await self.look()
            try:
                async with asyncio.timeout(INTERVAL):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()

    def look_now(self) -> None:
        """Look at the files at once, because they have just been written."""
        self._seen = None
        self._changed.set()

    async def look(self) -> None:
        """Make the certificate if it is time, or if what it depends on has changed."""
        state = self._state()
        now, offset = self._clock(), self._wall_clock() - self._clock()
        if state == self._seen and now < self._due and abs(offset - self._offset) < CLOCK_JUMP:
            return
        self._seen, self._due, self._offset = state, now + LOOK_AGAIN, offset
        if state.authority == (None, None):
            self.report = self.server = None
            return
        report = await self._made(state)
        if not report.problem:
            try:
                self._use(report)
            except (OSError, ValueError) as error:
                report = CertificateReport(problem=f"{node_certificate(self._state_dir)} cannot be used: {error}")
        if report.problem:
            self._due = now + AFTER_FAILURE
            self._complain(report)
        elif report.made:
            made = f"made a certificate for this node, good until {report.ends}: {report.made}"
            self._tell(Event(level=Level.INFO, origin="certificate", message=made))
        self._complaint = report.problem

    def _complain(self, report: CertificateReport) -> None:
        if report.problem != self._complaint:
            message = f"no certificate for this node: {report.problem}"
            self._tell(Event(level=Level.WARNING, origin="certificate", message=message))

    def _state(self) -> _State:
        node, addresses = self._identity()
        return _State((stamp(self.files.certificate), stamp(self.files.key)), node, tuple(addresses))

    async def _made(self, state: _State) -> CertificateReport:
        words = [*self._command, str(self._key_file), str(self._state_dir), state.node, *state.addresses]
        try:
            return await self._calls.run_in_turn(lambda: _said(words))
        except NoThreadError as error:
            return CertificateReport(problem=error.strerror or "no thread can be started")

    def _use(self, report: CertificateReport) -> None:
        """Speak TLS with the certificate on the disk from now on. Raise OSError or ValueError if it cannot be used."""
        self.server = self._own(server_context(report.authority))
        self.report = report


def server_context(authority: str) -> ssl.SSLContext:
    """Return a context that asks clients for a certificate of this authority (PEM), and serves those without as well.

    It has no certificate of its own yet. Raise ValueError or OSError if the authority is none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=authority)
    context.verify_mode = ssl.CERT_OPTIONAL
    # Each connection is a new one, and a session that is resumed shows no certificate.
    context.num_tickets = 0
    return context


def client_context(authority: str) -> ssl.SSLContext:
    """Return a context that believes only nodes with a certificate of this authority (PEM), by `SERVER_NAME`.

    Raise ValueError or OSError if the authority is none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=authority)
    return context


def peer_certificate(transport: asyncio.BaseTransport | None) -> PeerCertificate | None:
    """Return the certificate that the other end of a connection has shown, None if none; TLS has verified it."""
    connection = None if transport is None else transport.get_extra_info("ssl_object")
    if connection is None:
        return None
    shown, content = connection.getpeercert(), connection.getpeercert(binary_form=True)
    if not shown or not content:
        return None
    from hashlib import sha256  # noqa: PLC0415 - for nodes only

    names = [value for part in shown.get("subject", ()) for key, value in part if key == "commonName"]
    return PeerCertificate(node=names[0] if names else "", fingerprint=sha256(content).hexdigest())


def _said(words: Sequence[str]) -> CertificateReport:
    try:
        done = subprocess.run(  # noqa: S603 - our own
            words, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TAKES, check=False
        )
    except subprocess.TimeoutExpired:
        return CertificateReport(problem=f"it was not made within {_TAKES:g} s")
    except OSError as error:
        return CertificateReport(problem=f"{words[0]} cannot be started: {error.strerror}")
    try:
        return read_json(done.stdout, CertificateReport)
    except JsonError:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        return CertificateReport(problem=f"making it failed: {last or f'status {done.returncode}'}")
