"""The keys of a farm of real daemons are changed by one command, and what a removed server kept opens nothing."""

import json
import secrets
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime

import pytest
from daemons import wait_for
from own_directories import separate_farm
from real_consoles import command, console_of

from hcsidecar.access.store import AccessStore
from hcsidecar.api.auth import Signer
from hcsidecar.core.access.credentials import NotLetIn, OpenSession, new_session, read_session
from hcsidecar.core.joining.names import SERVER_NAME
from hcsidecar.core.key_messages import KEYS_PATH, MATERIAL_PATH
from hcsidecar.farmfile.certificate_files import AuthorityFiles
from hcsidecar.joining.authority import Authority
from hcsidecar.net.keyring import Keyring
from hcsidecar.net.sealing import DatagramOpener, DatagramSealer, OpenFailure

EXTRA = '[health]\nlame_duck = "1s"\n'
FILES = ("farm.key", "ca.pem", "ca.key")


def write_authority(directory):
    Authority.create("apache").write(AuthorityFiles.beside(directory / "farm.key"))


@pytest.fixture
def farm(tmp_path):
    with separate_farm(tmp_path, extra=EXTRA) as made:
        write_authority(tmp_path)
        for name in made.names:
            made.copy(name)
        yield made.start().all_ready()


def keyring(farm, name):
    return Keyring.load(farm.own(name) / "farm.key")


def files(farm, *names):
    return [{(farm.own(name) / file).read_bytes() for name in names} for file in FILES]


def certified(farm, *names):
    """Wait until each node has recorded the certificates of all others."""

    def recorded(name):
        found = farm.directory / "s" / "apache" / name / "keys" / "certificates.json"
        return found.exists() and set(json.loads(found.read_text())) >= set(names) - {name}

    wait_for(lambda: all(recorded(name) for name in names), limit=30, what="certificates")


def rotate(farm, name):
    """Give the command on the machine of a node."""
    own = ["--config", farm.farm_file(name), "--node", name]
    command = [sys.executable, "-m", "hcsidecar", "key", "rotate", *own]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def test_one_command_changes_all_keys_and_no_heartbeat_is_lost(farm):
    certified(farm, *farm.names)
    before, seeds = keyring(farm, "web1"), {keyring(farm, name).hash_seed for name in farm.names}
    old = files(farm, *farm.names)
    rotated = rotate(farm, "web2")
    assert rotated.returncode == 0, rotated.stderr
    new = files(farm, *farm.names)
    assert [len(each) for each in new] == [1, 1, 1]
    assert all(each.isdisjoint(former) for each, former in zip(new, old, strict=True))
    for name in farm.names:
        found = keyring(farm, name)
        assert set(found.ids).isdisjoint(before.ids)
        assert {found.hash_seed} == seeds
        assert "silent" not in farm.log(name)
        assert farm.health(name) == 200
        assert farm.view(name) == sorted(farm.names)
    again = rotate(farm, "web1")
    assert again.returncode == 0, again.stderr
    assert set(keyring(farm, "web3").ids).isdisjoint(found.ids)


def test_a_farm_without_an_authority_says_what_to_do(tmp_path):
    with separate_farm(tmp_path, names=("web1",)) as farm:
        farm.start().all_ready()
        refused = rotate(farm, "web1")
        assert refused.returncode == 1
        assert "this farm has no certificate authority" in refused.stderr
        assert "hcsidecar ca new" in refused.stderr


def test_a_node_that_is_away_stops_it_before_anything_has_changed(farm):
    before = keyring(farm, "web1").ids
    farm.kill("web3")
    wait_for(lambda: farm.view("web1") == ["web1", "web2"])
    refused = rotate(farm, "web1")
    assert refused.returncode == 1
    assert "web3 is not heard: start it, or take it out of the farm (hcsidecar remove web3)" in refused.stderr
    assert keyring(farm, "web1").ids == before


