"""The helper process: makes the calls to balancers that block or compute, so that the daemon need not.

It runs as `python -m hcsidecar.targets.helper PACKETS LIFE NAME`: PACKETS is its end of a socket pair to the daemon,
LIFE its end of a pipe into which the daemon never writes, and NAME appears in lists of processes. It knows only what
its requests contain, and nothing of the farm's keys. When the daemon ends, it is killed.

The balancers of all targets are made here, each at its first call. One that blocks the loop delays the calls of all
others; if it does so for long, the daemon kills this process.
"""

import asyncio
import contextlib
import io
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from hcsidecar.core.farmfile.values import FROM_FILE
from hcsidecar.core.targets.registration import Call, Observation, TargetError, Trouble
from hcsidecar.system.privileges import end_with, give_up_powers
from hcsidecar.targets.kind import Balancer, Here, Rememberer
from hcsidecar.targets.kinds import KindError, kind_of
from hcsidecar.targets.questions import (
    MOST,
    MOST_NOTES,
    Begun,
    CallRequest,
    CallResult,
    End,
    GiveUp,
    decode_for_helper,
    encode,
    short,
    short_text,
)

_MEMORY = 512 * 1_048_576
"Bytes of memory at most: an endless answer of an API must not fill the machine's memory."
_CLOSING = 0.5
"Seconds that the balancers may take to close."


class _Errors(io.RawIOBase):
    """Standard error that never blocks and never fails: output that nobody reads is discarded."""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]
        with contextlib.suppress(OSError):
            os.write(2, piece)
        return len(piece)


@dataclass(slots=True)
class _Side:
    """The balancer of one target, with the request that it was made for."""

    kind: str
    table: dict[str, object]
    here: dict[str, object]
    balancer: Balancer


class Helper:
    """All balancers, and the calls in progress."""

    def __init__(self, packets: socket.socket) -> None:
        self._packets = packets
        self._sides: dict[str, _Side] = {}
        self._calls: dict[int, asyncio.Task[None]] = {}

    async def serve(self) -> None:
        """Make the requested calls, until told to end."""
        loop = asyncio.get_running_loop()
        self._say(encode(Begun()))
        while packet := await loop.sock_recv(self._packets, MOST):
            match decode_for_helper(packet):
                case CallRequest() as asked:
                    self._calls[asked.number] = asyncio.create_task(self._answer(asked))
                case GiveUp(number=number):
                    if number in self._calls:
                        self._calls[number].cancel()
                case End():
                    await self._close()
                    return

    async def _answer(self, asked: CallRequest) -> None:
        try:
            answer = await self._made(asked)
        except asyncio.CancelledError:
            answer = CallResult(number=asked.number, trouble=Trouble.RETRY, text="given up")
        del self._calls[asked.number]
        self._say(encode(answer))

    async def _made(self, asked: CallRequest) -> CallResult:
        trouble, text = Trouble.RETRY, ""
        try:
            side = self._side(asked)
            seen = await _call(side.balancer, asked.call)
            return CallResult(
                number=asked.number, seen=None if seen is None else short(seen), notes=_notes(side.balancer)
            )
        except TargetError as error:
            trouble, text = error.trouble, error.text
        except TimeoutError:
            text = "no answer in time"
        except MemoryError:
            self._sides.pop(asked.target, None)
            text = (
                f"the helper process has not enough memory, {_MEMORY >> 20} MiB: is the answer of the balancer endless?"
            )
        except Exception as error:  # noqa: BLE001 - what an SDK or another package makes of a bad answer is anyone's guess
            text = f"{type(error).__name__}: {error}"
        return CallResult(number=asked.number, trouble=trouble, text=short_text(text))

    def _side(self, asked: CallRequest) -> _Side:
        """Return the balancer of the target, made if there is none yet. Raise TargetError."""
        side = self._sides.get(asked.target)
        if side is None or (side.kind, side.table, side.here) != (asked.kind, asked.table, asked.here):
            try:
                kind = kind_of(asked.kind)
                table = kind.table.model_validate(asked.table, context=FROM_FILE)
                side = _Side(asked.kind, asked.table, asked.here, kind.open(table, _here(asked)))
            except KindError as error:
                raise TargetError(Trouble.CONFIG, str(error)) from None
            except Exception as error:  # noqa: BLE001 - a kind of another package's may raise whatever it likes
                text = f"a target of type {asked.kind} cannot be made: {type(error).__name__}: {error}"
                raise TargetError(Trouble.CONFIG, text) from None
            if asked.notes and isinstance(side.balancer, Rememberer):
                side.balancer.recall(asked.notes)
            self._sides[asked.target] = side
        return side

    async def _close(self) -> None:
        for call in self._calls.values():
            call.cancel()
        closing = [asyncio.create_task(_close(side.balancer)) for side in self._sides.values()]
        if closing:
            await asyncio.wait(closing, timeout=_CLOSING)

    def _say(self, packet: bytes) -> None:
        # The daemon reads packets at once, so there is room. If not, it is about to kill this process.
        with contextlib.suppress(OSError):
            self._packets.send(packet)


async def _call(balancer: Balancer, call: Call) -> Observation | None:
    match call:
        case Call.OBSERVE:
            seen = await balancer.observe()
            if not isinstance(seen, Observation):
                # mypy does not look into other packages.
                raise TypeError(f"observe gives {type(seen).__name__}, and no Observation")
            return seen
        case Call.REGISTER:
            await balancer.register()
        case Call.DEREGISTER:
            await balancer.deregister()
        case Call.RETIRE:
            await balancer.retire()
    return None


def _notes(balancer: Balancer) -> bytes:
    notes = balancer.notes if isinstance(balancer, Rememberer) else b""
    if len(notes) > MOST_NOTES:
        raise ValueError(f"its notes are {len(notes)} bytes long, and may have {MOST_NOTES}")
    return notes


async def _close(balancer: Balancer) -> None:
    with contextlib.suppress(Exception):  # it is the end, and nobody could act on the error
        await balancer.close()


def _here(asked: CallRequest) -> Here:
    given = asked.here
    return Here(
        **given
        | {
            "vips": tuple(given["vips"]),
            "directory": Path(given["directory"]),
            "state_dir": Path(given["state_dir"]),
        }
    )


def main() -> None:
    """Serve the daemon that started this process."""
    packets, life = map(int, sys.argv[1:3])
    end_with(life)
    give_up_powers(memory=_MEMORY)
    os.set_blocking(2, False)
    sys.stderr = io.TextIOWrapper(io.BufferedWriter(_Errors()), line_buffering=True, errors="backslashreplace")
    with socket.socket(fileno=packets) as connection:
        connection.setblocking(False)  # noqa: FBT003 - the socket module takes it so
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(Helper(connection).serve())
            # Wait neither for the threads of calls that hang, nor for exit handlers of other packages.
            os._exit(0)


if __name__ == "__main__":
    main()
