"""The helper process, which makes the calls to balancers: whatever happens to it is a failure of a call and no more."""

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
from contextlib import asynccontextmanager
from pathlib import Path

import odd_balancer
import pytest
from aws_here import here
from daemons import wait_for
from waiting import on_a_loop, until

from hcsidecar.core.targets.registration import Presence, TargetError, Trouble
from hcsidecar.targets.apart import HelperBalancer
from hcsidecar.targets.helper_process import HelperProcess

LIMIT = 20.0
"Seconds for what must succeed: this machine may have other things to do."


@pytest.fixture
def environment(tmp_path):
    """Give the environment of a process that finds the odd kind."""
    packages = tmp_path / "packages"
    packages.mkdir()
    odd_balancer.install(packages)
    return os.environ | {"PYTHONPATH": str(packages), "NOTIFY_SOCKET": "/nowhere"}


@asynccontextmanager
async def helper(environment, **options):
    """Give a helper process, which ends with the block."""
    process = HelperProcess("farm/web1", environment=environment, **options)
    try:
        yield process
    finally:
        await process.close()


def side(process, tmp_path, deed="", *, name="odd", limit=LIMIT):
    """Give the side of a target that does what `deed` says at each look."""
    table = {"type": "odd", "name": name, "deed": textwrap.dedent(deed)}
    return HelperBalancer(process, name=name, kind="odd", table=table, here=here(tmp_path), limit=limit)


async def failure(call):
    with pytest.raises(TargetError) as caught:
        await call
    assert caught.value.trouble is Trouble.RETRY
    return caught.value.text


async def works_again(process, tmp_path):
    """Another target's call succeeds; gives the process that made it."""
    seen = await side(process, tmp_path, name="other").observe()
    assert seen.presence is Presence.HEALTHY
    return int(seen.reason)


