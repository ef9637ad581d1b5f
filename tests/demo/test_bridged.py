"""The demo as root has it: servers, HAProxy, clients and a virtual IP on a bridge, in network namespaces."""

import json
import shutil
import signal
import subprocess

import pytest
from leftovers import living_below
from namespaces import namespace_of, needs_namespaces, network_namespaces
from running_demo import LIMIT, demo, demo_on_a_terminal, empty_place, read_until, until

pytestmark = needs_namespaces

NAMESPACES = 6
"Switch, three servers, HAProxy, clients."


@pytest.fixture
def place():
    with empty_place() as directory:
        yield directory


def machine():
    """What this machine's own network looks like."""
    asked = (["-br", "link"], ["-br", "address"], ["-4", "route"])
    return [subprocess.run(["ip", *words], capture_output=True, text=True, check=True).stdout for words in asked]


def namespaces_below(place):
    return {namespace_of(process) for process in living_below(place)} - {namespace_of("self")}


def test_the_story_keeps_every_promise_and_leaves_the_machine_as_it_was(place):
    before = machine()
    with demo(place, "--script", "--json") as process:
        until(lambda: len(namespaces_below(place)) == NAMESPACES, "the network")
        namespaces = namespaces_below(place)
        out, err = process.communicate(timeout=LIMIT)
    report = json.loads(out)
    broken = [verdict for step in report["steps"] for verdict in step["verdicts"] if not verdict["kept"]]
    assert (process.returncode, broken, err) == (0, [], "")
    assert report["vip"] == "198.51.100.50"
    failed = [step["vip"]["failed"] for step in report["steps"]]
    assert failed == [0, 0, failed[2], 0, failed[4], 0], "only a hang and a kill cost requests"
    assert failed[2] > 0, "the web server did hang"
    assert all(set(step["vip"]["by_server"]) == {"web1", "web2", "web3"} for step in report["steps"][:4])
    until(lambda: not network_namespaces() & namespaces, "the end of the network")
    until(lambda: machine() == before, "the network as it was, which other tests may change for a while")


def test_nothing_outlives_even_a_killed_demo_and_the_next_removes_its_directory(place):
    before = machine()
    with demo(place, "--script") as process:
        read_until(process, "$ hcsidecar drain")
        namespaces = namespaces_below(place)
        assert len(namespaces) == NAMESPACES
        process.kill()
        until(lambda: not living_below(place), "the end of all processes")
    until(lambda: not network_namespaces() & namespaces, "the end of the network")
    until(lambda: machine() == before, "the network as it was, which other tests may change for a while")
    # Its directory is all that is left, for the next demo to find.
    shutil.rmtree(next(place.iterdir()))


def test_keys_do_to_a_server_what_they_say(place):
    story = (
        ("", "freeze daemon"),
        ("1h", "kill -STOP web1: the workers of its web server"),
        ("", "stopped with force; starts again"),
        ("2p", "$ hcsidecar power 2 --node web2"),
        ("l", "cuts web2's link"),
        ("", "Server web/web2 is DOWN"),
        ("b", "Server web/web2 is UP"),
        ("f", "kill -STOP web2: daemon"),
        ("", "Server web/web2 is DOWN"),
        ("b", "Server web/web2 is UP"),
        ("x", "kill -9 web2: daemon"),
        ("3k", "kill -9 web3: web server and daemon"),
        ("", "Server web/web3 is DOWN"),
        ("b", "Server web/web3 is UP"),
    )
    with demo_on_a_terminal(place, lines=40) as (process, screen, press):
        for keys, sign in story:
            screen.text = ""
            press(keys)
            screen.read_until(sign)
        press("q")
        until(lambda: screen.read() and process.poll() is not None, "the end")
        assert process.returncode == 0


def test_an_interruption_while_the_network_is_built_leaves_nothing(place):
    with demo(place, "--script") as process:
        until(lambda: namespaces_below(place), "the first namespace")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=LIMIT)
    assert process.returncode == 128 + signal.SIGTERM
