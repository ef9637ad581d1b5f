"""Threads beside the loop, on a machine that may be unable to start any more."""

import errno
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from hcsidecar.core.exhaustion import explained
from hcsidecar.system.process import keep_pace


class NoThreadError(OSError):
    """The system starts no more threads for this process, or none for its user."""

    def __init__(self) -> None:
        super().__init__(errno.EAGAIN, f"no thread can be started: {explained(errno.EAGAIN)}")


def start_thread(work: Callable[[], object], *, name: str) -> threading.Thread:
    """Start a daemon thread that does not hold up the heartbeats (`keep_pace`). Raise NoThreadError if refused."""

    def run() -> None:
        keep_pace()
        work()

    thread = threading.Thread(target=run, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        if not means_no_thread(error):
            raise
        raise NoThreadError from None
    return thread


def means_no_thread(error: RuntimeError) -> bool:
    """Return whether this error, by its text, is the machine's lack of threads and not a bug of ours."""
    return "start new thread" in str(error)


class Workers(ThreadPoolExecutor):
    """A pool whose first threads exist from the start; if no more can be started, work waits for these.

    Raise NoThreadError if not even these can be started.
    """

    def __init__(self, *, kept: int, most: int | None = None, name: str) -> None:
        """Start `kept` threads and allow `most`; None leaves the maximum to Python."""
        super().__init__(max_workers=most, thread_name_prefix=name, initializer=keep_pace)
        # Each task holds its thread until all threads exist, so that each needs a thread of its own.
        together = threading.Barrier(kept + 1)
        try:
            for _ in range(kept):
                super().submit(together.wait)
        except RuntimeError as error:
            together.abort()
            if not means_no_thread(error):
                raise
            self.shutdown(wait=False)
            raise NoThreadError from None
        together.wait()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run `fn` in a thread, as the pool does, but tolerate that a thread cannot be started."""
        given: Future[Any] = Future()

        def work() -> None:
            if not given.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
                given.set_exception(error)
            else:
                given.set_result(result)

        try:
            super().submit(work)
        except RuntimeError as error:
            # The pool queues the work before it starts a thread, so a thread that exists will take it.
            if not means_no_thread(error):
                raise
        return given
