"""What differs between two bundles: every file and key is told, and no secret."""

import tomllib

import pytest

from hcsidecar.core.farmfile.farm_file import FarmFile, read
from hcsidecar.core.settings.differences import (
    MAX_COMPARED,
    RevisionContent,
    file_changes,
    secrets_of,
    setting_changes,
)
from hcsidecar.core.settings.revision import FARM_FILE, Manifest

WEB1 = {"name": "web1", "address": "192.0.2.11"}
WEB2 = {"name": "web2", "address": "192.0.2.12"}
TWO_NETWORKS = {"front": "192.0.2.11", "back": "198.51.100.11"}
IN_ORDER = '{ front = "192.0.2.11", back = "198.51.100.11" }'
REVERSED = '{ back = "198.51.100.11", front = "192.0.2.11" }'
APP = {"type": "tcp", "name": "APP", "address": "127.0.0.1", "port": 80}
SCRIPTS = {"start": "bin/start", "stop": "bin/stop"}
VIP = {"address": "192.0.2.50"}
WEB = {"name": "WEB", "ports": [80]}
TLS = {"name": "TLS", "ports": [443]}
L2 = {"vip": [VIP], "share": [WEB, TLS]}
HAPROXY = {"type": "haproxy", "backend": "web", "address": "192.0.2.9:9999", "port": 80}
AWS = {
    "type": "aws",
    "group": "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef",
}


def farm(**tables):
    found = read({"farm": {"name": "apache"}, "node": [WEB1, WEB2], **tables})
    assert isinstance(found, FarmFile), found
    return found