def signed_status(farm, keys, *, sender, to):
    """Ask a node for its keys in the name of a node, with some keys; give the HTTP status."""
    signer = Signer(keys=lambda: keys, farm="apache", node=sender)
    signed = signer.sign("GET", KEYS_PATH, b"", to=to, challenge="", nonce=secrets.token_hex(16), now=time.time())
    request = urllib.request.Request(farm.url(to, KEYS_PATH), headers={"Authorization": signed.header})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def asks_for_the_key(farm, authority, *, name, to):
    """Ask a node for a new key with a certificate in the name of another; give the first line of the answer."""
    issued = authority.issue(name, ["127.0.0.1"], now=datetime.now(UTC))
    place = farm.directory / "forged.pem"
    place.write_bytes(issued.key + issued.chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(place)
    try:
        with (
            socket.create_connection((farm.addresses[to], 9010), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=SERVER_NAME) as connection,
        ):
            connection.sendall(f"GET {MATERIAL_PATH}/{'0' * 32} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            return connection.recv(100).partition(b"\r\n")[0]
    except (ssl.SSLError, ConnectionError):
        return b"refused"


def test_what_a_removed_server_has_kept_opens_nothing(farm):
    certified(farm, *farm.names)
    stolen, authority = keyring(farm, "web3"), Authority.load(AuthorityFiles.beside(farm.own("web3") / "farm.key"))
    removed = farm.command("web1", "remove", "web3", "--yes", timeout=120)
    assert removed.returncode == 0, removed.stderr
    assert "all nodes have new keys and a new certificate authority" in removed.stdout
    assert farm.daemons.pop("web3").wait(30) == 2
    # Its copies are what they were.
    assert keyring(farm, "web3").ids == stolen.ids
    for name in ("web1", "web2"):
        present = keyring(farm, name)
        assert set(present.ids).isdisjoint(stolen.ids)
        opener = DatagramOpener(keyring=present, farm="apache", known_nodes=("web1", "web2"))
        forged = DatagramSealer(keyring=stolen, farm="apache", node="web2", boot=9).seal(1, b"anything")
        assert opener.open(forged) is OpenFailure.UNKNOWN_KEY
        assert signed_status(farm, stolen, sender="web2", to=name) == (401, b"")
        assert signed_status(farm, stolen, sender="web3", to=name) == (401, b"")
        assert asks_for_the_key(farm, authority, name="web2", to=name) in (
            b"refused",
            b"HTTP/1.1 401 Unauthorized",
            b"",
        )
        assert farm.health(name) == 200
    assert files(farm, "web1", "web2")[1].isdisjoint(files(farm, "web3")[1])
    # Started again, it is told by a notice that it can still check.
    record = farm.directory / "s" / "apache" / "web3" / "settings" / "current.json"
    record.unlink()
    farm.start("web3")
    assert farm.daemons.pop("web3").wait(30) == 2
    assert "the farm has removed this node" in farm.log("web3")


def record(farm, name):
    """Give the users and session keys that a node has on its disk."""
    return AccessStore(farm.directory / "s" / "apache" / name).load()


def test_a_session_that_a_removed_server_signs_is_none_and_the_first_user_signs_in_again(farm, tmp_path):
    certified(farm, *farm.names)
    password = tmp_path / "password"
    password.write_text("correct horse battery")
    password.chmod(0o600)
    made = command(farm, "web3", "user", "add", "alice", "--role", "admin", "--password-file", str(password))
    assert made.returncode == 0, made.stderr
    with console_of(farm, "web1") as console:

        def signs_in():
            return console.ask("POST", "/session", {"name": "alice", "password": "correct horse battery"})[0] == 200

        wait_for(signs_in, limit=30, what="the first user")
        wait_for(lambda: record(farm, "web3").session_keys, limit=30, what="the key of sessions on web3")
        # Whoever has the disk of web3 can sign sessions in everybody's name.
        forged = new_session(record(farm, "web3"), "alice", now=time.time())
        assert isinstance(read_session(record(farm, "web1"), forged, now=time.time()), OpenSession)
        removed = farm.command("web1", "remove", "web3", "--yes", timeout=120)
        assert removed.returncode == 0, removed.stderr
        for name in ("web1", "web2"):
            wait_for(
                lambda node=name: isinstance(read_session(record(farm, node), forged, now=time.time()), NotLetIn),
                limit=30,
                what=f"the end of sessions on {name}",
            )
        assert "ended the sessions of all users: by the change of the farm's keys" in farm.log("web1")
        wait_for(signs_in, limit=30, what="the first user again")
        assert console.ask("GET", "/farm")[0] == 200  # an API token goes on
