"""The `safekit` command against a node: what scripts may call, its exit statuses, and how fast it is."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from api_nodes import FakeControl
from cli_farm import cli_farm

from hcsidecar.api.local import local_app
from hcsidecar.api.routes import Api
from hcsidecar.api.servers import serve_unix
from hcsidecar.core.documents import CommandResult

MODULE = "web_farm"


class Script:
    """A script's view: its environment, and the command."""

    def __init__(self, path, control):
        self.path = path
        self.control = control
        self.logged = []

    async def __call__(self, *words, **environment):
        """Give a command; its exit status, and all that it prints."""
        own = {"HCSIDECAR_SOCKET": str(self.path), "SAFEMODULE": MODULE}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "hcsidecar.safekit.command", *words),
            env={**os.environ, **own, **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await asyncio.wait_for(process.communicate(), 30)
        return process.returncode, out.decode()


@asynccontextmanager
async def script(directory):
    control = FakeControl(node="web1", nodes={"web1": None}, farm=MODULE)
    path = directory / "control.sock"
    running = Script(path, control)
    app = local_app(Api(control), None)

    @web.middleware
    async def log(request, handler):
        if request.path != "/api/v1/log":
            return await handler(request)
        running.logged.append(await request.json())
        return web.json_response({"ok": True, "text": "written", "warnings": []})

    app.middlewares.append(log)
    async with serve_unix(app, path):
        yield running


def played(story):
    """Run a story with a script's command."""

    async def whole(directory):
        async with script(directory) as safekit:
            return await story(safekit)

    with cli_farm() as farm:
        return asyncio.run(whole(farm.directory))


def given(*words, prepare=lambda control: None):
    """Give one command; its exit status, what it prints, and the node."""

    async def story(safekit):
        prepare(safekit.control)
        status, out = await safekit(*words)
        return status, out, safekit

    return played(story)


@pytest.mark.parametrize(
    ("words", "level", "text"),
    [
        (["printi", "Apache is up"], "info", "Apache is up"),
        (["printw", "Apache", "is", "up"], "warning", "Apache is up"),
        (["printe", "Äpache — ✓"], "error", "Äpache — ✓"),
        (["printi", "-m", MODULE, "in", "-m", "order"], "info", "in -m order"),
        (["-m", MODULE, "printi", "-i", "two\nlines"], "info", "-i two\nlines"),
        (["printi", b"not \xff text".decode("utf-8", "surrogateescape")], "info", r"not \xff text"),
        (["printi", "x" * 5000], "info", "x" * 1000),
    ],
)
def test_scripts_write_into_the_log(words, level, text):
    status, out, safekit = given(*words)
    assert (status, out) == (0, "")
    assert safekit.logged == [{"level": level, "text": text, "origin": "script", "by": ""}]


def test_nothing_to_print_is_nothing_to_log():
    status, _, safekit = given("printi", "")
    assert (status, safekit.logged) == (0, [])


@pytest.mark.parametrize(
    ("words", "action", "force"),
    [
        (["start"], "start", False),
        (["stop"], "stop", False),
        (["restart", "-m", MODULE], "restart", False),
        (["-m", MODULE, "stopstart"], "restart", False),
        (["forcestop"], "stop", True),
    ],
)
def test_without_an_identity_it_is_an_operators_command(words, action, force):
    status, out, safekit = given(*words)
    assert (status, out) == (0, "")
    [(did, forced, _)] = safekit.control.acts
    assert (did, forced) == (action, force)
    assert safekit.control.requests == []


@pytest.mark.parametrize("action", ["restart", "stopstart", "stop", "wait"])
def test_with_an_identity_it_is_the_applications_own_request(action):
    status, out, safekit = given(action, "-i", "start_both")
    assert (status, out) == (0, "")
    assert safekit.control.requests == [(action, "start_both")]
    assert safekit.control.acts == []


def test_a_refusal_fails_with_its_reason():
    def prepare(control):
        control.request_answer = CommandResult(ok=False, text="the module is stopped")

    assert given("restart", "-i", "x", prepare=prepare)[:2] == (1, "safekit: the module is stopped\n")


def test_a_custom_check_is_set_and_read():
    async def story(safekit):
        safekit.control.checks_said.update(QUEUE="init", HTTP="up")
        safekit.control.checks_said["tcp.HTTP"] = "down"
        assert await safekit("get", "-r", "custom.QUEUE") == (0, "init\n")
        assert await safekit("set", "-r", "custom.QUEUE", "-v", "down", "-i", "watcher", "-m", MODULE) == (0, "")
        assert await safekit("get", "-r", "QUEUE") == (0, "down\n")
        assert await safekit("set", "-r", "QUEUE", "-v", "up", "-n") == (0, "")
        assert safekit.control.checks_said["QUEUE"] == "up"
        assert await safekit("get", "-r", "proc.HTTP") == (0, "up\n")
        assert await safekit("get", "-r", "tcp.HTTP") == (0, "down\n")
        assert await safekit("get", "-r", "custom.NONE") == (1, "safekit: no check 'NONE' in this farm\n")
        assert await safekit("set", "-r", "custom.NONE", "-v", "up") == (1, "safekit: no custom check NONE\n")

    played(story)


@pytest.mark.parametrize(
    ("role", "status", "code"), [("STOP", "NotReady", 0), ("WAIT", "NotReady", 1), ("UP", "Ready", 2)]
)
def test_the_state_is_told_in_words_and_as_an_exit_status(role, status, code):
    async def story(safekit):
        safekit.control.row("web1", role=role, status=status)
        assert await safekit("state") == (0, f"{role} {status}\n")
        assert await safekit("state", "-v", "-m", MODULE) == (0, f"{role} {status}\n")
        assert await safekit("state", "-lq") == (code, "")

    played(story)


def test_the_budget_is_counted_asked_for_and_begun_anew():
    async def story(safekit):
        assert (await safekit("checkloop"))[0] == 0
        assert [(await safekit("incloop", "-i", "handler"))[0] for _ in range(4)] == [0, 0, 0, 1]
        assert await safekit("checkloop") == (1, "3 of 3 restarts\n")
        assert await safekit("resetloop", "-m", MODULE) == (0, "")
        assert await safekit("checkloop") == (0, "0 of 3 restarts\n")
        assert safekit.control.counted[:3] == ["handler"] * 3

    played(story)


def test_waiting_ends_when_the_module_is_there():
    async def story(safekit):
        safekit.control.row("web1", role="UP", status="Transient")
        started = asyncio.create_task(safekit("waitstart"))
        stopped = asyncio.create_task(safekit("waitstop"))
        await asyncio.wait([started, stopped], timeout=0.5)
        assert not started.done()
        safekit.control.row("web1", role="UP", status="Ready")
        assert await started == (0, "")
        assert not stopped.done()
        safekit.control.row("web1", role="STOP", status="NotReady")
        assert await stopped == (0, "")
        assert await safekit("waitstart") == (1, "safekit: waitstart: the module is stopped\n")

    played(story)


def test_the_version_is_told():
    status, out, _ = given("level")
    assert status == 0
    assert out.startswith("hcsidecar ")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "a command is missing"),
        (["-m", MODULE], "a command is missing"),
        (["swap"], "`safekit swap` is not supported here"),
        (["-r", "saferpc_send", "vipd", "SETGROUPS", "all"], "`safekit -r` is not supported here"),
        (["-H", "*", "stop"], "`safekit -H` is not supported here"),
        (["errd", "disable", "x"], "`safekit errd` is not supported here"),
        (["stop", "-m", "other"], "-m other: only the script's own module can be meant, web_farm"),
        (["stop", "-m"], "-m : only the script's own module"),
        (["stop", "now"], "takes options only"),
        (["stop", "-x"], "`safekit stop -x` is not supported here"),
        (["stop", "-i"], "-i takes a value"),
        (["stop", "-i", ""], "-i WHO is missing"),
        (["wait"], "-i WHO is missing"),
        (["start", "-i", "x"], "start -i is not supported here"),
        (["incloop"], "-i WHO is missing"),
        (["set", "-r", "custom.X"], "-v up|down is missing"),
        (["set", "-v", "up"], "-r RESOURCE is missing"),
        (["set", "-r", "custom.X", "-v", "unknown"], "-v is up or down, not 'unknown'"),
        (["set", "-r", "tcp.X", "-v", "up"], "set -r tcp.X is not supported here"),
        (["get", "-r", "heart.stopstartloop"], "get -r heart.stopstartloop is not supported here"),
        (["get", "-r", "b?c ä"], "no check 'b?c ä' in this farm"),
    ],
)
def test_what_cannot_be_done_is_said_and_fails(words, told):
    status, out, safekit = given(*words)
    assert status == 1
    assert out.startswith("safekit: ")
    assert told in out
    assert (safekit.control.acts, safekit.control.requests, safekit.logged) == ([], [], [])


