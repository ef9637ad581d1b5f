"""`hcsidecar apply` on real daemons: one change, every node, or none."""

import json
import shutil

import pytest
from daemons import UnixConnection, fetch, wait_for
from own_directories import separate_farm

CHECK = '[health]\nlame_duck = "1s"\n'


@pytest.fixture
def farm(tmp_path):
    with separate_farm(tmp_path, extra=CHECK) as made:
        yield made.start().all_ready()


def test_a_change_on_one_node_is_in_force_on_all(farm):
    farm.edit("web2", '"1s"', '"2s"')
    assert farm.command("web2", "diff").returncode == 1
    applied = farm.apply("web2", "-m", "more time")
    assert applied.returncode == 0, applied.stderr
    assert "[health] lame_duck: 1s -> 2s" in applied.stdout
    assert "is in force on every node" in applied.stdout
    assert "in force on every node" in applied.stderr
    files = {farm.farm_file(name).read_text() for name in farm.names}
    assert len(files) == 1
    assert '"2s"' in files.pop()
    assert [path.name for path in farm.own("web1").iterdir() if "unapplied" in path.name] == []
    histories = [farm.history(name) for name in farm.names]
    assert histories[0] == histories[1] == histories[2]
    (first,) = histories[0]
    assert (first["number"], first["author"], first["message"]) == (1, "root on web2", "more time")
    assert farm.command("web3", "diff").returncode == 0
    first = farm.command("web3", "diff", "1")
    assert first.returncode == 2
    assert "is the first one: there is none before it to compare it with" in first.stderr
    assert "nothing to apply" in farm.apply("web1").stdout


def test_a_plan_changes_nothing(farm):
    farm.edit("web1", '"1s"', '"2s"')
    planned = farm.command("web1", "apply", "--dry-run", "--json")
    assert planned.returncode == 0
    candidate = json.loads(planned.stdout)["candidate"]
    assert [check["node"] for check in candidate["checks"]] == ["web1", "web2", "web3"]
    assert candidate["changes"] == ["[health] lame_duck: 1s -> 2s"]
    assert farm.number("web1") == 0
    refused = farm.command("web1", "apply")
    assert refused.returncode == 1
    assert "--yes applies without a question" in refused.stderr


def test_what_one_node_cannot_take_none_takes_and_all_problems_are_told(farm):
    scripts = farm.own("web1") / "bin"
    scripts.mkdir()
    for name in ("start", "stop"):
        (scripts / name).write_text("#!/bin/sh\n")
        (scripts / name).chmod(0o755)
    farm.edit("web1", CHECK, f'{CHECK}[application]\nstart = "bin/start"\nstop = "bin/stop"\n')
    # There everybody could put another script in its place.
    farm.own("web2").chmod(0o777)
    refused = farm.apply("web1")
    assert refused.returncode == 1
    assert "not applied: nothing has changed" in refused.stderr
    assert "web2: application.start: " in refused.stderr
    assert "web2: application.stop: " in refused.stderr
    assert {farm.number(name) for name in farm.names} == {0}
    farm.own("web2").chmod(0o755)
    assert farm.apply("web1").returncode == 0
    wait_for((farm.own("web3") / "bin" / "stop").exists)
    assert (farm.own("web3") / "bin" / "start").stat().st_mode & 0o777 == 0o755


def test_a_wrong_file_is_told_with_every_problem(farm):
    farm.edit("web1", '"1s"', '"one second"\nlisen = []')
    refused = farm.apply("web1")
    assert refused.returncode == 1
    assert "health.lame_duck" in refused.stderr
    assert refused.stderr.count("lisen") == 1
    assert "warning" not in refused.stderr


def test_a_dead_node_is_left_out_by_name_and_takes_it_when_it_returns(farm):
    farm.kill("web3")
    wait_for(lambda: farm.view("web1") == ["web1", "web2"])
    farm.edit("web1", '"1s"', '"2s"')
    refused = farm.apply("web1")
    assert refused.returncode == 1
    assert "web3" in refused.stderr
    applied = farm.apply("web1", "--without", "web3")
    assert applied.returncode == 0
    assert "is in force on every node but web3 after" in applied.stdout
    farm.start("web3").all_ready()
    farm.all_at(1)
    assert '"2s"' in farm.farm_file("web3").read_text()
    assert "has taken revision 1" in farm.log("web3")


