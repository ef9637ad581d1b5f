"""The commands that ask daemons: what they print, what they wait for, and their exit status, which scripts rely on."""

import asyncio
import json
import os
import pty
import re
import select
import signal
import time

import msgspec
import pytest
from cli_farm import cli_farm

from hcsidecar.api.control import NodeCommand
from hcsidecar.cli.status import exit_status
from hcsidecar.core.documents import CommandResult, NodeStatus
from hcsidecar.core.events import Event, Level

TWO = {"web1": "127.0.0.1", "web2": "203.0.113.2"}


def commanded(story, **settings):
    """Run `story(farm)` with a farm file, and give what it returns."""

    async def told(farm):
        return await story(farm)

    with cli_farm(**settings) as farm:
        return asyncio.run(told(farm))


def seen_by_all(nodes, name, **changes):
    """Change what every node says about one."""
    for node in nodes.values():
        node.control.status()
        node.control.row(name, **changes)


# status


@pytest.mark.parametrize(
    ("alive", "role", "status", "expected"),
    [
        (True, "UP", "Ready", 0),
        (True, "UP", "Transient", 1),
        (True, "UP", "NotReady", 1),
        (True, "WAIT", "NotReady", 1),
        (True, "WAIT", "Transient", 1),
        (True, "STOP", "NotReady", 3),
        (False, "UP", "Ready", 3),
        (False, None, None, 3),
    ],
)
def test_the_exit_status_tells_the_state(alive, role, status, expected):
    assert exit_status(NodeStatus(name="web1", alive=alive, role=role, status=status)) == expected


def test_status_shows_the_whole_farm():
    async def story(farm):
        async with farm.running(["web1", "web2", "web3"], remote=["web2", "web3"]) as nodes:
            control = nodes["web1"].control
            control.row("web1", draining=True, waits_for=["2 connections to port 80"], share={"APACHE": 0.25})
            control.row("web2", alive=False, role=None, status=None, reason="silent for 7 s", power=2)
            return await farm.give("status")

    done = commanded(story)
    assert done.exit_code == 0
    lines = [re.sub(" +", " ", line.strip()) for line in done.stdout.splitlines()]
    assert lines == [
        "farm apache as web1 sees it; view: web1, web3",
        "NODE ADDRESS ALIVE STATE DRAINING POWER APACHE REASON WAITS FOR",
        "web1 127.0.0.1 yes UP(Ready) yes 1 25.0% 2 connections to port 80",
        "web2 127.0.0.1 no - no 2 0.0% silent for 7 s",
        "web3 127.0.0.1 yes UP(Ready) no 1 0.0%",
    ]


def test_no_text_from_another_node_steers_the_terminal():
    async def story(farm):
        async with farm.running(["web1"]) as nodes:
            nodes["web1"].control.row("web1", reason="\x1b[2J[red]gone\n0 forged")
            return await farm.give("status")

    assert "\\x1b[2J[red]gone\\n0 forged" in commanded(story).stdout


def test_json_is_the_document():
    async def story(farm):
        async with farm.running(["web1", "web2"], remote=["web2"]) as nodes:
            return await farm.give("status", "--json", "--node", "web2"), nodes["web2"].control.status()

    done, document = commanded(story)
    assert json.loads(done.stdout) == json.loads(msgspec.json.encode(document))
    assert document.node == "web2"


def test_the_node_that_is_meant_decides_the_exit_status():
    async def story(farm):
        async with farm.running(["web1", "web2"], remote=["web2"]) as nodes:
            seen_by_all(nodes, "web2", role="STOP", status="NotReady")
            one = await farm.give("status")
            two = await farm.give("status", "--node", "web2")
            every = await farm.give("status", "--all")
            return one.exit_code, two.exit_code, every.exit_code

    assert commanded(story, addresses=TWO) == (0, 3, 3)


