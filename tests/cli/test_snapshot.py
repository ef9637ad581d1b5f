"""`hcsidecar snapshot` with real daemons: alive, dead and hanging, and with secrets planted everywhere."""

import json
import re
import signal
import stat
import sys
import time
import zipfile

import pytest
from daemons import real_farm, wait_for

from hcsidecar.access.store import AccessStore
from hcsidecar.core.access.changes import add_token, add_user, new_session_key
from hcsidecar.core.access.record import AccessRecord
from hcsidecar.core.access.roles import AccessRole

SCRIPT = """#!/bin/sh
echo "started with $DB_PASSWORD and {key} as $(cat {directory}/db.pw)"
hcsidecar_text="Authorization: Bearer abcdefghijklmnop"
echo "$hcsidecar_text; $QUEUE"
echo "password of the queue: $(echo $QUEUE | cut -c10-21)"
cd {directory}
cat users.toml api-tokens tls.key farm.key
{python} -m hcsidecar log warning "login with $DB_PASSWORD failed"
exit 0
"""
APPLICATION = """
[application]
start = "start.sh"
stop = "stop.sh"
[application.environment]
DB_PASSWORD = "s3cr3t-of-database"
DB_TOKEN_FILE = "{directory}/db.pw"
QUEUE = "amqp://q:url-p4sswordATqueue/"
"""
SECRETS = (
    *("s3cr3t-of-database", "url-p4ssword", "from-the-password-file", "argon-of-the-admin", "token-in-a-file"),
    *("PEMLINEPEMLINEPEMLINEPEMLINE", "abcdefghijklmnop"),
)


def parts_of(path):
    """Give the members of an archive by name, as text."""
    with zipfile.ZipFile(path) as opened:
        return {name: opened.read(name).decode() for name in opened.namelist()}


def key_secrets(farm):
    text = (farm.directory / "farm.key").read_text()
    return [line.split('"')[1] for line in text.splitlines() if line.startswith(("secret", "hash_seed"))]


def plant_users(farm, name):
    """Write what a node knows of users, tokens and sessions, and give the secrets in it."""
    store = AccessStore(farm.socket(name).parent)
    record = AccessRecord()
    password = f"$argon2id$v=19$m=19456,t=2,p=1${'s' * 22}${'userHash' * 5}"
    for change in (
        add_user(record, "alice", AccessRole.ADMIN, password, node=name, now=0),
        add_token(
            record, "7" * 16, "ci", AccessRole.ADMIN, "beefcafe" * 8, expires_at=None, by="root", node=name, now=0
        ),
    ):
        record = record.merged(change.delta)
    key = new_session_key(token_id="8" * 16, key="feedf00d" * 8, now=time.time(), record=record)
    store.save(record.merged(key))
    return "userHashuserHash", "beefcafebeefcafe", "feedf00dfeedf00d"


def is_stored(farm, name):
    stores = farm.socket(name).parent.glob("events.db*")
    return "login with" in farm.log(name) and any(b"login with" in path.read_bytes() for path in stores)


@pytest.fixture
def planted(tmp_path):
    """Give a farm of three with secrets in every place, whose daemons have run the script that prints them."""
    with real_farm(tmp_path, extra=APPLICATION.format(directory=tmp_path)) as farm:
        # The helper puts the network in the place of @.
        farm.config.write_text(farm.config.read_text().replace("ATqueue", "@queue"))
        key = key_secrets(farm)[1]
        for name in ("start.sh", "stop.sh"):
            script = tmp_path / name
            script.write_text(
                SCRIPT.format(key=key, directory=tmp_path, python=sys.executable)
                if name == "start.sh"
                else "#!/bin/sh\n"
            )
            script.chmod(0o755)
        (tmp_path / "db.pw").write_text("from-the-password-file\n")
        (tmp_path / "users.toml").write_text("admin:$argon2id$argon-of-the-admin\n")
        (tmp_path / "api-tokens").write_text('web = "token-in-a-file"\n')
        pem = "-----BEGIN PRIVATE KEY-----\nPEMLINEPEMLINEPEMLINEPEMLINE\n-----END PRIVATE KEY-----\n"
        (tmp_path / "tls.key").write_text(pem)
        farm.planted_users = plant_users(farm, "web1")
        farm.start()
        wait_for(lambda: all(is_stored(farm, name) for name in farm.names), what="the stored events", limit=40)
        yield farm