def test_a_daemon_that_starts_with_an_edited_file_goes_by_the_revision(farm):
    farm.edit("web1", '"1s"', '"2s"')
    assert farm.apply("web1").returncode == 0
    farm.kill("web2")
    farm.edit("web2", '"2s"', '"3s"')
    farm.start("web2").all_ready()
    assert "and not applied: this node goes by the revision" in farm.log("web2")
    shown = farm.command("web2", "diff")
    assert "[health] lame_duck: 2s -> 3s" in shown.stdout
    assert "farm.toml was edited at" in farm.command("web2", "history").stdout
    assert farm.apply("web2").returncode == 0
    assert {farm.number(name) for name in farm.names} == {2}


def test_a_daemon_that_starts_with_a_wrong_file_goes_by_the_revision_and_obeys(farm):
    farm.edit("web1", '"1s"', '"2s"')
    assert farm.apply("web1").returncode == 0
    farm.kill("web2")
    farm.edit("web2", '"2s"', '"two seconds"\nlisen = []')
    farm.start("web2").all_ready()
    assert "is wrong, and not applied: this node goes by revision 1" in farm.log("web2")
    for problem in ("health.lame_duck", "lisen"):
        assert problem in farm.log("web2")
    history = farm.command("web2", "history")
    assert "and is wrong, as hcsidecar check-config tells; not applied" in history.stdout
    assert "revision 1" in history.stdout
    assert farm.command("web2", "check-config").returncode == 2
    for command in (["status"], ["drain"], ["resume"], ["metrics"], ["logs"]):
        given = farm.command("web2", *command)
        assert given.returncode == 0, given.stderr
    for command, status in ((["diff"], 2), (["apply", "--yes"], 1)):
        given = farm.command("web2", *command)
        assert given.returncode == status
        assert "lisen" in given.stderr
    farm.edit("web2", '"two seconds"\nlisen = []', '"3s"')
    assert farm.apply("web2").returncode == 0
    assert {farm.number(name) for name in farm.names} == {2}


def test_a_node_that_takes_its_own_file_leaves_the_others_alone_until_the_operator_chooses(farm):
    farm.edit("web1", '"1s"', '"2s"')
    assert farm.apply("web1").returncode == 0
    farm.kill("web3")
    farm.edit("web3", '"2s"', '"9s"')
    farm.start("web3", options=["--take-file"])
    farm.all_ready()
    assert "which no other node follows: hcsidecar apply --take NODE" in farm.log("web3")
    wait_for(lambda: "the settings have gone two ways" in farm.log("web1"), what="the alarm")
    assert (farm.number("web1"), farm.number("web2"), farm.number("web3")) == (1, 1, 2)
    assert '"9s"' in farm.farm_file("web3").read_text()
    assert "run --take-file" in farm.command("web3", "history").stdout
    # It is what the node goes by from then on.
    farm.kill("web3")
    farm.start("web3").all_ready()
    assert farm.number("web3") == 2
    refused = farm.apply("web2", "--without", "web3")
    assert refused.returncode != 0 or "nothing to apply" in refused.stdout
    taken = farm.apply("web2", "--take", "web3")
    assert taken.returncode == 0, taken.stderr
    farm.all_at(3)
    assert '"9s"' in farm.farm_file("web1").read_text()
    assert [path.name for path in farm.own("web1").iterdir() if "unapplied" in path.name] == []


def test_an_edit_on_another_node_is_kept_beside(farm):
    farm.edit("web1", '"1s"', '"2s"')
    farm.edit("web3", '"1s"', '"5s"')
    assert farm.apply("web1").returncode == 0
    wait_for((farm.own("web3") / "farm.toml.unapplied").exists)
    assert '"5s"' in (farm.own("web3") / "farm.toml.unapplied").read_text()
    assert '"2s"' in farm.farm_file("web3").read_text()


def test_a_rollback_is_a_new_revision_with_the_old_content(farm):
    for seconds in ("2s", "3s"):
        text = farm.farm_file("web1").read_text()
        farm.farm_file("web1").write_text(text.replace('"1s"', f'"{seconds}"').replace('"2s"', f'"{seconds}"'))
        assert farm.apply("web1").returncode == 0
    assert farm.command("web3", "rollback", "--yes").returncode == 0
    assert '"2s"' in farm.farm_file("web2").read_text()
    newest, *_ = farm.history("web1")
    assert (newest["number"], newest["message"], newest["author"]) == (3, "back to revision 1", "root on web3")
    assert farm.command("web3", "rollback", "9", "--yes").returncode == 1