def test_status_of_a_node_that_does_not_answer_is_what_another_knows_of_it():
    async def story(farm):
        async with farm.running(["web1", "web2"], remote=["web2"]) as nodes:
            await nodes["web2"].stop_tcp()
            heard = await farm.give("status", "--node", "web2", "--json")
            nodes["web1"].control.row("web2", alive=False, role=None)
            return heard, await farm.give("status", "--node", "web2", "--json")

    heard, unheard = commanded(story)
    assert (heard.exit_code, unheard.exit_code) == (0, 3)
    assert json.loads(heard.stdout)["node"] == "web1"
    assert re.fullmatch(r"web2 at 127.0.0.1:\d+ does not answer: connection refused\nas web1 sees it:\n", heard.stderr)


@pytest.mark.parametrize("node", [[], ["--node", "web2"], ["--all"]])
def test_without_a_daemon_status_says_not_running(node):
    with cli_farm() as farm:
        done = farm.give_now("status", *node)
    assert done.exit_code == 3
    assert done.stdout == ""
    assert "is running here" in done.stderr
    assert "systemctl start hcsidecar" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "--node", "web9"],
        ["status", "--watch", "--json"],
        ["status", "--watch"],
        ["status", "--nonsense"],
        ["stop", "--node", "web1", "--all"],
        ["drain", "--forec"],
        ["power"],
        ["power", "3", "--reset"],
        ["power", "-1"],
        ["power", "1000001"],
        ["power", "much"],
        ["power", "1", "--node", "web1", "--all"],
        ["logs", "-n", "-1"],
        ["logs", "-n", "1000001"],
        ["logs", "--since", "soon"],
        ["logs", "--until", "soon"],
        ["logs", "--until", "2h", "-f"],
        ["logs", "--grep", "("],
        ["logs", "last"],
        ["logs", "--application", "--since", "2h"],
        ["logs", "--application", "--until", "2h"],
        ["logs", "--application", "last", "--all"],
        ["log", "debug", "text"],
        ["log", "info", " "],
        ["log", "info"],
        ["log", "info", "text", "--origin", "x" * 33],
        ["log", "info", "text", "--origin", "membership"],
        ["logs", "--level", "loud"],
        ["rolling", "restart", "--limit", "soon"],
        ["rolling", "run"],
    ],
)
def test_a_wrong_command_exits_with_2(arguments):
    with cli_farm() as farm:
        done = farm.give_now(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr


def test_a_wrong_farm_file_exits_with_2_and_names_its_problems():
    with cli_farm() as farm:
        farm.config.write_text('[farm]\nname = "apache"\nnonsense = 1\n')
        for command in ("status", "drain", "stop", "logs"):
            done = farm.give_now(command)
            assert done.exit_code == 2
            assert "farm.nonsense" in done.stderr


def test_status_that_nobody_can_tell_exits_with_4():
    async def story(farm):
        async def nonsense(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]")
            writer.close()

        async with await asyncio.start_unix_server(nonsense, farm.socket("web1")):
            return await farm.give("status")

    done = commanded(story)
    assert (done.exit_code, done.stdout) == (4, "")
    assert "not in a form that this version understands" in done.stderr


def test_watching_goes_on_until_ctrl_c():
    async def story(farm):
        async with farm.running(["web1"]) as nodes:
            ours, theirs = pty.openpty()
            process = await farm.begin("status", "--watch", stdout=theirs)
            os.close(theirs)
            await asyncio.to_thread(read_until, ours, "UP(Ready)")
            nodes["web1"].control.row("web1", status="Transient")
            await asyncio.to_thread(read_until, ours, "UP(Transient)")
            nodes["web1"].socket.unlink()
            await asyncio.to_thread(read_until, ours, "no daemon of node web1 is running here")
            process.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(process.wait(), 10) == 130
            os.close(ours)

    commanded(story)


def read_until(fd, text, limit=20):
    end, got = time.monotonic() + limit, ""
    while text not in got:
        ready, _, _ = select.select([fd], [], [], max(0, end - time.monotonic()))
        assert ready, f"{text!r} did not come within {limit} s, only {got[-500:]!r}"
        got += os.read(fd, 65536).decode()


@pytest.mark.parametrize(
    ("powers", "file_powers", "shown"),
    [
        ({"apache": 1}, {"apache": 1}, "1"),
        ({"apache": 3}, {"apache": 1}, "3 (farm file: 1)"),
        ({"WEB": 2, "DNS": 2}, {"WEB": 2, "DNS": 2}, "2"),
        ({"WEB": 1, "DNS": 4}, {"WEB": 1, "DNS": 2}, "WEB 1, DNS 4 (farm file: 2)"),
        ({}, {"WEB": 1}, "7"),
    ],
)
def test_status_shows_a_power_that_differs_from_the_farm_file(powers, file_powers, shown):
    async def story(farm):
        async with farm.running(["web1"]) as nodes:
            nodes["web1"].control.row("web1", power=7, powers=powers, file_powers=file_powers)
            return await farm.give("status")

    row = commanded(story, addresses={"web1": "127.0.0.1"}).stdout.splitlines()[2]
    assert re.sub("  +", "|", row.strip()).split("|")[5] == shown


# start, stop, restart, drain, resume, leave


@pytest.mark.parametrize("command", ["start", "restart", "drain", "resume"])
@pytest.mark.parametrize("node", ["web1", "web2"])
def test_a_command_is_given_to_the_node_that_is_meant_and_returns_at_once(command, node):
    async def story(farm):
        async with farm.running(["web1", "web2"], remote=["web2"]) as nodes:
            done = await farm.give(command, "--node", node)
            return done, {name: [act[0] for act in running.control.acts] for name, running in nodes.items()}

    done, acts = commanded(story)
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"{node}: the application does {command}\n", "")
    assert acts == {"web1": [], "web2": [], node: [command]}


