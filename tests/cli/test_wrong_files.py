"""Commands to a node that runs, while its farm file or its key file is out of order: they need neither."""

import asyncio
import os
import re
import shlex
import subprocess
import sys

import pytest
from cli_farm import cli_farm

from hcsidecar.api.control import NodeCommand
from hcsidecar.core.documents import Entry
from hcsidecar.core.events import Level
from hcsidecar.events.database import EventDatabase
from hcsidecar.farmfile.copy import NAME

ONE = {"web1": "127.0.0.1"}

HARMS = {
    "its key file may be read by others": lambda farm: (farm.directory / "farm.key").chmod(0o644),
    "its key file is gone": lambda farm: (farm.directory / "farm.key").unlink(),
    "its key file is cut": lambda farm: (farm.directory / "farm.key").write_text("use = "),
    "a key that nobody knows": lambda farm: farm.config.write_text(farm.config.read_text() + "\n[nonsense]\n"),
    "a typo": lambda farm: farm.config.write_text("[farm\n" + farm.config.read_text()),
    "a typo in the name of state_dir": lambda farm: farm.config.write_text(
        farm.config.read_text().replace("state_dir", "state-dir")
    ),
    "not UTF-8": lambda farm: farm.config.write_bytes(b"\xff" + farm.config.read_bytes()),
    "empty": lambda farm: farm.config.write_text(""),
    "gone": lambda farm: farm.config.unlink(),
    "a directory": lambda farm: (farm.config.unlink(), farm.config.mkdir()),
}
"What may be wrong with the files of a node that runs, and how it comes about."

COMMANDS = {
    "status": ["status"],
    "status as JSON": ["status", "--json"],
    "start": ["start"],
    "stop": ["stop", "--no-wait"],
    "restart": ["restart"],
    "drain": ["drain"],
    "resume": ["resume"],
    "leave": ["leave"],
    "power": ["power", "3"],
    "log": ["log", "info", "a word"],
    "logs": ["logs"],
    "runs": ["logs", "--application"],
    "report": ["report", "QUEUE", "up"],
    "metrics": ["metrics"],
    "rolling": ["rolling", "restart", "--limit", "10s"],
}
"Every command that asks a daemon; those for [l2] and [[target]] are refused in a farm without, before or after."


def prepared(control):
    """Let a fake do what the commands wait for."""
    loop = asyncio.get_running_loop()

    def act(action):
        if action is NodeCommand.LEAVE:
            control.row("web1", role="STOP", status="NotReady")
        elif action is NodeCommand.RESTART:
            control.row("web1", status="Transient", draining=True)
            loop.call_later(0.7, lambda: control.row("web1", status="Ready", draining=False))

    control.checks_said["QUEUE"] = "init"
    control.on_act = act


def given(harm, *arguments, addresses=ONE, **settings):
    """Give a command to web1, which runs, after its files were harmed; gives what came of it, and web1's Control."""

    async def story(farm):
        async with farm.running(["web1"]) as nodes:
            prepared(nodes["web1"].control)
            harm(farm)
            return await farm.give(*arguments), nodes["web1"].control

    with cli_farm(addresses=addresses, **settings) as farm:
        return asyncio.run(story(farm))


@pytest.mark.parametrize("harm", HARMS)
def test_a_running_node_is_drained_whatever_is_wrong_with_its_files(harm):
    done, control = given(HARMS[harm], "drain")
    assert (done.exit_code, done.stdout) == (0, "web1: the application does drain\n"), done.stderr
    assert [act[0] for act in control.acts] == ["drain"]
    [warning] = done.stderr.splitlines()
    assert re.match(r"warning: .*farm\.toml: ", warning)
    assert "a daemon would not start" in warning
    assert "hcsidecar check-config" in warning


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("harm", ["its key file may be read by others", "a typo"])
def test_every_command_to_a_daemon_does_without(harm, command):
    done, _ = given(HARMS[harm], *COMMANDS[command], extra="keep_ready = 0")
    assert done.exit_code == 0, done.stderr
    assert done.stderr.count("warning:") == 1


def edited(old, new):
    """Give a harm: a farm file that is right, and not the one that the daemon goes by any more."""
    return lambda farm: farm.config.write_text(farm.config.read_text().replace(old, new))


@pytest.mark.parametrize(
    "change",
    [
        edited('"apache"', '"nginx"'),
        edited('"web1"', '"www1"'),
        lambda farm: edited(f"{farm.directory}/s", f"{farm.directory}/elsewhere")(farm),
    ],
    ids=["farm renamed", "node renamed", "state elsewhere"],
)
def test_a_running_node_is_drained_by_a_farm_file_that_has_changed_since_its_start(change):
    done, control = given(change, "drain")
    assert (done.exit_code, done.stdout) == (0, "web1: the application does drain\n"), done.stderr
    assert re.fullmatch(r"warning: .*farm\.toml has changed since the daemon of web1 was started, .*\n", done.stderr)
    assert control.acts


