"""The daemon's end of the helper process: starts it when a call needs it, and ends it after a time without calls.

Whatever happens to that process is a failure of the calls that it was making: a crash, a hang, a kill, a lack of memory
or of processes, an answer that makes no sense. The next call starts a new process.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import count
from typing import Final

from msgspec import structs

from hcsidecar.core.exit_status import signal_name
from hcsidecar.core.targets.registration import TargetError, Trouble
from hcsidecar.system.threads import NoThreadError, start_thread
from hcsidecar.targets.questions import (
    MOST,
    Begun,
    CallRequest,
    CallResult,
    End,
    GarbledError,
    GiveUp,
    decode_from_helper,
    encode,
)

START_LIMIT: Final = 30.0
"Seconds in which it must listen: the start of an interpreter on a busy machine."
IDLE: Final = 10.0
"Seconds without a call after which it ends; after a change there are observations after 2 s, 4 s and 8 s."
UNANSWERED: Final = 10.0
"Seconds after which it is killed if it does not confirm that it has given up a call."
END_LIMIT: Final = 0.8
"Seconds that it may take to end; closing the balancers may take 0.5 s of it."
COMMAND: Final = (sys.executable, "-P", "-X", "no_debug_ranges", "-m", "hcsidecar.targets.helper")
_LOOK: Final = 0.02
"Seconds between two checks whether it has ended."
_LOOKS: Final = 25
"Number of checks before it is killed."
_DAEMONS_OWN: Final = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
"Environment variables of systemd that are meant for the daemon only."
_PIECE: Final = 65_536
"Bytes; the capacity of a pipe on Linux."


class HelperProcess:
    """At most one process for all callers, on the running loop. `name` appears in lists of processes."""

    def __init__(
        self,
        name: str,
        *,
        command: Sequence[str] = COMMAND,
        environment: Mapping[str, str] = os.environ,
        idle: float = IDLE,
        unanswered: float = UNANSWERED,
    ) -> None:
        self._name, self._command, self._idle, self._unanswered = name, command, idle, unanswered
        self._environment = {key: value for key, value in environment.items() if key not in _DAEMONS_OWN}
        self._loop = asyncio.get_running_loop()
        self._numbers = count(1)
        self.users = 0
        "The balancers that may still ask; they count themselves."
        self._running: RunningHelper | None = None
        self._asking = 0
        self._idle_timer: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        """The process id; None while there is no process."""
        return None if self._running is None else self._running.pid

    async def ask(self, question: CallRequest, *, limit: float) -> CallResult:
        """Let a call be made, within `limit` seconds after the process listens. Its number is set here.

        Raise TargetError if there is no answer.
        """
        self._asking += 1
        self._cancel_idle_timer()
        try:
            running = await self._started()
            try:
                async with asyncio.timeout(limit):
                    return await running.ask(question, number=next(self._numbers))
            except TimeoutError:
                raise TargetError(Trouble.RETRY, f"no answer within {limit:g} s") from None
        finally:
            self._asking -= 1
            if not self._asking:
                self._cancel_idle_timer()
                self._idle_timer = self._loop.call_later(self._idle, self._dismiss_idle)

    async def close(self) -> None:
        """End the process, within END_LIMIT; safe to repeat."""
        self._cancel_idle_timer()
        if self._running is not None:
            self._running.dismiss()
            await self._running.gone()

    async def _started(self) -> "RunningHelper":
        """Return a process that listens. Raise TargetError."""
        while self._running is not None and self._running.is_dismissed:
            await self._running.gone()
            if self._running.over:
                self._running = None
        running = self._running
        if running is None or running.over:
            running = self._running = RunningHelper(
                [*self._command, self._name], self._environment, unanswered=self._unanswered
            )
            running.start()
        try:
            async with asyncio.timeout(START_LIMIT):
                await asyncio.shield(running.begun)
        except TimeoutError:
            running.end(f"has not begun within {START_LIMIT:g} s: look whether this machine is overloaded")
            raise running.failure() from None
        return running

    def _cancel_idle_timer(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def _dismiss_idle(self) -> None:
        if self._running is not None:
            self._running.dismiss()


class _Ends:
    """Connects the two processes: packets both ways, a pipe that breaks when the daemon ends, and one for errors."""

    def __init__(self) -> None:
        """Open all descriptors. Raise OSError."""
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            self.packets, self.their_packets = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.enter_context(self.packets)
            theirs.enter_context(self.their_packets)
            self.life, alive = os.pipe()
            theirs.callback(os.close, self.life)
            ours.callback(os.close, alive)
            self.errors, self.their_errors = os.pipe()
            ours.callback(os.close, self.errors)
            theirs.callback(os.close, self.their_errors)
            self.packets.setblocking(False)  # noqa: FBT003 - the socket module takes it so
            os.set_blocking(self.errors, False)
            self._ours, self._theirs = ours.pop_all(), theirs.pop_all()

    def close_ours(self) -> None:
        """Close the daemon's ends, which kills the helper process; safe to repeat."""
        self._ours.close()

    def close_theirs(self) -> None:
        """Close the helper's ends."""
        self._theirs.close()


