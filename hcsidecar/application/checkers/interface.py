"""Checks that a network interface is up and has its address. The kernel reports changes at once, over netlink."""

import asyncio
import contextlib
import errno
import os
import sys
import threading
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, Final, Self

from hcsidecar.core.application.link_state import Held, Link, complaint, holder_of
from hcsidecar.core.farmfile.farm_file import InterfaceCheck
from hcsidecar.system.threads import start_thread

# <linux/rtnetlink.h>
_GROUPS: Final = 0x1 | 0x10 | 0x100
"RTMGRP_LINK, RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR."
_NO_SUCH_LINK: Final = (errno.ENODEV, errno.ERANGE, errno.EINVAL)
"The kernel's errors for a name that no interface has, or that is too long."
_LONGEST_PAUSE: Final = 1.0
"Seconds between two reads of the state, at most."
_DESCRIPTORS: Final = 12
"Open files of a watch, with a few in reserve because other parts open files at the same time."
_ENDED: Final = "the watch of the kernel's news has ended; it begins anew"


class InterfaceWatch:
    """Follows the kernel's notifications, in a thread with its own loop, because a container host has many of them.

    The thread ends with the `async with`, which does not wait for it. After an error the next attempt starts a new one.
    """

    def __init__(self, check: InterfaceCheck) -> None:
        self._check = check
        self._follower: _Follower | None = None
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._follower is not None:
            self._follower.end()

    async def probe(self) -> str | None:
        """Read the state; return why it is wrong, or None. May be cancelled."""
        if sys.platform != "linux":
            return "interface checks need Linux"
        try:
            return await self._ask()
        except OSError:
            # For example, the kernel's buffer of notifications was full. Only the present state counts.
            pass
        try:
            return await self._ask()
        except OSError as error:
            return f"the kernel does not tell of interfaces: {error.strerror or error}"

    async def _ask(self) -> str | None:
        if self._follower is None or self._follower.ended:
            self._follower = _Follower(self._check, self._changed.set)
        return await self._follower.look()

    async def until_other_than(self, failure: str | None) -> None:
        """Wait until the kernel reports a change after which the result is another than this failure."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if await self.probe() != failure:
                return


class _Follower:
    """The thread: reads the kernel's state on request, and calls `heard` in the requester's loop after a change."""

    def __init__(self, check: InterfaceCheck, heard: Callable[[], None]) -> None:
        self._check = check
        self._heard = heard
        self._asker = asyncio.get_running_loop()
        self._questions: list[asyncio.Future[str | None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._lock = threading.Lock()
        self.ended = False
        self._told = False
        self._wanted: asyncio.Event | None = None
        start_thread(self._run, name="interface check")

    async def look(self) -> str | None:
        """Return the check's result. Raise OSError if the kernel refuses to be read."""
        question: asyncio.Future[str | None] = self._asker.create_future()
        with self._lock:
            if self.ended:
                raise OSError(_ENDED)
            self._questions.append(question)
            if self._loop is not None and self._wanted is not None:
                self._loop.call_soon_threadsafe(self._wanted.set)
        return await question

    def end(self) -> None:
        """Ask the thread to end."""
        with self._lock:
            self.ended = True
            if self._loop is not None and self._task is not None:
                self._loop.call_soon_threadsafe(self._task.cancel)

    def _run(self) -> None:
        error: OSError | None = None
        try:
            # Imported here, as pyroute2 is.
            from l2mode.kernel.descriptors import ensure_descriptors  # noqa: PLC0415

            ensure_descriptors(_DESCRIPTORS)
            with asyncio.Runner() as runner:
                runner.get_loop()
                runner.run(self._follow())
        except asyncio.CancelledError:
            pass
        except OSError as refused:
            error = refused
        with self._lock:
            self.ended = True
            self._loop = None
            left = self._take_questions()
        self._answer(left, None, error or OSError(_ENDED))
        if self._told:  # the requester tries again, but not in a tight loop
            self._tell(self._heard)

    async def _follow(self) -> None:
        wanted = asyncio.Event()
        with self._lock:
            if self.ended:
                return
            self._loop = asyncio.get_running_loop()
            self._task = asyncio.current_task()
            self._wanted = wanted
        with _errors_of_the_system():
            # Imported here because it takes memory, and other systems do not have it.
            from pyroute2 import AsyncIPRoute  # noqa: PLC0415

            async with AsyncIPRoute() as news, AsyncIPRoute() as ip:
                await news.bind(groups=_GROUPS)
                listening = asyncio.create_task(_listen(news, wanted))
                try:
                    await self._keep_reading(ip, wanted, listening)
                finally:
                    listening.cancel()

    async def _keep_reading(self, ip: Any, wanted: asyncio.Event, listening: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        latest: str | None = None
        while not listening.done():
            wanted.clear()
            with self._lock:
                questions = self._take_questions()
            began = loop.time()
            finding = await _read(self._check, ip)
            took = loop.time() - began
            self._answer(questions, finding, None)
            if not self._told or latest != finding:
                self._told, latest = True, finding
                self._tell(self._heard)
            # Reading takes at most a fifth of the time, however many notifications come, and no change waits long.
            await asyncio.sleep(min(4 * took, _LONGEST_PAUSE))
            waiting = asyncio.create_task(wanted.wait())
            try:
                await asyncio.wait({waiting, listening}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
        listening.result()

    def _take_questions(self) -> list[asyncio.Future[str | None]]:
        taken, self._questions = self._questions, []
        return taken

    def _answer(self, questions: list[asyncio.Future[str | None]], finding: str | None, error: OSError | None) -> None:
        def answer() -> None:
            for question in questions:
                if question.done():  # the requester does not wait any more
                    continue
                if error is None:
                    question.set_result(finding)
                else:
                    question.set_exception(error)

        self._tell(answer)

    def _tell(self, what: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._asker.call_soon_threadsafe(what)


async def _listen(news: Any, wanted: asyncio.Event) -> None:
    """Set `wanted` at each notification of the kernel; its content is not used, the state is read anew."""
    while True:
        async for _ in news.get():
            wanted.set()


async def _read(check: InterfaceCheck, ip: Any) -> str | None:
    """Read from the kernel what a check needs, and return the result."""
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415 - as above

    async def find(**which: object) -> Any:
        try:
            (found,) = await ip.link("get", **which)
        except NetlinkError as error:
            if error.code not in _NO_SUCH_LINK:
                raise
            return None
        return found

    names: dict[int, str] = {}
    link: Link | None = None
    held: Held | None = None
    if check.interface is not None:
        found = await find(ifname=check.interface)
        if found is None:
            return complaint(check, None, None)
        link = _link(found)
        names[found["index"]] = link.name
    if check.address is not None:
        family = {"family": 2 if ip_address(check.address).version == 4 else 10}  # noqa: PLR2004 - IPv4
        addresses = [
            Held(
                address=ip_address(text),
                interface=names.get(answer["index"], str(answer["index"])),
                flags=answer.get("flags") or 0,
            )
            async for answer in await ip.addr("dump", **family)
            if (text := answer.get("local") or answer.get("address")) == check.address
        ]
        held = holder_of(check, addresses)
        if held is not None and link is None:
            found = await find(index=int(held.interface))
            if found is None:  # the interface has gone meanwhile
                return complaint(check, None, None)
            link = _link(found)
    return complaint(check, link, held)


def _link(found: Any) -> Link:
    return Link(name=found.get("ifname"), flags=found["flags"], operational=found.get("operstate") or "UNKNOWN")


@contextlib.contextmanager
def _errors_of_the_system() -> Any:
    """Turn errors of pyroute2 into OSError."""
    try:
        yield
    except ImportError as error:
        raise OSError(f"{error}; install the package pyroute2") from error
    except Exception as error:
        # pyroute2's own exception types cannot be named before it is imported.
        code = getattr(error, "code", None)
        if isinstance(error, OSError) or not isinstance(code, int):
            raise
        raise OSError(code, os.strerror(code)) from error
