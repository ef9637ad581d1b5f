"""Scripts of an application, run for real."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from applications import Application
from waiting import until

from hcsidecar.application.processes import read_processes

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="real-time priority is root's")
APPLICATION = """
setsid sh -c 'echo $$ > pid; trap "" HUP; while :; do sleep 0.05; [ -e say ] && cat say && rm say; done' &
while [ ! -s pid ]; do sleep 0.01; done
"""
"Leaves a daemon behind, in a session of its own, which says what is in the file `say`."


@pytest.fixture
def application(tmp_path):
    made = Application(tmp_path)
    yield made
    asyncio.run(made.scripts().kill_application())


def run(application, key="start", *arguments, **table):
    return asyncio.run(application.scripts(**table).run(key, arguments))


@asynccontextmanager
async def running(scripts, key, *arguments):
    """A run that goes on meanwhile, and is cancelled at the end."""
    task = asyncio.ensure_future(scripts.run(key, arguments))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


def alive(pid):
    process = read_processes().get(pid)
    return process is not None and process.state != "Z"


def pid_in(path):
    return int(path.read_text()) if path.exists() and path.read_text().strip() else None


def test_a_script_that_ends_well_has_no_reason_and_its_output_is_in_its_log(application):
    application.write("start", 'echo "arguments: $*"; echo on standard error >&2')
    ending = run(application, "start", "STOP", "UP", "start")
    assert (ending.status, ending.reason) == (0, None)
    assert ending.last_lines == ("arguments: STOP UP start", "on standard error")
    assert ending.log.read_text() == "arguments: STOP UP start\non standard error\n"
    assert stat.S_IMODE(ending.log.stat().st_mode) == 0o600
    assert application.told == []


@pytest.mark.parametrize(
    ("text", "status", "reason"), [("exit 3", 3, "exit status 3"), ("kill -9 $$", None, "killed by SIGKILL")]
)
def test_a_script_that_fails_says_how_and_shows_its_last_lines(application, text, status, reason):
    application.write("start", f"for i in 1 2 3 4 5 6 7; do echo line $i; echo; done\nprintf '\\033[31mred'\n{text}")
    ending = run(application)
    assert (ending.status, ending.reason) == (status, reason)
    assert ending.last_lines == ("line 4", "line 5", "line 6", "line 7", "\\x1b[31mred")


def test_lines_of_output_are_shortened_for_an_event(application):
    application.write("start", "printf 'x%.0s' $(seq 5000)")
    assert [len(line) for line in run(application).last_lines] == [200]


def test_the_log_is_named_by_time_and_script(application):
    endings = [
        asyncio.run(application.scripts(wall_clock=lambda: 1795867200.5).run(key, arguments))
        for key, arguments in (("start", []), ("stop", ["UP"]), ("stop", ["force", "UP"]))
    ]
    assert [ending.log.name for ending in endings] == [
        "20261128T120000.500Z_start.log",
        "20261128T120000.500Z_stop.log",
        "20261128T120000.500Z_stop_force.log",
    ]


def test_runs_of_one_moment_have_logs_of_their_own(application):
    async def both():
        scripts = application.scripts(wall_clock=lambda: 1795867200.5)
        return await asyncio.gather(scripts.run("transition", ["1"]), scripts.run("transition", ["2"]))

    application.write("transition", "echo $1")
    first, second = asyncio.run(both())
    assert (first.log.read_text(), second.log.read_text()) == ("1\n", "2\n")


WHAT_A_SCRIPT_SEES = """
import json, os, signal, sys
status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
print(json.dumps({
    "environment": dict(os.environ), "umask": os.umask(0), "directory": os.getcwd(), "input": os.readlink("/proc/self/fd/0"),
    "descriptors": sorted(int(fd) for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")),
    "leads": os.getpid() == os.getpgid(0) == os.getsid(0), "ignored": status["SigIgn"], "blocked": status["SigBlk"],
    "scheduling": os.sched_getscheduler(0), "nice": os.nice(0), "spared": open("/proc/self/oom_score_adj").read().strip(),
}))
"""  # noqa: E501
A_HURRIED_DAEMON = """
import asyncio, contextlib, os, signal, sys
from pathlib import Path
from applications import Application
# All that a child process could inherit and must not.
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
os.umask(0o077)
os.dup2(1, 77)
if os.geteuid() == 0:
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    with contextlib.suppress(PermissionError):  # of a root without CAP_SYS_RESOURCE
        Path("/proc/self/oom_score_adj").write_text("-900")
application = Application(Path(sys.argv[1]))
print(asyncio.run(application.scripts(directory="work", environment=dict(os.environ)).run("start", [])).reason)
"""


@needs_root
def test_a_script_gets_an_environment_of_its_own_and_nothing_that_is_the_daemons(application):
    (application.directory / "work").mkdir()
    application.write("start", WHAT_A_SCRIPT_SEES, first=f"#!{sys.executable} -IS\n")
    done = subprocess.run(
        [sys.executable, "-c", A_HURRIED_DAEMON, application.directory],
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": "/root",
            "NOTIFY_SOCKET": "/x",
            "PYTHONPATH": str(Path(__file__).parents[1]),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("None\n", "")
    seen = json.loads(application.output())
    run_mark = seen["environment"].pop("HCSIDECAR_RUN")
    assert run_mark.startswith("apache/web1/")
    assert run_mark.endswith("Z_start")
    assert seen["environment"] == {
        "PATH": "/usr/bin:/bin",
        "HOME": "/root",
        "HCSIDECAR_FARM": "apache",
        "HCSIDECAR_NODE": "web1",
        "HCSIDECAR_CONFIG": str(application.config),
        "HCSIDECAR_SOCKET": str(application.state / "control.sock"),
        "HCSIDECAR_PYTHON": sys.executable,
        "HCSIDECAR_STATE_DIR": str(application.state),
        # Python's own doing, in the C locale.
        **{name: text for name, text in seen["environment"].items() if name == "LC_CTYPE"},
    }
    # Python ignores SIGPIPE and SIGXFSZ by itself.
    python_ignores = 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)
    # The C library keeps 32 and 33 to itself (nptl(7)): as they are inherited, so they stay.
    out_of_reach = 1 << 31 | 1 << 32
    assert int(seen.pop("ignored"), 16) & ~out_of_reach == python_ignores
    assert int(seen.pop("blocked"), 16) == 0
    del seen["environment"]
    assert seen == {
        "umask": 0o022,
        "directory": str(application.directory / "work"),
        "input": "/dev/null",
        "descriptors": [0, 1, 2],
        "leads": True,
        "scheduling": os.SCHED_OTHER,
        "nice": 0,
        "spared": "0",
    }


def test_a_script_dies_of_a_broken_pipe_as_from_a_shell(application):
    application.write("start", "yes | head -n 1; echo ${PIPESTATUS[0]}", first="#!/bin/bash\n")
    assert run(application).last_lines == ("y", str(128 + signal.SIGPIPE))


def test_a_safekit_module_finds_its_command_and_directories(application):
    application.write("start", "ls -d $SAFEBIN $SAFEUSERBIN $SAFEUSERCONF $SAFEVAR $SAFEUSERVAR; command -v safekit")
    ending = run(application, safekit=True)
    safe = f"{application.state}/safekit"
    assert ending.reason is None
    assert set(ending.log.read_text().split()) == {
        safe, str(application.bin), f"{safe}/conf", f"{safe}/var", f"{safe}/var/modules/apache", f"{safe}/safekit",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda script: script.unlink(), "bin/start is not there: make {}, or name another one"),
        (lambda script: script.chmod(0o644), "bin/start is not executable: chmod +x {}"),
        (lambda script: script.chmod(0o757), "bin/start may be written by others than its owner: chmod go-w {}"),
        (lambda script: script.parent.chmod(0o777), "may be written by others than its owner: chmod go-w"),
        (lambda script: script.write_text("#!/bin/sh\r\necho\r\n"), "cannot be started: the interpreter"),
        (lambda script: script.write_text("echo no first line"), "cannot be started: it is not a program"),
    ],
)
def test_a_script_that_may_not_or_cannot_run_is_told_with_the_remedy(application, spoil, said):
    script = application.bin / "start"
    spoil(script)
    ending = run(application)
    assert ending.status is None
    assert said.format(script) in ending.reason


def test_a_working_directory_that_is_missing_is_told(application):
    assert "its working directory: No such file" in run(application, directory="nowhere").reason


def test_a_script_that_closes_its_output_is_waited_for_to_its_end(application):
    application.write("start", "echo before\nexec >&- 2>&-\nsleep 0.2\nexit 4")
    ending = run(application)
    assert (ending.status, ending.last_lines) == (4, ("before",))


def test_a_gigabyte_of_output_fills_neither_disk_nor_memory(application):
    application.write("start", "echo first\nhead -c 1000000000 /dev/zero\necho; echo last")
    ending = run(application, log_kb=1024)
    sizes = [path.stat().st_size for path in ending.log.parent.iterdir()]
    assert (ending.status, ending.last_lines[-1]) == (0, "last")
    assert len(sizes) == 2
    assert sum(sizes) <= 1024 * 1024


async def left_by(scripts):
    """Count the processes that scripts have left running."""
    return len(await asyncio.to_thread(scripts._find))


def test_a_script_that_hangs_is_ended_with_its_group_when_its_time_is_over(application):
    application.write("start", "echo hangs\nsleep 1000 & echo $! > below\nwait")

    async def story():
        scripts = application.scripts()
        async with running(scripts, "start") as task:
            await until(lambda: pid_in(application.directory / "below"))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        return await scripts.last_lines("start"), await left_by(scripts)

    assert asyncio.run(story()) == (("hangs",), 0)
    assert not alive(pid_in(application.directory / "below"))


def test_a_script_that_ignores_sigterm_is_killed(application):
    application.write("stop", "trap '' TERM\necho $$ > pid\nwhile :; do sleep 1; done")

    async def story():
        scripts = application.scripts()
        async with running(scripts, "stop", "force") as task:
            await until(lambda: pid_in(application.directory / "pid"))
            task.cancel()
            # The operator is impatient: asking again does not let the script live.
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(story())
    assert not alive(pid_in(application.directory / "pid"))


def test_a_run_that_is_cancelled_at_once_leaves_nothing(application):
    application.write("start", "sleep 1000")

    async def story():
        scripts = application.scripts()
        for steps in (0, 1, 2, 5, 10, 20, 40, 80, 160):
            task = asyncio.ensure_future(scripts.run("start", []))
            for _ in range(steps):
                await asyncio.sleep(0.0005)
            task.cancel()
            await asyncio.wait({task})
        return await left_by(scripts)

    assert asyncio.run(story()) == 0


@pytest.mark.parametrize(
    "how",
    ["sh -c", "setsid sh -c", "env -i /usr/bin/setsid /bin/sh -c", "nohup env -i /usr/bin/setsid --fork /bin/sh -c"],
)
def test_what_a_start_script_leaves_running_is_found_and_ended_by_a_later_daemon(application, how):
    application.write(
        "start", f"{how} 'echo $$ > pid; exec /bin/sleep 1000' &\nwhile [ ! -s pid ]; do sleep 0.01; done"
    )

    async def story():
        ending = await application.scripts().run("start", [])
        later = application.scripts()
        counted = await left_by(later)
        return ending.reason, counted, await later.kill_application(), await left_by(later)

    assert asyncio.run(story()) == (None, 1, None, 0)
    assert not alive(pid_in(application.directory / "pid"))


def test_what_is_left_running_ignores_sigterm_in_vain(application):
    application.write("start", "sh -c 'trap \"\" TERM; echo $$ > pid; while :; do sleep 1; done' &\nsleep 0.2")

    async def story():
        scripts = application.scripts()
        await scripts.run("start", [])
        return await scripts.kill_application()

    assert asyncio.run(story()) is None
    assert not alive(pid_in(application.directory / "pid"))


def test_what_any_script_leaves_running_is_ended(application):
    application.write("start", APPLICATION)
    application.write("prestart", "setsid sleep 1000 &")

    async def story():
        scripts = application.scripts()
        await scripts.run("prestart", [])
        before = await left_by(scripts)
        await scripts.run("start", [])
        after = await left_by(scripts)
        return before > 0, after > before, await scripts.kill_application(), await left_by(scripts)

    assert asyncio.run(story()) == (True, True, None, 0)


def test_a_run_in_progress_is_left_alone_when_the_application_is_killed(application):
    application.write("transition", "touch began\nwhile [ ! -e go ]; do sleep 0.01; done\necho done")

    async def story():
        scripts = application.scripts()
        async with running(scripts, "transition") as task:
            await until((application.directory / "began").exists)
            reason = await scripts.kill_application()
            (application.directory / "go").touch()
            return reason, (await task).reason

    assert asyncio.run(story()) == (None, None)


def test_another_nodes_application_on_this_machine_is_left_alone(application, tmp_path):
    (tmp_path / "other").mkdir()
    other = Application(tmp_path / "other")
    other.write("start", APPLICATION)

    async def story():
        await other.scripts().run("start", [])
        counted = await left_by(application.scripts())
        await application.scripts().kill_application()
        lives = alive(pid_in(other.directory / "pid"))
        await other.scripts().kill_application()
        return counted, lives

    assert asyncio.run(story()) == (0, True)


def test_without_the_keeper_the_application_is_known_by_its_mark(application):
    application.write("start", APPLICATION)

    async def story():
        scripts = application.scripts()
        await scripts.run("start", [])
        (keeper,) = [record.keeper for record in scripts._files.read_records()]
        os.kill(keeper, signal.SIGKILL)
        await until(lambda: not alive(keeper))
        return await left_by(scripts) > 0, await scripts.kill_application()

    assert asyncio.run(story()) == (True, None)


def test_a_script_whose_keeper_is_killed_is_ended_and_told(application):
    application.write("start", "echo $$ > pid\nsleep 1000")

    async def story():
        scripts = application.scripts()
        async with running(scripts, "start") as task:
            await until(lambda: pid_in(application.directory / "pid") and scripts._files.read_records())
            os.kill(scripts._files.read_records()[0].keeper, signal.SIGKILL)
            return await task

    assert "its keeper was killed" in asyncio.run(story()).reason
    assert not alive(pid_in(application.directory / "pid"))


def test_a_keeper_ends_with_the_last_process_of_its_application(application):
    application.write("start", APPLICATION)

    async def story():
        scripts = application.scripts()
        await scripts.run("start", [])
        (record,) = scripts._files.read_records()
        assert alive(record.keeper)
        await scripts.kill_application()
        await until(lambda: not alive(record.keeper))
        return scripts._files.read_records()

    assert asyncio.run(story()) == []


def test_the_application_and_its_output_outlive_a_daemon_that_is_killed(application):
    application.write("start", APPLICATION)
    code = textwrap.dedent(
        """
        import asyncio, sys
        from applications import Application
        from pathlib import Path
        application = Application(Path(sys.argv[1]))
        async def main():
            print((await application.scripts().run("start", [])).reason, flush=True)
            await asyncio.sleep(1000)
        asyncio.run(main())
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, application.directory],
        env={"PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as daemon:
        assert daemon.stdout.readline() == "None\n"
        os.killpg(daemon.pid, signal.SIGKILL)
    (application.directory / "new").write_text("said after the daemon's death\n")
    (application.directory / "new").rename(application.directory / "say")

    async def story():
        await until(lambda: "said after the daemon's death" in application.output())
        return await left_by(application.scripts())

    assert asyncio.run(story()) > 0


def test_logs_that_are_old_go_with_the_next_run(application):
    logs = application.state / "application"
    logs.mkdir()
    for name in ("20250101T000000.000Z_start.log", "20250101T000000.000Z_start.log.old"):
        (logs / name).write_text("old")
        os.utime(logs / name, (0, 0))
    (logs / "20250101T000001.000Z_start.log").write_text("young")
    ending = run(application)
    assert {path.name for path in logs.iterdir()} == {"20250101T000001.000Z_start.log", ending.log.name}


def test_records_of_what_lives_no_more_go_with_the_next_run(application):
    records = application.state / "runs"
    records.mkdir()
    old = records / "20250101T000000.000Z_start.run"
    old.write_text("then 1 2 3 4 ")
    run(application)
    assert not old.exists()


def test_old_logs_go_while_nothing_is_run(application):
    logs = application.state / "application"
    logs.mkdir()
    (logs / "20250101T000000.000Z_start.log").write_text("old")
    os.utime(logs / "20250101T000000.000Z_start.log", (0, 0))

    async def story():
        task = asyncio.ensure_future(application.scripts().keep_tidy())
        await until(lambda: not list(logs.iterdir()))
        task.cancel()
        await asyncio.wait({task})

    asyncio.run(story())


def test_a_state_directory_that_takes_no_logs_is_told_once_and_scripts_run_all_the_same(application):
    (application.state / "application").write_text("in the way")

    async def story():
        scripts = application.scripts()
        return [(await scripts.run("start", [])).status for _ in range(2)]

    assert asyncio.run(story()) == [0, 0]
    said = [event.message for event in application.told]
    assert len(said) == len(set(said)) == 2
    assert "cannot be made" in said[0]


@pytest.mark.parametrize("found", ["nowhere", "fails"])
def test_without_a_systemd_that_works_scripts_run_in_the_background_and_that_is_told(application, tmp_path, found):
    programs = tmp_path / "programs"
    programs.mkdir()
    if found == "fails":
        (programs / "systemd-run").write_text("#!/bin/sh\necho Failed to connect to bus >&2\nexit 1\n")
        (programs / "systemd-run").chmod(0o755)
    code = (
        "import asyncio, sys; from pathlib import Path; from applications import Application\n"
        "a = Application(Path(sys.argv[1]))\n"
        "print(asyncio.run(a.scripts(systemd=True).run('start', [])).reason, *(e.message for e in a.told), sep='\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, application.directory],
        env={"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": str(programs)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    ended, warned = done.stdout.splitlines()
    assert ended == "None"
    assert warned.startswith("scripts run in this daemon's own unit")
    assert ("Failed to connect to bus" if found == "fails" else "systemd-run: No such file") in warned