def content(files, *, executable=()):
    files = {FARM_FILE: b"[farm]\n", **files}
    manifest = Manifest.of(
        files, executable=executable, farm="apache", number=1, parents=(), author="root on web1", made_at=0
    )
    return RevisionContent(manifest, files)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, {}, []),
        ({}, {"health": {"lame_duck": "20s"}}, ["[health] lame_duck: 10s -> 20s"]),
        ({}, {"health": {"path": "/alive"}}, ["[health] path: /health -> /alive"]),
        ({}, {"farm": {"name": "apache", "last_stays": True}}, ["[farm] last_stays: false -> true"]),
        ({}, {"check": [APP]}, ["[[check]] APP: new"]),
        ({"check": [APP]}, {}, ["[[check]] APP: removed"]),
        ({"check": [APP]}, {"check": [APP | {"port": 81}]}, ["[[check]] APP port: 80 -> 81"]),
        ({"check": [APP]}, {"check": [APP | {"type": "http"}]}, ["[[check]] APP type: tcp -> http"]),
        ({}, {"node": [WEB1]}, ["[[node]] web2: removed"]),
        ({}, {"node": [WEB1, WEB2 | {"power": 2}]}, ["[[node]] web2 power: 1 -> 2"]),
        (
            {},
            {"node": [WEB1, WEB2 | {"address": "192.0.2.13"}]},
            ["[[node]] web2 address: 192.0.2.12 -> 192.0.2.13"],
        ),
        (
            {"node": [{"name": "web1", "addresses": TWO_NETWORKS}]},
            {"node": [{"name": "web1", "addresses": dict(reversed(TWO_NETWORKS.items()))}]},
            [f"[[node]] web1 addresses: {IN_ORDER} -> {REVERSED}"],
        ),
        (
            {"node": [WEB1]},
            {"node": [{"name": "web1", "addresses": TWO_NETWORKS}]},
            [
                "[[node]] web1 address: 192.0.2.11 -> unset",
                "[[node]] web1 addresses.front: unset -> 192.0.2.11",
                "[[node]] web1 addresses.back: unset -> 198.51.100.11",
            ],
        ),
        ({}, {"node": [WEB2, WEB1]}, []),
        ({}, {"heartbeat": {"preset": "wan"}}, ["[heartbeat] preset: lan -> wan"]),
        ({}, {"heartbeat": {"lost_after": "1s"}}, ["[heartbeat] lost_after: 500ms -> 1s"]),
        (
            {},
            {"heartbeat": {"preset": "wan", "lost_after": "20s"}},
            ["[heartbeat] preset: lan -> wan", "[heartbeat] lost_after: 500ms -> 20s"],
        ),
        ({}, {"web": {"tls": {"cert": "a", "key": "b"}}}, ["[web.tls]: new"]),
        (
            {"web": {"tls": {"cert": "a", "key": "b"}}},
            {"web": {"tls": {"cert": "c", "key": "b"}}},
            ["[web.tls] cert: a -> c"],
        ),
        ({}, {"health": {"listen": ["0.0.0.0:9080"]}}, ['[health] listen: [] -> ["0.0.0.0:9080"]']),
        ({}, {"l2": L2}, ["[l2]: new"]),
        ({"l2": L2}, {"l2": L2 | {"share": [WEB]}}, ["[[l2.share]] TLS: removed"]),
        (
            {"l2": L2},
            {"l2": L2 | {"share": [TLS, WEB]}},
            ['[l2.share] name.order: ["WEB", "TLS"] -> ["TLS", "WEB"]'],
        ),
        (
            {"l2": L2},
            {"l2": L2 | {"share": [WEB | {"power": {"web1": 2}}, TLS]}},
            ["[[l2.share]] WEB power.web1: unset -> 2"],
        ),
        ({"l2": L2}, {"l2": L2 | {"vip": [VIP, {"address": "192.0.2.51"}]}}, ["[[l2.vip]] 192.0.2.51: new"]),
        ({}, {"application": SCRIPTS}, ["[application]: new"]),
        (
            {"application": SCRIPTS},
            {"application": SCRIPTS | {"environment": {"DB_PASSWORD": "hunter2", "SERVICES": "apache2 php"}}},
            [
                "[application] environment.DB_PASSWORD: (changed)",
                '[application] environment.SERVICES: unset -> "apache2 php"',
            ],
        ),
        (
            {"application": SCRIPTS | {"prestart": "bin/clean"}},
            {"application": SCRIPTS},
            ["[application] prestart: bin/clean -> unset"],
        ),
        ({"target": [HAPROXY]}, {"target": [HAPROXY | {"poll": "9s"}]}, ["[[target]] web poll: 5s -> 9s"]),
        (
            {"target": [AWS]},
            {"target": [AWS | {"proxy": "http://me:hunter2@192.0.2.9:3128"}]},
            ['[[target]] web proxy: unset -> "http://(hidden)@192.0.2.9:3128"'],
        ),
        (
            {"target": [{"type": "consul", "name": "c", "pool": "a"}]},
            {"target": [{"type": "consul", "name": "c", "pool": "b", "more": 1}]},
            ["[[target]] c pool: a -> b", "[[target]] c more: unset -> 1"],
        ),
        (
            {"target": [AWS | {"proxy": "http://me:hunter2@192.0.2.9:3128"}]},
            {"target": [AWS | {"proxy": "http://me:hunter3@192.0.2.9:3128"}]},
            ["[[target]] web proxy: (changed)"],
        ),
        (
            {"target": [{"type": "consul", "name": "c"}]},
            {"target": [{"type": "consul", "name": "c", "\u202ex": "\u202ey\n"}]},
            ['[[target]] c \\u202ex: unset -> "\\u202ey\\n"'],
        ),
        (
            {"application": SCRIPTS | {"environment": {"A": "x" * 300}}},
            {"application": SCRIPTS | {"environment": {"A": "x" * 301}}},
            ["[application] environment.A: (changed)"],
        ),
    ],
)
def test_a_changed_setting_is_told_as_in_the_file(before, after, told):
    assert [str(change) for change in setting_changes(farm(**before), farm(**after))] == told


