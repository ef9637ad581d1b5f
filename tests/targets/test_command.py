"""Targets behind a program: what it is asked, what its end means, and the example for nginx with a real one."""

import asyncio
import json
import shutil
import stat
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from leftovers import living_below
from waiting import on_a_loop, until

from hcsidecar.core.farmfile.target_tables import CommandTarget
from hcsidecar.core.targets.registration import Observation, Presence, TargetError, Trouble
from hcsidecar.targets.command import KIND, ProgramBalancer
from hcsidecar.targets.kind import Here

EXAMPLE = Path(__file__).parents[2] / "config" / "examples" / "nginx" / "bin" / "nginx-upstream"
LIMIT = 20.0


def here_of(directory, **changes):
    here = Here(
        farm="shop",
        node="web1",
        address="192.0.2.11",
        addresses={"web1": "192.0.2.11"},
        health_port=9010,
        health_tls=False,
        health_path="/health",
        directory=directory,
        state_dir=directory,
    )
    return replace(here, **changes)


def program(directory, text, **options):
    path = directory / "register"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    table = CommandTarget.model_validate({"type": "command", "name": "pool", "command": ["register", "a b"]} | options)
    return ProgramBalancer(table, here_of(directory), base={"PATH": "/usr/bin:/bin", "AWS_SECRET": "x", "LC_ALL": "C"})


@on_a_loop
async def test_a_program_is_asked_by_json_on_its_standard_input(tmp_path):
    side = program(tmp_path, "cat >asked; pwd >where; printf '%s' \"$1\" >argument; env >environment")
    for call in ("register", "deregister", "retire"):
        await getattr(side, call)()
        assert json.loads((tmp_path / "asked").read_text()) == {
            "call": call,
            "farm": "shop",
            "node": "web1",
            "address": "192.0.2.11",
            "target": "pool",
            "health_url": "http://192.0.2.11:9010/health",
        }
    assert (tmp_path / "where").read_text() == f"{tmp_path}\n"
    assert (tmp_path / "argument").read_text() == "a b"
    environment = (tmp_path / "environment").read_text().splitlines()
    assert {"HCSIDECAR_FARM=shop", "HCSIDECAR_NODE=web1", "HCSIDECAR_TARGET=pool", "LC_ALL=C"} <= set(environment)
    assert not any("AWS_SECRET" in line for line in environment)


@on_a_loop
async def test_a_health_url_is_written_as_it_is_asked(tmp_path):
    table = CommandTarget.model_validate({"type": "command", "command": ["register"]})
    program(tmp_path, "cat >asked")
    await KIND.open(table, here_of(tmp_path, address="2001:db8::1", health_tls=True)).register()
    assert json.loads((tmp_path / "asked").read_text())["health_url"] == "https://[2001:db8::1]:9010/health"


@on_a_loop
async def test_a_program_need_not_read_its_question(tmp_path):
    await program(tmp_path, "exit 0").register()


@on_a_loop
async def test_what_it_prints_is_what_is_seen_and_its_errors_are_not_a_part_of_it(tmp_path):
    answer = '{"presence": "unhealthy", "reason": "two\\nlines", "former": ["192.0.2.7:80"], "more": 1}'
    (tmp_path / "answer").write_text(answer)
    seen = await program(tmp_path, "echo note >&2; cat answer").observe()
    assert seen == Observation(presence=Presence.UNHEALTHY, reason="two lines", former=("192.0.2.7:80",))


@pytest.mark.parametrize(
    "printed", ["", "healthy", '{"presence": "fine"}', "[]", '{"reason": ""}', "{" * 100_000, "\\377"]
)
@on_a_loop
async def test_an_answer_that_makes_no_sense_is_quoted_and_tried_again(tmp_path, printed):
    (tmp_path / "answer").write_text(printed)
    with pytest.raises(TargetError, match="must print JSON like") as error:
        await program(tmp_path, "cat answer").observe()
    assert error.value.trouble is Trouble.RETRY
    assert len(error.value.text) < 600


@pytest.mark.parametrize(
    ("end", "trouble", "text"),
    [
        ("echo 'the pool is gone' >&2; exit 78", Trouble.CONFIG, "the pool is gone (exit status 78)"),
        ("echo noise; exit 75", Trouble.RETRY, "exit status 75"),
        ("exit 77", Trouble.AUTH, "exit status 77"),
        ("exit 69", Trouble.THROTTLE, "exit status 69"),
        ("exit 64", Trouble.CONFIG, "exit status 64"),
        ("exit 1", Trouble.RETRY, "exit status 1"),
        ("no-such-program", Trouble.CONFIG, "not found (exit status 127)"),
        ("kill -9 $$", Trouble.RETRY, "killed by SIGKILL"),
    ],
)
@on_a_loop
async def test_its_end_says_what_kind_of_trouble_and_the_last_line_of_its_errors_why(tmp_path, end, trouble, text):
    for call in ("observe", "register"):
        with pytest.raises(TargetError) as error:
            await getattr(program(tmp_path, end), call)()
        assert error.value.trouble is trouble
        assert error.value.text.endswith(text)


