"""A running daemon that takes a changed farm file: each part of it, and back."""

import contextlib

import pytest
from daemons_here import FarmHere
from waiting import on_a_loop, until

from hcsidecar.daemon.reconfiguration import ReconfigurationError

CHECK = '[[check]]\ntype = "tcp"\nname = "{name}"\naddress = "{address}"\nport = 9010\ninterval = "1s"\n'


@on_a_loop
async def test_powers_of_the_file_are_taken_and_those_of_the_operator_stay_over_them(tmp_path):
    async with FarmHere(tmp_path).running() as farm:
        await farm.take(nodes={"web1": {"power": 3}, "web2": {"power": 5}})
        await until(
            lambda: dict(farm.daemons["web2"].daemon._heartbeats.node.membership.view) == {"web1": (3,), "web2": (5,)}
        )
        web1 = farm.daemons["web1"].control
        assert web1.set_power(7, share=None, by="root").text == "has power 7 (farm file: 3)"
        await farm.take(nodes={"web1": {"power": 4}})
        await until(
            lambda: dict(farm.daemons["web2"].daemon._heartbeats.node.membership.view) == {"web1": (7,), "web2": (1,)}
        )
        assert web1.set_power(None, share=None, by="root").text == "has power 4"


@on_a_loop
async def test_a_node_that_is_added_is_heard_and_one_that_is_removed_is_known_no_more(tmp_path):
    async with FarmHere(tmp_path).running() as farm:
        three = ("web1", "web2", "web3")
        await farm.take(names=three)
        (farm.directory / "revision" / "farm.key").symlink_to(farm.directory / "farm.key")
        farm.start("web3", farm.directory / "revision" / "farm.toml")
        await until(lambda: farm.agree(*three), limit=20, what="a view of three")
        assert [node.name for node in farm.daemons["web1"].status().nodes] == list(three)
        assert set(farm.daemons["web1"].control.nodes) == set(three)
        await farm.take("web1", "web2", names=("web1", "web2"))
        await until(lambda: farm.agree("web1", "web2"), limit=20, what="a view of two")
        assert [node.name for node in farm.daemons["web1"].status().nodes] == ["web1", "web2"]
        assert "web3 is no longer in the farm" in farm.daemons["web1"].told
        await until(
            lambda: farm.daemons["web1"].daemon._heartbeats.figures().dropped["unknown node"],
            what="a refused heartbeat",
        )


@on_a_loop
async def test_a_file_without_this_node_is_refused_and_changes_nothing(tmp_path):
    async with FarmHere(tmp_path, names=("web1", "web2")).running() as farm:
        before = farm.daemons["web1"].daemon._settings.loaded
        with pytest.raises(ReconfigurationError, match="it has no node web1, which runs here; it has web2"):
            await farm.take("web1", names=("web2",), extra='[health]\npath = "/up"')
        assert farm.daemons["web1"].daemon._settings.loaded is before
        assert await farm.health("web1", "/up") == 401


@on_a_loop
async def test_health_path_and_limits_are_taken_on_open_connections_too(tmp_path):
    async with FarmHere(tmp_path, names=("web1",)).running() as farm:
        assert [await farm.health("web1"), await farm.health("web1", "/up")] == [200, 401]
        await farm.take(extra='[health]\npath = "/up"\nlame_duck = "2s"\nprober_fall = 1')
        assert [await farm.health("web1"), await farm.health("web1", "/up")] == [401, 200]
        await farm.take()
        assert [await farm.health("web1"), await farm.health("web1", "/up")] == [200, 401]


@on_a_loop
async def test_checks_are_added_changed_and_removed_while_the_node_answers_ok(tmp_path):
    async with FarmHere(tmp_path, names=("web1",)).running() as farm:
        web1, address = farm.daemons["web1"], farm.address("web1")
        await farm.take(extra=CHECK.format(name="SELF", address=address))
        assert (web1.control.reported("SELF"), await farm.health("web1")) == ("init", 200)
        await until(lambda: web1.control.reported("SELF") == "up")
        await farm.take(extra=CHECK.format(name="SELF", address=address).replace('"1s"', '"2s"'))
        assert web1.control.reported("SELF") == "up"
        await farm.take(
            extra=CHECK.format(name="SELF", address=address) + "timeout = '1s'\nfall = 2\naction = 'none'\n"
        )
        await farm.take(extra="")
        assert (web1.control.reported("SELF"), await farm.health("web1")) == (None, 200)
        assert not [line for line in web1.told if "Transient" in line][1:]