def test_files_are_added_removed_and_changed():
    former = content({"bin/start": b"#!/bin/sh\none\n", "bin/old": b"x"})
    present = content({"bin/start": b"#!/bin/sh\ntwo\n", "bin/new": b"y"})
    found = {change.name: change for change in file_changes(former, present)}
    assert {name: change.change for name, change in found.items()} == {
        "bin/start": "changed",
        "bin/old": "removed",
        "bin/new": "added",
    }
    assert str(found["bin/start"]) == "bin/start: changed"
    assert found["bin/start"].diff.splitlines() == [
        "--- bin/start",
        "+++ bin/start",
        "@@ -1,3 +1,3 @@",
        " #!/bin/sh",
        "-one",
        "+two",
        " ",
    ]
    assert str(found["bin/new"]).startswith("bin/new: added, 1 bytes, SHA-256 ")
    assert "+y" in found["bin/new"].diff


def test_equal_bundles_do_not_differ():
    assert file_changes(content({"bin/start": b"a"}), content({"bin/start": b"a"})) == ()


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [((), ("bin/start",), "may be executed now"), (("bin/start",), (), "may not be executed any more")],
)
def test_a_changed_mode_is_told(before, after, told):
    files = {"bin/start": b"a"}
    [change] = file_changes(content(files, executable=before), content(files, executable=after))
    assert str(change) == f"bin/start: {told}"
    assert change.diff == ""


@pytest.mark.parametrize(
    "after", [b"a\0b", b"\xff\xfe", b"x" * (MAX_COMPARED + 1), b"\n" * 9000], ids=["zero", "latin", "large", "lines"]
)
def test_what_is_not_text_or_too_large_is_told_by_size_and_digest(after):
    [change] = file_changes(content({"data": b"a"}), content({"data": after}))
    assert change.diff == ""
    assert str(change).startswith("data: changed: 1 bytes, SHA-256 ca978112 -> ")
    assert f"-> {len(after)} bytes, SHA-256 " in str(change)


@pytest.mark.parametrize(
    "line",
    [
        'environment = { DB_PASSWORD = "hunter2", A = "b" }',
        "environment = { DB_PASSWORD = 'hunter2' }",
        'environment.DB_PASSWORD="hunter2"',
        'environment = { "DB_PASSWORD" = "hunter2" }',
        'environment = { api_token = """\nx"y\nhunter2""" }',
        'environment = { "DB\\u005fPASSWORD" = "hunter2" }',
    ],
)
def test_the_lines_of_the_farm_file_show_no_secret(line):
    before = b'[application]\nstart = "a"\nstop = "b"\n'
    after = before + line.encode() + b"\n"
    present = farm(**tomllib.loads(after.decode()))
    [change] = file_changes(content({FARM_FILE: before}), content({FARM_FILE: after}), secrets=secrets_of(present))
    assert "+environment" in change.diff
    assert "hunter2" not in change.diff
    assert "(hidden)" in change.diff


def test_a_secret_of_few_letters_hides_no_other_words():
    before = b'start = "bin/start"\n'
    after = b'start = "bin/start"\nenvironment = { API_KEY = "a" }\n'
    [change] = file_changes(content({FARM_FILE: before}), content({FARM_FILE: after}), secrets=["a"])
    assert ' start = "bin/start"' in change.diff
    assert '+environment = { API_KEY = "(hidden)" }' in change.diff


def test_names_of_key_files_and_other_values_are_no_secrets():
    after = b'key_file = "other.key"\nkey = "tls/farm.key"\nproxy = "http://me:hunter2@192.0.2.9:3128"\n'
    [change] = file_changes(content({}), content({FARM_FILE: after}))
    assert 'key_file = "other.key"' in change.diff
    assert 'key = "tls/farm.key"' in change.diff
    assert "http://(hidden)@192.0.2.9:3128" in change.diff
    assert secrets_of(farm()) == frozenset()
