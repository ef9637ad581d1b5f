"""Nodes that are taken out of a farm of real daemons while it serves: alive, away, and cut off."""

import re
import socket
import threading

import pytest
from daemons import fetch, wait_for
from own_directories import separate_farm

EXTRA = '[health]\nlame_duck = "2s"\nprober_fall = 2\n'
OTHERS = {"web1", "web2"}
STAYS = "waits for SIGTERM, as --stay-removed says, so that nobody starts this removed node again and again"


@pytest.fixture
def farm(tmp_path):
    with separate_farm(tmp_path, extra=EXTRA) as made:
        yield made.start().all_ready()


def take_out(farm, name, *, on="web1"):
    """Edit the farm file of a node so that it is without a node."""
    file = farm.farm_file(on)
    text = re.sub(rf'\[\[node\]\]\nname = "{name}"\naddress = .*\nlisten = .*\n', "", file.read_text())
    assert f'"{name}"' not in text
    file.write_text(text)


def ends(farm, name):
    """Wait until a daemon has ended by itself; give its exit status."""
    return farm.daemons.pop(name).wait(30)


def said(farm):
    """Give what a daemon that serves no commands says to whoever connects."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(farm.directory / "s" / "apache" / "starting.sock"))
        return connection.recv(4096).decode()


class Balancer(threading.Thread):
    """Asks each node's health URL, and sends each request to the next one that has not failed twice in a row."""

    def __init__(self, farm):
        super().__init__(daemon=True)
        self._farm, self._over = farm, threading.Event()
        self.bad, self.sent, self.lost = dict.fromkeys(farm.names, 0), 0, []

    def run(self):
        while not self._over.wait(0.02):
            for name in self._farm.names:
                self.bad[name] = 0 if self._farm.health(name) == 200 else self.bad[name] + 1
            for name in (name for name, times in self.bad.items() if times < 2):
                self.sent += 1
                # The daemon stands for the application, which ends with it: it answers, whatever the state.
                if self._farm.health(name) == 0:
                    self.lost.append(name)

    def end(self):
        self._over.set()
        self.join()


def test_a_living_node_that_is_taken_out_drains_and_ends_and_no_request_is_lost(farm):
    balancer = Balancer(farm)
    balancer.start()
    take_out(farm, "web3")
    applied = farm.apply("web1")
    assert applied.returncode == 0, applied.stderr
    assert "web3 leaves: drains" in applied.stdout
    assert ends(farm, "web3") == 2
    balancer.end()
    assert balancer.lost == []
    assert balancer.sent > 0
    assert "this node has drained to leave the farm" in farm.log("web3")
    assert "the farm has removed this node: revision 1" in farm.log("web3")
    assert {name for name in OTHERS if farm.health(name) == 200} == OTHERS
    wait_for(lambda: farm.view("web1") == sorted(OTHERS))
    farm.start("web3")
    assert ends(farm, "web3") == 2
    assert "web3 is not in the farm any more: revision 1" in farm.log("web3")


def test_a_node_that_was_away_while_it_was_removed_learns_so_and_does_not_serve(farm):
    farm.kill("web3")
    wait_for(lambda: farm.view("web1") == sorted(OTHERS))
    removed = farm.command("web1", "remove", "web3", "--yes")
    assert removed.returncode == 0, removed.stderr
    assert "the keys are not changed: this farm has no certificate authority" in removed.stderr
    assert '"web3"' not in farm.farm_file("web2").read_text()
    assert farm.history("web2")[0]["message"] == "remove web3"
    farm.start("web3")
    assert ends(farm, "web3") == 2
    assert "the farm has removed this node: revision 1" in farm.log("web3")
    assert {name for name in OTHERS if farm.health(name) == 200} == OTHERS


def test_a_removed_node_in_a_container_stays_and_serves_nobody_until_it_is_told_to_end(farm):
    farm.kill("web3")
    farm.start("web3", options=["--stay-removed"]).all_ready()
    removed = farm.command("web1", "remove", "web3", "--yes")
    assert removed.returncode == 0, removed.stderr
    for started in (1, 2):
        wait_for(lambda times=started: farm.log("web3").count(STAYS) == times, limit=30, what="staying")
        wait_for(lambda: said(farm).startswith("a daemon runs here for a node that is removed: "), what="its answer")
        assert farm.health("web3") == 0
        assert farm.daemons["web3"].poll() is None
        farm.daemons["web3"].terminate()
        assert ends(farm, "web3") == 0
        if started == 1:
            farm.start("web3", options=["--stay-removed"])


def test_one_command_takes_out_a_living_node_but_not_the_one_on_which_it_is_given(farm):
    refused = farm.command("web3", "remove", "web3", "--yes")
    assert refused.returncode == 1
    assert "web3 cannot remove itself: say it on a node that stays" in refused.stderr
    removed = farm.command("web1", "remove", "web3", "--yes", "-m", "sold")
    assert removed.returncode == 0, removed.stderr
    assert ends(farm, "web3") == 2


def test_of_a_node_that_is_in_the_farm_there_is_no_notice(farm):
    status, _headers, body = fetch(farm.url("web1", "/api/v1/settings/removals/web3"))
    assert (status, body) == (404, "NOT FOUND\n")


def test_a_node_cannot_take_itself_out(farm):
    take_out(farm, "web1", on="web2")
    refused = farm.apply("web1", farm.farm_file("web2"))
    assert refused.returncode == 1
    assert "web1 cannot remove itself" in refused.stderr
