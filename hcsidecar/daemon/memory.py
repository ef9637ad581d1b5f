"""What a node remembers over a restart: its application's past, powers, boot numbers, keys, and the other nodes.

If the file is damaged or cannot be written, the node says so and goes on without it. If somebody removes or changes the
file, it is written again.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from random import Random, SystemRandom
from typing import Annotated, Final

import msgspec

from hcsidecar.core.application.restart_budget import Failure
from hcsidecar.core.application.state import Past
from hcsidecar.core.application.states import Left, Word
from hcsidecar.core.events import Event, Level
from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.core.key_change import KeyPrint
from hcsidecar.core.lost_files import Loss
from hcsidecar.core.membership.boot_numbers import next_boot
from hcsidecar.core.membership.heartbeat import Boot, Microseconds, Power
from hcsidecar.core.membership.peers import KnownPeer
from hcsidecar.core.membership.timing import Timing
from hcsidecar.farmfile.dirs import STATE
from hcsidecar.system.machine_start import start_of_machine
from hcsidecar.system.private_file import KeptFile
from hcsidecar.system.threads import Workers

_SIZE_LIMIT = 1_048_576
"Bytes; a longer file was not written by us."
_REMEDY: Final = "written again, with the operator's last word"
_PATIENCE = 2.0
"Seconds that `close` waits for a disk that does not answer."


class _State(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    boot: Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
    last_word: Word
    powers: dict[str, Power] = {}
    left: Left = Left.STOPPED
    "Whether the application was started, stopped, or in between."
    has_passed: bool = False
    machine: str = ""
    "Identifies the boot of the machine in which the last two were true."
    gave_up: str = ""
    failures: tuple[tuple[float, str], ...] = ()
    "Seconds since 1970, and why."
    peers: dict[str, tuple[Boot, Microseconds, Microseconds]] = {}
    "By node: the highest boot heard, and its pulse and lost_after if it was heard at the end, otherwise 0."
    keys: tuple[int, ...] = ()
    "Fingerprints of the key file's keys and of its hash seed; empty if none are known."
    hash_seed: int = 0


class StateFile:
    """The file `state.json` in a node's state directory.

    `tell` takes the events and `lost` what somebody did to the file, both on the loop's thread. `wall_clock` returns
    seconds since 1970. `machine` identifies the boot of this machine, as `start_of_machine` does.
    A thread of its own writes the file, because heartbeats must not wait for disks. If there are several changes while
    it writes, it then writes the last one.
    """

    def __init__(
        self,
        directory: Path,
        *,
        tell: Callable[[Event], None],
        lost: Callable[[Loss], None] = lambda _loss: None,
        wall_clock: Callable[[], float] = time.time,
        chance: Random | None = None,
        machine: str | None = None,
    ) -> None:
        self._path = directory / STATE
        self._file = KeptFile(self._path)
        "Used by the thread only."
        self._tell = tell
        self._lost = lost
        self._wall_clock = wall_clock
        # The kernel's by default: two machines resumed from one snapshot have the same generator in their memory.
        self._chance = SystemRandom() if chance is None else chance
        # The thread exists from the start, so nothing is lost when no new thread can be started.
        self._writer = Workers(kept=1, most=1, name="memory")
        self._writing: asyncio.Future[str | None] | None = None
        self._looking: asyncio.Future[str | None] | None = None
        self._why_not = ""
        "Why the last state could not be written."
        self._what_became: str | None = None
        "What somebody did to the file, until it is written again."
        self._closed = False
        self._machine = start_of_machine() if machine is None else machine
        self._state = self._read()

    def past(self, *, now: float) -> Past:
        """Return the application's past. After a reboot of the machine no application runs."""
        state = self._state
        same = state.machine == self._machine
        age = self._wall_clock() - now
        return Past(
            last_word=state.last_word,
            left=state.left if same else Left.STOPPED,
            has_passed=state.has_passed and same,
            gave_up=state.gave_up,
            # If the wall clock was set back, a failure counts as new rather than as one of the future.
            failures=tuple(Failure(at=min(at - age, now), why=why) for at, why in state.failures),
        )

    def remember_past(self, past: Past, *, now: float) -> None:
        """Keep the application's past. Needs a running loop."""
        age = self._wall_clock() - now
        changed = msgspec.structs.replace(
            self._state,
            last_word=past.last_word,
            left=past.left,
            has_passed=past.has_passed and past.left is Left.STARTED,
            machine=self._machine if past.left is not Left.STOPPED else "",
            gave_up=past.gave_up,
            failures=tuple((round(failure.at + age, 3), failure.why) for failure in past.failures),
        )
        self._change(changed)

    async def written(self) -> None:
        """Wait until everything is on disk, with a limit."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                while self._writing is not None:
                    await asyncio.wait({self._writing})

    @property
    def powers(self) -> Mapping[str, int]:
        """The powers that the operator has set, by share. The others have the farm file's power."""
        return self._state.powers

    def remember_powers(self, powers: Mapping[str, int]) -> None:
        """Keep the powers that the operator has set, in place of the earlier ones. Needs a running loop."""
        self._change(msgspec.structs.replace(self._state, powers=dict(powers)))

    def next_boot(self, above: int = -1) -> int:
        """Return a boot number greater than `above`, and than every earlier one that this node can know of.

        If the file is lost and the clock went back as well, the other nodes tell this node which number it must exceed.
        """
        boot = next_boot(last=self._state.boot, above=above, wall_clock=self._wall_clock(), chance=self._chance)
        self._change(msgspec.structs.replace(self._state, boot=boot))
        return boot

    @property
    def known_peers(self) -> Mapping[str, KnownPeer]:
        """What the last daemon knew of the other nodes."""
        return {
            name: KnownPeer(boot, Timing.of_microseconds(*timing) if any(timing) else None)
            for name, (boot, *timing) in self._state.peers.items()
        }

    def remember_peers(self, peers: Mapping[str, KnownPeer]) -> None:
        """Keep what is known of the other nodes, in place of what was kept before. Needs a running loop."""
        kept = {
            name: (peer.boot, *(peer.timing.microseconds if peer.timing is not None else (0, 0)))
            for name, peer in peers.items()
        }
        self._change(msgspec.structs.replace(self._state, peers=kept))

    @property
    def known_keys(self) -> KeyPrint | None:
        """The fingerprints of the key file that the last daemon used, or None."""
        state = self._state
        return KeyPrint(keys=frozenset(state.keys), hash_seed=state.hash_seed) if state.keys else None

    def remember_keys(self, keys: KeyPrint) -> None:
        """Keep the fingerprints of the key file. Needs a running loop."""
        if keys != self.known_keys:
            self._change(msgspec.structs.replace(self._state, keys=tuple(sorted(keys.keys)), hash_seed=keys.hash_seed))

    def look(self) -> None:
        """Check that the file is as it was written, in the thread, and restore it if not. Needs a running loop."""
        if self._closed or self._writing is not None or self._looking is not None:
            return
        if self._why_not:
            self._write()
            return
        self._looking = asyncio.get_running_loop().run_in_executor(self._writer, self._file.what_became)
        self._looking.add_done_callback(self._looked)

    async def close(self) -> None:
        """Wait until everything is on disk, with a limit; write nothing after that."""
        try:
            async with asyncio.timeout(_PATIENCE):
                while self._writing is not None:
                    await asyncio.wait({self._writing})
        except TimeoutError:
            self._complain(f"is not written yet after {_PATIENCE:g} s, and may be out of date")
        self._closed = True
        self._writer.shutdown(wait=False)

    def _change(self, state: _State) -> None:
        self._state = state
        if self._writing is None:
            self._write()

    def _write(self) -> None:
        state = self._state
        content = msgspec.json.encode(state) + b"\n"
        self._writing = asyncio.get_running_loop().run_in_executor(self._writer, self._file.write, content)
        self._writing.add_done_callback(partial(self._written, state))

    def _written(self, state: _State, writing: asyncio.Future[str | None]) -> None:
        self._writing = None
        reason = writing.result()
        if reason is not None and reason != self._why_not:
            self._complain(f"cannot be written: {reason}; after a restart, the operator's last word may be an old one")
        elif reason is None and self._why_not:
            self._tell(Event(level=Level.INFO, origin="daemon", message=f"{self._path} is written again"))
        self._why_not = reason or ""
        if reason is None and self._what_became is not None:
            self._lost(Loss(path=str(self._path), what=self._what_became, remedy=_REMEDY))
            self._what_became = None
        if self._state != state and not self._closed:
            self._write()

    def _looked(self, looking: asyncio.Future[str | None]) -> None:
        self._looking = None
        self._what_became = looking.result() or self._what_became
        if self._what_became is not None and self._writing is None and not self._closed:
            self._write()

    def _read(self) -> _State:
        try:
            with self._path.open("rb") as file:
                return read_json(file.read(_SIZE_LIMIT), _State)
        except FileNotFoundError:
            pass  # a new node
        except OSError as error:
            self._complain(f"cannot be read: {error.strerror}; treated as a new node, the application starts")
        except JsonError as error:
            self._complain(f"is broken: {error}; treated as a new node, the application starts")
        return _State(boot=0, last_word=Word.START)

    def _complain(self, what: str) -> None:
        self._tell(Event(level=Level.ERROR, origin="daemon", message=f"{self._path} {what}"))
