"""Threads, real ones, where the system gives no more of them."""

import asyncio
import subprocess
import sys
import threading

import pytest

from hcsidecar.system.threads import NoThreadError, Workers, start_thread
from hcsidecar.web.connections import LEAST_HANDED_OVER, LEAST_PROBING, Limits


def no_more_threads(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)


def test_a_thread_that_cannot_be_started_is_an_error_of_the_system(monkeypatch):
    no_more_threads(monkeypatch)
    with pytest.raises(NoThreadError, match="no thread can be started"):
        start_thread(lambda: None, name="check")


def test_work_waits_for_the_threads_that_are_there_when_no_more_can_be_had(monkeypatch):
    async def story():
        asyncio.get_running_loop().set_default_executor(workers)
        return await asyncio.gather(*(asyncio.to_thread(pow, 2, each) for each in range(40)))

    workers = Workers(kept=2, name="worker")
    with monkeypatch.context() as patched:
        no_more_threads(patched)
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(story()) == [2**each for each in range(40)]
    loop.close()


def test_what_work_raises_is_raised_where_it_is_waited_for():
    workers = Workers(kept=1, most=1, name="worker")
    with pytest.raises(ZeroDivisionError):
        workers.submit(divmod, 1, 0).result(timeout=5)
    workers.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        workers.submit(divmod, 1, 1)


def test_a_pool_without_its_first_threads_is_refused():
    program = (
        "import threading\n"
        "from hcsidecar.system.threads import NoThreadError, Workers\n"
        "started = threading.Thread.start\n"
        "def start(self):\n"
        "    if threading.active_count() > 1:\n"
        '        raise RuntimeError("can\'t start new thread")\n'
        "    started(self)\n"
        "threading.Thread.start = start\n"
        "try:\n"
        "    Workers(kept=2, name='worker')\n"
        "except NoThreadError:\n"
        "    print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert (done.stdout, done.stderr) == ("refused\n", "")


@pytest.mark.parametrize(
    ("descriptors", "probing", "handed_over"),
    [(1024, 512, 128), (524_288, 512, 128), (256, 160, 40), (64, LEAST_PROBING, LEAST_HANDED_OVER)],
)
def test_connections_leave_a_daemon_the_descriptors_that_it_needs(descriptors, probing, handed_over):
    limits = Limits.within(descriptors, own=56)
    assert (limits.probing, limits.handed_over) == (probing, handed_over)
