"""`hcsidecar user` and `hcsidecar api-token`, on real daemons."""

import json
import os
import pty
import re
import subprocess
import sys

import pytest
from daemons import real_farm, wait_for

from hcsidecar.access.password_hashes import is_right_password
from hcsidecar.access.store import AccessStore
from hcsidecar.core.access.credentials import read_token

PASSWORD = "correct horse battery"  # noqa: S105


@pytest.fixture
def farm(tmp_path):
    with real_farm(tmp_path) as made:
        yield made.start().all_ready()


def record(farm, name):
    return AccessStore(farm.socket(name).parent).load()


def give(farm, *arguments, node):
    """Give a command on a node, with nobody at a terminal."""
    command = [sys.executable, "-m", "hcsidecar", *arguments, "--config", farm.config, "--node", node]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)


def with_password(farm, *arguments, node, given=PASSWORD):
    """Give a command that takes a password from a file."""
    file = farm.directory / "password"
    file.write_text(given + "\n")
    file.chmod(0o600)
    return give(farm, *arguments, "--password-file", file, node=node)


def told(farm, name, text):
    return text in farm.log(name)


def test_users_and_tokens_are_the_same_on_every_node_and_a_node_that_was_dead_takes_them_when_it_returns(farm):
    added = with_password(farm, "user", "add", "alice", "--role", "admin", node="web1")
    assert (added.returncode, added.stdout) == (0, "added user alice (admin)\n"), added.stderr
    assert all(record(farm, name) == record(farm, "web1") for name in farm.names)
    assert is_right_password(PASSWORD, record(farm, "web3").users["alice"].password)
    assert told(farm, "web1", "access: added user alice (admin): by ")
    assert told(farm, "web3", "access: user alice (admin) was added on web1")

    farm.kill("web3")
    wait_for(lambda: farm.view("web1") == ["web1", "web2"], what="the death of web3")
    with_password(farm, "user", "add", "bob", "--role", "admin", node="web1")
    removed = give(farm, "user", "remove", "alice", node="web2")
    assert (removed.returncode, removed.stdout) == (0, "removed user alice (admin)\n")
    assert removed.stderr == "not there yet: web3; it comes to a node when the others hear it again\n"

    made = give(farm, "api-token", "add", "ci", "--role", "control", "--json", node="web2")
    token = json.loads(made.stdout)["token"]
    farm.start("web3")
    wait_for(lambda: record(farm, "web3") == record(farm, "web1"), limit=30, what="the record on web3")
    assert list(record(farm, "web3").present_users) == ["bob"]
    assert read_token(record(farm, "web3"), token, now=0).identity.name == "ci"
    listed = give(farm, "api-token", "list", node="web3").stdout
    assert "ci" in listed
    assert token not in listed
    revoked = give(farm, "api-token", "revoke", "ci", node="web3")
    assert revoked.stdout == "revoked API token ci (control)\n"
    assert read_token(record(farm, "web1"), token, now=0).reason == "the API token ci has been revoked"


def test_what_is_refused_is_told_with_what_to_do(farm):
    def refused(*arguments, status=1):
        found = give(farm, *arguments, node="web1")
        assert (found.returncode, found.stdout) == (status, "")
        return " ".join(found.stderr.split())

    assert "there is none yet: hcsidecar user add NAME --role admin" in refused("user", "remove", "alice")
    assert "nobody is there to be asked" in refused("user", "add", "alice", "--role", "admin")
    weak = with_password(farm, "user", "add", "alice", "--role", "admin", node="web1", given="short")
    assert (weak.returncode, weak.stderr) == (
        1,
        "the password has 5 characters: take at least 12, such as a few words\n",
    )
    assert with_password(farm, "user", "add", "alice", "--role", "admin", node="web1").returncode == 0
    assert "there is a user alice already (admin)" in refused("user", "add", "alice", "--role", "monitor")
    assert "alice is the last admin" in refused("user", "remove", "alice")
    assert "there is no user bob; there are alice" in refused("user", "password", "bob")
    assert "small letters a to z" in refused("user", "add", "Alice", "--role", "admin", status=2)
    assert "nobody can be called root" in refused("user", "add", "root", "--role", "admin", status=2)
    assert "'king' is not one of" in refused("user", "add", "bob", "--role", "king", status=2)
    assert "--expires" in refused("api-token", "add", "ci", "--role", "monitor", "--expires", "soon", status=2)
    (farm.directory / "password").chmod(0o644)
    file = farm.directory / "password"
    assert "can be read by others" in refused("user", "password", "alice", "--password-file", file)
    forced = give(farm, "user", "remove", "alice", "--force", node="web1")
    assert forced.returncode == 0


def test_who_is_at_a_terminal_is_asked_twice(farm):
    def typed(*lines):
        """Type lines at a terminal, each when it is asked for."""
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "hcsidecar", "user", "add", "--config", farm.config, "--node", "web1"]
        process = subprocess.Popen(
            [*command, "alice", "--role", "admin"], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        said = b""
        with process:
            try:
                for line in lines:
                    while not said.endswith(b": "):
                        said += os.read(ours, 1024)
                    os.write(ours, line.encode() + b"\n")
                    said += b"|"
                while more := os.read(ours, 1024):
                    said += more
            except OSError:  # the terminal is closed at the other end
                pass
        os.close(ours)
        return process.returncode, said.decode()

    status, said = typed(PASSWORD, PASSWORD + "!")
    assert status == 1
    assert "the two passwords differ: nothing has changed" in said
    status, said = typed(PASSWORD, PASSWORD)
    assert status == 0
    assert "added user alice (admin)" in said
    assert PASSWORD not in said


def test_a_link_for_the_console_is_made_for_a_user_who_is_there_and_is_told(farm):
    with_password(farm, "user", "add", "alice", "--role", "monitor", node="web1")
    refused = give(farm, "user", "link", "bob", node="web1")
    assert refused.returncode == 1
    assert "no user bob" in refused.stderr
    made = give(farm, "user", "link", "alice", "--url", "http://127.0.0.1:9453/", node="web1")
    assert made.returncode == 0, made.stderr
    assert re.fullmatch(r"http://127\.0\.0\.1:9453/sign-in\?link=[A-Za-z0-9_-]{22}\n", made.stdout)
    assert made.stderr == "it signs alice in once, within 10 minutes\n"
    assert told(farm, "web1", "access: a link that signs alice in once is made: by ")
    document = json.loads(give(farm, "user", "link", "alice", "--json", node="web2").stdout)
    assert document["link"].startswith("https://127.")
    assert document["lasts"] == 600