class RunningHelper:
    """One process, from its start to its end. Made on a running loop."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], *, unanswered: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._command, self._environment, self._unanswered = command, environment, unanswered
        self._ends: _Ends | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._last_words = b""
        self._waiting: dict[int, asyncio.Future[CallResult]] = {}
        self._given_up: dict[int, asyncio.TimerHandle] = {}
        self.begun: asyncio.Future[None] = self._loop.create_future()
        "Done when the process listens; has a TargetError if it never will."
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self.is_dismissed = False
        self.over = ""
        "Why the process takes no more calls; completes the sentence `the helper process …`."

    @property
    def pid(self) -> int | None:
        """The process id; None before the start."""
        return None if self._process is None or self.over else self._process.pid

    def failure(self) -> TargetError:
        """Return why the process takes no more calls, as an error."""
        return TargetError(Trouble.RETRY, f"the helper process {self.over}")

    def start(self) -> None:
        """Start the process, in a thread, because the thread that starts it is blocked until it has begun."""
        try:
            self._ends = _Ends()
        except OSError as error:
            self.end(_why_not_started(error))
            return
        try:
            start_thread(partial(self._start, self._ends), name="start of the helper")
        except NoThreadError as error:
            self._ends.close_theirs()
            self.end(_why_not_started(error))

    async def ask(self, question: CallRequest, *, number: int) -> CallResult:
        """Let a call be made. Raise TargetError if it fails; when cancelled, give up the call."""
        if self._ends is None or self.over:
            raise self.failure()
        try:
            packet = encode(structs.replace(question, number=number))
        except ValueError as error:
            raise TargetError(Trouble.CONFIG, f"the table of the target cannot be told: {error}") from None
        self._send(packet)
        if self.over:
            raise self.failure()
        answer: asyncio.Future[CallResult] = self._loop.create_future()
        self._waiting[number] = answer
        try:
            return await answer
        finally:
            if self._waiting.pop(number, None) is not None and not self.over:
                self._give_up(number)

    def dismiss(self) -> None:
        """Tell the process to end, and kill it after END_LIMIT; safe to repeat."""
        if self.is_dismissed or self.over:
            return
        self.is_dismissed = True
        self._loop.call_later(END_LIMIT, self.end, "did not end when it was told to")
        if self._ends is not None:
            with contextlib.suppress(TargetError):
                self._send(encode(End()))

    async def gone(self) -> None:
        """Wait until the process and all that it started have ended; when cancelled, kill them."""
        try:
            await asyncio.shield(self._ended)
        finally:
            self.end("is not wanted any more")

    def end(self, why: str) -> None:
        """Kill the process with all that it has started, and let all calls fail; safe to repeat."""
        if self.over:
            return
        self.over = why
        for timer in self._given_up.values():
            timer.cancel()
        waiting: list[asyncio.Future[None] | asyncio.Future[CallResult]] = [self.begun, *self._waiting.values()]
        for one in waiting:
            if not one.done():
                one.set_exception(self.failure())
        # Retrieve the error, so that asyncio does not report it if nobody waits for it.
        self.begun.exception()
        self._waiting.clear()
        if self._ends is not None:
            self._loop.remove_reader(self._ends.packets)
            self._ends.close_ours()
        self._kill_and_reap()

    # -- the start, in the thread -----------------------------------------------------------------------------------

    def _start(self, ends: _Ends) -> None:
        handed = (ends.their_packets.fileno(), ends.life)
        *command, name = self._command
        process: subprocess.Popen[bytes] | Exception
        try:
            process = subprocess.Popen(  # noqa: S603 - our own
                [*command, *map(str, handed), name],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=ends.their_errors,
                pass_fds=handed,
                env=self._environment,
                start_new_session=True,
            )
        except (OSError, ValueError, MemoryError, subprocess.SubprocessError) as error:
            process = error
        finally:
            ends.close_theirs()
        with contextlib.suppress(RuntimeError):  # the loop is closed, and the process ends with its pipe
            self._loop.call_soon_threadsafe(self._started, process)

    # -- on the loop ------------------------------------------------------------------------------------------------

    def _started(self, process: "subprocess.Popen[bytes] | Exception") -> None:
        if isinstance(process, Exception):
            self.end(_why_not_started(process))
            return
        self._process = process
        if self.over:
            self._kill_and_reap()
        elif self._ends is not None:
            self._loop.add_reader(self._ends.packets, self._receive, self._ends)

    def _send(self, packet: bytes) -> None:
        assert self._ends is not None  # noqa: S101 - it has been started
        try:
            self._ends.packets.send(packet)
        except BlockingIOError:
            self.end("takes no more calls: it hangs, and is killed")
            raise self.failure() from None
        except OSError:
            # Its exit status and its last words say why.
            self._look_for_end(_LOOKS)

    def _receive(self, ends: _Ends) -> None:
        try:
            packet = ends.packets.recv(MOST)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        self._read_errors(ends)
        if not packet:
            self._loop.remove_reader(ends.packets)
            self._look_for_end(_LOOKS)
            return
        try:
            message = decode_from_helper(packet)
        except GarbledError as error:
            self.end(f"says what makes no sense, and is killed: {error}")
            return
        match message:
            case Begun() if not self.begun.done():
                self.begun.set_result(None)
            case CallResult(number=number) if number in self._given_up:
                self._given_up.pop(number).cancel()
            case CallResult(number=number) if number in self._waiting:
                waiting = self._waiting.pop(number)
                if not waiting.done():
                    waiting.set_result(message)
            case _:
                # One message is expected per call; a flood of others must not keep the daemon busy.
                self.end("answers what was not asked, and is killed")

    def _give_up(self, number: int) -> None:
        self._given_up[number] = self._loop.call_later(
            self._unanswered, self.end, "hangs, and is killed: a kind of balancer may hold up its loop"
        )
        with contextlib.suppress(TargetError):
            self._send(encode(GiveUp(number=number)))

    def _read_errors(self, ends: _Ends) -> None:
        """Keep the end of the process's standard error; read no more than a pipe holds."""
        with contextlib.suppress(BlockingIOError):
            self._last_words = (self._last_words + os.read(ends.errors, _PIECE))[-_PIECE // 16 :]

    def _look_for_end(self, looks: int) -> None:
        """Record why the process has ended, as soon as the system knows."""
        if self.over:
            return
        status = None if self._process is None else self._process.poll()
        if status is None and looks:
            self._loop.call_later(_LOOK, self._look_for_end, looks - 1)
            return
        if self._ends is not None:
            self._read_errors(self._ends)
        self.end(_why_ended(status, self._last_words))

    def _kill_and_reap(self) -> None:
        """Kill the process group, and wait for the process. Until then no other process can get its id."""
        process = self._process
        if process is not None:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
            if process.poll() is None:
                self._loop.call_later(_LOOK, self._kill_and_reap)
                return
        if not self._ended.done():
            self._ended.set_result(None)


def _why_not_started(error: Exception) -> str:
    match error:
        case BlockingIOError() | NoThreadError():
            return "cannot be started: no more processes or threads are allowed here (`pids` or `TasksMax` of the unit)"
        case OSError(strerror=str(text)):
            return f"cannot be started: {text[:1].lower()}{text[1:]}"
        case _:
            return f"cannot be started: {type(error).__name__}: {error}"


def _why_ended(status: int | None, said: bytes) -> str:
    lines = said.decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    if status is None:
        return "has closed its connection, and is killed"
    if status == -signal.SIGKILL:
        return "was killed by SIGKILL: by somebody, or by the kernel because memory ran out"
    how = f"was ended by {signal_name(-status)}" if status < 0 else f"has ended with status {status}"
    return f"{how}: {last}" if last else how