def command(*words, **environment):
    return subprocess.run(
        [sys.executable, "-P", "-m", "hcsidecar.safekit.command", *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("words", [["printi", "x"], ["stop", "-i", "x"], ["state"], ["checkloop"], ["get", "-r", "X"]])
def test_without_a_daemon_a_command_fails_and_says_so(tmp_path, words):
    done = command(*words, HCSIDECAR_SOCKET=str(tmp_path / "none"))
    assert done.returncode == 1
    assert done.stderr.startswith("safekit: no daemon answers on")


def test_without_a_daemon_the_state_is_no_state(tmp_path):
    assert command("state", "-lq", HCSIDECAR_SOCKET=str(tmp_path / "none")).returncode == 255


def test_outside_of_a_script_a_command_says_so():
    done = command("printi", "x", HCSIDECAR_SOCKET="")
    assert done.returncode == 1
    assert "for the scripts that hcsidecar runs" in done.stderr


@pytest.mark.parametrize("answer", [b"", b"hello", b"HTTP/1.0 200 OK\r\n\r\n{", b"HTTP/1.0 200 OK\r\n\r\n[]"])
def test_what_is_no_daemon_is_not_believed(tmp_path, answer):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "hcsidecar.safekit.command", "state"],
            env={**os.environ, "HCSIDECAR_SOCKET": str(tmp_path / "s")},
            stderr=subprocess.PIPE,
            text=True,
        )
        listener.settimeout(30)
        connection, _ = listener.accept()
        with connection:
            connection.recv(9999)
            connection.sendall(answer)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 1
    assert told.startswith("safekit: ")
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("place", "status", "told"),
    [
        ("/dev/full", 1, "standard output cannot be written: No space left on device\n"),
        ("nobody", -signal.SIGPIPE, ""),
    ],
)
def test_output_that_cannot_be_written_is_told_in_one_line(place, status, told):
    if place == "nobody":
        reader, out = os.pipe()
        os.close(reader)
    else:
        out = os.open(place, os.O_WRONLY)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "hcsidecar.safekit.command", "level"],
        stdout=out,
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        check=False,
    )
    os.close(out)
    assert (done.returncode, done.stderr) == (status, told)


def test_the_command_imports_little_so_that_it_is_fast():
    listing = (
        "import sys; import hcsidecar.safekit.command;"
        "import json; print(json.dumps([name.partition('.')[0] for name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", listing], capture_output=True, text=True, timeout=30, check=True)
    found = set(json.loads(done.stdout))
    heavy = {"aiohttp", "asyncio", "http", "importlib_metadata", "msgspec", "pydantic", "ssl", "subprocess", "typer"}
    assert found & heavy == set()
