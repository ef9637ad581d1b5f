"""`hcsidecar init --admin`: the first user of a farm, before any daemon runs."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hcsidecar.access.password_hashes import is_right_password
from hcsidecar.access.store import AccessStore
from hcsidecar.core.access.roles import AccessRole

PASSWORD = "correct horse battery"  # noqa: S105
NOBODY = 65534
ROOT = Path(__file__).parents[2]


@pytest.fixture
def init(tmp_path):
    """Give the command, as a user whose state directory is here."""
    if os.geteuid() == 0:
        os.chown(tmp_path, NOBODY, NOBODY)
        # The interpreter and this tree may be where only root may read.
        reads = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        chosen = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *reads]
    else:
        chosen = []
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "PYTHONPATH": str(ROOT)}

    def give(*arguments, address="127.0.0.1", said=PASSWORD):
        farm = [tmp_path / "etc", "--name", "apache", "--node", f"web1={address}", "--node", "web2=192.0.2.12"]
        command = [*chosen, sys.executable, "-m", "hcsidecar", "init", *farm, *arguments]
        return subprocess.run(
            command, input=said + "\n", capture_output=True, text=True, timeout=60, check=False, env=environment
        )

    return give


def test_the_first_user_is_in_the_record_that_the_daemon_will_read(init, tmp_path):
    made = init("--admin", "alice", "--password-file", "-")
    assert made.returncode == 0, made.stderr
    store = AccessStore(tmp_path / "state" / "hcsidecar" / "apache" / "web1")
    assert f"user alice (admin) is in {store.path}; the other nodes take it over" in made.stdout
    assert "user add NAME" not in made.stdout
    (alice,) = store.load().present_users.values()
    assert alice.role is AccessRole.ADMIN
    assert is_right_password(PASSWORD, alice.password)
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


def test_without_a_terminal_nobody_is_asked_and_a_line_says_how_the_first_user_is_made(init, tmp_path):
    made = init()
    assert made.returncode == 0, made.stderr
    assert "the first user of the console: hcsidecar user add NAME --role admin\n" in made.stdout
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"address": "192.0.2.11"}, "no first user alice: this machine is not one node of the farm by its addresses"),
        ({"said": "short"}, "the password has 5 characters: take at least 12"),
    ],
)
def test_where_there_can_be_no_first_user_nothing_is_written(init, tmp_path, arguments, told):
    refused = init("--admin", "alice", "--password-file", "-", **arguments)
    assert refused.returncode == 1
    assert told in refused.stderr
    assert not (tmp_path / "etc").exists()
    assert not (tmp_path / "state").exists()


def test_a_name_that_nobody_can_have_is_refused(init):
    refused = init("--admin", "root", "--password-file", "-")
    assert refused.returncode == 1
    assert "no first user root: nobody can be called root" in refused.stderr