def test_a_refused_drain_exits_with_1_and_the_reason_on_stderr():
    async def story(farm):
        async with farm.running(["web1"]) as nodes:
            nodes["web1"].control.answers[NodeCommand.DRAIN] = CommandResult(ok=False, text="no node would be Ready")
            plain = await farm.give("drain")
            as_json = await farm.give("drain", "--json", "--force")
            return plain, as_json, nodes["web1"].control.acts

    plain, as_json, acts = commanded(story)
    assert (plain.exit_code, plain.stdout, plain.stderr) == (1, "", "web1: no node would be Ready\n")
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout) == {"node": "web1", "ok": False, "text": "no node would be Ready", "warnings": []}
    assert [force for _, force, _ in acts] == [False, True]


def test_warnings_are_told_and_change_nothing():
    async def story(farm):
        async with farm.running(["web1"]) as nodes:
            answer = CommandResult(ok=True, text="the application restarts", warnings=("no node is left",))
            nodes["web1"].control.answers[NodeCommand.RESTART] = answer
            return await farm.give("restart")

    done = commanded(story)
    assert (done.exit_code, done.stdout) == (0, "web1: the application restarts\n")
    assert done.stderr == "web1: warning: no node is left\n"


def test_all_means_every_node_and_one_that_does_not_answer_spoils_only_the_exit_status():
    async def story(farm):
        async with farm.running(["web1", "web2", "web3"], remote=["web2", "web3"]) as nodes:
            await nodes["web2"].stop_tcp()
            done = await farm.give("start", "--all", "--json")
            return done, [len(node.control.acts) for node in nodes.values()]

    done, acts = commanded(story)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 1
    assert [(line["node"], line["ok"]) for line in lines] == [("web1", True), ("web2", False), ("web3", True)]
    assert "connection refused" in lines[1]["text"]
    assert acts == [1, 0, 1]


def test_drain_all_asks_a_node_only_when_it_knows_of_the_drains_before():
    async def story(farm):
        async with farm.running(["web1", "web2"], remote=["web2"]) as nodes:
            first, second = nodes["web1"].control, nodes["web2"].control
            loop = asyncio.get_running_loop()
            knew = []
            first.on_act = lambda action: loop.call_later(0.3, lambda: second.row("web1", draining=True))
            second.on_act = lambda action: knew.append(second.rows["web1"]["draining"])
            return await farm.give("drain", "--all"), knew

    done, knew = commanded(story, addresses=TWO)
    assert done.exit_code == 0
    assert knew == [True]


