"""Large files, datagrams and their fragments, narrow paths and pings, through the virtual IP."""

import hashlib
import os

from lan.bulk import download, upload
from lan.capture import capture
from lan.datagrams import ask_each, ping
from lan.namespaces import run
from lan.site import NARROW_MTU
from lan.slow import slow_readers
from lan.stage import needs_root, stage
from lan.stories import story
from lan.web import datagram_echo

pytestmark = needs_root

BULK_MB = 200


@story("bulk")
def test_large_files_arrive_intact_in_both_directions(tmp_path, way):
    with stage(tmp_path, way) as on:
        bring_and_fetch(on, tmp_path, megabytes=BULK_MB)


@story("bulk past slow readers")
def test_large_files_arrive_though_a_verdict_takes_long(tmp_path, way, monkeypatch):
    slow_readers(tmp_path / "slow", monkeypatch, seconds=0.001)
    with stage(tmp_path, way) as on:
        bring_and_fetch(on, tmp_path, megabytes=20)


def bring_and_fetch(on, directory, *, megabytes):
    """Bring a file to the server of a client whose packets the director sends on, in directed delivery; fetch it."""
    client = next(client for client in on.addresses(100) if on.farm.owner(client) != on.director())
    server = on.farm.web[on.farm.owner(client)]
    sent = directory / "sent"
    block = os.urandom(1 << 20)
    with sent.open("wb") as file:
        for number in range(megabytes):
            file.write(number.to_bytes(4) + block[4:])
    upload(on.lan.clients, client, on.vip, sent, "brought")
    digest = sha256(sent)
    assert sha256(server.files / "brought") == digest
    assert hashlib.sha256(download(on.lan.clients, client, on.vip, "brought")).hexdigest() == digest


@story("datagrams")
def test_each_datagram_is_answered_once_also_when_it_comes_in_fragments(tmp_path, way):
    with stage(tmp_path, way) as on, datagram_echo(on.servers, [on.vip]):
        for size in (20, 5000):
            answers = ask_each(on.lan.clients, on.addresses(60), on.vip, question=os.urandom(size))
            assert all(counter.total() == 1 for counter in answers.values())
            assert set().union(*answers.values()) == set(on.farm.names)


@story("path MTU")
def test_a_server_learns_of_a_narrow_link_on_the_way_to_its_client(tmp_path, way):
    with stage(tmp_path, way) as on:
        for server in on.farm.web.values():
            (server.files / "large").write_bytes(bytes(300_000))
        # One client of each server: those whose packets the director sends on, too.
        narrow = on.lan.narrow
        of_server = {on.farm.owner(client): client for client in narrow.clients(40, way.family)}
        assert set(of_server) == set(on.farm.names)
        for name, client in of_server.items():
            assert len(download(narrow, client, on.vip, "large", limit=10)) == 300_000
            assert f"mtu {NARROW_MTU}" in run(on.lan.servers[name].namespace, "ip", "route", "get", client)


@story("ping")
def test_a_ping_to_the_virtual_ip_gets_one_reply_from_the_server_of_the_client(tmp_path, way):
    with stage(tmp_path, way) as on, capture(on.servers, everything=True) as seen:
        for client in on.addresses(12):
            assert set(ping(on.lan.clients, client, on.vip, count=3)) == {1}
        replies = seen.echo_replies()
        assert len(replies) >= 36
        assert all(len(nodes) == 1 for nodes in replies.values())
        assert {(key[0], node) for key, (node,) in replies.items()} == {
            (client, on.farm.owner(client)) for client in on.addresses(12)
        }


def sha256(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