def test_a_change_that_leaves_the_sockets_where_they_are_is_no_news():
    done, _ = given(edited("[farm]", "[farm]\nlast_stays = true"), "drain")
    assert (done.exit_code, done.stderr) == (0, "")


def test_a_machine_that_has_lost_its_address_still_has_its_node():
    done, control = given(lambda farm: None, "drain", addresses={"web1": "203.0.113.1", "web2": "203.0.113.2"})
    assert (done.exit_code, done.stderr) == (0, "")
    assert control.acts


def test_another_node_is_asked_too():
    async def story(farm):
        async with farm.running(["web1", "web2"], remote=["web2"]) as nodes:
            HARMS["a typo"](farm)
            return await farm.give("drain", "--node", "web2"), nodes["web2"].control.acts

    with cli_farm() as farm:
        done, acts = asyncio.run(story(farm))
    assert (done.exit_code, done.stdout) == (0, "web2: the application does drain\n")
    assert acts


def test_of_several_nodes_here_the_one_that_is_named_is_meant():
    async def story(farm):
        async with farm.running(["web1", "web2"]) as nodes:
            HARMS["a typo"](farm)
            unnamed = await farm.give("drain")
            return unnamed, await farm.give("drain", "--node", "web2"), nodes["web2"].control.acts

    with cli_farm(addresses={"web1": "127.0.0.1", "web2": "127.0.0.2"}) as farm:
        unnamed, named, acts = asyncio.run(story(farm))
    assert unnamed.exit_code == 2
    assert "choose with --node" in unnamed.stderr
    assert (named.exit_code, len(acts)) == (0, 1)


def test_another_farms_daemon_is_not_taken_for_ours():
    async def story(ours, theirs):
        async with theirs.running(["web1"]) as nodes:
            HARMS["a typo"](ours)
            return await ours.give("drain"), nodes["web1"].control.acts

    with cli_farm(addresses=ONE) as ours, cli_farm(addresses=ONE) as theirs:
        done, acts = asyncio.run(story(ours, theirs))
    assert (done.exit_code, acts) == (2, [])
    assert "is not TOML" in done.stderr


def test_without_a_daemon_a_wrong_file_is_what_is_told():
    with cli_farm(addresses=ONE) as farm:
        HARMS["its key file may be read by others"](farm)
        done = farm.give_now("status")
        assert done.exit_code == 3
        assert "chmod 600" in done.stderr
        HARMS["a typo"](farm)
        assert farm.give_now("status").exit_code == 2


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"config":"","node":"web1","text":"[farm"}', b"\xff" * 100])
def test_a_copy_that_is_none_is_not_believed(content):
    done, control = given(
        lambda farm: (HARMS["a typo"](farm), farm.socket("web1").with_name(NAME).write_bytes(content)), "drain"
    )
    assert (done.exit_code, control.acts) == (2, [])


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away is root's")
def test_a_copy_that_somebody_else_has_written_is_not_believed():
    done, control = given(
        lambda farm: (HARMS["a typo"](farm), os.chown(farm.socket("web1").with_name(NAME), 65534, 65534)), "drain"
    )
    assert (done.exit_code, control.acts) == (2, [])


def test_the_stored_events_are_read_though_the_farm_file_keeps_the_daemon_from_starting():
    async def story(farm):
        async with farm.running(["web1"]):
            pass
        database = EventDatabase(farm.socket("web1").with_name("events.db"), node="web1")
        database.insert([Entry(number=1, time=1.0, node="web1", level=Level.ERROR, origin="daemon", message="the end")])
        database.close()
        edited("[[node]]", "[[nodes]]")(farm)

    with cli_farm(addresses=ONE) as farm:
        asyncio.run(story(farm))
        done = farm.give_now("logs")
    assert done.stdout.endswith("error   daemon: the end\n")
    assert "warning:" in done.stderr


def test_the_hint_for_a_lost_key_file_makes_one():
    with cli_farm(addresses=ONE) as farm:
        HARMS["its key file is gone"](farm)
        told = checked(farm)
        assert "copy it from another node" in told.stdout
        command = shlex.split(re.search(r"hcsidecar (key new \S+)", told.stdout)[1])
        subprocess.run([sys.executable, "-m", "hcsidecar", *command], check=True, timeout=60)
        assert checked(farm).returncode == 0


def test_the_hint_for_a_lost_farm_file_does_not_lead_to_an_init_that_refuses():
    with cli_farm(addresses=ONE) as farm:
        farm.config.unlink()
        assert "copy it from another node" in checked(farm).stdout
        (farm.directory / "farm.key").unlink()
        assert "hcsidecar init" in checked(farm).stdout


def checked(farm):
    return subprocess.run(
        [sys.executable, "-m", "hcsidecar", "check-config", farm.config],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