def test_plans_and_changes_from_several_nodes_cost_no_node_a_revision(farm):
    for number, (name, former) in enumerate((("web1", "1s"), ("web2", "2s"), ("web1", "3s")), start=2):
        farm.edit(name, f'"{former}"', f'"{number}s"')
        assert farm.apply(name).returncode == 0
        farm.all_at(number - 1)
    for seconds in range(20, 26):
        planned = farm.directory / "planned.toml"
        planned.write_text(farm.farm_file("web1").read_text().replace('"4s"', f'"{seconds}s"'))
        shutil.copy2(farm.own("web1") / "farm.key", farm.directory)
        assert farm.command("web1", "apply", str(planned), "--dry-run").returncode == 0
    stored = farm.directory / "s" / "apache" / "web1" / "settings"
    assert len(list(stored.glob("4-*"))) == 1
    farm.edit("web1", '"4s"', '"5s"')
    assert farm.apply("web1").returncode == 0
    farm.all_at(4)
    for name in farm.names:
        assert [entry["number"] for entry in farm.history(name)] == [4, 3, 2, 1]
    assert farm.command("web2", "rollback", "1", "--yes").returncode == 0


def test_what_needs_another_daemon_is_taken_by_all_one_after_the_other(farm):
    pids = {name: daemon.pid for name, daemon in farm.daemons.items()}
    farm.edit("web1", 'preset = "lan"', 'preset = "fast"')
    applied = farm.apply("web1")
    assert applied.returncode == 0, applied.stderr
    assert "web3: restarts its daemon: heartbeat.preset becomes fast" in applied.stdout
    assert "restart of the daemon done: web1, web2, web3" in applied.stdout
    farm.all_ready()
    assert pids == {name: daemon.pid for name, daemon in farm.daemons.items() if daemon.poll() is None}
    assert "has another [heartbeat]" not in farm.log("web1").rpartition("starts")[2].rpartition("web3 is heard")[2]
    assert "nothing to apply" in farm.apply("web2").stdout


def test_checks_and_paths_change_while_the_daemons_run(farm):
    pids = {name: daemon.pid for name, daemon in farm.daemons.items()}
    checks = "".join(
        f'[[check]]\ntype = "tcp"\nname = "{name}"\naddress = "{address}"\nport = 9010\naction = "wait"\nwhen = "pre"\n'
        for name, address in farm.addresses.items()
    )
    farm.edit("web1", CHECK, f'{CHECK}path = "/alive"\n{checks}')
    applied = farm.apply("web1")
    assert applied.returncode == 0, applied.stderr
    assert "check web1 is new" in applied.stdout
    for name in farm.names:
        assert wait_for(lambda name=name: fetch(farm.url(name, "/alive"))[0] == 200, what="Ready by the new path")
        assert farm.health(name) == 401
        assert "web2 passes" in wait_for(lambda name=name: farm.log(name) if "web2 passes" in farm.log(name) else "")
    assert pids == {name: daemon.pid for name, daemon in farm.daemons.items() if daemon.poll() is None}
    assert "ends to start again" not in farm.log("web1")


def test_a_node_joins_by_an_apply_and_leaves_by_one(farm):
    address = f"{farm.prefix}4"
    table = f'[[node]]\nname = "web4"\naddress = "{address}"\nlisten = ["{address}:9010"]\n'
    farm.edit("web1", CHECK, f"{table}{CHECK}")
    joins = farm.apply("web1")
    assert joins.returncode == 0, joins.stderr
    assert "web4 joins" in joins.stdout
    farm.addresses["web4"] = address
    shutil.copytree(farm.own("web1"), farm.own("web4"))
    farm.start("web4")
    wait_for(lambda: farm.view("web3") == ["web1", "web2", "web3", "web4"], what="a view of four")
    farm.edit("web2", table, "")
    refused = farm.apply("web2", "--without", "web4")
    assert refused.returncode == 1
    assert "web4 is alive and cannot be left out with --without" in refused.stderr
    leaves = farm.apply("web2")
    assert leaves.returncode == 0, leaves.stderr
    assert "web4 leaves" in leaves.stdout
    wait_for(lambda: farm.view("web3") == ["web1", "web2", "web3"], what="a view of three")
    assert farm.daemons["web4"].wait(30) == 2
    assert [node["name"] for node in farm.status("web3")["nodes"]] == ["web1", "web2", "web3"]


def test_an_edit_that_is_not_applied_shows_in_the_status(farm):
    farm.edit("web1", '"1s"', '"2s"')
    assert farm.apply("web1").returncode == 0
    farm.edit("web1", '"2s"', '"3s"')

    def reason():
        return next(node["reason"] for node in farm.status("web1")["nodes"] if node["name"] == "web1")

    assert "farm.toml was edited at" in wait_for(reason, limit=30, what="the edit in the status")
    assert "(hcsidecar diff shows how)" in farm.log("web1")


