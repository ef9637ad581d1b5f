"""An application with scripts under a real daemon: a small web server, started, watched, restarted, taken over.

Its server is a process of its own session, as those of Apache are, and answers with what the test writes into a file.
"""

import os
import signal
import socket
import sys
from contextlib import contextmanager, suppress

import pytest
from daemons import fetch, real_farm, wait_for

SERVER = """
import http.server, os, pathlib, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = pathlib.Path("page").read_bytes()
        self.send_response(200 if text != b"sick" else 500)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *_): pass
pathlib.Path("pid").write_text(str(os.getpid()))
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""
START = """#!/bin/sh
echo "start $*" >> story
[ -f broken ] && { echo "the disk is on fire"; exit 3; }
setsid {python} server.py {port} &
"""
STOP = """#!/bin/sh
echo "stop $*" >> story
[ -f stubborn ] && exit 1
kill -9 $(cat pid); rm pid; true
"""
EXTRA = """
[application]
start = "bin/start"
stop = "bin/stop"
{application}
[[check]]
type = "http"
name = "PAGE"
address = "127.0.0.1"
port = {port}
interval = "100ms"
[health]
lame_duck = "1s"
{more}
"""


class Site:
    """A farm of one node whose application is the small web server."""

    def __init__(self, directory, farm, port):
        self.directory, self.farm, self.port = directory, farm, port

    def file(self, name):
        return self.directory / name

    @property
    def pid(self):
        return int(self.file("pid").read_text())

    @property
    def story(self):
        return self.file("story").read_text().splitlines()

    def start(self):
        self.farm.start()
        return self

    def ready(self):
        """Wait until the node is Ready and knows on disk that its checks have passed."""
        wait_for(lambda: self.farm.health("web1") == 200, what="Ready")
        wait_for(lambda: "has_passed" in self.state.read_text(), what="has_passed on disk")
        return self

    @property
    def state(self):
        return self.farm.socket("web1").parent / "state.json"

    def end_daemon(self, number=signal.SIGTERM):
        daemon = self.farm.daemons.pop("web1")
        daemon.send_signal(number)
        daemon.wait(10)

    def node(self):
        return self.farm.status("web1")["nodes"][0]

    def kill_server(self):
        os.kill(self.pid, signal.SIGKILL)


@contextmanager
def site(directory, *, application="", more=""):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (directory / "server.py").write_text(SERVER)
    (directory / "page").write_text("well")
    (directory / "bin").mkdir(mode=0o755)
    for name, text in (("start", START), ("stop", STOP)):
        script = directory / "bin" / name
        script.write_text(text.replace("{python}", sys.executable).replace("{port}", str(port)))
        script.chmod(0o755)
    extra = EXTRA.format(application=application, port=port, more=more)
    with real_farm(directory, names=("web1",), extra=extra) as farm:
        made = Site(directory, farm, port)
        try:
            yield made
        finally:
            farm.end()
            if made.file("pid").exists():
                with suppress(ProcessLookupError):
                    made.kill_server()


def test_an_application_is_started_restarted_when_it_dies_and_stopped(tmp_path):
    with site(tmp_path) as on:
        on.start().ready()
        first = on.pid
        on.kill_server()
        wait_for(lambda: on.file("pid").exists() and on.pid != first, what="another server")
        on.ready()
        assert on.node()["restarts"] == {"used": 1, "most": 3}
        assert "1 of 3" in on.farm.cli("status", node="web1").stdout
        assert on.farm.cli("stop", node="web1").returncode == 0
        assert on.story == ["start WAIT UP start", "stop UP UP restart", "start UP UP restart", "stop UP WAIT stop"]
        assert fetch(f"http://127.0.0.1:{on.port}/")[0] == 0
        assert on.farm.cli("status", node="web1").returncode == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_application_outlives_its_daemon_and_the_next_one_takes_it_over(tmp_path, number):
    with site(tmp_path) as on:
        on.start().ready()
        first = on.pid
        on.end_daemon(number)
        assert fetch(f"http://127.0.0.1:{on.port}/")[0] == 200
        on.start().ready()
        # The health URL is told before the log.
        wait_for(lambda: "took over the application as it runs" in on.farm.log("web1"))
        assert (on.pid, on.story) == (first, ["start WAIT UP start"])


def test_an_application_that_died_while_no_daemon_ran_is_restarted(tmp_path):
    with site(tmp_path) as on:
        on.start().ready()
        on.end_daemon(signal.SIGKILL)
        first = on.pid
        on.kill_server()
        on.start().ready()
        assert on.pid != first
        assert on.story[1:] == ["stop UP UP restart", "start UP UP restart"]


def test_the_failure_that_is_one_too_many_stops_the_module_over_a_restart_of_the_daemon_too(tmp_path):
    with site(tmp_path, application="max_restarts = 1") as on:
        on.start().ready()
        on.kill_server()
        wait_for(lambda: on.node()["restarts"]["used"] == 1)
        on.ready()
        on.file("page").write_text("sick")
        wait_for(lambda: on.node()["role"] == "STOP")
        assert "failure 2 within 1d, more than max_restarts allows" in on.node()["reason"]
        on.end_daemon()
        on.file("page").write_text("well")
        on.start()
        wait_for(lambda: on.farm.status("web1") and on.node()["reason"].startswith("stopped by itself: failure 2"))
        assert on.farm.cli("start", node="web1").returncode == 0
        on.ready()
        assert on.node()["restarts"]["used"] == 0


def test_a_start_that_fails_says_the_scripts_last_words_and_gives_up(tmp_path):
    with site(tmp_path, application="max_restarts = 0") as on:
        on.file("broken").touch()
        on.start()
        wait_for(lambda: "the start script exit status 3, its last words: the disk is on fire" in on.farm.log("web1"))
        wait_for(lambda: on.node()["role"] == "STOP")
        assert on.farm.health("web1") == 404


def test_what_the_stop_script_leaves_running_is_killed(tmp_path):
    with site(tmp_path) as on:
        on.start().ready()
        on.file("stubborn").touch()
        assert on.farm.cli("stop", node="web1").returncode == 0
        assert on.story[1:] == ["stop UP WAIT stop", "stop force UP WAIT stop"]
        assert "none of its processes is left" in on.farm.log("web1")
        assert fetch(f"http://127.0.0.1:{on.port}/")[0] == 0


def test_a_need_is_waited_for_before_the_start_and_the_application_stops_when_it_is_lost(tmp_path):
    need = socket.create_server(("127.0.0.1", 0))
    port = need.getsockname()[1]
    need.close()
    check = (
        f'[[check]]\ntype = "tcp"\nname = "NEED"\nwhen = "pre"\naddress = "127.0.0.1"\nport = {port}\n'
        'interval = "100ms"\npending_interval = "100ms"'
    )
    with site(tmp_path, more=check) as on:
        on.start()
        wait_for(lambda: on.farm.status("web1") and on.node()["role"] == "WAIT" and on.node()["status"] == "NotReady")
        assert "check NEED: connection refused" in on.node()["reason"]
        assert on.farm.cli("status", node="web1").returncode == 1
        assert not on.file("story").exists()
        with socket.create_server(("127.0.0.1", port)):
            on.ready()
        wait_for(lambda: on.node()["role"] == "WAIT")
        assert on.story == ["start WAIT UP start", "stop UP WAIT stopwait"]
        assert "no node of the farm is left to serve: check NEED" in on.farm.log("web1")


def test_of_nodes_that_lack_the_same_the_last_one_stays_if_the_farm_wants_that(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as need:
        address = need.getsockname()
        check = (
            f'[[check]]\ntype = "tcp"\nname = "NEED"\nwhen = "pre"\naddress = "127.0.0.1"\n'
            f'port = {address[1]}\ninterval = "200ms"\n[health]\nlame_duck = "500ms"'
        )
        with real_farm(tmp_path, names=("web1", "web2", "web3"), extra=check) as farm:
            text = farm.config.read_text()
            farm.config.write_text(text.replace("[farm]\n", "[farm]\nlast_stays = true\n"))
            farm.start().all_ready()
            need.close()
            wait_for(lambda: farm.status("web1")["nodes"][1]["role"] == "WAIT", what="web2 waits")
            wait_for(lambda: farm.status("web1")["nodes"][2]["role"] == "WAIT", what="web3 waits")
            wait_for(lambda: "stays UP, since no other node would be left" in farm.log("web1"))
            assert "left to serve" not in farm.log("web2") + farm.log("web3")
            assert farm.health("web1") == 200
            with socket.create_server(address):
                farm.all_ready()


def test_a_start_that_outlives_its_daemon_ends_before_the_next_one_begins(tmp_path):
    with site(tmp_path) as on:
        script = tmp_path / "bin" / "start"
        quick = script.read_text()
        script.write_text(quick.replace("setsid", "echo begun >> story; [ -f quick ] || sleep 60; setsid"))
        on.start()
        wait_for(lambda: on.file("story").exists() and "begun" in on.story)
        on.end_daemon(signal.SIGKILL)
        on.file("quick").touch()
        on.start().ready()
        wait_for(lambda: on.story.count("begun") == 2)
        assert [line.split()[0] for line in on.story] == ["start", "begun", "stop", "stop", "start", "begun"]
        # What slept in the first script would start a second server, on a port that is taken.
        assert "checks that no process of the application is left" in on.farm.log("web1")