def descriptors():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def runs(pid):
    """Tell whether a process runs; what has ended and is not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@on_a_loop
async def test_a_call_is_made_in_a_process_that_has_nothing_of_the_daemons(tmp_path, environment):
    deed = """
        import json, os, resource, sys
        from pathlib import Path
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        said = json.dumps({
            "capabilities": [int(status[f"Cap{which}"], 16) for which in ("Inh", "Prm", "Eff", "Amb")],
            "no new ones": int(status["NoNewPrivs"]),
            "leads its group": os.getpgrp() == os.getpid(),
            "policy": os.sched_getscheduler(0),
            "spared": int(Path("/proc/self/oom_score_adj").read_text()),
            "memory": resource.getrlimit(resource.RLIMIT_DATA)[0] >> 20,
            "files": [os.readlink(f"/proc/self/fd/{fd}").split(":")[0] for fd in (0, 1, 2)],
            "secret": any(str(path.resolve()).endswith("secret") for path in Path("/proc/self/fd").iterdir()),
            "systemd": "NOTIFY_SOCKET" in os.environ,
            "name": sys.orig_argv[-1],
            "here": [str(self.here.state_dir), self.here.vips == ("127.0.1.50",)],
        })
    """  # fmt: skip
    async with helper(environment) as process:
        with (tmp_path / "secret").open("w"):
            seen = await side(process, tmp_path, deed).observe()
    assert json.loads(seen.reason) == {
        "capabilities": [0, 0, 0, 0],
        "no new ones": 1,
        "leads its group": True,
        "policy": os.SCHED_OTHER,
        "spared": 500,
        "memory": 512,
        "files": ["/dev/null", "/dev/null", "pipe"],
        "secret": False,
        "systemd": False,
        "name": "farm/web1",
        "here": [str(tmp_path), True],
    }


@on_a_loop
async def test_all_targets_share_one_process_which_ends_when_there_is_nothing_to_do(tmp_path, environment):
    async with helper(environment, idle=0.3) as process:
        assert process.pid is None
        first = int((await side(process, tmp_path, name="a").observe()).reason)
        await side(process, tmp_path, name="b").deregister()
        assert int((await side(process, tmp_path, name="b").observe()).reason) == first == process.pid
        await until(lambda: process.pid is None, limit=LIMIT)
        await until(lambda: not Path(f"/proc/{first}").exists(), limit=LIMIT)
        assert (tmp_path / "closed").exists()
        assert await works_again(process, tmp_path) != first


@on_a_loop
async def test_what_a_side_must_not_forget_it_is_told_by_the_next_process(tmp_path, environment):
    async with helper(environment, idle=0.0) as process:
        looks = side(process, tmp_path, "said = str(self.looks)")
        for number in (1, 2, 3):
            assert (await looks.observe()).reason == str(number)
            await until(lambda: process.pid is None, limit=LIMIT)


@on_a_loop
async def test_what_a_call_raises_is_its_failure_with_its_words(tmp_path, environment):
    async with helper(environment) as process:
        odd = side(
            process, tmp_path, "import hcsidecar.targets.kind as k\nraise k.TargetError(k.Trouble.AUTH, 'no key')"
        )
        with pytest.raises(TargetError) as caught:
            await odd.observe()
        assert (caught.value.trouble, caught.value.text) == (Trouble.AUTH, "no key")
        late = side(process, tmp_path, "raise TimeoutError", name="late")
        assert await failure(late.observe()) == "no answer in time"
        assert await failure(odd.register()) == "KeyError: 'RegisterTargetsResult'"
        assert len(await failure(side(process, tmp_path, "raise ValueError('x' * 10**6)", name="b").observe())) == 500
        no_kind = HelperBalancer(process, name="x", kind="nothing", table={}, here=here(tmp_path), limit=LIMIT)
        with pytest.raises(TargetError, match="there is no kind nothing") as caught:
            await no_kind.observe()
        assert caught.value.trouble is Trouble.CONFIG


_SAY = "import os, sys, time; from hcsidecar.targets.questions import *; packets = int(sys.argv[1]); "


@pytest.mark.parametrize(
    ("deed", "told"),
    [
        ("print('no idea', file=sys.stderr); os._exit(3)", "has ended with status 3: no idea"),
        ("os.kill(os.getpid(), 9)", "was killed by SIGKILL: by somebody, or by the kernel because memory ran out"),
        ("import ctypes; ctypes.string_at(0)", "was ended by SIGSEGV"),
        ("raise SystemExit('done')", "has ended with status 1: SystemExit: done"),
        ("os.write(packets, b'HTTP/1.1 200 OK'); time.sleep(60)", "says what makes no sense, and is killed: "),
        ("os.write(packets, bytes(100_000)); time.sleep(60)", "says what makes no sense, and is killed: "),
        ("os.write(packets, encode(CallResult(number=99)))", "answers what was not asked, and is killed"),
        ("os.write(packets, encode(Begun()))", "answers what was not asked, and is killed"),
        ("os.close(packets); time.sleep(60)", "has closed its connection, and is killed"),
    ],
)
@on_a_loop
async def test_its_death_and_its_nonsense_are_failures_of_a_call_and_the_next_one_works(
    tmp_path, environment, deed, told
):
    async with helper(environment) as process:
        before = await works_again(process, tmp_path)
        assert (await failure(side(process, tmp_path, _SAY + deed).observe())).startswith(f"the helper process {told}")
        assert await works_again(process, tmp_path) != before
        await until(lambda: not Path(f"/proc/{before}").exists(), limit=LIMIT)


@pytest.mark.parametrize("deed", ["time.sleep(60)", "os.kill(os.getpid(), 19)"])
@on_a_loop
async def test_one_that_hangs_is_killed_with_what_it_has_started(tmp_path, environment, deed):
    async with helper(environment, unanswered=0.3) as process:
        before = await works_again(process, tmp_path)
        child = tmp_path / "child"
        started = f"""
            import os, subprocess, time
            open({str(child)!r}, "w").write(str(subprocess.Popen(["sleep", "60"]).pid))
            {deed}
        """
        odd = side(process, tmp_path, started, limit=1.5)
        assert await failure(odd.observe()) == "no answer within 1.5 s"
        await until(lambda: not Path(f"/proc/{before}").exists(), limit=LIMIT)
        await until(lambda: not runs(child.read_text()), limit=LIMIT)
        assert await works_again(process, tmp_path) != before


@on_a_loop
async def test_a_call_that_waits_is_given_up_at_its_limit_and_harms_no_other(tmp_path, environment):
    async with helper(environment) as process:
        before = await works_again(process, tmp_path)
        waiting = (
            "import asyncio, hcsidecar.targets.calls as c, time\n"
            "calls = getattr(self, 'calls', None) or c.Calls()\nself.calls = calls\n"
            "self.observe = lambda: calls.run(lambda: time.sleep(60))\nraise KeyError('from now on')"
        )
        odd = side(process, tmp_path, waiting, limit=0.2)
        with pytest.raises(TargetError):
            await odd.observe()
        assert await failure(odd.observe()) == "no answer within 0.2 s"
        assert await failure(odd.observe()) == "the former call still has no answer"
        assert await works_again(process, tmp_path) == before


@on_a_loop
async def test_an_answer_without_an_end_runs_out_of_its_memory_and_of_nobody_elses(tmp_path, environment):
    async with helper(environment) as process:
        deed = "answer = b''\nwhile True: answer += bytes(10**8)"
        text = await failure(side(process, tmp_path, deed).observe())
        assert "has not enough memory, 512 MiB: is the answer of the balancer endless?" in text
        await works_again(process, tmp_path)


@on_a_loop
async def test_what_a_kind_prints_neither_blocks_it_nor_comes_into_the_daemon(tmp_path, environment, capfd):
    async with helper(environment) as process:
        deed = "import sys\nfor _ in range(200): print('x' * 10_000); print('y' * 10_000, file=sys.stderr)"
        assert (await side(process, tmp_path, deed).observe()).presence is Presence.HEALTHY
    assert capfd.readouterr() == ("", "")


@on_a_loop
async def test_a_program_that_is_not_there_is_a_failure_of_a_call(tmp_path, environment):
    async with helper(environment, command=("/nowhere/python", "-m", "x")) as process:
        for _ in range(2):
            text = await failure(side(process, tmp_path).observe())
            assert text == "the helper process cannot be started: no such file or directory"


@on_a_loop
async def test_a_lack_of_descriptors_is_a_failure_of_a_call(tmp_path, environment):
    async with helper(environment) as process:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = descriptors()
        try:
            for more in range(8):
                resource.setrlimit(resource.RLIMIT_NOFILE, (used + more, before[1]))
                text = await failure(side(process, tmp_path, limit=0.1).observe())
                assert text == "the helper process cannot be started: too many open files"
                if more == 2:
                    break
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert descriptors() == used
        await works_again(process, tmp_path)


_NOBODY = 65534
_ASK_ONCE = """
import asyncio, os, resource, sys
from hcsidecar.core.targets.registration import TargetError
from hcsidecar.targets.apart import HelperBalancer
from hcsidecar.targets.helper_process import HelperProcess
from hcsidecar.targets.questions import Call, CallRequest