@on_a_loop
async def test_a_program_that_others_could_change_or_that_is_missing_is_not_run(tmp_path):
    side = program(tmp_path, "touch ran")
    (tmp_path / "register").chmod(0o777)
    with pytest.raises(TargetError, match="can be written by others than its owner") as error:
        await side.register()
    assert error.value.trouble is Trouble.CONFIG
    (tmp_path / "register").unlink()
    with pytest.raises(TargetError, match="there is no "):
        await side.register()
    assert not (tmp_path / "ran").exists()


@on_a_loop
async def test_a_call_that_is_given_up_leaves_nothing_running(tmp_path):
    side = program(tmp_path, "sleep 1000 & echo begun >begun; sleep 1000")
    call = asyncio.create_task(side.register())
    await until((tmp_path / "begun").exists, limit=LIMIT)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: not living_below(tmp_path), limit=LIMIT, what="the end of all that was started")


# The example for nginx

NGINX = """
pid {directory}/nginx.pid;
error_log {directory}/error.log;
worker_processes 1;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {directory}/tmp; proxy_temp_path {directory}/tmp; fastcgi_temp_path {directory}/tmp;
    uwsgi_temp_path {directory}/tmp; scgi_temp_path {directory}/tmp;
    upstream web {{
        server 127.0.0.1:9 down;
        include {directory}/web.d/*.conf;
    }}
    server {{
        listen unix:{directory}/clients.sock;
        location / {{ proxy_pass http://web; }}
    }}
}}
"""


@asynccontextmanager
async def nginx(directory):
    """A real one with an upstream of no servers yet; gives how it is called."""
    (directory / "web.d").mkdir()
    config = directory / "nginx.conf"
    config.write_text(NGINX.format(directory=directory))
    words = ["nginx", "-e", str(directory / "error.log"), "-c", str(config)]
    process = await asyncio.create_subprocess_exec(*words, "-g", "daemon off;", stderr=asyncio.subprocess.DEVNULL)
    try:
        await until((directory / "clients.sock").exists, limit=LIMIT, what="nginx")
        await until((directory / "nginx.pid").exists, limit=LIMIT, what="nginx")
        yield " ".join(words)
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def web_server(name):
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n" + name.encode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def ask(directory):
    reader, writer = await asyncio.open_unix_connection(directory / "clients.sock")
    try:
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        head, _, body = (await asyncio.wait_for(reader.read(), LIMIT)).partition(b"\r\n\r\n")
        return body.decode() if b" 200 " in head.splitlines()[0] else head.split()[1].decode()
    finally:
        writer.close()


async def are_asked(directory, *names):
    """Wait until these, and no others, answer; nginx's old workers may do so for a while."""
    async with asyncio.timeout(LIMIT):
        answers = None
        while answers != set(names):
            await asyncio.sleep(0.02)
            answers = {await ask(directory) for _ in range(6)}


def node_at_nginx(directory, name, port, called):
    words = [str(EXAMPLE), "--port", str(port), "--nginx", called, str(directory / "web.d")]
    table = CommandTarget.model_validate({"type": "command", "command": words})
    # The Python of the tests, for one that has none of Debian's.
    base = {"PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"}
    return ProgramBalancer(table, here_of(directory, node=name, address="127.0.0.1"), base=base)


def test_the_example_can_be_run():
    assert EXAMPLE.stat().st_mode & stat.S_IXUSR


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
@on_a_loop
async def test_the_example_keeps_the_upstream_of_a_real_nginx(tmp_path):
    async with nginx(tmp_path) as called, web_server("one") as first, web_server("two") as second:
        one, two = node_at_nginx(tmp_path, "web1", first, called), node_at_nginx(tmp_path, "web2", second, called)
        assert (await one.observe()).presence is Presence.ABSENT
        await are_asked(tmp_path, "502")
        # Both at once: neither may undo what the other does.
        await asyncio.gather(one.register(), two.register())
        await one.register()
        await are_asked(tmp_path, "one", "two")
        assert (await one.observe()).presence is Presence.HEALTHY
        await one.deregister()
        await one.deregister()
        await are_asked(tmp_path, "two")
        assert (await one.observe()).presence is Presence.ABSENT
        assert (await two.observe()).presence is Presence.HEALTHY
        moved = node_at_nginx(tmp_path, "web2", first, called)
        seen = await moved.observe()
        assert (seen.presence, seen.reason) == (Presence.ABSENT, "web2.conf has another address")
        await moved.register()
        await are_asked(tmp_path, "one")


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
@on_a_loop
async def test_the_example_undoes_what_nginx_does_not_take(tmp_path):
    async with nginx(tmp_path) as called, web_server("one") as port:
        side = node_at_nginx(tmp_path, "web1", port, called)
        await side.register()
        (tmp_path / "web.d" / "other.conf").write_text("nonsense\n")
        with pytest.raises(TargetError, match="test failed") as error:
            await side.deregister()
        assert error.value.trouble is Trouble.CONFIG
        assert (await side.observe()).presence is Presence.HEALTHY
        assert sorted(path.name for path in (tmp_path / "web.d").glob("*.conf*")) == ["other.conf", "web1.conf"]
        (tmp_path / "web.d" / "other.conf").unlink()
        await side.deregister()


@on_a_loop
async def test_the_example_says_that_its_directory_is_missing(tmp_path):
    side = node_at_nginx(tmp_path, "web1", 80, "nginx")
    with pytest.raises(TargetError, match=r"web\.d") as error:
        await side.observe()
    assert error.value.trouble is Trouble.CONFIG