def test_drain_all_does_not_ask_a_node_that_never_notices():
    async def story(farm):
        async with farm.running(["web1", "web2"], remote=["web2"]) as nodes:
            done = await farm.give("drain", "--all")
            forced = await farm.give("drain", "--all", "--force")
            return done, forced, nodes["web2"].control.acts

    done, forced, acts = commanded(story, addresses=TWO)
    assert (done.exit_code, forced.exit_code) == (1, 0)
    assert "has not noticed yet that web1 drained" in done.stderr
    assert [force for _, force, _ in acts] == [True]


def stopping(nodes, name, *, after, waits_for="1 connection to port 80"):
    """Make a node drain when told to, and stop after some seconds."""
    loop = asyncio.get_running_loop()

    def act(action):
        seen_by_all(nodes, name, status="Transient", draining=True, waits_for=[waits_for])
        end = {"role": "STOP", "status": "NotReady", "draining": False, "waits_for": []}
        loop.call_later(after, lambda: seen_by_all(nodes, name, **end))

    nodes[name].control.on_act = act


@pytest.mark.parametrize(("command", "end"), [("stop", "stopped"), ("leave", "has left")])
@pytest.mark.parametrize("name", ["web1", "web2"])
def test_stop_and_leave_return_when_it_is_done_and_tell_what_they_wait_for(command, end, name):
    async def story(farm):
        async with farm.running(["web1", "web2"], remote=["web2"]) as nodes:
            stopping(nodes, name, after=0.5)
            done = await farm.give(command, "--node", name)
            return done, nodes[name].control.rows[name]["role"]

    done, role = commanded(story)
    assert (done.exit_code, role) == (0, "STOP")
    first, waits, last = done.stdout.splitlines()
    assert first == f"{name}: the application does {command}"
    assert waits == f"{name}: waits for 1 connection to port 80"
    assert re.fullmatch(rf"{name}: {end} after \d\.\d s", last)


def test_stop_without_waiting_returns_at_once():
    async def story(farm):
        async with farm.running(["web1"]) as nodes:
            stopping(nodes, "web1", after=3600)
            return await farm.give("stop", "--no-wait")

    done = commanded(story)
    assert (done.exit_code, done.stdout) == (0, "web1: the application does stop\n")


def test_stop_all_waits_for_all_together():
    async def story(farm):
        async with farm.running(["web1", "web2"], remote=["web2"]) as nodes:
            for name in nodes:
                stopping(nodes, name, after=0.5)
            return await farm.give("stop", "--all", "--json")

    done = commanded(story, addresses=TWO)
    assert done.exit_code == 0
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["node"], line["ok"]) for line in lines] == [("web1", True), ("web2", True)]
    assert all("stopped after" in line["text"] for line in lines)


def test_a_stop_that_somebody_calls_off_exits_with_1():
    async def story(farm):
        async with farm.running(["web1"]):
            return await farm.give("stop")

    done = commanded(story)
    assert done.exit_code == 1
    assert done.stderr == "web1: does not stop: somebody has cancelled that\n"


def test_a_stop_is_done_when_the_daemon_itself_ends():
    async def story(farm):
        async with farm.running(["web1"]) as nodes:
            nodes["web1"].control.on_act = lambda action: nodes["web1"].socket.unlink()
            return await farm.give("stop")

    done = commanded(story)
    assert done.exit_code == 0
    assert "web1: stopped after" in done.stdout


# power


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["3"], (3, None)),
        (["0", "--share", "WEB"], (0, "WEB")),
        (["--reset"], (None, None)),
        (["--reset", "--share", "WEB"], (None, "WEB")),
    ],
)
@pytest.mark.parametrize("node", ["web1", "web2"])
def test_a_power_is_set_on_the_node_that_is_meant(arguments, asked, node):
    async def story(farm):
        async with farm.running(["web1", "web2"], remote=["web2"]) as nodes:
            done = await farm.give("power", *arguments, "--node", node)
            return done, {name: [each[:2] for each in running.control.powers_set] for name, running in nodes.items()}

    done, given = commanded(story, addresses=TWO)
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"{node}: has power 3 (farm file: 1)\n", "")
    assert given == {"web1": [], "web2": [], node: [asked]}