async def ask():
    question = CallRequest(target="x", call=Call.OBSERVE, kind="odd", table={}, here={}, notes=b"")
    try:
        await HelperProcess("x").ask(question, limit=5)
    except TargetError as error:
        print(error.text)

processes = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
os.setuid(65534)
asyncio.run(ask())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="root has no limit of processes, and only root becomes somebody else")
@pytest.mark.parametrize("processes", [0, 1])
def test_a_lack_of_processes_or_threads_is_a_failure_of_a_call(processes):
    used = subprocess.run(
        ["ps", "-L", "-U", str(_NOBODY), "-o", "lwp="], capture_output=True, text=True, check=False
    ).stdout.split()
    done = subprocess.run(
        [sys.executable, "-c", _ASK_ONCE, str(len(used) + 1 + processes)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    told = "the helper process cannot be started: no more processes or threads are allowed here (`pids` or `TasksMax`"
    assert done.stdout.startswith(told), done.stderr


_DAEMON = """
import asyncio, sys
from pathlib import Path
import test_helper_process as test

async def run():
    async with test.helper(test.os.environ) as process:
        place = Path(sys.argv[1])
        deed = f"open({str(place / 'pid')!r}, 'w').write(said)\\nwhile True: sum(range(10**9))"
        await test.side(process, place, deed).observe()

asyncio.run(run())
"""


def test_a_daemon_that_is_killed_takes_it_along_whatever_it_is_at(tmp_path, environment):
    tests = Path(__file__).parent
    environment["PYTHONPATH"] += f":{tests}:{tests.parent}"
    daemon = subprocess.Popen([sys.executable, "-c", _DAEMON, tmp_path], env=environment)
    try:
        pid = tmp_path / "pid"
        wait_for(lambda: pid.exists() and pid.read_text(), limit=60, what="a call that computes without an end")
        assert runs(pid.read_text())
    finally:
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
    wait_for(lambda: not runs(pid.read_text()), what="the end of the helper process")