def test_a_farm_that_was_given_three_settings_takes_those_of_one_node(tmp_path):
    with separate_farm(tmp_path, extra=CHECK) as farm:
        for name, seconds in zip(farm.names, ("2s", "3s", "4s"), strict=True):
            farm.start(name)
            wait_for(lambda name=name: farm.health(name) == 200, limit=30, what=f"{name} is Ready alone")
            farm.edit(name, '"1s"', f'"{seconds}"')
            others = [option for other in farm.names if other != name for option in ("--without", other)]
            # Right after its start it does not know yet whom it may leave out.
            wait_for(lambda name=name, others=others: farm.apply(name, *others).returncode == 0, limit=30, what="apply")
            farm.kill(name)
        farm.start()
        for name in farm.names:
            wait_for(lambda name=name: farm.log(name).count("gone two ways") >= 2, limit=30, what="two conflicts")
        planned = farm.command("web2", "apply", "--dry-run")
        assert planned.returncode == 1
        assert "web1, web3 go by others (hcsidecar apply --take NODE): choose one first" in planned.stderr
        ended = farm.apply("web2", "--take", "web3")
        assert ended.returncode == 0, ended.stderr
        farm.all_at(2)
        assert farm.history("web1")[0]["message"] == "the settings of web3 for all"
        assert "the settings of web3 for all; ended a conflict between " in farm.command("web1", "history").stdout
        refused = farm.command("web2", "rollback", "1", "--yes")
        assert refused.returncode == 1
        assert "there are 2 revisions 1, of a farm that was in parts" in refused.stderr
        for name in farm.names:
            wait_for(lambda name=name: '"4s"' in farm.farm_file(name).read_text(), what=f"the files of {name}")
            assert [path.name for path in farm.own(name).glob("*.unapplied*")] == []


def test_a_file_that_cannot_be_brought_up_to_date_is_not_said_to_be_edited(farm):
    farm.edit("web1", '"1s"', '"2s"')
    farm.farm_file("web2").rename(farm.directory / "elsewhere.toml")
    (farm.farm_file("web2") / "full").mkdir(parents=True)
    assert farm.apply("web1").returncode == 0

    def reason():
        return next(node["reason"] for node in farm.status("web2")["nodes"] if node["name"] == "web2")

    assert "cannot write" in wait_for(reason, limit=30, what="the status of web2")
    assert "move it away" in reason()


def test_a_living_node_is_not_left_out(farm):
    farm.edit("web1", '"1s"', '"2s"')
    refused = farm.apply("web1", "--without", "web3")
    assert refused.returncode == 1
    assert "web3 is alive and cannot be left out with --without" in refused.stderr
    refused = farm.apply("web1", "--without", "web1")
    assert refused.returncode == 1
    assert "web1 is alive and cannot be left out with --without" in refused.stderr


def test_only_nodes_that_there_are_can_be_left_out(farm):
    farm.edit("web1", '"1s"', '"2s"')
    refused = farm.apply("web1", "--without", "web9")
    assert refused.returncode == 1
    assert "there is no node web9 to be left out" in refused.stderr


def test_what_the_farm_could_not_survive_cannot_be_proposed_by_anybody(farm):
    farm.edit("web1", 'preset = "lan"', 'preset = "lan"\nport = 4804')
    planned = json.loads(farm.command("web1", "apply", "--dry-run", "--json").stdout)["candidate"]
    assert planned["plan"]["refusals"]
    connection = UnixConnection(farm.socket("web1"))
    connection.request("POST", "/api/v1/settings/proposals", json.dumps({"digest": planned["revision"][1]}))
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["ok"]) == (409, False)
    connection.close()
    assert farm.number("web1") == 0


def test_a_farm_of_one_node_takes_a_change_that_restarts_its_daemon(tmp_path):
    with separate_farm(tmp_path, names=("web1",), extra="realtime = false\n" + CHECK) as farm:
        farm.start().all_ready()
        farm.edit("web1", "realtime = false", "realtime = true")
        process = farm.daemons["web1"].pid
        applied = farm.apply("web1")
        assert applied.returncode == 0, applied.stderr
        assert "web1 is Ready again" in applied.stdout
        assert farm.daemons["web1"].pid == process
        assert "ends to start again" in farm.log("web1")
        wait_for(lambda: farm.health("web1") == 200, limit=30, what="web1")