def test_a_power_for_all_is_told_of_each_and_a_refusal_exits_with_1():
    async def story(farm):
        async with farm.running(["web1", "web2"], remote=["web2"]) as nodes:
            answer = CommandResult(ok=False, text="no share 'MAIL'; there are WEB")
            nodes["web1"].control.power_answer = answer
            nodes["web2"].control.power_answer = CommandResult(
                ok=True, text="has power 0", warnings=("nobody takes WEB now",)
            )
            return await farm.give("power", "0", "--all"), await farm.give("power", "0", "--all", "--json")

    plain, as_json = commanded(story, addresses=TWO)
    assert (plain.exit_code, plain.stdout) == (1, "web2: has power 0\n")
    assert plain.stderr == "web1: no share 'MAIL'; there are WEB\nweb2: warning: nobody takes WEB now\n"
    lines = [json.loads(line) for line in as_json.stdout.splitlines()]
    assert as_json.exit_code == 1
    assert lines == [
        {"node": "web1", "ok": False, "text": "no share 'MAIL'; there are WEB", "warnings": []},
        {"node": "web2", "ok": True, "text": "has power 0", "warnings": ["nobody takes WEB now"]},
    ]


# logs


def write(node, message, level=Level.INFO):
    return node.control.journal.write(Event(level=level, origin="application", message=message))


def test_logs_shows_the_last_events():
    async def story(farm):
        async with farm.running(["web1", "web2"], remote=["web2"]) as nodes:
            for n in range(5):
                write(nodes["web1"], f"one {n}")
            write(nodes["web1"], "a detail", Level.DEBUG)
            write(nodes["web2"], "two")
            write(nodes["web2"], "loud", Level.WARNING)
            return [
                await farm.give("logs", *arguments)
                for arguments in (
                    ["-n", "2"],
                    ["--node", "web2", "--level", "warning"],
                    ["--all"],
                    ["--all", "-n", "1", "--json", "--level", "debug"],
                    ["-n", "0"],
                )
            ]

    two, loud, every, as_json, nothing = commanded(story, addresses=TWO)
    assert re.fullmatch(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} web1 info    application: one [34]\n){2}", two.stdout)
    assert loud.stdout.endswith("web2 warning application: loud\n")
    assert len(loud.stdout.splitlines()) == 1
    assert [line.split("application: ")[1] for line in every.stdout.splitlines()] == [
        *(f"one {n}" for n in range(5)),
        "two",
        "loud",
    ]
    assert json.loads(as_json.stdout)["message"] == "loud"
    assert nothing.stdout == ""
    assert {done.exit_code for done in (two, loud, every, as_json, nothing)} == {0}


def test_logs_of_a_node_that_does_not_answer_exits_with_1_and_shows_the_others():
    async def story(farm):
        async with farm.running(["web1", "web2"], remote=["web2"]) as nodes:
            write(nodes["web1"], "here")
            await nodes["web2"].stop_tcp()
            return await farm.give("logs", "--all")

    done = commanded(story, addresses=TWO)
    assert done.exit_code == 1
    assert done.stdout.endswith("application: here\n")
    assert "connection refused" in done.stderr


def test_following_goes_on_until_ctrl_c():
    async def story(farm):
        async with farm.running(["web1", "web2"], remote=["web2"]) as nodes:
            write(nodes["web1"], "old")
            process = await farm.begin("logs", "-f", "--all", "--json", stdout=asyncio.subprocess.PIPE)

            async def message():
                return json.loads(await asyncio.wait_for(process.stdout.readline(), 20))["message"]

            assert await message() == "old"
            write(nodes["web2"], "new there")
            assert await message() == "new there"
            write(nodes["web1"], "new here")
            assert await message() == "new here"
            process.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(process.wait(), 10) == 130

    commanded(story, addresses=TWO)


def test_following_outlives_the_daemon_and_ends_with_its_reader():
    async def story(farm):
        async with farm.running(["web1"]) as nodes:
            write(nodes["web1"], "old")
            process = await farm.begin("logs", "-f", "--json", stdout=asyncio.subprocess.PIPE)

            async def line():
                return json.loads(await asyncio.wait_for(process.stdout.readline(), 20))

            assert (await line())["message"] == "old"
            path = nodes["web1"].socket
            hidden = path.with_suffix(".hidden")
            path.rename(hidden)
            nodes["web1"].control.journal.close()
            assert "no daemon of node web1 is running here" in (await line())["notice"]
            hidden.rename(path)
            write(nodes["web1"], "new")
            assert (await line())["message"] == "new"
            process._transport.get_pipe_transport(1).close()
            write(nodes["web1"], "to nobody")
            assert await asyncio.wait_for(process.wait(), 10) == 1

    commanded(story)


