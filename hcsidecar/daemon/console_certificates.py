"""Has certificates made for the console of this node: implements `api.certificates.CertificatesControl`."""

import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Final

from hcsidecar.api.farm import RefusedRequests
from hcsidecar.core.events import Event, Level
from hcsidecar.core.joining.console_certificate import (
    ConsoleCertificateAnswer,
    ConsoleCertificateTerms,
    ConsoleRequestBody,
    IssuingRate,
    console_names,
)
from hcsidecar.core.joining.nonces import Nonces
from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.daemon.reconfiguration import SettingsInForce
from hcsidecar.joining.node_tls import NodeTls
from hcsidecar.system.blocking_calls import BlockingCalls, BusyError
from hcsidecar.system.threads import NoThreadError

COMMAND: Final = (sys.executable, "-P", "-X", "no_debug_ranges", "-m", "hcsidecar.joining.console_issuing")
_TAKES: Final = 60.0
"Seconds that the program may take on a busy machine."


class ConsoleCertificates:
    """The certificates for the console of one node; `clock` is monotonic, `tell` takes the events."""

    def __init__(
        self,
        *,
        settings: SettingsInForce,
        tls: NodeTls,
        tell: Callable[[Event], object],
        clock: Callable[[], float],
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._settings = settings
        self._tls = tls
        self._tell = tell
        self._clock = clock
        self._command = command
        self._nonces = Nonces()
        self._rate = IssuingRate()
        self._calls = BlockingCalls("console certificate")
        self._refused = RefusedRequests()

    def terms(self) -> ConsoleCertificateTerms:
        """Return what a certificate for the console would be, or why there is none."""
        me, farm = self._settings.me, self._settings.farm
        report = self._tls.report
        if report is None:
            why = self._tls.why_none(me.name)
            return ConsoleCertificateTerms(node=me.name, farm=farm.farm.name, problem=why, soon=self._tls.has_authority)
        return ConsoleCertificateTerms(
            node=me.name,
            farm=farm.farm.name,
            authority=report.authority,
            names=self._names(),
            nonce=self._nonces.give(secrets.token_hex(16), now=self._clock()),
        )

    def _names(self) -> tuple[str, ...]:
        me, farm = self._settings.me, self._settings.farm
        return console_names(
            me.name,
            me.addresses.values(),
            vips=() if farm.l2 is None else [vip.address for vip in farm.l2.vip],
            host=socket.gethostname(),
            others=[node.name for node in farm.node],
        )

    async def certify(self, body: ConsoleRequestBody) -> ConsoleCertificateAnswer:
        """Have a certificate made for the console, or say why not."""
        names = self._names()
        answer = await self._certified(body, names)
        if answer.problem:
            why = f"no certificate is made: {answer.problem}"
            event = self._refused.note(why, remote="the console", now=self._clock())
        else:
            made = f"made a certificate for the console, for {', '.join(names)}"
            event = Event(level=Level.INFO, origin="certificate", message=made)
        if event is not None:
            self._tell(event)
        return answer

    async def _certified(self, body: ConsoleRequestBody, names: Sequence[str]) -> ConsoleCertificateAnswer:
        me, now = self._settings.me.name, self._clock()
        if self._tls.report is None:
            return ConsoleCertificateAnswer(problem=self._tls.why_none(me))
        if not self._nonces.take(body.nonce, now=now):
            return ConsoleCertificateAnswer(problem="its request comes too late, or for the second time")
        why = self._rate.why_not(now=now)
        if why is not None:
            return ConsoleCertificateAnswer(problem=why)
        words = [*self._command, str(self._settings.loaded.key_file), me, body.nonce, *names]
        try:
            return await self._calls.run(lambda: _said(words, body.request.encode()))
        except BusyError:
            return ConsoleCertificateAnswer(problem="one is being made already: ask again in a moment")
        except NoThreadError as error:
            return ConsoleCertificateAnswer(problem=error.strerror or "no thread can be started")


def _said(words: Sequence[str], request: bytes) -> ConsoleCertificateAnswer:
    try:
        done = subprocess.run(words, input=request, capture_output=True, timeout=_TAKES, check=False)  # noqa: S603 - ours
    except subprocess.TimeoutExpired:
        return ConsoleCertificateAnswer(problem=f"it was not made within {_TAKES:g} s")
    except OSError as error:
        return ConsoleCertificateAnswer(problem=f"{words[0]} cannot be started: {error.strerror}")
    try:
        return read_json(done.stdout, ConsoleCertificateAnswer)
    except JsonError:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        return ConsoleCertificateAnswer(problem=f"making it failed: {last or f'status {done.returncode}'}")