@on_a_loop
async def test_what_is_not_live_stays_and_is_told_until_the_daemon_starts_again(tmp_path):
    async with FarmHere(tmp_path, names=("web1",)).running() as farm:
        daemon = farm.daemons["web1"].daemon
        [taken] = await farm.take(heartbeat='pulse = "20ms"', farm="keep_ready = 1\nlast_stays = true")
        assert [change.key for change in taken.waiting] == ["heartbeat.pulse"]
        assert daemon._settings.farm.heartbeat.pulse == 0.05
        assert daemon._settings.farm.farm.last_stays
        assert "used after a restart of this daemon: [heartbeat] pulse" in farm.daemons["web1"].told[-1]
        [taken] = await farm.take()
        assert taken.waiting == ()
        assert not daemon._settings.farm.farm.last_stays


@on_a_loop
async def test_a_node_is_reached_where_it_listens_now_and_where_it_will_after_its_restart(tmp_path):
    async with FarmHere(tmp_path, names=("web1",)).running() as farm:
        web2, other = farm.address("web2"), farm.address("web3")
        await farm.take(names=("web1", "web2"))
        [taken] = await farm.take(names=("web1", "web2"), nodes={"web2": {"listen": f'["{web2}:9011"]'}})
        assert [change.key for change in taken.waiting] == ["node.listen"]
        where = farm.daemons["web1"].control.nodes["web2"]
        assert (where.address.port, where.later.address.port) == (9010, 9011)
        assert farm.daemons["web1"].control.nodes["web1"].later is None
        await farm.take(names=("web1", "web2"), nodes={"web2": {"address": other}})
        assert farm.daemons["web1"].daemon._heartbeats._datagrams._routes["web2"] == [("default", (other, 4803))]


@on_a_loop
async def test_partition_is_taken_by_a_node_that_is_alone(tmp_path):
    async with FarmHere(tmp_path, names=("web1",)).running() as farm:
        web1 = farm.daemons["web1"]
        await farm.take(names=("web1", "web2", "web3"), farm='partition = "majority"')
        await until(lambda: web1.view() == [], what="no view without a majority")
        await farm.take(names=("web1", "web2", "web3"))
        await until(lambda: web1.view() == ["web1"], what="a view alone")


@on_a_loop
async def test_the_copy_of_the_farm_file_names_the_operators_file_and_has_the_new_text(tmp_path):
    async with FarmHere(tmp_path, names=("web1",)).running() as farm:
        copy = farm.daemons["web1"].daemon._socket.path.with_name("running.json")
        await farm.take(extra='[health]\npath = "/other"')
        await until(lambda: "/other" in copy.read_text(), what="the new copy")
        assert f'"config":"{farm.config}"' in copy.read_text()


def scripts(directory, **more):
    """Write scripts that note their runs."""
    (directory / "bin").mkdir(exist_ok=True)
    for name, text in {"start": "", "stop": ""}.items() | more.items():
        path = directory / "bin" / name
        path.write_text(f'#!/bin/sh\necho "{name} $COLOUR" >>{directory}/ran\n{text}\n')
        path.chmod(0o755)


def ran(directory):
    with contextlib.suppress(FileNotFoundError):
        return (directory / "ran").read_text().splitlines()
    return []


APPLICATION = '[application]\nstart = "bin/start"\nstop = "bin/stop"\n'


@on_a_loop
async def test_scripts_and_environment_are_those_of_the_next_run_and_nothing_is_restarted(tmp_path):
    scripts(tmp_path)
    async with FarmHere(tmp_path, names=("web1",), extra=APPLICATION).running() as farm:
        await farm.take(extra=APPLICATION + 'environment = { COLOUR = "red" }\ndrain = "1s"\nmax_restarts = 7\n')
        assert ran(tmp_path) == ["start "]
        assert farm.daemons["web1"].control.budget().most == 7
        farm.daemons["web1"].daemon._application.service.carry_out(
            lambda lifecycle, now: lifecycle.request("restart", "it asks", now=now)
        )
        await until(lambda: ran(tmp_path) == ["start ", "stop red", "start red"], limit=20, what="a restart")


TARGET = '[[target]]\ntype = "command"\nname = "edge"\ncommand = ["bin/balancer"]\npoll = "1s"\n'


@on_a_loop
async def test_the_first_target_begins_and_a_removed_one_is_deregistered(tmp_path):
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "balancer"
    program.write_text(
        "#!/bin/sh\nread -r request\ncase $request in\n"
        f'*\\"observe\\"*) if [ -e {tmp_path}/in ]; then echo \'{{"presence": "healthy"}}\';'
        ' else echo \'{"presence": "absent"}\'; fi ;;\n'
        f'*\\"register\\"*) touch {tmp_path}/in ;;\n'
        f'*\\"deregister\\"*) rm -f {tmp_path}/in ;;\nesac\n'
    )
    program.chmod(0o755)
    async with FarmHere(tmp_path, names=("web1",)).running() as farm:
        await farm.take(extra=TARGET)
        await until((tmp_path / "in").exists, limit=30, what="registered")
        await farm.take(extra="")
        await until(lambda: not (tmp_path / "in").exists(), limit=30, what="deregistered")
        await until(lambda: not farm.daemons["web1"].control.targets(), limit=30, what="forgotten")