# rolling


def rolls(nodes, name, order):
    """Make a node leave Ready when told to and come back soon after; `order` takes what happened."""
    loop = asyncio.get_running_loop()

    def act(action):
        order.append(f"{action} {name}")
        if action is NodeCommand.DRAIN:
            seen_by_all(nodes, name, draining=True)
        elif action is NodeCommand.RESUME:
            seen_by_all(nodes, name, draining=False)
        else:
            seen_by_all(nodes, name, status="Transient", draining=True)
            loop.call_later(0.7, lambda: seen_by_all(nodes, name, status="Ready", draining=False))

    nodes[name].control.on_act = act


def rolled(*arguments, prepare=lambda nodes: None):
    async def story(farm):
        async with farm.running(["web1", "web2", "web3"], remote=["web2", "web3"]) as nodes:
            order = []
            for name in nodes:
                rolls(nodes, name, order)
            prepare(nodes)
            return await farm.give("rolling", *arguments, limit=60), order

    return commanded(story)


def test_rolling_restart_takes_the_nodes_one_after_the_other():
    done, order = rolled("restart")
    assert done.exit_code == 0
    assert order == ["restart web1", "restart web2", "restart web3"]
    assert done.stdout.splitlines()[-1] == "restart done: web1, web2, web3"


def test_rolling_ends_at_the_first_that_refuses():
    def prepare(nodes):
        nodes["web2"].control.answers[NodeCommand.RESTART] = CommandResult(ok=False, text="not now")

    done, order = rolled("restart", prepare=prepare)
    assert done.exit_code == 1
    assert order == ["restart web1", "restart web2"]
    assert "web2: not now (done before that: web1; not begun: web3)" in done.stderr


def test_rolling_run_drains_runs_the_command_and_resumes():
    with cli_farm() as scratch:
        out = scratch.directory / "out"
        done, order = rolled("run", "--", "sh", "-c", f"echo {{node}} {{address}} $HCSIDECAR_NODE >> {out}")
        assert done.exit_code == 0
        assert order == [f"{action} {name}" for name in ("web1", "web2", "web3") for action in ("drain", "resume")]
        assert out.read_text().splitlines() == [
            "web1 127.0.0.1 web1",
            "web2 203.0.113.2 web2",
            "web3 203.0.113.3 web3",
        ]


def test_rolling_run_waits_for_a_daemon_that_the_command_restarts():
    async def story(farm):
        async with farm.running(["web1"]) as nodes:
            order = []
            rolls(nodes, "web1", order)
            path = farm.socket("web1")
            restart = f"mv {path} {path}.away; (sleep 1; mv {path}.away {path}) >/dev/null 2>&1 &"
            return await farm.give("rolling", "run", "--", "sh", "-c", restart), order

    done, order = commanded(story, addresses={"web1": "127.0.0.1"}, extra="keep_ready = 0")
    assert (done.exit_code, order) == (0, ["drain web1", "resume web1"])


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["false"], "the command failed: exit status 1"),
        (["sh", "-c", "kill -9 $$"], "the command failed: killed by SIGKILL"),
        (["/nonsense"], "/nonsense: No such file or directory"),
    ],
)
def test_a_node_whose_command_fails_stays_drained_and_no_other_is_begun(command, reason):
    done, order = rolled("run", "--", *command)
    assert done.exit_code == 1
    assert order == ["drain web1"]
    assert f"{reason}; it stays drained, `hcsidecar resume --node web1` ends that" in done.stderr


def test_rolling_does_not_begin_without_a_daemon():
    with cli_farm() as farm:
        done = farm.give_now("rolling", "restart")
    assert done.exit_code == 1
    assert "the state of the farm is unknown" in done.stderr
