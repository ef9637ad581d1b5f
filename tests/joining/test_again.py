"""A server that was removed from its farm, and joins again, with real daemons."""

import json

from daemons import wait_for
from joining.machines import machines
from namespaces import needs_namespaces


@needs_namespaces
def test_a_removed_server_joins_again_by_one_line_that_sets_its_old_files_aside(tmp_path):
    with machines(tmp_path, "web1", "web2") as (web1, web2):
        web1.init().start().certified()
        first = web2.paste(web1.token("web2"), "--yes", "--json")
        assert first.returncode == 0, first.stderr
        told = json.loads(first.stdout)
        assert told["joined"] is True
        assert (told["node"], told["farm"], told["issuer"]) == ("web2", "apache", "web1")
        assert told["addresses"] == {"default": "192.0.2.12"}
        assert str(web2.config) in told["written"]
        assert told["config"] == str(web2.config)
        assert (told["problems"], told["set_aside"]) == ([], {})
        web2.start()
        wait_for(lambda: web1.view() == web2.view() == ["web1", "web2"], limit=60, what="one view")

        running = web2.paste(web1.token("web3").replace("web3", "web2"), "--fresh", "--json", "--yes")
        assert running.returncode == 1
        assert json.loads(running.stdout)["joined"] is False
        assert json.loads(running.stdout)["problems"]

        assert web1.run("remove", "web2", "--yes", "--config", web1.config).returncode == 0
        assert web2.daemon.wait(60) == 2
        web2.start()
        assert web2.daemon.wait(60) == 2
        assert (
            "run hcsidecar token web2 on a node of the farm, and here the line that it prints, with --fresh"
            in web2.log()
        )

        # All that is in the way is told at once, also what would keep the daemon from starting.
        line = web1.token("web2")
        refused = web2.paste(line, "--yes")
        assert refused.returncode == 1
        settings = web2.state / "apache" / "web2" / "settings"
        for name in ("farm.key", "ca.pem", "ca.key"):
            assert f"{web2.config.parent / name} is there already" in refused.stderr
        assert f"{settings} has the settings of an earlier node web2, by which it would go on" in refused.stderr
        assert "--fresh" in refused.stderr
        assert "web2" not in web1.config.read_text()

        # A dry run sets nothing aside.
        former = {path.name: path.read_bytes() for path in web2.config.parent.iterdir()}
        assert web2.paste(line, "--dry-run", "--fresh").returncode == 0
        assert {path.name: path.read_bytes() for path in web2.config.parent.iterdir()} == former

        again = web2.paste(line, "--yes", "--fresh")
        assert again.returncode == 0, again.stderr
        assert f"{settings} of an earlier node is now {settings}.before" in again.stdout
        assert f"{web2.config.parent}/farm.key of an earlier node is now" in again.stdout
        assert (web2.config.parent / "farm.key.before").read_bytes() == former["farm.key"]
        web2.start()
        wait_for(lambda: web1.view() == web2.view() == ["web1", "web2"], limit=60, what="one view")


@needs_namespaces
def test_a_server_of_another_farm_joins_as_if_it_were_new_and_keeps_its_old_files_beside(tmp_path):
    with machines(tmp_path, "web1", "web2") as (web1, web2):
        web1.init().start().certified()
        web2.init("other").start()
        wait_for(lambda: "heartbeats run" in web2.log(), limit=30, what="the daemon of the other farm")
        former = {path.name: path.read_bytes() for path in web2.config.parent.iterdir()}
        # What was set aside before goes.
        (web2.config.parent / "ca.pem.before" / "full").mkdir(parents=True)
        line = web1.token("web2")
        refused = web2.paste(line, "--yes")
        assert f"{web2.config} is there already, and is not that of farm apache now: add --fresh" in refused.stderr
        running = web2.paste(line, "--yes", "--fresh")
        assert "a daemon of web2 runs here: stop it first" in running.stderr
        assert "web2" not in web1.config.read_text()
        web2.end()
        joined = web2.paste(line, "--yes", "--fresh")
        assert joined.returncode == 0, joined.stderr
        assert {name: (web2.config.parent / f"{name}.before").read_bytes() for name in former} == former
        web2.start()
        wait_for(lambda: web1.view() == web2.view() == ["web1", "web2"], limit=60, what="one view")
