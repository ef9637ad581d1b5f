"""The demo on loopback, with real daemons, nginx and HAProxy: it keeps its promises and leaves nothing behind."""

import json
import os
import shutil
import signal
from functools import partial

import pytest
from leftovers import living_below
from running_demo import LIMIT, NO_NAMESPACES, demo, demo_on_a_terminal, empty_place, read_until, until

WHOLE_FARM = 10
"Processes: three daemons, three nginx with a worker each, and HAProxy."

loopback_demo = partial(demo, prefix=NO_NAMESPACES)


@pytest.fixture
def place():
    with empty_place() as directory:
        yield directory


def test_the_story_keeps_every_promise_and_leaves_nothing(place):
    with loopback_demo(place, "--script", "--json") as process:
        until(lambda: len(living_below(place)) >= WHOLE_FARM, "the whole farm")
        out, err = process.communicate(timeout=LIMIT)
    report = json.loads(out)
    broken = [verdict for step in report["steps"] for verdict in step["verdicts"] if not verdict["kept"]]
    assert (process.returncode, broken, err) == (0, [], "")
    failed = [step["summary"]["failed"] for step in report["steps"]]
    assert failed == [0, 0, failed[2], 0]
    assert failed[2] > 0, "a kill does cost requests: the client would see if others did"


def test_an_interruption_in_the_middle_of_the_story_leaves_nothing(place):
    with loopback_demo(place, "--script") as process:
        read_until(process, "$ hcsidecar stop")
        assert len(living_below(place)) >= WHOLE_FARM
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, err) == (128 + signal.SIGINT, "Interrupted by SIGINT; nothing is left behind.\n")


def test_an_interruption_while_the_farm_is_put_up_leaves_nothing(place):
    with loopback_demo(place, "--script") as process:
        until(lambda: living_below(place), "the first process")
        process.terminate()
        process.communicate(timeout=LIMIT)
    assert process.returncode == 128 + signal.SIGTERM


def test_no_process_outlives_even_a_killed_demo(place):
    with loopback_demo(place, "--script") as process:
        read_until(process, "$ hcsidecar stop")
        process.kill()
        until(lambda: not living_below(place), "the end of all processes")
    # Nobody is there to remove it.
    shutil.rmtree(next(place.iterdir()))


def test_a_start_that_fails_half_way_shows_the_last_words_and_leaves_nothing(place, tmp_path):
    broken = tmp_path / "haproxy"
    broken.write_text("#!/bin/sh\necho '[ALERT] no such luck'\nexit 1\n")
    broken.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    with loopback_demo(place, "--script", environment={"PATH": path}) as process:
        _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 2
    assert err == "haproxy has ended with status 1; its last words:\n    [ALERT] no such luck\n"


def test_without_a_terminal_it_tells_plain_lines_until_interrupted(place):
    with loopback_demo(place) as process:
        lines = read_until(process, "longest gap")
        assert any("web1     application: UP(Ready)" in line for line in lines)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, err) == (0, "")


def test_on_a_terminal_keys_work_and_its_mode_is_put_back(place):
    with demo_on_a_terminal(place, prefix=NO_NAMESPACES) as (process, screen, press):
        screen.read_until("stop gently")
        press("3k")
        screen.read_until("kill -9 web3: web server and daemon")
        screen.read_until("Server web/web3 is DOWN")
        press("q")
        until(lambda: screen.read() and process.poll() is not None, "the end")
        assert process.returncode == 0
        assert "\x1b[?1049l" in screen.text, "the screen is the one from before"
        assert "\x1b[?25h" in screen.text, "the cursor is there again"


def test_json_belongs_to_the_script(place):
    with loopback_demo(place, "--json") as process:
        _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 2
    assert "goes with --script" in err
