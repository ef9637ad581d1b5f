"""The network of the lab is gone when a run ends, and when the next begins if the run was killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from daemons import wait_for
from lan.namespaces import processes_in, run
from namespaces import needs_namespaces
from vm.network import network

TESTS = Path(__file__).parents[1]
LAYS_AND_WAITS = """\
import subprocess
from vm.network import network
with network() as made:
    subprocess.Popen(["ip", "netns", "exec", made.switch, "sleep", "300"])
    print(made.name, flush=True)
    input()
"""

pytestmark = needs_namespaces


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HCSIDECAR_VM_CACHE", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(TESTS))


def of_run(name):
    """Give the namespaces that bear the name of a run."""
    return [path.name for path in Path("/run/netns").glob(f"{name}-*")]


def test_nothing_stays_of_a_run_that_ends(tmp_path):
    with network() as made:
        assert sorted(of_run(made.name)) == sorted([made.switch, made.clients.namespace])
        run(made.switch, "ip", "link", "show", "switch")
    assert of_run(made.name) == []
    assert list((tmp_path / "run").iterdir()) == []


def test_a_killed_run_is_cleared_away_by_the_next_one_and_a_living_one_is_left_alone():
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", LAYS_AND_WAITS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    killed, living = runs
    names = [each.stdout.readline().strip() for each in runs]
    try:
        [left_running] = wait_for(lambda: processes_in(f"{names[0]}-switch"), what="the run's own process is there")
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait(10)
        assert len(of_run(names[0])) == 2
        with network():
            assert of_run(names[0]) == []
            assert len(of_run(names[1])) == 2
        # It may still be there for its parent to ask how it ended, but it works nowhere.
        assert not Path(f"/proc/{left_running}/cwd").exists()
    finally:
        for each in runs:
            each.communicate("\n" if each is living else None, timeout=30)
    assert living.returncode == 0
    assert of_run(names[1]) == []