def test_a_snapshot_of_all_has_dead_and_hanging_nodes_and_no_secret(planted, tmp_path):
    farm, out = planted, tmp_path / "out.zip"
    farm.kill("web2")
    hanging = farm.daemons["web3"]
    hanging.send_signal(signal.SIGSTOP)
    try:
        done = farm.cli("snapshot", str(out), "--all", "--json", timeout=90)
    finally:
        hanging.send_signal(signal.SIGCONT)

    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    parts = parts_of(out)
    assert {name: node["answered"] for name, node in told["nodes"].items()} == {
        "web1": True,
        "web2": False,
        "web3": False,
    }
    assert "does it hang?" in told["nodes"]["web3"]["lacking"]["status.json"]
    assert "no daemon of node web2" in told["nodes"]["web2"]["lacking"]["status.json"]
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    for name in farm.names:
        assert "login with (hidden) failed" in parts[f"{name}/events.txt"]
        assert any("started with (hidden)" in text for part, text in parts.items() if part.startswith(f"{name}/runs/"))
        assert 'DB_PASSWORD = "(hidden)"' in parts[f"{name}/settings/farm.toml"]
    assert json.loads(parts["web1/status.json"])["node"] == "web1"
    assert "hcsidecar_nodes_heard" in parts["web1/metrics.txt"]
    assert "stopped" in parts["web1/processes.txt"]
    everything = "\n".join([*parts, *parts.values(), done.stdout, done.stderr])
    assert [secret for secret in (*SECRETS, *key_secrets(farm), *farm.planted_users) if secret in everything] == []
    assert [secret[:20] for secret in key_secrets(farm) if secret[10:30] in everything] == []

    shown = farm.cli("snapshot", str(out), "--read", "--grep", "login with")
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert sorted(line.split()[2] for line in lines) == ["web1", "web2", "web3"]
    assert lines == sorted(lines, key=lambda line: line.split()[:2])


def test_another_node_makes_its_own_part_and_hides_its_own_secrets(planted, tmp_path):
    farm, out = planted, tmp_path / "out.zip"

    done = farm.cli_beside("web1", "snapshot", str(out), node="web2")

    assert done.returncode == 0, done.stderr
    parts = parts_of(out)
    assert "login with (hidden) failed" in parts["web2/events.txt"]
    assert json.loads(parts["web2/status.json"])["node"] == "web2"
    everything = "\n".join(parts.values())
    assert [secret for secret in (*SECRETS, *key_secrets(farm)) if secret in everything] == []


def test_other_nodes_that_are_dead_or_hang_are_named(planted, tmp_path):
    farm, out = planted, tmp_path / "out.zip"
    farm.kill("web2")
    hanging = farm.daemons["web3"]
    hanging.send_signal(signal.SIGSTOP)
    try:
        done = farm.cli_beside("web1", "snapshot", str(out), "--all", node=None)
    finally:
        hanging.send_signal(signal.SIGCONT)

    assert done.returncode == 1
    parts = parts_of(out)
    assert "web2: its daemon did not answer" in parts["README.txt"]
    assert "web3: its daemon did not answer" in parts["README.txt"]
    assert "web1/status.json" in parts
    assert re.search(r"web2/all: everything of this node: web2 at \S+ does not answer", parts["README.txt"])


def test_a_broken_farm_file_and_a_damaged_store_are_no_obstacle(planted, tmp_path):
    farm, out = planted, tmp_path / "out.zip"
    farm.end()
    farm.config.write_text(farm.config.read_text().replace("[heartbeat]", "[heartbeat"))
    copies = list(tmp_path.rglob("running.json"))
    for copy in copies:
        copy.unlink()
    for store in (tmp_path / "s" / "apache" / "web1").glob("events.db*"):
        store.write_bytes(b"damaged" * 1000)

    done = farm.cli("snapshot", str(out))

    assert done.returncode == 1
    parts = parts_of(out)
    assert "login with (hidden) failed" in parts["web2/events.txt"]
    assert "web1/events.jsonl" not in parts
    assert (
        "is no valid TOML" in parts["web2/settings/check-config.txt"]
        or "TOML" in parts["web2/settings/check-config.txt"]
    )
    everything = "\n".join(parts.values())
    assert [secret for secret in (*SECRETS, *key_secrets(farm)) if secret in everything] == []


def test_a_full_disk_leaves_nothing(tmp_path):
    with real_farm(tmp_path, names=("web1",)) as farm:
        done = farm.cli("snapshot", "/dev/full/out.zip", node="web1")
        there = farm.cli("snapshot", str(farm.config), node="web1")

    assert done.returncode == 1
    assert "cannot write /dev/full/out.zip" in done.stderr
    assert there.returncode == 2
    assert "is there already" in there.stderr
    assert list(tmp_path.glob(".hcsidecar*")) == []
