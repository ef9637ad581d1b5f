"""Threads where the system gives no more of them: a process that may have no memory for their stacks."""

import subprocess
import sys

import pytest

from hcsidecar.system.threads import Workers
from hcsidecar.web.connections import LEAST_HANDED_OVER, LEAST_PROBING, Limits

STRAITENED = """
import asyncio, resource, threading
from hcsidecar.system.threads import NoThreadError, Workers, start_thread

STACK = 256 << 20

def allow(threads):
    # So many more can be started from now on; there is some memory for all else.
    threading.stack_size(STACK)
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    most = used + threads * STACK + (32 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
"""


def said_by(program):
    """Give what a program prints in a process whose threads can be counted out."""
    done = subprocess.run(
        [sys.executable, "-c", STRAITENED + program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_thread_that_cannot_be_started_is_an_error_of_the_system():
    program = """
allow(threads=0)
try:
    start_thread(lambda: None, name="check")
except NoThreadError as error:
    print(error.strerror)
"""
    assert said_by(program).startswith("no thread can be started: ")


def test_work_waits_for_the_threads_that_are_there_when_no_more_can_be_had():
    program = """
async def story():
    asyncio.get_running_loop().set_default_executor(workers)
    return await asyncio.gather(*(asyncio.to_thread(pow, 2, each) for each in range(40)))

workers = Workers(kept=2, name="worker")
allow(threads=0)
print(asyncio.new_event_loop().run_until_complete(story()) == [2**each for each in range(40)])
"""
    assert said_by(program) == "True\n"


def test_what_work_raises_is_raised_where_it_is_waited_for():
    workers = Workers(kept=1, most=1, name="worker")
    with pytest.raises(ZeroDivisionError):
        workers.submit(divmod, 1, 0).result(timeout=5)
    workers.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        workers.submit(divmod, 1, 1)


def test_a_pool_without_its_first_threads_is_refused():
    program = """
allow(threads=1)
Workers(kept=1, name="first").shutdown(wait=True)
print("one can be had")
try:
    Workers(kept=2, name="worker")
except NoThreadError:
    print("refused")
"""
    assert said_by(program) == "one can be had\nrefused\n"


@pytest.mark.parametrize(
    ("descriptors", "probing", "handed_over"),
    [(1024, 512, 128), (524_288, 512, 128), (256, 160, 40), (64, LEAST_PROBING, LEAST_HANDED_OVER)],
)
def test_connections_leave_a_daemon_the_descriptors_that_it_needs(descriptors, probing, handed_over):
    limits = Limits.within(descriptors, own=56)
    assert (limits.probing, limits.handed_over) == (probing, handed_over)
