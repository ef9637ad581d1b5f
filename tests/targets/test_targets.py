"""Targets of real daemons: what is registered when, and how little a balancer that does not work can do to a node."""

import os
import signal
from pathlib import Path

import folder_balancer
import pytest
from daemons import real_farm, wait_for

ONE = {"names": ("web1",), "preset": "fast"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Give a directory that is a balancer, for daemons that this test starts."""
    packages = tmp_path / "packages"
    packages.mkdir()
    folder_balancer.install(packages)
    monkeypatch.setenv("PYTHONPATH", str(packages))
    made = tmp_path / "balancer"
    made.mkdir()
    return made


def target(folder, **more):
    keys = {"type": "folder", "name": "shop", "folder": str(folder), "poll": "1s"} | more
    lines = (
        f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {str(value).lower()}"
        for key, value in keys.items()
    )
    return '[health]\nlame_duck = "500ms"\n[[target]]\n' + "\n".join(lines)


def calls(folder):
    path = folder / "calls"
    return path.read_text().splitlines() if path.exists() else []


def registered(folder, *names):
    return all((folder / name).exists() for name in names or ("web1",))


def test_every_node_registers_itself_and_only_itself_and_leave_deregisters_it(tmp_path, folder):
    with real_farm(tmp_path, extra=target(folder)) as farm:
        farm.start().all_ready()
        wait_for(lambda: registered(folder, *farm.names), limit=30, what="three registered")
        assert sorted(calls(folder)) == ["web1 register", "web2 register", "web3 register"]
        left = farm.cli("leave", node="web2")
        assert (left.returncode, left.stderr) == (0, "")
        assert (folder / "web2.draining").exists()
        assert calls(folder)[3:] == ["web2 deregister"]
        assert "shop: deregistered: the operator's last word was leave" in farm.log("web2")
        # Over a restart too it stays away, until it is started.
        farm.kill("web2")
        farm.start("web2")
        wait_for(lambda: farm.log("web2").count("shop: this node is draining there") > 1)
        assert not registered(folder, "web2")
        assert farm.cli("start", node="web2").returncode == 0
        wait_for(lambda: registered(folder, "web2"), limit=30, what="web2 registered again")


def test_a_restart_a_stop_and_a_crash_leave_a_node_registered(tmp_path, folder):
    with real_farm(tmp_path, **ONE, extra=target(folder)) as farm:
        farm.start()
        wait_for(lambda: registered(folder), limit=30, what="registered")
        daemon = farm.daemons["web1"]
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(10) == 0
        farm.start("web1")
        wait_for(lambda: farm.health("web1") == 200)
        farm.kill("web1")
        farm.start("web1")
        wait_for(lambda: farm.health("web1") == 200)
        assert farm.cli("stop", node="web1").returncode == 0
        assert farm.cli("start", node="web1").returncode == 0
        wait_for(lambda: farm.health("web1") == 200)
        wait_for(lambda: "shop: this node is healthy there" in farm.log("web1").split("of farm apache starts")[-1])
        assert calls(folder) == ["web1 register"]


def test_a_balancer_that_is_told_first_has_drained_the_node_before_it_answers_not_found(tmp_path, folder):
    with real_farm(tmp_path, **ONE, extra=target(folder, first=True)) as farm:
        farm.start()
        wait_for(lambda: registered(folder), limit=30, what="registered")
        assert (
            farm.act("web1", "leave")["text"]
            == "the application leaves, and serves until its balancers have drained it"
        )
        wait_for((folder / "web1.draining").exists, what="deregistered")
        (row,) = wait_for(lambda: waiting_for(farm, "target shop to be drained by its balancer"))
        assert [row["parting"], row["draining"], farm.health("web1")] == [True, False, 200]
        # A second one ends the waiting.
        left = farm.cli("leave", node="web1")
        assert left.returncode == 0
        assert farm.health("web1") == 404
        assert "leave by root, no more waiting for balancers" in farm.log("web1")


def waiting_for(farm, text):
    rows = farm.status("web1")["nodes"]
    return rows if text in rows[0]["waits_for"] else None


@pytest.mark.soak
@pytest.mark.parametrize(("fault", "first"), [("hang", True), ("garbage", False)])
def test_a_balancer_that_does_not_work_holds_up_neither_health_nor_leave_nor_the_end(tmp_path, folder, fault, first):
    with real_farm(tmp_path, **ONE, extra=target(folder, first=first)) as farm:
        farm.start()
        wait_for(lambda: registered(folder), limit=30, what="registered")
        (folder / "fault").write_text(fault)
        wait_for(lambda: "shop: observe failed" in farm.log("web1"), what="the fault")
        assert [farm.health("web1") for _ in range(50)] == [200] * 50
        left = farm.cli("leave", node="web1")
        assert left.returncode == 1
        assert "has not left within 20 s" in left.stderr
        assert "it waits for target shop to be deregistered" in left.stderr
        assert farm.health("web1") == 404
        assert (farm.status("web1")["nodes"][0]["role"]) == "STOP"
        daemon = farm.daemons["web1"]
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(10) == 0, "a call that hangs held up the end of the daemon"
        assert "Traceback" not in farm.log("web1")


def test_a_leave_that_failed_is_done_by_the_next_daemon(tmp_path, folder):
    with real_farm(tmp_path, **ONE, extra=target(folder)) as farm:
        farm.start()
        wait_for(lambda: registered(folder), limit=30, what="registered")
        (folder / "fault").write_text("garbage")
        farm.act("web1", "leave")
        state = farm.directory / "s" / "apache" / "web1" / "state.json"
        wait_for(lambda: '"leave"' in state.read_text(), what="the last word on disk")
        farm.kill("web1")
        (folder / "fault").unlink()
        farm.start("web1")
        wait_for((folder / "web1.draining").exists, what="deregistered by the next daemon")


def test_the_calls_are_made_by_one_helper_process_whose_death_the_daemon_outlives_and_not_the_reverse(tmp_path, folder):
    with real_farm(tmp_path, **ONE, extra=target(folder)) as farm:
        farm.start()
        wait_for(lambda: registered(folder), limit=30, what="registered")
        daemon = farm.daemons["web1"]

        def caller():
            return int((folder / "web1.caller").read_text() or 0)

        first = caller()
        assert children(daemon.pid) == [first]
        os.kill(first, signal.SIGKILL)
        second = wait_for(lambda: caller() not in (0, first) and caller(), limit=30, what="another process")
        wait_for(lambda: children(daemon.pid) == [second], what="one process")
        assert (daemon.poll(), farm.health("web1")) == (None, 200)
        farm.kill("web1")
        wait_for(lambda: not Path(f"/proc/{second}").exists(), what="the end of the helper process")


def children(pid):
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for thread in threads for child in (thread / "children").read_text().split()]
