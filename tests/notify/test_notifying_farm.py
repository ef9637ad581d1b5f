"""Farms of real daemons that notify real web servers, and lose the node that was to send."""

import json
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from daemons import UnixConnection, real_farm, wait_for
from receivers import web_server


def webhook(url, name="chat", *, group="3s", more=""):
    return f'[[notify]]\ntype = "webhook"\nname = "{name}"\nurl = "{url}"\ngroup = "{group}"\n{more}\n'


@contextmanager
def farm_with(*tables):
    with (
        tempfile.TemporaryDirectory(prefix="hcn") as directory,
        real_farm(Path(directory), extra="".join(tables)) as farm,
    ):
        yield farm.start().all_ready()


def receivers(farm, node):
    connection = UnixConnection(farm.socket(node))
    try:
        connection.request("GET", "/api/v1/notifications")
        return {each["name"]: each for each in json.loads(connection.getresponse().read())["receivers"]}
    finally:
        connection.close()


def told(posts):
    """Give what was told: the sending node, the node it is about, and the text."""
    return [(post["node"], each["node"], each["text"]) for post in posts for each in post["notifications"]]


def write_error(farm, node, text):
    assert farm.cli("log", "error", text, node=node).returncode == 0


def test_the_first_node_tells_the_states_of_all_and_the_death_of_one_once():
    with web_server() as (url, posts), farm_with(webhook(url)) as farm:
        expected = {("web1", name, "is UP(Ready)") for name in ("web1", "web2", "web3")}
        wait_for(lambda: expected <= set(told(posts)), what="every node told as Ready")
        farm.kill("web3")
        death = ("web1", "web3", "is dead: its heartbeats are not heard any more")
        wait_for(lambda: death in told(posts), what="the death told")
        wait_for(lambda: all(receivers(farm, node)["chat"]["held"] == 0 for node in ("web1", "web2")), what="rest")
        assert len(told(posts)) == len(set(told(posts))) == 4


def test_what_the_sending_node_held_when_it_was_killed_is_sent_by_the_next_one():
    with web_server() as (url, posts), farm_with(webhook(url, group="8s")) as farm:
        wait_for(lambda: len(told(posts)) == 3, limit=30, what="the states told")
        write_error(farm, "web1", "the disk is full")
        wait_for(lambda: receivers(farm, "web2")["chat"]["held"] == 1, what="the second holding it")
        farm.kill("web1")
        expected = [
            ("web2", "web1", "reports: operator: the disk is full (root)"),
            ("web2", "web1", "is dead: its heartbeats are not heard any more"),
        ]
        wait_for(lambda: told(posts)[3:] == expected, limit=30, what="both told by the second")


def test_a_receiver_that_hangs_delays_neither_the_others_nor_the_daemon_and_shows_in_status():
    with socket.create_server(("127.0.0.1", 0)) as silent, web_server() as (url, posts):
        hanging = webhook(f"http://127.0.0.1:{silent.getsockname()[1]}/", "night", group="0s", more='timeout = "1s"')
        with farm_with(webhook(url, group="0s"), hanging) as farm:
            wait_for(lambda: receivers(farm, "web1")["night"].get("error"), limit=30, what="the failure")
            assert receivers(farm, "web1")["night"]["error"]["text"] == "no answer within 1 s"
            write_error(farm, "web3", "the disk is full")
            expected = ("web1", "web3", "reports: operator: the disk is full (root)")
            wait_for(lambda: expected in told(posts), limit=30, what="the other receiver told")
            shown = farm.cli("status", node="web1")
            assert shown.returncode == 0
            assert "web1: cannot notify night: no answer within 1 s; " in shown.stderr
            assert "night: cannot send notifications: no answer within 1 s" in farm.log("web1")
            assert not any("cannot send" in text for _, _, text in told(posts))


def test_a_daemon_loads_what_sends_notifications_only_if_its_farm_file_has_receivers():
    loaded = "import hcsidecar.daemon.daemon, sys; print([name for name in sys.modules if 'hcsidecar.notify' in name])"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, check=True).stdout == b"[]\n"
