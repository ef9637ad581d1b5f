"""Threads beside the loop, on a machine that may have none left to give."""

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
    """Start a thread that holds up the end of nothing, nor the heartbeats (`keep_pace`); raises NoThreadError."""

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
    """Tell by its words the only error of this kind that is the machine's and not ours."""
    return "start new thread" in str(error)


class Workers(ThreadPoolExecutor):
    """A pool whose first threads are there from the start; where no more can be had, work waits for these.

    Raises NoThreadError when not even they can be had.
    """

    def __init__(self, *, kept: int, most: int | None = None, name: str) -> None:
        """Start `kept` threads, and allow `most`; None leaves that to Python."""
        super().__init__(max_workers=most, thread_name_prefix=name, initializer=keep_pace)
        # Each holds its thread until all are there, so that each needs one of its own.
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
        """Have it done in a thread; as the pool does it, but for a thread that cannot be started."""
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
            # The pool puts the work into its queue before it starts a thread: one that is there will take it.
            if not means_no_thread(error):
                raise
        return given
