"""Has a process of its own send a message, within a time limit."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from hcsidecar.core.exhaustion import explained
from hcsidecar.core.farmfile.farm_file import MailReceiver, Receiver, WebhookReceiver
from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.core.notify.message import document_of, subject_of, text_of
from hcsidecar.core.notify.outbox import NotificationMessage
from hcsidecar.core.plain_text import on_one_line, shortened
from hcsidecar.notify.order import Order, SendOutcome
from hcsidecar.system.blocking_calls import BlockingCalls, BusyError
from hcsidecar.system.threads import NoThreadError

COMMAND: Final = (sys.executable, "-P", "-X", "no_debug_ranges", "-m", "hcsidecar.notify.send")
START: Final = 10.0
"Seconds that a busy machine may take to start the process, in addition to the receiver's time limit."
_DAEMONS_OWN: Final = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
"Environment variables of systemd that are meant for the daemon only."


class Deliveries:
    """Sends messages from one node; `directory` is that of the farm file."""

    def __init__(
        self,
        *,
        farm: str,
        node: str,
        directory: Path,
        at_once: int,
        command: Sequence[str] = COMMAND,
        environment: Mapping[str, str] = os.environ,
        start: float = START,
    ) -> None:
        self._farm, self._node, self._directory = farm, node, directory
        self._command, self._start = command, start
        self._environment = {key: value for key, value in environment.items() if key not in _DAEMONS_OWN}
        self._calls = BlockingCalls("notify", at_once=at_once)

    async def send(self, receiver: Receiver, message: NotificationMessage) -> SendOutcome:
        """Send a message. Return what became of it, within the receiver's time limit and START."""
        order = self._order(receiver, message)
        limit = order.timeout + self._start
        try:
            async with asyncio.timeout(limit + 1):
                return await self._calls.run(lambda: self._run(msgspec.json.encode(order), order.timeout, limit))
        except TimeoutError:
            return SendOutcome(taken=False, text=f"no answer within {order.timeout:g} s")
        except BusyError:
            return SendOutcome(taken=False, text="an earlier attempt has not ended")
        except NoThreadError as error:
            return SendOutcome(taken=False, text=str(error.strerror))

    def _run(self, order: bytes, timeout: float, limit: float) -> SendOutcome:
        """Run the process. Called in a thread."""
        try:
            ended = subprocess.run(  # noqa: S603 - our own program
                self._command,
                input=order,
                capture_output=True,
                timeout=limit,
                env=self._environment,
                start_new_session=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return SendOutcome(taken=False, text=f"no answer within {timeout:g} s")
        except (OSError, ValueError, MemoryError, subprocess.SubprocessError) as error:
            why = explained(error.errno) if isinstance(error, OSError) else None
            return SendOutcome(taken=False, text=f"the process that sends it cannot be started: {why or error}")
        try:
            return read_json(ended.stdout, SendOutcome)
        except JsonError:
            words = ended.stderr.decode(errors="replace").strip().splitlines()
            last = shortened(on_one_line(words[-1]), 200) if words else f"exit status {ended.returncode}"
            return SendOutcome(taken=False, text=f"the process that sends it has failed: {last}")

    def _order(self, receiver: Receiver, message: NotificationMessage) -> Order:
        template = receiver.template if isinstance(receiver, WebhookReceiver) else None
        plain = Order(
            type=receiver.type,
            directory=str(self._directory),
            timeout=receiver.timeout,
            farm=self._farm,
            node=self._node,
            subject=subject_of(message, farm=self._farm),
            text=text_of(message),
            document=None,
            ca_file=receiver.ca_file,
        )
        match receiver:
            case WebhookReceiver():
                return msgspec.structs.replace(
                    plain,
                    document=document_of(message, farm=self._farm, node=self._node, template=template),
                    url=receiver.url,
                    url_file=receiver.url_file,
                    token_file=receiver.token_file,
                    header=receiver.header,
                )
            case MailReceiver():
                return msgspec.structs.replace(
                    plain,
                    server=receiver.server,
                    tls=receiver.tls,
                    login_file=receiver.login_file,
                    sender=receiver.sender,
                    to=receiver.to,
                )
        raise AssertionError(receiver.type)
